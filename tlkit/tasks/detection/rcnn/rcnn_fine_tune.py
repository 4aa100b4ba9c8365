"""Fine-tuning of R-CNN: the network learns to tell regions before its features are taken.

    drawn regions -> 32 on objects and 96 of background a step -> crops -> network, a new layer of k + 1 -> cross-entropy

A region is on an object from an IoU of 0.5, for here there are too few true boxes; the machines that follow take these
alone. Which regions a step learns follows from (seed, epoch, step), so an interrupted phase goes on bit for bit.

Source: Girshick 2014, section 2.3 and appendix B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.feature_model import unfreeze_from
from tlkit.backbones.table import BACKBONES
from tlkit.data.boxes.batches import read_letterboxed
from tlkit.data.images.batches import Order
from tlkit.data.images.decoding.decode import read_contents
from tlkit.engine.training.fit import PhaseKeeper, Watchers
from tlkit.engine.training.settings import Phase
from tlkit.errors import DataFault
from tlkit.tasks.detection.rcnn.rcnn import RcnnDetector
from tlkit.tasks.detection.rcnn.rcnn_learning import POSITIVE, Regions
from tlkit.tasks.detection.rcnn.rcnn_warp import warp

ON_OBJECTS, OF_BACKGROUND = 32, 96  # regions a step
RATE, MOMENTUM = 1e-3, 0.9  # a tenth of what the network was trained with
EPOCH = 50  # steps from one checkpoint to the next


@dataclass(frozen=True)
class FineTuning:
    """What must be the same when the phase is gone on with."""

    on_objects: int = ON_OBJECTS
    of_background: int = OF_BACKGROUND
    momentum: float = MOMENTUM


@dataclass
class Last:
    """The last epoch, which is the one that is kept: nothing is evaluated."""

    loss: float = float("inf")
    phase: str = ""
    epoch: int = 0


class Pool:
    """Regions of all drawn images, by what they teach.

    Args:
        regions: [n] of the images.

    Raises:
        DataFault: None is on an object, or none is background.
    """

    def __init__(self, regions: Sequence[Regions]) -> None:
        best = [one.overlaps.max(1, initial=0.0) for one in regions]
        kinds = [one.overlaps.argmax(1) for one in regions]
        self.owners = np.repeat(np.arange(len(regions)), [len(one.boxes) for one in regions])
        self.boxes = np.concatenate([one.boxes for one in regions])
        on, classes = np.concatenate(best) >= POSITIVE, regions[0].overlaps.shape[1]
        self.labels = np.where(on, np.concatenate(kinds), classes).astype(np.int32)  # the last is background
        self.on, self.off = np.flatnonzero(on), np.flatnonzero(~on)
        if not len(self.on) or not len(self.off):
            what = "objects" if not len(self.on) else "background"
            raise DataFault(
                f"No region of the {len(regions)} drawn images is on {what}, so --fine-tune has nothing to tell apart.",
                "Draw more images with --training-images or --minutes, or leave --fine-tune out.",
            )

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """Which regions a step learns, int [128]: with repetition where there are few."""
        on = random.choice(self.on, ON_OBJECTS, replace=len(self.on) < ON_OBJECTS)
        off = random.choice(self.off, OF_BACKGROUND, replace=len(self.off) < OF_BACKGROUND)
        return np.concatenate([on, off])


class _Keeper(PhaseKeeper):
    """Keeps what the last epoch ended with."""

    def evaluate(self, epoch: int, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The loss of the epoch's own steps."""
        loss = float(logs["loss"])
        self.note(True, epoch, loss=loss)
        return {"training_loss": loss}, {}


def fine_tune(
    detector: RcnnDetector,
    files: Sequence[Path],
    regions: Sequence[Regions],
    steps: int,
    folder: Path,
    *,
    seed: int = 0,
    watchers: Watchers | None = None,
) -> None:
    """Let a detector's network learn to tell regions; an interrupted call goes on from its checkpoints.

    Args:
        detector: Its network is changed in place.
        files: [n] of the drawn images.
        regions: [n] of them.
        steps: How many; a last epoch that is not full is as long as the others.
        folder: For checkpoints.
        seed: Of the draw of regions.
        watchers: Who is told.

    Raises:
        DataFault: See `Pool`.
        RunFailed: A loss or weight was NaN or infinite.
    """
    pool, backbone = Pool(regions), BACKBONES[str(detector.settings["backbone"])]
    unfreeze_from(backbone.top, detector.backbone.get_layer("backbone"), "all")
    logits = keras.layers.Dense(len(detector.class_names) + 1, dtype="float32", name="tell")
    images = keras.Input((detector.side, detector.side, 3), dtype="uint8", name="images")
    model = keras.Model(images, logits(detector.backbone(images)), name="fine_tuning")
    rate = keras.optimizers.SGD(RATE, MOMENTUM)
    model.compile(rate, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    each = min(EPOCH, steps)
    phase = Phase("fine-tune", "all", -(-steps // each), RATE)
    batch = ON_OBJECTS + OF_BACKGROUND
    order = Order(np.zeros(each * batch, np.int32), batch, seed, phase.name)
    keeper = _Keeper(phase, FineTuning(), order, folder / phase.name, Last(), watchers=watchers)
    keeper.fit(model, lambda first: _stream(detector, files, pool, seed, first, phase.epochs, each))
    keeper.take_best()


def _stream(
    detector: RcnnDetector,
    files: Sequence[Path],
    pool: Pool,
    seed: int,
    first: int,
    epochs: int,
    each: int,
) -> tf.data.Dataset:
    """(crops uint8 [128, side, side, 3], labels int32 [128]) of all steps from an epoch on."""
    cut = _cutter(detector)
    size = detector.size
    squares = np.stack(
        [read_letterboxed(tf.constant(read_contents(file)), size).pixels.numpy() for file in files]
    )

    def steps() -> Iterator[tuple[tf.Tensor, np.ndarray]]:
        for number in range(first * each, epochs * each):
            chosen = pool.draw(np.random.default_rng([seed, number]))
            used, owners = np.unique(pool.owners[chosen], return_inverse=True)
            yield cut(squares[used], pool.boxes[chosen], owners.astype(np.int32)), pool.labels[chosen]

    shape = (ON_OBJECTS + OF_BACKGROUND, detector.side, detector.side, 3)
    signature = (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec(shape[:1], tf.int32))
    return tf.data.Dataset.from_generator(steps, output_signature=signature).prefetch(1)


def _cutter(detector: RcnnDetector) -> Callable[..., tf.Tensor]:
    size = detector.size
    signature = [
        tf.TensorSpec([None, size, size, 3], tf.uint8),
        tf.TensorSpec([None, 4], tf.float32),
        tf.TensorSpec([None], tf.int32),
    ]
    return tf.function(
        lambda images, boxes, owners: warp(images, boxes, owners, detector.side, detector.fill),
        signature,
        autograph=False,
    )
