"""Are the probabilities true? Reliability bins, expected calibration error and temperature scaling.

A classifier that says 0.9 should be right nine times in ten. The error of that promise is measured on the
top label in equal-width bins and mended with one number, the temperature, fitted on the validation part.
Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

BINS = 15  # as in the paper
LEAST_IMAGES = 30  # below, one temperature would be fitted to noise
TEMPERATURES = (0.05, 20.0)
_FLOOR = float(np.finfo(np.float32).tiny)  # the least float32 at full precision


class Reliability(NamedTuple):
    """Top-label confidence against accuracy, bin by bin.

    Attributes:
        edges: Bin borders, float64 `[bins + 1]`, from 0 to 1; a bin holds (lower, upper].
        counts: Images in each bin, int64 `[bins]`.
        confidence: Mean confidence in each bin, float64 `[bins]`, NaN where the bin is empty.
        accuracy: Share of right answers in each bin, float64 `[bins]`, NaN where the bin is empty.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort the images by the confidence of their top label into equal-width bins.

    Args:
        labels: True class indices, int `[n]`.
        probabilities: Rows that sum to 1, float `[n, k]`.
        bins: How many bins divide [0, 1].
    """
    probabilities = np.asarray(probabilities, np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    return Reliability(
        edges,
        counts,
        np.bincount(index, confidence, bins) / filled,
        np.bincount(index, right, bins) / filled,
    )


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """ECE = sum over bins of (share of images) x |accuracy - mean confidence|, 0 (true) to 1.

    Args:
        labels: True class indices, int `[n]`, n >= 1.
        probabilities: Rows that sum to 1, float `[n, k]`.
        bins: How many bins divide [0, 1].

    Source: Guo 2017, equation 3.
    """
    table = reliability_bins(labels, probabilities, bins)
    gaps = np.nan_to_num(np.abs(table.accuracy - table.confidence))
    return float(np.sum(gaps * table.counts) / table.counts.sum())


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits by the temperature: above 1 softens, below 1 sharpens, the top label stays.

    Args:
        probabilities: Rows that sum to 1, float `[n, k]`; their logarithms serve as logits.
        temperature: Above 0; 1 changes nothing.

    Returns:
        float64 `[n, k]`, rows that sum to 1.

    Source: Guo 2017, equation 9.
    """
    logits = np.log(np.clip(np.asarray(probabilities, np.float64), _FLOOR, None)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Find the temperature that makes the log loss of the validation part least.

    It stays 1 where the data cannot tell: with fewer than 30 images, without a single mistake (any
    sharpening would then look better, up to certainty), or where no temperature is better than 1.

    Args:
        labels: True class indices of the validation part, int `[n]`.
        probabilities: What the model gives at temperature 1, float `[n, k]`.

    Returns:
        A number in [0.05, 20].
    """
    labels = np.asarray(labels)
    if len(labels) < LEAST_IMAGES or np.all(np.argmax(probabilities, axis=1) == labels):
        return 1.0
    rows = np.arange(len(labels))

    def loss(logarithm: float) -> float:
        true = apply_temperature(probabilities, np.exp(logarithm))[rows, labels]
        return float(-np.mean(np.log(np.clip(true, _FLOOR, None))))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 1.0
