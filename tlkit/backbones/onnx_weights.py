"""The weights of an ONNX file as the layers of one of our networks.

An ONNX graph and a Keras network order their layers differently: the one as they were written, the other by their
distance from the output. So both are reduced to the layers that have weights and who follows whom, and put into one
order that depends on nothing else:

    layers from the input, layers to the output, place in a walk from the output back

A file fits if shapes, strides and who-follows-whom agree throughout. Paddings and activations are not compared: the
file must be of the same network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlkit.backbones.onnx_checks import contradictions
from tlkit.backbones.onnx_file import attribute, constants, image_dependent, read_onnx
from tlkit.backbones.weight_files import StoredLayer
from tlkit.errors import ModelFault

if TYPE_CHECKING:
    import keras
    import onnx

# Operators with weights, and which of their inputs those are.
_WEIGHTS = {
    "Conv": slice(1, 3),
    "Gemm": slice(1, 3),
    "MatMul": slice(1, 2),
    "BatchNormalization": slice(1, 5),
}


class Weighted(NamedTuple):
    """A node of an ONNX graph that has weights.

    Attributes:
        node: The node.
        arrays: Its weights, float32: (out, in, h, w) or (out, in) and perhaps a bias; or scale, offset, mean and
            variance. Empty where the file computes them.
    """

    node: onnx.NodeProto
    arrays: list[np.ndarray]


class Graph(NamedTuple):
    """Layers with weights and who follows whom.

    Attributes:
        layers: In an order in which each stands behind those that it follows.
        before: Places in `layers` of those whose results reach each, in the order of its inputs.
        ends: Places of those that reach the output.
        unread: Nodes with arrays that are the weights of no layer.
    """

    layers: list
    before: list[list[int]]
    ends: list[int]
    unread: list[onnx.NodeProto]


def onnx_layers(path: Path, network: keras.Model, backbone: str) -> list[StoredLayer]:
    """Read the weights of a network.

    Args:
        path: The ONNX file. Layers behind the network's last (a head) are left out.
        network: Which it is for.
        backbone: The network's name, as the user knows it.

    Returns:
        One entry per layer of the network that has weights, in its order, for `weight_files.fit_layers`; without
        arrays where the file has none.

    Raises:
        ModelFault: The file cannot be read, or all shapes fit and the layers are joined otherwise.
    """
    model = read_onnx(path)
    with contradictions(path):
        return _fitted(model, path, network, backbone)


def _fitted(model: onnx.ModelProto, path: Path, network: keras.Model, backbone: str) -> list[StoredLayer]:
    ours, theirs = network_graph(network), file_graph(model)
    pairs = dict(zip(canonical_order(ours), canonical_order(theirs), strict=False))
    found = {}
    for place, layer in enumerate(ours.layers):
        weighted = theirs.layers[pairs[place]] if place in pairs else None
        found[layer] = StoredLayer(layer.name, _arrays(layer, weighted) if weighted else [])
    stored = [found[layer] for layer in network.layers if layer.weights]
    if all(
        [tuple(weight.shape) for weight in layer.weights] == [array.shape for array in entry.arrays]
        for layer, entry in found.items()
    ):
        _compare_joints(ours, theirs, pairs, f"{path} does not fit {backbone}")
    return stored


def file_graph(model: onnx.ModelProto) -> Graph:
    """The weighted nodes of an ONNX graph; a Mul or Add by channel becomes part of the one before it."""
    fixed, moving = constants(model), image_dependent(model)
    uses = Counter(name for node in model.graph.node for name in node.input)
    graph = Graph([], [], [], [])
    reaches: dict[str, list[int]] = {}  # tensor -> weighted nodes whose results it holds
    made: dict[str, int] = {}  # tensor -> the weighted node whose own result it is
    for node in model.graph.node:
        sources = _merged(reaches.get(name, []) for name in node.input)
        others = [fixed.get(name) for name in node.input if name and name not in moving]
        # Numbers of channels: shapes are integers, limits single numbers; None is computed in the file.
        by_channel = any(one is None or (one.dtype.kind == "f" and one.size > 1) for one in others)
        if node.op_type in _WEIGHTS and node.input[1] not in moving:
            graph.layers.append(Weighted(node, _weights(node, fixed)))
            graph.before.append(sources)
            sources = [len(graph.layers) - 1]
            made[node.output[0]] = sources[0]
        elif node.output[0] in moving and by_channel:
            place = _folded(node, fixed, graph.layers, {name: made[name] for name in made if uses[name] == 1})
            if place is None:
                graph.unread.append(node)
            else:
                made[node.output[0]] = place
        reaches.update(dict.fromkeys(node.output, sources))
    ends = _merged(reaches.get(output.name, []) for output in model.graph.output)
    return graph._replace(ends=ends)


def _weights(node: onnx.NodeProto, fixed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What `Weighted.arrays` holds."""
    names = [name for name in node.input[_WEIGHTS[node.op_type]] if name]
    if not all(name in fixed for name in names):
        return []
    arrays = [fixed[name].astype(np.float32) for name in names]
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attribute(node, "transB", 0)):
        arrays[0] = arrays[0].T
    return arrays


def _folded(
    node: onnx.NodeProto, fixed: dict[str, np.ndarray], layers: list[Weighted], made: dict[str, int]
) -> int | None:
    """Let the weighted node right before a Mul or Add take it over; its place, or None where it cannot."""
    numbers = [fixed[name].ravel().astype(np.float32) for name in node.input if name in fixed]
    places = [made[name] for name in node.input if name in made]
    if node.op_type not in {"Mul", "Add"} or len(numbers) != 1 or len(places) != 1:
        return None
    before, arrays = layers[places[0]]
    if not arrays or numbers[0].size != len(arrays[0]):
        return None
    first, *rest = arrays
    if node.op_type == "Mul":
        scaled = [array * numbers[0].reshape(-1, *(1,) * (array.ndim - 1)) for array in arrays[:2]]
        taken_over = [*scaled, *arrays[2:]]
    else:
        taken_over = [first, rest[0] + numbers[0], *rest[1:]] if rest else [first, numbers[0]]
    layers[places[0]] = Weighted(before, taken_over)
    return places[0]


def network_graph(network: keras.Model) -> Graph:
    """The layers of a functional network that have weights; a network inside it counts as one."""
    layers, before = [], []
    reaches: dict[int, list[int]] = {}  # an operation's identity -> layers whose results it holds
    for operation in network.operations:
        inputs = operation._inbound_nodes[0].input_tensors
        sources = _merged(reaches[id(tensor._keras_history.operation)] for tensor in inputs)
        if getattr(operation, "weights", None):
            layers.append(operation)
            before.append(sources)
            sources = [len(layers) - 1]
        reaches[id(operation)] = sources
    ends = _merged(reaches[id(tensor._keras_history.operation)] for tensor in network.outputs)
    return Graph(layers, before, ends, [])


def _merged(lists: Iterable[list[int]]) -> list[int]:
    """The members in the order in which they first occur."""
    return list(dict.fromkeys(place for places in lists for place in places))


def canonical_order(graph: Graph) -> list[int]:
    """Places in `graph.layers`, in the order that the head of this module describes."""
    count = len(graph.layers)
    depth, height = [0] * count, [0] * count
    for place in range(count):
        depth[place] = max((depth[other] + 1 for other in graph.before[place]), default=0)
    for place in reversed(range(count)):
        for other in graph.before[place]:
            height[other] = max(height[other], height[place] + 1)
    walk = {place: number for number, place in enumerate(_walk_back(graph))}
    # What reaches no output (a side classifier that was cut off) comes last.
    return sorted(range(count), key=lambda p: (p not in walk, depth[p], -height[p], walk.get(p, p)))


def _walk_back(graph: Graph) -> list[int]:
    """Each layer behind those that it follows, these in the order of its inputs."""
    walked: dict[int, None] = {}
    path = graph.ends[::-1]
    while path:
        waiting = [place for place in graph.before[path[-1]] if place not in walked]
        if waiting:
            path.append(waiting[0])
        else:
            walked[path.pop()] = None
    return list(walked)


def _arrays(layer: keras.layers.Layer, weighted: Weighted) -> list[np.ndarray]:
    """A node's weights in the axes of the layer that wants them; as they are where they cannot be turned."""
    node, arrays = weighted
    if not arrays:
        return []
    if node.op_type == "BatchNormalization":
        return _statistics(layer, node, arrays)
    kernel, *bias = arrays
    if getattr(layer, "use_bias", False) and not bias:
        bias = [np.zeros(kernel.shape[0], np.float32)]
    return [_turned(kernel, layer), *bias]


def _turned(kernel: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """(out, in, h, w) or (out, in * h * w) -> Keras's (h, w, in, out), (h, w, in, multiplier) or (in, out)."""
    wanted = tuple(layer.weights[0].shape)
    if len(wanted) == 4 and kernel.ndim == 2 and kernel.size == np.prod(wanted):
        height, width, channels, filters = wanted
        kernel = kernel.reshape(filters, channels, height, width)  # the flattened map was (in, h, w)
    if kernel.ndim != 4:
        return kernel.T
    turned = kernel.transpose(2, 3, 1, 0)
    depthwise = type(layer).__name__ == "DepthwiseConv2D" and turned.size == np.prod(wanted)
    # One filter of a channel after the other: (h, w, 1, channels * multiplier) has the wanted order already.
    return np.ascontiguousarray(turned.reshape(wanted) if depthwise else turned)


def _statistics(
    layer: keras.layers.Layer, node: onnx.NodeProto, arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Scale, offset, mean, variance; the variance such that our epsilon gives the file's result."""
    scale, offset, mean, variance = arrays
    gap = attribute(node, "epsilon", 1e-5) - getattr(layer, "epsilon", 1e-5)
    if abs(gap) > 1e-9:
        variance = (variance + gap).astype(np.float32)
    return [scale, offset, mean, variance]


def _compare_joints(ours: Graph, theirs: Graph, pairs: dict[int, int], problem: str) -> None:
    """Refuse a network whose layers have our shapes and another order or other strides."""
    remedy = "Take the backbone that the file is for, or run the file itself with --backbone FILE.onnx."
    if theirs.unread:
        kind, name = theirs.unread[0].op_type, theirs.unread[0].output[0]
        raise ModelFault(f"{problem}: no layer of it has the weights of the file's {kind} {name}.", remedy)
    for place, layer in enumerate(ours.layers):
        node = theirs.layers[pairs[place]].node
        if {pairs[other] for other in ours.before[place]} != set(theirs.before[pairs[place]]):
            raise ModelFault(
                f"{problem}: layer {layer.name} follows other layers there ({node.name}).", remedy
            )
        own = tuple(getattr(layer, "strides", (1, 1)))
        other = tuple(attribute(node, "strides", (1, 1)))
        if own != other:
            raise ModelFault(f"{problem}: layer {layer.name} has strides {own}, the file {other}.", remedy)
