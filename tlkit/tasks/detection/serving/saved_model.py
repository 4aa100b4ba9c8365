"""A detector as a service: the SavedModel that takes bytes of files and answers with boxes in their pixels.

Decoding, letterboxing, network, suppression of duplicates and the way back to the file's pixels are one graph. It
needs TensorFlow to run and nothing of ours, and its weights are stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tlkit.data.boxes.batches import Letterboxed, letterbox, padded, to_original
from tlkit.data.boxes.masks.pasting import pasted
from tlkit.data.boxes.masks.rle import Mask, encode, mask_iou
from tlkit.data.boxes.proposals import check_installed, proposals_of_contents
from tlkit.engine.serving.saved_model import BYTES, Loaded, Service, in_all_forms
from tlkit.engine.serving.signatures import CLASSES, classes_signature, unless_empty
from tlkit.tasks.detection.build import Detector
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.predict import Detected, Finder, check_detecting
from tlkit.tasks.detection.settings import Detecting

LEAST_ALIKE = 0.99  # IoU of a mask of the Keras model and of the SavedModel: a pixel may lie on 0.5
TOLERANCE = 1e-3  # between the Keras model and the SavedModel, in pixels and in score
PROPOSALS = tf.TensorSpec([None, None, 4], tf.float32, name="proposals")
PER_IMAGE = ("boxes", "scores", "labels", "count")  # what has a batch axis
MASKS, PROBABILITIES = "masks", "mask_probabilities"


class DetectorService(Service):
    """The signatures of a detector over one set of weights.

    Args:
        detector: uint8 [b, s, s, 3], and proposals of one that takes them -> raw.
        detecting: What counts as a detection.
    """

    def __init__(self, detector: Detector, detecting: Detecting | None = None) -> None:
        super().__init__(detector, detector.class_names)
        check_detecting(detecting or Detecting())
        self._size = detector.size
        finder = Finder(detector, detecting)
        self._detect, self._read, self._given = finder.detect, finder.read, finder.given
        self._takes = (PROPOSALS,) if finder.most_proposals else ()  # beside images
        self._detected = finder.detect.get_concrete_function().structured_outputs

    def signatures(self) -> dict[str, Any]:
        """As of every service; those of a detector that takes proposals take them beside the images."""
        if self._detected.masks is not None:
            return super().signatures() | {
                PROBABILITIES: tf.function(self.with_probabilities, [BYTES], autograph=False)
            }
        if not self._takes:
            return super().signatures()
        images = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
        taking = {
            "serving_default": (self.from_bytes, BYTES),
            "instances": (self.from_instances, BYTES),
            "pixels": (self.from_pixels, images),
        }
        return {CLASSES: classes_signature(self._names)} | {
            name: tf.function(method, [spec, PROPOSALS], autograph=False)
            for name, (method, spec) in taking.items()
        }

    def from_bytes(self, image_bytes: tf.Tensor, proposals: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """As `from_instances`, and classes string [k]."""
        return self._with_classes(self.from_instances(image_bytes, proposals))

    def from_instances(
        self, image_bytes: tf.Tensor, proposals: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """String [n], each the contents of a file -> the best boxes of each.

        Args:
            image_bytes: String [n].
            proposals: Of a detector that takes them: float32 [n, p, 4], left, top, right, bottom in pixels of the image
                as sent, upright; -1 fills up; p may be 0. Those beyond `Detector.proposals` are left out.

        Returns:
            boxes: float32 [n, most, 4]: left, top, right, bottom in pixels of the image as sent, upright; 0 beyond
            the count. scores: float32 [n, most]. labels: string [n, most], "" beyond the count. count: int32 [n].
            masks: string [n, most] of a detector that finds them: each a PNG as large as its image, upright, 255 where
            the object is and 0 elsewhere; "" beyond the count.
        """
        return self._answer(self._read(image_bytes), proposals)

    def with_probabilities(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `from_instances`, but for the masks: mask_probabilities float32 [n, most, 28, 28] over each box, 0..1."""
        read = self._read(image_bytes)
        found = self._found(read, None)
        real = (found.labels >= 0)[..., None, None]
        return {**self._boxes_of(found, read), PROBABILITIES: tf.where(real, found.masks, 0.0)}

    def from_pixels(self, images: tf.Tensor, proposals: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """uint8 [n, h, w, 3], RGB, any size -> as `from_bytes`, in the pixels of these images."""
        spec = Letterboxed(
            tf.TensorSpec([self._size, self._size, 3], tf.uint8),
            *(tf.TensorSpec([2], tf.float32) for _ in range(3)),
        )
        read = tf.map_fn(lambda one: letterbox(one, self._size), images, fn_output_signature=spec)
        return self._with_classes(self._answer(read, proposals))

    def _answer(self, read: Letterboxed, proposals: tf.Tensor | None) -> dict[str, tf.Tensor]:
        found = self._found(read, proposals)
        answer = self._boxes_of(found, read)
        if found.masks is None:
            return answer
        given = (answer["boxes"], found.masks, found.count, read.sides)
        drawn = tf.map_fn(lambda one: _drawn(*one), given, fn_output_signature=tf.string)
        return {**answer, MASKS: tf.ensure_shape(drawn, found.labels.shape)}

    def _found(self, read: Letterboxed, proposals: tf.Tensor | None) -> Detected:
        found = unless_empty(
            read.pixels, lambda: self._detect(self._given(read, proposals)).parts, self._detected.parts
        )
        return Detected(*found)

    def _boxes_of(self, found: Detected, read: Letterboxed) -> dict[str, tf.Tensor]:
        names = tf.gather(
            tf.constant([*self._names, ""]), found.labels % (len(self._names) + 1)
        )  # -1: the last
        real = (found.labels >= 0)[..., None]
        boxes = tf.where(real, to_original(found.boxes, read.scale, read.offset, read.sides), 0.0)
        return {"boxes": boxes, "scores": found.scores, "labels": names, "count": found.count}


def _drawn(xyxy: tf.Tensor, probabilities: tf.Tensor, count: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """String [most]: a PNG of each mask of an image, "" from the count on; one after the other, for memory's sake."""
    width, height = tf.unstack(tf.cast(sides + 0.5, tf.int32))

    def png(one: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        mask = pasted(one[1][None], one[0][None], height, width)[0]
        return tf.io.encode_png(tf.cast(mask, tf.uint8)[..., None] * 255)

    drawn = tf.map_fn(png, (xyxy[:count], probabilities[:count]), fn_output_signature=tf.string)
    every = tf.concat([drawn, tf.fill([xyxy.shape[0] - count], "")], 0)
    return tf.ensure_shape(every, xyxy.shape[:1])


def export_detector(detector: Detector, folder: Path, detecting: Detecting | None = None) -> None:
    """Write a detector as a SavedModel: saved_model.pb and variables/ directly in `folder`.

    Signatures: `serving_default` (bytes of files), `instances` (the same for row-wise REST), `pixels` (uint8 of any
    size), `classes` (nothing -> names). The first three of a detector that takes proposals take these too; a detector
    that finds masks answers them with masks, and has `mask_probabilities` (bytes of files) beside them. Bytes that are
    no image fail the whole call with InvalidArgumentError; no files at all give arrays of no rows.

    Args:
        detector: What to write, with the weights that it has.
        folder: Made where it is missing; other files in it stay.
        detecting: Threshold, overlap and number of detections: part of the graph from now on.
    """
    DetectorService(detector, detecting).save(folder)


class ServedDetector(Loaded[Detections]):
    """A SavedModel of `export_detector`, loaded: boxes for files."""

    what = "SavedModel of a detector"
    output = "boxes"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if self._takes_proposals:
            check_installed()

    @property
    def _takes_proposals(self) -> bool:
        return PROPOSALS.name in self._answer.structured_input_signature[1]

    def _asked(self, contents: Sequence[bytes]) -> dict[str, tf.Tensor]:
        if not self._takes_proposals:
            return super()._asked(contents)
        proposals = tf.constant(padded(proposals_of_contents(contents)))
        answer: dict[str, tf.Tensor] = self._answer(
            image_bytes=tf.constant(contents, tf.string), proposals=proposals
        )
        return answer

    def _told(self, paths: Sequence[str], answer: dict[str, np.ndarray]) -> list[Detections]:
        values, every = [answer[name] for name in PER_IMAGE], answer.get(MASKS)
        found = (len(paths), values[1].shape[-1])  # files, detections of each at most
        if [value.shape for value in values] != [(*found, 4), found, found, found[:1]]:
            raise ValueError(f"{', '.join(PER_IMAGE)} are {[list(value.shape) for value in values]}")
        label_of = {name.encode(): label for label, name in enumerate(self.classes)}
        found_in = [
            Detections(boxes[:m], scores[:m], np.array([label_of[n] for n in names[:m]], np.int32), path)
            for path, boxes, scores, names, m in zip(paths, *values, strict=True)
        ]
        if every is None:
            return found_in
        if every.shape != found:
            raise ValueError(f"{MASKS} are {list(every.shape)}")
        return [
            one._replace(masks=tuple(_mask_of(png) for png in some[: len(one.scores)]))
            for one, some in zip(found_in, every, strict=True)
        ]


def _mask_of(png: bytes) -> Mask:
    with Image.open(BytesIO(png)) as image:
        return encode(np.asarray(image) > 0)


# --- parity ------------------------------------------------------------------------------------------


def check_detector_parity(
    detector: Detector, folder: Path, paths: Sequence[Path], detecting: Detecting | None = None
) -> dict[str, Any]:
    """Compare the Keras model with the SavedModel on disk, both starting from files.

    Args:
        detector: The model that was exported.
        folder: Where its SavedModel lies.
        paths: Images; the first is also tried as grey, 16-bit, RGBA, stretched and EXIF-turned file.
        detecting: As exported.

    Returns:
        largest_difference: Of all boxes (pixels) and scores; infinite where numbers or classes of detections differ.
        tolerance: What it should not exceed. detections: How many were compared; with 0 the comparison proves
        nothing. checked: Names of what was compared.
    """
    with in_all_forms(paths) as (files, names):
        expected = Finder(detector, detecting).in_files(files)
        served = ServedDetector.load(folder)
        actual = served.predict_files(files)
    pairs = list(zip(expected, actual, strict=True))
    alike = tuple(served.classes) == tuple(detector.class_names)
    return {
        "largest_difference": max((_difference(*pair) for pair in pairs), default=0.0)
        if alike
        else float("inf"),
        "tolerance": TOLERANCE,
        "detections": sum(len(one.scores) for one in expected),
        "checked": names,
    }


def _difference(expected: Detections, actual: Detections) -> float:
    if expected.labels.tolist() != actual.labels.tolist():
        return float("inf")
    pairs = ((expected.boxes, actual.boxes), (expected.scores, actual.scores))
    found = max((float(np.abs(one - other).max()) for one, other in pairs if one.size), default=0.0)
    if (expected.masks is None) != (actual.masks is None):
        return float("inf")
    masks = zip(expected.masks or (), actual.masks or (), strict=True)
    if not all(mask_iou(one, other) >= LEAST_ALIKE for one, other in masks):
        return float("inf")
    return found
