"""Groups of options of the recipe that moves windows over images."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from tlkit.cli.options.earlier import stored_key
from tlkit.cli.options.groups import COUNT, BackboneName, Decorator, Minutes, check_one_length, grouped
from tlkit.errors import UsageFault
from tlkit.tasks.detection.sliding_window.pooled_settings import VIEWS, PooledLearning

OF_A_CLASSIFIER = ("negative", "min-side", "max-side", "scales", "ratio", "chunk")
OWN_HEAD = ("backbone", "weights", "minutes", "training-images", "rounds", "views", "head-steps", "shapes")


def own_head() -> Decorator:
    """--backbone, --minutes, --rounds and their like as `learning`, a `PooledLearning`."""

    def make(minutes: float | None, training_images: int | None, **values: Any) -> PooledLearning:
        _check_one_form()
        check_one_length(minutes, training_images)
        return PooledLearning(minutes=minutes, training_images=training_images, **values)

    minutes = "Learn so long: ten images are timed once, into --training-images."
    rows = [
        ("backbone", BackboneName(), "efficientnet-lite0", "NAME", "Network whose maps are pooled."),
        ("weights", str, "imagenet", "imagenet|none|FILE", "What the backbone comes with."),
        ("minutes", Minutes(), None, "NUMBER", minutes),
        ("training-images", COUNT, None, "N", "Images that are learned, drawn by --seed.  [default: all]"),
        (
            "rounds",
            click.IntRange(0),
            2,
            "N",
            "Of hard negatives: false alarms on training images are learned.",
        ),
        (
            "views",
            click.Choice(list(VIEWS)),
            "mirrored",
            None,
            "Of training images; turned, by right angles, for images without an up.",
        ),
        ("head-steps", COUNT, 2_000, "N", "For which the head learns after each round."),
        ("shapes", COUNT, 16, "N", "Of windows, at most; chosen for the training boxes."),
    ]
    return grouped("learning", make, "Head of its own, without --classifier", rows, {})


def _check_one_form() -> None:
    """Refuse options of the form of windows that is not asked for.

    Raises:
        UsageFault: There are some.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return
    moved = context.params.get("classifier") is not None
    for name in OWN_HEAD if moved else OF_A_CLASSIFIER:
        key = {"ratio": "ratios"}.get(name, stored_key(name))
        if context.get_parameter_source(key) is ParameterSource.COMMANDLINE:
            if moved:
                problem, remedy = "with --classifier, which is finished", "leave --classifier out"
            else:
                problem, remedy = "without --classifier", "name a classifier with --classifier RUN"
            raise UsageFault(f"--{name} does not go {problem}.", f"Leave --{name} out, or {remedy}.")
