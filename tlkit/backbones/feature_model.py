"""Feature model: a backbone with its scaling and pooling, and which of its layers learn."""

from __future__ import annotations

import keras

from tlkit.backbones.preprocessing import Preprocess
from tlkit.backbones.table import BACKBONES, WeightsOrigin, build_backbone


def build_features(
    backbone: str, image_size: int, weights: str = "imagenet"
) -> tuple[keras.KerasTensor, keras.KerasTensor, WeightsOrigin]:
    """From uint8 [b, s, s, 3] to pooled features float32 [b, d]: input, output and where the weights come from.

    Raises:
        UsageFault, ModelFault: See `build_backbone`.
    """
    body, origin = build_backbone(backbone, image_size, weights)
    body.name = "backbone"
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    x = Preprocess(BACKBONES[backbone].preprocessing, name="preprocess")(images)
    return images, keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(body(x)), origin


def unfreeze(model: keras.Model, stage: str, backbone: str | None, *, batch_norm: bool = False) -> None:
    """Choose which layers learn; compile again afterwards, with a new optimiser.

    Batch normalisation of a pretrained backbone stays in inference mode throughout: its layers are never
    trainable, which in Keras 3 is what fixes their statistics (`training=False` alone does not).

    Args:
        model: A classifier.
        stage: "head": the new layers; "top": and the backbone from its last stage on; "all": everything.
        backbone: Name in `BACKBONES`, for the place where its last stage begins; None for a network of one piece,
            all of which learns.
        batch_norm: Let batch normalisation learn too: for a backbone that starts from random weights.
    """
    if backbone is None:
        return
    unfreeze_from(BACKBONES[backbone].top, model.get_layer("backbone"), stage, batch_norm=batch_norm)


def unfreeze_from(first_of_top: str, body: keras.Model, stage: str, *, batch_norm: bool = False) -> None:
    """Choose which layers of a backbone learn; see `unfreeze`.

    Args:
        first_of_top: The layer that its last stage begins with.
        body: The backbone.
        stage: "head": none; "top": from its last stage on; "all".
        batch_norm: Let batch normalisation learn too.
    """
    body.trainable = True
    learns = stage == "all"
    for layer in body.layers:
        learns = learns or (stage == "top" and layer.name == first_of_top)
        for part in layer._flatten_layers():
            normalises = isinstance(part, keras.layers.BatchNormalization)
            part.trainable = learns and (batch_norm or not normalises)


def feature_model(model: keras.Model) -> keras.Model:
    """From pixels to the pooled features, float32 [b, d], sharing the model's layers."""
    return keras.Model(model.input, model.get_layer("features").output, name="feature_model")
