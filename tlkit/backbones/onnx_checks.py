"""ONNX files from strangers: what a file says of itself is checked before anything of that size is allocated.

A file is a description: dimensions beside bytes, names beside names, files beside the file. Where these contradict each
other a reader allocates what the description asks for, follows a circle for ever, or reads what it should not. What a
sound description makes a runtime do is bounded elsewhere (onnx_worker.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tlkit.errors import ModelFault

if TYPE_CHECKING:
    import onnx

MOST_BYTES = 4 * 2**30  # of all constants together
MOST_NODES = 200_000  # once functions are put in where they are called
REMEDY = "Export the network again, or copy the file again from where it was made."
LOOPS = ("Loop", "Scan")  # no network for images needs one, and one need not end
_EXTERNAL = 1  # onnx.TensorProto.EXTERNAL


# onnx.TensorProto.DataType: bytes a number, and the field of the message where numbers do not stand in raw_data. They
# are of whole bytes; strings, complex numbers and halves of bytes are refused.
KINDS = {
    1: (4, "float_data"),
    2: (1, "int32_data"),
    3: (1, "int32_data"),
    4: (2, "int32_data"),
    5: (2, "int32_data"),
    6: (4, "int32_data"),
    7: (8, "int64_data"),
    9: (1, "int32_data"),
    10: (2, "int32_data"),
    11: (8, "double_data"),
    12: (4, "uint64_data"),
    13: (8, "uint64_data"),
    16: (2, "int32_data"),
}


@contextmanager
def contradictions(path: Path) -> Iterator[None]:
    """Say in one sentence that a file contradicts itself, where reading it fails on what is not there.

    Raises:
        ModelFault: In place of any exception that a description at odds with itself provokes.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        _refuse(path, f"it contradicts itself ({reason})")


def check_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Check a model whose external data are not loaded yet.

    Args:
        model: As parsed.
        path: Its file.

    Raises:
        ModelFault: A constant's dimensions and bytes differ, it is of no plain numbers, or lies outside of the
            folder; a name is used before it is made, or made twice; a function calls itself; there is a loop.
    """
    used = 0
    for tensor in tensors_of(model):
        used += _check_tensor(tensor, path)
        if used > MOST_BYTES:
            _refuse(path, f"its constants take more than {MOST_BYTES / 2**30:.0f} GiB")
    _check_functions(model, path)
    _check_graph(model.graph, frozenset(), path)
    for function in model.functions:
        _check_nodes(function.node, set(function.input), path)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ModelFault(f"{path} is no sound ONNX file: {reason}.", REMEDY)


# --- constants ---


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All constants of a model: initialisers and attributes, those of inner graphs and of functions too."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for item in node.attribute:
            if item.HasField("t"):
                yield item.t
            yield from item.tensors
            for graph in _graphs(item):
                yield from _tensors_of_graph(graph)


def _graphs(item: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([item.g] if item.HasField("g") else []), *item.graphs]


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> int:
    """Bytes of a constant."""
    name = f"constant {tensor.name!r}" if tensor.name else "a constant"
    if tensor.data_type not in KINDS:
        _refuse(path, f"{name} is of type {tensor.data_type}, which is not one of plain numbers")
    if any(side < 0 for side in tensor.dims):
        _refuse(path, f"{name} has a negative side")
    count, (width, field) = math.prod(tensor.dims), KINDS[tensor.data_type]
    shape = " x ".join(f"{side:,}" for side in tensor.dims) or "1"
    size = count * width
    if tensor.data_location == _EXTERNAL:
        _check_external(tensor, path, name, size)
        return size
    if tensor.HasField("raw_data"):
        stored, unit = len(tensor.raw_data), "bytes"
        sound = stored == size
    else:
        stored, unit = len(getattr(tensor, field)), "numbers"
        sound = stored == count
    if not sound:
        _refuse(path, f"{name} of {shape} numbers has {stored:,} {unit}")
    return size


def _check_external(tensor: onnx.TensorProto, path: Path, name: str, size: int) -> None:
    """Data beside the file: inside its folder, by no link out of it, and as long as the dimensions say."""
    facts = {entry.key: entry.value for entry in tensor.external_data}
    place, folder = Path(facts.get("location", "")), path.resolve().parent
    file = (folder / place).resolve()
    if place.is_absolute() or not file.is_relative_to(folder):
        _refuse(path, f"{name} lies outside of its folder")
    if not file.is_file():
        raise ModelFault(
            f"{path} keeps {name} in {place}, which is not beside it.", "Copy that file there too."
        )
    numbers = {key: facts[key] for key in ("offset", "length") if key in facts}
    if not all(value.isdecimal() for value in numbers.values()):
        _refuse(path, f"{name} has an offset or a length that is no number")
    offset = int(numbers.get("offset", 0))
    length = int(numbers.get("length", size))
    if length != size or offset + size > file.stat().st_size:
        _refuse(path, f"{name} needs {size:,} bytes, which {place} does not hold")


# --- names ---


def _check_graph(graph: onnx.GraphProto, outer: frozenset[str], path: Path) -> None:
    if graph.sparse_initializer:
        _refuse(path, "it has sparse constants, which are not read")
    if not graph.output:
        _refuse(path, "it has no result")
    given = {item.name for item in (*graph.input, *graph.initializer)}
    made = _check_nodes(graph.node, {*outer, *given}, path)
    for output in graph.output:
        if output.name not in made:
            _refuse(path, f"its result {output.name!r} is made by nothing")


def _check_nodes(nodes: Iterable[onnx.NodeProto], known: set[str], path: Path) -> set[str]:
    """The names that are known behind the nodes; each uses only what stands before it, so there is no circle."""
    here: set[str] = set()
    for node in nodes:
        if node.op_type in LOOPS:
            _refuse(path, f"it has a loop ({node.op_type}), which may never end")
        missing = next((name for name in node.input if name and name not in known), None)
        if missing is not None:
            _refuse(path, f"{node.op_type} uses {missing!r} before anything makes it, or in a circle")
        for item in node.attribute:
            for graph in _graphs(item):
                _check_graph(graph, frozenset(known), path)
        if not any(node.output):
            _refuse(path, f"{node.op_type} makes nothing")
        twice = next((name for name in node.output if name and name in here), None)
        if twice is not None:
            _refuse(path, f"{twice!r} is made twice")
        here.update(name for name in node.output if name)
        known.update(node.output)
    return known


def nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of the graphs inside them (If, Loop, Scan)."""
    for node in nodes:
        yield node
        for item in node.attribute:
            for graph in _graphs(item):
                yield from nodes_within(graph.node)


# --- functions ---


def _check_functions(model: onnx.ModelProto, path: Path) -> None:
    """No function calls itself, straight or through others, and all put in make no giant."""
    bodies = {(one.domain, one.name): list(nodes_within(one.node)) for one in model.functions}
    counts: dict[tuple[str, str], int] = {}
    for key in bodies:
        _count(key, bodies, counts, path)
    total = sum(counts.get((node.domain, node.op_type), 1) for node in nodes_within(model.graph.node))
    if total > MOST_NODES:
        _refuse(path, f"with its functions put in it has {total:,} nodes, more than {MOST_NODES:,}")


def _count(
    key: tuple[str, str],
    bodies: dict[tuple[str, str], list[onnx.NodeProto]],
    counts: dict[tuple[str, str], int],
    path: Path,
) -> None:
    """Count the nodes of a function with those that it calls put in; in order of calls, without recursion."""
    waiting, open_ = [key], set()
    while waiting:
        now = waiting[-1]
        calls = {(node.domain, node.op_type) for node in bodies[now]} & bodies.keys()
        left = [call for call in calls if call not in counts]
        if not left:
            counts[now] = sum(counts.get((node.domain, node.op_type), 1) for node in bodies[now])
            open_.discard(now)
            waiting.pop()
        elif now in open_:
            _refuse(path, f"its function {now[1]!r} calls itself")
        else:
            open_.add(now)
            waiting.extend(left)
