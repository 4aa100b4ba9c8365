"""An ONNX file read and checked: what loading weights from one and running one have in common.

The package `onnx` is an extra; it is imported only here and where it is used.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit.backbones.onnx_checks import check_onnx, contradictions, nodes_within
from tlkit.errors import ModelFault

if TYPE_CHECKING:
    import onnx

_SAME_NUMBERS = {"Identity", "Reshape", "Unsqueeze", "Squeeze"}
_MOST_NUMBERS = 2**28  # of one computed constant; the largest layer of VGG16 has 2**26.6
_OWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


def require(*packages: str) -> None:
    """Refuse where a package of the extra is absent.

    Raises:
        ModelFault: One is.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModelFault(
                f"ONNX files need the package {package}, which is not installed.", "pip install 'tlkit[onnx]'"
            )


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a file, with the data that lie beside it.

    Args:
        path: An existing file.

    Returns:
        The model; its graph has at least one node.

    Raises:
        ModelFault: It is not an ONNX file, contradicts itself (see `check_onnx`), or `onnx` is not installed.
    """
    require("onnx")
    import onnx
    from google.protobuf.message import DecodeError

    remedy = "Give a file that an ONNX exporter wrote."
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelFault(f"{path} is not an ONNX file: {reason}.", remedy) from error
    if not model.graph.node:
        raise ModelFault(f"{path} is not an ONNX file: it holds no network.", remedy)
    with contradictions(path):
        check_onnx(model, path)
        onnx.load_external_data_for_model(model, str(path.resolve().parent))
    return model


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Every array that the graph holds, by name: initialisers, constants, and these in another shape.

    An axis of 1 more or less is left as it is: those who ask look at the size.
    """
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and any(item.name == "value" for item in node.attribute[:1]):
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "ConstantOfShape" and node.input[0] in found:
            value = numpy_helper.to_array(node.attribute[0].t) if node.attribute else np.zeros(1, np.float32)
            sides = [int(side) for side in found[node.input[0]]]
            if min(sides, default=0) >= 0 and math.prod(sides) <= _MOST_NUMBERS:
                found[node.output[0]] = np.full(sides, value[0])
        elif node.op_type in _SAME_NUMBERS and all(name in found for name in node.input):
            array, *shape = (found[name] for name in node.input)
            found[node.output[0]] = array.reshape(shape[0]) if node.op_type == "Reshape" else array
    return found


def image_dependent(model: onnx.ModelProto) -> set[str]:
    """Names of the results that change with the input."""
    held = {tensor.name for tensor in model.graph.initializer}
    moving = {item.name for item in model.graph.input} - held
    for node in model.graph.node:
        if moving.intersection(node.input):
            moving.update(node.output)
    return moving


def attribute(node: onnx.NodeProto, name: str, default):
    """An attribute's value, or the default where the node has none of this name."""
    from onnx import helper

    values = (helper.get_attribute_value(item) for item in node.attribute if item.name == name)
    return next(values, default)


def custom_operators(model: onnx.ModelProto) -> list[str]:
    """Names of the operators that the ONNX standard has not, sorted; functions in the file are known to it."""
    import onnx

    local = {(function.domain, function.name) for function in model.functions}
    unknown = set()
    for node in nodes_within(model.graph.node):
        known = node.domain in _OWN_DOMAINS and onnx.defs.has(node.op_type, node.domain)
        if not known and (node.domain, node.op_type) not in local:
            unknown.add(f"{node.domain}.{node.op_type}".removeprefix("."))
    return sorted(unknown)
