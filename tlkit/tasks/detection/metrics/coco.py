"""COCO's average precision: the evaluation of boxes by faster-coco-eval, whose numbers are those of pycocotools.

The engine is always given all images and all classes: left to themselves, wrappers leave out the images without
detections (missed bags vanish from the measure) or the class with index 0. It counts as many detections of a class and
image as there can be, and not COCO's 100, which say 0.5 of a perfect detector of 200 cells.

Source: Lin et al., Microsoft COCO: common objects in context (2014); https://cocodataset.org/#detection-eval
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tlkit.data.boxes.dataset import Boxes, areas
from tlkit.data.boxes.masks.rle import area
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.masks import mask_pairs
from tlkit.tasks.detection.metrics.matching import all_labels, all_scores, joined, pairs

COCO_MOST = 100  # detections of a class and image that COCO's own measure counts
OVERLAPS = np.linspace(0.5, 0.95, 10)
_AREAS = {"APs": 1, "APm": 2, "APl": 3}  # places among the engine's ranges of areas; 0 is all
_BEYOND = 1e12  # square pixels: outside every range, so that an object is ignored by its plain IoU


def most_counted(truth: Boxes, most: int = COCO_MOST) -> int:
    """How many detections of a class and image count: no fewer than 100, than `most`, or than an image has objects.

    Args:
        truth: The images.
        most: Detections an image that the detector gives.
    """
    objects = [int(np.bincount(labels).max()) for labels in truth.labels if len(labels)]
    return max(COCO_MOST, most, *objects)


def coco_evaluation(
    truth: Boxes, found: Sequence[Detections], most: int = COCO_MOST, *, masks: bool = False
) -> Any:
    """A COCOeval_faster that has evaluated, accumulated and summarized every image and every class.

    Images and categories are numbered from 1. Crowds are its crowds. Its flag "ignore" is overwritten by "iscrowd",
    so a difficult object has an area beyond all ranges, and stands there as often as detections lie on it: any number
    of them does not count, as VOC has it. A box column "area" is the area that decides between small, medium and
    large, as in COCO's own files; else it is the box's.

    Args:
        truth: The images.
        found: The detections, of every one of these images.
        most: See `most_counted`.
        masks: Overlap is that of masks, not of boxes, and so is the area; every object has one (`judged_by_masks`).

    Returns:
        `eval["precision"]` is [overlap, recall, class, area, limit] and `eval["recall"]` [overlap, class, area, limit],
        the last limit that of `most_counted`; -1 where there is no object.
    """
    from faster_coco_eval import COCOeval_faster

    objects, detections = _objects(truth, found, masks=masks), _found(found, masks=masks)
    kind = "segm" if masks else "bbox"
    evaluation = COCOeval_faster(_coco(truth, objects), _coco(truth, detections), kind)
    evaluation.params.imgIds = list(range(1, len(truth) + 1))
    evaluation.params.catIds = list(range(1, len(truth.class_names) + 1))
    evaluation.params.maxDets = sorted({1, 10, COCO_MOST, most_counted(truth, most)})
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _coco(truth: Boxes, annotations: list[dict[str, Any]]) -> Any:
    from faster_coco_eval import COCO

    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": i, "width": width, "height": height} for i, (width, height) in enumerate(truth.sizes, 1)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(truth.class_names, 1)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _objects(truth: Boxes, found: Sequence[Detections], *, masks: bool) -> list[dict[str, Any]]:
    own, copies = truth.box_columns.get("area"), _copies(truth, found)
    rows: list[dict[str, Any]] = []
    for i, boxes in enumerate(truth.xyxy):
        sizes = areas(boxes).tolist()
        drawn = truth.masks[i] if masks and truth.masks else None
        if drawn is not None:
            sizes = [float(area(mask)) for mask in drawn if mask]
        elif own is not None:
            sizes = [float(text) if text else size for text, size in zip(own[i], sizes, strict=True)]
        outlines = [{}] * len(boxes) if drawn is None else [{"segmentation": m.coco} for m in drawn if m]
        facts = (truth.labels[i].tolist(), truth.difficult[i], truth.crowd[i], sizes, copies[i], outlines)
        for box, label, difficult, crowd, size, number, outline in zip(
            _corners_to_sides(boxes), *facts, strict=True
        ):
            for _ in range(number):
                # Numbers from 1: a match with object 0 is taken for none.
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": i + 1,
                        "category_id": label + 1,
                        "bbox": box,
                        "area": _BEYOND if difficult else size,
                        "iscrowd": int(crowd),
                        **outline,
                    }
                )
    return rows


def _copies(truth: Boxes, found: Sequence[Detections]) -> list[list[int]]:
    """How often each object stands there: once, a difficult one as often as detections of its class lie on it."""
    hard = [np.flatnonzero(one & ~crowd) for one, crowd in zip(truth.difficult, truth.crowd, strict=True)]
    copies = [[1] * len(labels) for labels in truth.labels]
    with_hard = [i for i, some in enumerate(hard) if len(some)]
    if with_hard:
        some, their = truth.take(with_hard), [found[i] for i in with_hard]
        near = pairs(some, their, float(OVERLAPS[0]))
        same = all_labels(their)[near.rows] == joined(some.labels, (0,))[near.columns]
        number = np.bincount(near.columns[same], minlength=len(near.column_images))
        starts = np.cumsum([0, *map(len, some.labels)])
        for place, i in enumerate(with_hard):
            for j in hard[i].tolist():
                copies[i][j] = max(1, int(number[starts[place] + j]))
    return copies


def _found(found: Sequence[Detections], *, masks: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, one in enumerate(found, 1):
        drawn = one.masks if masks and one.masks is not None else None
        outlines = (
            [{}] * len(one.labels)
            if drawn is None
            else [{"segmentation": mask.coco, "area": area(mask)} for mask in drawn]
        )
        values = (_corners_to_sides(one.boxes), one.scores.tolist(), one.labels.tolist(), outlines)
        for box, score, label, outline in zip(*values, strict=True):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": i,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "score": score,
                    **outline,
                }
            )
    return rows


def _corners_to_sides(boxes: np.ndarray) -> list[list[float]]:
    """Left, top, width, height, in double precision."""
    wide = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1).tolist()


# --- summaries ---


def head(evaluation: Any, limit: int | None = None) -> dict[str, float | None]:
    """AP (mean over overlaps 0.5 to 0.95), AP50, AP75, AP of small, medium and large objects, and AR.

    Args:
        evaluation: Of `coco_evaluation`.
        limit: Of its limits of detections; None: the largest.
    """
    limits = list(evaluation.params.maxDets)
    m = len(limits) - 1 if limit is None else limits.index(limit)
    precision, recall = evaluation.eval["precision"][..., m], evaluation.eval["recall"][..., m]
    every = precision[..., 0]
    values = {"AP": every, "AP50": every[0], "AP75": every[5]}
    values |= {name: precision[..., place] for name, place in _AREAS.items()}
    return {name: mean_of_known(one) for name, one in {**values, "AR": recall[..., 0]}.items()}


def mean_of_known(values: np.ndarray) -> float | None:
    """Mean of what is not -1, by which the engine says that there is nothing to measure; None where nothing is."""
    known = values[values > -1]
    return float(known.mean()) if len(known) else None


# --- matches ---


class CocoMatches(NamedTuple):
    """What every detection is at every overlap of COCO, numbered through all images.

    Attributes:
        hits: bool `[overlap, d]`.
        ignored: bool `[overlap, d]`: no hit, and on a difficult object or in a crowd.
        scores: float64 `[d]`.
        labels: int64 `[d]`.
        images: int64 `[d]`.
        object_labels: int64 `[g]`, of the objects that count.
        object_images: int64 `[g]`.
    """

    hits: np.ndarray
    ignored: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    object_labels: np.ndarray
    object_images: np.ndarray


def coco_matches(
    truth: Boxes, found: Sequence[Detections], most: int = COCO_MOST, *, masks: bool = False
) -> CocoMatches:
    """Match by COCO's rule, as the engine does, which keeps its matches to itself.

    From the surest on, each detection takes the free object of its class that it overlaps most, at each overlap anew.

    Args:
        truth: The images.
        found: The detections.
        most: See `most_counted`; detections beyond are left out.
        masks: As for `coco_evaluation`.
    """
    found = _surest(found, most_counted(truth, most))
    near = (mask_pairs if masks else pairs)(truth, found, float(OVERLAPS[0]))
    scores = all_scores(found).astype(np.float64)
    labels, kinds = all_labels(found), joined(truth.labels, (0,)).astype(np.int64)
    wanted = ~joined(truth.ignored, (0,)).astype(bool)
    same = labels[near.rows] == kinds[near.columns]
    rows, columns, overlap = near.rows[same], near.columns[same], near.overlap[same]
    reached = np.searchsorted(OVERLAPS, overlap, side="right")  # how many of the overlaps each pair has
    counts = wanted[columns]
    # Of equal overlaps the last object counts, as in COCO's loop.
    order = np.lexsort((-columns, -overlap, rows, -scores[rows]))
    order = order[counts[order]]
    hits, taken = [0] * len(scores), [0] * len(wanted)  # a bit for each overlap
    for row, column, number in zip(
        rows[order].tolist(), columns[order].tolist(), reached[order].tolist(), strict=True
    ):
        new = ((1 << number) - 1) & ~hits[row] & ~taken[column]
        hits[row] |= new
        taken[column] |= new
    best = np.zeros(len(scores), np.int64)
    np.maximum.at(best, rows[~counts], reached[~counts])
    places = np.arange(len(OVERLAPS))[:, None]
    hit = (np.array(hits, np.int64)[None] >> places & 1).astype(bool)
    ignored = ~hit & (places < best[None])
    return CocoMatches(
        hit, ignored, scores, labels, near.row_images, kinds[wanted], near.column_images[wanted]
    )


def _surest(found: Sequence[Detections], limit: int) -> Sequence[Detections]:
    """At most `limit` detections of each class and image, the surest, in the order in which they stand."""
    if all(len(one.labels) <= limit for one in found):
        return found
    kept = []
    for one in found:
        order = np.argsort(-one.scores, kind="stable")
        chosen = [order[one.labels[order] == k][:limit] for k in np.unique(one.labels)]
        kept.append(one.take(np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))))
    return kept
