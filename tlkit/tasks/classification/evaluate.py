"""A classifier's answers on each part of a split, and what they are worth.

The temperature is fitted on validation; the test part is read once, at the end, and selects nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tlkit.data.images.batches import pixel_batches
from tlkit.data.images.sources import PARTS, TEST, VALIDATION
from tlkit.data.images.splits import Split
from tlkit.tasks.classification.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
)
from tlkit.tasks.classification.classifier import head_model, set_temperature
from tlkit.tasks.classification.metrics import classification_measures


def predict_files(
    model: keras.Model, files: list[str], *, batch: int = 32, progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """Probabilities float32 [n, k] of files, in their order; decoded as in training and in serving."""
    answers, done = [_no_answers(model)], 0
    for pixels in pixel_batches(files, model.input_shape[1], batch):
        answers.append(model.predict_on_batch(pixels))
        done += len(answers[-1])
        if progress:
            progress(done)
    return np.concatenate(answers)


def predict_features(model: keras.Model, features: np.ndarray, *, batch: int = 256) -> np.ndarray:
    """Probabilities float32 [n, k] of features [n, d] that the model's backbone gave before: its head alone."""
    head = head_model(model)
    answers = [head(features[i : i + batch]).numpy() for i in range(0, len(features), batch)]
    return np.concatenate([_no_answers(model), *answers])


def _no_answers(model: keras.Model) -> np.ndarray:
    """Float32 [0, k]: what is said of nothing, for which no network is asked."""
    return np.empty((0, model.output_shape[-1]), np.float32)


def calibrate(model: keras.Model, split: Split, probabilities: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit the temperature on validation, put it into the model and apply it to the answers.

    Args:
        model: A classifier whose temperature is 1.
        split: For the validation part's labels.
        probabilities: float [n, k], of all images, before calibration.

    Returns:
        The temperature and the calibrated probabilities [n, k].
    """
    chosen = split.indices(VALIDATION)
    temperature = fit_temperature(split.images.labels[chosen], probabilities[chosen])
    set_temperature(model, temperature)
    return temperature, apply_temperature(probabilities, temperature)


def calibrate_as(
    model: keras.Model, split: Split, probabilities: np.ndarray, temperature: float, validation: np.ndarray
) -> tuple[float, np.ndarray]:
    """Take the temperature of another fit, and its answers for the validation part, which this model has learned.

    Args:
        model: A classifier whose temperature is 1.
        split: Says where the validation images are.
        probabilities: float [n, k], of all images, before calibration.
        temperature: To put into the model.
        validation: float [m, k], the other fit's calibrated probabilities of the validation images.

    Returns:
        The temperature and probabilities [n, k].
    """
    set_temperature(model, temperature)
    answers = apply_temperature(probabilities, temperature)
    answers[split.indices(VALIDATION)] = validation
    return temperature, answers


def measure_parts(
    split: Split, probabilities: np.ndarray, *, negative: str | None, seed: int
) -> dict[str, Any]:
    """Measures with intervals over groups for training, validation and test."""
    found = {}
    for part in PARTS:
        chosen = split.indices(part)
        found[part] = classification_measures(
            split.images.labels[chosen],
            probabilities[chosen],
            split.images.class_names,
            [split.groups[i] for i in chosen],
            negative=negative,
            seed=seed,
        )
    return found


def calibration_errors(
    split: Split, before: np.ndarray, after: np.ndarray, temperature: float
) -> dict[str, float]:
    """Expected calibration error of the test part before and after temperature scaling."""
    chosen = split.indices(TEST)
    labels = split.images.labels[chosen]
    return {
        "temperature": temperature,
        "ece_before": expected_calibration_error(labels, before[chosen]),
        "ece_after": expected_calibration_error(labels, after[chosen]),
    }
