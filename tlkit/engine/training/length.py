"""Training length: minutes turned into a number of steps, once, and steps into epochs of phases.

The phases keep their shares of the usual epochs, and an epoch is about one pass over the images, all of equal length,
so that rates still fall to their end at the last step. What is recorded is the number of steps: resuming and repeating
take that, whatever the clock says by then.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.engine.training.estimates import BATCH, LEARNING, NOW, answering, measured, told, training_time
from tlkit.engine.training.settings import CHECKPOINTS, Phase, StepPhase

if TYPE_CHECKING:
    from tlkit.engine.training.fit import Watchers

WARM, TIMED, LEAST = 3, 20, 5  # steps that are waited for, then timed; of fewer than LEAST nothing is told
SPARE = 0.25  # how far the number of epochs may lie from one pass each, so that they are of equal length
KEPT = "length.json"  # what was measured, until the run ends


@dataclass(frozen=True)
class Pace:
    """What training costs on a machine, in seconds.

    Attributes:
        steps: A step of each stage of the phases.
        beginning: What a phase takes before its steps follow one another: reading images, tracing.
        evaluation: One pass over the validation images.
    """

    steps: dict[str, float]
    beginning: float
    evaluation: float


def in_steps(phases: Sequence[Phase], steps: int, once: int) -> list[Phase]:
    """The same phases, so many steps long in all.

    Args:
        phases: With their usual epochs, whose shares they keep; one that would have no step is left out.
        steps: In all; where no number of equal epochs near one pass each comes to it, the next smaller that does.
        once: Steps of one pass over the training images.
    """
    usual = sum(phase.epochs for phase in phases)
    main = max(phases, key=lambda phase: phase.epochs)
    plan: dict[str, tuple[int, int]] = {}  # name -> epochs, steps of each
    for phase in phases:
        if phase is not main:
            plan[phase.name] = _equal(steps * phase.epochs // usual, once)
    left = steps - sum(epochs * each for epochs, each in plan.values())
    epochs, each = plan[main.name] = _equal(left, once)
    for name, (number, short) in plan.items():  # a phase of one epoch can take what is left over
        if number == 1 and name != main.name:
            plan[name] = 1, short + left - epochs * each
            break
    return [
        StepPhase(phase.name, phase.stage, plan[phase.name][0], phase.learning_rate, plan[phase.name][1])
        for phase in phases
    ]


def _equal(steps: int, once: int) -> tuple[int, int]:
    """Epochs of equal length, about one pass each, that come nearest to so many steps from below."""
    if steps < 1:
        return 0, 0
    wanted = max(1, round(steps / once))
    near = range(max(1, round(wanted * (1 - SPARE))), min(steps, round(wanted * (1 + SPARE))) + 1)
    epochs = min(near, key=lambda number: (steps % number, abs(number - wanted)))
    return epochs, steps // epochs


def steps_of(phases: Sequence[Phase], once: int) -> int:
    """All steps of phases, of which `once` are a pass over the images."""
    return sum(phase.epochs * (phase.steps if isinstance(phase, StepPhase) else once) for phase in phases)


def seconds_of(phases: Sequence[Phase], once: int, every: int, pace: Pace) -> float:
    """How long phases take.

    Args:
        phases: Of the training.
        once: Steps of one pass over the training images.
        every: Epochs from one evaluation to the next; the last epoch of a phase is always evaluated.
        pace: What each thing costs.
    """
    running = [phase for phase in phases if phase.epochs]
    learning = sum(steps_of([phase], once) * pace.steps[phase.stage] for phase in running)
    passes = sum(-(-phase.epochs // every) for phase in running)
    return learning + passes * pace.evaluation + len(running) * pace.beginning


def steps_in(seconds: float, phases: Sequence[Phase], once: int, every: int, pace: Pace) -> int:
    """The most steps that a time has room for, one of each phase at least; arguments as for `seconds_of`."""
    least = sum(phase.epochs > 0 for phase in phases)
    most = least + max(0, int(seconds / min(pace.steps.values())))

    def needed(steps: int) -> float:
        return seconds_of(in_steps(phases, steps, once), once, every, pace)

    return max(least, bisect_right(range(most + 1), seconds, lo=1, key=needed) - 1)


# --- a run's ---


def settle(
    run: Run,
    phases: Sequence[Phase],
    fitting: Any,
    images: int,
    measure: Callable[[], Pace],
    spent: float = 0.0,
) -> tuple[list[Phase], Any]:
    """Phases and fitting as --minutes or --steps has them; as they are without.

    Minutes become steps here, once: the run's own options say the number from then on, card and log both.

    Args:
        run: Of the recipe.
        phases: With their usual epochs.
        fitting: With `minutes`, `steps`, `batch` and `judge_every`.
        images: That are learned.
        measure: Time steps and evaluation, and leave no trace.
        spent: Seconds of learning that are over.
    """
    if fitting.minutes is None and fitting.steps is None:
        return list(phases), fitting
    once = -(-images // fitting.batch)
    if fitting.steps is None:
        facts = _timed(run, phases, fitting, once, measure, spent)
        (run.folder.folder(CHECKPOINTS) / KEPT).write_text(json.dumps(facts), encoding="utf-8")
        run.change_option("steps", facts["steps"])
        run.change_option("minutes", None)
        fitting = replace(fitting, steps=facts["steps"])
    file = run.folder.path / CHECKPOINTS / KEPT
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"steps": fitting.steps}
    settled = in_steps(phases, fitting.steps, once)
    run.record(length=facts)
    run.say(_said(settled, steps_of(settled, once), facts))
    return settled, replace(fitting, minutes=None)


def _timed(
    run: Run,
    phases: Sequence[Phase],
    fitting: Any,
    once: int,
    measure: Callable[[], Pace],
    spent: float,
) -> dict[str, Any]:
    """For how many steps there is time, and how that was found."""
    run.say(f"Length: {WARM} + {TIMED} steps are timed first, on weights that are put back.")
    began = time.monotonic()
    pace = measure()
    took = spent + time.monotonic() - began
    every = fitting.judge_every
    steps = steps_in(60 * fitting.minutes - took, phases, once, every, pace)
    settled = in_steps(phases, steps, once)
    whole = took + seconds_of(settled, once, every, pace)
    return {
        "minutes": fitting.minutes,
        "steps": steps_of(settled, once),
        "pace": asdict(pace),
        "expected": whole,
    }


def _said(phases: Sequence[Phase], steps: int, facts: dict[str, Any]) -> str:
    parts = [
        f"{phase.name} {count(phase.epochs, 'epoch')} of {phase.steps:,}"
        for phase in phases
        if isinstance(phase, StepPhase) and phase.epochs
    ]
    what = f"{steps:,} step{'s' * (steps != 1)} ({', '.join(parts)})"
    if "minutes" not in facts:
        return f"Length: {what}."
    took = TIMED * max(facts["pace"]["steps"].values())
    how = (
        f"{TIMED} steps took {took:.2g} s, a pass over validation {facts['pace']['evaluation']:.2g} s, {NOW}"
    )
    over = " That is more than was asked for: less than one step of each phase makes no training."
    return (
        f"Length: {told(facts['expected'], f'{how}; {what}')}. Early stopping makes it shorter; the test part and "
        f"the export come after it.{over if facts['expected'] > 66 * facts['minutes'] else ''}"
    )


def planned_time(
    model: Any,
    size: int,
    parts: dict[str, int],
    phases: Sequence[Phase],
    options: Mapping[str, Any],
    learning: float,
) -> tuple[Sequence[Phase], str]:
    """For a dry run: the phases as far as they are known, and the time as a sentence.

    Args:
        model: What learns; its weights stay as they are.
        size: Side of its input, pixels.
        parts: Images in training, validation and test.
        phases: With their usual epochs.
        options: Of the run: `minutes`, `steps`, `batch`, `judge_every`.
        learning: How many answers an image costs in training.
    """
    minutes, steps = options.get("minutes"), options.get("steps")
    if minutes is None and steps is None:
        return phases, training_time(model, size, parts, phases, learning=learning)
    batch, every = options.get("batch") or BATCH, options.get("judge_every") or 1
    once = -(-parts["training"] // batch)
    took = answering(model, size)
    pace = Pace(
        {phase.stage: learning * took * batch / BATCH for phase in phases},
        0.0,
        parts["validation"] * took / BATCH,
    )
    known = in_steps(phases, steps or steps_in(60 * (minutes or 0), phases, once, every, pace), once)
    rough = f"{measured(BATCH, took)}; in training an image counts {learning:.2g} times"
    if steps is None:
        text = f"about {steps_of(known, once):,} steps. The run times {TIMED} steps of its own, and their number holds"
        return known, f"{minutes:g} minutes, as --minutes has it: {rough}: {text}."
    number = f"{steps_of(known, once):,} steps"
    return known, told(
        seconds_of(known, once, every, pace), f"{rough}: {number}. Early stopping makes it shorter."
    )


def estimated(
    watchers: Watchers, run: Run, phases: Sequence[Phase], fitting: Any, parts: dict[str, int], share: float
) -> Watchers:
    """The same watchers, and an estimate said from the first steps of each phase, where none was said before.

    Args:
        watchers: Who is told of steps.
        run: Of the recipe.
        phases: All of the training.
        fitting: With `batch` and `judge_every`.
        parts: Images in training and validation.
        share: Pixels of what is learned by those of what is evaluated.
    """
    if "pace" in run.card().get("length", {}):
        return watchers
    once = -(-parts["training"] // fitting.batch)
    evaluation = parts["validation"] / fitting.batch / (LEARNING * share)
    estimate = Estimate(run, phases, once, fitting.judge_every, evaluation)

    def start(phase: str, epochs: int, steps: int, first: int) -> None:
        watchers.start(phase, epochs, steps, first)
        estimate.start(phase, first)

    def step(done: int, total: int) -> None:
        watchers.step(done, total)
        estimate.step(done, total)

    return replace(watchers, start=start, step=step)


class Estimate:
    """Says how long a training will take, from the first steps of each phase.

    Args:
        run: Of the recipe.
        phases: All of the training.
        once: Steps of one pass over the training images.
        every: Epochs from one evaluation to the next.
        evaluation: What a pass over validation costs, in steps.
        clock: Seconds.
    """

    def __init__(
        self,
        run: Run,
        phases: Sequence[Phase],
        once: int,
        every: int,
        evaluation: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.phases, self.once, self.every = run, list(phases), once, every
        self.evaluation, self.clock = evaluation, clock
        self.before = 0.0
        self.phase, self.epoch = "", 0
        self.waiting = False

    def start(self, phase: str, first: int) -> None:
        """A phase begins, or goes on after its first epochs."""
        self.phase, self.epoch, self.waiting = phase, first, True

    def step(self, done: int, total: int) -> None:
        """A step is over; when enough are, the estimate is said, once a phase."""
        timed = min(TIMED, total - WARM)
        if not self.waiting or timed < LEAST:
            return
        if done == WARM:
            self.before = self.clock()
        elif done == WARM + timed:
            self.waiting = False
            self._say(timed, self.clock() - self.before)

    def _say(self, timed: int, took: float) -> None:
        place = next(i for i, phase in enumerate(self.phases) if phase.name == self.phase)
        now = self.phases[place]
        left = [replace(now, epochs=now.epochs - self.epoch), *self.phases[place + 1 :]]
        step = took / timed
        pace = Pace({phase.stage: step for phase in left}, 0.0, self.evaluation * step)
        how = f"{timed} steps took {took:.2g} s in the phase {self.phase}, {NOW}"
        self.run.say(
            f"Training: {told(seconds_of(left, self.once, self.every, pace), how)}. Early stopping makes it shorter."
        )
