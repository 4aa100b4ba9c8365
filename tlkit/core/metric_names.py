"""Metric names: for each kind of model the metric that leads, those in tables, those with an interval; in their order.

Whoever adds a metric computes it in the `metrics` of its task and names it here; tables, comparisons and reports follow.
"""

from __future__ import annotations

from typing import NamedTuple


class MetricNames(NamedTuple):
    """The metrics of a kind of model, as `measures` of its card name them.

    Attributes:
        main: By which runs are told from one another.
        compared: Side by side for several runs.
        with_interval: Those that have a 95 % interval.
        overall: Of all classes together, as a person reads them.
        per_class: Of each class.
    """

    main: str
    compared: tuple[str, ...]
    with_interval: tuple[str, ...]
    overall: tuple[str, ...]
    per_class: tuple[str, ...]


_AVERAGED = ("accuracy", "balanced_accuracy", "eta", "macro_f1", "auc")
CLASSIFIER = MetricNames(
    main="accuracy",
    compared=("accuracy", "eta", "auc", "ece"),
    with_interval=_AVERAGED,
    overall=(*_AVERAGED, "ece", "log_loss"),
    per_class=("support", "precision", "recall", "f1", "eta", "auc"),
)
DETECTOR = MetricNames(
    main="AP50",
    compared=("AP50", "AP"),
    with_interval=("AP", "AP50", "AP75"),
    overall=("AP", "AP50", "AP75", "AR"),
    per_class=("objects", "AP", "AP50", "AP75", "AR", "precision", "recall"),
)


_TITLES = {"balanced_accuracy": "balanced", "macro_f1": "macro F1", "f1": "F1", "auc": "AUC"}


def title_of(name: str) -> str:
    """A metric's name at the head of a column of a page."""
    return _TITLES.get(name, name)


def names_of(kind: object) -> MetricNames:
    """Those of a card's `kind`; any that is no detector has a classifier's, as far as it has them."""
    return DETECTOR if kind == "detector" else CLASSIFIER
