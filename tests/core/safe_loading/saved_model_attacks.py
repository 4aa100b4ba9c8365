"""SavedModels as attackers and bad luck make them: operations planted, what saves misplaced, files and graphs damaged.

    python -m tests.core.safe_loading.saved_model_attacks

prints how many of each were tried, refused and answered, which stands in saved_models/README.md. It takes minutes.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.core.safe_loading.operations import ALLOWED, SAVING
from tlkit.core.safe_loading.programs import check_program
from tlkit.core.safe_loading.saved_models import read_graph
from tlkit.errors import TlkitError

ROOT = Path(__file__).resolve().parents[3]
PLACES = ("signature", "nested function", "initialiser")
FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "fingerprint.pb",
)


def registered() -> list[str]:
    """The names of all operations that this TensorFlow has."""
    from tensorflow.core.framework.op_def_pb2 import OpList
    from tensorflow.python.client import pywrap_tf_session as session

    every = OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    return [one.name for one in every.op]


def is_refused(model: Any) -> bool:
    """Whether a program is refused, for whatever reason."""
    try:
        check_program(model, Path("attack"))
    except TlkitError:
        return True
    return False


# --- operations ---


def planted(sound: Any, place: str) -> tuple[Any, Any]:
    """A copy of a SavedModel with one node more, and that node, whose operation may be set."""
    model = type(sound).FromString(sound.SerializeToString())
    graph = model.meta_graphs[0].graph_def
    functions = {function.signature.name: function for function in graph.library.function}
    if place == "initialiser":
        (name,) = model.meta_graphs[0].collection_def["saved_model_main_op"].node_list.value
        next(node for node in graph.node if node.name == name).input.append("^planted")
        return model, graph.node.add(name="planted", op="NoOp")
    served = functions[_called_by_signature(model)]
    if place == "signature":
        return model, served.node_def.add(name="planted", op="NoOp")
    inner = graph.library.function.add()
    inner.signature.name = "inner"
    outer = graph.library.function.add()
    outer.signature.name = "outer"
    call = outer.node_def.add(name="call", op="Case")
    call.attr["branches"].list.func.add(name="inner")
    served.node_def.add(name="call", op="StatefulPartitionedCall").attr["f"].func.name = "outer"
    return model, inner.node_def.add(name="planted", op="NoOp")


def _called_by_signature(model: Any) -> str:
    """The function of the first signature that has an input."""
    meta = model.meta_graphs[0]
    node = signature_node(model)
    return next(one.attr["f"].func.name for one in meta.graph_def.node if one.name == node)


def signature_node(model: Any) -> str:
    """The node of the graph that answers for `serving_default`."""
    (output, *_) = model.meta_graphs[0].signature_def["serving_default"].outputs.values()
    return output.name.partition(":")[0]


def every_planted(sound: Any) -> Iterator[tuple[str, str, bool]]:
    """(operation, place, refused) of every operation that there is, everywhere."""
    for place in PLACES:
        model, node = planted(sound, place)
        node.attr["value"].tensor.dtype = 1  # as a constant has it
        for name in registered():
            node.op = name
            yield name, place, is_refused(model)


# --- what saves ---


def misplaced(sound: Any) -> Iterator[tuple[str, Any]]:
    """Ways to run what saves and restores when a model is loaded or asked, by name."""
    for name in sorted(SAVING):
        for place in PLACES:
            model, node = planted(sound, place)
            node.op = name
            yield f"{name} in: {place}", model
        for way, change in WAYS.items():
            model = type(sound).FromString(sound.SerializeToString())
            change(model.meta_graphs[0], name)
            yield f"{name}, {way}", model


def _saver(meta: Any, name: str) -> Any:
    """The node of the graph that `saver_def` saves or restores by, whichever has the operation."""
    end = meta.saver_def.restore_op_name if name == "RestoreV2" else meta.saver_def.save_tensor_name
    return next(node for node in meta.graph_def.node if node.name == end.partition(":")[0])


def _saver_function(meta: Any, name: str) -> str:
    return _saver(meta, name).attr["f"].func.name


def _function(meta: Any, name: str) -> Any:
    return next(one for one in meta.graph_def.library.function if one.signature.name == name)


def _served(meta: Any) -> Any:
    node = meta.signature_def["serving_default"].outputs["probability"].name.partition(":")[0]
    return next(one for one in meta.graph_def.node if one.name == node)


def _call(meta: Any, name: str) -> None:
    added = _function(meta, _served(meta).attr["f"].func.name).node_def.add(name="call", op="PartitionedCall")
    added.attr["f"].func.name = _saver_function(meta, name)


def _call_in_an_attribute(meta: Any, name: str) -> None:
    value = (
        _function(meta, _served(meta).attr["f"].func.name).node_def.add(name="call", op="While").attr["body"]
    )
    value.func.name = _served(meta).attr["f"].func.name
    value.func.attr["f"].func.name = _saver_function(meta, name)


def _answer_of_the_saver(meta: Any, name: str) -> None:
    meta.signature_def["serving_default"].outputs["more"].name = f"{_saver(meta, name).name}:0"


def _sparse_answer_of_the_saver(meta: Any, name: str) -> None:
    more = meta.signature_def["serving_default"].outputs["more"]
    more.coo_sparse.values_tensor_name = f"{_saver(meta, name).name}:0"


def _wait_for_the_saver(meta: Any, name: str) -> None:
    _served(meta).input.append(f"^{_saver(meta, name).name}")


def _initialise_by_the_saver(meta: Any, name: str) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value[:] = [_saver(meta, name).name]


def _object_of_the_saver(meta: Any, name: str) -> None:
    meta.object_graph_def.concrete_functions[_saver_function(meta, name)].SetInParent()
    _bare_object_of_the_saver(meta, name)


def _bare_object_of_the_saver(meta: Any, name: str) -> None:
    function = _saver_function(meta, name)
    added = meta.object_graph_def.nodes.add()
    added.bare_concrete_function.concrete_function_name = function
    root = meta.object_graph_def.nodes[0].children.add(local_name="_initialize")
    root.node_id = len(meta.object_graph_def.nodes) - 1


def _method_of_the_saver(meta: Any, name: str) -> None:
    one = next(one for one in meta.object_graph_def.nodes if one.WhichOneof("kind") == "function")
    one.function.concrete_functions.append(_saver_function(meta, name))


def _captured_from_the_saver(meta: Any, name: str) -> None:
    captured = meta.object_graph_def.nodes.add().captured_tensor
    captured.name, captured.concrete_function = "x:0", _saver_function(meta, name)


def _called_by_a_namesake(meta: Any, name: str) -> None:
    """TensorFlow might take the first of two functions of one name, a check the last."""
    library, served = meta.graph_def.library, _served(meta).attr["f"].func.name
    last = type(library.function[0])()
    last.CopyFrom(_function(meta, served))
    _call(meta, name)
    library.function.add().CopyFrom(last)


def _gradient(meta: Any, name: str) -> None:
    served = _served(meta).attr["f"].func.name
    meta.graph_def.library.gradient.add(function_name=served, gradient_func=_saver_function(meta, name))


def _named_like_an_operation(meta: Any, name: str) -> None:
    function = _function(meta, _saver_function(meta, name))
    function.signature.name = "Identity"
    _saver(meta, name).attr["f"].func.name = "Identity"


def _swapped(meta: Any, name: str) -> None:
    _function(meta, _saver_function(meta, name)).attr["api_implements"].s = b"served"


def _saver_of_a_signature(meta: Any, name: str) -> None:
    _function(meta, _served(meta).attr["f"].func.name).node_def.add(name="planted", op=name)
    meta.saver_def.save_tensor_name = f"{_served(meta).name}:0"
    meta.saver_def.restore_op_name = _served(meta).name


def _loose_node(meta: Any, name: str) -> None:
    meta.graph_def.node.add(name="planted", op=name)


def _loose_function(meta: Any, name: str) -> None:
    function = meta.graph_def.library.function.add()
    function.signature.name = "loose"
    function.node_def.add(name="planted", op=name)


WAYS = {
    "called by a signature": _call,
    "named in an attribute of an attribute": _call_in_an_attribute,
    "its node answers for a signature": _answer_of_the_saver,
    "its node is part of a sparse answer": _sparse_answer_of_the_saver,
    "a signature waits for its node": _wait_for_the_saver,
    "its node initialises": _initialise_by_the_saver,
    "an object has its function": _object_of_the_saver,
    "an object has its function, which is on no list": _bare_object_of_the_saver,
    "a method of an object is its function": _method_of_the_saver,
    "an object is a tensor of its function": _captured_from_the_saver,
    "called by one of two functions of one name": _called_by_a_namesake,
    "its function is a gradient": _gradient,
    "its function has the name of an operation": _named_like_an_operation,
    "its function may take another's place": _swapped,
    "the saver is the signature": _saver_of_a_signature,
    "a node that nothing needs": _loose_node,
    "a function that nothing calls": _loose_function,
}


# --- damage ---


def damage(contents: bytes, chance: random.Random) -> bytes:
    """The same cut, flipped, overwritten, emptied or with a piece of itself put in."""
    flawed, how = bytearray(contents), chance.randrange(6)
    at = chance.randrange(len(flawed))
    if how == 0:
        del flawed[at:]
    elif how in (1, 2):
        for _ in range(chance.randrange(1, 4)):
            flawed[chance.randrange(len(flawed))] ^= 1 << chance.randrange(8)
    elif how == 3:
        flawed[at : at + 64] = bytes(len(flawed[at : at + 64]))
    elif how == 4:
        other = chance.randrange(len(flawed))
        flawed[at:at] = flawed[other : other + 50]
    else:
        flawed = bytearray(chance.randbytes(chance.randrange(2) * 1000))
    return bytes(flawed)


def twisted(sound: Any, chance: random.Random) -> Any:
    """A sound message in which some node of some function says other things: a graph that parses and is wrong."""
    model = type(sound).FromString(sound.SerializeToString())
    graph = model.meta_graphs[0].graph_def
    for _ in range(chance.randrange(1, 4)):
        nodes = chance.choice([graph.node, *(function.node_def for function in graph.library.function)])
        if not len(nodes):
            continue
        node = chance.choice(list(nodes))
        how = chance.randrange(6)
        if how == 0 and node.input:
            node.input[chance.randrange(len(node.input))] = chance.choice(list(nodes)).name + ":0"
        elif how == 1:
            node.op = chance.choice(sorted(ALLOWED))
        elif how == 2 and node.attr:
            del node.attr[chance.choice(sorted(node.attr))]
        elif how == 3 and node.attr:
            _change(node.attr[chance.choice(sorted(node.attr))], chance)
        elif how == 4:
            nodes.remove(node)
        elif "value" in node.attr:
            tensor = node.attr["value"].tensor
            tensor.tensor_shape.dim.add(size=chance.choice((-1, 0, 1, 7, 2**20, 2**40, 2**62)))
    return model


def _change(value: Any, chance: random.Random) -> None:
    kind = value.WhichOneof("value")
    if kind == "i":
        value.i = chance.choice((-(2**63), -1, 0, 1, 2**31, 2**63 - 1))
    elif kind == "type":
        value.type = chance.randrange(30)
    elif kind == "s":
        value.s = chance.choice((b"", b"SAME", b"NCHW", b"\xff\xfe", b"x" * 1000))
    elif kind == "b":
        value.b = not value.b
    elif kind == "list":
        value.list.i.extend([chance.choice((-1, 0, 2**31, 2**62))])
    elif kind == "shape":
        value.shape.dim.add(size=chance.choice((-2, -1, 0, 1, 2**40)))


def main() -> None:
    """Print the counts; with FOLDER COUNT SEED HOW ask damaged copies of a SavedModel, in a process that may die of it."""
    if len(sys.argv) > 1:
        folder, count, seed, how = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
        print(json.dumps(_outcomes(folder, count, seed, how)))
        return
    from tests.tasks.classification.serving.test_saved_model import small_classifier
    from tlkit.tasks.classification.serving.saved_model import export_saved_model

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "1"
        export_saved_model(small_classifier(), folder)
        sound = read_graph(folder)
        found = Counter(refused for _, _, refused in every_planted(sound))
        print(f"operations: {found.total()}, refused {found[True]}, let pass {found[False]}")
        found = Counter(is_refused(model) for _, model in misplaced(sound))
        print(f"what saves, misplaced: {found.total()}, refused {found[True]}, let pass {found[False]}")
        for how in HOW:
            print(f"damaged, {how}: {ask(folder, 300, 0, how)}", flush=True)


def ask(folder: Path, count: int, seed: int, how: str) -> dict[str, int]:
    """How many damaged copies were answered alike ("same") or otherwise ("other"), refused, or raised what they should not."""
    words = [
        sys.executable,
        "-m",
        "tests.core.safe_loading.saved_model_attacks",
        *map(str, (folder, count, seed, how)),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode:
        raise RuntimeError(f"{words} died with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


HOW = ("bytes", "bytes without a fingerprint", "graph without a fingerprint")


def _outcomes(sound: Path, count: int, seed: int, how: str) -> dict[str, int]:
    from tests.fuzzing import draw_images
    from tlkit.tasks.classification.serving.saved_model import Served

    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "1.png").write_bytes(draw_images()[0])
        files = [Path(place) / "1.png"]
        expected = Served.load(sound).predict_files(files)[0].probabilities
        message = read_graph(sound)
        for number in range(seed, seed + count):
            folder, chance = Path(place) / "1", random.Random(number)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(sound, folder)
            if how == "graph without a fingerprint":
                (folder / "saved_model.pb").write_bytes(twisted(message, chance).SerializeToString())
            else:
                file = folder / chance.choice(FILES if how == "bytes" else FILES[:3])
                file.write_bytes(damage(file.read_bytes(), chance))
            if how != "bytes":
                (folder / "fingerprint.pb").unlink()
            print(number, file=sys.stderr, flush=True)  # the last words of a process that dies
            try:
                rows = Served.load(folder).predict_files(files)[0].probabilities
                found["same" if np.array_equal(rows, expected) else "other"] += 1
            except TlkitError as fault:
                found["refused" if fault.exit_code == 4 and fault.remedy else f"exit {fault.exit_code}"] += 1
            except Exception as fault:  # noqa: BLE001 - what no one should see
                found[type(fault).__name__] += 1
                print(number, repr(fault)[:1000], file=sys.stderr)
    return dict(found)


if __name__ == "__main__":
    main()
