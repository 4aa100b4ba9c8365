"""A fitted scikit-learn head as Keras layers, so that it is served in one graph with its backbone.

Linear heads become a dense layer with the standardisation folded in; an MLP two of them; neighbours and support
vectors become layers of `fitted_layers`. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit.backbones.fitted_layers import NearestNeighbours, Standardize, SupportVectors
from tlkit.tasks.classification.classifier import Probabilities


def add_fitted_head(
    features: keras.KerasTensor, pipeline: Any, class_names: Sequence[str]
) -> keras.KerasTensor:
    """Put a fitted pipeline of `heads.make_head` onto features.

    Args:
        features: float32 [b, d].
        pipeline: Fitted; its classes are 0..k-1.
        class_names: [k].

    Returns:
        Probabilities float32 [b, k], softmax of `heads.decision_values`; the layer's temperature is 1.
    """
    scaler, classifier = pipeline[0], pipeline[-1]
    if hasattr(classifier, "n_neighbors"):
        logits = _neighbours(_standardized(features, scaler), classifier, len(class_names))
    elif hasattr(classifier, "estimators_"):
        logits = _machines(_standardized(features, scaler), classifier)
    elif hasattr(classifier, "coefs_"):
        logits = _perceptron(features, scaler, classifier)
    else:
        weights, offsets = _folded(classifier.coef_.T, classifier.intercept_, scaler)
        logits = _dense(features, *_two_sided(weights, offsets), name="logits")
    return Probabilities(class_names, name="probability")(logits)


def _standardized(features: keras.KerasTensor, scaler: Any) -> keras.KerasTensor:
    layer = Standardize(features.shape[-1], name="standardize")
    layer.set_weights([scaler.mean_, scaler.scale_])
    return layer(features)


def _neighbours(features: keras.KerasTensor, classifier: Any, classes: int) -> keras.KerasTensor:
    rows, width = classifier._fit_X.shape
    layer = NearestNeighbours(rows, width, classes, classifier.n_neighbors, name="logits")
    layer.set_weights([classifier._fit_X, np.eye(classes)[classifier._y]])
    return layer(features)


def _machines(features: keras.KerasTensor, classifier: Any) -> keras.KerasTensor:
    """All machines' vectors one below the other; each machine weighs only its own."""
    machines = classifier.estimators_
    counts = [len(machine.support_vectors_) for machine in machines]
    dual = np.zeros((sum(counts), len(machines)))
    ends = np.cumsum(counts)
    for number, (machine, end, count) in enumerate(zip(machines, ends, counts, strict=True)):
        dual[end - count : end, number] = machine.dual_coef_[0]
    vectors = np.concatenate([machine.support_vectors_ for machine in machines])
    offsets = np.array([machine.intercept_[0] for machine in machines])
    name = "logits" if len(machines) > 1 else "machine"
    layer = SupportVectors(len(vectors), vectors.shape[1], len(machines), float(machines[0].gamma), name=name)
    layer.set_weights([vectors, dual, offsets])
    values = layer(features)
    if len(machines) > 1:
        return values
    return _dense(values, np.array([[-0.5, 0.5]]), np.zeros(2), name="logits")


def _perceptron(features: keras.KerasTensor, scaler: Any, classifier: Any) -> keras.KerasTensor:
    first = _folded(classifier.coefs_[0], classifier.intercepts_[0], scaler)
    *hidden, last = [first, *zip(classifier.coefs_[1:], classifier.intercepts_[1:], strict=True)]
    x = features
    for number, (weights, offsets) in enumerate(hidden, 1):
        x = _dense(x, weights, offsets, name=f"dense_{number}", activation="relu")
    return _dense(x, *_two_sided(*last), name="logits")


def _folded(weights: np.ndarray, offsets: np.ndarray, scaler: Any) -> tuple[np.ndarray, np.ndarray]:
    """((x - mean) / scale) W + b as x W' + b'; W is [d, m]."""
    folded = weights / scaler.scale_[:, None]
    return folded, offsets - scaler.mean_ @ folded


def _two_sided(weights: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The single decision value of two classes as two logits, minus and plus half of it."""
    if weights.shape[1] > 1:
        return weights, offsets
    return np.hstack([-weights / 2, weights / 2]), np.concatenate([-offsets / 2, offsets / 2])


def _dense(
    x: keras.KerasTensor, weights: np.ndarray, offsets: np.ndarray, name: str, activation: str | None = None
) -> keras.KerasTensor:
    layer = keras.layers.Dense(weights.shape[1], activation, name=name, dtype="float32")
    answer = layer(x)
    layer.set_weights([weights, offsets])
    return answer
