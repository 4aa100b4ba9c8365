"""Fitting a classifier: one phase, in which the lowest validation loss decides what is kept and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.images.batches import Order
from tlkit.engine.training.fit import PhaseKeeper, Watchers, rate_of
from tlkit.engine.training.settings import Fitting, Phase
from tlkit.errors import RunFailed

PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.3, 2


@dataclass
class Best:
    """The lowest validation loss so far, over all phases."""

    loss: float = float("inf")
    accuracy: float = 0.0
    phase: str = ""
    epoch: int = 0


@dataclass(frozen=True)
class PhaseResult:
    """What a phase came to; `stopped` says why it ended."""

    name: str
    epochs: int
    best_epoch: int
    best_loss: float
    best_accuracy: float
    learning_rate: float
    seconds: float
    stopped: str


@keras.saving.register_keras_serializable("tlkit")
class ConfusionAccuracy(keras.metrics.Metric):
    """Accuracy that keeps the counts it was made of: float32 [k, k], rows true, columns predicted."""

    def __init__(self, classes: int, name: str = "accuracy", **options) -> None:
        super().__init__(name=name, **options)
        self.classes = classes
        self.counts = self.add_variable((classes, classes), "zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        """Count one-hot float [b, k] truths against probabilities [b, k]."""
        true = keras.ops.one_hot(keras.ops.argmax(y_true, -1), self.classes)
        predicted = keras.ops.one_hot(keras.ops.argmax(y_pred, -1), self.classes)
        self.counts.assign_add(keras.ops.matmul(keras.ops.transpose(true), predicted))

    def result(self):
        """Share of images on the diagonal."""
        return keras.ops.trace(self.counts) / keras.ops.maximum(keras.ops.sum(self.counts), 1)

    def get_config(self) -> dict:
        """What is needed to make the metric again."""
        return {**super().get_config(), "classes": self.classes}


def compile_for(model: keras.Model, phase: Phase, fitting: Fitting, steps: int, classes: int) -> None:
    """Give the model a fresh optimiser, the loss and the accuracy for a phase of `steps` steps an epoch."""
    rate = rate_of(phase, steps, fitting.schedule, fitting.warmup)
    clip = fitting.clip_norm or None
    if fitting.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=fitting.weight_decay, global_clipnorm=clip)
    else:
        optimizer = keras.optimizers.Adam(rate, global_clipnorm=clip)
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(label_smoothing=fitting.label_smoothing),
        metrics=[ConfusionAccuracy(classes)],
        jit_compile=False,  # XLA is many times slower on a CPU
    )
    model.optimizer.build(model.trainable_variables)


def fit_phase(
    model: keras.Model,
    phase: Phase,
    fitting: Fitting,
    order: Order,
    stream: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset,
    folder: Path,
    best: Best,
    *,
    names: Sequence[str] = (),
    watchers: Watchers | None = None,
) -> PhaseResult:
    """Fit one phase and leave the model with the best weights known, read back from disk and scored again.

    Args:
        model: What to fit: a classifier, or its head on features.
        phase: What and how long; its name is the seed's third part.
        fitting: How.
        order: The order of the training images.
        stream: First epoch -> batches of all epochs from there on.
        validation: Batches (x, one-hot) that select the best epoch.
        folder: Where this phase's checkpoints lie; what is found there is gone on from.
        best: The best so far; updated in place.
        names: Files of the training images, for the sentence about a diverged step.
        watchers: Who is told.

    Raises:
        RunFailed: Batch, weights, loss or a gradient were NaN or infinite (the step is named, and a replay is kept), or
            a checkpoint is damaged.
        UsageFault: The checkpoints were begun with other settings.
    """
    compile_for(model, phase, fitting, order.steps, model.output_shape[-1])
    keeper = ValidationKeeper(phase, fitting, order, folder, best, names, watchers)
    keeper.fit(model, stream, validation)
    return keeper.finish(validation)


class ValidationKeeper(PhaseKeeper):
    """Keeps the epoch with the lowest validation loss, and lowers the rate on a plateau."""

    def on_test_end(self, logs: dict | None = None) -> None:
        """Keep the confusion counts of the validation part."""
        self.counts = keras.ops.convert_to_numpy(self._accuracy().counts).astype(int)

    def evaluate(self, epoch: int, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keep the epoch if it is the best, and lower the rate where several were not."""
        self.check_loss(logs["val_loss"], epoch, " or the precision's range")
        better = logs["val_loss"] < self.best.loss
        self.note(better, epoch, loss=float(logs["val_loss"]), accuracy=float(logs["val_accuracy"]))
        if self.fitting.schedule == "plateau" and not better and self.state["waited"] % PLATEAU_PATIENCE == 0:
            rate = self.model.optimizer.learning_rate
            rate.assign(rate * PLATEAU_FACTOR)
        measured = {
            "training_loss": float(logs["loss"]),
            "training_accuracy": float(logs["accuracy"]),
            "validation_loss": float(logs["val_loss"]),
            "validation_accuracy": float(logs["val_accuracy"]),
        }
        return measured, {"best": bool(better)}

    def reason(self, epoch: int) -> str:
        """Patience before epochs."""
        patience = self.fitting.waits(self.phase.stage)
        if self.state["waited"] >= patience:
            return f"no lower validation loss for {patience} epochs"
        return super().reason(epoch)

    def _accuracy(self) -> ConfusionAccuracy:
        return next(
            m
            for part in self.model.metrics
            for m in getattr(part, "metrics", [part])
            if isinstance(m, ConfusionAccuracy)
        )

    def finish(self, validation: tf.data.Dataset) -> PhaseResult:
        """Read the best weights from disk and score them again."""
        self.take_best()
        if np.isfinite(self.best.loss):
            again = self.model.evaluate(validation, verbose=0, return_dict=True)
            if abs(again["loss"] - self.best.loss) > 1e-3 * max(1.0, abs(self.best.loss)):
                raise RunFailed(
                    f"The best weights of phase {self.phase.name} score {again['loss']:.5f} when read back, not "
                    f"{self.best.loss:.5f} as when they were written.",
                    "Check the disk, then start the run again.",
                )
        return self.result(PhaseResult, best_accuracy=self.best.accuracy)
