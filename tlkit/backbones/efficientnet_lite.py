"""EfficientNet-Lite0 as a plain Keras network.

Written from the paper and its configuration rather than taken from KerasCV: importing that costs a second
more than Keras alone, its class asks a hub for weights even when none are wanted, and a saved model would
need it to be loaded again. Layers have KerasCV's names, so weights go from one to the other.

Source: Tan and Le, EfficientNet, arXiv 1905.11946, table 1; Lite0 leaves out squeeze-and-excitation, takes
relu6 for swish, and fixes stem and head (tensorflow/tpu, models/official/efficientnet/lite).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import keras
from keras import layers

# kernel, repeats, filters, expansion, stride of the first repeat
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
SKIPPED_AT_LAST = 0.2  # stochastic depth: share of images whose block is left out, growing with depth


class Block(NamedTuple):
    """One inverted bottleneck.

    Attributes:
        name: "block6a": stage and letter.
        kernel: Side of the depthwise kernel, pixels.
        filters: Channels that leave the block.
        expansion: Channels inside, as a multiple of those that enter; 1 has no expanding convolution.
        stride: 1 or 2.
        skipped: Share of images that skip the block in training.
    """

    name: str
    kernel: int
    filters: int
    expansion: int
    stride: int
    skipped: float


def blocks() -> Iterator[Block]:
    """The 16 blocks in order."""
    total = sum(stage[1] for stage in STAGES)
    number = 0
    for stage, (kernel, repeats, filters, expansion, stride) in enumerate(STAGES, 1):
        for repeat in range(repeats):
            name = f"block{stage}{'abcd'[repeat]}"
            skipped = SKIPPED_AT_LAST * number / total
            yield Block(name, kernel, filters, expansion, stride if repeat == 0 else 1, skipped)
            number += 1


def efficientnet_lite0(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
) -> keras.Model:
    """Build the network with random weights; the arguments are those of keras.applications.

    Args:
        include_top: Add pooling, dropout and the 1,000 ImageNet classes (softmax).
        weights: Only None: weights are loaded afterwards.
        input_shape: Height, width, 3.

    Returns:
        float [b, h, w, 3], (pixel - 127) / 128 -> [b, ceil(h / 32), ceil(w / 32), 1280]; with top, [b, 1000].
    """
    pixels = keras.Input(input_shape)
    x = _convolution(pixels, "stem_conv", 32, kernel=3, stride=2)
    x = _normalised(x, "stem_bn", "stem_activation")
    for block in blocks():
        x = _block(x, block)
    x = _convolution(x, "top_conv", 1280)
    x = _normalised(x, "top_bn", "top_activation")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(0.2, name="top_dropout")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return keras.Model(pixels, x, name="efficientnet-lite0")


def _block(inputs: keras.KerasTensor, block: Block) -> keras.KerasTensor:
    """Expand, filter each channel, project; add the input where shapes allow."""
    x, channels = inputs, inputs.shape[-1]
    if block.expansion != 1:
        x = _convolution(x, f"{block.name}_expand_conv", channels * block.expansion)
        x = _normalised(x, f"{block.name}_expand_bn", f"{block.name}_expand_activation")
    x = layers.DepthwiseConv2D(
        block.kernel,
        block.stride,
        "same",
        use_bias=False,
        depthwise_initializer=_start(),
        name=f"{block.name}_dwconv",
    )(x)
    x = _normalised(x, f"{block.name}_bn", f"{block.name}_activation")
    x = _convolution(x, f"{block.name}_project_conv", block.filters)
    x = _normalised(x, f"{block.name}_project_bn")
    if block.stride != 1 or channels != block.filters:
        return x
    x = layers.Dropout(block.skipped, noise_shape=(None, 1, 1, 1), name=f"{block.name}_drop")(x)
    return layers.Add(name=f"{block.name}_add")([x, inputs])


def _convolution(x, name: str, filters: int, kernel: int = 1, stride: int = 1) -> keras.KerasTensor:
    """A convolution without bias. "same" pads bottom and right first, as the weights expect."""
    return layers.Conv2D(
        filters, kernel, stride, "same", use_bias=False, kernel_initializer=_start(), name=name
    )(x)


def _normalised(x, name: str, activation: str = "") -> keras.KerasTensor:
    """Batch normalisation, and relu6 where the activation has a name."""
    x = layers.BatchNormalization(name=name)(x)
    return layers.Activation("relu6", name=activation)(x) if activation else x


def _start() -> keras.initializers.Initializer:
    """Random weights of EfficientNet; one object per layer, for an object gives equal numbers each time."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
