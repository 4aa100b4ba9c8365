"""Refit: the same phases once more, on training and validation together, for the epochs that the first fit found best.

Nothing selects here, for nothing is left to select by: each phase runs as many epochs as its best was the first time,
along the same schedule of the rate, and a phase that bettered nothing is left out. It goes on exactly, as `training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tlkit.data.images.sources import TRAINING, VALIDATION
from tlkit.data.images.splits import Split
from tlkit.engine.training.fit import PhaseKeeper, Watchers
from tlkit.engine.training.settings import Phase
from tlkit.tasks.classification.fit import Best, PhaseResult, compile_for
from tlkit.tasks.classification.phases import Learning, learner

PREFIX = "refit-"  # of the names of these phases in metrics, folders and seeds


@dataclass(frozen=True)
class Refit:
    """A phase that is done again.

    Attributes:
        planned: As it was planned, with the epochs that its rate falls over.
        epochs: How many of these are run.
        rates: After each epoch of the first fit, where the rate followed the validation loss; else none.
    """

    planned: Phase
    epochs: int
    rates: tuple[float, ...] = ()

    @property
    def phase(self) -> Phase:
        """Under its own name, with the epochs that are run."""
        return replace(self.planned, name=PREFIX + self.planned.name, epochs=self.epochs)


def again(
    phases: Sequence[Phase], results: Sequence[PhaseResult], rows: Sequence[dict], schedule: str
) -> list[Refit]:
    """The phases that bettered the validation loss, each with the epoch that did so last.

    Args:
        phases: Those of the first fit.
        results: What they came to.
        rows: Of its metrics: `phase` and `learning_rate`.
        schedule: See `Fitting`.
    """
    found = []
    for result in results:
        phase = next(phase for phase in phases if phase.name == result.name)
        rates = tuple(row["learning_rate"] for row in rows if row["phase"] == phase.name)
        if result.best_epoch:
            found.append(Refit(phase, result.best_epoch, rates if schedule == "plateau" else ()))
    return found


def joined(split: Split) -> Split:
    """The same split with the validation part in training."""
    return replace(split, parts=tuple(TRAINING if part == VALIDATION else part for part in split.parts))


def refit_phases(
    model: keras.Model,
    learning: Learning,
    refits: Sequence[Refit],
    folder: Path,
    watchers: Watchers | None = None,
) -> None:
    """Fit a classifier on training and validation together; it ends with the weights of the last epoch.

    Args:
        model: With the weights that the first fit began with.
        learning: As in the first fit; the test part is not looked at.
        refits: See `again`.
        folder: For checkpoints, a folder a phase; an interrupted call goes on from what it finds there.
        watchers: Who is told.

    Raises:
        RunFailed: See `fit_phase`.
        UsageFault: The checkpoints were begun with other settings.
    """
    both = replace(learning, split=joined(learning.split))
    images = both.split.take(TRAINING)
    for refit in refits:
        phase = refit.phase
        fitted, order, stream, _ = learner(model, both, phase)
        compile_for(fitted, refit.planned, both.fitting, order.steps, len(images.class_names))
        place = folder / phase.name
        keeper = _Refitter(phase, both.fitting, order, place, Best(), images.paths, watchers)
        keeper.rates = refit.rates
        keeper.fit(fitted, stream)


class _Refitter(PhaseKeeper):
    """Keeps the last epoch and catches NaN; there is nothing to choose by."""

    rates: tuple[float, ...] = ()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the seeds and, where it followed the validation loss, the rate that the first fit had."""
        super().on_epoch_begin(epoch, logs)
        if self.rates and epoch:
            self.model.optimizer.learning_rate.assign(self.rates[epoch - 1])

    def evaluate(self, epoch: int, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """There is nothing to evaluate it on."""
        measured = {f"training_{name}": float(logs[name]) for name in ("loss", "accuracy")}
        return measured, {"best": False}

    def reason(self, epoch: int) -> str:
        """The epochs are those of the first fit."""
        return "the epochs of the first fit done" if super().reason(epoch) else ""
