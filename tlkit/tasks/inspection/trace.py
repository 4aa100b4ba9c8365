"""A walk of one image through a network: what convolution, activation, pooling and dense layer do to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tlkit.tasks.inspection.layer_table import (
    ACTIVATIONS,
    POOLS,
    array,
    first_convolution,
    first_of,
    is_bent,
    strongest,
    values,
)

OUTPUTS = 10  # of the new head that stands for the fully connected layer which a backbone lacks


class Step(NamedTuple):
    """One kind of operation, on the channel where most happens.

    Attributes:
        kind: "convolution", "depthwise convolution", "activation", "pooling", "global pooling" or "fully connected".
        layer: Name of the layer, or what stands in for one.
        detail: What the kind leaves open: an activation's name, "max 3 x 3", "random weights".
        before: float32 [h, w], [h, w, 3] (the image as it enters) or [d].
        kernel: float32 [h, w], [h, w, 3], [d, k], or None where the operation has none.
        after: float32 [h, w] or [d].
        shapes: Whole shapes of input and output for one image.
    """

    kind: str
    layer: str
    detail: str
    before: np.ndarray
    kernel: np.ndarray | None
    after: np.ndarray
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


def trace(network: keras.Model, scaled: np.ndarray, seed: int = 0) -> list[Step]:
    """Follow one image through the first operation of each kind.

    A backbone ends in maps: their global average, and a new dense head of ten outputs with random weights, stand
    at the end as they do in a classifier before it has learned.

    Args:
        network: A functional network, from float [b, s, s, 3].
        scaled: float [s, s, 3], as `Preprocess` gives it.
        seed: Of the new head.

    Raises:
        UsageFault: The network has no convolution.
    """
    convolution = first_convolution(network)
    steps: list[Step | None] = [_convolution_step(network, scaled, convolution)]
    if depthwise := first_of(network.layers, layers.DepthwiseConv2D):
        steps.append(_depthwise_step(network, scaled, depthwise))
    steps.append(_activation_step(network, scaled, convolution))
    if pool := first_of(network.layers, POOLS):
        steps.append(_pooling_step(network, scaled, pool))
    return [*(step for step in steps if step is not None), *_last_steps(network, scaled, seed)]


def _convolution_step(network: keras.Model, scaled: np.ndarray, layer: layers.Conv2D) -> Step:
    (before,) = values(network, scaled, [layer.input])
    after, kernel = _unbent(layer, before), array(layer.kernel)
    chosen = strongest(after, 1)[0]
    own = kernel[..., chosen]
    if before.shape[-1] == 3:
        shown = before
    else:
        source = int(abs(own).sum(axis=(0, 1)).argmax())  # of a grouped kernel: within the group
        group = chosen // (kernel.shape[-1] // layer.groups)
        shown, own = before[..., group * kernel.shape[2] + source], own[..., source]
    detail = " x ".join(map(str, kernel.shape[:3]))
    return Step(
        "convolution", layer.name, detail, shown, own, after[..., chosen], (before.shape, after.shape)
    )


def _depthwise_step(network: keras.Model, scaled: np.ndarray, layer: layers.DepthwiseConv2D) -> Step:
    before, after = values(network, scaled, [layer.input, layer.output])
    kernel = array(layer.kernel)
    chosen = strongest(after, 1)[0]
    source, which = divmod(chosen, kernel.shape[3])
    return Step(
        "depthwise convolution",
        layer.name,
        " x ".join(map(str, kernel.shape[:2])),
        before[..., source],
        kernel[..., source, which],
        after[..., chosen],
        (before.shape, after.shape),
    )


def _activation_step(network: keras.Model, scaled: np.ndarray, convolution: layers.Conv2D) -> Step | None:
    """The first activation: a layer of its own, or inside the first convolution."""
    if is_bent(convolution):
        before, after = values(network, scaled, [convolution.input, convolution.output])
        before, layer = _unbent(convolution, before), convolution
    else:
        found = first_of(network.layers, ACTIVATIONS)
        if found is None:
            return None
        layer = found
        before, after = values(network, scaled, [layer.input, layer.output])
    if before.ndim != 3:
        return None
    # where the function both changes much and leaves much
    chosen = int(((after - before).std(axis=(0, 1)) * after.std(axis=(0, 1))).argmax())
    pair = before[..., chosen], after[..., chosen]
    return Step("activation", layer.name, _bend(layer), pair[0], None, pair[1], (before.shape, after.shape))


def _bend(layer: keras.layers.Layer) -> str:
    """The name of an activation, "relu6" also where it is ReLU(6.0)."""
    if function := getattr(layer, "activation", None):
        return getattr(function, "__name__", str(function))
    most = getattr(layer, "max_value", None)
    return type(layer).__name__.lower() + (f"{float(most):g}" if most is not None else "")


def _pooling_step(network: keras.Model, scaled: np.ndarray, layer: layers.MaxPooling2D) -> Step:
    before, after = values(network, scaled, [layer.input, layer.output])
    chosen = strongest(after, 1)[0]
    kind = "max" if isinstance(layer, layers.MaxPooling2D) else "mean"
    detail = f"{kind} of {' x '.join(map(str, layer.pool_size))}"
    pair = before[..., chosen], after[..., chosen]
    return Step("pooling", layer.name, detail, pair[0], None, pair[1], (before.shape, after.shape))


def _last_steps(network: keras.Model, scaled: np.ndarray, seed: int) -> Iterator[Step]:
    """Global pooling where the network ends in maps of more than one place; its last dense layer or a new one."""
    own = [
        layer for layer in network.layers if isinstance(layer, layers.Dense) and len(layer.input.shape) == 2
    ]
    (last,) = values(network, scaled, [network.outputs[0]])
    features = last.mean(axis=(0, 1)) if last.ndim == 3 else last
    if last.shape[:-1] not in {(), (1, 1)}:
        shown = last[..., int(features.argmax())]
        yield Step("global pooling", "features", "", shown, None, features, (last.shape, features.shape))
    if own:
        dense = own[-1]
        before, after = values(network, scaled, [dense.input, dense.output])
        name, detail, kernel = dense.name, "", array(dense.kernel)
    else:
        spread = 1 / np.sqrt(len(features))
        kernel = np.random.default_rng(seed).normal(0, spread, (len(features), OUTPUTS)).astype(np.float32)
        before, after, name, detail = features, features @ kernel, "a new head", "random weights"
    yield Step("fully connected", name, detail, before, kernel, after, (before.shape, after.shape))


def _unbent(layer: layers.Conv2D, before: np.ndarray) -> np.ndarray:
    """What a convolution gives before its activation, [h, w, c] -> [h, w, n]."""
    answer = layer.convolution_op(ops.cast(before[None], layer.compute_dtype), layer.kernel)
    return array((answer + layer.bias if layer.use_bias else answer)[0])
