"""The course's first network (S8): two convolutions, one pooling, one dense layer, for 32 x 32 images."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tlkit.errors import UsageFault
from tlkit.tasks.classification.classifier import Probabilities

LEAST_SIZE = 15  # below it nothing is left to pool


def build_small_cnn(class_names: Sequence[str], image_size: int = 32) -> keras.Model:
    """The seed's network, layer for layer.

    conv 3 -> 4, 5x5, ReLU; conv 4 -> 8, 5x5, stride 6, ReLU; max-pool 2; flatten; dense 32 -> k. No padding:
    at 32 pixels the maps are 28, 4 and 2 wide, so that 8 x 2 x 2 = 32 features reach the dense layer.

    Args:
        class_names: [k] names.
        image_size: Side of the square uint8 input, pixels.

    Raises:
        UsageFault: The image is too small for the strides.
    """
    if image_size < LEAST_SIZE:
        raise UsageFault(
            f"--image-size {image_size} is too small for small-cnn, which needs at least {LEAST_SIZE}."
        )
    make = keras.layers
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    x = make.Rescaling(1 / 255, name="preprocess")(images)
    x = make.Conv2D(4, 5, activation="relu", name="convolution_1")(x)
    x = make.Conv2D(8, 5, strides=6, activation="relu", name="convolution_2")(x)
    x = make.MaxPooling2D(2, name="pooling")(x)
    x = make.Flatten(name="features", dtype="float32")(x)
    x = make.Dense(len(class_names), name="logits", dtype="float32")(x)
    return keras.Model(images, Probabilities(class_names, name="probability")(x), name="small_cnn")
