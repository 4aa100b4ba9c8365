"""The layers of a StyleGAN: equalised rates, modulated convolutions, noise, and what its discriminator adds.

Sources: Karras 2018 (equalised learning rates, minibatch deviation), Karras 2019 (mapping, noise), Karras 2020
(StyleGAN2: modulation and demodulation in place of AdaIN).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.core.seeds import fold
from tlkit.tasks.synthesis.dcgan import upsampled_convolution

GAIN = 2**0.5  # after LeakyReLU, so that activations keep their variance
SLOPE = 0.2
NOISE_RATE = 0.1  # of the learning rate: a strength that learns fast drowns the image in grain at first


def activated(x: tf.Tensor, gain: float = GAIN) -> tf.Tensor:
    """LeakyReLU(0.2) times the gain that keeps the variance."""
    # halving the variance is what a rectifier does to a symmetric input: sqrt(2) undoes it
    return tf.nn.leaky_relu(x, SLOPE) * tf.cast(gain, x.dtype)


def blurred(x: tf.Tensor, stride: int = 1) -> tf.Tensor:
    """Float [b, h, w, f] filtered by [1, 2, 1] x [1, 2, 1] / 16: no frequency is folded (Zhang 2019)."""
    line = np.array([1.0, 2.0, 1.0]) / 4  # binomial: its response is zero at the highest frequency
    kernel = np.tile(np.outer(line, line)[:, :, None, None], [1, 1, x.shape[-1], 1])
    return tf.nn.depthwise_conv2d(x, tf.constant(kernel, x.dtype), [1, stride, stride, 1], "SAME")


def enlarged(x: tf.Tensor) -> tf.Tensor:
    """Float [b, h, w, c] -> [b, 2h, 2w, c], bilinear."""
    size = [2 * x.shape[1], 2 * x.shape[2]]
    return tf.cast(tf.image.resize(x, size, tf.image.ResizeMethod.BILINEAR), x.dtype)


class Equalised(layers.Layer):
    """A layer whose weights are drawn from N(0, 1) and scaled when used, so that all learn at the same rate.

    Args:
        filters: Outputs.
        rate: Multiplies the learning rate of this layer's weights: they are stored divided by it.
        bias: The bias's first value; None has no bias.
        gain: Multiplies the kernel: below 1 the layer says little at first.
        options: Keras's own.
    """

    def __init__(
        self, filters: int, rate: float = 1.0, bias: float | None = 0.0, gain: float = 1.0, **options
    ) -> None:
        super().__init__(**options)
        self.filters, self.rate, self.first_bias, self.gain = filters, rate, bias, gain

    def make(self, shape: tuple[int, ...]) -> None:
        """Make the kernel (its last axis are the outputs) and the bias."""
        # He's constant 1 / sqrt(fan-in), at run time and not in the draw: Adam's step, which has no scale,
        # is then the same share of every layer's weights (Karras 2018, section 4.1)
        self.scale = self.gain * self.rate / float(np.sqrt(np.prod(shape[:-1])))
        # stored / rate, used * rate: the same function, steps times rate
        normal = keras.initializers.RandomNormal(0, 1 / self.rate)
        self.kernel = self.add_weight(shape=shape, initializer=normal, name="kernel")
        self.bias: Any = None
        if self.first_bias is not None:
            first = keras.initializers.Constant(self.first_bias / self.rate)
            self.bias = self.add_weight(shape=(self.filters,), initializer=first, name="bias")

    def scaled_kernel(self) -> tf.Tensor:
        """The kernel as it is used."""
        kernel = tf.convert_to_tensor(self.kernel)
        return kernel * tf.cast(self.scale, kernel.dtype)

    def biased(self, x: tf.Tensor) -> tf.Tensor:
        """Add the bias as it is used."""
        if self.bias is None:
            return x
        bias = tf.convert_to_tensor(self.bias)
        return x + (bias if self.rate == 1 else bias * tf.cast(self.rate, bias.dtype))

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        own = {"filters": self.filters, "rate": self.rate, "bias": self.first_bias, "gain": self.gain}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tlkit")
class EqualisedDense(Equalised):
    """Float [b, i] -> [b, filters]."""

    def build(self, input_shape) -> None:
        """Make the kernel [i, o]."""
        self.make((input_shape[-1], self.filters))

    def call(self, x):
        """Product and bias."""
        return self.biased(tf.matmul(x, self.scaled_kernel()))


@keras.saving.register_keras_serializable("tlkit")
class EqualisedConvolution(Equalised):
    """Float [b, h, w, i] -> [b, h / stride, w / stride, filters]."""

    def __init__(self, filters: int, side: int = 3, stride: int = 1, **options) -> None:
        super().__init__(filters, **options)
        self.side, self.stride = side, stride

    def build(self, input_shape) -> None:
        """Make the kernel [side, side, i, o]."""
        self.make((self.side, self.side, input_shape[-1], self.filters))

    def call(self, x):
        """Convolution and bias."""
        return self.biased(tf.nn.conv2d(x, self.scaled_kernel(), self.stride, "SAME"))

    def compute_output_shape(self, input_shape) -> tuple:
        """Smaller by the stride."""
        batch, height, width, _ = input_shape
        return (batch, -(-height // self.stride), -(-width // self.stride), self.filters)

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "side": self.side, "stride": self.stride}


@keras.saving.register_keras_serializable("tlkit")
class ModulatedConvolution(Equalised):
    """A convolution whose kernel is scaled by a style, for each image its own (Karras 2020, section 2.2).

    The paper scales kernels and runs one group an image. Scaling the input features by the style and dividing the
    output features by the norm of the scaled kernel is the same function with one shared kernel: no groups, which
    a CPU has no fast kernel for.

    Args:
        filters: Outputs.
        side: Of the kernel, 1 or 3.
        up: Double the side of the feature maps first; the result is blurred.
        demodulate: Divide by the norm; images (toRGB) are not.
        options: Keras's own.
    """

    def __init__(
        self, filters: int, side: int = 3, up: bool = False, demodulate: bool = True, **options
    ) -> None:
        super().__init__(filters, **options)
        self.side, self.up, self.demodulate = side, up, demodulate

    def build(self, input_shape, style_shape=None) -> None:
        """Make the kernel [side, side, i, o] and the dense layer from w to styles, 1 at first."""
        features = input_shape[-1]
        self.make((self.side, self.side, features, self.filters))
        self.affine = EqualisedDense(features, bias=1.0, dtype=self.dtype_policy, name="affine")
        self.affine.build(style_shape)

    def call(self, x, w):
        """Float [b, h, h, i] and w [b, d] -> [b, h or 2h, ., filters], without bias."""
        style, kernel = self.affine(w), self.scaled_kernel()  # s = A(w), one factor an input feature
        # w' = s_i w (Karras 2020, equation 1), moved from the kernel to what it is applied to
        x *= style[:, None, None]
        # enlarging by nearest neighbour leaves blocks; the blur takes their frequencies out
        x = blurred(upsampled_convolution(x, kernel)) if self.up else tf.nn.conv2d(x, kernel, 1, "SAME")
        if not self.demodulate:
            return x
        # sums over the kernel's window in float32: squares of float16 would overflow
        squares = tf.reduce_sum(tf.square(tf.cast(kernel, tf.float32)), [0, 1])  # [i, o]
        # 1 / sigma_j, sigma_j^2 = sum_i s_i^2 sum_k w_ijk^2 (Karras 2020, equations 2 and 3)
        norm = tf.math.rsqrt(tf.matmul(tf.square(tf.cast(style, tf.float32)), squares) + 1e-8)
        return x * tf.cast(norm, x.dtype)[:, None, None]

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "side": self.side, "up": self.up, "demodulate": self.demodulate}


@keras.saving.register_keras_serializable("tlkit")
class StyledLayer(layers.Layer):
    """Modulated convolution, noise of learned strength, bias, LeakyReLU."""

    def __init__(self, filters: int, number: int, up: bool = False, **options) -> None:
        super().__init__(**options)
        self.filters, self.number, self.up = filters, number, up

    def build(self, input_shape, style_shape=None) -> None:
        """Make the convolution, whose bias is added after the noise, and the noise's strength."""
        self.convolution = ModulatedConvolution(self.filters, up=self.up, dtype=self.dtype_policy)
        self.convolution.build(input_shape, style_shape)
        self.strength = self.add_weight(shape=(), initializer="zeros", name="strength")

    def call(self, x, w, seed=None):
        """Float [b, h, h, i], w [b, d] and a noise seed (see `noise`) -> [b, h or 2h, ., filters]."""
        x = self.convolution(x, w)
        # one map for all features, as in Karras 2020; a strength a feature was Karras 2019
        grain = tf.cast(noise(tf.shape(x)[0], x.shape[1], seed, self.number), x.dtype)
        strength = tf.convert_to_tensor(self.strength) * tf.cast(NOISE_RATE, x.dtype)
        return activated(self.convolution.biased(x + grain * strength))

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "filters": self.filters, "number": self.number, "up": self.up}


def noise(count: tf.Tensor, side: int, seed: tf.Tensor | None, layer: int) -> tf.Tensor:
    """float32 [b or 1, side, side, 1], normal.

    Args:
        count: Images.
        side: Pixels.
        seed: int32 [2]: other noise for each image of the batch; int32 [b, 2]: each image has its own seed and
            does not depend on its neighbours; None: one noise for all images, always the same.
        layer: Number of the layer; each has its own.
    """
    shape = [side, side, 1]
    if seed is None:
        return tf.random.stateless_normal([1, *shape], tf.constant([layer, 17], tf.int32))
    if seed.shape.rank == 1:
        return tf.random.stateless_normal([count, *shape], fold(seed, layer))
    return tf.map_fn(
        lambda one: tf.random.stateless_normal(shape, fold(one, layer)),
        seed,
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )


@keras.saving.register_keras_serializable("tlkit")
class MinibatchDeviation(layers.Layer):
    """One more feature map: how much the images of a group differ (Karras 2018, section 3).

    A discriminator that sees it notices a generator that paints one image only.
    """

    def __init__(self, group: int = 4, **options) -> None:
        super().__init__(**options)
        self.group = group

    def call(self, x):
        """Float [b, h, w, f] -> [b, h, w, f + 1]; a batch that is no multiple of the group is one group."""
        count, side = tf.shape(x)[0], x.shape[1]
        group = tf.where(count % self.group == 0, self.group, count)
        y = tf.cast(tf.reshape(x, [group, -1, side, side, x.shape[3]]), tf.float32)
        # 1: over the images of a group, for each feature and pixel
        deviation = tf.sqrt(tf.math.reduce_variance(y, 0) + 1e-8)
        spread = tf.reduce_mean(deviation, [1, 2, 3])  # [groups]  # 2: one number a group
        # 3: a constant map for each image; `reshape` put images i, i + n / group, ... in a group
        filled = tf.tile(spread, [group])[:, None, None, None] * tf.ones([1, side, side, 1])
        return tf.concat([x, tf.cast(filled, x.dtype)], -1)

    def compute_output_shape(self, input_shape) -> tuple:
        """One more feature."""
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "group": self.group}
