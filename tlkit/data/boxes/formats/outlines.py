"""Polygons, run-length masks, rotated boxes and circles: the upright box that holds each.

Detectors here learn upright boxes. Whatever else an annotation draws has one such box, the smallest around it.

Source of the run-length form: the COCO API, https://github.com/cocodataset/cocoapi (common/maskApi.c).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tlkit.data.boxes.formats.annotations import Corners, number

NO_BOX: Corners = (math.nan,) * 4
MOST_RUNS = 10_000_000


def around(across: Iterable[object], down: Iterable[object]) -> Corners:
    """The box around points: left, top, right, bottom; NaN where there is none or one is no number."""
    xs, ys = [number(x) for x in across], [number(y) for y in down]
    if not xs or len(xs) != len(ys) or any(map(math.isnan, (*xs, *ys))):
        return NO_BOX
    return min(xs), min(ys), max(xs), max(ys)


def around_pairs(points: object) -> Corners:
    """The box around a list of [x, y]; NaN for anything else."""
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        return NO_BOX
    return around([x for x, _ in points], [y for _, y in points])


def flat_pairs(points: object) -> list | None:
    """A list of [x, y] as the one ring of a polygon, [[x, y, x, y, ...]]; None for anything else."""
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        return None
    return [[value for pair in points for value in pair]]


def from_sides(left: float, top: float, width: float, height: float) -> Corners:
    """The box of a corner and two sides."""
    return left, top, left + width, top + height


def about(x: float, y: float, half_x: float, half_y: float) -> Corners:
    """The box of a middle and half its sides, as of a circle or an ellipse."""
    return x - half_x, y - half_y, x + half_x, y + half_y


def around_turned(middle_x: float, middle_y: float, width: float, height: float, angle: float) -> Corners:
    """The box around a box that is turned about its middle.

    Args:
        middle_x: Of the box.
        middle_y: Likewise.
        width: Its side before the turn; negative makes no box.
        height: Likewise.
        angle: Radians; which way it turns makes no difference.
    """
    if width < 0 or height < 0 or not math.isfinite(angle):
        return NO_BOX
    sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
    # What a float leaves of the sine of half a turn would widen an upright box.
    sine, cosine = (0.0 if value < 1e-9 else value for value in (sine, cosine))
    half_x, half_y = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return about(middle_x, middle_y, half_x, half_y)


def around_coco(segmentation: Any) -> Corners | None:
    """The box around COCO's `segmentation`: polygons [[x, y, x, y, ...], ...] or a run-length mask.

    Returns:
        Left, top, right, bottom; NaN where it is broken; None where there is nothing.
    """
    if isinstance(segmentation, dict) and segmentation:
        return _around_runs(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list) or not segmentation:
        return None
    rings = segmentation if all(isinstance(ring, list) for ring in segmentation) else [segmentation]
    if not any(rings):
        return None
    if any(len(ring) % 2 for ring in rings):
        return NO_BOX
    return around([x for ring in rings for x in ring[::2]], [y for ring in rings for y in ring[1::2]])


def _around_runs(counts: Any, size: Any) -> Corners:
    """Runs of 0 and 1 by turns, down the columns of a mask of [height, width]."""
    given = unpacked_runs(counts) if isinstance(counts, str) else counts
    runs: list[int] = given if isinstance(given, list) and len(given) <= MOST_RUNS else []
    if (
        not runs
        or not all(map(is_count, runs))
        or not isinstance(size, list)
        or len(size) != 2
        or not all(is_count(side) for side in size)
    ):
        return NO_BOX
    height, width = size
    if not height or sum(runs) > height * width:
        return NO_BOX
    left, top, right, bottom = width, height, 0, 0
    place = 0
    for index, run in enumerate(runs):
        if index % 2 and run:
            (first, above), (last, below) = divmod(place, height), divmod(place + run - 1, height)
            left, right = min(left, first), max(right, last + 1)
            top, bottom = (min(top, above), max(bottom, below + 1)) if first == last else (0, height)
        place += run
    return (float(left), float(top), float(right), float(bottom)) if right else NO_BOX


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of pixels."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def unpacked_runs(text: str) -> list[int] | None:
    """COCO's compressed runs: five bits a character, each run from the third on the difference to the one two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text[:MOST_RUNS]:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
