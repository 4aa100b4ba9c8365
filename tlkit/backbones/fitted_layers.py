"""Layers of fitted heads: standardisation, nearest neighbours and support vectors, as scikit-learn computes them.

They hold what was learned and compute in float64. `head_layers` makes them of a fitted pipeline; they stand here, before
any model, so that whoever reads a classifier's `.keras` file knows them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


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


def squared_distances(features, rows):
    """Squared Euclidean distances by |x|^2 - 2 x.r + |r|^2: [b, d] and [n, d] -> [b, n]."""
    squares = ops.sum(rows * rows, axis=1)
    return (
        ops.sum(features * features, axis=1)[:, None]
        - 2 * ops.matmul(features, ops.transpose(rows))
        + squares
    )


@keras.saving.register_keras_serializable("tlkit")
class NearestNeighbours(keras.layers.Layer):
    """Log of the smoothed share of votes of the k nearest rows: float64 [b, d] -> float32 [b, classes].

    Distances are in float64, as in scikit-learn's brute search; of equally near rows the earlier one votes.

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
        nearest = ops.top_k(-squared_distances(features, self.rows), neighbours)[1]
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
        distances = squared_distances(features, self.vectors)
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
