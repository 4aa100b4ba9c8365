"""The backbones: networks of keras.applications and some of ours in one table, and how one is built.

The table is text so that a person can read down its columns; reading it takes no TensorFlow.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlkit.backbones.weights import WeightsOrigin as WeightsOrigin  # noqa: PLC0414 (part of this interface)
from tlkit.backbones.weights import find_weights, load_weights
from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault

if TYPE_CHECKING:
    import keras

DEFAULT = "efficientnet-lite0"


@dataclass(frozen=True)
class Backbone:
    """A row of the table. Every number was measured with keras 3.15.1 and is checked by the tests.

    Attributes:
        name: As typed by the user.
        family: Networks that differ only in size.
        constructor: "module:function" with the arguments of keras.applications; "*0.25" behind it is its alpha.
        native_size: Side of the images that it was trained on, pixels.
        least_size: Smallest side that it can be built for, pixels.
        fixed: Whether that is the only side: networks with fully connected layers.
        preprocessing: Mode of `preprocessing.Preprocess`.
        parameters: Numbers in the network without a head, trainable or not.
        features: Channels of its last map, d.
        top: First layer of its last stage, in the order of `model.layers`; from here on it is unfrozen first.
    """

    name: str
    family: str
    constructor: str
    native_size: int
    least_size: int
    fixed: bool
    preprocessing: str
    parameters: int
    features: int
    top: str


# family: preprocessing, least size (or the only one)
#   name                constructor     native size  parameters  features  top
_TABLE = """
efficientnet-lite: lite, at least 32
    efficientnet-lite0  tlkit.backbones.efficientnet_lite:efficientnet_lite0 224   3413024 1280 block6a_expand_conv
mobilenet: minus-one-to-one, at least 32
    mobilenet           MobileNet         224   3228864 1024 conv_dw_12
    mobilenet-0.25      MobileNet*0.25    224    218544  256 conv_dw_12
mobilenet-v2: minus-one-to-one, at least 32
    mobilenet-v2        MobileNetV2       224   2257984 1280 block_13_expand
    mobilenet-v2-0.35   MobileNetV2*0.35  224    410208 1280 block_13_expand
mobilenet-v3: inside, at least 32
    mobilenet-v3-small  MobileNetV3Small  224    939120  576 expanded_conv_8_expand
    mobilenet-v3-large  MobileNetV3Large  224   2996352  960 expanded_conv_12_expand
nasnet: minus-one-to-one, at least 32
    nasnet-mobile       NASNetMobile      224   4269716 1056 reduction_concat_reduce_8
    nasnet-large        NASNetLarge       331  84916818 4032 reduction_concat_reduce_12
efficientnet: inside, at least 32
    efficientnet-b0     EfficientNetB0    224   4049571 1280 block6a_expand_conv
    efficientnet-b1     EfficientNetB1    240   6575239 1280 block6a_expand_conv
    efficientnet-b2     EfficientNetB2    260   7768569 1408 block6a_expand_conv
    efficientnet-b3     EfficientNetB3    300  10783535 1536 block6a_expand_conv
    efficientnet-b4     EfficientNetB4    380  17673823 1792 block6a_expand_conv
    efficientnet-b5     EfficientNetB5    456  28513527 2048 block6a_expand_conv
    efficientnet-b6     EfficientNetB6    528  40960143 2304 block6a_expand_conv
    efficientnet-b7     EfficientNetB7    600  64097687 2560 block6a_expand_conv
efficientnet-v2: inside, at least 32
    efficientnet-v2-b0  EfficientNetV2B0  224   5919312 1280 block6a_expand_conv
    efficientnet-v2-b1  EfficientNetV2B1  240   6931124 1280 block6a_expand_conv
    efficientnet-v2-b2  EfficientNetV2B2  260   8769374 1408 block6a_expand_conv
    efficientnet-v2-b3  EfficientNetV2B3  300  12930622 1536 block6a_expand_conv
    efficientnet-v2-s   EfficientNetV2S   384  20331360 1280 block6a_expand_conv
    efficientnet-v2-m   EfficientNetV2M   480  53150388 1280 block6a_expand_conv
    efficientnet-v2-l   EfficientNetV2L   480 117746848 1280 block6a_expand_conv
densenet: torch, at least 32
    densenet121         DenseNet121       224   7037504 1024 conv5_block1_0_bn
    densenet169         DenseNet169       224  12642880 1664 conv5_block1_0_bn
    densenet201         DenseNet201       224  18321984 1920 conv5_block1_0_bn
resnet: caffe, at least 32
    resnet50            ResNet50          224  23587712 2048 conv5_block1_1_conv
    resnet101           ResNet101         224  42658176 2048 conv5_block1_1_conv
    resnet152           ResNet152         224  58370944 2048 conv5_block1_1_conv
resnet-v2: minus-one-to-one, at least 32
    resnet50-v2         ResNet50V2        224  23564800 2048 conv5_block1_preact_bn
    resnet101-v2        ResNet101V2       224  42626560 2048 conv5_block1_preact_bn
    resnet152-v2        ResNet152V2       224  58331648 2048 conv5_block1_preact_bn
inception: minus-one-to-one, at least 75
    inception-v3        InceptionV3       299  21802784 2048 mixed7
inception-resnet: minus-one-to-one, at least 75
    inception-resnet-v2 InceptionResNetV2 299  54336736 1536 mixed_7a
xception: minus-one-to-one, at least 71
    xception            Xception          299  20861480 2048 block13_sepconv1_act
convnext: inside, at least 32
    convnext-tiny       ConvNeXtTiny      224  27820128  768 convnext_tiny_downsampling_block_2
    convnext-small      ConvNeXtSmall     224  49454688  768 convnext_small_downsampling_block_2
    convnext-base       ConvNeXtBase      224  87566464 1024 convnext_base_downsampling_block_2
    convnext-large      ConvNeXtLarge     224 196230336 1536 convnext_large_downsampling_block_2
    convnext-xlarge     ConvNeXtXLarge    224 348147968 2048 convnext_xlarge_downsampling_block_2
vgg: caffe, at least 32
    vgg16               VGG16             224  14714688  512 block5_conv1
    vgg19               VGG19             224  20024384  512 block5_conv1
alexnet: caffe, only 224
    alexnet             tlkit.backbones.alexnet:alexnet       224 56868224 4096 fc7
zfnet: caffe, only 224
    zfnet512            tlkit.backbones.alexnet:zfnet512      224 86225536 1024 fc7
rcnn: caffe, only 227
    rcnn-ilsvrc13       tlkit.backbones.alexnet:rcnn_ilsvrc13 227 56868224 4096 fc7
googlenet: caffe, at least 61
    googlenet           tlkit.backbones.googlenet:googlenet     224  5973552 1024 pool4
squeezenet: caffe, at least 31
    squeezenet          tlkit.backbones.googlenet:squeezenet    227   722496  512 pool5
shufflenet: torch, at least 32
    shufflenet          tlkit.backbones.googlenet:shufflenet    224   875152  544 gconv1_24
"""


def _read_table(text: str) -> dict[str, Backbone]:
    """The rows by name; a line that is not indented opens a family."""
    rows: dict[str, Backbone] = {}
    family = preprocessing = least = ""
    fixed = False
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            head, _, limit = line.partition(", ")
            family, preprocessing = head.split(": ")
            least, fixed = limit.split()[-1], limit.startswith("only")
            continue
        name, constructor, native, parameters, features, top = line.split()
        place = constructor if ":" in constructor else f"keras.applications:{constructor}"
        sizes = int(native), int(least), fixed
        rows[name] = Backbone(name, family, place, *sizes, preprocessing, int(parameters), int(features), top)
    return rows


BACKBONES = _read_table(_TABLE)


def backbone_names() -> tuple[str, ...]:
    """Every name of the table, in its order: the default first."""
    return tuple(BACKBONES)


def find_backbone(name: str, image_size: int | None = None, *, beside: tuple[str, ...] = ()) -> Backbone:
    """Look a backbone up, and check the image size that it is wanted for. Takes no TensorFlow.

    Args:
        name: As typed.
        image_size: Side of the square input, pixels; None is not checked.
        beside: Names that can be had too where it is asked for; they are offered like those of the table.

    Returns:
        The row.

    Raises:
        UsageFault: No such backbone; the nearest names are offered.
        UsageFault: The size is below the least, or not the only one that suits.
    """
    backbone = BACKBONES.get(name)
    if backbone is None:
        known = (*BACKBONES, *beside)
        others = f"Take one of: {', '.join(known)}."
        hint = did_you_mean(name.lower().replace("_", "-"), known, 3, otherwise=others)
        raise UsageFault(f"There is no backbone {name!r}.", hint)
    if image_size is None or image_size == backbone.native_size:
        return backbone
    if backbone.fixed:
        raise UsageFault(
            f"--image-size {image_size} does not suit {name}, whose fully connected layers take"
            f" {backbone.native_size} only.",
            f"Take --image-size {backbone.native_size}, or another --backbone.",
        )
    if image_size < backbone.least_size:
        raise UsageFault(
            f"--image-size {image_size} is too small for {name}, which needs at least {backbone.least_size}.",
            f"Take --image-size {backbone.native_size}, on which {name} was trained, or another --backbone.",
        )
    return backbone


def build_backbone(
    name: str, image_size: int, weights: str = "imagenet", *, top: bool = False
) -> tuple[keras.Model, WeightsOrigin]:
    """Build a network without preprocessing and, unless it is wanted, without head.

    Args:
        name: A name of the table.
        image_size: Side of the square input, pixels.
        weights: "imagenet", "none" (random, from Keras's global seed) or a file.
        top: Keep the head that it was trained with, which the weights must hold too, but for its softmax.

    Returns:
        The network, float [b, s, s, 3] as `Preprocess` gives it -> [b, h, w, d] or, with top, logits [b, classes];
        and its weights' origin.

    Raises:
        UsageFault: No such backbone.
        UsageFault: The size is below the least, or not the only one that suits.
        ModelFault: The weights cannot be had or do not fit.
    """
    backbone = find_backbone(name, image_size)
    found = find_weights(name, weights)  # before the network is built: a fault here comes at once
    place, _, alpha = backbone.constructor.partition("*")
    module, _, function = place.partition(":")
    construct = getattr(importlib.import_module(module), function)
    width = {"alpha": float(alpha)} if alpha else {}
    network = construct(include_top=top, weights=None, input_shape=(image_size, image_size, 3), **width)
    if top:
        network.layers[-1].activation = importlib.import_module("keras").activations.linear
    load_weights(network, name, found)
    return network, found.origin
