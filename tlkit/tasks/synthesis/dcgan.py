"""DCGAN (Radford 2015) with what a hundred images need.

Kept from the paper: one convolution a level, ReLU and tanh in the generator, strided convolutions and LeakyReLU in
the discriminator, Adam. Changed: upsampling by nearest neighbour and 3x3 convolution (no chequerboard, Odena 2016),
pixel norm (Karras 2017) where the paper has batch norm in the generator, no norm in the discriminator. Batch norm
behaves one way in training and another in service, and averaged weights (EMA) do not fit its moving statistics; pixel
norm is the same function in both. The discriminator is held by R1 (gan.py) in place of a norm.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import layers

from tlkit.errors import UsageFault

SIZES = (32, 64, 128)
STEM = 4  # side of the smallest feature maps


class Networks(NamedTuple):
    """Two networks: a generator and a discriminator of images of the same size."""

    generator: Any
    discriminator: Any


def check_size(size: int) -> None:
    """Raise UsageFault where images of this side cannot be made."""
    if size not in SIZES:
        raise UsageFault(f"--size {size} cannot be made.", f"Choose from {', '.join(map(str, SIZES))}.")


def channels_at(side: int, width: int) -> int:
    """Feature maps at a resolution: `width` at 32 px, twice as many at half of it; at most 4 times width."""
    return max(4, min(4 * width, 32 * width // side))


def sides(size: int) -> list[int]:
    """Resolutions from 8 px to the image's."""
    return [STEM * 2**k for k in range(1, (size // STEM).bit_length())]


@keras.saving.register_keras_serializable("tlkit")
class PixelNorm(layers.Layer):
    """Each pixel's (or vector's) features divided by their root mean square (Karras 2017, section 4.2)."""

    def call(self, x):
        """Float [..., f] -> the same shape."""
        # a / sqrt(mean a^2 + eps); 1e-6 and not the paper's 1e-8, which float16 rounds to 0
        return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6)


def doubled_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """From a 3x3 kernel [3, 3, i, o] the 4x4 kernel [4, 4, o, i] of `upsampled_convolution`.

    Enlarging by nearest neighbour is spreading each pixel over a 2x2 square, so the convolution of an enlarged
    image is a transposed convolution with the 3x3 kernel smeared by that square.
    """
    flipped = tf.pad(tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2]), [[0, 1], [0, 1], [0, 0], [0, 0]])
    smeared = flipped + tf.roll(flipped, 1, 0)  # each tap falls on two pixels of the enlarged image, a row
    return smeared + tf.roll(smeared, 1, 1)  # ... and a column apart: 3x3 * 2x2 = 4x4


def upsampled_convolution(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """conv3x3(nearest(x)), float [b, h, h, i] -> [b, 2h, 2h, o], with 4 in place of 9 products a pixel."""
    shape = tf.stack([tf.shape(x)[0], 2 * x.shape[1], 2 * x.shape[2], kernel.shape[3]])
    y = tf.nn.conv2d_transpose(x, doubled_kernel(kernel), shape, strides=2, padding="SAME")
    return tf.ensure_shape(y, [None, 2 * x.shape[1], 2 * x.shape[2], kernel.shape[3]])


@keras.saving.register_keras_serializable("tlkit")
class UpConvolution(layers.Layer):
    """Nearest neighbour twice the side, then a 3x3 convolution with bias."""

    def __init__(self, filters: int, **options) -> None:
        super().__init__(**options)
        self.filters = filters

    def build(self, input_shape) -> None:
        """Make the kernel [3, 3, i, o] and the bias."""
        shape = (3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        """Float [b, h, h, i] -> [b, 2h, 2h, o]."""
        return upsampled_convolution(x, tf.convert_to_tensor(self.kernel)) + self.bias

    def compute_output_shape(self, input_shape) -> tuple:
        """Twice the side."""
        return (input_shape[0], 2 * input_shape[1], 2 * input_shape[2], self.filters)

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "filters": self.filters}


class GanNetwork(keras.Model):
    """What generators and discriminators have in common: they are made again from a few numbers.

    Args:
        size: Side of the images.
        channels: 1 or 3.
        latent: Length of the random vector.
        classes: 0, or how many classes the images are conditioned on.
        width: Feature maps at 32 px.
        options: Keras's own: name, dtype (a policy such as "mixed_bfloat16").
    """

    def __init__(self, size: int, channels: int, latent: int, classes: int, width: int, **options) -> None:
        super().__init__(**{**options, "autocast": False})  # its layers cast for themselves
        check_size(size)
        self.size, self.channels, self.latent = size, channels, latent
        self.classes, self.width = classes, width

    def get_config(self) -> dict:
        """The numbers it was made of."""
        names = ("size", "channels", "latent", "classes", "width")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def build_from_config(self, config: dict) -> None:
        """Nothing: the weights were made with the model."""


@keras.saving.register_keras_serializable("tlkit")
class DcganGenerator(GanNetwork):
    """Latents [n, latent] (and labels [n]) -> images float32 [n, s, s, c], -1..1."""

    def __init__(self, size=32, channels=1, latent=64, classes=0, width=32, **options) -> None:
        super().__init__(size, channels, latent, classes, width, **options)
        policy = self.dtype_policy
        stem = channels_at(STEM, width)
        z = keras.Input((latent + (latent if classes else 0),))
        x = layers.Dense(STEM * STEM * stem, kernel_initializer="he_normal", dtype=policy)(z)
        x = layers.Reshape((STEM, STEM, stem), dtype=policy)(x)
        x = layers.ReLU(dtype=policy)(PixelNorm(dtype=policy)(x))
        for side in sides(size):
            x = UpConvolution(channels_at(side, width), dtype=policy)(x)
            x = layers.ReLU(dtype=policy)(PixelNorm(dtype=policy)(x))
        x = layers.Conv2D(channels, 3, padding="same", dtype=policy)(x)
        self.body = keras.Model(z, layers.Activation("tanh", dtype="float32")(x))
        self.embedding = layers.Embedding(classes, latent, dtype=policy) if classes else None
        if self.embedding:
            self.embedding.build()
        self.built = True

    def call(self, latents, labels=None, seed=None, truncation=1.0, training=False):
        """Images of latents; `seed` is a StyleGAN's and not used.

        Truncation shrinks the latents; between 0 and 1 it does little, because the pixel norm undoes most of it.
        """
        del seed
        return self.body(self._conditioned(latents * truncation, labels), training=training)

    def _conditioned(self, latents, labels):
        """Latents, and beside them the embedding of the class."""
        if not self.embedding:
            return latents
        return tf.concat([latents, tf.cast(self.embedding(labels), latents.dtype)], -1)

    def sample(self, latents, labels, seed, mixing):
        """Float32 [n, s, s, c] for the GAN, before the tanh; seed and share of mixed styles are a StyleGAN's."""
        del seed, mixing
        x = self._conditioned(latents, labels)
        for layer in self.body.layers[1:-1]:  # a chain; its last link is the tanh
            x = layer(x)
        return tf.cast(x, tf.float32)


@keras.saving.register_keras_serializable("tlkit", name="DcganCritic")
class DcganDiscriminator(GanNetwork):
    """Images float [n, s, s, c], -1..1 (and labels [n]) -> float32 [n]: above 0 is "real"."""

    def __init__(self, size=32, channels=1, latent=64, classes=0, width=32, **options) -> None:
        super().__init__(size, channels, latent, classes, width, **options)
        policy = self.dtype_policy
        x = images = keras.Input((size, size, channels))
        for side in [STEM, *sides(size)][-2::-1]:
            filters = channels_at(side, width)
            x = layers.Conv2D(filters, 3, 2, padding="same", kernel_initializer="he_normal", dtype=policy)(x)
            x = layers.LeakyReLU(0.2, dtype=policy)(x)
        x = layers.Flatten(dtype="float32")(x)
        score = layers.Dense(1, dtype="float32")(x)
        self.body = keras.Model(images, [score, x])
        self.embedding = layers.Embedding(classes, x.shape[-1], dtype="float32") if classes else None
        if self.embedding:
            self.embedding.build()
        self.built = True

    def call(self, images, labels=None, training=False):
        """Scores; with classes the projection of Miyato 2018 is added."""
        score, features = self.body(images, training=training)
        return project_class(score, features, self.embedding, labels)


def project_class(score, features, embedding, labels):
    """float32 [n]: score + <embedding of the class, features> / sqrt(length) (Miyato 2018, equation 3)."""
    score = tf.squeeze(score, -1)
    if embedding is None:
        return score
    return score + tf.reduce_sum(embedding(labels) * features, -1) / features.shape[-1] ** 0.5


def build_networks(
    generator: type[GanNetwork],
    discriminator: type[GanNetwork],
    size: int,
    channels: int,
    *,
    latent: int = 64,
    classes: int = 0,
    width: int = 32,
    precision: str = "float32",
    seed: int = 0,
) -> Networks:
    """A GAN's two networks, with random weights that follow from the seed.

    Args:
        generator: Its class.
        discriminator: Its class.
        size: 32, 64 or 128 px.
        channels: 1 or 3.
        latent: Length of the random vector z; of a StyleGAN's w too.
        classes: Condition on so many classes; 0 does not.
        width: Feature maps at 32 px; twice as many at half the side.
        precision: A Keras dtype policy.
        seed: Of the weights.
    """
    keras.utils.set_random_seed(seed)
    given = (size, channels, latent, classes, width)
    return Networks(
        generator(*given, dtype=precision, name="generator"),
        discriminator(*given, dtype=precision, name="critic"),
    )


def build_dcgan(size: int = 32, channels: int = 1, **how: Any) -> Networks:
    """A DCGAN's two networks; see `build_networks`."""
    return build_networks(DcganGenerator, DcganDiscriminator, size, channels, **how)
