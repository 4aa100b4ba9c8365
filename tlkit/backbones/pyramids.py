"""Backbones as feature pyramids: maps at strides 8, 16 and 32 of any network of the table, pixels in.

The layers are found, not listed: the last one of each stride before the next begins. In networks of inverted
bottlenecks that is the expanded map, which SSD takes too (Sandler 2018, section 6.2).
Backbones that only detectors have stand in a table of their own. YOLOv8's CSPDarkNet is built from KerasCV's base class
with explicit stages: its presets call a hub even for random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import keras

from tlkit.backbones.darknet import darknet_19, darknet_53, darknet_small
from tlkit.backbones.feature_model import unfreeze, unfreeze_from
from tlkit.backbones.preprocessing import Preprocess
from tlkit.backbones.table import WeightsOrigin, backbone_names, build_backbone, find_backbone
from tlkit.backbones.weights import find_weights, load_weights
from tlkit.data.boxes.augment_settings import COARSEST
from tlkit.errors import ModelFault, UsageFault

STRIDES = (8, 16, COARSEST)
LEVELS = ("P3", "P4", "P5")
FINER, FINER_LEVEL = 4, "P2"  # for those who ask
LEAST = 64  # pixels: side of a detector's input


class DetectorBackbone(NamedTuple):
    """A backbone that only detectors have, as it has no classifier's weights that tlkit could fetch.

    Attributes:
        build: (side of the square input, pixels) -> network, float [b, s, s, 3] -> maps at `STRIDES`.
        preprocessing: Mode of `preprocessing.Preprocess`.
        top: First layer of its last stage.
        random: Why it can have random weights only; empty where `--weights FILE` is taken.
    """

    build: Callable[[int], keras.Model]
    preprocessing: str
    top: str
    random: str = ""


def _yolov8(channels: Sequence[int], depths: Sequence[int], size: int) -> keras.Model:
    """YOLOv8's backbone, of these channels and depths of its four stages."""
    network = import_module("keras_cv").models.YOLOV8Backbone(
        stackwise_channels=list(channels),
        stackwise_depth=list(depths),
        include_rescaling=False,
        input_shape=(size, size, 3),
    )
    layers = [network.get_layer(network.pyramid_level_inputs[level]) for level in LEVELS]
    return keras.Model(network.input, [layer.output for layer in layers])


# Source: keras_cv 0.9, yolo_v8_backbone_presets: channels and depths of the four stages.
_YOLOV8 = {
    "yolov8-xs": ((32, 64, 128, 256), (1, 2, 2, 1)),
    "yolov8-s": ((64, 128, 256, 512), (1, 2, 2, 1)),
    "yolov8-m": ((96, 192, 384, 576), (2, 4, 4, 2)),
    "yolov8-l": ((128, 256, 512, 512), (3, 6, 6, 3)),
}
_ON_A_HUB = "they lie on a hub that tlkit does not use"
DETECTOR_BACKBONES = {
    **{
        name: DetectorBackbone(
            partial(_yolov8, *stages), "minus-one-to-one", "stack4_downsample_pad", _ON_A_HUB
        )
        for name, stages in _YOLOV8.items()
    },
    "darknet-19": DetectorBackbone(darknet_19, "zero-to-one", "conv_14"),
    "darknet-53": DetectorBackbone(darknet_53, "zero-to-one", "pad_44"),
    "darknet-small": DetectorBackbone(darknet_small, "zero-to-one", "conv_6"),
}


def pyramid_names() -> tuple[str, ...]:
    """Every backbone that may be asked for; some of the table have no pyramid, which building says."""
    return (*DETECTOR_BACKBONES, *backbone_names())


def check_side(size: int) -> None:
    """Raise where a detector's input cannot have this side.

    Raises:
        UsageFault: It is too small or no multiple of 32.
    """
    if size < LEAST or size % COARSEST:
        near = max(LEAST, round(size / COARSEST) * COARSEST)
        raise UsageFault(
            f"--image-size {size} does not suit a detector, whose maps have strides up to {COARSEST}.",
            f"Take a multiple of {COARSEST} from {LEAST} on, such as {near}.",
        )


def build_pyramid(
    backbone: str,
    size: int,
    weights: str = "imagenet",
    *,
    limits: Sequence[int] | None = None,
    finer: bool = False,
) -> tuple[keras.Model, WeightsOrigin]:
    """Build a network with its preprocessing and find its maps.

    Args:
        backbone: A name of `pyramid_names`.
        size: Side of the square input, pixels, a multiple of 32.
        weights: "imagenet", "none" or a file; a classifier's model.keras gives its backbone's.
        limits: Most channels of each of the three maps; wider ones are projected to as many.
        finer: With a map of stride 4 before them, "P2"; `limits` are not given then.

    Returns:
        Pixels [b, s, s, 3], RGB, 0..255 -> the three maps, with the attribute `pyramid_level_inputs`: level
        "P3", "P4", "P5" -> name of the layer that gives it; a layer "backbone" holds what was trained before.

    Raises:
        UsageFault: No such backbone, one without a pyramid, or a size that does not suit.
        ModelFault: The weights cannot be had or do not fit.
    """
    check_side(size)
    own = DETECTOR_BACKBONES.get(backbone)
    levels, strides = ((FINER_LEVEL, *LEVELS), (FINER, *STRIDES)) if finer else (LEVELS, STRIDES)
    if own is not None:
        body, origin, mode = *_build_own(own, backbone, size, weights), own.preprocessing
        if finer:
            name = level_layers(body, size, backbone, (FINER, *STRIDES[:1]))[0]
            body = keras.Model(body.input, [body.get_layer(name).output, *body.outputs])
    else:
        row = find_backbone(backbone, size, beside=tuple(DETECTOR_BACKBONES))
        network, origin = build_backbone(backbone, size, weights)
        names = level_layers(network, size, backbone, strides)
        body = keras.Model(network.input, [network.get_layer(name).output for name in names])
        mode = row.preprocessing
    body.name = "backbone"
    images = keras.Input((size, size, 3), name="images")
    maps = body(Preprocess(mode, name="preprocess")(images))
    maps = [
        _named(x, level, limit)
        for x, level, limit in zip(maps, levels, limits or (None,) * len(levels), strict=True)
    ]
    pyramid = keras.Model(images, maps, name="pyramid")
    pyramid.pyramid_level_inputs = {level: level for level in levels}
    return pyramid, origin


def level_layers(
    network: keras.Model, size: int, name: str, strides: Sequence[int] = STRIDES
) -> tuple[str, ...]:
    """Names of the layers whose outputs are the maps of strides 8, 16 and 32, or of others.

    Args:
        network: Float [b, s, s, 3] -> a map.
        size: Its side s, pixels.
        name: For the fault.
        strides: Finest first.

    Raises:
        UsageFault: It has no map of one of the strides.
    """
    sides = {size // stride: stride for stride in strides}
    found: dict[int, str] = {}
    for layer in network.layers:
        shape: Any = getattr(layer.output, "shape", ())
        if len(shape) == 4 and shape[1] == shape[2] and shape[1] in sides:
            stride = sides[shape[1]]
            if not any(later > stride for later in found):
                found[stride] = layer.name
    missing = [str(stride) for stride in strides if stride not in found]
    if missing:
        raise UsageFault(
            f"{name} has no map of stride {' or '.join(missing)}, so it is no backbone for a detector.",
            "Take efficientnet-lite0, mobilenet-v2, resnet50 or yolov8-xs.",
        )
    return tuple(found[stride] for stride in strides)


def _build_own(
    own: DetectorBackbone, name: str, size: int, weights: str
) -> tuple[keras.Model, WeightsOrigin]:
    """A backbone that only detectors have, and its weights' origin."""
    if own.random and weights != "none":
        raise ModelFault(
            f"--weights {weights} cannot be had for {name}: {own.random}.",
            "Take --weights none, or a backbone of the table, such as efficientnet-lite0.",
        )
    if weights == "imagenet":
        raise ModelFault(
            f"--weights imagenet cannot be had for {name}: tlkit knows no package that holds them.",
            "Give --weights FILE, such as Darknet's .weights, or take --weights none.",
        )
    found = find_weights(name, weights)  # before the network is built: a fault here comes at once
    network = own.build(size)
    load_weights(network, name, found)
    return network, found.origin


def _named(x: keras.KerasTensor, level: str, limit: int | None) -> keras.KerasTensor:
    """The map as the output of a layer called `level`, with at most `limit` channels."""
    if limit is None or x.shape[-1] <= limit:
        return keras.layers.Identity(name=level)(x)
    x = keras.layers.Conv2D(limit, 1, use_bias=False, name=f"{level}_projection")(x)
    x = keras.layers.BatchNormalization(name=f"{level}_normalisation")(x)
    return keras.layers.Activation("swish", name=level)(x)


def unfreeze_pyramid(pyramid: keras.Model, stage: str, backbone: str, *, batch_norm: bool = False) -> None:
    """Choose which layers of a pyramid's backbone learn; see `classifier.unfreeze`.

    Args:
        pyramid: Of `build_pyramid`.
        stage: "head": none; "top": from its last stage on; "all".
        backbone: Its name.
        batch_norm: Let batch normalisation learn too: for a backbone that starts from random weights.
    """
    own = DETECTOR_BACKBONES.get(backbone)
    if own is None:
        unfreeze(pyramid, stage, backbone, batch_norm=batch_norm)
        return
    # what can only be random has no statistics worth keeping
    learning = batch_norm or bool(own.random)
    unfreeze_from(own.top, pyramid.get_layer("backbone"), stage, batch_norm=learning)
