"""SavedModel as a program: what its graph would do is read from saved_model.pb, and nothing of it is run.

Every operation, in the graph and in the functions of its library, must be one of `operations.ALLOWED`. Those that
write and read checkpoints stand in every SavedModel; they are let pass where nothing but `saver_def` leads to them. It
is what TensorFlow Serving restores by; loading and asking the model here never comes there.

Loading runs more of a model than its signatures: initialisers, functions that create resources, and functions by which
objects restore themselves. What tlkit exports has none of them, so objects of other kinds are refused by name.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from tlkit.core.safe_loading.operations import ALLOWED, CALLING, SAVING
from tlkit.errors import ModelFault

# In all constants of a graph together; weights are variables, and count in their own files.
MOST_NUMBERS = 2**27
MOST_ITEMS = 10**6  # of a list of objects, whose places are given by number
UNKNOWN = ", which no model of tlkit has"
KINDS = frozenset(
    ("asset", "bare_concrete_function", "captured_tensor", "constant", "function", "user_object", "variable")
)
USER_OBJECTS = frozenset(
    (
        "_generic_user_object",
        "signature_map",
        *(f"trackable_{kind}_wrapper" for kind in ("dict", "list", "tuple")),
    )
)
REMEDY = "A SavedModel can read and change files here; make it anew from a .keras file."


def check_program(model: Any, folder: Path) -> None:
    """Refuse a SavedModel that could do more than compute an answer.

    Args:
        model: The message of saved_model.pb.
        folder: Where it lies; named in messages, and not read.

    Raises:
        ModelFault: It could, or it is none that TensorFlow 2 saved.
    """
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].object_graph_def.nodes:
        raise ModelFault(
            f"{folder} holds a SavedModel that TensorFlow 2 did not save.",
            "Save it with tf.saved_model.save of TensorFlow 2.",
        )
    meta = model.meta_graphs[0]
    _check_names(meta.graph_def, folder)
    _check_operations(meta, folder)
    _check_constants(meta.graph_def, folder)
    _check_objects(meta.object_graph_def, folder)
    _check_assets(meta.asset_file_def, folder)


def operations_of(model: Any) -> frozenset[str]:
    """The names of all operations in a message of saved_model.pb, those of its functions included."""
    return frozenset(node.op for meta in model.meta_graphs for node in _nodes(meta.graph_def))


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _check_names(graph: Any, folder: Path) -> None:
    """Two things of one name: what follows here would look at one of them, and TensorFlow might take the other.

    And a function that is not there: TensorFlow would look for it among those of other models that it holds.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    for names in ([node.name for node in graph.node], [one.signature.name for one in graph.library.function]):
        name, number = Counter(names).most_common(1)[0] if names else ("", 0)
        if number > 1:
            _refuse(folder, f"{number} nodes or functions of the name {shown(name)}", "")
    for name in sorted(_called(_nodes(graph), functions) - functions.keys() - {""}):
        _refuse(folder, f"a call of the function {shown(name)}", ", which it does not have")


def _check_operations(meta: Any, folder: Path) -> None:
    library = meta.graph_def.library
    saver_nodes, saver_functions = _of_saver_alone(meta)
    for node in meta.graph_def.node:
        _check_operation(node.op, node.name in saver_nodes, folder)
    for function in library.function:
        is_saver = function.signature.name in saver_functions
        for name in {node.op for node in function.node_def}:
            _check_operation(name, is_saver, folder)


def _check_operation(name: str, is_saver: bool, folder: Path) -> None:
    if name in ALLOWED or (is_saver and name in SAVING):
        return
    where = " where it could run when the model is loaded or asked" if name in SAVING else UNKNOWN
    _refuse(folder, f"the operation {shown(name)}", where)


def shown(name: str) -> str:
    """A name out of a file of others, as it may stand in a sentence on a terminal."""
    return name if re.fullmatch(r"[\w>./:-]{1,100}", name, re.ASCII) else ascii(name[:100])


# --- what only `saver_def` leads to --------------------------------------------------------------------------


def _of_saver_alone(meta: Any) -> tuple[set[str], set[str]]:
    """Nodes of the graph, and functions, that `saver_def` needs and that nothing else could reach."""
    graph, saver = meta.graph_def, meta.saver_def
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    inputs = {name: [_node_of(one) for one in node.input] for name, node in nodes.items()}
    ends = [
        _node_of(end) for end in (saver.save_tensor_name, saver.restore_op_name, saver.filename_tensor_name)
    ]
    needed = _reached(ends, inputs)
    others = _reached([*(nodes.keys() - needed), *_asked_for(meta)], inputs)
    alone = needed - others

    calls = {name: _called(function.node_def, functions) for name, function in functions.items()}
    by_saver = _reached(_called((nodes[name] for name in alone & nodes.keys()), functions), calls)
    # What TensorFlow may put in the place of another one that does the same, as both say of themselves.
    swaps = ("api_", "forward_", "backward_")
    otherwise = _reached(
        [
            *_called((node for name, node in nodes.items() if name not in alone), functions),
            *_of_objects(meta.object_graph_def),
            *(name for one in graph.library.gradient for name in (one.function_name, one.gradient_func)),
            *(name for name, one in functions.items() if any(key.startswith(swaps) for key in one.attr)),
            *(functions.keys() - by_saver),
        ],
        calls,
    )
    return alone, by_saver - otherwise


def _reached(starts: Iterable[str], following: dict[str, Any]) -> set[str]:
    """All names that can be come to from some."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += following.get(name, ())
    return found


def _node_of(tensor: str) -> str:
    """The node of an input or tensor such as "add:0", "call:output:1" or "^add"."""
    return tensor.removeprefix("^").partition(":")[0]


def _asked_for(meta: Any) -> Iterator[str]:
    """The nodes that signatures and collections name, initialisers among them."""
    for signature in meta.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            yield from map(_node_of, _tensors(info))
    for collection in meta.collection_def.values():
        yield from map(_node_of, collection.node_list.value)


def _of_objects(graph: Any) -> Iterator[str]:
    """The functions that objects have."""
    yield from graph.concrete_functions
    for one in graph.nodes:
        yield from one.function.concrete_functions
        yield from (one.bare_concrete_function.concrete_function_name, one.captured_tensor.concrete_function)


def _tensors(info: Any) -> Iterator[str]:
    yield info.name
    sparse = info.coo_sparse
    yield from (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    for part in info.composite_tensor.components:
        yield from _tensors(part)


def _called(nodes: Iterable[Any], functions: dict[str, Any]) -> set[str]:
    """The functions that nodes name: in their attributes, or as their operation, which TensorFlow looks for first."""
    found: set[str] = set()
    for node in nodes:
        if node.op in functions:
            found.add(node.op)
        if node.op in CALLING:
            for value in node.attr.values():
                found.update(_named(value))
    return found


def _named(value: Any) -> Iterator[str]:
    for function in (value.func, *value.list.func):
        yield function.name
        for inner in function.attr.values():
            yield from _named(inner)


# --- constants, objects, assets ----------------------------------------------------------------------------------


def _check_constants(graph: Any, folder: Path) -> None:
    from tensorflow.core.framework import types_pb2

    numbers = 0
    for node in _nodes(graph):
        if node.op != "Const":
            continue
        tensor = node.attr["value"].tensor if "value" in node.attr else None
        if tensor is None or tensor.dtype in (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT):
            _refuse(folder, f"the constant {shown(node.name)} without a value that could be read", "")
        sides = [side.size for side in tensor.tensor_shape.dim]
        numbers += math.prod(sides)
        if min(sides, default=0) < 0 or numbers > MOST_NUMBERS:
            _refuse(
                folder,
                f"the constant {shown(node.name)} of shape {sides}"[:200],
                f"; all together may have {MOST_NUMBERS:,} numbers",
            )


def _check_objects(graph: Any, folder: Path) -> None:
    for one in graph.nodes:
        kind = one.WhichOneof("kind") or "none"
        if kind == "user_object" and one.user_object.identifier not in USER_OBJECTS:
            kind = one.user_object.identifier  # "optimizer" would import packages
        constant = kind == "constant" and one.registered_name.endswith("TrackableConstant")
        if kind not in KINDS or (one.registered_name and not constant):
            _refuse(folder, f"an object of kind {shown(one.registered_name or kind)}", UNKNOWN)
        if one.saveable_objects or one.registered_saver:
            _refuse(folder, "an object that restores itself by functions of its own", UNKNOWN)
        for child in one.children:
            if child.local_name.isdigit() and int(child.local_name[:9]) > MOST_ITEMS:
                _refuse(folder, "a list of too many objects", UNKNOWN)
    functions = (one.function.function_spec for one in graph.nodes if one.WhichOneof("kind") == "function")
    if any(map(_has_arrays, (*functions, *graph.concrete_functions.values()))):
        _refuse(folder, "a function whose arguments are described by arrays", UNKNOWN)


def _has_arrays(message: Any) -> bool:
    """Whether a description of arguments has some in it, which would be made when it is loaded, whatever their size."""
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.name in ("TensorProto", "BoundedTensorSpecProto"):
            return True
        parts = [value] if isinstance(value, Message) else value
        if any(map(_has_arrays, parts.values() if isinstance(parts, Mapping) else parts)):
            return True
    return False


def _check_assets(assets: Iterable[Any], folder: Path) -> None:
    for asset in assets:
        path = PurePosixPath(asset.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in asset.filename or not asset.filename:
            _refuse(folder, f"the asset {shown(asset.filename)}", ", which lies outside of its folder")


def _refuse(folder: Path, what: str, why: str) -> NoReturn:
    raise ModelFault(f"{folder} holds a SavedModel with {what}{why}.", REMEDY)
