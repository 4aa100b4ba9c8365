"""Other engines for feature extraction on a CPU: the same network, through ONNX Runtime or OpenVINO.

The Keras network is exported to ONNX once and checked against TensorFlow on images before anything is kept:
float32 to 1e-4 of the largest feature. `bfloat16` (OpenVINO) is checked loosely: it has three significant digits.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tlkit.engine.serving.convert import quiet
from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.features.extract import Featurizer, NetworkFeatures

TOLERANCES = {"onnx": 1e-4, "openvino": 1e-4, "openvino-bf16": 0.1}  # of the largest feature
_EXTRAS = {"onnx": "onnx", "openvino": "openvino", "openvino-bf16": "openvino"}

Run = Callable[[np.ndarray], np.ndarray]


class EngineFeatures:
    """A `NetworkFeatures` computed by another engine.

    Args:
        network: What TensorFlow computes.
        engine: "onnx", "openvino" or "openvino-bf16".

    Raises:
        ModelFault: The engine is not installed, cannot take the network, or answers differently.
    """

    def __init__(self, network: NetworkFeatures, engine: str) -> None:
        self.name, self.layer, self.engine = network.name, network.layer, engine
        self.image_size, self.width = network.image_size, network.width
        self.digest = hashlib.sha256(f"{network.digest} {engine}".encode()).hexdigest()
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "network.onnx"
                _export(network, file)
                bfloat16 = engine.endswith("bf16")
                self._run = _onnx(file) if engine == "onnx" else _openvino(file, bfloat16=bfloat16)
        except ImportError as fault:
            raise ModelFault(
                f"--engine {engine} needs {fault.name}, which is not installed.",
                f"pip install 'tlkit[{_EXTRAS[engine]}]'",
            ) from fault
        self.difference = _difference(network, self._run)
        if self.difference > TOLERANCES[engine]:
            raise ModelFault(
                f"{engine} answers differently from TensorFlow on {network.name}: by {self.difference:.2g} of the"
                " largest feature.",
                "Take --engine tensorflow.",
            )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [b, s, s, 3] -> float32 [b, d]."""
        if not len(pixels):
            return np.empty((0, self.width), np.float32)
        return np.asarray(self._run(np.ascontiguousarray(pixels)), np.float32)


def with_engine(features: Featurizer, engine: str) -> Featurizer:
    """The featurizer computed by this engine; TensorFlow is the one it comes with.

    Raises:
        UsageFault: It is no Keras network.
        ModelFault: See `EngineFeatures`.
    """
    if engine == "tensorflow":
        return features
    if not isinstance(features, NetworkFeatures):
        raise UsageFault(f"--engine {engine} is for backbones.", "Leave --engine out.")
    return EngineFeatures(features, engine)


def _export(network: NetworkFeatures, file: Path) -> None:
    import tf2onnx  # noqa: F401 - Keras imports it later; without it the fault would be less clear

    one = np.zeros((1, network.image_size, network.image_size, 3), np.uint8)
    network.model(one, training=False)  # an export wants one call before
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        network.model.export(str(file), format="onnx", verbose=False)


def _onnx(file: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})[0]


def _openvino(file: Path, *, bfloat16: bool) -> Run:
    import openvino

    precision = "bf16" if bfloat16 else "f32"  # unset, OpenVINO takes bf16 where the processor has it
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = openvino.Core().compile_model(str(file), "CPU", options)
    return lambda pixels: compiled(pixels)[0]


def _difference(network: NetworkFeatures, run: Run) -> float:
    """Largest difference from TensorFlow on images of noise and ramps, as a share of the largest feature."""
    size = network.image_size
    ramp = np.broadcast_to(np.linspace(0, 255, size)[None, :, None], (size, size, 3))
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3))
    pixels = np.concatenate([noise, [ramp, ramp.transpose(1, 0, 2)]]).astype(np.uint8)
    expected = network(pixels)
    return float(np.abs(run(pixels) - expected).max() / np.abs(expected).max())
