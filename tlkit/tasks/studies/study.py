"""Study: does something that is added to training help? Its question, its cells, its report and its interpretation.

At several numbers of real images, each arm is trained several times: with them alone, and with something added. What a
training comes to is kept in `cells/` until the end, for a run that goes on. What is trained and how it is evaluated
is its subject's: see `few_shot_workflow` and `composites_workflow`.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run

if TYPE_CHECKING:
    import numpy as np

    from tlkit.tasks.studies.gains import Cell
    from tlkit.tasks.studies.question import Question

CELLS = "cells"  # folder of what is there already, for a run that goes on


class Telling(NamedTuple):
    """How the answer is told.

    Attributes:
        heading: Of the page.
        title: What was evaluated, for the chart and the page.
        measures: Columns of the table and panels of the chart, by their names.
        interpretation: Sentences.
        question: For the card.
        notes: More sentences for the page.
        images: More images of the report: name, caption.
        further: Columns of the table alone.
    """

    heading: str
    title: str
    measures: tuple[str, ...]
    interpretation: tuple[str, ...]
    question: dict[str, Any]
    notes: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    further: tuple[str, ...] = ()


class Study(ABC):
    """A subject: what is trained, how it is evaluated, and how the answer is told.

    Attributes:
        run: Of the recipe.
        question: What is asked.
        numbers: Those of the question that training has enough images for.
    """

    run: Run
    question: Question
    numbers: Sequence[int]

    def arms(self, _number: int) -> tuple[str, ...]:
        """The arms at a number."""
        return self.question.every_arm

    @abstractmethod
    def trained(self, number: int, arm: str, repeat: int) -> np.ndarray:
        """What a training of an arm says of the test part: an array, to be kept in a file."""

    def evaluated(self, answer: np.ndarray) -> Any:
        """What `trained` gave, as `measured` takes it."""
        return answer

    @abstractmethod
    def shown(self, answers: Sequence[Any]) -> str:
        """What the repeats of an arm have come to, in a few figures."""

    @abstractmethod
    def measured(self, answers: Mapping[tuple[int, str], Sequence[Any]]) -> list[Cell]:
        """The cells of (number, arm) -> what is evaluated of each repeat."""

    @abstractmethod
    def told(self, cells: Sequence[Cell]) -> Telling:
        """How the answer is told."""


# --- cells ---


def cell_name(number: int, arm: str, repeat: int) -> str:
    """What a training is called in `cells/`."""
    return f"{number}-{arm}-{repeat}"


def computed_once(run: Run, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that the run keeps by name until its end; a kill leaves no half of it."""
    import numpy as np

    file = run.folder.folder(CELLS) / f"{name}.npy"
    if not file.is_file():
        aside = file.with_suffix(".part.npy")
        np.save(aside, compute())
        aside.replace(file)
    return np.load(file, allow_pickle=False)


def answer(run: Run, study: Study) -> list[Cell]:
    """Train and evaluate every arm at every number; what an earlier attempt answered is read, not done again."""
    answers: dict[tuple[int, str], list[Any]] = {}
    for number in study.numbers:
        for arm in study.arms(number):
            answers[number, arm] = [
                study.evaluated(
                    computed_once(
                        run, cell_name(number, arm, repeat), partial(study.trained, number, arm, repeat)
                    )
                )
                for repeat in range(study.question.repeats)
            ]
            run.say(f"{number:>4} real, {arm:10}  {study.shown(answers[number, arm])}")
    return study.measured(answers)


# --- report ---


def evaluate(run: Run, study: Study, cells: Sequence[Cell]) -> None:
    """Write benefit.csv, curves, report and card, and say the interpretation; what was kept to resume goes."""
    from tlkit.engine.reporting.html import Table, close_run
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.studies.gain_charts import benefit_curves

    telling, folder = study.told(cells), run.folder.path
    said = list(telling.interpretation)
    rows = [as_row(cell) for cell in cells]
    header = list(dict.fromkeys(name for row in rows for name in row))
    table = [header, *([row.get(name, "") for name in header] for row in rows)]
    write_csv(folder / "benefit.csv", table, safe=run.csv_safe)
    save(
        benefit_curves(cells, telling.title, telling.measures), run.folder.folder("pictures") / "benefit.png"
    )
    run.record(kind="table", measures={"cells": rows, "verdict": said}, question=telling.question)
    for sentence in said:
        run.say(sentence)
    run.result({"verdict": said})
    caption = "Means over repeats with 95 % intervals; dashed: nothing added."
    close_run(
        run,
        telling.heading,
        " ".join([f"{telling.title}.", *said, *telling.notes]),
        [Table("What each arm reaches", *_table(cells, (*telling.measures, *telling.further)))],
        [("benefit.png", caption), *telling.images],
    )
    shutil.rmtree(folder / CELLS, ignore_errors=True)


def _table(cells: Sequence[Cell], measures: Sequence[str]) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Header and rows for the page."""
    from tlkit.tasks.studies.gains import shown

    rows = []
    for cell in cells:
        gain = next(iter(cell.gains.values()), None)
        figures = [*(shown(cell.measures[name]) for name in measures), None if gain is None else shown(gain)]
        rows.append([cell.number, cell.arm, cell.repeats, *figures])
    return ("real images", "added", "repeats", *measures, "gain"), rows


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
