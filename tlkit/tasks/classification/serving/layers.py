"""Export layers: what an ONNX or LiteRT file holds and the Keras model of a run does not.

A resize of images of any size inside the file, and fitted heads in single precision, for LiteRT has no arithmetic in
float64. They are made for one export and never saved in a `.keras` file.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tlkit.backbones.fitted_layers import NearestNeighbours, Standardize, SupportVectors


class ResizeInside(keras.layers.Layer):
    """`resize` of data/images/decoding/decode.py as two matrix products: uint8 [b, h, w, 3] -> uint8 [b, s, s, 3].

    Each new pixel is a weighted sum of old ones, a side at a time. Of `old` pixels that become s, new pixel i covers
    i * old to (i + 1) * old and old pixel j covers j * s to (j + 1) * s of their least common length s * old: where the
    side shrinks the weight is the part that both cover, where it grows it falls off linearly with the distance of
    their centres. All of these are whole numbers, exact in float32 below 2 ** 24.

    The result equals that of TensorFlow's own two operations but for averages that lie on the half between two levels.

    Args:
        size: s.
    """

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"}, trainable=False)
        self.size = size

    def call(self, images):
        """Stretch to a square, rounded to the nearest level."""
        size, height, width = self.size, tf.shape(images)[1], tf.shape(images)[2]
        rows = tf.reshape(tf.cast(images, tf.float32), [-1, height, width * 3])
        rows = tf.reshape(tf.matmul(self._shares(height), rows), [-1, size, width, 3])
        columns = tf.reshape(tf.transpose(rows, [0, 2, 1, 3]), [-1, width, size * 3])
        columns = tf.reshape(tf.matmul(self._shares(width), columns), [-1, size, size, 3])
        return tf.cast(tf.floor(tf.transpose(columns, [0, 2, 1, 3]) + 0.5), tf.uint8)

    def _shares(self, old: tf.Tensor) -> tf.Tensor:
        """What of each old pixel goes into each new one: float32 [1, s, old], rows add up to 1."""
        new, old = tf.constant(self.size, tf.float32), tf.cast(old, tf.float32)
        i, j = tf.range(self.size, dtype=tf.float32)[:, None], tf.range(old)[None]
        covered = tf.minimum((i + 1) * old, (j + 1) * new) - tf.maximum(i * old, j * new)
        centre = tf.clip_by_value(
            (2 * i + 1) * old - new, 0, 2 * new * (old - 1)
        )  # of i, in halves of the unit
        near = 2 * new - tf.abs(centre - 2 * new * j)
        return tf.where(old > new, tf.maximum(covered, 0) / old, tf.maximum(near, 0) / (2 * new))[None]

    def compute_output_spec(self, images):
        """uint8 [b, s, s, 3]."""
        return keras.KerasTensor((images.shape[0], self.size, self.size, 3), "uint8")


def with_resize(model: keras.Model) -> keras.Model:
    """A model that takes images of any size, uint8 [b, h, w, 3], and shares the layers of one that takes squares."""
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    return keras.Model(images, model(ResizeInside(model.input_shape[1])(images)), name=model.name)


class SquaredDistances(keras.layers.Layer):
    """Squared distances to held rows in single precision: float32 [b, d] -> float32 [b, n].

    Differences are taken before anything else is computed. The rows of a fitted head were float32 features, so they
    come back exactly, and so does the difference to a feature vector near by (Sterbenz 1974): what is left is the
    rounding of the sum, about 1e-6 of it.

    Args:
        rows: float64 [n, d], standardised.
        scaler: What standardised them.
    """

    def __init__(self, rows: np.ndarray, scaler: Standardize, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"}, trainable=False)
        mean, scale = (np.asarray(ops.convert_to_numpy(value)) for value in (scaler.mean, scaler.scale))
        self.rows = self._held(rows * scale + mean, "rows")
        self.scale = self._held(scale, "scale")

    def _held(self, values: np.ndarray, name: str) -> Any:
        start = keras.initializers.Constant(values.astype(np.float32))
        return self.add_weight(shape=values.shape, initializer=start, trainable=False, name=name)

    def call(self, features):
        """Squared distances of standardised features."""
        return ops.sum(ops.square((features[:, None] - self.rows) / self.scale), axis=-1)

    def compute_output_spec(self, features):
        """float32 [b, n]."""
        return keras.KerasTensor((features.shape[0], self.rows.shape[0]), "float32")


class SingleNeighbours(SquaredDistances):
    """`NearestNeighbours` in single precision: float32 [b, d] -> float32 [b, classes]."""

    def __init__(self, layer: NearestNeighbours, scaler: Standardize, **options: Any) -> None:
        super().__init__(ops.convert_to_numpy(layer.rows), scaler, **options)
        self.targets = self._held(ops.convert_to_numpy(layer.targets), "targets")
        self.neighbours = layer.shape[3]

    def call(self, features):
        """Smoothed log shares of votes."""
        nearest = ops.top_k(-super().call(features), self.neighbours)[1]
        votes = ops.sum(ops.take(self.targets, nearest, axis=0), axis=1)
        return ops.log((votes + 0.5) / (self.neighbours + 0.5 * self.targets.shape[1]))

    def compute_output_spec(self, features):
        """float32 [b, classes]."""
        return keras.KerasTensor((features.shape[0], self.targets.shape[1]), "float32")


class SingleVectors(SquaredDistances):
    """`SupportVectors` in single precision: float32 [b, d] -> float32 [b, machines]."""

    def __init__(self, layer: SupportVectors, scaler: Standardize, **options: Any) -> None:
        super().__init__(ops.convert_to_numpy(layer.vectors), scaler, **options)
        self.weights_of = self._held(ops.convert_to_numpy(layer.weights_of), "dual")
        self.offsets = self._held(ops.convert_to_numpy(layer.offsets), "offsets")
        self.gamma = layer.gamma

    def call(self, features):
        """Decision values."""
        kernel = ops.exp(-self.gamma * super().call(features))
        return ops.matmul(kernel, self.weights_of) + self.offsets

    def compute_output_spec(self, features):
        """float32 [b, machines]."""
        return keras.KerasTensor((features.shape[0], self.offsets.shape[0]), "float32")


def in_single_precision(model: keras.Model) -> keras.Model:
    """The same classifier with a head that computes in float32; the model itself where it does so already.

    Neighbours whose distances differ by less than about a millionth may change places.
    """
    scaler = next((layer for layer in model.layers if isinstance(layer, Standardize)), None)
    if scaler is None:
        return model
    x = model.get_layer("features").output
    after = [layer.name for layer in model.layers].index("features") + 1
    for layer in model.layers[after:]:
        if isinstance(layer, NearestNeighbours):
            x = SingleNeighbours(layer, scaler, name=layer.name)(x)
        elif isinstance(layer, SupportVectors):
            x = SingleVectors(layer, scaler, name=layer.name)(x)
        elif layer is not scaler:
            x = layer(x)
    return keras.Model(model.input, x, name=model.name)
