"""`tlkit predict`: names for images, or boxes on them, from the SavedModel of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.inference import Files, ask, find_images, left_out, load_served, say_all
from tlkit.cli.options.shared import (
    csv_safe_option,
    hold_limit,
    json_option,
    runs_option,
    served_pixels_option,
)
from tlkit.cli.tables import show_csv, show_table
from tlkit.core.run_folder import find_run, read_card
from tlkit.errors import UsageFault

if TYPE_CHECKING:
    from tlkit.tasks.classification.serving.saved_model import Prediction


EXAMPLES = """
    tlkit predict fine-tune-photos new/1.png new/2.png
    tlkit predict fine-tune-photos/3 new/ --csv > names.csv
    tlkit predict detect-yolov8-bags new/ --draw found/
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="NAME (its newest run), NAME/3, or a run's folder.")
@click.argument(
    "images",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="Images, or folders: all images below; of a detector, a COCO file too.",
)
@click.option("--skip-bad", is_flag=True, help="Leave unreadable images out and list them.")
@click.option("--batch", type=click.IntRange(1), default=32, metavar="N", help="Images a step.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Of a detector's boxes only those with this score.  [default: where F1 was best on the run's validation part]",
)
@click.option(
    "--draw",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Of a detector: write images with their boxes, boxes.csv and COCO's detections.json.",
)
@click.option(
    "--coco",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="COCO file whose ids detections.json gets.  [default: the one asked about, else numbers from 1]",
)
@served_pixels_option
@runs_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@csv_safe_option
def predict(
    run: str,
    images: tuple[Path, ...],
    skip_bad: bool,
    batch: int,
    threshold: float | None,
    draw: Path | None,
    coco: Path | None,
    most_pixels: int | None,
    runs: Path,
    as_json: bool,
    as_csv: bool,
    csv_safe: bool,
) -> None:
    """Name what is on images, or find it, with a finished run.

    Of a classifier one line an image: its path, the most probable class and that probability; --json and --csv
    have the probabilities of all classes. Of a detector one line a box: path, class, score and the box in pixels of
    the image, right and bottom exclusive; an image without a box has a line too.
    """
    if as_json and as_csv:
        raise UsageFault("Use just one of --json and --csv.")
    if csv_safe and not (as_csv or draw):
        raise UsageFault("--csv-safe is for --csv and for --draw.", "Add one, or leave it out.")
    path = find_run(run, runs)
    form = "json" if as_json else "csv" if as_csv else "text"
    card = read_card(path)
    hold_limit(path, card, most_pixels)
    if card.get("kind") == "detector":
        from tlkit.cli.commands.predict_boxes import Asked, tell_boxes

        tell_boxes(
            Asked(path, card, images, threshold, draw, coco, csv_safe), form, batch=batch, skip_bad=skip_bad
        )
        return
    for option, value in (("--draw", draw), ("--threshold", threshold), ("--coco", coco)):
        if value is not None:
            raise UsageFault(
                f"{option} is for detectors, and {path} is none.", "Leave it out, or name a detector's run."
            )
    _tell_names(path, find_images(images), form, batch=batch, skip_bad=skip_bad, csv_safe=csv_safe)


def _tell_names(path: Path, asked: Files, form: str, *, batch: int, skip_bad: bool, csv_safe: bool) -> None:
    served = load_served(path)
    skipped: list[tuple[str, str]] | None = [] if skip_bad else None
    rows = [_row(one, served.classes) for one in ask(served, asked.files, batch, "predicting", skipped)]
    if form == "json":
        outcome = {"run": path, "classes": served.classes, "predictions": rows, "skipped": left_out(skipped)}
        show({**outcome, "remarks": asked.remarks}, as_json=True)
        return
    say_all(asked.remarks)
    left_out(skipped, say=True)
    cells = [[row["path"], row["label"], row["confidence"]] for row in rows]
    if form == "csv":
        wide = [[*cell, *row["probabilities"].values()] for cell, row in zip(cells, rows, strict=True)]
        show_csv(["path", "label", "confidence", *served.classes], wide, safe=csv_safe)
    else:
        show_table(["path", "label", "confidence"], [[p, label, f"{c:.4f}"] for p, label, c in cells], left=2)


def _row(prediction: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "path": Path(prediction.path).as_posix(),
        "label": prediction.label,
        "confidence": round(float(prediction.confidence), 6),
        "probabilities": {
            name: round(float(value), 6)
            for name, value in zip(classes, prediction.probabilities, strict=True)
        },
    }
