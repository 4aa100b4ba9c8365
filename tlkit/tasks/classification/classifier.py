"""A backbone and a head as one model that takes uint8 pixels and knows its class names.

    images uint8 [b, s, s, 3] -> preprocess -> backbone [b, h, w, d] -> features [b, d] -> head -> probability [b, k]

Nobody has to remember a scaling or the order of classes: both are layers of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tlkit.backbones import fitted_layers as fitted_layers  # noqa: PLC0414 (makes its layers known to load_model)
from tlkit.backbones import layers as layers  # noqa: PLC0414 (the same)
from tlkit.backbones.feature_model import build_features
from tlkit.backbones.table import WeightsOrigin
from tlkit.engine.training.settings import Head


@keras.saving.register_keras_serializable("tlkit")
class Probabilities(keras.layers.Layer):
    """softmax(logits / temperature), float32, with the class names that the columns stand for.

    The temperature is 1 while training and is set once, on validation images, after it (Guo 2017, section 4.2).

    Args:
        class_names: [k] names of the columns.
    """

    def __init__(self, class_names: Sequence[str], **options) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.class_names = tuple(class_names)

    def build(self, input_shape: tuple) -> None:
        """Make the temperature, a scalar that no optimiser touches."""
        self.temperature = self.add_weight(shape=(), initializer="ones", trainable=False, name="temperature")

    def call(self, logits):
        """Probabilities float32 [b, k] of logits [b, k]."""
        return ops.softmax(ops.cast(logits, "float32") / self.temperature, axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The same shape as the logits."""
        return input_shape

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "class_names": list(self.class_names)}


def build_classifier(
    backbone: str,
    class_names: Sequence[str],
    image_size: int,
    *,
    weights: str = "imagenet",
    head: Head | None = None,
) -> tuple[keras.Model, WeightsOrigin]:
    """Join backbone, pooling and head.

    Args:
        backbone: A name of `BACKBONES`.
        class_names: [k] names of the classes.
        image_size: Side of the square input, pixels.
        weights: "imagenet", "none" or a file.
        head: The new layers.

    Returns:
        The model and where its weights come from.

    Raises:
        UsageFault, ModelFault: See `build_backbone`.
    """
    images, features, origin = build_features(backbone, image_size, weights)
    return keras.Model(images, add_head(features, class_names, head or Head()), name="classifier"), origin


def add_head(features, class_names: Sequence[str], head: Head):
    """Dense layers and `Probabilities` on a float32 [b, d] tensor."""
    x = features
    for number, units in enumerate(head.units, 1):
        x = keras.layers.Dropout(head.dropout, name=f"dropout_{number}")(x)
        x = keras.layers.Dense(units, activation="relu", name=f"dense_{number}", dtype="float32")(x)
    x = keras.layers.Dropout(head.dropout, name="dropout")(x)
    x = keras.layers.Dense(len(class_names), name="logits", dtype="float32")(x)
    return Probabilities(class_names, name="probability")(x)


def class_names(model: keras.Model) -> tuple[str, ...]:
    """The names of the columns of the model's output."""
    return model.layers[-1].class_names


def head_model(model: keras.Model) -> keras.Model:
    """From features float32 [b, d] to probabilities, sharing the model's layers."""
    pooled = model.get_layer("features").output
    x = features = keras.Input(pooled.shape[1:], dtype="float32", name="features")
    after = [layer.name for layer in model.layers].index("features") + 1
    for layer in model.layers[after:]:
        x = layer(x)
    return keras.Model(features, x, name="head")


def set_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the logits by this from now on."""
    model.layers[-1].temperature.assign(np.float32(temperature))
