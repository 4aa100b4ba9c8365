"""Polygons and COCO's run-length masks drawn as masks, and what cannot be drawn named.

An outline is what a reader met: a list of rings, each x, y, x, y, ... in pixels; a run-length mask as it stands in
COCO's JSON; or a `Mask`, where the source has images of masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tlkit.data.boxes.formats.outlines import MOST_RUNS, NO_BOX, Corners, around, is_count, unpacked_runs
from tlkit.data.boxes.masks.resampling import resampled
from tlkit.data.boxes.masks.rle import Mask, box, decode, encode, from_rings, from_runs

LEAST_POINTS = 3  # of a polygon
OVER = 1.0  # pixels that a polygon may lie over the edge by the rounding of tools
FAR = 4.0  # sides of the image that a polygon may reach away from it before it is no outline
MOST_OUTLINE = 2_000_000  # pixels along a mask's polygons; the memory for filling them grows with it


class UndrawnMask(Exception):
    """An outline is no mask.

    Attributes:
        kind: A kind of fault, such as "mask-outline".
        what: What is wrong with it, as the end of a sentence.
    """

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind, self.what = kind, what


class Drawn(NamedTuple):
    """A mask that was drawn.

    Attributes:
        mask: The mask.
        corners: Left, top, right, bottom of the outline inside the image, pixels: of polygons their own, whose tips may
            be too thin to be drawn; NaN of a mask of no pixel.
        over: How far the outline reaches over the edge, pixels; that is cut off.
    """

    mask: Mask
    corners: Corners
    over: float = 0.0


def has_outline(segmentation: Any) -> bool:
    """Whether COCO's `segmentation` says anything: not null, {}, [] or [[]]."""
    return any(segmentation) if isinstance(segmentation, list) else bool(segmentation)


def draw(outline: Any, size: tuple[int, int]) -> Drawn:
    """The mask of an outline.

    Args:
        outline: Rings, a run-length mask of COCO's, or a `Mask`.
        size: Width and height of the image.

    Raises:
        UndrawnMask: It cannot be drawn.
    """
    width, height = size
    if isinstance(outline, list):
        rings = _rings(outline)
        around_all = around(
            (x for ring in rings for x in ring[::2]), (y for ring in rings for y in ring[1::2])
        )
        over = _reach(around_all, size)
        _check_length(rings)
        left, top, right, bottom = around_all
        inside = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
        return Drawn(from_rings(rings, (height, width)), inside, over)
    mask = outline if isinstance(outline, Mask) else from_coco(outline)
    if mask.size != (height, width):
        what = f"its mask has {mask.size[1]}x{mask.size[0]} pixels, and its image {width}x{height}"
        raise UndrawnMask("mask-size", what)
    return Drawn(mask, box(mask) or NO_BOX)


def _rings(outline: list[Any]) -> list[list[float]]:
    """The polygons of a mask, every one of three points or more.

    Raises:
        UndrawnMask: One is none.
    """
    rings = outline if isinstance(outline[0], list) else [outline]
    for ring in rings:
        if not isinstance(ring, list) or not all(isinstance(v, (int, float, str)) for v in ring):
            raise UndrawnMask("mask-outline", "its polygon is no list of numbers")
        if len(ring) % 2:
            what = f"its polygon has {len(ring)} numbers, which are not pairs of x and y"
            raise UndrawnMask("mask-outline", what)
    numbers = [[_number(value) for value in ring] for ring in rings]
    points = min(len(ring) // 2 for ring in numbers)
    if points < LEAST_POINTS:
        has = {0: "no point", 1: "one point", 2: "two points"}[points]
        raise UndrawnMask("mask-outline", f"its polygon has {has}, and three are the least")
    return numbers


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UndrawnMask("mask-outline", f"its polygon has {str(value)[:20]!r} where a number is due")
    return number


def _reach(corners: Corners, size: tuple[int, int]) -> float:
    """How far an outline reaches over the edge: pixels, 0 where not.

    Raises:
        UndrawnMask: It lies outside, or is far too large.
    """
    (left, top, right, bottom), (width, height) = corners, size
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise UndrawnMask("mask-outside", f"its polygon lies outside its image of {width}x{height}")
    over = max(-left, -top, right - width, bottom - height, 0.0)
    if over > FAR * max(size):
        what = f"its polygon reaches {over:.0f} pixels out of its image of {width}x{height}"
        raise UndrawnMask("mask-outside", what)
    return over


def _check_length(rings: list[list[float]]) -> None:
    """Refuse polygons that go to and fro so often that filling them would take all memory.

    Raises:
        UndrawnMask: They do.
    """
    length = 0.0
    for ring in rings:
        points = [*zip(ring[::2], ring[1::2], strict=True), (ring[0], ring[1])]
        length += sum(max(abs(x - u), abs(y - v)) for (x, y), (u, v) in pairwise(points))
    if length > MOST_OUTLINE:
        raise UndrawnMask("mask-outline", f"its polygon is {length:,.0f} pixels long, which is no outline")


def from_coco(segmentation: Any) -> Mask:
    """A run-length mask as COCO's JSON has it, its runs packed or not.

    Raises:
        UndrawnMask: It has no size, no runs, or runs of another length than its size.
    """
    entry = segmentation if isinstance(segmentation, dict) else {}
    size, counts = entry.get("size"), entry.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(map(is_count, size)) or not all(size):
        raise UndrawnMask("mask-outline", "its run-length mask has no size of height and width")
    runs = unpacked_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not runs or len(runs) > MOST_RUNS or not all(map(is_count, runs)):
        raise UndrawnMask("mask-outline", "its run-length mask has no runs that can be read")
    height, width = size
    if sum(runs) != height * width:
        what = f"its run-length mask has {sum(runs)} pixels, and its size of {height}x{width} has {height * width}"
        raise UndrawnMask("mask-length", what)
    return from_runs(runs, (height, width))


# --- an image that was resized or turned after it was annotated ---


def moved_outline(
    outline: Any,
    point: Callable[[float, float], tuple[float, float]],
    said: tuple[int, int],
    now: tuple[int, int],
) -> Any:
    """An outline where a motion of its image takes it; as it is where it cannot be read, which is named later.

    Args:
        outline: As for `draw`.
        point: Where a point goes, pixels; scaling, turning by quarters, mirroring.
        said: Width and height of the image that it was drawn on.
        now: Those of the image as it is shown.
    """
    try:
        if isinstance(outline, list):
            pairs = [[point(x, y) for x, y in zip(r[::2], r[1::2], strict=True)] for r in _rings(outline)]
            return [[value for pair in ring for value in pair] for ring in pairs]
        mask = outline if isinstance(outline, Mask) else from_coco(outline)
    except UndrawnMask:
        return outline
    if mask.size != said[::-1]:
        return outline
    pixels = decode(mask)
    start, along = np.array(point(0, 0)), np.array(point(1, 0))
    if along[0] == start[0]:  # a quarter turn: x runs down
        pixels = pixels.T
    end = np.array(point(*said))
    if end[1] < start[1]:
        pixels = pixels[::-1]
    if end[0] < start[0]:
        pixels = pixels[:, ::-1]
    return encode(resampled(pixels, now[1], now[0]) if pixels.shape != now[::-1] else pixels)
