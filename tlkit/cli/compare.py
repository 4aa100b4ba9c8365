"""`tlkit compare`: what the cards of several runs say, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import json_option, runs_option
from tlkit.cli.outcome import show
from tlkit.cli.tables import show_csv, show_markdown, show_table
from tlkit.errors import UsageFault
from tlkit.results.run_folder import find_runs, read_card

COLUMNS = (
    "run",
    "recipe",
    "source",
    "backbone",
    "n",
    "accuracy",
    "low",
    "high",
    "eta",
    "auc",
    "ece",
    "seconds",
)
TEXTS = 4  # how many of the columns are text
SPARE = ("ece", "seconds", "auc", "recipe", "source")  # left out first in a narrow terminal
EXAMPLES = """
    tlkit compare fine-tune-photos small-cnn-photos
    tlkit compare fine-tune-photos/1 fine-tune-photos/4 --markdown
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("names", nargs=-1, required=True, help="Runs: NAME (all its runs), NAME/3, or a folder.")
@runs_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def compare(names: tuple[str, ...], runs: Path, as_json: bool, as_csv: bool, markdown: bool) -> None:
    """Put runs side by side in one table.

    Figures are those of each run's own test part, accuracy with its 95 % interval. Runs on different images
    cannot be ranked by them: tlkit evaluate measures several runs on one source.
    """
    if as_json + as_csv + markdown > 1:
        raise UsageFault("Use just one of --json, --csv and --markdown.")
    found = dict.fromkeys(path for name in names for path in find_runs(name, runs))
    rows = [row_of(read_card(path), path) for path in found]
    if as_json:
        show({"runs": rows}, as_json=True)
    elif as_csv:
        show_csv(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    else:
        header = [column for column in COLUMNS if column not in {"low", "high"}]
        cells = [[_shown(row, column) for column in header] for row in rows]
        if markdown:
            show_markdown(header, cells, left=TEXTS)
        else:
            show_table(header, cells, left=TEXTS, spare=SPARE)


def row_of(card: dict[str, Any], path: Path) -> dict[str, Any]:
    """One row of the comparison by column, and the run's path; what a card does not have is None."""
    measures = (card.get("measures") or {}).get("test") or {}
    low, high = (measures.get("intervals") or {}).get("accuracy") or (None, None)
    figures = {name: measures.get(name) for name in ("n", "accuracy", "eta", "auc", "ece")}
    return {
        "run": f"{card.get('name', path.parent.name)}/{card.get('number', path.name)}",
        "recipe": card.get("recipe"),
        "source": card.get("source"),
        "backbone": (card.get("model") or {}).get("backbone"),
        **figures,
        "low": low,
        "high": high,
        "seconds": card.get("seconds"),
        "path": path,
    }


def _shown(row: dict[str, Any], column: str) -> str | None:
    value = row[column]
    if column == "accuracy" and value is not None and row["low"] is not None:
        return f"{value:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
    if column == "seconds" and value is not None:
        return f"{value:.0f}"
    return f"{value:.4f}" if isinstance(value, float) else value
