"""One phase of training: `fit()` with a rate that falls, a best that is kept, and a stop that is exact.

Everything that a later epoch depends on is written at the end of each epoch (checkpoints.py); everything random
follows from (seed, phase, epoch, step). So a phase that was interrupted anywhere goes on as if nothing had been.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.images.batches import Order
from tlkit.engine.training import replay as replays
from tlkit.engine.training.checkpoints import load_variables, save_variables
from tlkit.engine.training.nan_guard import Findings, Guard, listed, not_finite
from tlkit.engine.training.settings import Fitting, Phase
from tlkit.errors import RunFailed, UsageFault

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


@dataclass
class Watchers:
    """Who is told what happens; each may be absent.

    Attributes:
        start: (phase name, epochs, steps an epoch, epochs done already).
        step: (steps done in this epoch, steps of it).
        epoch: A row for metrics.jsonl, and int [k, k] confusion counts of the validation part.
        close: The phase has ended.
    """

    start: Callable[[str, int, int, int], None] = field(default=lambda *_: None)
    step: Callable[[int, int], None] = field(default=lambda *_: None)
    epoch: Callable[[dict[str, Any], np.ndarray], None] = field(default=lambda *_: None)
    close: Callable[[], None] = field(default=lambda: None)


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


def not_finite_fault(
    place: str, files: Sequence[str], found: Findings, folder: Path, learning_rate: float
) -> RunFailed:
    """What to say of a step that was not finite and whose replay lies in `folder`: the cause, whatever followed."""
    more = f"tlkit replay {folder / replays.FOLDER} repeats the step and says more."
    slower = f"Lower the learning rate (now {learning_rate:g})"
    if found.inputs:
        return RunFailed(
            f"The batch held NaN or infinity in {place}: {listed(found.named_inputs(files))}.",
            f"Mend these or leave them out; {more}",
        )
    if found.weights:
        return RunFailed(
            f"Weights were NaN, infinite or too large to be added up before {place}: {listed(found.weights)}.",
            f"{slower}; {more}",
        )
    lost = not all(np.isfinite(value) for value in found.loss.values())
    what = "A gradient" if found.gradients and not lost else "The loss"
    named = f", with these files: {listed(files)}." if files else "."
    return RunFailed(
        f"{what} became NaN or infinite in {place}{named}", f"{slower}, or look at the files; {more}"
    )


def check_settings(what: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with what was begun otherwise.

    Raises:
        UsageFault: A setting differs; the first one is named.
    """
    for name, value in before.items():
        if name in now and now[name] != value:
            raise UsageFault(
                f"{what} was begun with {name.replace('_', ' ')} {value}; now it is {now[name]}.",
                "Put it back to go on, or start a new run.",
            )


def rate_of(phase: Phase, steps: int, schedule: str, warmup: float) -> Any:
    """The learning rate of a phase of `steps` steps an epoch: a number, or a cosine that a rise precedes."""
    total = phase.epochs * steps
    warm = int(warmup * total)
    if schedule != "cosine":
        return phase.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warm else phase.learning_rate,
        max(1, total - warm),
        warmup_target=phase.learning_rate if warm else None,
        warmup_steps=warm,
    )


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
    names: Callable[[np.ndarray], Sequence[str]] | None = None,
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
        names: Indices -> file names, for the sentence about a diverged step.
        watchers: Who is told.

    Raises:
        RunFailed: Batch, weights, loss or a gradient were NaN or infinite (the step is named, and a replay is kept), or
            a checkpoint is damaged.
        UsageFault: The checkpoints were begun with other settings.
    """
    compile_for(model, phase, fitting, order.steps, model.output_shape[-1])
    keeper = Keeper(phase, fitting, order, folder, best, names, watchers or Watchers())
    keeper.fit(model, stream, validation)
    return keeper.finish(validation)


class Keeper(keras.callbacks.Callback):
    """Keeps the best and the last, stops early, lowers the rate on a plateau, and catches NaN."""

    def __init__(self, phase, fitting, order, folder, best, names, watchers) -> None:
        super().__init__()
        self.phase, self.fitting, self.order, self.folder = phase, fitting, order, folder
        self.best, self.names, self.watchers = best, names, watchers
        self.state: dict[str, Any] = {"epoch": 0, "waited": 0, "stopped": "", "seconds": 0.0}

    def fit(
        self, model: keras.Model, stream: Callable[[int], tf.data.Dataset], validation: Any = None
    ) -> None:
        """Fit a compiled model from where the phase stands to its end, under the guard."""
        self.stream = stream
        self.set_model(model)
        self.restore()
        if self.state["stopped"]:
            return
        first = self.state["epoch"]
        self.watchers.start(self.phase.name, self.phase.epochs, self.order.steps, first)
        with Guard(model):
            model.fit(
                stream(first),
                initial_epoch=first,
                epochs=self.phase.epochs,
                steps_per_epoch=self.order.steps,
                validation_data=validation,
                callbacks=[self],
                shuffle=False,  # the stream has its own order
                verbose=0,
            )
        self.watchers.close()

    @property
    def _everything(self) -> list:
        return [*self.model.variables, *self.model.optimizer.variables]

    @property
    def _settings(self) -> dict[str, Any]:
        """What must be the same when the phase is gone on with."""
        images = {"images": len(self.order.labels), "seed": self.order.seed}
        return json.loads(json.dumps({**asdict(self.phase), **asdict(self.fitting), **images}))

    def restore(self) -> None:
        """Go on where an interrupted run stopped, or write down where this phase begins.

        Both files or none: without the best one, the phase begins again and comes to the same.
        """
        last, best = self.folder / "last.npz", self.folder / "best.npz"
        if not (last.is_file() and best.is_file()):
            last.unlink(missing_ok=True)
            save_variables(best, self.model.variables, {})
            return
        state = load_variables(last, self._everything)
        check_settings(f"Phase {self.phase.name}", state.pop("settings", {}), self._settings)
        self.best.__dict__.update(state.pop("best"))
        self.state = state

    def keep(self) -> None:
        """Write down everything that the next epoch depends on."""
        best, settings = asdict(self.best), self._settings
        save_variables(
            self.folder / "last.npz", self._everything, {**self.state, "best": best, "settings": settings}
        )

    # --- what Keras calls ---

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set every seed generator from (seed, phase, epoch)."""
        self._began = time.monotonic()
        seed = self.order.step_seed(epoch, -2)
        generators = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for number, state in enumerate(generators):
            state.assign(tf.cast(tf.abs(fold(seed, number)), state.dtype))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Tell of the step, and stop where its loss, or by the guard anything else in it, is no number."""
        self.watchers.step(batch + 1, self.order.steps)
        if not np.isfinite(float((logs or {}).get("loss", 0.0))):
            self._diverged(batch)

    def on_test_end(self, logs: dict | None = None) -> None:
        """Keep the confusion counts of the validation part."""
        self.counts = keras.ops.convert_to_numpy(self._accuracy().counts).astype(int)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep best and last, tell of the epoch, and decide whether to stop."""
        logs = logs or {}
        self.check_weights(epoch)
        if not np.isfinite(logs["val_loss"]):
            raise RunFailed(
                f"The validation loss became {logs['val_loss']} in phase {self.phase.name}, epoch {epoch + 1}.",
                f"Lower the learning rate (now {self.phase.learning_rate:g}) or the precision's range.",
            )
        better = logs["val_loss"] < self.best.loss
        self._note(better, epoch, logs)
        self.state["epoch"] = epoch + 1
        self.state["seconds"] += time.monotonic() - self._began
        row = self._row(epoch, logs, better)
        self.watchers.epoch(row, self.counts)
        self.keep()
        if self.state["stopped"]:
            self.model.stop_training = True

    def check_weights(self, epoch: int) -> None:
        """Refuse to keep what an epoch, from 0, ended with if it is not finite; no step may follow that asks.

        Raises:
            RunFailed: A weight or the optimiser's memory of one is NaN, infinite or too large to be added up.
        """
        lost = not_finite([*self.model.variables, *self.model.optimizer.variables])
        if lost:
            raise RunFailed(
                f"Weights, or what the optimiser keeps of them, became NaN, infinite or too large to be added up in "
                f"phase {self.phase.name}, by the end of epoch {epoch + 1}: {listed(lost)}.",
                f"Start the run again with a lower learning rate (now {self.phase.learning_rate:g}).",
            )

    # --- the rest ---

    def _accuracy(self) -> ConfusionAccuracy:
        return next(
            m
            for part in self.model.metrics
            for m in getattr(part, "metrics", [part])
            if isinstance(m, ConfusionAccuracy)
        )

    def _note(self, better: bool, epoch: int, logs: dict) -> None:
        if better:
            self.best.__dict__.update(
                loss=float(logs["val_loss"]),
                accuracy=float(logs["val_accuracy"]),
                phase=self.phase.name,
                epoch=epoch + 1,
            )
            save_variables(self.folder / "best.npz", self.model.variables, {})
        self.state["waited"] = 0 if better else self.state["waited"] + 1
        if self.fitting.schedule == "plateau" and not better and self.state["waited"] % PLATEAU_PATIENCE == 0:
            rate = self.model.optimizer.learning_rate
            rate.assign(rate * PLATEAU_FACTOR)
        patience = self.fitting.waits(self.phase.stage)
        if self.state["waited"] >= patience:
            self.state["stopped"] = f"no lower validation loss for {patience} epochs"
        elif epoch + 1 >= self.phase.epochs:
            self.state["stopped"] = "all epochs done"

    def _row(self, epoch: int, logs: dict, better: bool) -> dict[str, Any]:
        return {
            "phase": self.phase.name,
            "epoch": epoch + 1,
            "training_loss": float(logs["loss"]),
            "training_accuracy": float(logs["accuracy"]),
            "validation_loss": float(logs["val_loss"]),
            "validation_accuracy": float(logs["val_accuracy"]),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "best": bool(better),
            "seconds": round(time.monotonic() - self._began, 3),
        }

    def _diverged(self, batch: int) -> None:
        """Keep the step in a replay, the model being as it was before it, and stop."""
        epoch = self.state["epoch"]
        chosen = self.order.of_step(epoch, batch)
        files = tuple(self.names(chosen)) if self.names else ()
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        place = {"phase": self.phase.name, "epoch": epoch + 1, "step": batch + 1, "files": files}
        data = next(iter(self.stream(epoch).skip(batch)))
        found = replays.write_step(
            self.folder, self.model, data, **place, seed=self.order.seed, learning_rate=rate
        )
        raise not_finite_fault(
            f"phase {self.phase.name}, epoch {epoch + 1}, step {batch + 1}", files, found, self.folder, rate
        )

    def finish(self, validation: tf.data.Dataset) -> PhaseResult:
        """Read the best weights from disk and score them again."""
        load_variables(self.folder / "best.npz", self.model.variables)
        if np.isfinite(self.best.loss):
            again = self.model.evaluate(validation, verbose=0, return_dict=True)
            if abs(again["loss"] - self.best.loss) > 1e-3 * max(1.0, abs(self.best.loss)):
                raise RunFailed(
                    f"The best weights of phase {self.phase.name} score {again['loss']:.5f} when read back, not "
                    f"{self.best.loss:.5f} as when they were written.",
                    "Check the disk, then start the run again.",
                )
        return PhaseResult(
            name=self.phase.name,
            epochs=self.state["epoch"],
            best_epoch=self.best.epoch if self.best.phase == self.phase.name else 0,
            best_loss=self.best.loss,
            best_accuracy=self.best.accuracy,
            learning_rate=self.phase.learning_rate,
            seconds=round(self.state["seconds"], 3),
            stopped=self.state["stopped"],
        )
