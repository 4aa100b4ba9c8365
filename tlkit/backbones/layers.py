"""Layers that Keras lacks and the networks of 2012 to 2017 need.

All take and give [b, h, w, channels].
"""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("tlkit")
class GroupedConvolution(keras.layers.Conv2D):
    """A convolution whose filters each see one group of channels, as one convolution per group.

    `keras.layers.Conv2D(groups=...)` has the same arguments, weights and result, but on a CPU it compiles itself
    with XLA at every trace, which ONNX and LiteRT cannot take over.
    """

    def convolution_op(self, inputs, kernel):
        """Convolve group by group.

        Args:
            inputs: Float [b, h, w, channels].
            kernel: [kernel height, kernel width, channels / groups, filters].

        Returns:
            [b, h', w', filters] without the bias.
        """
        groups = zip(
            ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1), strict=True
        )
        parts = [ops.conv(x, part, strides=list(self.strides), padding=self.padding) for x, part in groups]
        return ops.concatenate(parts, axis=-1)


@keras.saving.register_keras_serializable("tlkit")
class LocalResponseNormalization(keras.layers.Layer):
    """x / (bias + alpha / size * sum of squares of the nearest `size` channels) ** beta.

    It computes in float32 whatever the policy is: the squares of pixels' sums leave float16.

    Args:
        size: Channels that are summed, the one itself in the middle.
        alpha: Weight of their mean square.
        beta: Exponent.
        bias: Added to the mean square; "k" in the papers.

    Source: Krizhevsky 2012, section 3.3; alpha is divided by size as Caffe and ONNX (operator LRN) do.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, **options
    ) -> None:
        super().__init__(**options)
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias

    def call(self, inputs):
        """Normalise each pixel across its channels; same shape and dtype."""
        x = ops.cast(inputs, "float32")
        channels = x.shape[-1]
        below = (self.size - 1) // 2
        squares = ops.pad(ops.square(x), [[0, 0], [0, 0], [0, 0], [below, self.size - 1 - below]])
        total = sum(squares[..., first : first + channels] for first in range(self.size))
        scale = self.bias + (self.alpha / self.size) * total
        return ops.cast(x * ops.power(scale, -self.beta), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The same shape as the input."""
        return input_shape

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        own = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "bias": self.bias}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tlkit")
class ChannelShuffle(keras.layers.Layer):
    """Deal the channels of each group out to all groups, so that the next grouped convolution sees every group.

    Channel i of group g (of n channels each) goes to place i * groups + g.

    Args:
        groups: Number of groups; divides the number of channels.

    Source: Zhang 2018 (ShuffleNet), section 3.1.
    """

    def __init__(self, groups: int, **options) -> None:
        super().__init__(**options)
        self.groups = groups

    def call(self, inputs):
        """Change the order of the channels."""
        _, height, width, channels = ops.shape(inputs)
        apart = ops.reshape(inputs, (-1, height, width, self.groups, channels // self.groups))
        return ops.reshape(ops.transpose(apart, (0, 1, 2, 4, 3)), (-1, height, width, channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The same shape as the input."""
        return input_shape

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("tlkit")
class HalvingAverage(keras.layers.Layer):
    """The mean of 3x3 pixels at every second place, one pixel beyond each edge; what lies beyond is not counted.

    ONNX's AveragePool with pads 1, 1, 1, 1 and stride 2. Keras's padding "same" begins at the first pixel where the
    side is even, not before it.
    """

    def call(self, inputs):
        """[b, h, w, channels] -> [b, ceil(h / 2), ceil(w / 2), channels]."""
        sums = self._halve(inputs)
        return sums / self._halve(ops.ones_like(inputs[:1, :, :, :1]))

    def _halve(self, x):
        """A ninth of the sum over each window."""
        around = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return ops.average_pool(around, 3, 2, padding="valid")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Half the sides, rounded up."""
        batch, height, width, channels = input_shape
        halves = (None if side is None else (side + 1) // 2 for side in (height, width))
        return (batch, *halves, channels)
