"""A detector for other runtimes: ONNX and LiteRT, checked against the Keras model before it is kept.

Both take uint8 pixels in the network's square (letterboxing stays with the caller) and give `boxes` float32 [n, a, 4]
in pixels of that square and `scores` float32 [n, a, k], before duplicates are dropped: runtimes differ in how they do
that. The SavedModel of the run has all of it inside.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import ExportFault
from tlkit.models.detector_settings import Detecting
from tlkit.models.detectors import AnyDetector
from tlkit.results.conversion import (
    check_absent,
    convert,
    litert_interpreter,
    onnx_packages,
    test_pictures,
    write_labels,
)

TOLERANCE = 1e-3  # largest difference allowed to the Keras model, in scores and in boxes / size


def detector_to_onnx(detector: AnyDetector, file: Path, detecting: Detecting | None = None) -> dict[str, Any]:
    """Write a detector as ONNX; any batch size.

    Metadata: `classes` (a JSON list), `image_size`, `threshold`, `overlap`, `most`.

    Args:
        detector: What to write.
        file: Where to write; must not exist.
        detecting: For the metadata.

    Returns:
        largest_difference: To the Keras model, in scores and in boxes / size. spread: Standard deviation of a number
        over the test pictures, the largest. images: How many were compared. bytes: Size.

    Raises:
        ExportFault: The extra is not installed, the file is there already, it is a classifier's windows, or it answers
            differently.
    """
    check_absent(file)
    onnx, onnxruntime, tf2onnx = onnx_packages()
    network, spec = _network(detector, None)
    about = vars(detecting or Detecting())
    about = {"classes": json.dumps(detector.class_names), "image_size": str(detector.size)} | {
        name: str(about[name]) for name in ("threshold", "overlap", "most")
    }

    def write(target: Path) -> None:
        graph, _ = tf2onnx.convert.from_function(network, input_signature=[spec], opset=18)
        onnx.helper.set_model_props(graph, about)
        onnx.save(graph, str(target))

    def answer(target: Path, images: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        return _joined(detector, *session.run(["boxes", "scores"], {session.get_inputs()[0].name: images}))

    return convert(file, "ONNX", write, answer, *_answered(detector, network), TOLERANCE)


def detector_to_litert(
    detector: AnyDetector, file: Path, detecting: Detecting | None = None
) -> dict[str, Any]:
    """Write a detector as LiteRT for one picture at a time, and its class names beside it in NAME.labels.txt.

    Args, Returns, Raises: As `detector_to_onnx`, without metadata (`detecting` is not used); `labels` is the second
    file.
    """
    del detecting
    labels = file.with_suffix(".labels.txt")
    check_absent(labels)
    check_absent(file)
    network, _ = _network(detector, 1)

    def write(target: Path) -> None:
        # By way of a SavedModel: converted directly, its variables are left without a value.
        module = tf.Module()
        module.weights = [weight.value for weight in detector.weights]
        with tempfile.TemporaryDirectory() as place:
            tf.saved_model.save(module, place, signatures=network)
            target.write_bytes(tf.lite.TFLiteConverter.from_saved_model(place).convert())

    def answer(target: Path, images: np.ndarray) -> np.ndarray:
        return _litert_answer(detector, target, images)

    checked = convert(file, "LiteRT", write, answer, *_answered(detector, network), TOLERANCE)
    write_labels(labels, detector.class_names)
    return {**checked, "labels": str(labels)}


def _network(detector: AnyDetector, batch: int | None) -> tuple[Any, tf.TensorSpec]:
    """Pixels -> boxes and scores, as a graph, and what it takes.

    Raises:
        ExportFault: It moves a classifier over the picture, for which neither runtime has the operations.
    """
    if detector.kind == "window":
        raise ExportFault(
            "A classifier that is moved over pictures cannot be written as ONNX or LiteRT: resizing by area and "
            "windows of any number have no operation there.",
            "Serve the SavedModel in the run's folder, or export the classifier's own run.",
        )
    spec = tf.TensorSpec([batch, detector.size, detector.size, 3], tf.uint8, name="images")

    def outputs(images: tf.Tensor) -> dict[str, tf.Tensor]:
        boxes, scores = detector.decode(detector(images, training=False))
        return {"boxes": boxes, "scores": scores}

    return tf.function(outputs, input_signature=[spec], autograph=False), spec


def _answered(detector: AnyDetector, network: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Test pictures and what the Keras model says of each."""
    images = test_pictures(detector.size)
    answers = [network(tf.constant(image[None])) for image in images]
    boxes, scores = (np.concatenate([one[name].numpy() for one in answers]) for name in ("boxes", "scores"))
    return images, _joined(detector, boxes, scores)


def _joined(detector: AnyDetector, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """One array to compare: float [n, a, 4 + k], boxes as shares of the square."""
    return np.concatenate([boxes / detector.size, scores], axis=-1)


def _litert_answer(detector: AnyDetector, target: Path, images: np.ndarray) -> np.ndarray:
    """By name: LiteRT numbers outputs in an order of its own."""
    ask = litert_interpreter(target).get_signature_runner()
    rows = [ask(images=image[None]) for image in images]
    return _joined(detector, *(np.concatenate([row[name] for row in rows]) for name in ("boxes", "scores")))
