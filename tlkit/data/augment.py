"""Random changes to training images, as Keras layers whose randomness is a function of a seed.

Keras layers draw from a seed generator with a state. Here that state is set before each batch from
(seed, phase, epoch, step), so that any step can be replayed and a resumed run sees the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image.

    Attributes:
        flip: "none", "horizontal", "vertical" or "both".
        rotation: Largest turn to either side, degrees.
        zoom: Largest change of scale, as a fraction of the side.
        contrast: Largest change of contrast, as a fraction.
        rand_augment: Number of RandAugment operations on each batch (Cubuk 2019); 0 is off.
        mix: "none", "mixup" (Zhang 2017) or "cutmix" (Yun 2019); labels are mixed alike.
    """

    flip: str = "none"
    rotation: float = 0.0
    zoom: float = 0.0
    contrast: float = 0.0
    rand_augment: int = 0
    mix: str = "none"

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self != Augmentation()

    @property
    def without_mixing(self) -> Augmentation:
        """The same without mixing, for pictures whose label must stay one class."""
        return Augmentation(self.flip, self.rotation, self.zoom, self.contrast, self.rand_augment)

    def layers(self) -> list[keras.layers.Layer]:
        """The Keras layers, in the order of their application."""
        make = keras.layers
        kinds = {"horizontal": "horizontal", "vertical": "vertical", "both": "horizontal_and_vertical"}
        found: list[keras.layers.Layer] = []
        if self.flip != "none":
            found.append(make.RandomFlip(kinds[self.flip]))
        if self.rotation:
            found.append(make.RandomRotation(self.rotation / 360, fill_mode="reflect"))
        if self.zoom:
            found.append(make.RandomZoom(self.zoom, fill_mode="reflect"))
        if self.contrast:
            found.append(make.RandomContrast(self.contrast, value_range=(0, 255)))
        if self.rand_augment:
            found.append(make.RandAugment(value_range=(0, 255), num_ops=self.rand_augment))
        if self.mix != "none":
            found.append(make.MixUp() if self.mix == "mixup" else make.CutMix())
        return found


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
