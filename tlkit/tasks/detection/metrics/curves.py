"""What follows from hits and false alarms: precision, recall, F1, average precision, recall at few false alarms.

Source: Everingham et al., The Pascal visual object classes (VOC) challenge (2010), section 4.2, and its development
kits; the curve of recall over false alarms an image is FROC: Chakraborty, Med. Phys. 16 (1989) 561-568.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.metrics.matching import Ranked

RECALLS_07 = np.linspace(0, 1, 11)
BINS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a share of occlusion
FEW = 6  # different values that stand for themselves


class Curve(NamedTuple):
    """A detector at every threshold that makes a difference, from the highest.

    Attributes:
        thresholds: float64 `[t]`, falling: detections with this score or more count.
        precision: float64 `[t]`.
        recall: float64 `[t]`, NaN where there is no object.
        f1: float64 `[t]`.
        false_alarms: float64 `[t]`, an image.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    false_alarms: np.ndarray


def curve(rows: Ranked) -> Curve:
    """The curves behind a ranking; detections with equal scores are taken together."""
    last = np.flatnonzero(np.append(np.diff(rows.scores) != 0, np.ones(min(len(rows.scores), 1), bool)))
    hits = np.cumsum(rows.hits)[last]
    alarms = np.cumsum(~rows.hits)[last]
    objects = len(rows.found_at)
    recall = hits / objects if objects else np.full(len(hits), np.nan)
    f1 = 2 * hits / np.maximum(hits + alarms + objects, 1)
    return Curve(rows.scores[last], hits / (hits + alarms), recall, f1, alarms / max(rows.image_count, 1))


def best_f1(points: Curve) -> dict[str, float | None]:
    """Where F1 is best: {"f1", "threshold", "precision", "recall"}, the highest threshold of equals."""
    if not len(points.f1) or np.isnan(points.recall).all():
        return {"f1": None, "threshold": None, "precision": None, "recall": None}
    best = int(points.f1.argmax())
    names = ("f1", "thresholds", "precision", "recall")
    return {name.removesuffix("s"): float(getattr(points, name)[best]) for name in names}


def f1_from(points: Curve, threshold: float) -> dict[str, float | None]:
    """What detections from a score on come to: {"f1", "threshold", "precision", "recall"}."""
    if np.isnan(points.recall).all():  # there is no object
        return {"f1": None, "threshold": threshold, "precision": None, "recall": None}
    reached = np.flatnonzero(np.asarray(points.thresholds) >= threshold)
    if not len(reached):
        return {"f1": 0.0, "threshold": threshold, "precision": None, "recall": 0.0}
    names = ("f1", "precision", "recall")
    return {"threshold": threshold, **{name: float(getattr(points, name)[reached[-1]]) for name in names}}


def voc_ap(rows: Ranked, rule: str = "10") -> float | None:
    """Average precision of one class as Pascal VOC gives it; None where there is no object.

    Args:
        rows: Of one class.
        rule: "07": mean of the best precision at recalls 0, 0.1, ... 1 and above; "10": area under that curve,
            as from 2010 on.
    """
    objects = len(rows.found_at)
    if not objects:
        return None
    hits = np.cumsum(rows.hits)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / objects
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    if rule == "07":
        # 1e-12: 0.1 * 3 is more than 3 / 10 in floats, and the development kit means them to be equal
        first = np.searchsorted(recall, RECALLS_07 - 1e-12)
        return float(np.append(best, 0.0)[first].mean())
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


# --- screening ---


def at_false_alarms(points: Curve, rate: float) -> dict[str, float | None]:
    """The lowest threshold with at most `rate` false alarms an image.

    Returns:
        {"threshold", "recall", "false_alarms"}; without such a threshold (or any detection) it is None, recall 0.
    """
    fits = np.flatnonzero(points.false_alarms <= rate + 1e-12)
    if not len(fits):
        return {"threshold": None, "recall": 0.0, "false_alarms": 0.0}
    last = int(fits[-1])
    recall = float(points.recall[last])
    return {
        "threshold": float(points.thresholds[last]),
        "recall": None if np.isnan(recall) else recall,
        "false_alarms": float(points.false_alarms[last]),
    }


def bins_of(values: Sequence[str]) -> list[str]:
    """The bin of each value of a column: quarters of 0..1 for many numbers, else the values themselves.

    Args:
        values: Texts; an empty one is "unknown".
    """
    known = sorted({value for value in values if value})
    try:
        shares = all(0 <= float(value) <= 1 for value in known)
    except ValueError:
        shares = False
    if not shares or len(known) <= FEW:
        return [value or "unknown" for value in values]
    names = [f"{low:g}-{high:g}" for low, high in pairwise(BINS)]
    places = (int(np.clip(np.searchsorted(BINS, float(v), "right") - 1, 0, 3)) if v else -1 for v in values)
    return [names[place] if place >= 0 else "unknown" for place in places]


def screening(
    truth: Boxes, rows: Ranked, rates: Sequence[float], column: str = "occlusion"
) -> list[dict[str, Any]]:
    """Recall at false alarms an image, one threshold for all classes.

    Args:
        truth: The objects; a box column `column` divides them into bins.
        rows: All classes.
        rates: False alarms an image.
        column: Name of the box column.

    Returns:
        For each rate {"rate", "threshold", "recall", "false_alarms", "per_class"} and, with the column,
        "per_bin": {bin: {"recall", "objects"}}.
    """
    points = curve(rows)
    facts = truth.box_columns.get(column)
    bins = np.array(bins_of([facts[i][j] for i, j in rows.objects])) if facts is not None else None
    found = []
    for rate in rates:
        point = at_false_alarms(points, rate)
        threshold = np.inf if point["threshold"] is None else point["threshold"]
        hit = rows.found_at >= threshold
        per_class = {
            name: float(hit[rows.object_labels == k].mean()) if (rows.object_labels == k).any() else None
            for k, name in enumerate(truth.class_names)
        }
        one: dict[str, Any] = {"rate": float(rate), **point, "per_class": per_class}
        if bins is not None:
            one["per_bin"] = {
                str(b): {"recall": float(hit[bins == b].mean()), "objects": int((bins == b).sum())}
                for b in sorted(set(bins.tolist()))
            }
        found.append(one)
    return found
