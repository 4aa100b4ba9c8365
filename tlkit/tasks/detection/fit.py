"""Fitting a detector in phases: `fit()` with a rate that falls, averaged weights, a best that is kept, exact resume.

Everything that a later epoch depends on is in one file, written at the end of each epoch; everything random follows
from (seed, phase, epoch, step). What selects the best epoch is AP50 on the validation images where somebody can
evaluate it, else their loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.batches import Change, plain_box_batches, training_box_batches
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.splits import BoxSplit, strata
from tlkit.data.images.batches import Order
from tlkit.data.images.sources import TRAINING, VALIDATION
from tlkit.engine.training.adam import FusedAdam
from tlkit.engine.training.ema import Average
from tlkit.engine.training.fit import PhaseKeeper, Watchers, rate_of
from tlkit.engine.training.length import TIMED, WARM, Pace
from tlkit.engine.training.nan_guard import Guard
from tlkit.engine.training.settings import Phase, StepPhase
from tlkit.errors import DataFault
from tlkit.tasks.detection.build import Detector, copy_weights, resized_detector, unfreeze_detector
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.predict import Detected, original, select
from tlkit.tasks.detection.settings import LEAST_SCORE, USUAL_MOST, Detecting, DetectorFitting

Evaluator = Callable[[list[Detections], Boxes], dict[str, float]]
MEASURE = "AP50"  # what an evaluator's best is chosen by
NOTICED = 0.15  # share of all epochs from which a phase's own steps are timed
EVALUATED = Detecting(threshold=LEAST_SCORE, overlap=0.5, most=USUAL_MOST, candidates=300)


@dataclass
class DetectorBest:
    """The best evaluated epoch so far, over all phases.

    Attributes:
        value: What is to be large: AP50, else minus the loss.
        loss: Loss on the validation images.
        measures: What the evaluator said.
        phase: Where it was.
        epoch: Which, from 1.
    """

    value: float = float("-inf")
    loss: float = float("inf")
    measures: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    epoch: int = 0


@dataclass(frozen=True)
class DetectorResult:
    """What a phase came to; `stopped` says why it ended, `measures` is what the evaluator said of the best epoch."""

    name: str
    epochs: int
    best_epoch: int
    best_loss: float
    measures: dict[str, float]
    learning_rate: float
    seconds: float
    stopped: str


def fit_detector(
    detector: Detector,
    split: BoxSplit,
    phases: list[Phase],
    fitting: DetectorFitting,
    folder: Path,
    *,
    seed: int = 0,
    augmentation: BoxAugmentation | None = None,
    change: Change | None = None,
    batch_norm: bool = False,
    evaluator: Evaluator | None = None,
    watchers: Watchers | None = None,
    draws: int | None = None,
    most: int = USUAL_MOST,
) -> list[DetectorResult]:
    """Fit a detector phase by phase; each goes on from the best weights so far.

    Args:
        detector: It ends with the best weights known.
        split: Training images are learned, validation images select.
        phases: Phases of 0 epochs are left out, a `StepPhase` has its own steps an epoch; stage "head" learns pyramid
            and heads, "top" the backbone's last stage too, "all" everything.
        fitting: Batch, rates, stopping.
        folder: For checkpoints, a folder a phase; an interrupted call goes on from what it finds there.
        seed: Of order, augmentation and dropout.
        augmentation: Random changes of training images. Where they crop, a network of the crop's size learns.
        change: What happens before them; see `training_box_batches`.
        batch_norm: Let the backbone's batch normalisation learn: for random weights.
        evaluator: (detections of the validation images, their boxes) -> measures by name, with "AP50".
        watchers: Who is told of steps and epochs.
        draws: Training images an epoch, whatever their number; None: each once. See `Order`.
        most: Detections an image that are evaluated; 100 at least.

    Returns:
        One result for each phase that ran.

    Raises:
        DataFault: There is nothing to learn from or nothing to select by.
        RunFailed: Batch, weights, loss or a gradient were NaN or infinite (the step is named, and a replay is kept), or
            a checkpoint is damaged.
        UsageFault: The checkpoints were begun with other settings.
    """
    training, validation = split.take(TRAINING), split.take(VALIDATION)
    _check_parts(training, validation)
    learner = _learner(detector, augmentation)
    evaluation = Evaluation(detector, validation, fitting.batch, evaluator, learner, most)
    best, results = DetectorBest(), []
    how: dict[str, Any] = {"size": detector.size, "augmentation": augmentation, "change": change}
    batches = partial(training_box_batches, training, **how)
    for phase in (phase for phase in phases if phase.epochs):
        order = _order(training, phase, fitting, seed, draws)
        unfreeze_detector(learner, phase.stage, batch_norm=batch_norm)
        keeper = _DetectorKeeper(phase, fitting, order, folder / phase.name, best, training.paths, watchers)
        results.append(_fit_phase(learner, keeper, evaluation, batches))
    learner.average = None
    evaluation.take_over()
    return results


def _learner(detector: Detector, augmentation: BoxAugmentation | None) -> Detector:
    """What learns: the detector, or the same network for crops."""
    crop = augmentation.crop if augmentation else 0
    return resized_detector(detector, crop) if crop else detector


def _order(
    training: Boxes, phase: Phase, fitting: DetectorFitting, seed: int, draws: int | None = None
) -> Order:
    """In which order a phase learns; its own steps an epoch go before `draws`."""
    drawn = phase.steps * fitting.batch if isinstance(phase, StepPhase) else draws
    return Order(strata(training), fitting.batch, seed, phase.name, fitting.balance, drawn)


def _fit_phase(
    detector: Detector,
    keeper: _DetectorKeeper,
    evaluation: Evaluation,
    batches: Callable[..., tf.data.Dataset],
) -> DetectorResult:
    """Fit one phase, or what is left of it, and leave the detector with the best weights known."""
    phase, order = keeper.phase, keeper.order
    first, second = map(int, order.base_seed().numpy())
    detector.seed = first, second
    _compile(detector, phase, keeper.fitting, order.steps)
    detector.average = Average(detector, keeper.fitting.ema)
    keeper.evaluation = evaluation
    keeper.fit(detector, lambda first: batches(order=order, epochs=phase.epochs, first_epoch=first))
    keeper.take_best()
    return keeper.result(DetectorResult, measures=dict(keeper.best.measures))


def _check_parts(training: Boxes, validation: Boxes) -> None:
    for part, name in ((training, "training"), (validation, "validation")):
        if not sum(map(len, part.xyxy)):
            raise DataFault(
                f"The {name} part of {part.source} has {len(part)} images and no box.",
                "Give more images, or another --seed or --group.",
            )


def _compile(detector: Detector, phase: Phase, fitting: DetectorFitting, steps: int) -> None:
    """A fresh optimiser for a phase of `steps` steps an epoch."""
    rate = rate_of(phase, steps, fitting.schedule, fitting.warmup)
    optimizer = FusedAdam(
        rate, weight_decay=fitting.weight_decay or None, global_clipnorm=fitting.clip_norm or None
    )
    detector.compile(optimizer)
    detector.optimizer.build(detector.trainable_variables)


# --- what it costs ---


def measure_pace(
    detector: Detector,
    split: BoxSplit,
    phases: Sequence[Phase],
    fitting: DetectorFitting,
    *,
    seed: int = 0,
    augmentation: BoxAugmentation | None = None,
    change: Change | None = None,
    batch_norm: bool = False,
    most: int = USUAL_MOST,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Time steps of training and a part of an evaluation, and put every weight back as it was.

    Args:
        detector: As for `fit_detector`, and so are the others. Where steps differ in size, those of its own size are
            timed, and count `step_cost` times.
        split: Of which the first images of the first epochs are learned.
        phases: Of which the stages with a noticeable share are timed; the others count as the longest one.
        fitting: Batch, and what else a step depends on.
        seed: Of order and augmentation.
        augmentation: As it is used later.
        change: As it is used later.
        batch_norm: As it is used later.
        most: As it is used later.
        clock: Seconds.

    Raises:
        DataFault: There is nothing to learn from or nothing to select by.
    """
    training, validation = split.take(TRAINING), split.take(VALIDATION)
    _check_parts(training, validation)
    learner = _learner(detector, augmentation)
    evaluation = Evaluation(detector, validation, fitting.batch, None, learner, most)
    how: dict[str, Any] = {"size": detector.size, "augmentation": augmentation, "change": change}
    usual = sum(phase.epochs for phase in phases)
    longest = max(phases, key=lambda phase: phase.epochs)
    found: dict[str, list[float]] = {}
    with _put_back(learner):
        for phase in (phase for phase in phases if phase is longest or phase.epochs >= NOTICED * usual):
            began = clock()
            order = _order(training, phase, fitting, seed)
            unfreeze_detector(learner, phase.stage, batch_norm=batch_norm)
            _compile(learner, phase, fitting, order.steps)
            learner.average = Average(learner, fitting.ema)
            stream = training_box_batches(training, order=order, epochs=WARM + TIMED, **how)
            found[phase.stage] = [began, *_ends_of_steps(learner, stream, clock)]
        took = evaluation.seconds(clock)
    steps = {stage: (ends[-1] - ends[WARM]) / TIMED for stage, ends in found.items()}
    began, first, *_ = found[longest.stage]
    usual_step = steps[longest.stage]
    each = {phase.stage: learner.step_cost * steps.get(phase.stage, usual_step) for phase in phases}
    return Pace(each, max(0.0, first - began - usual_step), took)


@contextmanager
def _put_back(detector: Detector) -> Iterator[None]:
    """Let steps be timed, at the detector's own size; afterwards its weights are what they were."""
    before = [variable.numpy() for variable in detector.variables]
    detector.one_size = True
    try:
        yield
    finally:
        detector.one_size, detector.average = False, None
        for variable, value in zip(detector.variables, before, strict=True):
            variable.assign(value)


class _Ends(keras.callbacks.Callback):
    """When each step was over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock, self.ends = clock, list[float]()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Note the time."""
        self.ends.append(self.clock())


def _ends_of_steps(learner: Detector, stream: tf.data.Dataset, clock: Callable[[], float]) -> list[float]:
    """When each of the first steps was over, under the guard as in training."""
    watch = _Ends(clock)
    with Guard(learner):
        learner.fit(stream, steps_per_epoch=WARM + TIMED, callbacks=[watch], shuffle=False, verbose=0)
    return watch.ends


class Evaluation:
    """Loss and detections of the validation images in one pass.

    Args:
        detector: What is evaluated, with the weights that it has at the time.
        boxes: The validation images.
        batch: Images a step.
        evaluator: See `fit_detector`.
        learner: Whose weights are evaluated, where that is not the detector itself.
        most: See `fit_detector`.
    """

    def __init__(
        self,
        detector: Detector,
        boxes: Boxes,
        batch: int,
        evaluator: Evaluator | None,
        learner: Detector | None = None,
        most: int = USUAL_MOST,
    ) -> None:
        self.detector, self.boxes, self.evaluator, self.batch = detector, boxes, evaluator, batch
        self.learner = learner or detector
        self.detecting = EVALUATED if most <= USUAL_MOST else replace(EVALUATED, most=most, candidates=0)
        self.batches = plain_box_batches(boxes, detector.size, batch)
        self.step = tf.function(self._step, reduce_retracing=True, autograph=False)

    def _step(self, pixels: tf.Tensor, truth: dict[str, tf.Tensor]) -> tuple[tf.Tensor, Detected]:
        raw = self.detector(pixels, training=False)
        loss = tf.add_n(list(self.detector.losses(raw, truth).values()))
        return loss, select(*self.detector.decode(raw), self.detecting)

    def seconds(self, clock: Callable[[], float]) -> float:
        """About how long it takes, by its first batches; without the evaluator."""
        ends, whole = [], -(-len(self.boxes) // self.batch)
        for pixels, truth in self.batches.repeat().take(1 + min(TIMED, whole)):  # the first one compiles
            self.step(pixels, truth)
            ends.append(clock())
        return whole * (ends[-1] - ends[0]) / (len(ends) - 1)

    def take_over(self) -> None:
        """Give the detector the weights of the one that learns."""
        if self.learner is not self.detector:
            copy_weights(self.learner, self.detector)

    def __call__(self) -> tuple[float, dict[str, float]]:
        """Mean loss over the images, and the evaluator's measures (none without an evaluator)."""
        self.take_over()
        total = 0.0
        found: list[Detections] = []
        for pixels, truth in self.batches:
            loss, detected = self.step(pixels, truth)
            total += float(loss) * len(detected.count)
            found += original(self.boxes, len(found), detected, self.detector.size)
        measures = self.evaluator(found, self.boxes) if self.evaluator else {}
        return total / len(found), {name: float(value) for name, value in measures.items()}


class _DetectorKeeper(PhaseKeeper):
    """Evaluates the averaged weights, every so many epochs, and keeps the best."""

    evaluation: Evaluation

    @property
    def variables(self) -> list[Any]:
        """The averaged weights too."""
        return [*super().variables, *self.model.average.variables]

    def evaluate(self, epoch: int, logs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Score the averaged weights where it is due, and write them down if they are the best."""
        measured = {f"training_{name}": float(value) for name, value in logs.items()}
        if (epoch + 1) % self.fitting.judge_every and epoch + 1 < self.phase.epochs:
            return measured, {}
        with self.model.average.in_place():
            loss, measures = self.evaluation()
            self.check_loss(loss, epoch)
            value = measures.get(MEASURE, -loss)
            better = (value, -loss) > (self.best.value, -self.best.loss)
            self.note(better, epoch, value=value, loss=loss, measures=measures)
        named = {f"validation_{name}": value for name, value in measures.items()}
        return {**measured, "validation_loss": loss, **named, "best": better}, {}

    def reason(self, epoch: int) -> str:
        """Epochs before patience."""
        lost = self.state["waited"] >= self.fitting.patience
        waited = f"no better validation for {self.fitting.patience} evaluated epochs" if lost else ""
        return super().reason(epoch) or waited
