"""StyleGAN-lite (Karras 2018, 2019, 2020) for 32 to 128 px, small enough for two CPU cores.

z -> mapping -> w; each layer of the synthesis is modulated by its own w, so coarse, middle and fine layers can take
their styles from different images. The image is the sum of what the levels paint (skip connections); the
discriminator is a plain pyramid with minibatch deviation. Everything learns at an equalised rate.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tlkit.core.seeds import fold
from tlkit.tasks.synthesis.dcgan import (
    STEM,
    GanNetwork,
    Networks,
    PixelNorm,
    build_dcgan,
    build_networks,
    channels_at,
    project_class,
    sides,
)
from tlkit.tasks.synthesis.stylegan_layers import (
    EqualisedConvolution,
    EqualisedDense,
    MinibatchDeviation,
    ModulatedConvolution,
    StyledLayer,
    activated,
    blurred,
    enlarged,
)

MAPPING_RATE = 0.01  # of the learning rate (Karras 2019, appendix C)
PAINT_GAIN = 0.25  # five levels of variance 1 would be images far beyond -1..1 at first
AVERAGE_MEMORY = 0.995  # of the mean w, a step


@keras.saving.register_keras_serializable("tlkit")
class Mapping(layers.Layer):
    """z float [n, latent] (and labels [n]) -> w float [n, latent]."""

    def __init__(self, latent: int, classes: int = 0, depth: int = 3, **options) -> None:
        super().__init__(**options)
        self.latent, self.classes, self.depth = latent, classes, depth
        self.norm = PixelNorm(dtype=self.dtype_policy)
        self.dense = [
            EqualisedDense(latent, rate=MAPPING_RATE, dtype=self.dtype_policy, name=f"dense_{i}")
            for i in range(depth)
        ]
        self.embedding = None
        if classes:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            self.embedding = layers.Embedding(classes, latent, normal, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:
        """Make the weights."""
        for number, dense in enumerate(self.dense):
            dense.build((None, self.latent * (2 if self.classes and not number else 1)))
        if self.embedding:
            self.embedding.build()

    def call(self, z, labels=None):
        """Normalise z and the class each, then dense layers."""
        x = self.norm(z)
        if self.embedding:
            x = tf.concat([x, self.norm(self.embedding(labels))], -1)
        for dense in self.dense:
            x = activated(dense(x))
        return x

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        own = {"latent": self.latent, "classes": self.classes, "depth": self.depth}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tlkit")
class Synthesis(layers.Layer):
    """w float [n, layers, latent] and a noise seed -> images float32 [n, s, s, c], about -1..1.

    Layer 0 paints at 4 px; each further level has an enlarging layer and, up to 16 px, a second one. What a level
    paints is modulated by the w of its last layer.
    """

    def __init__(self, size: int, channels: int, latent: int, width: int, **options) -> None:
        super().__init__(**options)
        self.size, self.channels, self.latent, self.width = size, channels, latent, width
        policy = self.dtype_policy
        self.levels: list[list[StyledLayer]] = [[StyledLayer(channels_of(STEM, width), 0, dtype=policy)]]
        number = 1
        for side in sides(size):
            level = []
            for up in (True, False) if side < size or size == 32 else (True,):
                level.append(
                    StyledLayer(channels_of(side, width), number, up, dtype=policy, name=f"styled_{number}")
                )
                number += 1
            self.levels.append(level)
        self.count = number
        self.painters = [
            ModulatedConvolution(
                channels, 1, demodulate=False, gain=PAINT_GAIN, dtype=policy, name=f"paint_{i}"
            )
            for i in range(len(self.levels))
        ]

    def build(self, input_shape=None) -> None:
        """Make the weights and the learned 4x4 image that all paintings start from."""
        style = (None, self.latent)
        features, side = channels_of(STEM, self.width), STEM
        shape = (1, STEM, STEM, features)
        self.start = self.add_weight(
            shape=shape, initializer=keras.initializers.RandomNormal(stddev=1.0), name="start"
        )
        for level, painter in zip(self.levels, self.painters, strict=True):
            for layer in level:
                layer.build((None, side, side, features), style)
                features, side = layer.filters, side * (2 if layer.up else 1)
            painter.build((None, side, side, features), style)

    def call(self, w, seed=None):
        """Paint."""
        return tf.tanh(self.sample(w, seed))

    def sample(self, w, seed=None):
        """What `call` makes, before the tanh."""
        start = tf.convert_to_tensor(self.start)
        x = tf.tile(start, [tf.shape(w)[0], 1, 1, 1])
        image, number = None, 0
        for level, painter in zip(self.levels, self.painters, strict=True):
            for layer in level:
                x = layer(x, w[:, number], seed)
                number += 1
            sampled = painter.biased(painter(x, w[:, number - 1]))
            # skip connections: each level adds its image to the enlarged sum (Karras 2020, figure 7b)
            image = sampled if image is None else enlarged(image) + sampled
        return tf.cast(image, tf.float32)

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        own = {"size": self.size, "channels": self.channels, "latent": self.latent, "width": self.width}
        return {**super().get_config(), **own}


def channels_of(side: int, width: int) -> int:
    """Feature maps at a resolution: `width` at 32 px, never more than twice that below."""
    return min(2 * width, channels_at(side, width))


@keras.saving.register_keras_serializable("tlkit")
class StyleGenerator(GanNetwork):
    """Latents [n, latent] (and labels [n]) -> images float32 [n, s, s, c], about -1..1.

    Attributes:
        mapping: z (, labels) -> w [n, d].
        synthesis: w [n, layers, d] (, noise seed) -> images.
        layers_in_all: How many layers take a w.
        mean_w: float32 [classes or 1, d]: running mean of w; truncation moves towards it.
    """

    def __init__(self, size=64, channels=1, latent=64, classes=0, width=32, **options) -> None:
        super().__init__(size, channels, latent, classes, width, **options)
        policy = self.dtype_policy
        self.mapping = Mapping(latent, classes, dtype=policy, name="mapping")
        self.synthesis = Synthesis(size, channels, latent, width, dtype=policy, name="synthesis")
        self.mapping.build()
        self.synthesis.build()
        self.mean_w = self.add_weight(
            shape=(max(1, classes), latent),
            initializer="zeros",
            name="mean_w",
            trainable=False,
            dtype="float32",
            autocast=False,
        )
        self.built = True

    @property
    def layers_in_all(self) -> int:
        """How many layers take a w."""
        return self.synthesis.count

    def styles(self, latents, labels=None, truncation=1.0):
        """float32 [n, d]: w, moved towards the (class's) mean: 1 leaves it, 0 is the mean (Karras 2019, B)."""
        w = tf.cast(self.mapping(latents, labels), tf.float32)
        mean = tf.gather(self.mean_w.value, labels) if self.classes else self.mean_w.value
        mean = tf.cast(mean, tf.float32)
        return mean + (w - mean) * truncation  # w' = mean + psi (w - mean) (Karras 2019, appendix B)

    def spread(self, w):
        """[n, d] -> [n, layers, d]: the same w for each layer."""
        return tf.tile(w[:, None], [1, self.layers_in_all, 1])

    def call(self, latents, labels=None, seed=None, truncation=1.0, training=False):
        """Images of latents; see `noise` for the seed."""
        del training
        return self.synthesis(self.spread(self.styles(latents, labels, truncation)), seed)

    def sample(self, latents, labels, seed, mixing):
        """Images for the GAN, before the tanh: noise, style mixing, and the mean w goes along.

        Style mixing (Karras 2019, section 3.1): from a random layer on, a share of images follow a second w.
        """
        w = self.mapping(latents, labels)
        self._follow(w, labels)
        count = tf.shape(latents)[0]
        other = self.mapping(tf.random.stateless_normal(tf.shape(latents), fold(seed, 1)), labels)
        # the first layer that follows the second w: never layer 0, which would be no mixing
        crossing = tf.random.stateless_uniform([count, 1], fold(seed, 2), 1, self.layers_in_all, tf.int32)
        mixed = tf.random.stateless_uniform([count, 1], fold(seed, 3)) < mixing
        second = (tf.range(self.layers_in_all)[None] >= crossing) & mixed
        w = tf.where(second[..., None], other[:, None], w[:, None])
        return self.synthesis.sample(w, fold(seed, 4))

    def _follow(self, w, labels) -> None:
        """Move the mean w a little towards this batch's, class by class."""
        w, mean = tf.cast(tf.stop_gradient(w), tf.float32), self.mean_w.value
        if not self.classes:
            batch = tf.reduce_mean(w, 0, keepdims=True)
        else:
            sums = tf.math.unsorted_segment_sum(w, labels, self.classes)
            counts = tf.math.unsorted_segment_sum(tf.ones_like(w), labels, self.classes)
            batch = tf.where(counts > 0, sums / tf.maximum(counts, 1), mean)
        self.mean_w.assign_add((batch - mean) * (1 - AVERAGE_MEMORY))


@keras.saving.register_keras_serializable("tlkit", name="StyleCritic")
class StyleDiscriminator(GanNetwork):
    """Images float [n, s, s, c] (and labels [n]) -> float32 [n]: above 0 is "real"."""

    def __init__(self, size=64, channels=1, latent=64, classes=0, width=32, **options) -> None:
        super().__init__(size, channels, latent, classes, width, **options)
        policy = self.dtype_policy
        self.down = []
        features, side = channels, size
        for target in [STEM, *sides(size)][-2::-1]:
            # Stride 2 on blurred features; at full size the image itself is read.
            layer = EqualisedConvolution(
                channels_of(target, width), 3, 2, dtype=policy, name=f"down_{target}"
            )
            layer.build((None, side, side, features))
            keep = EqualisedConvolution(layer.filters, 3, dtype=policy, name=f"keep_{target}")
            keep.build((None, target, target, layer.filters))
            self.down.append((layer, keep))
            features, side = layer.filters, target
        self.deviation = MinibatchDeviation(dtype=policy)
        self.last = EqualisedConvolution(features, 3, dtype=policy, name="last")
        self.last.build((None, STEM, STEM, features + 1))
        self.dense = EqualisedDense(features, dtype="float32", name="dense")
        self.dense.build((None, STEM * STEM * features))
        self.score = EqualisedDense(1, dtype="float32", name="score")
        self.score.build((None, features))
        self.embedding = layers.Embedding(classes, features, dtype="float32") if classes else None
        if self.embedding:
            self.embedding.build()
        self.built = True

    def call(self, images, labels=None, training=False):
        """Scores; with classes the projection of Miyato 2018 is added."""
        del training
        x = tf.cast(images, self.compute_dtype)
        for number, (layer, keep) in enumerate(self.down):
            x = activated(layer(x if not number else blurred(x)))
            # the sum of two of equal variance has twice it: 1 / sqrt(2) (Karras 2020, section 4.1)
            x = (x + activated(keep(x))) * tf.cast(0.5**0.5, x.dtype)
        x = activated(self.last(self.deviation(x)))
        x = tf.cast(tf.reshape(x, [tf.shape(x)[0], STEM * STEM * x.shape[3]]), tf.float32)
        features = activated(self.dense(x))
        return project_class(self.score(features), features, self.embedding, labels)


def build_stylegan(size: int = 64, channels: int = 1, **how: Any) -> Networks:
    """A StyleGAN-lite's two networks; see `build_networks`. Below 32 px it has twice as many feature maps at most."""
    return build_networks(StyleGenerator, StyleDiscriminator, size, channels, **how)


BUILDERS = {"dcgan": build_dcgan, "stylegan": build_stylegan}  # every kind of network that plays
