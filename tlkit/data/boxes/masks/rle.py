"""RLE, run-length masks in COCO's compressed form: bool arrays to a few bytes and back, area, box, union.

A mask is runs of 0 and 1 by turns, down the columns, packed as COCO packs them; equal masks have equal bytes.

Source: the COCO API, https://github.com/cocodataset/cocoapi (common/maskApi.c), here as faster-coco-eval has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval.core import mask as coco_masks


class Mask(NamedTuple):
    """One instance's pixels.

    Attributes:
        size: Height and width of the image, pixels.
        counts: COCO's compressed runs.
    """

    size: tuple[int, int]
    counts: bytes

    @property
    def coco(self) -> dict[str, Any]:
        """As it stands in COCO's JSON: `size` and `counts`, a text."""
        return {"size": list(self.size), "counts": self.counts.decode("ascii")}


def encode(pixels: np.ndarray) -> Mask:
    """The mask of bool `[h, w]`; what is not 0 belongs to it."""
    height, width = pixels.shape
    found = coco_masks.encode(np.asfortranarray(pixels != 0).astype(np.uint8, order="F"))
    return Mask((height, width), found["counts"])


def decode(mask: Mask) -> np.ndarray:
    """Bool `[h, w]` of a mask."""
    return np.asarray(coco_masks.decode(_plain(mask))).astype(bool)


def area(mask: Mask) -> int:
    """Pixels of a mask."""
    return int(coco_masks.area(_plain(mask)))


def box(mask: Mask) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of a mask in pixels, right and bottom exclusive; None of an empty one."""
    left, top, width, height = (int(side) for side in coco_masks.toBbox(_plain(mask)))
    return (left, top, left + width, top + height) if width and height else None


def union(masks: Sequence[Mask]) -> Mask:
    """The pixels of any of at least one mask, all of one size."""
    return _masked(coco_masks.merge([_plain(mask) for mask in masks]))


def share_pixels(masks: Sequence[Mask]) -> bool:
    """Whether two of some masks of one size have a pixel in common."""
    return len(masks) > 1 and area(union(masks)) < sum(map(area, masks))


def mask_iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks of one size; 1 of two empty ones."""
    both = area(union([one, other]))
    return (area(one) + area(other) - both) / both if both else 1.0


def ious(some: Sequence[Mask], others: Sequence[Mask], crowd: Sequence[bool]) -> np.ndarray:
    """Of each mask with each of others, float64 `[n, m]`: intersection over union, or over its own area with a crowd."""
    if not some or not others:
        return np.zeros((len(some), len(others)))
    given = ([_plain(mask) for mask in masks] for masks in (some, others))
    return np.asarray(coco_masks.iou(*given, [int(one) for one in crowd]), np.float64)


def from_runs(runs: Sequence[int], size: tuple[int, int]) -> Mask:
    """The mask of runs of 0 and 1 by turns, down the columns.

    Args:
        runs: Pixels of each, from 0; together height x width.
        size: Height and width.

    Raises:
        ValueError: They are more or fewer.
    """
    height, width = size
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"the runs have {sum(runs)} pixels, and {height} x {width} are {height * width}")
    counts = list(runs) if all(runs[1:]) else _joined(runs)
    return _masked(coco_masks.frPyObjects({"counts": counts, "size": [height, width]}, height, width))


def _joined(runs: Iterable[int]) -> list[int]:
    """The same without runs of no pixel, but for the first, so that equal masks are equal bytes."""
    joined, last = [0], 0
    for index, run in enumerate(runs):
        if not run:
            continue
        if index % 2 == last:
            joined[-1] += run
        else:
            joined.append(run)
            last = index % 2
    return joined


def from_rings(rings: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """The pixels inside of any of some polygons, as COCO's API fills them; what lies outside of the image is cut off.

    Args:
        rings: Of each x, y, x, y, ... of at least three points, pixels.
        size: Height and width.
    """
    height, width = size
    found = coco_masks.frPyObjects([[float(value) for value in ring] for ring in rings], height, width)
    return _masked(coco_masks.merge(found))


def from_values(values: np.ndarray) -> dict[int, Mask]:
    """The mask of each value of an index image but 0, by value in rising order.

    Args:
        values: Whole numbers `[h, w]`, 0 where there is nothing.
    """
    height, width = values.shape
    flat = values.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends, kinds = np.append(starts[1:], flat.size), flat[starts]
    order = np.argsort(kinds, kind="stable")
    found, first = np.unique(kinds[order], return_index=True)
    masks = {}
    for value, some in zip(found.tolist(), np.split(order, first[1:]), strict=True):
        if value:
            bounds = np.stack([starts[some], ends[some]], axis=1).ravel()
            runs = np.diff(np.concatenate([[0], bounds, [flat.size]])).tolist()
            masks[value] = from_runs(runs if runs[-1] else runs[:-1], (height, width))
    return masks


def _plain(mask: Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.counts}


def _masked(found: dict[str, Any]) -> Mask:
    height, width = found["size"]
    return Mask((int(height), int(width)), bytes(found["counts"]))
