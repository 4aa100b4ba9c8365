"""Random changes to training images, as Keras layers whose randomness is a function of a seed.

Keras layers draw from a seed generator with a state. Here that state is set before each batch from
(seed, phase, epoch, step), so that any step can be replayed and a resumed run sees the same images.
"""

from __future__ import annotations

import tensorflow as tf

from tlkit.data.images.augment_settings import Augmentation


class Augmenter:
    """Changes a batch; the same seed gives the same change.

    Args:
        augmentation: What may happen.
        image_size: Side of the square images, pixels.
    """

    def __init__(self, augmentation: Augmentation, image_size: int) -> None:
        self.layers = augmentation.layers()
        for layer in self.layers:
            layer.build((None, image_size, image_size, 3))
        self.generators = [
            generator
            for layer in self.layers
            for part in layer._flatten_layers()
            if (generator := getattr(part, "generator", None)) is not None
        ]

    def __call__(self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Change uint8 images [b, s, s, 3] and float32 one-hot labels [b, k]; `seed` is int32 [2]."""
        for number, generator in enumerate(self.generators):
            fresh = tf.random.experimental.stateless_fold_in(seed, number)
            generator.state.assign(tf.cast(tf.abs(fresh), generator.state.dtype))
        data = {"images": tf.cast(images, tf.float32), "labels": labels}
        for layer in self.layers:
            data = layer(data, training=True)
        changed = tf.clip_by_value(tf.round(data["images"]), 0, 255)
        return tf.cast(tf.ensure_shape(changed, images.shape), tf.uint8), tf.ensure_shape(
            data["labels"], labels.shape
        )
