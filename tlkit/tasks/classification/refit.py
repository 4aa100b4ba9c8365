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

from tlkit.backbones.feature_model import feature_model, unfreeze
from tlkit.data.images.augment import Augmentation
from tlkit.data.images.batches import Order
from tlkit.data.images.sources import TRAINING, VALIDATION
from tlkit.data.images.splits import Split
from tlkit.engine.training.fit import PhaseKeeper, Watchers
from tlkit.engine.training.settings import Fitting, Phase
from tlkit.tasks.classification.fit import Best, PhaseResult, compile_for
from tlkit.tasks.classification.phases import Progress, learner, no_progress
from tlkit.tasks.features.extract import Extractor

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
    split: Split,
    refits: Sequence[Refit],
    fitting: Fitting,
    folder: Path,
    *,
    backbone: str | None = None,
    seed: int = 0,
    augmentation: Augmentation | None = None,
    views: int = 1,
    batch_norm: bool = False,
    watchers: Watchers | None = None,
    progress: Progress = no_progress,
) -> None:
    """Fit a classifier on training and validation together; it ends with the weights of the last epoch.

    Args:
        model: With the weights that the first fit began with.
        split: Training and validation are learned; the test part is not looked at.
        refits: See `again`.
        fitting: As in the first fit.
        folder: For checkpoints, a folder a phase; an interrupted call goes on from what it finds there.
        backbone: As for `fit_phases`, like all that follow.
        seed: Of order, augmentation and dropout.
        augmentation: Random changes.
        views: Of each image in the head phase.
        batch_norm: Let batch normalisation learn.
        watchers: Who is told.
        progress: Who is told of features.

    Raises:
        RunFailed: See `fit_phase`.
        UsageFault: The checkpoints were begun with other settings.
    """
    both = joined(split)
    images = both.take(TRAINING)
    for refit in refits:
        phase = refit.phase
        order = Order(images.labels, fitting.batch, seed, phase.name, fitting.balance)
        unfreeze(model, phase.stage, backbone, batch_norm=batch_norm)
        extract = Extractor(feature_model(model)) if phase.stage == "head" else None
        changes = augmentation or Augmentation()
        fitted, stream = learner(model, extract, both, order, phase, changes, views, progress)
        compile_for(fitted, refit.planned, fitting, order.steps, len(images.class_names))
        keeper = _Refitter(
            phase,
            fitting,
            order,
            folder / phase.name,
            Best(),
            images.paths,
            watchers,
        )
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

    def judge(self, epoch: int, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """There is nothing to evaluate by."""
        measured = {f"training_{name}": float(logs[name]) for name in ("loss", "accuracy")}
        return measured, {"best": False}

    def reason(self, epoch: int) -> str:
        """The epochs are those of the first fit."""
        return "the epochs of the first fit done" if super().reason(epoch) else ""
