"""Masks of detections against masks of objects: which overlap, by the pixels that both have.

An object without a mask counts neither when found nor when missed, as difficult ones do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.masks.rle import Mask, box, from_rings, ious
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.matching import Pairs


def have_masks(truth: Boxes, found: Sequence[Detections]) -> bool:
    """Whether both sides have masks, so that these can be measured."""
    known = any(mask for row in truth.masks or () for mask in row)
    return known and all(one.masks is not None for one in found)


def judged_by_masks(truth: Boxes) -> Boxes:
    """The same images, in which an object without a mask is difficult, and its box is its mask."""
    rows, hard = [], []
    for masks, boxes, (width, height), difficult in zip(
        truth.masks or (), truth.xyxy, truth.sizes, truth.difficult, strict=True
    ):
        seen = [mask if mask is not None and box(mask) else None for mask in masks]
        rows.append(
            tuple(mask or _filled(xyxy, (height, width)) for mask, xyxy in zip(seen, boxes, strict=True))
        )
        hard.append(difficult | np.array([mask is None for mask in seen], bool))
    return replace(truth, masks=tuple(rows), difficult=tuple(hard))


def _filled(xyxy: np.ndarray, size: tuple[int, int]) -> Mask:
    left, top, right, bottom = map(float, xyxy)
    return from_rings([[left, top, right, top, right, bottom, left, bottom]], size)


def mask_pairs(truth: Boxes, found: Sequence[Detections], iou_threshold: float) -> Pairs:
    """As `matching.pairs`, by the intersection over union of masks; arguments likewise, and both sides have masks."""
    rows, columns, overlaps = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    first_row = first_column = 0
    for one, masks, crowd in zip(found, truth.masks or (), truth.crowd, strict=True):
        overlap = ious(one.masks or (), [mask for mask in masks if mask], crowd.tolist())
        row, column = np.nonzero(overlap >= iou_threshold)
        rows.append(row + first_row)
        columns.append(column + first_column)
        overlaps.append(overlap[row, column])
        first_row, first_column = first_row + len(one.labels), first_column + len(masks)
    counts = [len(one.labels) for one in found], [len(boxes) for boxes in truth.xyxy]
    images = (np.repeat(np.arange(len(truth)), number) for number in counts)
    return Pairs(np.concatenate(rows), np.concatenate(columns), np.concatenate(overlaps), *images)
