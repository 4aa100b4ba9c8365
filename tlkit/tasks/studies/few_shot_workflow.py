"""The workflow of `does-it-help`: one class found among the others, with few real images and something beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import PARTS, TEST, TRAINING, VALIDATION
from tlkit.engine.training.estimates import untold
from tlkit.tasks.studies.few_shot_arms import ARMS
from tlkit.tasks.studies.few_shot_data import NOTHING, Evidence, Question, computed_once
from tlkit.tasks.studies.study_report import Telling, write_cells

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.studies.gains import Cell


def plan(split: Split, question: Question) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "classes": list(split.images.class_names),
        "images": {part: len(split.indices(part)) for part in PARTS},
        "question": question.name,
        "numbers": list(question.numbers),
        "arms": [NOTHING, *(arm for arm in question.arms if arm != NOTHING)],
        "repeats": question.repeats,
        "time": untold("it is nearly all that of the GANs; the first number and repeat says it."),
    }


# --- Cooking ---


def answer(run: Run, evidence: Evidence) -> list[Cell]:
    """Train and evaluate every arm at every number; what an earlier attempt answered is read, not done again."""
    import numpy as np

    from tlkit.tasks.studies.gains import measure_benefit

    question = evidence.question
    arms = tuple(dict.fromkeys((NOTHING, *question.arms)))
    test = evidence.split.indices(TEST)
    answers: dict[tuple[int, str], np.ndarray] = {}
    for number in evidence.numbers():
        for arm in arms:
            trained = partial(_trained, evidence, arm, number)
            answers[number, arm] = np.stack(
                [
                    computed_once(run, f"{number}-{arm}-{repeat}", partial(trained, repeat))
                    for repeat in range(question.repeats)
                ]
            )
            _say_cell(run, evidence.truth[test], number, arm, answers[number, arm])
    return measure_benefit(
        evidence.truth[test], [evidence.split.groups[i] for i in test], answers, seed=run.seed
    )


def _trained(evidence: Evidence, arm: str, number: int, repeat: int) -> np.ndarray:
    """Which test images, bool [n], a classifier calls so that learned from `number` real ones and the arm's."""
    import numpy as np

    from tlkit.tasks.classification.heads import best_of, fit_head, search

    chosen = evidence.chosen(number, repeat)
    added, shows = ARMS[arm](evidence, chosen, repeat)
    real = np.concatenate([chosen, evidence.of(TRAINING, shown=False)])
    rows = np.concatenate([evidence.features[real], added]).astype(np.float64)
    labels = np.concatenate([evidence.truth[real], shows]).astype(np.int64)
    evaluated = evidence.split.indices(VALIDATION)
    everything = np.concatenate([rows, evidence.features[evaluated].astype(np.float64)])
    truths = np.concatenate([labels, evidence.truth[evaluated].astype(np.int64)])
    pairs = [(np.arange(len(rows)), np.arange(len(rows), len(everything)))]
    best = best_of(search(everything, truths, pairs, ["logistic"], evidence.run.seed))
    pipeline = fit_head(best.head, best.setting, rows, labels, evidence.run.seed)
    test = evidence.split.indices(TEST)
    return pipeline.predict(evidence.features[test].astype(np.float64)).astype(bool)


def _say_cell(run: Run, truth: np.ndarray, number: int, arm: str, found: np.ndarray) -> None:
    recall = (found & truth).sum(axis=1) / max(1, truth.sum())
    precision = (found & truth).sum(axis=1) / found.sum(axis=1).clip(1)
    run.say(f"{number:>4} real, {arm:10}  recall {recall.mean():.3f}  precision {precision.mean():.3f}")


# --- Tasting and serving ---


def evaluate(run: Run, evidence: Evidence, cells: Sequence[Cell]) -> None:
    """Write benefit.csv, the curves, the report and the card, and say the verdict."""
    from tlkit.tasks.studies.gains import verdicts

    question = evidence.question
    test = evidence.split.indices(TEST)
    shows, groups = int(evidence.truth[test].sum()), len({evidence.split.groups[i] for i in test})
    write_cells(
        run,
        cells,
        Telling(
            f"Does it help to find {question.name}?",
            f"Finding {question.name}: {count(shows, 'image')} among {len(test)}, {count(groups, 'group')}",
            ("recall", "precision", "eta"),
            tuple(verdicts(cells)),
        ),
        asdict(question),
    )
