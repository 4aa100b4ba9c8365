"""The spectrum of a square grey image: magnitudes of its frequencies, and Gabor responses."""

from __future__ import annotations

from functools import cache

import numpy as np

LOWEST = 4  # periods an image, up to which each frequency stands for itself
RINGS, SECTORS = 8, 8
WAVELENGTHS, DIRECTIONS = (4, 6, 9, 14), 6  # pixels; half a turn


def fourier(grey: np.ndarray) -> np.ndarray:
    """log(1 + magnitude): each of the 40 lowest frequencies, then the mean in 8 rings x 8 sectors above them.

    Shifting the image round its edges changes nothing. A magnitude of 1 is that of noise of one grey level.
    """
    from scipy.fft import rfft2

    low, bins, counts = _frequencies(len(grey))
    magnitude = abs(rfft2(grey.astype(np.float32))) / len(grey)
    means = np.bincount(bins.ravel(), magnitude.ravel(), RINGS * SECTORS + 1)[:-1] / counts
    return np.log1p(np.concatenate([magnitude[low], means]))


@cache
def _frequencies(size: int) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Where in [s, s/2 + 1] the lowest frequencies lie, and the bin of each other one (the last: in none)."""
    down = np.fft.fftfreq(size, 1 / size)[:, None].round()
    right = np.arange(size // 2 + 1)[None]
    half = (right > 0) | (down > 0)  # the other half has the same magnitudes
    low = np.nonzero(half & (abs(down) <= LOWEST) & (right <= LOWEST))
    radius, angle = np.hypot(down, right), np.arctan2(down, right)
    edges = np.geomspace(LOWEST, size / 2, RINGS + 1)
    ring = np.searchsorted(edges, radius, side="right") - 1
    sector = np.floor((angle / np.pi + 0.5 / SECTORS) % 1 * SECTORS).astype(
        int
    )  # both axes in the middle of one
    bins = np.where((ring >= 0) & (ring < RINGS), ring * SECTORS + sector, RINGS * SECTORS)
    return low, bins, np.maximum(np.bincount(bins.ravel(), minlength=RINGS * SECTORS + 1)[:-1], 1)


def gabor(grey: np.ndarray) -> np.ndarray:
    """Mean, then deviation of the magnitude of 4 x 6 Gabor responses, [2 x 24]; grey levels 0..1.

    The outer eighth, where the filters reach round the edges of the image, is not counted.
    Source: Manjunath and Ma: Texture features for browsing and retrieval of image data. IEEE PAMI 18(8), 1996.
    """
    from scipy.fft import fft2, ifft2

    spectrum = fft2(grey.astype(np.float32) / 255)
    edge = len(grey) // 8
    responses = abs(ifft2(spectrum * _bank(len(grey)), overwrite_x=True)[:, edge:-edge, edge:-edge])
    return np.concatenate([responses.mean(axis=(1, 2)), responses.std(axis=(1, 2))])


@cache
def _bank(size: int) -> np.ndarray:
    """Gabor filters as spectra, float32 [24, s, s]: a Gaussian of one octave by 30 degrees (half peak) each.

    They see one half of the spectrum only, so that the magnitude of the response does not ripple, and no mean.
    """
    down, right = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]
    half_peak = np.sqrt(2 * np.log(2))
    filters = []
    for frequency in 1 / np.array(WAVELENGTHS):
        for direction in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
            along = right * np.cos(direction) + down * np.sin(direction)
            across = down * np.cos(direction) - right * np.sin(direction)
            deviation_along = frequency / 3 / half_peak
            deviation_across = frequency * np.tan(np.pi / DIRECTIONS / 2) / half_peak
            squares = ((along - frequency) / deviation_along) ** 2 + (across / deviation_across) ** 2
            filters.append(np.exp(-squares / 2))
    bank = np.stack(filters).astype(np.float32)
    bank[:, 0, 0] = 0
    return bank
