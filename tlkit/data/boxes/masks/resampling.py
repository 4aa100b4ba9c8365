"""Masks cut and resampled, by the share of each cell that a mask covers.

A cell of the new mask knows exactly how much of it lies on the old one, whether it shrinks or grows; a threshold of 0.5
makes it a mask again, whose area stays; what is thinner than half a cell is lost.
"""

from __future__ import annotations

import numpy as np

HALF = 0.5  # of a cell covered
ROUNDING = 1e-6  # of a cell: what sums of shares may be off


def cut(pixels: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a mask, bool `[h, w]`, in a window of whole pixels, bool `[bottom - top, right - left]`.

    Args:
        pixels: The mask.
        window: Left, top, right, bottom; outside of the image there is nothing.
    """
    left, top, right, bottom = window
    found = np.zeros((bottom - top, right - left), bool)
    height, width = pixels.shape
    x, y, end_x, end_y = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x < end_x and y < end_y:
        found[y - top : end_y - top, x - left : end_x - left] = pixels[y:end_y, x:end_x]
    return found


def coverage(pixels: np.ndarray, window: np.ndarray, height: int, width: int) -> np.ndarray:
    """How much of each cell of a grid over a window lies on a mask: float32 `[height, width]`, 0..1.

    Args:
        pixels: The mask, bool `[h, w]`.
        window: Left, top, right, bottom in its pixels, fractions too; outside of the image there is nothing.
        height: Rows of the grid.
        width: Its columns.
    """
    left, top, right, bottom = np.asarray(window, np.float64)
    rows = _shares(pixels.shape[0], top, bottom, height)
    columns = _shares(pixels.shape[1], left, right, width)
    return np.asarray(rows @ pixels.astype(np.float64) @ columns.T, np.float32)


def _shares(side: int, start: float, end: float, cells: int) -> np.ndarray:
    """Of each cell between start and end the share that each of `side` pixels takes: float64 `[cells, side]`."""
    edges = np.linspace(start, end, cells + 1)
    places = np.arange(side)
    low = np.maximum(edges[:-1, None], places)
    high = np.minimum(edges[1:, None], places + 1)
    return np.maximum(high - low, 0) / max((end - start) / cells, 1e-12)


def resampled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A whole mask in another size: bool `[height, width]`, True where half of a cell or more is covered.

    A cell that is half covered is True too, so that two halves of one image leave no gap.
    """
    found = coverage(pixels, np.array([0, 0, pixels.shape[1], pixels.shape[0]]), height, width)
    return found >= HALF - ROUNDING
