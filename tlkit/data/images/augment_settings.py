"""What may happen to a training image, as a value: options become one without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


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
        """The same without mixing, for images whose label must stay one class."""
        return Augmentation(self.flip, self.rotation, self.zoom, self.contrast, self.rand_augment)

    def layers(self) -> list[keras.layers.Layer]:
        """The Keras layers, in the order of their application."""
        from keras import layers as make

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
