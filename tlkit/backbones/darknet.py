"""Darknet-19, Darknet-53 and a small Darknet: backbones of YOLOv2 and YOLOv3 without their last layer, and their layers.

    pixels 0..1, RGB [b, s, s, 3] -> maps of strides 8, 16 and 32

They compute what Darknet computes, so that its `.weights` files (darknet_weights.py) mean the same here. Layers are
numbered as they stand in a file: conv_1, norm_1, leaky_1, conv_2 ...
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import keras
from keras import layers, ops

SLOPE = 0.1  # of the leaky rectifier below zero

Stages = tuple[tuple[tuple[int, int], ...], ...]

# Filters and side of each convolution; a maximum over 2x2 pixels opens each stage but the first.
# Redmon 2017 (YOLO9000), table 6.
DARKNET_19: Stages = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
# The body of Redmon's yolov3-tiny but for its last convolution, of 1,024.
DARKNET_SMALL: Stages = tuple(((filters, 3),) for filters in (16, 32, 64, 128, 256, 512))
# Filters of a stage, which a convolution of stride 2 opens, and its residual blocks. Redmon 2018 (YOLOv3), table 1.
DARKNET_53 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))


@keras.saving.register_keras_serializable("tlkit")
class DarknetNormalization(layers.BatchNormalization):
    """Batch normalisation as Darknet has it: (x - mean) / (sqrt(variance) + 1e-6), times scale, plus bias.

    Keras adds its epsilon below the root. It computes in float32 whatever the policy is; a batch's variance is its mean
    square, as in Keras (Darknet divides by one pixel less).

    Args:
        options: Of `keras.layers.BatchNormalization`; `epsilon` is added to the root.
    """

    def __init__(self, epsilon: float = 1e-6, **options) -> None:
        super().__init__(epsilon=epsilon, **options)

    def call(self, inputs, training=None, mask=None):
        """Normalise [..., channels] by the batch where it learns, by the moving statistics elsewhere; same shape."""
        x = ops.cast(inputs, "float32")
        mean, variance = self.moving_mean, self.moving_variance
        learns = bool(training) and self.trainable
        if learns:
            mean, variance = ops.moments(x, axes=list(range(len(x.shape) - 1)))
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + now * (1 - self.momentum))
        varies = variance > 0
        # the root's slope at 0 is infinite, which would make every gradient NaN
        root = ops.where(varies, ops.sqrt(ops.where(varies, variance, 1.0)), 0.0)
        factor = ops.cast(self.gamma, "float32") / (root + self.epsilon)
        if learns:  # a channel of one value is the bias; a slope of 1e6 in each layer would leave float32
            factor = ops.where(varies, factor, 0.0)
        return ops.cast((x - mean) * factor + ops.cast(self.beta, "float32"), self.compute_dtype)


@keras.saving.register_keras_serializable("tlkit")
class Reorg(layers.Layer):
    """Darknet's reorg of stride 2, the passthrough of YOLOv2: [b, h, w, c] -> [b, h / 2, w / 2, 4 c].

    It is no space-to-depth. Darknet reads the numbers of its map [c, h, w] as if they lay in [c / 4, 2 h, 2 w], takes
    that apart by rows and columns into [2, 2, c / 4, h, w], and reads the result as [4 c, h / 2, w / 2].

    Sides are even and c is a multiple of 4.
    """

    def build(self, input_shape: tuple) -> None:
        """Check the shape.

        Raises:
            ValueError: Sides are odd, or the channels no multiple of 4.
        """
        _, height, width, channels = input_shape
        if channels % 4 or (height or 0) % 2 or (width or 0) % 2:
            raise ValueError(f"Reorg wants even sides and channels by fours. Received: {input_shape}")

    def call(self, inputs):
        """Deal the numbers out anew."""
        channels = inputs.shape[-1]
        _, height, width, _ = ops.shape(inputs)
        planes = ops.transpose(inputs, (0, 3, 1, 2))  # as Darknet's lie in memory
        apart = ops.reshape(planes, (-1, channels // 4 * height, 2, width, 2))  # (c / 4, h), row, w, column
        dealt = ops.transpose(apart, (0, 2, 4, 1, 3))  # row, column, (c / 4, h), w
        read = ops.reshape(dealt, (-1, 4 * channels, height // 2, width // 2))
        return ops.transpose(read, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Half the sides, four times the channels."""
        batch, height, width, channels = input_shape
        return (batch, *(None if side is None else side // 2 for side in (height, width)), 4 * channels)


class Convolution(NamedTuple):
    """A convolution as a `.weights` file has it.

    Attributes:
        convolution: With a bias exactly where it has no normalisation.
        normalisation: Its batch normalisation, or None.
    """

    convolution: layers.Conv2D
    normalisation: layers.BatchNormalization | None


def darknet_convolution(
    x: keras.KerasTensor, filters: int, side: int, name: str, *, stride: int = 1, exact: bool = True
) -> keras.KerasTensor:
    """Convolution without bias, batch normalisation, leaky rectifier: layers conv_NAME, norm_NAME, leaky_NAME.

    Args:
        x: [b, h, w, channels].
        filters: How many.
        side: Of the kernel, pixels.
        name: Of the three layers.
        stride: 1, or 2 for maps of even sides, to which a row above and a column to the left are added.
        exact: Normalise as Darknet does, which its files want. Keras's epsilon of 0.001 below the root bears maps that
            hardly vary, as a pretrained backbone's coarsest one where few objects are large; Darknet's makes noise
            of them.

    Returns:
        [b, h / stride, w / stride, filters].
    """
    if stride == 2:
        x = layers.ZeroPadding2D(((1, 0), (1, 0)), name=f"pad_{name}")(x)
    x = layers.Conv2D(
        filters,
        side,
        stride,
        "valid" if stride == 2 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"conv_{name}",
    )(x)
    normalisation = DarknetNormalization if exact else layers.BatchNormalization
    x = normalisation(name=f"norm_{name}")(x)
    return layers.LeakyReLU(SLOPE, name=f"leaky_{name}")(x)


def named_convolutions(network: keras.Model, names: Iterable[str]) -> list[Convolution]:
    """What `darknet_convolution` made by these names; a layer conv_NAME without a norm_NAME stands alone."""
    known = {layer.name: layer for layer in network.layers}
    return [Convolution(known[f"conv_{name}"], known.get(f"norm_{name}")) for name in names]


def body_convolutions(body: keras.Model) -> list[Convolution]:
    """All of a network of this module, in the order of a file; none of any other network."""
    norms = [layer for layer in body.layers if isinstance(layer, DarknetNormalization)]
    return named_convolutions(body, [str(number) for number in range(1, len(norms) + 1)])


def darknet_19(size: int) -> keras.Model:
    """Darknet-19 (Redmon 2017) without its last layer, 18 convolutions, 19,831,776 numbers.

    Args:
        size: Side of the square input, pixels, a multiple of 32.

    Returns:
        Pixels 0..1, RGB [b, s, s, 3] -> maps of 256, 512 and 1,024 channels at strides 8, 16 and 32.
    """
    return _pooled(size, DARKNET_19)


def darknet_small(size: int) -> keras.Model:
    """The body of yolov3-tiny, 7 convolutions, 6,298,480 numbers; as `darknet_19`, the maps of 128, 256 and 1,024."""
    network = _pooled(size, DARKNET_SMALL)
    fine, middle, coarse = network.outputs
    # the last maximum keeps the side: a row below and a column to the right are added
    x = layers.MaxPooling2D(2, 1, "same", name="pool_6")(coarse)
    return keras.Model(network.input, [fine, middle, darknet_convolution(x, 1024, 3, "7")])


def _pooled(size: int, stages: Stages) -> keras.Model:
    """A network whose stages begin with a maximum; its outputs are those of the last three."""
    x = pixels = keras.Input((size, size, 3))
    number, maps = 0, []
    for stage, convolutions in enumerate(stages):
        if stage:
            x = layers.MaxPooling2D(2, name=f"pool_{stage}")(x)
        for filters, side in convolutions:
            number += 1
            x = darknet_convolution(x, filters, side, str(number))
        maps.append(x)
    return keras.Model(pixels, maps[-3:])


def darknet_53(size: int) -> keras.Model:
    """Darknet-53 (Redmon 2018) without its last layer, 52 convolutions, 40,620,640 numbers; as `darknet_19`."""
    pixels = keras.Input((size, size, 3))
    x, number, maps = darknet_convolution(pixels, 32, 3, "1"), 1, []
    for filters, blocks in DARKNET_53:
        number += 1
        x = darknet_convolution(x, filters, 3, str(number), stride=2)
        for _ in range(blocks):
            within = darknet_convolution(x, filters // 2, 1, str(number + 1))
            number += 2
            within = darknet_convolution(within, filters, 3, str(number))
            x = layers.Add(name=f"add_{number}")([x, within])
        maps.append(x)
    return keras.Model(pixels, maps[-3:])
