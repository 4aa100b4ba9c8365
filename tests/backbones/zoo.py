"""The model zoo's graphs that the package `onnx` ships, filled with seeded random weights: an oracle of networks.

The light files compute each large array from its shape (ConstantOfShape); here an initialiser takes its place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

_TURNED = {"Reshape", "Unsqueeze"}


def light(name: str) -> onnx.ModelProto:
    return onnx.load(LIGHT / f"light_{name}.onnx")


def weight_shapes(model) -> dict[str, tuple[int, ...]]:
    """Shape of each float array of the graph that a Conv, Gemm or BatchNormalization takes as a weight, by name."""
    arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    shapes = {name: array.shape for name, array in arrays.items()}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(arrays[node.input[0]].tolist())
    reshaped = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in _TURNED}
    kinds = {"Conv", "Gemm", "BatchNormalization", "Mul", "Add"}
    used = [name for node in model.graph.node if node.op_type in kinds for name in node.input]
    used = [reshaped.get(name, name) for name in used]
    return {name: shapes[name] for name in used if name in shapes}


def filled(name: str, path: Path, seed: int = 0) -> onnx.ModelProto:
    """Write the graph with random weights that keep the order of size from layer to layer; returns the model."""
    model, random = light(name), np.random.default_rng(seed)
    shapes = weight_shapes(model)
    roles = {}
    reshaped = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in _TURNED}
    for node in model.graph.node:
        for place, source in enumerate(node.input):
            roles[reshaped.get(source, source)] = f"{node.op_type} {place}"
    gone = {f"{name}__SHAPE" for name in shapes}
    kept = [item for item in model.graph.initializer if item.name not in gone | shapes.keys()]
    entries = [item for item in model.graph.input if item.name not in gone]
    nodes = [node for node in model.graph.node if node.output[0] not in shapes]
    for array_name, shape in shapes.items():
        array = _draw(random, roles[array_name], shape).astype(np.float32)
        kept.append(onnx.numpy_helper.from_array(array, array_name))
    del model.graph.initializer[:], model.graph.node[:], model.graph.input[:]
    model.graph.input.extend(entries)
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    return model


def _draw(random: np.random.Generator, role: str, shape: tuple[int, ...]) -> np.ndarray:
    if role in {"Conv 1", "Gemm 1"}:
        seen = np.prod(shape[1:]) if len(shape) == 2 or shape[0] != 1 else shape[-1]
        return random.normal(0, np.sqrt(2 / seen), shape)
    if role in {"BatchNormalization 1", "BatchNormalization 4", "Mul 1"}:
        return random.uniform(0.3, 0.9, shape)
    return random.normal(0, 0.1, shape)


def run(model, images: np.ndarray, *results: str) -> list[np.ndarray]:
    """Results of the graph, by name, for float [b, 3, h, w]; one image at a time, for the files have a batch of 1."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    last = [item.name for item in shown.graph.output]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in results if name not in last)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # zfnet512 has an initialiser that nothing uses
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fixed = {item.name for item in model.graph.initializer}
    (entry,) = [item.name for item in model.graph.input if item.name not in fixed]
    rows = [session.run(list(results), {entry: image[None]}) for image in images]
    return [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]
