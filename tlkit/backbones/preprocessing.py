"""The scaling that a backbone was trained with, as a layer of the model, so nobody has to remember it."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import ops


class Scaling(NamedTuple):
    """(pixel - mean) / deviation per channel, after an optional turn from RGB to BGR.

    Attributes:
        mean: [3] grey levels, 0..255, in the order of the output's channels.
        deviation: [3] grey levels.
        bgr: Whether the output's channels are blue, green, red.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    bgr: bool = False


# Source: keras.applications.imagenet_utils; "lite" is from tensorflow/tpu, models/official/efficientnet/lite.
SCALINGS = {
    "inside": Scaling((0, 0, 0), (1, 1, 1)),
    "minus-one-to-one": Scaling((127.5,) * 3, (127.5,) * 3),
    "zero-to-one": Scaling((0, 0, 0), (255, 255, 255)),
    "caffe": Scaling((103.939, 116.779, 123.68), (1, 1, 1), bgr=True),
    "torch": Scaling((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "lite": Scaling((127,) * 3, (128,) * 3),
}


def scaling(mode: str) -> Scaling:
    """The scaling of a mode.

    Raises:
        ValueError: There is no such mode.
    """
    if mode not in SCALINGS:
        raise ValueError(f"mode must be one of {', '.join(SCALINGS)}. Received: {mode!r}")
    return SCALINGS[mode]


def scaled(images: np.ndarray, mode: str) -> np.ndarray:
    """The same as `Preprocess`, in NumPy: float32 of RGB [..., 3], 0..255."""
    mean, deviation, bgr = scaling(mode)
    pixels = (images[..., ::-1] if bgr else images).astype(np.float32)
    return (pixels - np.array(mean, np.float32)) / np.array(deviation, np.float32)


@keras.saving.register_keras_serializable("tlkit")
class Preprocess(keras.layers.Layer):
    """RGB pixels 0..255 in, what the backbone was trained on out.

    It computes in float32 whatever the policy is (103.939 is no bfloat16) and casts once, at its end.

    Args:
        mode: A key of `SCALINGS`. "inside" only casts: the backbone has the scaling as layers of its own.
    """

    def __init__(self, mode: str, **options) -> None:
        scaling(mode)
        super().__init__(**{**options, "autocast": False})
        self.mode = mode

    def call(self, images):
        """Scale a batch.

        Args:
            images: uint8 or float [b, h, w, 3], RGB, 0..255.

        Returns:
            [b, h, w, 3] in the layer's compute dtype.
        """
        mean, deviation, bgr = scaling(self.mode)
        pixels = ops.cast(images, "float32")
        if bgr:
            pixels = pixels[..., ::-1]
        if self.mode != "inside":
            pixels = (pixels - np.array(mean, "float32")) / np.array(deviation, "float32")
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The same shape as the images."""
        return input_shape

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "mode": self.mode}
