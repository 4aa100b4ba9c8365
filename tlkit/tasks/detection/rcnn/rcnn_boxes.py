"""Box regression of R-CNN: from a proposal's features to the object that it nearly covers, a ridge regression a class.

Only proposals that overlap an object by more than 0.6 teach: of others the way is not linear. The four targets are
whitened (decorrelated, of unit variance), so that one lambda suits all of them.

Source: Girshick 2014, section 2.3 and appendix C; the numbers are those of the released code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlkit.data.boxes.dataset import iou

NEAR = 0.6  # IoU above which a proposal teaches
LAMBDA = 1_000.0
LEAST_VARIANCE = 1e-3  # added to every variance, so that targets that are all alike can be whitened
PLAIN = (1.0,) * 4  # the variances of `deltas_of` and `boxes_of`: here none is divided by


class Regression(NamedTuple):
    """Linear: features times kernel plus bias is what `boxes_of` moves a proposal by.

    Attributes:
        kernel: float32 [d, 4].
        bias: float32 [4].
        pairs: How many taught it.
    """

    kernel: np.ndarray
    bias: np.ndarray
    pairs: int


def near_objects(regions: np.ndarray, xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which regions teach, and by which object: indices [t] of float32 [p, 4] and [t] of float32 [m, 4]."""
    every = iou(regions, xyxy)
    if not every.size:
        return np.zeros(0, int), np.zeros(0, int)
    chosen = np.flatnonzero(every.max(1) > NEAR)
    return chosen, every[chosen].argmax(1)


def learn_regression(features: np.ndarray, targets: np.ndarray) -> Regression:
    """Ridge regression of whitened targets, the whitening undone in what is returned.

    Args:
        features: float32 [t, d].
        targets: float64 [t, 4], `deltas_of` with variances of 1.

    Returns:
        Where nothing teaches, one that leaves every box where it is.
    """
    width = features.shape[1]
    if not len(features):
        return Regression(np.zeros((width, 4), np.float32), np.zeros(4, np.float32), 0)
    mean = targets.mean(0)
    centred = targets - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / len(targets))
    deviations = np.sqrt(np.maximum(variances, 0) + LEAST_VARIANCE)
    whiten, colour = axes / deviations @ axes.T, axes * deviations @ axes.T
    inputs = np.concatenate([features.astype(np.float64), np.ones((len(features), 1))], 1)
    squares = inputs.T @ inputs + LAMBDA * np.eye(
        width + 1
    )  # the bias is held small too, as in the released code
    solved = np.linalg.solve(squares, inputs.T @ (centred @ whiten)) @ colour
    return Regression(solved[:-1].astype(np.float32), (solved[-1] + mean).astype(np.float32), len(features))
