"""`tlkit compare`: what the cards of several runs say, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.inference import ask, load_served
from tlkit.cli.options.shared import csv_safe_option, json_option, most_pixels_option, runs_option
from tlkit.cli.tables import show_csv, show_markdown, show_table, with_interval
from tlkit.cli.unseen import unseen
from tlkit.core.console import Console
from tlkit.core.metric_names import CLASSIFIER, DETECTOR, names_of
from tlkit.core.run_folder import find_runs, read_card
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.data.boxes.dataset import Boxes
    from tlkit.tasks.detection.detections import Detections

_TEXTS = ("run", "recipe", "source", "backbone")
_MAIN, *_OTHERS = CLASSIFIER.compared
COLUMNS = (*_TEXTS, "n", _MAIN, "low", "high", *_OTHERS, "seconds", *DETECTOR.compared)
BATCH = 8  # images a step, of --draw
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
            show_markdown(header, cells, left=len(_TEXTS), digits=4)
        else:
            spare = [name for name in SPARE if name in header]
            show_table(header, cells, left=len(_TEXTS), spare=spare, digits=4)


def _columns(kinds: set[str]) -> list[str]:
    """The columns that a table of such runs needs: those of detectors only where there are some."""
    absent = {"low", "high"}
    if "detector" not in kinds:
        absent |= set(DETECTOR.compared)
    elif kinds == {"detector"}:
        absent |= set(CLASSIFIER.compared)
    return [column for column in COLUMNS if column not in absent]


def row_of(card: dict[str, Any], path: Path) -> dict[str, Any]:
    """One row of the comparison by column, and the run's path; what a card does not have is None.

    `low` and `high` bound the accuracy of a classifier and the AP50 of a detector.
    """
    measures = (card.get("measures") or {}).get("test") or {}
    low, high = (measures.get("intervals") or {}).get(names_of(card.get("kind")).main) or (None, None)
    figures = {name: measures.get(name) for name in ("n", *CLASSIFIER.compared, *DETECTOR.compared)}
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


def _shown(row: dict[str, Any], column: str) -> object:
    value = row[column]
    if column in {CLASSIFIER.main, DETECTOR.main} and value is not None and row["low"] is not None:
        return with_interval(value, (row["low"], row["high"]))
    return f"{value:.0f}" if column == "seconds" and value is not None else value


# --- detectors on the same images ---


def draw_compared(
    runs: Sequence[Path], cards: Sequence[dict[str, Any]], file: Path, source: str | None, number: int
) -> None:
    """Draw a row for each image: the truth, then each run's boxes from its own threshold on.

    Args:
        runs: [r] folders of detectors' runs.
        cards: [r] their cards.
        file: A PNG; must not exist.
        source: Images with boxes, or None: those of the first run.
        number: How many images.

    Raises:
        UsageFault: A run is no detector's, or the file cannot be used.
        DataFault: No image is left that none of the runs has learned from.
    """
    from tlkit.tasks.detection.evaluate_workflow import read_as_run
    from tlkit.tasks.detection.predict_workflow import threshold_of

    _check(runs, cards, file)
    wanted = source or str(cards[0].get("source"))
    boxes = read_as_run(cards[0], wanted)
    names = [*boxes.class_names, *(name for card in cards for name in card.get("classes") or ())]
    truth = boxes.take(chosen_images(runs, boxes, number))
    truth = replace(truth, class_names=tuple(dict.fromkeys(names)))  # all that a run may find
    detectors = {
        name: (_found(run, truth), threshold_of(run, card))
        for run, card, name in zip(runs, cards, _titles(runs, cards), strict=True)
    }
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.detection.reporting.plots import beside_truth

    save(beside_truth(truth, detectors, range(len(truth))), file)
    Console().say(f"Drawn: {len(truth)} images of {wanted} that no run has learned from, in {file}.")


def chosen_images(runs: Sequence[Path], boxes: Boxes, number: int) -> list[int]:
    """Indices of images that none of the runs has learned from, spread over the set, one of them empty.

    Args:
        runs: Folders of finished runs.
        boxes: The images.
        number: How many at most; from 3 on the last is one without objects, where there is one.

    Raises:
        DataFault: There is none.
    """
    with_objects = [i for i in range(len(boxes)) if len(boxes.xyxy[i])]
    empty = [i for i in range(len(boxes)) if not len(boxes.xyxy[i])]
    last = _first_unseen(runs, boxes, empty, 1) if number >= 3 or not with_objects else []
    first = _first_unseen(runs, boxes, with_objects, number - len(last))
    if not first + last:
        raise DataFault(
            f"Some run has learned from each image of {boxes.source}.", "Name others with --source."
        )
    return first + last


def _first_unseen(runs: Sequence[Path], boxes: Boxes, indices: list[int], number: int) -> list[int]:
    """`number` of the unseen among `indices`, evenly spread, one of a group; hashed only until there are enough."""
    from tlkit.data.images.inspection import inspect_files

    indices = sorted({boxes.groups[i] or boxes.paths[i]: i for i in reversed(indices)}.values())
    stride = max(len(indices) // max(number, 1), 1)
    spread = [i for start in range(stride) for i in indices[start::stride]]
    found: list[int] = []
    for start in range(0, len(spread), 4 * number):
        some = spread[start : start + 4 * number]
        looked = inspect_files([boxes.file(i) for i in some])
        fit = set(range(len(some))).intersection(*(unseen(run, looked) for run in runs))
        found += [some[place] for place in sorted(fit)]
        if len(found) >= number:
            break
    return sorted(found[:number])


def _check(runs: Sequence[Path], cards: Sequence[dict[str, Any]], file: Path) -> None:
    for run, card in zip(runs, cards, strict=True):
        if card.get("kind") != "detector":
            raise UsageFault(f"--draw is for detectors, and {run} is none.", "Leave it out.")
    if file.suffix.lower() != ".png":
        raise UsageFault(f"--draw {file} is no PNG.", "Let its name end in .png.")
    if file.exists():
        raise UsageFault(f"--draw {file} is there already.", "Name a new file.")


def _titles(runs: Sequence[Path], cards: Sequence[dict[str, Any]]) -> list[str]:
    """Each run's network, and the run where two have the same."""
    networks = [str((card.get("model") or {}).get("network") or card.get("recipe")) for card in cards]
    return [
        network if networks.count(network) == 1 else f"{network} {run.parent.name}/{run.name}"
        for run, network in zip(runs, networks, strict=True)
    ]


def _found(run: Path, truth: Boxes) -> list[Detections]:
    """What the run's SavedModel answers about each image."""
    import numpy as np

    served = load_served(run, detector=True)
    answers = ask(served, [truth.file(i) for i in range(len(truth))], BATCH, f"asking {run.name}")
    order = np.array([truth.class_names.index(name) for name in served.classes], np.int32)
    return [one._replace(labels=order[one.labels]) for one in answers]
