"""Fitting in phases: `fit()` with a rate that falls, a best that is kept, and a stop that is exact.

Everything that a later epoch depends on is written at the end of each epoch (checkpoints.py); everything random
follows from (seed, phase, epoch, step). So a phase that was interrupted anywhere goes on as if nothing had been.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.images.batches import Order
from tlkit.engine.training import replay as replays
from tlkit.engine.training.checkpoints import BEST, LAST, Keeper, load_variables, save_variables
from tlkit.engine.training.nan_guard import Findings, Guard, listed, not_finite
from tlkit.engine.training.settings import Phase
from tlkit.errors import RunFailed

Result = TypeVar("Result")
NO_COUNTS = np.zeros((0, 0), int)  # of a training that counts no confusions


@dataclass
class Watchers:
    """Who is told what happens; each may be absent.

    Attributes:
        start: (phase name, epochs, steps an epoch, epochs done already).
        step: (steps done in this epoch, steps of it).
        epoch: A row for metrics.jsonl, and int [k, k] confusion counts of the validation part, [0, 0] without any.
        close: The phase has ended.
    """

    start: Callable[[str, int, int, int], None] = field(default=lambda *_: None)
    step: Callable[[int, int], None] = field(default=lambda *_: None)
    epoch: Callable[[dict[str, Any], np.ndarray], None] = field(default=lambda *_: None)
    close: Callable[[], None] = field(default=lambda: None)


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


class PhaseKeeper(Keeper):
    """Fits a phase: keeps the best and the last, stops early, and catches NaN. Subclasses say what is better.

    Args:
        phase: What learns and how long; its name is the seed's third part.
        fitting: How, a dataclass: `Fitting`, `DetectorFitting`.
        order: The order of the training images.
        folder: Where this phase's checkpoints lie; what is found there is gone on from.
        best: The best so far, a dataclass with `loss`, `phase` and `epoch`; updated in place.
        names: Files of the training images, for the sentence about a diverged step.
        watchers: Who is told.
    """

    def __init__(
        self,
        phase: Phase,
        fitting: Any,
        order: Order,
        folder: Path,
        best: Any,
        names: Sequence[str] = (),
        watchers: Watchers | None = None,
    ) -> None:
        super().__init__(
            f"Phase {phase.name}", folder, {"epoch": 0, "waited": 0, "stopped": "", "seconds": 0.0}
        )
        self.phase, self.fitting, self.order = phase, fitting, order
        self.best, self.names, self.watchers = best, names, watchers or Watchers()
        self.counts = NO_COUNTS

    # --- what a subclass says ---

    def evaluate(self, epoch: int, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a row of metrics.jsonl says of an epoch, from 0, before the learning rate and after it."""
        raise NotImplementedError

    def reason(self, epoch: int) -> str:
        """Why the phase ends after an epoch, from 0; empty where it goes on."""
        return "all epochs done" if epoch + 1 >= self.phase.epochs else ""

    # --- what it is made of ---

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when the phase is gone on with."""
        images = {"images": len(self.order.labels), "seed": self.order.seed}
        return {**asdict(self.phase), **asdict(self.fitting), **images}

    @property
    def rate(self) -> float:
        """The learning rate now."""
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

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

    def restore(self) -> None:
        """Go on where an interrupted run stopped, or write down where this phase begins.

        Both files or none: without the best one, the phase begins again and comes to the same.
        """
        last, best = self.folder / LAST, self.folder / BEST
        if not (last.is_file() and best.is_file()):
            last.unlink(missing_ok=True)
            save_variables(best, self.model.variables, {})
            return
        self.load()
        self.best.__dict__.update(self.state["best"])

    def save(self) -> None:
        """Write everything down that the next epoch depends on, the best so far too."""
        self.state["best"] = asdict(self.best)
        super().save()

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

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Evaluate the epoch, keep best and last, tell of it, and decide whether to stop."""
        self.check_weights(epoch)
        values, marks = self.evaluate(epoch, logs or {})
        seconds = time.monotonic() - self._began
        self.state["epoch"] = epoch + 1
        self.state["seconds"] += seconds
        self.state["stopped"] = self.reason(epoch)
        row = {"phase": self.phase.name, "epoch": epoch + 1, **values, "learning_rate": self.rate, **marks}
        self.watchers.epoch({**row, "seconds": round(seconds, 3)}, self.counts)
        self.save()
        if self.state["stopped"]:
            self.model.stop_training = True

    # --- the rest ---

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

    def check_loss(self, loss: float, epoch: int, others: str = "") -> None:
        """Refuse a validation loss that is not finite; `others` than the rate may be at fault, for people.

        Raises:
            RunFailed: It is not.
        """
        if not np.isfinite(loss):
            raise RunFailed(
                f"The validation loss became {loss} in phase {self.phase.name}, epoch {epoch + 1}.",
                f"Lower the learning rate (now {self.phase.learning_rate:g}){others}.",
            )

    def note(self, better: bool, epoch: int, **best: Any) -> None:
        """Write an epoch's weights down if they are the best so far, with what is known of them."""
        if better:
            self.best.__dict__.update(best, phase=self.phase.name, epoch=epoch + 1)
            save_variables(self.folder / BEST, self.model.variables, {})
        self.state["waited"] = 0 if better else self.state["waited"] + 1

    def take_best(self) -> None:
        """Read the best weights from disk."""
        load_variables(self.folder / BEST, self.model.variables)

    def result(self, kind: Callable[..., Result], **evaluated: Any) -> Result:
        """What the phase came to, as a dataclass of that kind."""
        return kind(
            name=self.phase.name,
            epochs=self.state["epoch"],
            best_epoch=self.best.epoch if self.best.phase == self.phase.name else 0,
            best_loss=self.best.loss,
            **evaluated,
            learning_rate=self.phase.learning_rate,
            seconds=round(self.state["seconds"], 3),
            stopped=self.state["stopped"],
        )

    def _diverged(self, batch: int) -> None:
        """Keep the step in a replay, the model being as it was before it, and stop."""
        epoch, rate = self.state["epoch"], self.rate
        chosen = self.order.of_step(epoch, batch)
        files = tuple(self.names[i] for i in chosen) if self.names else ()
        place = {"phase": self.phase.name, "epoch": epoch + 1, "step": batch + 1, "files": files}
        data = next(iter(self.stream(epoch).skip(batch)))
        found = replays.write_step(
            self.folder, self.model, data, **place, seed=self.order.seed, learning_rate=rate
        )
        raise not_finite_fault(
            f"phase {self.phase.name}, epoch {epoch + 1}, step {batch + 1}", files, found, self.folder, rate
        )
