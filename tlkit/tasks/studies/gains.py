"""Does adding something to training help? Measures with and without it, at several numbers of real images.

Intervals come from drawing groups of test images and repeats with replacement, both at once; an arm and the arm
without anything are compared in the same draws, so what they share cancels.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from tlkit.core.bootstrap import CONFIDENCE, class_scores, draw_groups
from tlkit.tasks.studies.question import NOTHING

RESAMPLES = 1000
Interval = tuple[float, float]
Evaluated = TypeVar("Evaluated")


class Measured(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    interval: Interval


class Cell(NamedTuple):
    """One arm at one number of real images.

    Attributes:
        number: Real images in training.
        arm: What was added to them.
        repeats: Trainings behind the figures.
        measures: Each a mean over repeats.
        gains: Of the measures that arms are compared by: less that of the arm "nothing" at this number, in the same
            draws; 0 for itself. Empty where there is no such arm.
    """

    number: int
    arm: str
    repeats: int
    measures: dict[str, Measured]
    gains: dict[str, Measured]


def measure_benefit(
    truth: np.ndarray,
    groups: Sequence[str],
    answers: Mapping[tuple[int, str], Sequence[np.ndarray]],
    *,
    seed: int = 0,
) -> list[Cell]:
    """Recall, precision and eta of a class that is to be found, of every arm at every number, and the gain in eta.

    Eta is sqrt(recall * precision), the course's efficiency.

    Args:
        truth: bool [n]: which test images show the class; at least one.
        groups: [n] what errs together.
        answers: (number, arm) -> for each repeat, bool [n]: which were called so; each number has the arm "nothing".
        seed: Of the draws.
    """

    def scores(found: np.ndarray, members: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        sums = sums_by_group(np.stack([found & truth, truth, found], 1), members)
        known = class_scores(*(draws @ sums).T)
        return {name: known[name] for name in ("recall", "precision", "eta")}

    return compare_arms(answers, groups, scores, ("eta",), seed)


def compare_arms(
    answers: Mapping[tuple[int, str], Sequence[Evaluated]],
    groups: Sequence[str],
    scores: Callable[[Evaluated, np.ndarray, np.ndarray], Mapping[str, np.ndarray]],
    by: Sequence[str],
    seed: int,
) -> list[Cell]:
    """Values, intervals and gains of every arm at every number.

    Args:
        answers: (number, arm) -> for each repeat, what was said of the test images.
        groups: [n] what errs together.
        scores: From what was said in a repeat, the number of each image's group, int [n], and how often each group
            counts, float64 [1 + resamples, G], the first of the data as they are, to measure -> float64
            [1 + resamples].
        by: Measures that arms are compared by; the first is the one that interpretations speak of.
        seed: Of the draws.
    """
    members = np.unique(groups, return_inverse=True)[1]
    count = int(members.max()) + 1
    draws = np.vstack([np.ones(count), draw_groups(count, RESAMPLES, seed)])
    resampled = {}
    for key, repeats in answers.items():
        each = [scores(one, members, draws) for one in repeats]
        resampled[key] = {
            name: _over_repeats(np.stack([one[name] for one in each], axis=1), seed) for name in each[0]
        }
    cells = []
    for (number, arm), values in resampled.items():
        plain = resampled.get((number, NOTHING))
        gains = {} if plain is None else {name: _measured(values[name] - plain[name]) for name in by}
        measures = {name: _measured(some) for name, some in values.items()}
        cells.append(Cell(number, arm, len(answers[number, arm]), measures, gains))
    return cells


def sums_by_group(rows: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Sums of [n, m] over the images of each group: float64 [G, m]."""
    sums = np.zeros((int(members.max()) + 1, rows.shape[1]))
    np.add.at(sums, members, rows.astype(float))
    return sums


def _over_repeats(values: np.ndarray, seed: int) -> np.ndarray:
    """Mean over the repeats drawn, float64 [1 + resamples], of [1 + resamples, repeats].

    The same repeats are drawn for every arm: repeat r of two arms has the same real images.
    """
    repeats = values.shape[1]
    weights = np.vstack([np.ones(repeats), draw_groups(repeats, len(values) - 1, seed + 1)]) / repeats
    return (values * weights).sum(axis=1)


def _measured(values: np.ndarray) -> Measured:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values[1:], [tail, 1 - tail])
    return Measured(float(values[0]), (float(low), float(high)))


def interpretations(cells: Sequence[Cell], measure: str = "eta") -> list[str]:
    """One sentence for each arm, whatever it says."""
    arms = list(dict.fromkeys(cell.arm for cell in cells if cell.arm != NOTHING))
    return [_interpretation(arm, [cell for cell in cells if cell.arm == arm], measure) for arm in arms]


def _interpretation(arm: str, cells: Sequence[Cell], measure: str) -> str:
    evaluated = [cell for cell in cells if cell.gains]
    better = [cell for cell in evaluated if cell.gains[measure].interval[0] > 0]
    worse = [cell for cell in evaluated if cell.gains[measure].interval[1] < 0]
    pieces = [
        f"{word} with {_numbers(chosen)} real images ({_gains(chosen, measure)})"
        for word, chosen in (("helps", better), ("harms", worse))
        if chosen
    ]
    if rest := [cell for cell in evaluated if cell not in better and cell not in worse]:
        pieces.append(
            f"makes no difference that can be shown with {_numbers(rest)} ({_gains(rest, measure)})"
        )
    pieces += [
        f"alone, with {cell.number} real images, reaches {measure} {shown(cell.measures[measure])} and has nothing "
        "to be compared with"
        for cell in cells
        if not cell.gains
    ]
    return f"{arm} {'; '.join(pieces)}."


def shown(measured: Measured, sign: str = "") -> str:
    """A number with its interval, for people."""
    low, high = measured.interval
    return f"{measured.value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _numbers(cells: Sequence[Cell]) -> str:
    names = [str(cell.number) for cell in cells]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _gains(cells: Sequence[Cell], measure: str) -> str:
    return ", ".join(f"{measure} {shown(cell.gains[measure], '+')}" for cell in cells)
