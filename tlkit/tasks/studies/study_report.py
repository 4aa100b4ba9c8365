"""Report of a study: benefit.csv, the curves, the report, the card, and the verdict said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run
from tlkit.tasks.studies.few_shot_data import CELLS

if TYPE_CHECKING:
    from tlkit.tasks.studies.gains import Cell


class Telling(NamedTuple):
    """How the answer is told.

    Attributes:
        heading: Of the page.
        title: What was evaluated, for the chart and the page.
        measures: Columns of the table and panels of the chart, by their names.
        verdict: Sentences.
        notes: More sentences for the page.
        images: More images of the report: name, caption.
        further: Columns of the table alone.
    """

    heading: str
    title: str
    measures: tuple[str, ...]
    verdict: tuple[str, ...]
    notes: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    further: tuple[str, ...] = ()


def write_cells(run: Run, cells: Sequence[Cell], telling: Telling, question: dict[str, Any]) -> None:
    """Write benefit.csv, the curves, the report and the card, and say the verdict; what was kept for a resume goes."""
    import shutil

    from tlkit.engine.reporting.html import Table, write_report
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.studies.gain_charts import benefit_curves

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
    write_report(
        folder,
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
