"""Box regression of R-CNN: from a proposal's features to the object that it nearly covers, a ridge regression a class.

    x, y: shift of the middle by the proposal's sides;  w, h: logarithm of the sides by the proposal's

Only proposals that overlap an object by more than 0.6 teach: of others the way is not linear. The four targets are
whitened (decorrelated, of unit variance), so that one lambda suits all of them.

Source: Girshick 2014, section 2.3 and appendix C; the numbers are those of the released code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.dataset import iou
from tlkit.tasks.detection.assignment import middle_and_sides

NEAR = 0.6  # IoU above which a proposal teaches
LAMBDA = 1_000.0
LEAST_VARIANCE = 1e-3  # added to every variance, so that targets that are all alike can be whitened
LARGEST_GROWTH = 4.0  # of a side's logarithm, so that exp() stays finite


class Regression(NamedTuple):
    """Linear: features times kernel plus bias is the way from proposal to object.

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


def ways(regions: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """From regions [t, 4] to the boxes [t, 4] in their places: float64 [t, 4], x, y, w, h; none may be empty."""
    one, other = np.asarray(regions, np.float64), np.asarray(xyxy, np.float64)
    sides, wanted = one[:, 2:] - one[:, :2], other[:, 2:] - other[:, :2]
    shift = (other[:, :2] + other[:, 2:] - one[:, :2] - one[:, 2:]) / 2 / sides
    return np.concatenate([shift, np.log(wanted / sides)], 1)


def moved(boxes: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
    """Boxes float32 [..., 4] after ways [..., 4]: the inverse of `ways`."""
    middle, sides = middle_and_sides(boxes)
    middle = middle + way[..., :2] * sides
    half = sides * tf.exp(tf.clip_by_value(way[..., 2:], -LARGEST_GROWTH, LARGEST_GROWTH)) / 2
    return tf.concat([middle - half, middle + half], -1)


def learn_regression(features: np.ndarray, targets: np.ndarray) -> Regression:
    """Ridge regression of whitened targets, the whitening undone in what is returned.

    Args:
        features: float32 [t, d].
        targets: float64 [t, 4], of `ways`.

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
