"""Underfitting: whether a phase still improved when its epochs ended, and the `--epochs` that would let it go on.

Early stopping ends a phase that has learned what it can; one whose last epoch was the best was cut short. With a rate
that falls to nothing the last epochs always improve a little, so the loss must have fallen noticeably.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.engine.training.settings import StepPhase

if TYPE_CHECKING:
    from tlkit.engine.training.settings import Phase

LATE, FALL = 0.25, 0.01  # over this last share of its epochs the loss fell by more than this share of itself


def say_improving(run: Run, phases: Sequence[Phase]) -> None:
    """Tell the person, the card (`improving`) and so the report of phases that were cut short."""
    rows = run.folder.metrics()
    cut = [phase for phase in phases if was_cut_short(phase, rows)]
    sentence = longer(phases, cut) if cut else None
    if sentence:
        run.say(f"Note: {sentence}")
    run.record(improving={"phases": [phase.name for phase in cut], "advice": sentence})


def was_cut_short(phase: Phase, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last planned epoch of a phase was its best and the loss still fell noticeably.

    Args:
        phase: With the epochs that were planned.
        rows: Of metrics.jsonl: `phase`, `epoch`, `best`, `validation_loss`; a detector's `validation_AP50` counts
            instead of the loss, and epochs that were not evaluated have none.
    """
    evaluated = [row for row in rows if row["phase"] == phase.name and row.get("validation_loss") is not None]
    if not evaluated or evaluated[-1]["epoch"] < phase.epochs or not evaluated[-1].get("best"):
        return False
    since = phase.epochs - max(1, int(LATE * phase.epochs))
    before = next((row for row in reversed(evaluated) if row["epoch"] <= since), None)
    if before is None:  # of one evaluated epoch nothing is known
        return False
    if "validation_AP50" in before:
        return bool(evaluated[-1]["validation_AP50"] > (1 + FALL) * before["validation_AP50"])
    return bool(evaluated[-1]["validation_loss"] < (1 - FALL) * before["validation_loss"])


def longer(phases: Sequence[Phase], cut: Sequence[Phase]) -> str:
    """The sentence for phases that were cut short, with twice their epochs, in the recipe's order, or all steps."""
    advice = f"--epochs {_twice(phases, cut)}"
    if steps := sum(phase.epochs * phase.steps for phase in phases if isinstance(phase, StepPhase)):
        advice = f"--steps {2 * steps}"
    *first, last = [f"{phase.name} phase" for phase in cut]
    who, whose = (f"{', '.join(first)} and {last}", "their") if first else (last, "its")
    ended = f"{whose} {cut[0].epochs} epochs ended" if not first else "their epochs ended"
    return f"The {who} still improved when {ended}: give {advice}."


def _twice(phases: Sequence[Phase], cut: Sequence[Phase]) -> str:
    return " ".join(str(phase.epochs * (2 if phase in cut else 1)) for phase in phases)
