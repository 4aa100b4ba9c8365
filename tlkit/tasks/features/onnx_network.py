"""Features from an ONNX file as it is, run by onnxruntime: for networks that are not in the table.

    pixels uint8 [b, s, s, 3] -> scaled, channels first -> the file's graph up to a layer -> mean over places [b, d]

A layer is a node of the graph; it goes by the name of its result, or by the node's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkit.backbones.onnx_checks import contradictions, nodes_within
from tlkit.backbones.onnx_file import constants, custom_operators, image_dependent, read_onnx, require
from tlkit.backbones.onnx_worker import Worker, WorkerFault
from tlkit.backbones.preprocessing import scaled, scaling
from tlkit.core.text import did_you_mean
from tlkit.errors import ModelFault, UsageFault

if TYPE_CHECKING:
    import onnx

LOGITS = "logits"
_HEADS = ("Gemm", "MatMul", "Conv")
_FLOAT = 1  # onnx.TensorProto.FLOAT


class OnnxNetwork:
    """An ONNX network up to one of its layers, as a featurizer.

    Args:
        path: The file.
        layer: Name of a layer; "logits" is the result without a last softmax; None is what enters the last layer
            with weights, which in a classifier are the features.
        preprocessing: Mode of `preprocessing.Preprocess`: what the network was trained on.
        image_size: Side of the square input, pixels, where the file leaves it open.

    Attributes:
        name: The file, as typed.
        layer: Name of the result that the features are.
        image_size: Side s, pixels.
        width: Features an image, d.
        digest: sha256 over the file, the layer, the size and the preprocessing, in hex.

    Raises:
        ModelFault: onnxruntime is absent; the file is not an ONNX network, has custom operators, or takes or gives
            something else than images and arrays.
        UsageFault: There is no such layer.
        ValueError: There is no such preprocessing.
    """

    def __init__(
        self,
        path: Path,
        layer: str | None = None,
        preprocessing: str = "caffe",
        image_size: int = 224,
    ) -> None:
        require("onnx", "onnxruntime")
        scaling(preprocessing)
        self.path, self.name, self.preprocessing = path, str(path), preprocessing
        content = _content(path)
        model = read_onnx(path)
        with contradictions(path):
            self._refuse_custom_operators(model)
            self._input, self._batch, self.image_size = self._image_input(model, image_size)
            whole = model.SerializeToString()
            self._worker = Worker(len(whole))
            self._rows = self._layer_rows(model, whole)
            self.layer = self._find_layer(model, layer)
            facts = f"{self.layer} {self.image_size} {preprocessing}".encode()
            self.digest = hashlib.sha256(content + facts).hexdigest()
            self._start(_cut(model, self.layer))
        self.width = self(np.zeros((1, self.image_size, self.image_size, 3), np.uint8)).shape[1]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Extract features.

        Args:
            pixels: uint8 [b, s, s, 3], RGB.

        Returns:
            float32 [b, d]; maps are averaged over their places.

        Raises:
            ModelFault: The graph fails on them.
        """
        images = scaled(np.asarray(pixels), self.preprocessing).transpose(0, 3, 1, 2)
        step = self._batch or max(len(images), 1)
        parts = [self._run(images[first : first + step], step) for first in range(0, len(images), step)]
        return np.concatenate(parts) if parts else np.empty((0, self.width), np.float32)

    def layers(self) -> list[tuple[str, str]]:
        """Name and shape ("512x13x13", channels first; "?" where unknown) of every layer, in the file's order."""
        return list(self._rows)

    def _refuse_custom_operators(self, model: onnx.ModelProto) -> None:
        unknown = custom_operators(model)
        if unknown:
            raise ModelFault(
                f"{self.path} has operators that ONNX has not: {', '.join(unknown)}.",
                "Export the network with standard operators only.",
            )

    def _image_input(self, model: onnx.ModelProto, image_size: int) -> tuple[str, int, int]:
        """Name of the input, its batch size (0: any) and its side."""
        fixed = {tensor.name for tensor in model.graph.initializer}
        inputs = [item for item in model.graph.input if item.name not in fixed]
        kinds = [item.type.tensor_type for item in inputs]
        shapes = [[side.dim_value for side in kind.shape.dim] for kind in kinds]  # 0: open
        if len(inputs) == 1 and kinds[0].elem_type == _FLOAT and len(shapes[0]) == 4:
            batch, channels, height, width = shapes[0]
            if channels == 3 and height == width:
                return inputs[0].name, batch, height or image_size
        shown = "; ".join(_shape(shape, whole=True) for shape in shapes) or "nothing"
        raise ModelFault(
            f"{self.path} takes {shown}, not one batch of square images, float32 [b, 3, s, s].",
            "Export it with its channels first and without a scaling of its own.",
        )

    def _find_layer(self, model: onnx.ModelProto, layer: str | None) -> str:
        """The name of the result that `layer` means."""
        nodes, names = model.graph.node, [name for name, _ in self._rows]
        by_node = {node.name: node.output[0] for node in nodes if node.name and node.output[0] in names}
        if layer is None:
            return self._before_head(model)
        if layer in names or layer in by_node:
            return layer if layer in names else by_node[layer]
        if layer == LOGITS:
            last = next(node for node in reversed(nodes) if model.graph.output[0].name in node.output)
            return last.input[0] if last.op_type == "Softmax" else model.graph.output[0].name
        others = f"--layers lists its {len(names)} layers."
        hint = did_you_mean(layer, [*names, *by_node], 3, cutoff=0.5, otherwise=others)
        raise UsageFault(f"{self.path} has no layer {layer!r}.", hint)

    def _before_head(self, model: onnx.ModelProto) -> str:
        """What enters the last layer with weights; the output where no result of another layer does."""
        names, fixed = {name for name, _ in self._rows}, constants(model)
        for node in reversed(model.graph.node):
            weighs = node.op_type in _HEADS and any(name in fixed for name in node.input[1:2])
            if weighs:
                return node.input[0] if node.input[0] in names else model.graph.output[0].name
        return model.graph.output[0].name

    def _layer_rows(self, model: onnx.ModelProto, whole: bytes) -> list[tuple[str, str]]:
        """Name and shape of each result that depends on the input."""
        moving = image_dependent(model)
        try:
            shapes = self._worker.shapes(whole)
        except WorkerFault as error:
            raise self._failure(error) from error
        results = [node.output[0] for node in model.graph.node if node.output[0] in moving]
        return [(name, _shape(shapes[name]) if name in shapes else "?") for name in results]

    def _start(self, model: onnx.ModelProto) -> None:
        """A session on the CPU, in the worker."""
        try:
            self._worker.start(model.SerializeToString())
        except WorkerFault as error:
            raise self._failure(error) from error

    def _run(self, images: np.ndarray, step: int) -> np.ndarray:
        """Features of at most `step` images; a file with a fixed batch gets its empty places filled."""
        count = len(images)
        if self._batch and count < step:
            images = np.pad(images, ((0, step - count), (0, 0), (0, 0), (0, 0)))
        try:
            result = self._worker.run(self.layer, self._input, np.ascontiguousarray(images))
        except WorkerFault as error:
            raise self._failure(error) from error
        if result.ndim < 2 or len(result) != len(images):
            shape = _shape(result.shape, whole=True)
            raise ModelFault(
                f"Layer {self.layer} of {self.path} gives {shape} for {len(images)} images, not a row for each.",
                "Take another --layer; --layers lists them.",
            )
        features = result.mean(axis=tuple(range(2, result.ndim))) if result.ndim > 2 else result
        return features[:count].astype(np.float32)

    def _failure(self, reason: WorkerFault) -> ModelFault:
        return ModelFault(
            f"onnxruntime cannot run {self.path}: {reason}.",
            "Check the file with onnx.checker.check_model, or export it again.",
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFault(f"{path} cannot be read: {error.strerror}.", "Name an ONNX file.") from error


def _shape(sides: Sequence[int], *, whole: bool = False) -> str:
    """A shape for people, without the batch: "512x13x13"; an open side is "?"."""
    shown = "x".join(str(side or "?") for side in (sides if whole else sides[1:]))
    return shown or "one number"


def _cut(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """The same model with one output, and no node that does not serve it."""
    import onnx

    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    needed, kept = {output}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for item in node.attribute:
                for graph in (item.g, *item.graphs):
                    needed.update(name for inner in nodes_within(graph.node) for name in inner.input)
    del cut.graph.node[:], cut.graph.output[:]
    cut.graph.node.extend(reversed(kept))
    cut.graph.output.append(onnx.ValueInfoProto(name=output))
    return cut
