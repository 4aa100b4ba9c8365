"""A detector for other runtimes: ONNX and LiteRT, checked against the Keras model before it is kept.

Both take uint8 RGB pixels in the network's square, into which the caller letterboxes: the longer side becomes the
square's, the image lies in the middle, grey 114 around it. They give `boxes` float32 [n, a, 4] in pixels of that
square and `scores` float32 [n, a, k], before duplicates are dropped: runtimes differ in how they do that. ONNX can have
this inside too (see `onnx_nms`). The SavedModel of the run has all of it inside.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.affine import GREY
from tlkit.engine.serving.convert import (
    check_absent,
    convert,
    litert_interpreter,
    onnx_packages,
    test_images,
    write_labels,
)
from tlkit.errors import ExportFault
from tlkit.tasks.detection.build import Detector
from tlkit.tasks.detection.predict import Detected, proposals_taken, select
from tlkit.tasks.detection.serving.onnx_nms import OUTPUTS, add_nms
from tlkit.tasks.detection.settings import Detecting
from tlkit.tasks.detection.sliding_window.detector import WindowDetector
from tlkit.tasks.detection.sliding_window.pooled import PooledDetector

TOLERANCE = 1e-3  # largest difference allowed to the Keras model, in scores and in boxes / size


LETTERBOX = (
    "RGB; sides times image_size / longer side, rounded; by areas to shrink, bilinear to grow; "
    f"offset (image_size - side) // 2; grey {GREY} around"
)


def detector_to_onnx(
    detector: Detector, file: Path, detecting: Detecting | None = None, *, nms: bool = False
) -> dict[str, Any]:
    """Write a detector as ONNX; any batch size.

    Metadata: `classes` (a JSON list), `image_size`, `letterbox` (how an image becomes the square), `box` (what its
    four numbers are), `nms` ("inside" or "outside"), `threshold`, `overlap`, `most`, `candidates`.

    Args:
        detector: What to write.
        file: Where to write; must not exist.
        detecting: For the metadata, and for the suppression of duplicates.
        nms: Drop duplicates inside: outputs as `onnx_nms.add_nms` says.

    Returns:
        largest_difference: To the Keras model, in scores and in boxes / size. spread: Standard deviation of a number
        over the test images, the largest. images: How many were compared. bytes: Size.

    Raises:
        ExportFault: The extra is not installed, the file is there already, it is a classifier's windows or takes
            proposals, or it answers differently.
    """
    check_absent(file)
    onnx, onnxruntime, tf2onnx = onnx_packages()
    network, spec = _network(detector, None)
    how = detecting or Detecting()
    about = _about(detector, how, nms)

    def write(target: Path) -> None:
        graph, _ = tf2onnx.convert.from_function(network, input_signature=[spec], opset=18)
        if nms:
            onnx.save(graph, str(_raw(target)))
            anchors = int(network(tf.zeros([1, detector.size, detector.size, 3], tf.uint8))["boxes"].shape[1])
            graph = add_nms(graph, detector.size, len(detector.class_names), anchors, how)
        onnx.helper.set_model_props(graph, about)
        onnx.save(graph, str(target))

    def answer(target: Path, images: np.ndarray) -> np.ndarray:
        def ask(file: Path, names: Sequence[str]) -> list[np.ndarray]:
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            return session.run(list(names), {session.get_inputs()[0].name: images})

        boxes, scores = ask(_raw(target) if nms else target, ("boxes", "scores"))
        if nms:
            _check_nms(
                select(tf.constant(boxes), tf.constant(scores), how), ask(target, OUTPUTS), detector.size
            )
        return _joined(detector, boxes, scores)

    return convert(file, "ONNX", write, answer, *_answered(detector, network), TOLERANCE)


def _raw(target: Path) -> Path:
    """Where the graph lies, while it is checked, that drops no duplicates."""
    return target.with_suffix(".raw.onnx")


def _about(detector: Detector, how: Detecting, nms: bool) -> dict[str, str]:
    return {
        "classes": json.dumps(detector.class_names, ensure_ascii=False),
        "image_size": str(detector.size),
        "letterbox": LETTERBOX,
        "box": "left, top, right, bottom in pixels of the square, right and bottom exclusive",
        "nms": "inside" if nms else "outside",
        **{name: str(getattr(how, name)) for name in ("threshold", "overlap", "most", "candidates")},
    }


def _check_nms(expected: Detected, actual: list[np.ndarray], size: int) -> None:
    """Compare the detections of a graph with those of TensorFlow from the same boxes and scores.

    Raises:
        ExportFault: They differ.
    """
    boxes, scores, labels, count = actual
    own = np.clip(expected.boxes.numpy(), 0, size)
    for i, number in enumerate(expected.count.numpy().tolist()):
        rows = [
            np.column_stack([np.round(s[i], 5), k[i], b[i]])[:number]
            for s, k, b in (
                (expected.scores.numpy(), expected.labels.numpy(), own),
                (scores, labels, boxes),
            )
        ]
        one, other = (some[np.lexsort(some.T[::-1])] for some in rows)
        if count[i] != number or (number and np.abs(one - other).max() > TOLERANCE * size):
            raise ExportFault("Its suppression of duplicates differs from TensorFlow's.", "Leave --nms out.")


def detector_to_litert(detector: Detector, file: Path, detecting: Detecting | None = None) -> dict[str, Any]:
    """Write a detector as LiteRT for one image at a time, and its class names beside it in NAME.labels.txt.

    Args, Returns, Raises: As `detector_to_onnx`, without metadata (`detecting` is not used); `labels` is the second
    file. A detector of which LiteRT lacks operations is refused too.
    """
    del detecting
    labels = file.with_suffix(".labels.txt")
    check_absent(labels)
    check_absent(file)
    network, _ = _network(detector, 1)
    if detector.no_litert:
        raise ExportFault(
            f"A {detector.kind} cannot be written as LiteRT, which has no operation for {detector.no_litert}.",
            "Serve the SavedModel in the run's folder, or export with --format onnx.",
        )

    def write(target: Path) -> None:
        # By way of a SavedModel: converted directly, its variables are left without a value.
        module = tf.Module()
        module.weights = [weight.value for weight in detector.weights]
        with tempfile.TemporaryDirectory() as place:
            tf.saved_model.save(module, place, signatures=network)
            target.write_bytes(tf.lite.TFLiteConverter.from_saved_model(place).convert())

    def answer(target: Path, images: np.ndarray) -> np.ndarray:
        ask = litert_interpreter(target).get_signature_runner()
        rows = [ask(images=image[None]) for image in images]
        # by name: LiteRT numbers outputs in an order of its own
        boxes, scores = (np.concatenate([row[name] for row in rows]) for name in ("boxes", "scores"))
        return _joined(detector, boxes, scores)

    checked = convert(file, "LiteRT", write, answer, *_answered(detector, network), TOLERANCE)
    write_labels(labels, detector.class_names)
    return {**checked, "labels": str(labels)}


def _network(detector: Detector, batch: int | None) -> tuple[Any, tf.TensorSpec]:
    """Pixels -> boxes and scores, as a graph, and what it takes.

    Raises:
        ExportFault: It moves windows over the image, or takes proposals, for which neither runtime has the
            operations; or some of its answers would be lost.
    """
    if proposals_taken(detector):
        raise ExportFault(
            f"A {detector.kind} takes proposals beside the image and cannot be written as ONNX or LiteRT.",
            "Serve the SavedModel in the run's folder, or export a detector that needs none, such as detect-yolov3's.",
        )
    if isinstance(detector, WindowDetector):
        raise ExportFault(
            "A classifier that is moved over images cannot be written as ONNX or LiteRT: resizing by area and "
            "windows of any number have no operation there.",
            "Serve the SavedModel in the run's folder, or export the classifier's own run.",
        )
    if isinstance(detector, PooledDetector):
        raise ExportFault(
            "Windows pooled from levels of an image cannot be written as ONNX or LiteRT: resizing by area has no "
            "operation there.",
            "Serve the SavedModel in the run's folder, or export another detector, such as detect-yolov3's.",
        )
    if detector.no_onnx:
        raise ExportFault(
            f"A {detector.kind} would lose {detector.no_onnx} as ONNX or LiteRT, which get boxes and scores alone.",
            "Serve the SavedModel in the run's folder, or export a detect-faster-rcnn.",
        )
    spec = tf.TensorSpec([batch, detector.size, detector.size, 3], tf.uint8, name="images")

    def outputs(images: tf.Tensor) -> dict[str, tf.Tensor]:
        boxes, scores = detector.decode(detector(images, training=False))
        return {"boxes": boxes, "scores": scores}

    return tf.function(outputs, input_signature=[spec], autograph=False), spec


def _answered(detector: Detector, network: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Test images and what the Keras model says of each."""
    images = test_images(detector.size)
    answers = [network(tf.constant(image[None])) for image in images]
    boxes, scores = (np.concatenate([one[name].numpy() for one in answers]) for name in ("boxes", "scores"))
    return images, _joined(detector, boxes, scores)


def _joined(detector: Detector, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """One array to compare: float [n, a, 4 + k], boxes as shares of the square."""
    return np.concatenate([boxes / detector.size, scores], axis=-1)
