"""A generator as a graph: seeds to latents, latents to images, images to PNG files, in TensorFlow alone.

Image i of a seed depends on (seed, i) alone: neither on how many are asked for nor on the batch it is painted in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.engine.serving.saved_model import Service
from tlkit.engine.serving.signatures import CLASSES, classes_signature

AT_ONCE = 32  # images painted in one step; bounds memory, changes nothing
ANY = -1  # as a label: any class
_LATENTS, _LABELS = 1000, 1001  # what an image's seed is folded with; its noise takes the small numbers


class GeneratorService(Service):
    """The signatures of a generator over one set of weights.

    Args:
        generator: `generator(latents [n, d], labels int32 [n], seeds int32 [n, 2] or None, truncation)` gives
            float32 [n, s, s, c], -1..1; it has `latent`, `size`, `channels` and `classes` (0: it knows none).
        class_names: Of its labels; one name where it knows none; may be empty.
        bits: 16: grey PNGs of 16 bits; else, and in colour, 8.
    """

    def __init__(self, generator: Any, class_names: Sequence[str] = (), bits: int = 8) -> None:
        super().__init__(generator, class_names or ("",))
        self._latent, self._classes = int(generator.latent), int(generator.classes)
        self._image = (int(generator.size), int(generator.size), int(generator.channels))
        self._deep = bits == 16 and self._image[2] == 1
        latents, labels = tf.TensorSpec([None, self._latent]), tf.TensorSpec([None], tf.int32)
        seeds, truncation = tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([])
        # Functions: a Keras model held here would be stored too.
        self._with_noise = tf.function(
            lambda latents, labels, seeds, truncation: sampled(generator, latents, labels, seeds, truncation),
            [latents, labels, seeds, truncation],
            autograph=False,
        )
        self._with_one_noise = tf.function(
            lambda latents, labels, truncation: sampled(generator, latents, labels, None, truncation),
            [latents, labels, truncation],
            autograph=False,
        )

    def signatures(self) -> dict[str, Any]:
        """By name, the functions that the SavedModel offers."""
        count, label = tf.TensorSpec([], tf.int32, name="n"), tf.TensorSpec([], tf.int32, name="label")
        seed, truncation = tf.TensorSpec([], tf.int32, name="seed"), tf.TensorSpec([], name="truncation")
        latents = tf.TensorSpec([None, None], tf.float32, name="latents")
        generate = tf.function(self.generate, [seed, count, truncation, label], autograph=False)
        return {
            CLASSES: classes_signature(self._names),
            "serving_default": generate,
            "generate": generate,
            "from_latents": tf.function(self.from_latents, [latents, truncation, label], autograph=False),
        }

    def generate(
        self, seed: tf.Tensor, n: tf.Tensor, truncation: tf.Tensor, label: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Paint n images that follow from the seed.

        Args:
            seed: int32, 0 or more.
            n: int32, how many.
            truncation: float32; 1 as learned, towards 0 more alike.
            label: int32, the class of all images; -1 draws each image's.

        Returns:
            images float32 [n, s, s, c], 0..1; png string [n], each a file; label string [n], the names of their
            classes; classes string [k], all names.
        """
        told = tf.debugging.assert_greater_equal(n, 0, message="n must be 0 or more")
        with tf.control_dependencies([told]):
            seeds = image_seeds(seed, n)
        labels = self._labels(label, drawn_labels(seeds, self._classes))
        latents = drawn_latents(seeds, self._latent)
        return self._answer(
            lambda some: self._with_noise(latents[some], labels[some], seeds[some], truncation), labels
        )

    def from_latents(
        self, latents: tf.Tensor, truncation: tf.Tensor, label: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Paint latents float32 [n, d], all with the same noise; the rest as in `generate` (-1: class 0)."""
        message = f"latents must have {self._latent} numbers for each image"
        told = tf.debugging.assert_equal(tf.shape(latents)[1], self._latent, message=message)
        with tf.control_dependencies([told]):
            latents = tf.ensure_shape(tf.identity(latents), [None, self._latent])
        count = tf.shape(latents)[0]
        labels = self._labels(label, tf.zeros([count], tf.int32))
        return self._answer(
            lambda some: self._with_one_noise(latents[some], labels[some], truncation), labels
        )

    def _labels(self, label: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """int32 [n]: the label asked for, or those drawn."""
        last = max(self._classes, 1) - 1
        message = f"label must be {ANY} (any) or a class from 0 to {last}"
        told = [
            tf.debugging.assert_greater_equal(label, ANY, message=message),
            tf.debugging.assert_less_equal(label, last, message=message),
        ]
        with tf.control_dependencies(told):
            return tf.where(label < 0, drawn, tf.fill(tf.shape(drawn), label))

    def _answer(self, sample: Callable[[slice], tf.Tensor], labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """All outputs; `sample` gives the images of a slice of the labels."""
        images = self._in_parts(sample, tf.shape(labels)[0])
        names = tf.constant(self._names)
        return {
            "pictures": images,
            "png": tf.map_fn(self._encoded, images, fn_output_signature=tf.TensorSpec([], tf.string)),
            "label": tf.gather(names, labels),
            "classes": names,
        }

    def _in_parts(self, sample: Callable[[slice], tf.Tensor], count: tf.Tensor) -> tf.Tensor:
        """float32 [count, s, s, c], painted `AT_ONCE` at a time; where count is 0 the network is passed over."""
        parts = -(-count // AT_ONCE)
        made = tf.TensorArray(tf.float32, parts, element_shape=[None, *self._image], infer_shape=False)

        def one(part: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return part + 1, made.write(part, sample(slice(part * AT_ONCE, (part + 1) * AT_ONCE)))

        start = (tf.constant(0), made)
        done = tf.while_loop(lambda part, _: part < parts, one, start, parallel_iterations=1)
        return tf.ensure_shape(done[1].concat(), [None, *self._image])

    def _encoded(self, image: tf.Tensor) -> tf.Tensor:
        """String scalar, a PNG file with the levels of `depth.write_image`; image float32 [s, s, c]."""
        top, kind = (65535, tf.uint16) if self._deep else (255, tf.uint8)
        return tf.io.encode_png(tf.cast(tf.round(tf.cast(image, tf.float64) * top), kind))


def image_seeds(seed: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """int32 [n, 2]: a seed for each image."""
    numbers = tf.range(n)
    return tf.stack([tf.fill(tf.shape(numbers), seed), numbers], axis=1)


@tf.function(autograph=False, reduce_retracing=True)
def drawn_latents(seeds: tf.Tensor, length: int) -> tf.Tensor:
    """float32 [n, length], normal, row by row from seeds int32 [n, 2]."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_normal([length], fold(seed, _LATENTS)),
        seeds,
        fn_output_signature=tf.TensorSpec([length], tf.float32),
    )


@tf.function(autograph=False, reduce_retracing=True)
def drawn_labels(seeds: tf.Tensor, classes: int) -> tf.Tensor:
    """int32 [n], every class equally likely, from seeds int32 [n, 2]; zeros where there are no classes."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([], fold(seed, _LABELS), 0, max(classes, 1), tf.int32),
        seeds,
        fn_output_signature=tf.TensorSpec([], tf.int32),
    )


def sampled(
    generator: Any,
    latents: tf.Tensor,
    labels: tf.Tensor,
    seeds: tf.Tensor | None,
    truncation: tf.Tensor | float,
) -> tf.Tensor:
    """Images float32 [n, s, s, c], 0..1, of the Keras generator itself; what lies beyond is clipped."""
    images = generator(latents, labels, seeds, truncation=truncation)
    return tf.clip_by_value(tf.cast(images, tf.float32) * 0.5 + 0.5, 0.0, 1.0)
