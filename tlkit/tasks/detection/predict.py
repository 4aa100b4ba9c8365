"""From a detector's raw output to detections: the best boxes, duplicates dropped, in the pixels of the file.

All of it is one graph, which the exported model takes over. Duplicates are dropped within a class, so that a knife
on a gun stays; KerasCV drops across classes. Only the boxes with the highest scores are compared with one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.affine import real_boxes
from tlkit.data.boxes.batches import (
    Letterboxed,
    padded,
    placement,
    plain_box_batches,
    proposals_to_network,
    read_letterboxed,
    to_original,
)
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.masks.pasting import pasted_masks
from tlkit.data.boxes.proposals import proposals_of_contents, with_proposals
from tlkit.data.images.decoding.decode import read_contents
from tlkit.data.images.inspection import inspect_file
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.detection.build import Detector
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.settings import Detecting


class Detected(NamedTuple):
    """Detections of a batch, the highest scores first, padded to the same number.

    Attributes:
        boxes: float32 [b, most, 4]; 0 beyond the count.
        scores: float32 [b, most], 0..1; 0 beyond the count.
        labels: int32 [b, most]; -1 beyond the count.
        count: int32 [b].
        masks: float32 [b, most, side, side], probabilities over the boxes; None of a detector without masks.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    labels: tf.Tensor
    count: tf.Tensor
    masks: tf.Tensor | None = None

    @property
    def parts(self) -> tuple[tf.Tensor, ...]:
        """What there is, one after the other."""
        return self if self.masks is not None else self[:4]


def select(xyxy: tf.Tensor, scores: tf.Tensor, detecting: Detecting) -> Detected:
    """Choose among boxes float32 [b, a, 4] with scores [b, a, k]; see `Detecting`."""
    known = xyxy.shape[1]
    candidates = (
        tf.minimum(detecting.candidates, tf.shape(xyxy)[1])
        if known is None
        else min(detecting.candidates, known)
    )
    best = tf.math.top_k(tf.reduce_max(scores, -1), candidates, sorted=True).indices
    xyxy, scores = (tf.gather(values, best, batch_dims=1) for values in (xyxy, scores))
    # it wants top, left, bottom, right, but an IoU is the same with x and y exchanged
    boxes, kept, labels, count = tf.image.combined_non_max_suppression(
        xyxy[:, :, None],
        scores,
        max_output_size_per_class=detecting.most,
        max_total_size=detecting.most,
        iou_threshold=detecting.overlap,
        score_threshold=detecting.threshold,
        clip_boxes=False,
    )
    real = tf.range(detecting.most)[None] < count[:, None]
    return Detected(boxes, kept, tf.where(real, tf.cast(labels, tf.int32), -1), count)


def check_detecting(detecting: Detecting) -> None:
    """Raise where values cannot be.

    Raises:
        UsageFault: A share is not between 0 and 1, or a number is below 1.
    """
    for name in ("threshold", "overlap"):
        value = getattr(detecting, name)
        if not 0 <= value <= 1:
            raise UsageFault(f"--{name} {value:g} is no share.", "Give a number from 0 to 1.")
    if min(detecting.most, detecting.candidates) < 1:
        raise UsageFault(f"--max-detections {detecting.most} leaves no detection.", "Give 1 or more.")


class Finder:
    """A detector that is asked for detections.

    Args:
        detector: Its weights are used as they are at each call.
        detecting: What counts as a detection.
    """

    def __init__(self, detector: Detector, detecting: Detecting | None = None) -> None:
        self.detector, self.detecting = detector, detecting or Detecting()
        check_detecting(self.detecting)
        size, self.most_proposals = detector.size, proposals_taken(detector)
        spec: Any = tf.TensorSpec([None, size, size, 3], tf.uint8)
        if self.most_proposals:
            spec = {"images": spec, "proposals": tf.TensorSpec([None, None, 4], tf.float32)}
        self.detect = tf.function(self._detect, input_signature=[spec], autograph=False)
        strings = tf.TensorSpec([None], tf.string)
        self.read = tf.function(lambda contents: read_many(contents, size), [strings], autograph=False)

    def _detect(self, x: Any) -> Detected:
        raw = self.detector(x, training=False)
        found = select(*self.detector.decode(raw), self.detecting)
        if not getattr(self.detector, "has_masks", False):
            return found
        return found._replace(masks=self.detector.masks(raw, found.boxes, found.labels))

    def given(self, read: Letterboxed, proposals: tf.Tensor | None = None) -> Any:
        """What the detector takes of images that were read, and of their proposals float32 [b, p, 4] in their pixels."""
        if proposals is None:
            return read.pixels
        lacking = tf.cast(
            tf.shape(proposals)[1] < 1, tf.int32
        )  # where no image has any, each has one that is none
        chosen = tf.pad(
            proposals[:, : self.most_proposals], [[0, 0], [0, lacking], [0, 0]], constant_values=-1.0
        )
        return {"images": read.pixels, "proposals": proposals_to_network(chosen, read)}

    def in_files(
        self, paths: Sequence[Path | str], batch: int = 8, *, skipped: list[tuple[str, str]] | None = None
    ) -> list[Detections]:
        """Detections in the pixels of each file.

        Args:
            paths: [n] files.
            batch: Images a step.
            skipped: Takes (path, reason) of each file that cannot be used, and the rest goes on.

        Raises:
            DataFault: A file cannot be used and there is no `skipped`; its message names the file.
        """
        found: list[Detections] = []
        bad: list[tuple[str, str]] = []
        for start in range(0, len(paths), batch):
            chosen = [Path(path) for path in paths[start : start + batch]]
            found += self._in_some(chosen, bad)
            if bad and skipped is None:
                raise DataFault(f"{bad[0][0]} {bad[0][1]}.", "Take it out, or save it again as PNG or JPEG.")
        if skipped is not None:
            skipped += bad
        return found

    def _in_some(self, paths: Sequence[Path], bad: list[tuple[str, str]]) -> list[Detections]:
        """One call for all; where a file breaks it, one call each, so that it can be named."""
        contents = [contents_of(path) for path in paths]
        try:
            read = self.read(tf.constant(contents, tf.string))
        except tf.errors.InvalidArgumentError:
            if len(paths) > 1:
                return [one for path in paths for one in self._in_some([path], bad)]
            bad.append((paths[0].as_posix(), inspect_file(paths[0]).error or "cannot be decoded"))
            return []
        proposals = tf.constant(padded(proposals_of_contents(contents))) if self.most_proposals else None
        detected = self.detect(self.given(read, proposals))
        boxes = to_original(detected.boxes, read.scale, read.offset, read.sides)
        names = [path.as_posix() for path in paths]
        return unpadded(names, detected._replace(boxes=boxes), read.sides.numpy())

    def in_boxes(self, boxes: Boxes, batch: int = 8) -> list[Detections]:
        """Detections in every image of a data set, in the order of its paths."""
        found: list[Detections] = []
        if not len(boxes):
            return found
        if self.most_proposals and boxes.proposals is None:
            boxes = with_proposals(boxes, self.most_proposals)
        for x, _ in plain_box_batches(boxes, self.detector.size, batch):
            found += original(boxes, len(found), self.detect(x), self.detector.size)
        return found

    def proposed(self, boxes: Boxes, batch: int = 8) -> list[np.ndarray]:
        """The regions that a first stage proposes in each image: float32 [p, 4], its pixels, the surest first."""
        size = self.detector.size
        found: list[np.ndarray] = []
        propose = tf.function(lambda x: self.detector(x, training=False)["proposals"])
        for x, _ in plain_box_batches(boxes, size, batch):
            regions = propose(x)
            chosen = range(len(found), len(found) + len(regions))
            sides = np.array([boxes.sizes[i] for i in chosen], np.float32)
            placed = to_original(regions, *placement(sides, size), sides)
            # those of zeros fill up a batch, and what lies beside a long image is no part of it
            found += [one[real].numpy() for one, real in zip(placed, real_boxes(placed), strict=True)]
        return found


def proposals_taken(detector: Any) -> int:
    """How many proposals an image a detector takes at most; 0: pixels alone."""
    return int(getattr(detector, "proposals", 0))


def original(boxes: Boxes, start: int, detected: Detected, size: int) -> list[Detections]:
    """Detections of the images from `start` on, from the network's pixels to those of the files."""
    chosen = range(start, start + len(detected.count))
    sides = np.array([boxes.sizes[i] for i in chosen], np.float32)
    placed = to_original(detected.boxes, *placement(sides, size), sides)
    return unpadded([boxes.paths[i] for i in chosen], detected._replace(boxes=placed), sides)


def unpadded(paths: Sequence[str], detected: Detected, sides: np.ndarray) -> list[Detections]:
    """Those of each image, of widths and heights float32 [b, 2]; masks are pasted into its pixels."""
    values = [np.asarray(value) for value in detected[:4]]
    found = [
        Detections(boxes[:count], scores[:count], labels[:count], path)
        for path, boxes, scores, labels, count in zip(paths, *values, strict=True)
    ]
    if detected.masks is None:
        return found
    every = zip(found, np.asarray(detected.masks), sides.tolist(), strict=True)
    return [
        one._replace(masks=pasted_masks(masks[: len(one.scores)], one.boxes, both))
        for one, masks, both in every
    ]


def read_many(contents: tf.Tensor, size: int) -> Letterboxed:
    """Strings [n], each the bytes of a file -> images in the square, stacked."""
    spec = Letterboxed(
        tf.TensorSpec([size, size, 3], tf.uint8), *(tf.TensorSpec([2], tf.float32) for _ in range(3))
    )
    return tf.map_fn(lambda one: read_letterboxed(one, size), contents, fn_output_signature=spec)


def contents_of(path: Path) -> bytes:
    """The bytes of a file; none where it cannot be read, which the decoder then refuses."""
    try:
        return read_contents(path)
    except (OSError, ValueError):
        return b""
