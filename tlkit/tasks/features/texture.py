"""Texture of a grey image: local binary patterns, and Haralick's measures of co-occurring grey levels."""

from __future__ import annotations

from functools import cache

import numpy as np

CIRCLES = ((8, 1), (16, 2), (24, 3))  # points and radius in pixels, as in Ojala 2002
LEVELS = 32  # grey levels of the co-occurrence matrix
DISTANCES = (1, 3, 5)  # pixels; rounded to whole pixels on the diagonals they stay three: 1, 2, 4
ANGLES = tuple(quarter * np.pi / 4 for quarter in range(4))
TEXTURES = 13  # of Haralick's fourteen; the last one is numerically unstable


# --- local binary patterns ---------------------------------------------------------------------------------


def local_binary_patterns(grey: np.ndarray) -> np.ndarray:
    """Histograms of rotation-invariant uniform patterns on three circles, [10 + 18 + 26], each of sum 1.

    Source: Ojala, Pietikäinen and Mäenpää: Multiresolution gray-scale and rotation invariant texture
    classification with local binary patterns. IEEE PAMI 24(7), 2002, equations 9 to 11.
    """
    image = grey.astype(np.float32)
    return np.concatenate([_pattern_shares(image, points, radius) for points, radius in CIRCLES])


def _pattern_shares(image: np.ndarray, points: int, radius: int) -> np.ndarray:
    """How often 0..points neighbours in one arc are as bright as the centre, and lastly any other pattern."""
    # Between pixels, equal levels interpolate to something a rounding error away: a flat area is not noise.
    centre = image[radius:-radius, radius:-radius] - 1e-3
    bits = np.stack([_shifted(image, *offset, radius) >= centre for offset in _circle(points, radius)])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0, dtype=np.uint8)
    patterns = np.where(changes <= 2, bits.sum(axis=0, dtype=np.uint8), points + 1)
    return np.bincount(patterns.ravel(), minlength=points + 2) / patterns.size


def _circle(points: int, radius: int) -> list[tuple[float, float]]:
    """(down, right) of each point, pixels; rounded so that those on the axes are whole."""
    angles = 2 * np.pi * np.arange(points) / points
    return [(round(-radius * np.sin(a), 5), round(radius * np.cos(a), 5)) for a in angles.tolist()]


def _shifted(image: np.ndarray, down: float, right: float, margin: int) -> np.ndarray:
    """The image without its margin, read so far away from each place, bilinearly."""
    height, width = image.shape[0] - 2 * margin, image.shape[1] - 2 * margin
    top, left = int(np.floor(down)), int(np.floor(right))
    below, beside = down - top, right - left
    found = np.zeros((height, width), np.float32)
    for y, share_y in ((top, 1 - below), (top + 1, below)):
        for x, share_x in ((left, 1 - beside), (left + 1, beside)):
            if share_y * share_x:
                part = image[margin + y : margin + y + height, margin + x : margin + x + width]
                found += part * np.float32(share_y * share_x)
    return found


# --- co-occurrence of grey levels --------------------------------------------------------------------------


def haralick(grey: np.ndarray) -> np.ndarray:
    """Mean and range over four directions of 13 textures at three distances, [3 x 2 x 13]."""
    found = textures(grey // (256 // LEVELS), LEVELS, DISTANCES)
    return np.stack([found.mean(axis=1), np.ptp(found, axis=1)], axis=1).ravel()


def textures(levels: np.ndarray, count: int, distances: tuple[int, ...]) -> np.ndarray:
    """Haralick's textures f1 to f13 of the symmetric co-occurrence matrices.

    Args:
        levels: uint8 [h, w], grey levels 0..count-1.
        count: Of grey levels.
        distances: [d], pixels between the two of a pair.

    Returns:
        float64 [d, 4, 13]: by distance and by direction (0, 45, 90 and 135 degrees). Natural logarithms. Where
        there is one level only, the correlation is 1, f12 and f13 are 0.

    Source: Haralick, Shanmugam and Dinstein: Textural features for image classification. IEEE SMC 3(6), 1973,
    appendix I; f7 is the variance of the sum about its own mean.
    """
    from skimage.feature import graycomatrix

    matrices = graycomatrix(levels, distances, ANGLES, levels=count, symmetric=True, normed=True)
    p = matrices.reshape(count * count, -1).T  # [d x 4, count x count]
    sums, differences, first, second = _places(count)
    p_sum, p_difference, p_first = p @ sums, p @ differences, p @ first
    i = np.arange(count)
    mean, (sum_mean, sum_variance) = p_first @ i, _moments(p_sum)
    variance, products = p_first @ i**2 - mean**2, p @ (first @ i * (second @ i))
    entropy, entropy_first = _entropy(p), _entropy(p_first)
    varies = variance > 1e-9
    shared = np.maximum(2 * entropy_first - entropy, 0)  # mutual information; rounding may leave -1e-16
    found = [
        (p**2).sum(axis=1),  # f1 angular second moment
        p_difference @ i**2,  # f2 contrast
        np.where(varies, (products - mean**2) / np.where(varies, variance, 1), 1),  # f3 correlation
        variance,  # f4
        p_difference @ (1 / (1 + i**2)),  # f5 inverse difference moment
        sum_mean,  # f6
        sum_variance,  # f7
        _entropy(p_sum),  # f8
        entropy,  # f9
        _moments(p_difference)[1],  # f10
        _entropy(p_difference),  # f11
        -shared / np.where(varies, entropy_first, 1),  # f12 and f13: information measures of correlation
        np.sqrt(1 - np.exp(-2 * shared)),
    ]
    return np.stack(found, axis=1).reshape(len(distances), len(ANGLES), TEXTURES)


@cache
def _places(count: int) -> tuple[np.ndarray, ...]:
    """Matrices that add up the cells (i, j) of equal i + j, |i - j|, i and j; [count x count, k] each."""
    i, j = (axis.ravel() for axis in np.indices((count, count)))
    keys = ((i + j, 2 * count - 1), (abs(i - j), count), (i, count), (j, count))
    return tuple(np.eye(k)[key] for key, k in keys)


def _moments(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the index under distributions [n, k]."""
    index = np.arange(p.shape[1])
    mean = p @ index
    return mean, (p * (index - mean[:, None]) ** 2).sum(axis=1)


def _entropy(p: np.ndarray) -> np.ndarray:
    """Of distributions [n, k], natural logarithm."""
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
