"""What a network is made of and what each part does to one image: layer table, filters, maps.

Nothing is drawn here; plots.py does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault

ACTIVATIONS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)


# --- the layer table ---------------------------------------------------------------------------------------


class LayerRow(NamedTuple):
    """A layer of the table.

    Attributes:
        name: Its name; inside a layer that is itself a network, "outer/inner".
        kind: Its class, such as "Conv2D".
        output: Shape of what it gives for one image.
        parameters: Numbers in it, trainable or not.
        multiply_adds: Multiplications, each with its addition, for one image; see `multiply_adds`.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


def layer_table(network: keras.Model) -> list[LayerRow]:
    """Every layer in the order of computation; networks inside the network are opened.

    Args:
        network: A functional or sequential network with a fixed input size.
    """
    return [
        LayerRow(name, type(layer).__name__, _shape(layer), layer.count_params(), multiply_adds(layer))
        for name, layer in _opened(network)
    ]


def _opened(network: keras.Model, outer: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in network.layers:
        if isinstance(layer, keras.Model) and layer.layers:
            yield from _opened(layer, f"{outer}{layer.name}/")
        else:
            yield f"{outer}{layer.name}", layer


def _shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
    return tuple(output.shape[1:])


def multiply_adds(layer: keras.layers.Layer) -> int:
    """Multiplications of one image's pass through a convolution (grouped or not) or a dense layer.

    Every number of a kernel is used once at each place of the output. Nothing else is counted: not biases,
    normalisation, activation or pooling, as in the papers (He 2015, table 1; Howard 2017, table 4).
    """
    if isinstance(layer, layers.SeparableConv2D):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
    elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
        kernels = [layer.kernel]
    else:
        return 0
    shape = _shape(layer)
    places = prod(shape[1:] if getattr(layer, "data_format", None) == "channels_first" else shape[:-1])
    return places * sum(prod(kernel.shape) for kernel in kernels)


# --- maps and filters --------------------------------------------------------------------------------------


def find_layers(network: keras.Model, names: Sequence[str]) -> list[keras.layers.Layer]:
    """The layers of these names.

    Raises:
        UsageFault: One does not exist; the nearest names are offered.
    """
    known = {layer.name: layer for layer in network.layers if not isinstance(layer, layers.InputLayer)}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, 3, otherwise=f"Its layers: {', '.join(known)}.")
            raise UsageFault(f"{network.name} has no layer {name!r}.", hint)
    return [known[name] for name in names]


def default_layers(network: keras.Model) -> list[str]:
    """A tour: first convolution, its activation, first pooling, the middle, the last map; each once."""
    maps = [layer for layer in network.layers if len(_shape(layer)) == 3]
    maps = [layer for layer in maps if not isinstance(layer, layers.InputLayer)]
    bends = [layer for layer in maps if isinstance(layer, (*ACTIVATIONS, layers.Add)) or is_bent(layer)]
    tour = [first_of(maps, layers.Conv2D)]
    if tour[0] is not None and not is_bent(tour[0]):
        tour.append(first_of(maps[maps.index(tour[0]) :], ACTIVATIONS))
    tour += [first_of(maps, POOLS), (bends or maps)[len(bends or maps) // 2], maps[-1]]
    return list(dict.fromkeys(layer.name for layer in tour if layer is not None))


def activations(network: keras.Model, scaled: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What layers answer to one image.

    Args:
        network: A functional network.
        scaled: float [s, s, 3], as `Preprocess` gives it.
        names: Of layers.

    Returns:
        float32 [h, w, c] or [d] by name, in the order asked for.

    Raises:
        UsageFault: A layer does not exist.
    """
    found = [layer.output for layer in find_layers(network, names)]
    return dict(zip(names, values(network, scaled, found), strict=True))


def first_filters(network: keras.Model) -> tuple[str, np.ndarray]:
    """Name and kernels, float32 [h, w, channels, n], of the first convolution, in networks inside it too.

    Raises:
        UsageFault: The network has none.
    """
    for name, layer in _opened(network):
        if isinstance(layer, layers.Conv2D):
            return name, array(layer.kernel)
    raise _no_convolution(network)


def strongest(maps: np.ndarray, count: int) -> list[int]:
    """The channels of [h, w, c] or [c] that vary most over the image, at most `count`, the strongest first."""
    strength = maps.std(axis=(0, 1)) if maps.ndim == 3 else abs(maps)
    return np.argsort(-strength, kind="stable")[:count].tolist()


# --- parts -------------------------------------------------------------------------------------------------


def is_bent(layer: keras.layers.Layer) -> bool:
    """Whether a convolution has a nonlinear activation inside."""
    return isinstance(layer, layers.Conv2D) and layer.activation is not keras.activations.linear


def first_of(found: Sequence[keras.layers.Layer], kind) -> keras.layers.Layer | None:
    """The first layer of a kind, or None."""
    return next((layer for layer in found if isinstance(layer, kind)), None)


def first_convolution(network: keras.Model) -> layers.Conv2D:
    """The first convolution that is not depthwise.

    Raises:
        UsageFault: The network has none.
    """
    layer = first_of(network.layers, layers.Conv2D)
    if layer is None:
        raise _no_convolution(network)
    return layer


def _no_convolution(network: keras.Model) -> UsageFault:
    return UsageFault(f"{network.name} has no convolution.", "Take another --backbone.")


def values(network: keras.Model, scaled: np.ndarray, tensors: Sequence) -> list[np.ndarray]:
    """Values of symbolic tensors of the network for one image, without the axis of the batch."""
    model = keras.Model(network.inputs, list(tensors))
    found = model(ops.convert_to_tensor(scaled[None]), training=False)
    return [array(value[0]) for value in keras.tree.flatten(found)]  # of a single one Keras drops the list


def array(tensor) -> np.ndarray:
    """A tensor as float32 NumPy array."""
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))
