"""Masks in the network's square, where their images are letterboxed, and back."""

from __future__ import annotations

import numpy as np

from tlkit.data.boxes.masks.resampling import HALF, resampled
from tlkit.data.boxes.sizes import new_sides, placement


def to_square(pixels: np.ndarray, size: int, least: float = HALF) -> np.ndarray:
    """A mask in the network's square, where its image is letterboxed: bool `[size, size]`.

    Args:
        pixels: bool `[h, w]`, as large as its image.
        size: Side of the square.
        least: As for `resampled`.
    """
    sides = np.array([pixels.shape[1], pixels.shape[0]])
    width, height = new_sides(sides.astype(np.float64), size).astype(int).tolist()
    left, top = placement(sides, size)[1].astype(int).tolist()
    square = np.zeros((size, size), bool)
    square[top : top + height, left : left + width] = resampled(pixels, height, width, least)
    return square


def from_square(square: np.ndarray, sides: tuple[int, int], least: float = HALF) -> np.ndarray:
    """A mask of the square, bool `[size, size]`, in the pixels of its image of (width, height): bool `[h, w]`."""
    size, given = len(square), np.array(sides)
    width, height = new_sides(given.astype(np.float64), size).astype(int).tolist()
    left, top = placement(given, size)[1].astype(int).tolist()
    return resampled(square[top : top + height, left : left + width], sides[1], sides[0], least)
