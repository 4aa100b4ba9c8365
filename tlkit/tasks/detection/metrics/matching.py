"""Which detection found which object: all images at once, by the rule of Pascal VOC.

A detection belongs to the object of its class that it overlaps most; the best detection of an object is a hit, the
others are false alarms. Those on difficult objects do not count, by VOC's rule, nor do those that hit nothing and lie
inside a crowd of their class, by COCO's: there it is the detection's own area that they share.
Source: Everingham et al., The Pascal visual object classes (VOC) challenge (2010), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tlkit.data.boxes.dataset import Boxes, paired_inside, paired_iou
from tlkit.tasks.detection.detections import Detections

_AT_ONCE = 1_000_000  # pairs held at a time
_NONE = (np.zeros(0), np.zeros(0), np.zeros(0))


class Ranked(NamedTuple):
    """All detections of a set of images, the surest first, and the objects that they could find.

    Attributes:
        scores: float64 `[d]`, falling; detections on difficult objects and in crowds are left out.
        hits: bool `[d]`: it found an object.
        labels: int `[d]`.
        images: int `[d]`, index of the image.
        found_at: float64 `[g]`: score of the hit of each object, -inf where there is none.
        object_labels: int `[g]`; difficult objects and crowds are left out.
        object_images: int `[g]`.
        objects: int `[g, 2]`: image, and place among its boxes.
        image_count: Images, with or without objects.
    """

    scores: np.ndarray
    hits: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    found_at: np.ndarray
    object_labels: np.ndarray
    object_images: np.ndarray
    objects: np.ndarray
    image_count: int

    def of(self, label: int) -> Ranked:
        """The same for one class alone."""
        rows, objects = self.labels == label, self.object_labels == label
        return Ranked(
            scores=self.scores[rows],
            hits=self.hits[rows],
            labels=self.labels[rows],
            images=self.images[rows],
            found_at=self.found_at[objects],
            object_labels=self.object_labels[objects],
            object_images=self.object_images[objects],
            objects=self.objects[objects],
            image_count=self.image_count,
        )


class Pairs(NamedTuple):
    """Detections and objects of the same image that overlap enough, numbered through all images.

    Attributes:
        rows: int `[p]`, the detection, ascending.
        columns: int `[p]`, the object, ascending for each detection.
        overlap: float64 `[p]`, intersection over union; with a crowd the share of the detection inside it.
        row_images: int `[d]`, the image of each detection.
        column_images: int `[g]`, the image of each object.
    """

    rows: np.ndarray
    columns: np.ndarray
    overlap: np.ndarray
    row_images: np.ndarray
    column_images: np.ndarray


def pairs(truth: Boxes, found: Sequence[Detections], iou_threshold: float) -> Pairs:
    """All pairs with an overlap of at least `iou_threshold`, of any classes.

    One array for many images is several times quicker than arrays for each, for most images have few boxes.
    """
    row_counts = np.array([len(one.boxes) for one in found], np.int64)
    column_counts = np.array([len(boxes) for boxes in truth.xyxy], np.int64)
    column_starts = np.cumsum(column_counts) - column_counts
    detected, objects = joined([one.boxes for one in found], (0, 4)), joined(truth.xyxy, (0, 4))
    crowd = joined(truth.crowd, (0,)).astype(bool)
    row_images = np.repeat(np.arange(len(truth)), row_counts)
    kept = []
    repeats = column_counts[row_images]  # pairs of each detection
    blocks = np.searchsorted(np.cumsum(repeats), np.arange(0, repeats.sum(), _AT_ONCE), side="right")
    for start, end in pairwise([*blocks.tolist(), len(repeats)]):
        rows = np.repeat(np.arange(start, end), repeats[start:end])
        inside = np.arange(len(rows)) - np.repeat(
            np.cumsum(repeats[start:end]) - repeats[start:end], repeats[start:end]
        )
        columns = column_starts[row_images[rows]] + inside
        overlap = paired_iou(detected[rows], objects[columns])
        many = crowd[columns]
        overlap[many] = paired_inside(detected[rows[many]], objects[columns[many]])
        near = overlap >= iou_threshold
        kept.append((rows[near], columns[near], overlap[near]))
    rows, columns, overlap = (joined(values, (0,)) for values in zip(*kept, strict=True)) if kept else _NONE
    column_images = np.repeat(np.arange(len(truth)), column_counts)
    return Pairs(rows.astype(np.int64), columns.astype(np.int64), overlap, row_images, column_images)


class Matches(NamedTuple):
    """What every detection is and when every object is found, numbered through all images.

    Attributes:
        hits: bool `[d]`.
        ignored: bool `[d]`: on a difficult object, or no hit and in a crowd. What is neither is a false alarm.
        found_at: float64 `[g]`, score of the object's hit or -inf.
    """

    hits: np.ndarray
    ignored: np.ndarray
    found_at: np.ndarray


def matches(truth: Boxes, found: Sequence[Detections], near: Pairs) -> Matches:
    """Match detections and objects of the same class.

    Args:
        truth: The objects.
        found: The detections.
        near: Their `pairs`.
    """
    scores = all_scores(found).astype(np.float64)
    labels, object_labels = all_labels(found), joined(truth.labels, (0,))
    hits, ignored = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    found_at = np.full(len(object_labels), -np.inf)
    same = labels[near.rows] == object_labels[near.columns]
    many = joined(truth.crowd, (0,)).astype(bool)[near.columns]
    rows, columns, overlap = (of[same & ~many] for of in (near.rows, near.columns, near.overlap))
    order = np.lexsort((columns, -overlap, rows))
    rows, first = np.unique(rows[order], return_index=True)
    best = columns[order][first]  # of each of these detections
    ignored[rows] = joined(truth.difficult, (0,)).astype(bool)[best]
    rows, best = rows[~ignored[rows]], best[~ignored[rows]]
    order = np.argsort(-scores[rows], kind="stable")
    objects, first = np.unique(best[order], return_index=True)
    hits[rows[order][first]] = True
    found_at[objects] = scores[rows[order][first]]
    ignored[near.rows[same & many]] = True
    ignored &= ~hits
    return Matches(hits, ignored, found_at)


def ranked(truth: Boxes, found: Sequence[Detections], iou_threshold: float = 0.5) -> Ranked:
    """Match detections and objects of the same class, and rank what counts.

    Args:
        truth: The objects.
        found: The detections, of as many images.
        iou_threshold: Least overlap of a hit, reached or exceeded.
    """
    near = pairs(truth, found, iou_threshold)
    matched = matches(truth, found, near)
    scores = all_scores(found).astype(np.float64)
    counts = np.flatnonzero(~matched.ignored)
    order = counts[np.argsort(-scores[counts], kind="stable")]
    wanted = ~joined(truth.ignored, (0,)).astype(bool)
    places = [np.arange(len(labels)) for labels in truth.labels]
    images = near.column_images[wanted]
    return Ranked(
        scores[order],
        matched.hits[order],
        all_labels(found)[order],
        near.row_images[order],
        matched.found_at[wanted],
        joined(truth.labels, (0,)).astype(np.int64)[wanted],
        images,
        np.stack([images, joined(places, (0,)).astype(np.int64)[wanted]], axis=1),
        len(truth),
    )


def match_image(
    truth: Boxes, found: Sequence[Detections], index: int, iou_threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each detection of an image is.

    Args:
        truth: The objects.
        found: The detections.
        index: Which image.
        iou_threshold: Least overlap of a hit.

    Returns:
        bool `[m]` of hits, bool `[m]` of detections that do not count (see `Matches`), and float64 `[g]`, the score of
        each object's hit or -inf. A detection that is neither is a false alarm.
    """
    one, its = truth.take([index]), [found[index]]
    found_in = matches(one, its, pairs(one, its, iou_threshold))
    return found_in.hits, found_in.ignored, found_in.found_at


def joined(values: Sequence[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    """One array of several, of the shape `empty` if there are none."""
    return np.concatenate(values) if len(values) else np.zeros(empty)


def all_scores(found: Sequence[Detections]) -> np.ndarray:
    """Scores of all images, one after another, float `[d]`."""
    return joined([one.scores for one in found], (0,))


def all_labels(found: Sequence[Detections]) -> np.ndarray:
    """Labels of all images, one after another, int64 `[d]`."""
    return joined([one.labels for one in found], (0,)).astype(np.int64)


def confusion_with_background(
    truth: Boxes, found: Sequence[Detections], score_threshold: float, iou_threshold: float = 0.5
) -> np.ndarray:
    """Which class is taken for which, and what for background.

    Pairs of any classes are taken in the order of their overlap, each box once; equal overlaps by score.
    Difficult objects and crowds, and detections on them, do not count.

    Args:
        truth: The objects.
        found: The detections.
        score_threshold: Detections below it are left out.
        iou_threshold: Least overlap of a pair.

    Returns:
        int64 `[k + 1, k + 1]`: rows true, columns predicted, the last of each is background: a missed object stands
        in the last column, a false alarm in the last row.
    """
    classes = len(truth.class_names)
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    kept = [one.above(score_threshold) for one in found]
    near = pairs(truth, kept, iou_threshold)
    scores, labels = all_scores(kept), all_labels(kept)
    objects = joined(truth.labels, (0,)).astype(np.int64)
    wanted = ~joined(truth.ignored, (0,)).astype(bool)
    free, missed = np.ones(len(labels), bool), wanted.copy()
    order = np.lexsort((-scores[near.rows], -near.overlap))
    for row, column in zip(near.rows[order].tolist(), near.columns[order].tolist(), strict=True):
        if free[row] and missed[column]:
            free[row] = missed[column] = False
            matrix[objects[column], labels[row]] += 1
    free[near.rows[~wanted[near.columns]]] = False  # those on difficult objects and in crowds
    matrix[:, classes] += np.bincount(objects[missed], minlength=classes + 1)
    matrix[classes] += np.bincount(labels[free], minlength=classes + 1)
    return matrix
