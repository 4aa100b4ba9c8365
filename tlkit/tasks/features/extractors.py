"""Build what `names` names: pixels in, features out, whatever computes them."""

from __future__ import annotations

from pathlib import Path

from tlkit.backbones.table import BACKBONES, find_backbone
from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault
from tlkit.tasks.features.extract import Featurizer, NetworkFeatures
from tlkit.tasks.features.handcrafted import find_handcrafted
from tlkit.tasks.features.names import LOGITS, POOLED, ExtractorName, read_name


def build_extractor(
    text: str, *, weights: str = "imagenet", image_size: int | None = None, layer: str = POOLED
) -> tuple[Featurizer, str]:
    """Build what a name stands for.

    Args:
        text: See `names`.
        weights: Of a backbone that names none itself.
        image_size: Side of the input, pixels; None: its own.
        layer: "pooled", "logits" or the name of one of its layers; maps are averaged over their places.

    Returns:
        The featurizer, and a sentence on where its weights come from.

    Raises:
        UsageFault: No such extractor or layer, or the size does not fit.
        ModelFault: Weights cannot be had or do not fit; the ONNX file cannot be used.
    """
    found = read_name(text, weights)
    if found.kind == "handmade":
        if layer != POOLED:
            raise UsageFault(
                f"--layer {layer} does not apply to {found.name}, which has no layers.", "Leave it out."
            )
        return find_handcrafted(found.name), "hand-made, nothing learned"
    if found.kind == "onnx":
        from tlkit.tasks.features.onnx_network import OnnxNetwork

        _check_preprocessing(found)
        network = OnnxNetwork(Path(found.name), None if layer == POOLED else layer, found.weights)
        return network, f"ONNX file {found.name}, pixels as for {found.weights}"
    return _of_backbone(found, image_size, layer)


def _check_preprocessing(found: ExtractorName) -> None:
    from tlkit.backbones.preprocessing import SCALINGS

    if found.weights not in SCALINGS:
        raise UsageFault(
            f"{found.text}: there is no preprocessing {found.weights!r}.",
            f"Take one of: {', '.join(SCALINGS)}.",
        )


def _of_backbone(found: ExtractorName, image_size: int | None, layer: str) -> tuple[Featurizer, str]:
    import keras

    from tlkit.backbones.feature_model import build_features

    size = image_size or find_backbone(found.name).native_size
    find_backbone(found.name, size)
    if layer == POOLED:
        images, features, origin = build_features(found.name, size, found.weights)
        model = keras.Model(images, features)
    else:
        model, origin = _up_to(found, size, layer)
    return NetworkFeatures(model, found.text, layer), origin.sentence


def _up_to(found: ExtractorName, size: int, layer: str):
    """The network from uint8 pixels to one of its layers, flat."""
    import keras

    from tlkit.backbones.preprocessing import Preprocess
    from tlkit.backbones.table import build_backbone

    body, origin = build_backbone(found.name, size, found.weights, top=layer == LOGITS)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    x = Preprocess(BACKBONES[found.name].preprocessing, name="preprocess")(images)
    inner = body if layer == LOGITS else keras.Model(body.input, _layer(body, found.name, layer).output)
    return keras.Model(images, _flat(inner(x))), origin


def _layer(body, backbone: str, name: str):
    """A layer by its name.

    Raises:
        UsageFault: There is none; the nearest names are offered.
    """
    names = [layer.name for layer in body.layers]
    if name in names:
        return body.get_layer(name)
    hint = did_you_mean(name, names, 3, cutoff=0.5, otherwise=f"--layers lists its {len(names)} layers.")
    raise UsageFault(f"{backbone} has no layer {name!r}.", hint)


def _flat(x):
    """[b, d]: maps [b, h, w, d] are averaged over their places, sequences [b, t, d] over time."""
    import keras

    if len(x.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    if len(x.shape) == 3:
        return keras.layers.GlobalAveragePooling1D(name="features", dtype="float32")(x)
    return keras.layers.Activation("linear", name="features", dtype="float32")(x)


def list_layers(text: str, image_size: int | None = None) -> list[tuple[str, str, str]]:
    """(name, kind, shape) of every layer that `layer` may name; random weights do.

    Raises:
        UsageFault, ModelFault: See `build_extractor`.
    """
    found = read_name(text)
    if found.kind == "handmade":
        return [(POOLED, "hand-made", f"{find_handcrafted(found.name).width}")]
    if found.kind == "onnx":
        from tlkit.tasks.features.onnx_network import OnnxNetwork

        return [(name, "onnx", shape) for name, shape in OnnxNetwork(Path(found.name)).layers()]
    from tlkit.backbones.table import build_backbone

    size = image_size or find_backbone(found.name).native_size
    body, _ = build_backbone(found.name, size, "none")
    rows = [
        (layer.name, type(layer).__name__, "x".join(str(side) for side in layer.output.shape[1:]))
        for layer in body.layers
    ]
    return [*rows, (POOLED, "GlobalAveragePooling2D", str(body.output_shape[-1]))]
