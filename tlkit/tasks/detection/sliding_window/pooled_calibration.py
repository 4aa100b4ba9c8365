"""Are the scores of a detector true? Platt scaling: scores become the share of detections that are right.

A head that learned a quarter of windows on objects, and false alarms among the others, says nothing about how often a
window of an image is right. Two numbers mend that, fitted on the detections of validation images.

Source: Platt 1999, Probabilistic outputs for support vector machines (with its targets, which keep few from certainty).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from tlkit.tasks.classification.calibration import LEAST_IMAGES, expected_calibration_error

LEAST_SLOPE = 0.05  # so that the order of the scores stays
_EDGE = 1e-6  # of a score, so that its log odds are finite


def fit_platt(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset of log odds that make the log loss of detections least.

    Args:
        scores: float [n], 0..1, as they come from the network.
        right: bool [n], whether the detection is on an object.

    Returns:
        (1, 0), which changes nothing, where there are fewer than 30 detections, or all are right or all are wrong.
    """
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    on = int(right.sum())
    if len(scores) < LEAST_IMAGES or on in (0, len(scores)):
        return 1.0, 0.0
    odds = _odds(scores)
    truth = np.where(right, (on + 1) / (on + 2), 1 / (len(scores) - on + 2))  # Platt 1999, section 2.2

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = values[0] * odds + values[1]
        away = _logistic(scaled) - truth
        value = np.logaddexp(0.0, scaled) - truth * scaled
        return float(value.mean()), np.array([(away * odds).mean(), away.mean()])

    bounds = [(LEAST_SLOPE, None), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def calibrated(scores: np.ndarray, slope: float, offset: float) -> np.ndarray:
    """float64 [n]: the logistic function of slope times the log odds plus offset."""
    return _logistic(slope * _odds(np.asarray(scores, np.float64)) + offset)


def calibration_error(scores: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error of detections, 0 (true) to 1: each is a question of two answers, right or wrong."""
    scores = np.asarray(scores, np.float64)
    return expected_calibration_error(np.asarray(right, bool).astype(int), np.stack([1 - scores, scores], 1))


def _odds(scores: np.ndarray) -> np.ndarray:
    held = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(held) - np.log1p(-held)


def _logistic(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -60, 60)))
