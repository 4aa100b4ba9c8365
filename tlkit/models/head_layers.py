"""A fitted scikit-learn head as Keras layers, so that it is served in one graph with its backbone.

Linear heads become a dense layer with the standardisation folded in; an MLP two of them; neighbours and support
vectors become layers that hold what was learned and compute in float64, as scikit-learn does. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.models.classifier import Probabilities


@keras.saving.register_keras_serializable("tlkit")
class Standardize(keras.layers.Layer):
    """(x - mean) / scale in float64: [b, d] -> float64 [b, d].

    Args:
        width: d.
    """

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float64"}, trainable=False)
        self.width = width
        self.mean = self._held((width,), "mean")
        self.scale = self._held((width,), "scale")

    def _held(self, shape: tuple[int, ...], name: str) -> Any:
        return self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name, dtype="float64")

    def call(self, features):
        """Standardised features."""
        return (ops.cast(features, "float64") - self.mean) / self.scale

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The same shape."""
        return input_shape

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {"name": self.name, "width": self.width}


@keras.saving.register_keras_serializable("tlkit")
class NearestNeighbours(keras.layers.Layer):
    """Log of the smoothed share of votes of the k nearest rows: float64 [b, d] -> float32 [b, classes].

    Squared Euclidean distances by |x|^2 - 2 x.r + |r|^2 in float64, as scikit-learn's brute search; of equally
    near rows the earlier one votes.

    Args:
        rows: How many rows are held.
        width: d.
        classes: k of the answer.
        neighbours: How many vote.
    """

    def __init__(self, rows: int, width: int, classes: int, neighbours: int, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float64"}, trainable=False)
        self.shape = (rows, width, classes, neighbours)
        self.rows = self._held((rows, width), "rows")
        self.targets = self._held((rows, classes), "targets")  # one-hot

    _held = Standardize._held

    def call(self, features):
        """Smoothed log shares."""
        _, _, classes, neighbours = self.shape
        squares = ops.sum(self.rows * self.rows, axis=1)
        distances = (
            ops.sum(features * features, axis=1)[:, None]
            - 2 * ops.matmul(features, ops.transpose(self.rows))
            + squares
        )
        nearest = ops.top_k(-distances, neighbours)[1]
        votes = ops.sum(ops.take(self.targets, nearest, axis=0), axis=1)
        return ops.cast(ops.log((votes + 0.5) / (neighbours + 0.5 * classes)), "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """[b, classes]."""
        return (input_shape[0], self.shape[2])

    def compute_output_spec(self, features):
        """float32 whatever the layer computes in."""
        return keras.KerasTensor(self.compute_output_shape(features.shape), "float32")

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        rows, width, classes, neighbours = self.shape
        return {"name": self.name, "rows": rows, "width": width, "classes": classes, "neighbours": neighbours}


@keras.saving.register_keras_serializable("tlkit")
class SupportVectors(keras.layers.Layer):
    """One Gaussian-kernel machine a class: float64 [b, d] -> decision values float32 [b, machines].

    f_c(x) = sum_i a_ic exp(-gamma |x - v_i|^2) + b_c over all vectors v_i that any machine holds.

    Args:
        vectors: How many vectors are held.
        width: d.
        machines: c; 1 for two classes.
        gamma: Of the kernel.
    """

    def __init__(self, vectors: int, width: int, machines: int, gamma: float, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float64"}, trainable=False)
        self.shape = (vectors, width, machines)
        self.gamma = gamma
        self.vectors = self._held((vectors, width), "vectors")
        self.weights_of = self._held((vectors, machines), "dual")
        self.offsets = self._held((machines,), "offsets")

    _held = Standardize._held

    def call(self, features):
        """Decision values."""
        squares = ops.sum(self.vectors * self.vectors, axis=1)
        distances = (
            ops.sum(features * features, axis=1)[:, None]
            - 2 * ops.matmul(features, ops.transpose(self.vectors))
            + squares
        )
        kernel = ops.exp(-self.gamma * ops.maximum(distances, 0.0))
        return ops.cast(ops.matmul(kernel, self.weights_of) + self.offsets, "float32")

    def compute_output_spec(self, features):
        """float32 whatever the layer computes in."""
        return keras.KerasTensor((features.shape[0], self.shape[2]), "float32")

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        vectors, width, machines = self.shape
        return {
            "name": self.name,
            "vectors": vectors,
            "width": width,
            "machines": machines,
            "gamma": self.gamma,
        }


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
