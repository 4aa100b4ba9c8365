"""Does adding something to training help? One class found among others, with and without, at several sizes.

Intervals come from drawing groups of test pictures and repeats with replacement, both at once; an arm and the arm
without anything are compared in the same draws, so what they share cancels.
Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tlkit.results.intervals import CONFIDENCE, draw_groups

NOTHING = "nothing"
RESAMPLES = 1000
Interval = tuple[float, float]


class Cell(NamedTuple):
    """One arm at one number of real pictures.

    Attributes:
        number: Real pictures of the class in training.
        arm: What was added to them.
        repeats: Trainings behind the figures.
        recall: Share of the class that is found, mean over repeats.
        precision: Share of what is found that is of the class.
        eta: Mean over repeats of sqrt(recall * precision), the course's efficiency.
        recall_interval, precision_interval, eta_interval: 95 %.
        gain: eta less that of the arm "nothing" at this number; 0 for itself.
        gain_interval: 95 %, from the same draws.
    """

    number: int
    arm: str
    repeats: int
    recall: float
    precision: float
    eta: float
    recall_interval: Interval
    precision_interval: Interval
    eta_interval: Interval
    gain: float
    gain_interval: Interval


def measure_benefit(
    truth: np.ndarray,
    groups: Sequence[str],
    answers: Mapping[tuple[int, str], np.ndarray],
    *,
    seed: int = 0,
) -> list[Cell]:
    """Recall, precision, eta and gain of every arm at every number.

    Args:
        truth: bool [n]: which test pictures show the class; at least one.
        groups: [n] what errs together.
        answers: (number, arm) -> bool [repeats, n]: which were called so; each number has the arm "nothing".
        seed: Of the draws.
    """
    members = np.unique(groups, return_inverse=True)[1]
    group_draws = np.vstack([np.ones(members.max() + 1), draw_groups(members.max() + 1, RESAMPLES, seed)])
    resampled = {}
    for key, found in answers.items():
        resampled[key] = _resampled(truth, members, found, group_draws, seed)
    cells = []
    for (number, arm), scores in resampled.items():
        gain = scores["eta"] - resampled[number, NOTHING]["eta"]
        cells.append(
            Cell(
                number,
                arm,
                len(answers[number, arm]),
                recall=float(scores["recall"][0]),
                precision=float(scores["precision"][0]),
                eta=float(scores["eta"][0]),
                recall_interval=_interval(scores["recall"]),
                precision_interval=_interval(scores["precision"]),
                eta_interval=_interval(scores["eta"]),
                gain=float(gain[0]),
                gain_interval=_interval(gain),
            )
        )
    return cells


def _resampled(
    truth: np.ndarray, members: np.ndarray, found: np.ndarray, draws: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Each measure [1 + resamples], averaged over the repeats drawn; the first is of the data as they are."""
    count = members.max() + 1

    def totals(chosen: np.ndarray) -> np.ndarray:
        """[1 + resamples, repeats] of bool [repeats, n]."""
        sums = np.stack([np.bincount(members, weights=row, minlength=count) for row in chosen])
        return draws @ sums.T

    hits, called = totals(found & truth), totals(found)
    real = totals(np.broadcast_to(truth, found.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.where(real > 0, hits / real, np.nan)
        precision = np.where(called > 0, hits / called, 0.0)
    repeats = len(found)
    # The same repeats are drawn for every arm: repeat r of two arms has the same real pictures.
    weights = np.vstack([np.ones(repeats), draw_groups(repeats, len(draws) - 1, seed + 1)]) / repeats
    scores = {"recall": recall, "precision": precision, "eta": np.sqrt(recall * precision)}
    return {name: (values * weights).sum(axis=1) for name, values in scores.items()}


def _interval(values: np.ndarray) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values[1:], [tail, 1 - tail])
    return float(low), float(high)


def verdicts(cells: Sequence[Cell]) -> list[str]:
    """One sentence for each arm, whatever it says."""
    arms = list(dict.fromkeys(cell.arm for cell in cells if cell.arm != NOTHING))
    return [_verdict(arm, [cell for cell in cells if cell.arm == arm]) for arm in arms]


def _verdict(arm: str, cells: Sequence[Cell]) -> str:
    better = [cell for cell in cells if cell.gain_interval[0] > 0]
    worse = [cell for cell in cells if cell.gain_interval[1] < 0]
    pieces = [
        f"{word} with {_numbers(chosen)} real pictures ({_gains(chosen)})"
        for word, chosen in (("helps", better), ("harms", worse))
        if chosen
    ]
    rest = [cell for cell in cells if cell not in better and cell not in worse]
    if rest:
        pieces.append(f"makes no difference that can be shown with {_numbers(rest)} ({_gains(rest)})")
    return f"{arm} {'; '.join(pieces)}."


def _numbers(cells: Sequence[Cell]) -> str:
    names = [str(cell.number) for cell in cells]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _gains(cells: Sequence[Cell]) -> str:
    return ", ".join(
        f"eta {cell.gain:+.3f} [{cell.gain_interval[0]:+.3f}, {cell.gain_interval[1]:+.3f}]" for cell in cells
    )
