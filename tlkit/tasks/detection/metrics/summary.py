"""Average precision, F1, recall at false alarms: detections in, numbers out, what a detector is worth.

Beside COCO's measures (see `coco`) stand Pascal VOC's, F1, the confusion matrix and, for screening, recall at
a number of false alarms a bag. A number that does not exist is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tlkit.core.bootstrap import draw_groups, intervals, mean_where_known
from tlkit.core.metric_names import DETECTOR
from tlkit.data.boxes.dataset import Boxes
from tlkit.errors import DataFault, RunFailed
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics import intervals as resampling
from tlkit.tasks.detection.metrics.coco import (
    COCO_MOST,
    OVERLAPS,
    CocoMatches,
    coco_evaluation,
    coco_matches,
    head,
    mean_of_known,
    most_counted,
)
from tlkit.tasks.detection.metrics.curves import best_f1, curve, f1_from, screening, voc_ap
from tlkit.tasks.detection.metrics.masks import have_masks, judged_by_masks
from tlkit.tasks.detection.metrics.matching import Ranked, all_labels, confusion_with_background, ranked

RATES = (0.1, 0.5, 1.0)  # false alarms an image


def detection_measures(
    truth: Boxes,
    found: Sequence[Detections],
    *,
    groups: Sequence[str] | None = None,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    rates: Sequence[float] = RATES,
    resamples: int = 300,
    seed: int = 0,
    most: int = COCO_MOST,
) -> dict[str, Any]:
    """Measure a detector on images with known objects.

    Args:
        truth: The images, with or without objects.
        found: The detections, of every one of these images.
        groups: What each image belongs to (bag, patient), `[n]`; None: each to itself.
        iou_threshold: Least overlap of a hit, for all but COCO's measures.
        score_threshold: Of F1, precision, recall and the confusion matrix, chosen on other images; None: where F1 of all
            classes is best here, which flatters.
        rates: False alarms an image at which recall is wanted.
        resamples: How many times the groups are drawn anew for the intervals.
        seed: Of those draws.
        most: Detections an image that the detector gives.

    Returns:
        `n`, `groups`, `objects`, `negative` (images without objects), COCO's `AP` to `AR` (`coco.head`) with
        `counted` detections of a class and image (`most_counted`), `at_100` (the same with COCO's own 100, None where
        nothing differs), `voc` (`AP07`, `AP10`), `f1`, `screening` (see `curves`), `confusion`, `intervals` (95 %; AP,
        AP50, AP75 and `recall@rate`), `per_class` (AP to `interval` of AP50), and `masks` where both sides have some.

    Raises:
        DataFault: There is no image.
        RunFailed: The detector says NaN or infinity.
        ValueError: Shapes or labels do not fit; a bug of the caller.
    """
    members = _check(truth, found, groups)
    evaluation, rows = coco_evaluation(truth, found, most), ranked(truth, found, iou_threshold)
    measured, of_100, points = head(evaluation), head(evaluation, COCO_MOST), curve(rows)
    f1 = best_f1(points) if score_threshold is None else f1_from(points, score_threshold)
    per_class = _per_class(truth, evaluation, rows, f1["threshold"])
    screened = screening(truth, rows, rates)
    matched = Matched(truth, coco_matches(truth, found, most), rows, members)
    return {
        "n": len(truth),
        "groups": int(members.max()) + 1,
        "objects": len(rows.found_at),
        "negative": sum(not len(boxes) for boxes in truth.xyxy),
        **measured,
        "counted": most_counted(truth, most),
        "at_100": None if of_100 == measured else of_100,
        "voc": {key: mean_where_known([row[key] for row in per_class.values()]) for key in ("AP07", "AP10")},
        "f1": {**f1, "iou_threshold": iou_threshold},
        "screening": screened,
        "confusion": _confusion(truth, found, f1["threshold"], iou_threshold),
        "intervals": _intervals(matched, measured, per_class, screened, resamples, seed),
        "per_class": per_class,
        **_masks(truth, found, members, most, resamples, seed),
    }


def _masks(
    truth: Boxes, found: Sequence[Detections], members: np.ndarray, most: int, resamples: int, seed: int
) -> dict[str, Any]:
    """`masks`, or nothing where there are none.

    COCO's measures by masks, of `objects` that have one, with `intervals` and, in `per_class`, AP and AP50.
    """
    if not have_masks(truth, found):
        return {}
    truth = judged_by_masks(truth)
    evaluation = coco_evaluation(truth, found, most, masks=True)
    matched = coco_matches(truth, found, most, masks=True)
    measured, count = head(evaluation), int(members.max()) + 1
    classes = range(len(truth.class_names))
    with_objects = [
        len(np.unique(members[matched.object_images[matched.object_labels == k]])) for k in classes
    ]

    def resample(draws: np.ndarray) -> dict[str, np.ndarray]:
        return resampled_ap(truth, matched, members, draws)

    values = {name: measured[name] for name in DETECTOR.with_interval}
    trials = dict.fromkeys(values, min((number for number in with_objects if number), default=1))
    precision = evaluation.eval["precision"]
    per_class = {
        name: {
            "AP": mean_of_known(precision[:, :, k, 0, -1]),
            "AP50": mean_of_known(precision[0, :, k, 0, -1]),
        }
        for k, name in enumerate(truth.class_names)
    }
    objects = int(sum((~ignored).sum() for ignored in truth.ignored))
    bounds = intervals(values, resample, trials, draw_groups(count, resamples, seed))
    return {"masks": {**measured, "objects": objects, "intervals": bounds, "per_class": per_class}}


def _confusion(
    truth: Boxes, found: Sequence[Detections], threshold: float | None, overlap: float
) -> dict[str, Any]:
    threshold = 0.5 if threshold is None else float(threshold)
    return {
        "matrix": confusion_with_background(truth, found, threshold, overlap).tolist(),
        "classes": [*truth.class_names, "background"],
        "score_threshold": threshold,
        "iou_threshold": overlap,
    }


def coco_measures(
    truth: Boxes, found: Sequence[Detections], most: int = COCO_MOST
) -> dict[str, float | None]:
    """COCO's AP, AP50, AP75, APs, APm, APl and AR alone, for use while training.

    Args:
        truth: The images.
        found: The detections, of every one of these images.
        most: Detections an image that the detector gives.

    Raises:
        DataFault, RunFailed, ValueError: As for `detection_measures`.
    """
    _check(truth, found)
    return head(coco_evaluation(truth, found, most))


def _check(truth: Boxes, found: Sequence[Detections], groups: Sequence[str] | None = None) -> np.ndarray:
    """The group of each image, int [n], where all fits."""
    if not len(truth):
        raise DataFault("There is no image to measure.", "Give a source with images.")
    if len(truth) != len(found):
        raise ValueError(f"{len(found)} detections for {len(truth)} images")
    for boxes, scores, labels, *_ in found:
        if boxes.shape != (len(scores), 4) or labels.shape != scores.shape:
            raise ValueError(f"shapes {boxes.shape}, {scores.shape}, {labels.shape} do not fit")
    if not all(np.isfinite(values).all() for one in found for values in (one.boxes, one.scores)):
        raise RunFailed("The detector says NaN or infinity.", "Lower the learning rate and train anew.")
    labels, classes = all_labels(found), len(truth.class_names)
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels {labels.min()}..{labels.max()} of {classes} classes")
    return np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]


# --- summaries ---


def _per_class(
    truth: Boxes, evaluation: Any, rows: Ranked, threshold: float | None
) -> dict[str, dict[str, Any]]:
    precision, recall = (
        evaluation.eval["precision"],
        evaluation.eval["recall"],
    )  # [T, R, K, A, M], [T, K, A, M]
    found = {}
    for k, name in enumerate(truth.class_names):
        own = rows.of(k)
        overlaps = precision[:, :, k, 0, -1]
        points = curve(own)
        found[name] = {
            "AP": mean_of_known(overlaps),
            "AP50": mean_of_known(overlaps[0]),
            "AP75": mean_of_known(overlaps[5]),
            "AR": mean_of_known(recall[:, k, 0, -1]),
            "AP07": voc_ap(own, "07"),
            "AP10": voc_ap(own, "10"),
            **(best_f1(points) if threshold is None else f1_from(points, threshold)),
            "objects": len(own.found_at),
            "images": len(np.unique(own.object_images)),
        }
    return found


class Matched(NamedTuple):
    """All that is resampled.

    Attributes:
        truth: The images.
        coco: Which detection found which object, by COCO's rule.
        rows: Their ranking, by VOC's.
        members: The group of each image, int `[n]`.
    """

    truth: Boxes
    coco: CocoMatches
    rows: Ranked
    members: np.ndarray


def _intervals(
    matched: Matched,
    measured: dict[str, float | None],
    per_class: dict[str, dict[str, Any]],
    screened: list[dict[str, Any]],
    resamples: int,
    seed: int,
) -> dict[str, list[float] | None]:
    """95 % intervals of AP, AP50, AP75 and recall at each rate; those of AP50 of each class go into its row."""
    truth, rows, members = matched.truth, matched.rows, matched.members
    count, rates = int(members.max()) + 1, [one["rate"] for one in screened]

    def resample(draws: np.ndarray) -> dict[str, np.ndarray]:
        return resampled_measures(matched, draws, rates)

    values = {name: measured[name] for name in DETECTOR.with_interval}
    values |= {f"class {name}": row["AP50"] for name, row in per_class.items()}
    values |= {f"recall@{one['rate']:g}": one["recall"] if len(rows.found_at) else None for one in screened}
    with_objects = {
        f"class {name}": len(np.unique(members[rows.object_images[rows.object_labels == k]]))
        for k, name in enumerate(truth.class_names)
    }
    rarest = min((number for number in with_objects.values() if number), default=1)
    trials = {name: max(with_objects.get(name, rarest), 1) for name in values}
    bounds = intervals(values, resample, trials, draw_groups(count, resamples, seed))
    for name, row in per_class.items():
        row["interval"] = bounds.pop(f"class {name}")
    return bounds


def resampled_measures(
    matched: Matched, draws: np.ndarray, rates: Sequence[float] = RATES
) -> dict[str, np.ndarray]:
    """AP, AP50, AP75, AP50 of each class ("class NAME") and recall at each rate ("recall@0.1"), in every resample.

    Args:
        matched: The images and the detections.
        draws: How often each group was drawn, `[resamples, G]`.
        rates: False alarms an image.

    Returns:
        float64 `[resamples]` each, NaN where a resample has no object.
    """
    count, weights = draws.shape[1], np.ascontiguousarray(draws.T, np.float32)
    pooled = resampling.counted_screening(matched.rows, matched.members, count)
    found = resampled_ap(matched.truth, matched.coco, matched.members, draws)
    for rate in rates:
        found[f"recall@{rate:g}"] = resampling.resampled_recall(pooled, weights, rate)
    return found


def resampled_ap(
    truth: Boxes, coco: CocoMatches, members: np.ndarray, draws: np.ndarray
) -> dict[str, np.ndarray]:
    """AP, AP50, AP75 and AP50 of each class ("class NAME") in every resample: float64 `[resamples]` each.

    Args:
        truth: The images.
        coco: Which detection found which object.
        members: The group of each image, int `[n]`.
        draws: How often each group was drawn, `[resamples, G]`.
    """
    count, weights = draws.shape[1], np.ascontiguousarray(draws.T, np.float32)
    classes = resampling.counted_classes(coco, len(truth.class_names), members, count)
    table = np.array([[resampling.resampled_ap(one, weights) for one in overlaps] for overlaps in classes])
    table = table.reshape(len(classes), len(OVERLAPS), len(draws))  # [k, overlap, draw]
    found = {
        "AP": _mean_of_known(table.mean(axis=1)),
        "AP50": _mean_of_known(table[:, 0]),
        "AP75": _mean_of_known(table[:, 5]),
    }
    return found | {f"class {name}": table[k, 0] for k, name in enumerate(truth.class_names)}


def _mean_of_known(table: np.ndarray) -> np.ndarray:
    """Mean over the classes that a resample has: float64 `[k, resamples]` -> `[resamples]`."""
    known = ~np.isnan(table)
    sums, counts = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, counts, out=np.full(table.shape[1], np.nan), where=counts > 0)
