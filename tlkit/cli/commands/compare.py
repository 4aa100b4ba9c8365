"""`tlkit compare`: what the cards of several runs say, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import csv_safe_option, json_option, most_pixels_option, runs_option
from tlkit.cli.tables import show_csv, show_markdown, show_table
from tlkit.core.run_folder import find_runs, read_card
from tlkit.errors import UsageFault

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
    "AP50",
    "AP",
)
NAMING = {"classifier": ("accuracy", "eta", "auc", "ece"), "detector": ("AP50", "AP")}  # columns of its own
TEXTS = 4  # how many of the columns are text
SPARE = ("ece", "seconds", "auc", "recipe", "source")  # left out first in a narrow terminal
EXAMPLES = """
    tlkit compare fine-tune-photos small-cnn-photos
    tlkit compare fine-tune-photos/1 fine-tune-photos/4 --markdown
    tlkit compare detect-retinanet-bags detect-yolov8-bags --draw both.png
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("names", nargs=-1, required=True, help="Runs: NAME (all its runs), NAME/3, or a folder.")
@most_pixels_option
@runs_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@csv_safe_option
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option(
    "--draw",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Of detectors: draw the same images, the truth and what each run finds.",
)
@click.option(
    "--source",
    metavar="SOURCE",
    help="Of --draw: images with boxes.  [default: the first run's own]",
)
@click.option("--images", type=click.IntRange(1, 50), default=6, metavar="N", help="Of --draw: how many.")
def compare(
    names: tuple[str, ...],
    runs: Path,
    as_json: bool,
    as_csv: bool,
    csv_safe: bool,
    markdown: bool,
    draw: Path | None,
    source: str | None,
    images: int,
) -> None:
    """Put runs side by side in one table.

    Figures are those of each run's own test part, accuracy, and AP50 of detectors, with its 95 % interval. Runs on
    different images cannot be ranked by them: tlkit evaluate measures several runs on one source. --draw takes
    images that none of the runs has learned from.
    """
    if as_json + as_csv + markdown > 1:
        raise UsageFault("Use just one of --json, --csv and --markdown.")
    if csv_safe and not as_csv:
        raise UsageFault("--csv-safe is for --csv.", "Add --csv, or leave it out.")
    found = list(dict.fromkeys(path for name in names for path in find_runs(name, runs)))
    cards = [read_card(path) for path in found]
    if draw:
        from tlkit.cli.commands.compare_boxes import draw_compared

        draw_compared(found, cards, draw, source, images)
    elif source:
        raise UsageFault("--source says which images --draw takes.", "Add --draw FILE.png, or leave it out.")
    rows = [row_of(card, path) for card, path in zip(cards, found, strict=True)]
    if as_json:
        show({"runs": rows}, as_json=True)
    elif as_csv:
        show_csv(COLUMNS, [[row[column] for column in COLUMNS] for row in rows], safe=csv_safe)
    else:
        header = _columns({str(card.get("kind")) for card in cards})
        cells = [[_shown(row, column) for column in header] for row in rows]
        if markdown:
            show_markdown(header, cells, left=TEXTS)
        else:
            show_table(header, cells, left=TEXTS, spare=[name for name in SPARE if name in header])


def _columns(kinds: set[str]) -> list[str]:
    """The columns that a table of such runs needs: those of detectors only where there are some."""
    absent = {"low", "high"}
    if "detector" not in kinds:
        absent |= set(NAMING["detector"])
    elif kinds == {"detector"}:
        absent |= set(NAMING["classifier"])
    return [column for column in COLUMNS if column not in absent]


def row_of(card: dict[str, Any], path: Path) -> dict[str, Any]:
    """One row of the comparison by column, and the run's path; what a card does not have is None.

    `low` and `high` bound the accuracy of a classifier and the AP50 of a detector.
    """
    measures = (card.get("measures") or {}).get("test") or {}
    leading = "AP50" if card.get("kind") == "detector" else "accuracy"
    low, high = (measures.get("intervals") or {}).get(leading) or (None, None)
    figures = {name: measures.get(name) for name in ("n", *NAMING["classifier"], *NAMING["detector"])}
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
    if column in {"accuracy", "AP50"} and value is not None and row["low"] is not None:
        return f"{value:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
    if column == "seconds" and value is not None:
        return f"{value:.0f}"
    return f"{value:.4f}" if isinstance(value, float) else value
