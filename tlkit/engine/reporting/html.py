"""HTML report of a run: one report of a lead, tables, pictures, and where it all comes from.

Pictures are inside the report; it loads nothing and runs nothing. A report with more to say extends `page.html.j2`.
"""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from tlkit.core.run import Run
from tlkit.core.text import some_of
from tlkit.data.checks.predictions import MANY
from tlkit.engine.training.settings import CHECKPOINTS

Cell = str | int | float | None
OPEN_ROWS = 40  # a longer table is folded
TEMPLATES = Path(__file__).parent
_FIGURE = re.compile(r"[-+±]?[0-9][0-9.,]*\s?%?|[-–]?")  # text that lines up with numbers


class Table(NamedTuple):
    """A table of the page.

    Attributes:
        title: Its heading.
        header: [k] names of the columns.
        rows: Of k cells each. Numbers are written for people (None as a dash); text stays as it is. A column of
            numbers (or of text such as "9.1 %") is aligned right.
        marked: (row, column) of the cells to stand out, such as the best of a column.
        note: A sentence below; may be empty.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: Collection[tuple[int, int]] = ()
    note: str = ""


def write_report(
    folder: Path, title: str, lead: str, tables: Sequence[Table], images: Sequence[tuple[str, str]]
) -> Path:
    """Write `report.html` of a run, finished or not, over an earlier one.

    Seed, options and environment are read from the folder's card.json, or options.json where there is none yet, and
    so is what was left out or mended of annotations: write the card first to have them all.

    Args:
        folder: Of the run.
        title: Heading of the page.
        lead: What was found, in a sentence or two.
        tables: In their order; plain (title, header, rows) will do.
        images: (name of a PNG in `pictures/`, what to look for), in their order.

    Returns:
        The path of the page.

    Raises:
        ValueError: A row has not as many cells as its header.
        OSError: A picture cannot be read or the report cannot be written.
    """
    card = {**read_json(folder / "options.json"), **read_json(folder / "card.json")}
    return write_html(
        folder,
        TEMPLATES / "page.html.j2",
        title=title,
        lead=lead,
        card=card,
        facts=_facts(card),
        tables=[_typeset(Table(*table)) for table in (*tables, *_mended(card))],
        images=[
            {"content": image_text(folder / "pictures" / name), "caption": caption}
            for name, caption in images
        ],
        settings=[(part.title(), card.get(part)) for part in ("model", "options", "environment")],
        open_rows=OPEN_ROWS,
    )


def close_run(
    run: Run, title: str, lead: str, tables: Sequence[Table], images: Sequence[tuple[str, str]]
) -> Path:
    """End a run that has all that it will have: write the card, then the report from it; arguments as `write_report`."""
    write_card(run)
    return write_report(run.folder.path, title, lead, tables, images)


def write_card(run: Run) -> None:
    """Take away what only a resume would need, and write card.json, from which the report is made."""
    shutil.rmtree(run.folder.path / CHECKPOINTS, ignore_errors=True)
    run.folder.write_json("card.json", run.card())


def write_html(folder: Path, template: Path, **facts: Any) -> Path:
    """Write `report.html` of a run from a template, which is `page.html.j2` or extends it, over an earlier one.

    Args:
        folder: Of the run; the template gets the names of its `files`.
        template: Those it extends or includes lie beside it or in `TEMPLATES`.
        facts: What the template needs: title, card and settings, (heading, mapping) each; the rest is its own.

    Returns:
        The path of the page.
    """
    names = (
        path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "report.html"
    )
    files = sorted(f"{path.name}/" if path.is_dir() else path.name for path in names)
    page = _environment(template.parent).get_template(template.name).render(files=files, **facts)
    path = folder / "report.html"
    aside = folder / ".report.html"
    aside.write_text(page, encoding="utf-8", errors="backslashreplace")
    aside.replace(path)
    return path


@cache
def _environment(home: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([home, TEMPLATES]),
        autoescape=True,
        undefined=ChainableUndefined,  # a card may lack anything
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {name: _or_dash(write) for name, write in _FIGURES.items()}
    environment.filters.update(shown=shown, some_of=some_of, **figures)
    return environment


def image_text(file: Path) -> str:
    """A picture as the text that stands in the report for it, base64."""
    return base64.b64encode(file.read_bytes()).decode("ascii")


# --- provenance --------------------------------------------------------------------------------------------


def _facts(card: dict[str, Any]) -> list[str]:
    """The line below the title."""
    options = card.get("options") or {}
    seed = card.get("seed", options.get("seed"))
    created = str(card.get("created") or "").replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")
    facts = [
        f"from {card['source']}" if card.get("source") else "",
        created,
        f"{card['seconds']:.0f} s" if card.get("seconds") else "",
        f"seed {seed}" if seed is not None else "",
        f"tlkit {card['tlkit']}" if card.get("tlkit") else "",
    ]
    return [fact for fact in facts if fact]


def _mended(card: dict[str, Any]) -> Iterator[Table]:
    """What was clipped, dropped, turned or left out of each source of boxes, one row each."""
    for key, name in (("data", card.get("source")), ("bags", (card.get("bags") or {}).get("source"))):
        mended = (card.get(key) or {}).get("mended")
        if mended:
            rows = [
                [fault["path"], fault["kind"], fault["where"], fault["what"], fault["done"]]
                for fault in mended
            ]
            title = f"Annotations of {name} that were mended or left out ({len(rows)})"
            yield Table(title, ("image", "kind", "where", "what is wrong", "what was done"), rows)


# --- tables ------------------------------------------------------------------------------------------------


def _typeset(table: Table) -> dict[str, Any]:
    """A table with its cells as text, and for each column whether it holds figures."""
    wrong = [row for row in table.rows if len(row) != len(table.header)]
    if wrong:
        raise ValueError(
            f"{table.title}: {len(table.header)} columns, but a row of {len(wrong[0])}: {wrong[0]}"
        )
    marked = set(table.marked)
    rows = [
        [{"text": _text(cell), "marked": (i, j) in marked} for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    figures = [
        all(not isinstance(cell := row[j], str) or _FIGURE.fullmatch(cell) for row in table.rows)
        for j in range(len(table.header))
    ]
    return {**table._asdict(), "rows": rows, "figures": figures}


def _text(cell: Cell) -> str:
    """A cell for people: thousands apart, three decimals, a dash for what is not known."""
    if cell is None or isinstance(cell, str):
        return "–" if cell is None else cell
    if isinstance(cell, Integral):  # NumPy's too
        return f"{int(cell):,}"
    value = float(cell)
    if not math.isfinite(value):
        return "–"
    return f"{value:,.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def shown(value: Any) -> str:
    """Write an option's value for people."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return some_of([shown(item) for item in value], MANY) or "–"
    if isinstance(value, dict):
        return some_of([f"{key}: {shown(item)}" for key, item in value.items()], MANY) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- numbers for people ------------------------------------------------------------------------------------


def percent(share: float) -> str:
    """Write a share as a percentage that is never rounded up to 100 or down to 0.

    Args:
        share: 0..1.
    """
    text = f"{100 * share:.1f}"
    if share < 1 and text == "100.0":
        return "more than 99.9 %"
    if share > 0 and text == "0.0":
        return "less than 0.1 %"
    return f"{text.removesuffix('.0') if share in (0, 1) else text} %"


def _or_dash(write: Callable[..., str]) -> Callable[..., str]:
    """The same for numbers; a dash for all else."""

    def written(value: Any, *how: Any) -> str:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return write(value, *how) if is_number else "–"

    return written


def duration(seconds: float) -> str:
    """A length of time for people, such as "3 min 20 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


_FIGURES: dict[str, Callable[..., str]] = {  # filters of the templates
    "number": lambda value, digits=3: f"{value:.{digits}f}",
    "whole": "{:,}".format,
    "rate": "{:.3g}".format,
    "share": percent,
    "duration": duration,
}
