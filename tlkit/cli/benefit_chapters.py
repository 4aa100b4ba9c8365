"""Chapters of `does-it-help`: one class found among the others, with few real pictures and something beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.cli.benefit_arms import ARMS, CELLS, NOTHING, computed_once, needs_game
from tlkit.cli.estimates import untold
from tlkit.cli.feature_chapters import extract
from tlkit.cli.running import Run
from tlkit.data.csv_writer import write_csv
from tlkit.data.leaks import count
from tlkit.data.sources import PARTS, TEST, TRAINING, VALIDATION
from tlkit.data.text import some_of
from tlkit.errors import DataFault, UsageFault
from tlkit.models.settings import LEAST_PICTURES

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.splits import Split
    from tlkit.models.features import Featurizer
    from tlkit.results.benefit import Cell


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        name: Of the class that is to be found.
        numbers: Of real pictures of it.
        arms: What is added; "nothing" is always among them.
        repeats: Each with other real pictures.
        samples: Pictures that a generator adds.
        steps: Of each game.
        size: Side of the generated pictures, pixels.
        negative: The class that composites take their surroundings from.
    """

    name: str
    numbers: tuple[int, ...]
    arms: tuple[str, ...]
    repeats: int
    samples: int
    steps: int
    size: int
    negative: str


class Evidence:
    """What every training of the question shares: the split, its features, and what computes them."""

    def __init__(self, run: Run, split: Split, question: Question, featurizer: Featurizer) -> None:
        import numpy as np

        self.run, self.split, self.question, self.featurizer = run, split, question, featurizer
        names = split.images.class_names
        if question.name not in names:
            raise UsageFault(
                f"--class {question.name} is no class of {split.images.source}.",
                f"Its classes are {some_of(names)}.",
            )
        self.truth = np.asarray(split.images.labels) == names.index(question.name)
        self.features = extract(run, split, featurizer)

    def of(self, part: str, *, shown: bool) -> np.ndarray:
        """int64 [m]: pictures of a part that show the class, or do not."""
        chosen = self.split.indices(part)
        return chosen[self.truth[chosen] == shown]

    def numbers(self) -> list[int]:
        """The numbers that training has enough pictures for; the others are named and left out."""
        there = len(self.of(TRAINING, shown=True))
        kept = [number for number in sorted(set(self.question.numbers)) if number <= there]
        few = [number for number in kept if number < LEAST_PICTURES]
        if games := [arm for arm in self.question.arms if few and needs_game(arm)]:
            raise UsageFault(
                f"--numbers {few[0]} is too few for {games[0]}: a game needs {LEAST_PICTURES} pictures.",
                f"Leave {few[0]} out, or the arm.",
            )
        if left := sorted(set(self.question.numbers) - set(kept)):
            self.run.say(
                f"Left out: {', '.join(map(str, left))}; training has {there} of {self.question.name}."
            )
        if not kept:
            raise DataFault(
                f"Training has {there} pictures of {self.question.name}, fewer than any of --numbers.",
                f"Take --numbers {there}, or give it more pictures.",
            )
        return kept

    def chosen(self, number: int, repeat: int) -> np.ndarray:
        """The real pictures of a repeat; a smaller number's are among a larger one's."""
        import numpy as np

        pool = self.of(TRAINING, shown=True)
        order = np.random.default_rng([self.run.seed, repeat]).permutation(len(pool))
        return np.sort(pool[order[:number]])


def plan(split: Split, question: Question) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "classes": list(split.images.class_names),
        "images": {part: len(split.indices(part)) for part in PARTS},
        "question": question.name,
        "numbers": list(question.numbers),
        "arms": [NOTHING, *(arm for arm in question.arms if arm != NOTHING)],
        "repeats": question.repeats,
        "time": untold("it is nearly all that of the games; the first number and repeat says it."),
    }


# --- Cooking ---


def answer(run: Run, evidence: Evidence) -> list[Cell]:
    """Train and judge every arm at every number; what an earlier attempt answered is read, not done again."""
    import numpy as np

    from tlkit.results.benefit import measure_benefit

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
    """Which test pictures, bool [n], a classifier calls so that learned from `number` real ones and the arm's."""
    import numpy as np

    from tlkit.models.heads import best_of, fit_head, search

    chosen = evidence.chosen(number, repeat)
    added, shows = ARMS[arm](evidence, chosen, repeat)
    real = np.concatenate([chosen, evidence.of(TRAINING, shown=False)])
    rows = np.concatenate([evidence.features[real], added]).astype(np.float64)
    labels = np.concatenate([evidence.truth[real], shows]).astype(np.int64)
    judged = evidence.split.indices(VALIDATION)
    everything = np.concatenate([rows, evidence.features[judged].astype(np.float64)])
    truths = np.concatenate([labels, evidence.truth[judged].astype(np.int64)])
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


def write_verdict(run: Run, evidence: Evidence, cells: Sequence[Cell]) -> None:
    """Write benefit.csv, the curves, the page and the card, and say the verdict."""
    from tlkit.results.benefit import verdicts

    question = evidence.question
    test = evidence.split.indices(TEST)
    shows, groups = int(evidence.truth[test].sum()), len({evidence.split.groups[i] for i in test})
    write_cells(
        run,
        cells,
        Telling(
            f"Does it help to find {question.name}?",
            f"Finding {question.name}: {count(shows, 'picture')} among {len(test)}, {count(groups, 'group')}",
            ("recall", "precision", "eta"),
            tuple(verdicts(cells)),
        ),
        asdict(question),
    )


class Telling(NamedTuple):
    """How the answer is told.

    Attributes:
        heading: Of the page.
        title: What was judged, for the chart and the page.
        measures: Columns of the table and panels of the chart, by their names.
        verdict: Sentences.
        notes: More sentences for the page.
        pictures: More pictures of the page: name, caption.
        further: Columns of the table alone.
    """

    heading: str
    title: str
    measures: tuple[str, ...]
    verdict: tuple[str, ...]
    notes: tuple[str, ...] = ()
    pictures: tuple[tuple[str, str], ...] = ()
    further: tuple[str, ...] = ()


def write_cells(run: Run, cells: Sequence[Cell], telling: Telling, question: dict[str, Any]) -> None:
    """Write benefit.csv, the curves, the page and the card, and say the verdict; what was kept for a resume goes."""
    import shutil

    from tlkit.results.benefit_charts import benefit_curves
    from tlkit.results.canvas import save
    from tlkit.results.page import Table, write_page

    folder, said = run.folder.path, list(telling.verdict)
    rows = [as_row(cell) for cell in cells]
    header = list(dict.fromkeys(name for row in rows for name in row))
    table = [header, *([row.get(name, "") for name in header] for row in rows)]
    write_csv(folder / "benefit.csv", table, safe=run.csv_safe)
    save(
        benefit_curves(cells, telling.title, telling.measures), run.folder.folder("pictures") / "benefit.png"
    )
    run.record(kind="table", measures={"cells": rows, "verdict": said}, question=question)
    for sentence in said:
        run.say(sentence)
    run.result({"verdict": said})
    run.folder.write_json("card.json", run.card())
    caption = "Means over repeats with 95 % intervals; dashed: nothing added."
    write_page(
        folder,
        telling.heading,
        " ".join([f"{telling.title}.", *said, *telling.notes]),
        [Table("What each arm reaches", *_table(cells, (*telling.measures, *telling.further)))],
        [("benefit.png", caption), *telling.pictures],
    )
    shutil.rmtree(folder / CELLS, ignore_errors=True)


def _table(cells: Sequence[Cell], measures: Sequence[str]) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Header and rows for the page."""
    from tlkit.results.benefit import shown

    rows = []
    for cell in cells:
        gain = next(iter(cell.gains.values()), None)
        figures = [*(shown(cell.measures[name]) for name in measures), None if gain is None else shown(gain)]
        rows.append([cell.number, cell.arm, cell.repeats, *figures])
    return ("real pictures", "added", "repeats", *measures, "gain"), rows


def as_row(cell: Cell) -> dict[str, Any]:
    """A cell as plain columns: values, their intervals, then gains; the gain is that of the first measure compared."""
    row: dict[str, Any] = {"number": cell.number, "arm": cell.arm, "repeats": cell.repeats}
    row |= {name: measured.value for name, measured in cell.measures.items()}
    for name, measured in cell.measures.items():
        row[f"{name}_low"], row[f"{name}_high"] = measured.interval
    for place, (name, gain) in enumerate(cell.gains.items()):
        column = f"gain {name}" if place else "gain"
        row[column] = gain.value
        row[f"{column}_low"], row[f"{column}_high"] = gain.interval
    return row
