"""The layers of our RetinaNet: a feature pyramid and heads whose width can be chosen.

KerasCV's are 256 channels wide throughout, which on a CPU costs more than the backbone. The heads start as in
Lin 2017, section 4.1: small random weights, and a bias that gives every anchor a score of 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import layers, ops

from tlkit.backbones.pyramids import LEVELS

PRIOR = 0.01  # the score of every anchor before training


@keras.saving.register_keras_serializable("tlkit")
class FeaturePyramid(layers.Layer):
    """Maps of strides 8, 16, 32 made equally wide and mixed from coarse to fine, and coarser ones added.

    Source: Lin 2017 (Feature pyramid networks, section 3; RetinaNet, section 4).

    Args:
        width: Channels of every map.
        levels: Maps in all; where they are fewer than `given`, the finest ones.
        given: Levels of the maps that are mixed.
    """

    def __init__(self, width: int, levels: int = 5, given: Sequence[str] = LEVELS, **options) -> None:
        super().__init__(**options)
        self.width, self.levels, self.given = width, levels, tuple(given)
        policy, number = self.dtype_policy, len(self.given)
        self.lateral = [layers.Conv2D(width, 1, name=f"lateral_{i}", dtype=policy) for i in range(number)]
        self.smooth = [
            layers.Conv2D(width, 3, 1, "same", name=f"smooth_{i}", dtype=policy)
            for i in range(min(levels, number))
        ]
        self.coarse = [
            layers.Conv2D(width, 3, 2, "same", name=f"coarse_{i}", dtype=policy)
            for i in range(levels - number)
        ]
        self.double = layers.UpSampling2D(2, dtype=policy)

    def build(self, input_shape: dict) -> None:
        """Make the weights for maps of `input_shape` = {"P3": (b, h, w, c), "P4": ..., "P5": ...}."""
        for layer, level in zip(self.lateral, self.given, strict=True):
            layer.build(input_shape[level])
        for layer in self.smooth:
            layer.build((None, None, None, self.width))
        for number, layer in enumerate(self.coarse):
            channels = self.width if number else input_shape[self.given[-1]][-1]
            layer.build((None, None, None, channels))

    def call(self, maps: dict) -> tuple:
        """{"P3": [b, h, w, c], ...} -> maps [b, h / 2^i, w / 2^i, width], finest first."""
        found = [layer(maps[level]) for layer, level in zip(self.lateral, self.given, strict=True)]
        for i in reversed(range(len(found) - 1)):
            found[i] = found[i] + self.double(found[i + 1])
        found = [layer(x) for layer, x in zip(self.smooth, found, strict=False)]
        x = maps[self.given[-1]]
        for number, layer in enumerate(self.coarse):
            x = layer(ops.relu(x) if number else x)
            found.append(x)
        return tuple(found)

    def compute_output_shape(self, input_shape: dict) -> tuple:
        """Shapes of the maps, finest first."""
        shapes = [(*input_shape[level][:-1], self.width) for level in self.given]
        for _ in self.coarse:
            batch, height, width, _ = shapes[-1]
            shapes.append((batch, -(-height // 2), -(-width // 2), self.width))
        return tuple(shapes[: self.levels])

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        other = {} if self.given == LEVELS else {"given": list(self.given)}
        return {**super().get_config(), "width": self.width, "levels": self.levels, **other}


@keras.saving.register_keras_serializable("tlkit")
class Tower(layers.Layer):
    """Convolutions that all levels share, and the prediction at every place.

    Args:
        outputs: Channels of the prediction.
        width: Channels before it.
        depth: Convolutions before it.
        prior: The score that the sigmoid of every output starts from; None starts from 0.
    """

    def __init__(self, outputs: int, width: int, depth: int, prior: float | None = None, **options) -> None:
        super().__init__(**options)
        self.outputs, self.width, self.depth, self.prior = outputs, width, depth, prior
        policy = self.dtype_policy
        self.convolutions = [
            layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"convolution_{i}",
                dtype=policy,
            )
            for i in range(depth)
        ]
        bias = keras.initializers.Constant(-math.log((1 - prior) / prior)) if prior else "zeros"
        start = keras.initializers.RandomNormal(stddev=0.01)
        self.prediction = layers.Conv2D(
            outputs,
            3,
            padding="same",
            kernel_initializer=start,
            bias_initializer=bias,
            name="prediction",
            dtype=policy,
        )

    def build(self, input_shape: tuple) -> None:
        """Make the weights for maps [b, h, w, c]."""
        channels = input_shape[-1]
        for layer in self.convolutions:
            layer.build((None, None, None, channels))
            channels = self.width
        self.prediction.build((None, None, None, channels))

    def call(self, x):
        """[b, h, w, c] -> [b, h, w, outputs]."""
        for layer in self.convolutions:
            x = layer(x)
        return self.prediction(x)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """[b, h, w, outputs]."""
        return (*input_shape[:-1], self.outputs)

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        own = {"outputs": self.outputs, "width": self.width, "depth": self.depth, "prior": self.prior}
        return {**super().get_config(), **own}
