"""Rounds of hard negatives: all drawn images are gone through, then the head learns; what is done is kept on disk.

    round 0: projections, windows of every image -> head; round r: windows and false alarms, in another view -> head

A block of images is written when it is done, and a head when it has learned, so an interrupted run goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.batches import plain_box_batches
from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.sliding_window.pooled import PooledDetector
from tlkit.tasks.detection.sliding_window.pooled_learning import (
    Taught,
    chosen_windows,
    fit_head,
    placed,
    seen,
    solve_projections,
)

BLOCK = 50  # images that are written down together
PROJECTED = 40  # images from which projections are solved
PADDING = -1  # label of a box that is none
Told = Callable[[int], None]


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Attributes:
        number: 0 is the first one, which has no false alarms.
        windows: That all rounds until now have taught.
        on_objects: Of these.
        added: Windows of this round.
        loss: Mean of the head's last steps.
        seconds: That it took now.
    """

    number: int
    windows: int
    on_objects: int
    added: int
    loss: float
    seconds: float


class Rounds:
    """Goes through images round by round and lets a detector's head learn.

    Args:
        detector: Which learns.
        images: That are drawn, in the order in which they were.
        folder: Where what is done is kept.
        seed: Of all choices.
        views: How many views an image has.
        head_steps: For which the head learns after each round.
    """

    def __init__(
        self,
        detector: PooledDetector,
        images: Boxes,
        folder: Path,
        seed: int = 0,
        views: int = 1,
        head_steps: int = 2_000,
    ) -> None:
        self.detector, self.images, self.folder = detector, images, folder
        self.seed, self.views, self.head_steps = seed, views, head_steps
        self.every: Taught | None = None  # windows of all rounds until now
        self._ask = asking(detector)

    def begin(self) -> None:
        """Solve the projections, or take those that were."""
        file = self.folder / "projections.npz"
        if not file.is_file():
            few = (
                x
                for x, _, _ in squares(
                    self.images.take(range(min(PROJECTED, len(self.images)))), self.detector.size
                )
            )
            solve_projections(self.detector, list(few), self.seed)
            weights = [value for layer in self.detector.projections for value in layer.get_weights()]
            write_arrays(file, weights)
        weights = read_arrays(file)
        for number, layer in enumerate(self.detector.projections):
            layer.set_weights(weights[2 * number : 2 * number + 2])

    def run(self, number: int, told: Told = lambda _done: None) -> Round:
        """Go through all images once, then let the head learn; what was done before is taken as it is.

        Raises:
            DataFault: No window is on an object, or all are.
        """
        began = monotonic()
        new = self._windows(number, told)
        every = self.every = Taught.joined([self.every, new]) if self.every else new
        file = self.folder / f"head-{number}.npz"
        if not file.is_file():
            loss = fit_head(self.detector, every, self.seed, self.head_steps)
            write_arrays(file, [*self.detector.head.get_weights(), np.array(loss)])
        *weights, kept = read_arrays(file)
        self.detector.head.set_weights(weights)
        on = int((every.labels < len(self.detector.class_names)).sum())
        return Round(number, len(every.labels), on, len(new.labels), float(kept), monotonic() - began)

    def counts(self) -> list[int]:
        """Windows on objects of each class, of all rounds."""
        labels = self.every.labels if self.every else np.zeros(0, np.int32)
        return np.bincount(labels, minlength=len(self.detector.class_names) + 1)[:-1].tolist()

    def _windows(self, number: int, told: Told) -> Taught:
        """Of all images in one round, in blocks that are written down."""
        files = [self.folder / f"windows-{number}-{start}.npz" for start in range(0, len(self.images), BLOCK)]
        done = next((index for index, file in enumerate(files) if not file.is_file()), len(files))
        first = done * BLOCK
        pending: list[Taught] = []
        if first < len(self.images):
            for index, given in enumerate(squares(self.images, self.detector.size, first), first):
                pending.append(self.taught(number, index, *given))
                told(index + 1)
                if len(pending) == BLOCK or index + 1 == len(self.images):
                    block = Taught.joined(pending)
                    write_arrays(files[index // BLOCK], [block.features, block.labels, block.deltas])
                    pending = []
        return Taught.joined([Taught(*read_arrays(file)) for file in files])

    def taught(
        self, number: int, index: int, pixels: np.ndarray, xyxy: np.ndarray, labels: np.ndarray
    ) -> Taught:
        """What one image teaches in a round; arguments as `squares` gives them."""
        size, classes = self.detector.size, len(self.detector.class_names)
        view = self.view(number, index)
        features, alarm = self._ask(tf.constant(seen(pixels, view)[None]))
        random = np.random.default_rng([self.seed, number, index])
        alarms = alarm.numpy() if number else None
        indices, kinds, deltas = chosen_windows(
            self.detector.places, placed(xyxy, size, view), labels, classes, random, alarms
        )
        if not len(indices):
            return Taught(np.zeros((0, self.detector.width), np.float16), kinds, deltas)
        return Taught(tf.gather(features, indices).numpy().astype(np.float16), kinds, deltas)

    def view(self, number: int, index: int) -> int:
        """Which view of an image a round sees: a first one by its path and the seed, then one after the other."""
        key = hashlib.sha256(f"{self.seed} {self.images.paths[index]}".encode()).digest()
        return (key[0] + number) % self.views


def asking(detector: PooledDetector) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """One image uint8 [1, s, s, 3] -> features float32 [a, d], and how sure the head is of something: float32 [a]."""

    def ask(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = detector.features(images)[0]
        logits = detector.head(features, training=False)[:, : len(detector.class_names) + 1]
        return features, 1.0 - tf.nn.softmax(logits)[:, -1]

    spec = tf.TensorSpec([1, detector.size, detector.size, 3], tf.uint8)
    return tf.function(ask, input_signature=[spec], autograph=False)


def squares(images: Boxes, size: int, first: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each image from the `first` on: pixels uint8 [s, s, 3], boxes float32 [m, 4] in them, labels int32 [m]."""
    for x, y in plain_box_batches(images.take(range(first, len(images))), size, 1):
        labels = y["classes"].numpy()[0]
        real = labels != PADDING
        yield x.numpy()[0], y["boxes"].numpy()[0][real], labels[real]


def seconds_an_image(detector: PooledDetector, images: Boxes, rounds: int) -> float:
    """What an image takes in all rounds, the first round again for each: reading, maps, windows and their choice."""
    work = Rounds(detector, images, Path())
    every = list(squares(images, detector.size))
    work.taught(0, 0, *every[0])  # the first one traces
    began = monotonic()
    for index, given in enumerate(every):
        work.taught(1, index, *given)
    return max((monotonic() - began) / len(images), 1e-3) * (1 + rounds)


# --- files ---


def write_arrays(file: Path, arrays: list[Any]) -> None:
    """Write arrays aside, then rename: a file is whole or is not there."""
    aside = file.with_name(f".{file.name}")
    with aside.open("wb") as stream:
        np.savez(stream, *arrays)
    aside.replace(file)


def read_arrays(file: Path) -> list[np.ndarray]:
    """What `write_arrays` wrote, in its order."""
    with np.load(file, allow_pickle=False) as found:
        return [found[f"arr_{number}"] for number in range(len(found.files))]
