"""How a head of pooled windows learns: windows of drawn images, rounds of hard negatives, and box regression.

    training images, drawn by seed -> windows on objects, beside them and elsewhere -> head
    each round: head -> its false alarms on the same images, in other views, join the windows -> head, from the start

What an image teaches in a round follows from (seed, round, image) and the head of the round before, so a run that is
interrupted and begun again gives the same bits.

Sources: Sung and Poggio 1998 (bootstrapping: false alarms become negatives); Girshick 2015 (one loss of class and move).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.boxes.dataset import iou
from tlkit.errors import DataFault
from tlkit.tasks.detection.deltas import deltas_of
from tlkit.tasks.detection.losses import smooth_l1
from tlkit.tasks.detection.sliding_window.pooled import (
    PooledDetector,
    build_head,
    forget_classes,
    solved_projection,
)

POSITIVE, NEGATIVE = 0.5, 0.4  # IoU from which a window is on an object, and below which it is on nothing
LEAST_POSITIVE = 0.3  # IoU of an object's best window, where no window reaches POSITIVE
BESIDE = 0.1  # IoU from which a window of nothing is beside an object
ON_OBJECT, BESIDE_OBJECT = 12, 6  # windows of each object in a round, at most
ELSEWHERE, HARD = 12, 24  # windows of each image in a round, at most: by chance, and false alarms
ALARM = 0.05  # probability of any class from which a window of nothing is a false alarm
APART = 0.3  # IoU of two false alarms above which one of them is enough
PLACES = 300  # of each map of an image, from which projections are solved
BATCH, ON_SHARE = 256, 0.25  # windows a step, and the share of them that are on objects
RATE, DECAY = 1e-3, 1e-2  # of AdamW
BETA = 0.5  # of smooth L1, in deltas


@dataclass(frozen=True)
class Taught:
    """What windows teach.

    Attributes:
        features: float16 [n, d].
        labels: int32 [n]: class, or k: nothing.
        deltas: float32 [n, 4], of windows on objects; 0 of others.
    """

    features: np.ndarray
    labels: np.ndarray
    deltas: np.ndarray

    @classmethod
    def joined(cls, some: Sequence[Taught]) -> Taught:
        """All of them as one."""
        fields = ("features", "labels", "deltas")
        return cls(*(np.concatenate([getattr(one, field) for one in some]) for field in fields))


# --- views ---


def seen(pixels: np.ndarray, view: int) -> np.ndarray:
    """A square image [s, s, 3] in one of eight views: mirrored where odd, then turned by view // 2 right angles."""
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if view % 2 else pixels, view // 2))


def placed(xyxy: np.ndarray, size: int, view: int) -> np.ndarray:
    """Boxes float32 [m, 4] of a square image where they are in that view."""
    left, top, right, bottom = np.asarray(xyxy, np.float32).reshape(-1, 4).T
    if view % 2:
        left, right = size - right, size - left
    for _ in range(view // 2):  # against the clock: what was right is on top
        left, top, right, bottom = top, size - right, bottom, size - left
    return np.stack([left, top, right, bottom], 1)


# --- windows of an image ---


def chosen_windows(
    places: np.ndarray,
    xyxy: np.ndarray,
    labels: np.ndarray,
    classes: int,
    random: np.random.Generator,
    alarm: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which windows of an image are learned, and as what.

    Args:
        places: float32 [a, 4], all windows.
        xyxy: float32 [m, 4], objects.
        labels: int32 [m]: class; below 0: ignored, nothing near it is learned.
        classes: k.
        random: Of the choice.
        alarm: float32 [a]: how sure the head of the round before is that a window is on something; None in the first.

    Returns:
        Indices int [n], labels int32 [n] with k for nothing, deltas float32 [n, 4].
    """
    overlaps = iou(places, xyxy)
    best = overlaps.max(1, initial=0.0)
    on = [_on_object(overlaps, best, int(m), random) for m in np.flatnonzero(np.asarray(labels) >= 0)]
    objects = np.repeat(np.flatnonzero(np.asarray(labels) >= 0), [len(some) for some in on]).astype(int)
    positives = np.concatenate([np.zeros(0, int), *on])
    nothing = np.flatnonzero(best < BESIDE)
    beside = np.setdiff1d(np.flatnonzero((best >= BESIDE) & (best < NEGATIVE)), positives)
    if (np.asarray(labels) < 0).any():  # what lies near an ignored object may show it
        beside = beside[overlaps[beside][:, np.asarray(labels) < 0].max(1) < BESIDE]
    negatives = [_some(nothing, ELSEWHERE, random), _some(beside, BESIDE_OBJECT * len(on), random)]
    if alarm is not None:
        negatives.append(false_alarms(places, np.concatenate([nothing, beside]), alarm))
    every = np.unique(np.concatenate(negatives))
    indices = np.concatenate([positives, every]).astype(int)
    kinds = np.concatenate([np.asarray(labels)[objects], np.full(len(every), classes)]).astype(np.int32)
    deltas = np.zeros((len(indices), 4), np.float32)
    if len(positives):
        deltas[: len(positives)] = deltas_of(places[positives], xyxy[objects]).numpy()
    return indices, kinds, deltas


def _on_object(overlaps: np.ndarray, best: np.ndarray, label: int, random: np.random.Generator) -> np.ndarray:
    """Windows on one object: its best one, and some of those that overlap it enough and no other one more."""
    own = overlaps[:, label]
    top = int(own.argmax())
    near = np.flatnonzero((own >= POSITIVE) & (own >= best))
    few = np.array([top] if own[top] >= LEAST_POSITIVE else [], int)
    return np.unique(np.concatenate([few, _some(near, ON_OBJECT - len(few), random)]))


def _some(every: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    """At most so many of them, by chance."""
    return every if len(every) <= most else random.choice(every, most, replace=False)


def false_alarms(places: np.ndarray, nothing: np.ndarray, alarm: np.ndarray) -> np.ndarray:
    """The windows of nothing that the head is surest of, apart from one another: int [n]."""
    if not len(nothing):
        return nothing
    chosen = tf.image.non_max_suppression(places[nothing], alarm[nothing], HARD, APART, ALARM)
    return nothing[chosen.numpy()]


# --- projections ---


def solve_projections(detector: PooledDetector, images: Sequence[np.ndarray], seed: int) -> None:
    """Give a detector its projections: principal components of places of the maps of images uint8 [s, s, 3]."""
    rows: list[list[np.ndarray]] = [[] for _ in detector.projections]
    ask = {
        side: tf.function(lambda x, side=side: detector.maps(x, side), autograph=False)
        for side in detector.levels
    }
    for number, pixels in enumerate(images):
        for side in detector.levels:
            for column, one in zip(rows, ask[side](tf.constant(pixels[None])), strict=True):
                flat = one.numpy().reshape(-1, one.shape[-1])
                random = np.random.default_rng([seed, number, side])
                column.append(flat[_some(np.arange(len(flat)), PLACES, random)])
    for layer, column in zip(detector.projections, rows, strict=True):
        layer.set_weights(solved_projection(np.concatenate(column), layer.units))


# --- the head ---


def head_loss(classes: int) -> keras.Loss:
    """Cross-entropy of class or nothing, plus smooth L1 of the deltas of windows on objects (Girshick 2015, 2.3).

    Truth is float32 [n, 5], the label and four deltas; predictions are `build_head`'s.
    """

    def loss(truth: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
        labels = tf.cast(truth[:, 0], tf.int32)
        told = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers[:, : classes + 1])
        off = 4 * smooth_l1(answers[:, classes + 1 :], truth[:, 1:], BETA)  # a sum over the four
        return told + tf.cast(labels < classes, tf.float32) * off

    return loss


class Batches(keras.utils.PyDataset):
    """Windows in the order in which they were drawn, int [steps, n]; rows are not copied before they are asked for."""

    def __init__(self, taught: Taught, drawn: np.ndarray) -> None:
        super().__init__()
        self.taught, self.drawn = taught, drawn

    def __len__(self) -> int:
        """Steps."""
        return len(self.drawn)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [n, d] and, for `head_loss`, labels and deltas float32 [n, 5]."""
        rows = self.drawn[step]
        truth = np.concatenate([self.taught.labels[rows, None], self.taught.deltas[rows]], 1)
        return self.taught.features[rows].astype(np.float32), truth.astype(np.float32)


def fit_head(detector: PooledDetector, taught: Taught, seed: int, steps: int) -> float:
    """Train a detector's head from the start on windows; classes without one are never said.

    Args:
        detector: Whose head.
        taught: Windows of all rounds.
        seed: Of the head's first weights, of dropout and of the batches.
        steps: Of AdamW.

    Returns:
        The mean loss of the last steps.

    Raises:
        DataFault: No window is on an object, or none is on nothing.
    """
    classes = len(detector.class_names)
    on, off = np.flatnonzero(taught.labels < classes), np.flatnonzero(taught.labels == classes)
    _check_both_sides(on, off)
    head = build_head(detector.width, classes, detector.layout.hidden, seed)
    random = np.random.default_rng([seed, len(taught.labels)])
    few = int(BATCH * ON_SHARE)
    drawn = np.concatenate([random.choice(on, (steps, few)), random.choice(off, (steps, BATCH - few))], 1)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    head.compile(keras.optimizers.AdamW(rate, weight_decay=DECAY), head_loss(classes), jit_compile=False)
    last = steps - min(steps, 100)
    if last:
        head.fit(Batches(taught, drawn[:last]), shuffle=False, verbose=0)
    found = head.fit(Batches(taught, drawn[last:]), shuffle=False, verbose=0)
    forget_classes(head, sorted(set(range(classes)) - set(taught.labels.tolist())))
    detector.head.set_weights(head.get_weights())
    return float(found.history["loss"][-1])


def _check_both_sides(on: np.ndarray, off: np.ndarray) -> None:
    """Refuse windows of which nothing can be learned.

    Raises:
        DataFault: See `fit_head`.
    """
    if not len(on):
        raise DataFault(
            "The training images that were drawn have no object.",
            "Give more --minutes or --training-images, or another --seed.",
        )
    if not len(off):
        raise DataFault(
            "The training images that were drawn have no window beside their objects.",
            "Give images that show more than their objects, or more of them with --training-images.",
        )
