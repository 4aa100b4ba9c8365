"""GoogLeNet, SqueezeNet 1.1 and ShuffleNet: networks that were made small, none of which Keras has.

Each equals the file of the ONNX model zoo, its paddings and roundings included. Layers have the files' names, with _
for /.
"""

from __future__ import annotations

import keras
from keras import layers

from tlkit.backbones.layers import (
    ChannelShuffle,
    GroupedConvolution,
    HalvingAverage,
    LocalResponseNormalization,
)

Shape = tuple[int | None, int | None, int]

# Channels of 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; after pooling. Szegedy 2015, table 1.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
# Channels after squeezing, and of each of the two expanding convolutions. Iandola 2016, table 1.
FIRES = {
    2: (16, 64),
    3: (16, 64),
    4: (32, 128),
    5: (32, 128),
    6: (48, 192),
    7: (48, 192),
    8: (64, 256),
    9: (64, 256),
}
# Channels and units of a stage. Zhang 2018, table 1, has half as many in the middle of a unit; the file has not.
SHUFFLE_STAGES = ((136, 4), (272, 8), (544, 4))
SHUFFLE_GROUPS = 4


def googlenet(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: Shape = (224, 224, 3),
) -> keras.Model:
    """GoogLeNet (Inception v1) without the side classifiers; the arguments are those of keras.applications.

    Args:
        include_top: Add pooling, dropout and the 1,000 ImageNet classes (softmax).
        weights: Only None: weights are loaded afterwards.
        input_shape: Height, width, 3; at least 61.

    Returns:
        float [b, h, w, 3], BGR minus mean -> [b, h', w', 1024], 6 x 6 for 224 pixels; with top, [b, 1000].

    Source: Szegedy 2015, section 5; inception_v1 of the ONNX model zoo, which rounds pooled sides down where Caffe
        rounds up.
    """
    pixels = keras.Input(input_shape)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(pixels)
    x = layers.Conv2D(64, 7, 2, activation="relu", name="conv1_7x7_s2")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = _convolution(x, "conv2_3x3_reduce", 64)
    x = _convolution(x, "conv2_3x3", 192, 3)
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    for name, channels in INCEPTIONS.items():
        if name in {"4a", "5a"}:
            x = layers.MaxPooling2D(3, 2, name=f"pool{int(name[0]) - 1}")(x)
        x = _inception(x, f"inception_{name}", channels)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool5")(x)
        x = layers.Dropout(0.4, name="dropout")(x)
        x = layers.Dense(1000, activation="softmax", name="classifier")(x)
    return keras.Model(pixels, x, name="googlenet")


def _inception(x, name: str, channels: tuple[int, ...]) -> keras.KerasTensor:
    """Four branches side by side."""
    one, reduced_3, three, reduced_5, five, pooled = channels
    branches = [
        _convolution(x, f"{name}_1x1", one),
        _convolution(_convolution(x, f"{name}_3x3_reduce", reduced_3), f"{name}_3x3", three, 3),
        _convolution(_convolution(x, f"{name}_5x5_reduce", reduced_5), f"{name}_5x5", five, 5),
    ]
    x = layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x)
    branches.append(_convolution(x, f"{name}_pool_proj", pooled))
    return layers.Concatenate(name=f"{name}_output")(branches)


def squeezenet(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: Shape = (227, 227, 3),
) -> keras.Model:
    """SqueezeNet 1.1; the arguments are those of keras.applications.

    Args:
        include_top: Add dropout and the 1,000 ImageNet classes, pooled (softmax).
        weights: Only None: weights are loaded afterwards.
        input_shape: Height, width, 3; at least 31.

    Returns:
        float [b, h, w, 3], BGR minus mean -> [b, h', w', 512], 13 x 13 for 227 pixels; with top, [b, 1000].

    Source: Iandola 2016, section 3; version 1.1 is of the authors' repository; squeezenet of the ONNX model zoo.
    """
    pixels = keras.Input(input_shape)
    x = layers.Conv2D(64, 3, 2, activation="relu", name="conv1")(pixels)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, (squeezed, expanded) in FIRES.items():
        x = _convolution(x, f"fire{number}_squeeze1x1", squeezed)
        wide = (
            _convolution(x, f"fire{number}_expand1x1", expanded),
            _convolution(x, f"fire{number}_expand3x3", expanded, 3),
        )
        x = layers.Concatenate(name=f"fire{number}_concat")(wide)
        if number in {3, 5}:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    if include_top:
        x = layers.Dropout(0.5, name="drop9")(x)
        x = _convolution(x, "conv10", 1000)
        x = layers.GlobalAveragePooling2D(name="pool10")(x)
        x = layers.Activation("softmax", name="prob")(x)
    return keras.Model(pixels, x, name="squeezenet")


def shufflenet(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: Shape = (224, 224, 3),
) -> keras.Model:
    """ShuffleNet version 1 with four groups; the arguments are those of keras.applications.

    Args:
        include_top: Add pooling and the 1,000 ImageNet classes (softmax).
        weights: Only None: weights are loaded afterwards.
        input_shape: Height, width, 3.

    Returns:
        float [b, h, w, 3], normalised RGB -> [b, ceil(h / 32), ceil(w / 32), 544]; with top, [b, 1000].

    Source: Zhang 2018, section 3; shufflenet of the ONNX model zoo, with 48 grouped convolutions.
    """
    pixels = keras.Input(input_shape)
    x = layers.ZeroPadding2D(1, name="conv3_0_pad")(pixels)
    x = layers.Conv2D(24, 3, 2, name="conv3_0")(x)
    x = layers.ReLU(name="conv3_0_relu")(_normalised(x, "conv3_0"))
    x = layers.ZeroPadding2D(1, name="pool_pad")(x)  # after a ReLU no 0 wins that should not
    x = layers.MaxPooling2D(3, 2, name="pool")(x)
    number = 0
    for channels, units in SHUFFLE_STAGES:
        for unit in range(units):
            x = _shuffle_unit(x, number, channels, halve=unit == 0)
            number += 1
    if include_top:
        x = layers.GlobalAveragePooling2D(name="final_avg")(x)
        x = layers.Dense(1000, activation="softmax", name="pred")(x)
    return keras.Model(pixels, x, name="shufflenet")


def _shuffle_unit(inputs, number: int, channels: int, *, halve: bool) -> keras.KerasTensor:
    """Grouped 1x1, shuffle, 3x3 of each channel, grouped 1x1; beside the input, which is added or appended.

    Args:
        inputs: [b, h, w, channels that enter].
        number: Of the unit, from 0; units are numbered as in the file.
        channels: Channels that leave.
        halve: Halve the sides and append the averaged input.
    """
    filters = channels - inputs.shape[-1] if halve else channels
    first, last = f"gconv1_{2 * number}", f"gconv1_{2 * number + 1}"
    middle = f"gconv3_{number}"
    x = layers.ReLU(name=f"{first}_relu")(_grouped(inputs, first, filters))
    x = ChannelShuffle(SHUFFLE_GROUPS, name=f"shuffle_{number}")(x)
    x = layers.ZeroPadding2D(1, name=f"{middle}_pad")(x)
    x = layers.DepthwiseConv2D(3, 2 if halve else 1, use_bias=False, name=middle)(x)
    x = _grouped(_normalised(x, middle), last, filters)
    if halve:
        beside = HalvingAverage(name=f"average_{number}")(inputs)
        x = layers.Concatenate(name=f"block_{number}")([x, beside])
    else:
        x = layers.Add(name=f"block_{number}")([x, inputs])
    return layers.ReLU(name=f"block_{number}_relu")(x)


def _convolution(x, name: str, filters: int, kernel: int = 1) -> keras.KerasTensor:
    """A convolution with bias and ReLU that keeps the sides."""
    return layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name)(x)


def _grouped(x, name: str, filters: int) -> keras.KerasTensor:
    """A 1x1 convolution in groups, normalised."""
    return _normalised(
        GroupedConvolution(filters, 1, groups=SHUFFLE_GROUPS, use_bias=False, name=name)(x), name
    )


def _normalised(x, name: str) -> keras.KerasTensor:
    """Batch normalisation with the file's epsilon."""
    return layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
