"""Detections in, numbers out: what a detector is worth, with COCO's measures as pycocotools gives them.

pycocotools is always given all images and all classes: left to themselves, wrappers leave out the images without
detections (missed bags vanish from the measure) or the class with index 0. Beside it stand Pascal VOC's measures,
F1, the confusion matrix and, for screening, recall at a number of false alarms a bag. A number that does not exist
is None.

Source: Lin et al., Microsoft COCO: common objects in context (2014); https://cocodataset.org/#detection-eval
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.data.boxes import Boxes, areas
from tlkit.errors import DataFault, RunFailed
from tlkit.results import detection_intervals as resampling
from tlkit.results.detection_curves import best_f1, curve, f1_from, screening, voc_ap
from tlkit.results.detection_matches import (
    Detections,
    Ranked,
    confusion_with_background,
    detections_of_padded,
    detections_of_pictures,
    ranked,
)
from tlkit.results.intervals import draw_groups, intervals

__all__ = [
    "Detections",
    "coco_measures",
    "detection_measures",
    "detections_of_padded",
    "detections_of_pictures",
]

RATES = (0.1, 0.5, 1.0)  # false alarms an image
HEAD = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
_PLACES = (0, 1, 2, 3, 4, 5, 8)  # of these in COCOeval.stats


def detection_measures(
    truth: Boxes,
    found: Detections,
    *,
    groups: Sequence[str] | None = None,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    rates: Sequence[float] = RATES,
    resamples: int = 300,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a detector on images with known objects.

    Args:
        truth: The images, with or without objects.
        found: The detections, of every one of these images.
        groups: What each image belongs to (bag, patient), `[n]`; None: each to itself.
        iou_threshold: Least overlap of a hit, for all but COCO's measures.
        score_threshold: From which F1, precision, recall of all classes and the confusion matrix are taken: one that
            was chosen on other images. None: where F1 is best here, which flatters.
        rates: False alarms an image at which recall is wanted.
        resamples: How many times the groups are drawn anew for the intervals.
        seed: Of those draws.

    Returns:
        `n`, `groups`, `objects`, `negative` (images without objects), COCO's `AP` (mean over overlaps 0.5 to 0.95),
        `AP50`, `AP75`, `APs`, `APm`, `APl`, `AR` (100 detections an image), `voc` (mean `AP07` and `AP10`), `f1`
        (of all classes at one threshold), `screening` (see `detection_curves.screening`), `confusion` (matrix, class
        names with background, both thresholds), `intervals` (95 %, of AP, AP50, AP75 and `recall@rate`) and
        `per_class` (AP, AP50, AP75, AR, AP07, AP10, f1, threshold, precision, recall, objects, images, interval of
        AP50).

    Raises:
        DataFault: There is no image.
        RunFailed: The detector says NaN or infinity.
        ValueError: Shapes or labels do not fit; a bug of the caller.
    """
    _check(truth, found)
    members = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    evaluation, rows = coco_evaluation(truth, found), ranked(truth, found, iou_threshold)
    head, per_class, points = _head(evaluation), _per_class(truth, evaluation, rows), curve(rows)
    f1 = best_f1(points) if score_threshold is None else f1_from(points, score_threshold)
    screened = screening(truth, rows, rates)
    bounds = _intervals(truth, head, per_class, screened, evaluation, rows, members, resamples, seed)
    for name, row in per_class.items():
        row["interval"] = bounds.pop(f"class {name}")
    return {
        "n": len(truth),
        "groups": int(members.max()) + 1,
        "objects": len(rows.found_at),
        "negative": sum(not len(boxes) for boxes in truth.xyxy),
        **head,
        "voc": {key: _mean([row[key] for row in per_class.values()]) for key in ("AP07", "AP10")},
        "f1": {**f1, "iou_threshold": iou_threshold},
        "screening": screened,
        "confusion": _confusion(truth, found, f1["threshold"], iou_threshold),
        "intervals": bounds,
        "per_class": per_class,
    }


def _confusion(truth: Boxes, found: Detections, threshold: float | None, overlap: float) -> dict[str, Any]:
    threshold = 0.5 if threshold is None else float(threshold)
    return {
        "matrix": confusion_with_background(truth, found, threshold, overlap).tolist(),
        "classes": [*truth.class_names, "background"],
        "score_threshold": threshold,
        "iou_threshold": overlap,
    }


def coco_measures(truth: Boxes, found: Detections) -> dict[str, float | None]:
    """COCO's AP, AP50, AP75, APs, APm, APl and AR alone, for use while training.

    Args:
        truth: The images.
        found: The detections, of every one of these images.

    Raises:
        DataFault, RunFailed, ValueError: As for `detection_measures`.
    """
    _check(truth, found)
    return _head(coco_evaluation(truth, found))


def _check(truth: Boxes, found: Detections) -> None:
    if not len(truth):
        raise DataFault("There is no image to measure.", "Give a source with images.")
    if not len(truth) == len(found.boxes) == len(found.scores) == len(found.labels):
        raise ValueError(f"{len(found.boxes)} detections for {len(truth)} images")
    for boxes, scores, labels in zip(*found, strict=True):
        if boxes.shape != (len(scores), 4) or labels.shape != scores.shape:
            raise ValueError(f"shapes {boxes.shape}, {scores.shape}, {labels.shape} do not fit")
    if not all(np.isfinite(np.concatenate(values)).all() for values in (found.boxes, found.scores)):
        raise RunFailed("The detector says NaN or infinity.", "Lower the learning rate and train anew.")
    labels, classes = np.concatenate(found.labels), len(truth.class_names)
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels {labels.min()}..{labels.max()} of {classes} classes")


# --- pycocotools ---


def coco_evaluation(truth: Boxes, found: Detections) -> Any:
    """A COCOeval that has evaluated, accumulated and summarized every image and every class.

    Images and categories are numbered from 1; difficult objects are its crowds. A box column "area" is the area
    that decides between small, medium and large, as in COCO's own files; else it is the box's.
    """
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports to stdout, which is ours for data
        evaluation = COCOeval(_coco(truth, _objects(truth)), _coco(truth, _found(found)), "bbox")
        evaluation.params.imgIds = list(range(1, len(truth) + 1))
        evaluation.params.catIds = list(range(1, len(truth.class_names) + 1))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _coco(truth: Boxes, annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(1, len(truth) + 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(truth.class_names, 1)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _objects(truth: Boxes) -> list[dict[str, Any]]:
    own = truth.box_columns.get("area")
    rows: list[dict[str, Any]] = []
    for i, (boxes, labels, difficult) in enumerate(
        zip(truth.xyxy, truth.labels, truth.difficult, strict=True)
    ):
        sizes = areas(boxes).tolist()
        if own is not None:
            sizes = [float(text) if text else size for text, size in zip(own[i], sizes, strict=True)]
        for box, label, crowd, area in zip(_corners_to_sides(boxes), labels, difficult, sizes, strict=True):
            # Numbers from 1: pycocotools takes a match with object 0 for none.
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": i + 1,
                    "category_id": int(label) + 1,
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    return rows


def _found(found: Detections) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, (boxes, scores, labels) in enumerate(zip(*found, strict=True), 1):
        for box, score, label in zip(_corners_to_sides(boxes), scores.tolist(), labels.tolist(), strict=True):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": i,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return rows


def _corners_to_sides(boxes: np.ndarray) -> list[list[float]]:
    """Left, top, width, height, in double precision."""
    wide = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1).tolist()


# --- summaries ---


def _head(evaluation: Any) -> dict[str, float | None]:
    return {name: _known(evaluation.stats[place]) for name, place in zip(HEAD, _PLACES, strict=True)}


def _known(value: float) -> float | None:
    """Turn -1, with which pycocotools says that there is nothing to measure, into None."""
    return float(value) if value > -1 else None


def _class_mean(values: np.ndarray) -> float | None:
    return float(values[values > -1].mean()) if (values > -1).any() else None


def _per_class(truth: Boxes, evaluation: Any, rows: Any) -> dict[str, dict[str, Any]]:
    precision, recall = (
        evaluation.eval["precision"],
        evaluation.eval["recall"],
    )  # [T, R, K, A, M], [T, K, A, M]
    found = {}
    for k, name in enumerate(truth.class_names):
        own = rows.of(k)
        overlaps = precision[:, :, k, 0, -1]
        found[name] = {
            "AP": _class_mean(overlaps),
            "AP50": _class_mean(overlaps[0]),
            "AP75": _class_mean(overlaps[5]),
            "AR": _class_mean(recall[:, k, 0, -1]),
            "AP07": voc_ap(own, "07"),
            "AP10": voc_ap(own, "10"),
            **best_f1(curve(own)),
            "objects": len(own.found_at),
            "images": len(np.unique(own.object_images)),
        }
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _intervals(
    truth: Boxes,
    head: dict[str, float | None],
    per_class: dict[str, dict[str, Any]],
    screened: list[dict[str, Any]],
    evaluation: Any,
    rows: Any,
    members: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, list[float] | None]:
    """95 % intervals of AP, AP50, AP75, AP50 of each class ("class NAME") and recall at each rate."""
    count, rates = int(members.max()) + 1, [one["rate"] for one in screened]

    def resample(draws: np.ndarray) -> dict[str, np.ndarray]:
        return resampled_measures(truth, evaluation, rows, members, draws, rates)

    values = {name: head[name] for name in ("AP", "AP50", "AP75")}
    values |= {f"class {name}": row["AP50"] for name, row in per_class.items()}
    values |= {f"recall@{one['rate']:g}": one["recall"] if len(rows.found_at) else None for one in screened}
    with_objects = {
        f"class {name}": len(np.unique(members[rows.object_images[rows.object_labels == k]]))
        for k, name in enumerate(truth.class_names)
    }
    rarest = min((number for number in with_objects.values() if number), default=1)
    trials = {name: max(with_objects.get(name, rarest), 1) for name in values}
    return intervals(values, resample, trials, draw_groups(count, resamples, seed))


def resampled_measures(
    truth: Boxes,
    evaluation: Any,
    rows: Ranked,
    members: np.ndarray,
    draws: np.ndarray,
    rates: Sequence[float] = RATES,
) -> dict[str, np.ndarray]:
    """AP, AP50, AP75, AP50 of each class ("class NAME") and recall at each rate ("recall@0.1"), in every resample.

    Args:
        truth: The images.
        evaluation: Of `coco_evaluation`.
        rows: Their ranking.
        members: The group of each image, int `[n]`.
        draws: How often each group was drawn, `[resamples, G]`.
        rates: False alarms an image.

    Returns:
        float64 `[resamples]` each, NaN where a resample has no object.
    """
    count, weights = draws.shape[1], np.ascontiguousarray(draws.T, np.float32)
    classes = resampling.counted_classes(evaluation, members, count)
    pooled = resampling.counted_screening(rows, members, count)
    table = np.array([[resampling.resampled_ap(one, weights) for one in overlaps] for overlaps in classes])
    table = table.reshape(len(classes), len(evaluation.params.iouThrs), len(draws))  # [k, overlap, draw]
    found = {
        "AP": _mean_of_known(table.mean(axis=1)),
        "AP50": _mean_of_known(table[:, 0]),
        "AP75": _mean_of_known(table[:, 5]),
    }
    found |= {f"class {name}": table[k, 0] for k, name in enumerate(truth.class_names)}
    for rate in rates:
        found[f"recall@{rate:g}"] = resampling.resampled_recall(pooled, weights, rate)
    return found


def _mean_of_known(table: np.ndarray) -> np.ndarray:
    """Mean over the classes that a resample has: float64 `[k, resamples]` -> `[resamples]`."""
    known = ~np.isnan(table)
    sums, counts = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, counts, out=np.full(table.shape[1], np.nan), where=counts > 0)
