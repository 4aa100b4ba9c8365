"""A detector as a service: the SavedModel that takes bytes of files and answers with boxes in their pixels.

Decoding, letterboxing, network, suppression of duplicates and the way back to the file's pixels are one graph. It
needs TensorFlow to run and nothing of ours, and its weights are stored once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.data.box_batches import Letterboxed, letterbox, to_original
from tlkit.data.inspection import inspect_file
from tlkit.errors import DataFault, ExportFault, ModelFault
from tlkit.models.detections import Detected, Finder, Found, check_detecting, contents_of
from tlkit.models.detector_settings import Detecting
from tlkit.models.detectors import AnyDetector
from tlkit.results.conversion import test_pictures
from tlkit.results.serving import write_variants

TOLERANCE = 1e-3  # between the Keras model and the SavedModel, in pixels and in score
BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
PER_PICTURE = ("boxes", "scores", "labels", "count")  # what has a batch axis


class DetectorService(tf.Module):
    """The signatures of a detector over one set of weights.

    Args:
        detector: uint8 [b, s, s, 3] -> raw.
        detecting: What counts as a detection.
    """

    def __init__(self, detector: AnyDetector, detecting: Detecting | None = None) -> None:
        super().__init__()
        check_detecting(detecting or Detecting())
        self.weights = [weight.value for weight in detector.weights]  # what is stored, once
        self._names = detector.class_names
        self._size = detector.size
        finder = Finder(detector, detecting)
        self._detect, self._read = finder.detect, finder.read

    def signatures(self) -> dict[str, Any]:
        """By name, the functions that the SavedModel offers; each takes one tensor."""
        images = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
        return {
            "serving_default": tf.function(self.from_bytes, [BYTES], autograph=False),
            "instances": tf.function(self.from_instances, [BYTES], autograph=False),
            "pixels": tf.function(self.from_pixels, [images], autograph=False),
        }

    def from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [n], each the contents of a file -> the best boxes of each.

        Returns:
            boxes: float32 [n, most, 4]: left, top, right, bottom in pixels of the picture as sent, upright; 0 beyond
            the count. scores: float32 [n, most]. labels: string [n, most], "" beyond the count. count: int32 [n].
            classes: string [k], every name.
        """
        return {**self.from_instances(image_bytes), "classes": tf.constant(self._names)}

    def from_instances(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `from_bytes` without classes, which have no batch axis; for row-wise REST."""
        return self._answer(self._read(image_bytes))

    def from_pixels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """uint8 [n, h, w, 3], RGB, any size -> as `from_bytes`, in the pixels of these pictures."""
        spec = Letterboxed(
            tf.TensorSpec([self._size, self._size, 3], tf.uint8),
            *(tf.TensorSpec([2], tf.float32) for _ in range(3)),
        )
        read = tf.map_fn(lambda one: letterbox(one, self._size), images, fn_output_signature=spec)
        return {**self._answer(read), "classes": tf.constant(self._names)}

    def _answer(self, read: Letterboxed) -> dict[str, tf.Tensor]:
        found: Detected = self._detect(read.pixels)
        names = tf.gather(
            tf.constant([*self._names, ""]), found.labels % (len(self._names) + 1)
        )  # -1: the last
        real = (found.labels >= 0)[..., None]
        boxes = tf.where(real, to_original(found.boxes, read.scale, read.offset, read.sides), 0.0)
        return {"boxes": boxes, "scores": found.scores, "labels": names, "count": found.count}


def export_detector(detector: AnyDetector, folder: Path, detecting: Detecting | None = None) -> None:
    """Write a detector as a SavedModel: saved_model.pb and variables/ directly in `folder`.

    Signatures: `serving_default` (bytes of files), `instances` (the same for row-wise REST), `pixels` (uint8 of any
    size). Bytes that are no picture fail the whole call with InvalidArgumentError.

    Args:
        detector: What to write, with the weights that it has.
        folder: Made where it is missing; other files in it stay.
        detecting: Threshold, overlap and number of detections: part of the graph from now on.
    """
    service = DetectorService(detector, detecting)
    tf.saved_model.save(service, str(folder), signatures=service.signatures())


class NamedFound(NamedTuple):
    """Detections of one file, the highest score first.

    Attributes:
        path: The file, as given, with forward slashes.
        boxes: float32 [m, 4]: left, top, right, bottom in its pixels.
        scores: float32 [m], 0..1.
        labels: [m] class names.
    """

    path: str
    boxes: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]


class ServedDetector:
    """A SavedModel of `export_detector`, loaded: boxes for files.

    Attributes:
        classes: [k] class names.
    """

    def __init__(self, folder: Path) -> None:
        self._model = tf.saved_model.load(str(folder))  # the signatures live only as long as it does
        self._answer = self._model.signatures["serving_default"]
        if "boxes" not in self._answer.structured_outputs:
            raise KeyError("boxes")
        nothing = self._answer(tf.constant([], tf.string))
        self.classes = tuple(name.decode() for name in nothing["classes"].numpy())

    @classmethod
    def load(cls, folder: Path) -> ServedDetector:
        """Load the SavedModel in `folder`.

        Raises:
            ModelFault: There is none, or it is not one of a detector.
        """
        try:
            return cls(folder)
        except (OSError, KeyError) as fault:
            raise ModelFault(
                f"{folder} holds no SavedModel of a detector that can be read.",
                "Name the folder of a finished run of a detector.",
            ) from fault

    def predict_files(
        self, paths: Sequence[Path], batch: int = 8, *, skipped: list[tuple[str, str]] | None = None
    ) -> list[NamedFound]:
        """Find objects on pictures.

        Args:
            paths: [n] files; formats that TensorFlow does not know are read through Pillow.
            batch: Pictures a step.
            skipped: Takes (path, reason) of each file that cannot be used, and the rest goes on.

        Returns:
            [n] in the order of `paths`, less the skipped ones.

        Raises:
            DataFault: A file cannot be used and there is no `skipped`; its message names the file.
        """
        found: list[NamedFound] = []
        bad: list[tuple[str, str]] = []
        for start in range(0, len(paths), batch):
            found += self._predict([Path(path) for path in paths[start : start + batch]], bad)
            if bad and skipped is None:
                raise DataFault(f"{bad[0][0]} {bad[0][1]}.", "Take it out, or save it again as PNG or JPEG.")
        if skipped is not None:
            skipped += bad
        return found

    def _predict(self, paths: Sequence[Path], bad: list[tuple[str, str]]) -> list[NamedFound]:
        """One call for all; where a file breaks it, one call each, so that it can be named."""
        try:
            answer = self._answer(tf.constant([contents_of(path) for path in paths], tf.string))
        except tf.errors.InvalidArgumentError:
            if len(paths) > 1:
                return [one for path in paths for one in self._predict([path], bad)]
            bad.append((paths[0].as_posix(), inspect_file(paths[0]).error or "cannot be decoded"))
            return []
        values = [answer[name].numpy() for name in PER_PICTURE]
        return [
            NamedFound(path.as_posix(), boxes[:m], scores[:m], tuple(name.decode() for name in names[:m]))
            for path, boxes, scores, names, m in zip(paths, *values, strict=True)
        ]


# --- parity ------------------------------------------------------------------------------------------


def check_detector_parity(
    detector: AnyDetector, folder: Path, paths: Sequence[Path], detecting: Detecting | None = None
) -> dict[str, Any]:
    """Compare the Keras model with the SavedModel on disk, both starting from files.

    Args:
        detector: The model that was exported.
        folder: Where its SavedModel lies.
        paths: Pictures; the first is also tried as grey, 16-bit, RGBA, stretched and EXIF-turned file.
        detecting: As exported.

    Returns:
        largest_difference: Of all boxes (pixels) and scores; infinite where numbers or classes of detections differ.
        tolerance: What it should not exceed. detections: How many were compared; with 0 the comparison proves
        nothing. checked: Names of what was compared.
    """
    with tempfile.TemporaryDirectory() as place:
        variants = write_variants(Path(paths[0]), Path(place)) if paths else {}
        files = [Path(path) for path in paths] + list(variants.values())
        expected = Finder(detector, detecting).in_files(files)
        actual = ServedDetector.load(folder).predict_files(files)
    pairs = list(zip(expected, actual, strict=True))
    return {
        "largest_difference": max((_difference(detector, *pair) for pair in pairs), default=0.0),
        "tolerance": TOLERANCE,
        "detections": sum(len(one.scores) for one in expected),
        "checked": [Path(path).as_posix() for path in paths] + list(variants),
    }


def _difference(detector: AnyDetector, expected: Found, actual: NamedFound) -> float:
    names = tuple(detector.class_names[label] for label in expected.labels)
    if names != actual.labels:
        return float("inf")
    pairs = ((expected.boxes, actual.boxes), (expected.scores, actual.scores))
    return max((float(np.abs(one - other).max()) for one, other in pairs if one.size), default=0.0)


# --- ONNX -------------------------------------------------------------------------------------------


def detector_to_onnx(detector: AnyDetector, file: Path, detecting: Detecting | None = None) -> dict[str, Any]:
    """Write a detector as ONNX; any batch size.

    It takes `images`, uint8 [n, s, s, 3] in the network's square (letterboxing stays with the caller), and gives
    `boxes` float32 [n, a, 4] in pixels of that square and `scores` float32 [n, a, k], before duplicates are
    dropped: runtimes differ in how they do that. Metadata: `classes` (a JSON list), `image_size`, `threshold`,
    `overlap`, `most`.

    Args:
        detector: What to write.
        file: Where to write; must not exist.
        detecting: For the metadata.

    Returns:
        largest_difference: To the Keras model, in scores and in boxes / size. images: How many were compared.
        bytes: Size.

    Raises:
        ExportFault: The extra is not installed, the file is there already, or it answers differently.
    """
    if file.exists():
        raise ExportFault(f"{file} is there already.", "Name a new file with --output.")
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ImportError as fault:
        raise ExportFault(
            f"--format onnx needs {fault.name}, which is not installed.", "pip install 'tlkit[onnx]'"
        ) from fault
    spec = tf.TensorSpec([None, detector.size, detector.size, 3], tf.uint8, name="images")
    network = tf.function(lambda images: _outputs(detector, images), input_signature=[spec], autograph=False)
    with _quiet():
        graph, _ = tf2onnx.convert.from_function(network, input_signature=[spec], opset=18)
    about = vars(detecting or Detecting())
    about = {"classes": json.dumps(detector.class_names), "image_size": str(detector.size)} | {
        name: str(about[name]) for name in ("threshold", "overlap", "most")
    }
    onnx.helper.set_model_props(graph, about)
    images = test_pictures(detector.size)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {session.get_inputs()[0].name: images})
    expected = {name: np.asarray(value) for name, value in network(tf.constant(images)).items()}
    differences = (
        np.abs(boxes - expected["boxes"]).max() / detector.size,
        np.abs(scores - expected["scores"]).max(),
    )
    if not max(differences) <= TOLERANCE:  # NaN is not
        raise ExportFault(
            f"The ONNX model differs from the Keras model by {max(differences):.2g}, more than {TOLERANCE:g}.",
            "It was not kept. Serve the SavedModel in the run's folder.",
        )
    onnx.save(graph, str(file))
    return {
        "largest_difference": float(max(differences)),
        "images": len(images),
        "bytes": file.stat().st_size,
    }


def _outputs(detector: AnyDetector, images: tf.Tensor) -> dict[str, tf.Tensor]:
    boxes, scores = detector.decode(detector(images, training=False))
    return {"boxes": boxes, "scores": scores}


@contextlib.contextmanager
def _quiet():
    """The converter's own warnings and log lines say nothing that a user can act on."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
