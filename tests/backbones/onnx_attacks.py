"""ONNX files that lie, loop, ask for terabytes or are damaged: each is refused in one sentence or answers finite numbers.

    python -m tests.backbones.onnx_attacks [--fuzz 300]

makes them in a folder of its own, runs each as features and reads each as weights, and counts.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tlkit.errors import ModelFault

SIDE = 8
SECONDS = 60.0  # within which each file must be answered or refused


def network(extra: list | None = None, held: dict[str, np.ndarray] | None = None, **facts) -> onnx.ModelProto:
    """A convolution, what is put in after it (from `map` to `extra`), the mean over places, four classes."""
    draw = np.random.default_rng(0)
    arrays = {
        "kernel": draw.normal(size=(6, 3, 1, 1)).astype("f4"),
        "head": draw.normal(size=(6, 4)).astype("f4"),
        **(held or {}),
    }
    nodes = [
        helper.make_node("Conv", ["data", "kernel"], ["map"]),
        *(extra or [helper.make_node("Relu", ["map"], ["extra"])]),
        helper.make_node("GlobalAveragePool", ["extra"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "head"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ("n", 3, SIDE, SIDE))],
        [onnx.ValueInfoProto(name="scores")],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8, **facts)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _giants() -> dict[str, Callable[[], onnx.ModelProto]]:
    """Sound descriptions of 4 TiB and more."""
    node = helper.make_node
    big, one = 1 << 20, helper.make_node("GlobalAveragePool", ["map"], ["one"])
    return {
        "expand": lambda: network(
            [one, node("Expand", ["one", "to"], ["extra"])], {"to": ints(1, 6, big, big)}
        ),
        "tile": lambda: network([node("Tile", ["map", "to"], ["extra"])], {"to": ints(1, 1, big, big)}),
        "pad": lambda: network(
            [node("Pad", ["map", "to"], ["extra"])], {"to": ints(0, 0, 0, 0, 0, 0, big, big)}
        ),
        "resize": lambda: network(
            [node("Resize", ["map", "", "", "to"], ["extra"])], {"to": ints(1, 6, big, big)}
        ),
        "constant of shape": lambda: network(
            [one, node("ConstantOfShape", ["to"], ["giant"]), node("Add", ["one", "giant"], ["extra"])],
            {"to": ints(1, 6, big, big)},
        ),
        "range": lambda: network(
            [
                node("Range", ["first", "last", "step"], ["giant"]),
                node("ReduceMax", ["giant"], ["top"], keepdims=0),
                node("Cast", ["top"], ["number"], to=1),
                node("Add", ["map", "number"], ["extra"]),
            ],
            {"first": np.int64(0), "last": np.int64(1 << 40), "step": np.int64(1)},
        ),
        "random": lambda: network(
            [
                one,
                node("RandomNormal", [], ["giant"], shape=[1, 6, big, big]),
                node("Add", ["one", "giant"], ["extra"]),
            ]
        ),
        "one hot": lambda: network(
            [
                node("OneHot", ["where", "depth", "values"], ["giant"]),
                node("ReduceMax", ["giant"], ["top"], keepdims=0),
                node("Add", ["map", "top"], ["extra"]),
            ],
            {"where": ints(*range(64)), "depth": ints(1 << 40), "values": np.array([0, 1], "f4")},
        ),
        "if": lambda: network(
            [
                one,
                node(
                    "If",
                    ["yes"],
                    ["extra"],
                    then_branch=helper.make_graph(
                        [node("Expand", ["one", "to"], ["a"])], "a", [], [onnx.ValueInfoProto(name="a")]
                    ),
                    else_branch=helper.make_graph(
                        [node("Identity", ["map"], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")]
                    ),
                ),
            ],
            {"yes": np.array(True), "to": ints(1, 6, big, big)},
        ),
    }


def _changed(change: Callable[[onnx.ModelProto], object]) -> Callable[[], onnx.ModelProto]:
    def make() -> onnx.ModelProto:
        model = network()
        change(model)
        return model

    return make


def _external(place: str, **facts: object) -> Callable[[], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": place, **facts}.items():
            tensor.external_data.add(key=key, value=str(value))

    return _changed(change)


def _dims(*sides: int) -> Callable[[], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(sides)

    return _changed(change)


def _strings(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"text"]))


def _sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, "f4"), "thin")
    indices = numpy_helper.from_array(ints(0))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))


def _function(name: str, calls: list[str]) -> onnx.FunctionProto:
    """A function of one image that calls others, each on the result of the one before."""
    names = ["x", *(f"x{number}" for number in range(1, len(calls))), "y"]
    nodes = [
        helper.make_node(call, [before], [after], domain="" if call == "Relu" else "own")
        for call, before, after in zip(calls, names, names[1:], strict=False)
    ]
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["x"], ["y"], nodes, versions)


def _functions(bodies: dict[str, list[str]], first: str) -> Callable[[], onnx.ModelProto]:
    call = [helper.make_node(first, ["map"], ["extra"], domain="own")]
    return lambda: network(call, functions=[_function(name, calls) for name, calls in bodies.items()])


def _loop() -> onnx.ModelProto:
    node, info = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Identity", ["state"], ["next"])],
        "body",
        [info("number", 7, []), info("go", 9, []), info("state", 1, None)],
        [info("on", 9, []), info("next", 1, None)],
    )
    return network([node("Loop", ["", "yes", "map"], ["extra"], body=body)], {"yes": np.array(True)})


def _circle(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "pooled"


def _type(number: int) -> Callable[[], onnx.ModelProto]:
    return _changed(lambda model: setattr(model.graph.initializer[0], "data_type", number))


def named() -> dict[str, Callable[[], onnx.ModelProto]]:
    """Makers of attacks by name; none of them is an answerable network."""
    return {
        **_giants(),
        "negative side": _dims(-6, 3, 1, 1),
        "too few bytes": _dims(6, 3, 1, 2),
        "too many bytes": _dims(5, 3, 1, 1),
        "four tebibytes": _dims(1 << 20, 1 << 20, 1, 1),
        "an overflow": _dims(1 << 32, 1 << 32, 1 << 32, 18),
        "strings": _changed(_strings),
        "complex numbers": _type(14),
        "no such type": _type(99),
        "sparse": _changed(_sparse),
        "data above the folder": _external("../secret"),
        "data from the root": _external(f"{os.sep}etc{os.sep}passwd"),
        "data behind a link": _external("link"),
        "data that are absent": _external("absent"),
        "data that are too short": _external("short"),
        "data at no number": _external("short", offset="x"),
        "a circle": _changed(_circle),
        "a result of nothing": _changed(lambda m: m.graph.node[1].input.__setitem__(0, "nowhere")),
        "made twice": _changed(lambda m: m.graph.node[1].output.__setitem__(0, "map")),
        "no results": _changed(lambda m: m.graph.ClearField("output")),
        "a node without a result": _changed(lambda m: m.graph.node[1].ClearField("output")),
        "a convolution of nothing": _changed(lambda m: m.graph.node[0].ClearField("input")),
        "a function that calls itself": _functions({"f": ["f"]}, "f"),
        "functions in a circle": _functions({"f": ["g"], "g": ["h"], "h": ["f"]}, "f"),
        "functions that double": _functions(
            {"f0": ["Relu", "Relu"], **{f"f{i}": [f"f{i - 1}"] * 2 for i in range(1, 40)}}, "f39"
        ),
        "an endless loop": _loop,
        "no network": onnx.ModelProto,
    }


def damaged(content: bytes, seed: int) -> bytes:
    """Bytes flipped, cut, repeated, moved or overwritten."""
    draw = random.Random(seed)
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        place = draw.randrange(len(data))
        kind = draw.randrange(5)
        if kind == 0:
            data[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and len(data) > 2:
            del data[place : place + draw.choice([1, 3, 40, len(data)])]
        elif kind == 2:
            first = draw.randrange(len(data))
            data[place:place] = data[first : first + draw.randrange(60)]
        elif kind == 3:
            data[place : place + 8] = draw.choice([b"\xff" * 9 + b"\x01", b"\x00" * 8, draw.randbytes(8)])
        else:
            data[place] = draw.randrange(256)
        if not data:
            break
    return bytes(data)


def write(folder: Path, name: str, content: bytes) -> Path:
    """The file, and beside it what attacks with data elsewhere name."""
    inner = folder / "model"
    inner.mkdir(exist_ok=True)
    (folder / "secret").write_bytes(bytes(72))
    (inner / "short").write_bytes(bytes(8))
    if not (inner / "link").is_symlink():
        (inner / "link").symlink_to(folder / "secret")
    file = inner / f"{name}.onnx"
    file.write_bytes(content)
    return file


def outcome(file: Path) -> str:
    """What becomes of a file as features, and as weights: "answered" or "refused".

    Raises:
        AssertionError: Numbers that are not finite, more than one sentence, or too long a time.
    """
    from tlkit.backbones.onnx_checks import contradictions
    from tlkit.backbones.onnx_file import read_onnx
    from tlkit.backbones.onnx_weights import file_graph
    from tlkit.tasks.features.onnx_network import OnnxNetwork

    began = time.monotonic()
    try:
        with contradictions(file):
            file_graph(read_onnx(file))
    except ModelFault as fault:
        _check_sentence(fault)
    found = "answered"
    try:
        made = OnnxNetwork(file, image_size=SIDE)(np.full((2, SIDE, SIDE, 3), 9, np.uint8))
        assert made.dtype == np.float32
        assert len(made) == 2
    except ModelFault as fault:
        _check_sentence(fault)
        found = "refused"
    assert time.monotonic() - began < SECONDS, f"{file.name} took {time.monotonic() - began:.0f} s"
    return found


def _check_sentence(fault: ModelFault) -> None:
    assert "\n" not in fault.problem, fault.problem
    assert fault.problem.endswith("."), fault.problem
    assert fault.remedy


def main() -> int:
    """Count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fuzz", type=int, default=300)
    given = parser.parse_args()
    counts: dict[str, Counter[str]] = {"named": Counter(), "damaged": Counter()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, make in named().items():
            counts["named"][outcome(write(folder, name, make().SerializeToString()))] += 1
        sound = network().SerializeToString()
        for seed in range(given.fuzz):
            counts["damaged"][outcome(write(folder, f"damaged-{seed}", damaged(sound, seed)))] += 1
    for kind, found in counts.items():
        sys.stdout.write(f"{kind}: {dict(found)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
