"""Shapes of windows on the maps of an image pyramid, and which of them cover the training boxes best.

A level is the whole image at another size. On its map a window is a grid of 3 by 3 parts, each of which is m by n places
and is averaged: so one head sees windows of all shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tlkit.errors import UsageFault

GRID = 3  # parts of a window across and down
STRIDE = 8  # pixels of a level from one place of its map to the next
COARSEST = 32  # sides of levels are multiples of it, so that every stride of a backbone divides them
LARGEST_PART = 4  # places of a part, across and down; larger windows stand on coarser levels
SCALES = (1.5, 1.0, 0.5)  # sides of the levels, by the square's
LEAST_SIDE = 64  # pixels of a level


class Shape(NamedTuple):
    """A window's size on a level.

    Attributes:
        side: Of the level, pixels.
        down: Places of a part, vertically.
        across: Likewise, horizontally.
    """

    side: int
    down: int
    across: int

    def sides(self, size: int) -> tuple[float, float]:
        """Width and height in pixels of a square of `size`."""
        factor = GRID * STRIDE * size / self.side
        return self.across * factor, self.down * factor


def level_sides(size: int) -> tuple[int, ...]:
    """Sides of the levels, pixels, the largest first, for images in squares of `size` pixels."""
    wanted = [max(LEAST_SIDE, round(scale * size / COARSEST) * COARSEST) for scale in SCALES]
    return tuple(sorted(set(wanted), reverse=True))


def places_of(shape: Shape, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Where windows of a shape begin on the map: int rows and columns; the last ones touch the edge.

    Args:
        shape: That fits on its level.
        step: From one window to the next, as a share of the window.
    """
    cells = shape.side // STRIDE

    def along(part: int) -> np.ndarray:
        last = cells - GRID * part
        return np.unique(np.append(np.arange(0, last + 1, max(1, int(GRID * part * step))), last))

    return along(shape.down), along(shape.across)


def boxes_of_shapes(shapes: Sequence[Shape], size: int, step: float) -> np.ndarray:
    """float32 [a, 4]: left, top, right, bottom of all windows, pixels of the square, shape by shape, row by row."""
    found = []
    for shape in shapes:
        rows, columns = (some.astype(np.float64) for some in places_of(shape, step))
        top, left = (some.ravel() for some in np.meshgrid(rows, columns, indexing="ij"))
        cell = STRIDE * size / shape.side
        right, bottom = left + GRID * shape.across, top + GRID * shape.down
        found.append(np.stack([left, top, right, bottom], 1) * cell)
    return np.concatenate(found).astype(np.float32)


def choose_shapes(boxes: np.ndarray, size: int, most: int) -> tuple[list[Shape], float]:
    """Shapes that cover boxes best, one after the other: each adds most to the mean of the boxes' best IoU.

    Args:
        boxes: float32 [m, 4], pixels of the square; only their sides count, as if a window stood in their middle.
        size: Side of the square, pixels.
        most: How many shapes, at most; fewer where another one adds nothing.

    Returns:
        The shapes, in order of level and size, and the mean IoU that they come to, 0..1.

    Raises:
        UsageFault: There is no box, or the square is too small for any window.
    """
    every = _candidates(size)
    if not len(boxes) or not every:
        what = "No training box says" if not len(boxes) else f"--size {size} is too small to say"
        raise UsageFault(f"{what} how large windows are.", "Give images with boxes, or a larger --size.")
    wanted = np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64)
    sides = np.array([shape.sides(size) for shape in every])
    common = np.minimum(wanted[:, None], sides[None]).prod(-1)
    overlaps = common / (wanted.prod(-1)[:, None] + sides.prod(-1)[None] - common)
    best, chosen = np.zeros(len(boxes)), []
    for _ in range(most):
        gains = np.maximum(overlaps, best[:, None]).mean(0)
        winner = int(gains.argmax())  # the first of equals, so the order of the candidates counts
        if gains[winner] <= best.mean():
            break
        chosen.append(winner)
        best = np.maximum(best, overlaps[:, winner])
    return [every[index] for index in sorted(chosen)], float(best.mean())


def _candidates(size: int) -> list[Shape]:
    """All shapes that fit on their level; those of which a part is more than one place first."""
    found = []
    for side in level_sides(size):
        parts = range(1, min(LARGEST_PART, side // STRIDE // GRID) + 1)
        found += [Shape(side, down, across) for down in parts for across in parts]
    return sorted(found, key=lambda shape: (min(shape.down, shape.across) == 1, -shape.side, shape))
