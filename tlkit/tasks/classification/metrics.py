"""Arrays in, numbers out: what a classifier is worth on images that it has not seen.

scikit-learn computes what it knows; eta, the calibration error and the intervals over groups are ours.
Nothing here is rounded, nothing is NaN: a number that does not exist (the recall of a class without
images, the AUC of a class without others) is None, so the result goes into JSON as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from tlkit.core import bootstrap as intervals
from tlkit.core.metric_names import CLASSIFIER
from tlkit.data.checks.predictions import MANY
from tlkit.errors import DataFault, RunFailed
from tlkit.tasks.classification import calibration


def classification_measures(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    negative: str | None = "other",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a classifier's answers on one part of the data.

    Averages over classes (balanced accuracy, eta, AUC) leave out classes without an image in this part;
    macro F1 also counts those that were predicted though absent, as scikit-learn does.

    Args:
        labels: True class indices, int `[n]`, n >= 1.
        probabilities: The model's answers, float `[n, k]`, rows sum to 1.
        class_names: The k names, in the order of the columns.
        groups: What each image belongs to (patient, radiograph, object), `[n]`; None: each to itself.
        negative: The class that means "nothing of interest", left out of eta when it is among the classes.
        resamples: How many times the groups are drawn anew for the intervals.
        seed: Of those draws.

    Returns:
        `n`, `groups` (counts), `accuracy`, `balanced_accuracy`, `eta` (mean over `eta_classes` of
        sqrt(precision x recall)), `macro_f1`, `auc` (mean of one-vs-rest), `log_loss` (nats), `ece`,
        `intervals` (95 %, see `intervals.intervals`), `confusion` (of more than 100 classes `confusion_cells`, see
        `confusion_entry`) and `per_class` (precision, recall, f1, eta, auc, support).

    Raises:
        DataFault: There is no image to measure.
        RunFailed: The model answers NaN or infinity.
        ValueError: Shapes, labels or row sums do not fit; a bug of the caller.

    Source: eta as in the table of Mery's contest of feature extractors; ECE see `calibration`.
    """
    labels, probabilities = _checked(labels, probabilities, class_names)
    members = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    per_class = _per_class(labels, probabilities, class_names)
    averaged = [name for name, row in per_class.items() if row["support"] and name != negative]
    averaged = averaged or [name for name, row in per_class.items() if row["support"]]
    head = {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
        "balanced_accuracy": intervals.mean_where_known([row["recall"] for row in per_class.values()]),
        "eta": intervals.mean_where_known([per_class[name]["eta"] for name in averaged]),
        "macro_f1": intervals.mean_where_known([row["f1"] for row in per_class.values()]),
        "auc": intervals.mean_where_known([row["auc"] for row in per_class.values()]),
    }
    eta_indices = np.flatnonzero(np.isin(np.asarray(class_names), averaged))
    return {
        "n": len(labels),
        "groups": int(members.max()) + 1,
        **head,
        "eta_classes": averaged,
        "log_loss": _log_loss(labels, probabilities),
        "ece": calibration.expected_calibration_error(labels, probabilities),
        "intervals": _intervals(head, labels, probabilities, members, eta_indices, resamples, seed),
        **confusion_entry(confusion(labels, probabilities.argmax(axis=1), len(class_names))),
        "per_class": per_class,
    }


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count answers: int64 `[classes, classes]`, rows true, columns predicted.

    Args:
        labels: True class indices, int `[n]`.
        predicted: Predicted class indices, int `[n]`.
        classes: How many classes there are, also those that do not occur.
    """
    return metrics.confusion_matrix(labels, predicted, labels=np.arange(classes)).astype(np.int64)


def confusion_entry(matrix: np.ndarray) -> dict[str, list[list[int]]]:
    """A confusion matrix as a card and `--json` hold it.

    Args:
        matrix: Counts, int `[k, k]`, rows true, columns predicted.

    Returns:
        `{"confusion": rows}` of up to 100 classes; of more `{"confusion_cells": [[true, predicted, n], ...]}`, the
        cells that are not 0, by row and column.
    """
    if len(matrix) <= MANY:
        return {"confusion": matrix.tolist()}
    true, predicted = np.nonzero(matrix)
    return {"confusion_cells": np.stack([true, predicted, matrix[true, predicted]], axis=1).tolist()}


def confusion_of(measures: Mapping[str, Any]) -> np.ndarray:
    """The confusion matrix of a part's measures in either form of `confusion_entry`: int64 `[k, k]`."""
    if "confusion_cells" not in measures:
        return np.array(measures["confusion"], np.int64)
    classes = len(measures["per_class"])
    matrix = np.zeros((classes, classes), np.int64)
    true, predicted, counts = np.array(measures["confusion_cells"], np.int64).reshape(-1, 3).T
    matrix[true, predicted] = counts
    return matrix


def roc_points(
    labels: np.ndarray, probabilities: np.ndarray, index: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The ROC curve of one class against the rest.

    Args:
        labels: True class indices, int `[n]`.
        probabilities: Float `[n, k]`.
        index: The class.

    Returns:
        False-positive rate, true-positive rate (both rising from 0 to 1) and thresholds, float `[points]`
        each; None where the class or everything else is absent.
    """
    is_class = np.asarray(labels) == index
    if is_class.all() or not is_class.any():
        return None
    return metrics.roc_curve(is_class, np.asarray(probabilities)[:, index])


def _checked(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if probabilities.shape != (len(labels), len(class_names)):
        raise ValueError(f"{probabilities.shape=} for {len(labels)} labels and {len(class_names)} classes")
    if not len(labels):
        raise DataFault("There is no image to measure.", "Give images whose classes the model knows.")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f"labels from {labels.min()} to {labels.max()} for {len(class_names)} classes")
    broken = int((~np.isfinite(probabilities).all(axis=1)).sum())
    if broken:
        raise RunFailed(
            f"The model answers NaN or infinity for {broken} of {len(labels)} images.",
            "Its training diverged: train again with a smaller --learning-rate.",
        )
    sums = probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > 0.01:
        raise ValueError(f"rows of probabilities sum to {sums.min():g}..{sums.max():g}, not to 1")
    return labels, probabilities  # not renormalised: a last bit would tear ties apart and change the AUC


def _per_class(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    indices = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=0.0
    )
    answered = np.bincount(predicted, minlength=len(indices))
    areas = _aucs(labels, probabilities)
    rows = {}
    for index, name in enumerate(class_names):
        present = bool(support[index])
        rows[name] = {
            "precision": float(precision[index]),
            "recall": float(recall[index]) if present else None,
            "f1": float(f1[index]) if present or answered[index] else None,
            "eta": float(np.sqrt(precision[index] * recall[index])) if present else None,
            "auc": areas[index],
            "support": int(support[index]),
        }
    return rows


def _aucs(labels: np.ndarray, probabilities: np.ndarray) -> list[float | None]:
    """The AUC of each class against the rest, None where one of both is absent; of many classes all at once."""
    classes = probabilities.shape[1]
    areas: list[float | None] = [None] * classes
    present = np.unique(labels)
    if len(present) < 2:
        return areas
    if classes <= MANY:
        found = [metrics.roc_auc_score(labels == k, probabilities[:, k]) for k in present]
    else:
        once = np.ones((1, len(labels)))
        found = intervals.resampled_aucs(labels, probabilities, np.arange(len(labels)), once)[0]
    for k, area in zip(present, found, strict=True):
        areas[k] = None if np.isnan(area) else float(area)
    return areas


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    rows = probabilities / probabilities.sum(axis=1, keepdims=True)
    return float(metrics.log_loss(labels, rows, labels=np.arange(rows.shape[1])))


def _intervals(
    head: dict[str, float | None],
    labels: np.ndarray,
    probabilities: np.ndarray,
    members: np.ndarray,
    eta_indices: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, list[float] | None]:
    groups = int(members.max()) + 1
    of_rarest = min(len(np.unique(members[labels == index])) for index in np.unique(labels))
    trials = dict.fromkeys(CLASSIFIER.with_interval, of_rarest) | {"accuracy": groups}

    def resample(draws: np.ndarray) -> dict[str, np.ndarray]:
        return intervals.resampled_measures(labels, probabilities, members, eta_indices, draws)

    return intervals.intervals(head, resample, trials, intervals.draw_groups(groups, resamples, seed))
