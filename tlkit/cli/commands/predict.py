"""`tlkit predict`: names for images, or boxes on them, from the SavedModel of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.inference import ask, find_images, load_served, milliseconds
from tlkit.cli.options.shared import (
    csv_safe_option,
    hold_limit,
    json_option,
    runs_option,
    served_pixels_option,
)
from tlkit.cli.tables import show_csv, show_table
from tlkit.core.console import Console
from tlkit.core.files import check_new_folder
from tlkit.core.run_folder import find_run, read_card
from tlkit.errors import UsageFault

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
    card = read_card(path)
    hold_limit(path, card, most_pixels)
    skipped: list[tuple[str, str]] = []
    left_out = skipped if skip_bad else None
    if card.get("kind") == "detector":
        asked = Asked(images, threshold, draw, coco, csv_safe)
        answer = _ask_detector(path, card, asked, batch, left_out)
    else:
        for option, value in (("--draw", draw), ("--threshold", threshold), ("--coco", coco)):
            if value is not None:
                raise UsageFault(
                    f"{option} is for detectors, and {path} is none.",
                    "Leave it out, or name a detector's run.",
                )
        answer = _ask_classifier(path, *find_images(images), batch, left_out)
    if as_json:
        rows = [{"path": file, "reason": reason} for file, reason in skipped]
        outcome = {"skipped": rows, "remarks": answer.remarks, **(answer.drawn or {})}
        show({"run": path, **answer.facts, "predictions": answer.predictions, **outcome}, as_json=True)
        return
    for sentence in (*answer.remarks, *(f"Left out: {file} {reason}." for file, reason in skipped)):
        Console().say(sentence)
    if answer.note:
        Console().say(answer.note)
    if as_csv:
        show_csv(answer.header, answer.rows, safe=csv_safe)
    else:
        cells = [row[: answer.narrow] for row in answer.rows]
        show_table(answer.header[: answer.narrow], cells, left=2, digits=answer.digits)


class Answer(NamedTuple):
    """What a run says about images.

    Attributes:
        facts: What --json has before the predictions.
        predictions: [n] entries of --json.
        header: Columns of --csv.
        rows: Theirs.
        narrow: How many of the columns a table for people has.
        digits: Behind the point in it.
        remarks: What was passed over, in sentences.
        note: A sentence above the table.
        drawn: What --json has at the end, or None.
    """

    facts: dict[str, Any]
    predictions: list[dict[str, Any]]
    header: Sequence[str]
    rows: list[list[Any]]
    narrow: int
    digits: int
    remarks: list[str]
    note: str = ""
    drawn: dict[str, Any] | None = None


def _ask_classifier(
    path: Path, files: list[Path], remarks: list[str], batch: int, skipped: list[tuple[str, str]] | None
) -> Answer:
    served, times = load_served(path), list[float]()
    predictions = [
        {
            "path": Path(one.path).as_posix(),
            "label": one.label,
            "confidence": round(float(one.confidence), 6),
            "probabilities": {
                name: round(float(value), 6)
                for name, value in zip(served.classes, one.probabilities, strict=True)
            },
        }
        for one in ask(served, files, batch, "predicting", skipped, times)
    ]
    header = ("path", "label", "confidence")
    rows = [[*(one[name] for name in header), *one["probabilities"].values()] for one in predictions]
    facts = {"classes": served.classes, "milliseconds": milliseconds(times)}
    return Answer(facts, predictions, [*header, *served.classes], rows, len(header), 4, remarks)


class Asked(NamedTuple):
    """What a person wants to know of a detector.

    Attributes:
        images: Images, folders and COCO files.
        threshold: Least score, or None.
        draw: Where to draw, or None.
        coco: COCO file whose numbers images and classes get, or None.
        csv_safe: Whether CSV keeps spreadsheets from running names.
    """

    images: tuple[Path, ...]
    threshold: float | None
    draw: Path | None
    coco: Path | None
    csv_safe: bool


def _ask_detector(
    path: Path, card: dict[str, Any], asked: Asked, batch: int, skipped: list[tuple[str, str]] | None
) -> Answer:
    """Find things on images, and draw them where that is asked.

    Raises:
        UsageFault: Threshold or folder cannot be used.
        DataFault: An image cannot be used, or a COCO file.
    """
    from tlkit.tasks.detection import predict_workflow as finding

    threshold = finding.threshold_of(path, card, asked.threshold)
    if asked.coco and not asked.draw:
        raise UsageFault(
            "--coco gives the numbers in detections.json, which --draw writes.", "Add --draw FOLDER."
        )
    places, named = finding.in_coco_files(asked.images)
    files, remarks = find_images(tuple(places))
    ids = finding.ids_for(asked.images, named, asked.coco) if asked.draw else None
    if asked.draw:
        check_new_folder(asked.draw, [place for place in asked.images if place.is_dir()], "--draw ")
    served, times = load_served(path, detector=True), list[float]()
    answers = ask(served, files, batch, "finding", skipped, times)
    found = [finding.shown(one, threshold) for one in answers]
    if asked.draw:
        numbers = finding.numbers_of(found, served.classes, ids, asked=asked.coco is not None)
        about = {"description": f"found by {path.as_posix()}", "threshold": threshold}
        finding.draw_found(found, served.classes, asked.draw, about, numbers, safe=asked.csv_safe)
    boxes = [(one.path, finding.rows_of(one, served.classes)) for one in found]
    nothing = [[None] * len(finding.COLUMNS)]  # a row of an image without a box
    return Answer(
        facts={"classes": served.classes, "threshold": threshold, "milliseconds": milliseconds(times)},
        predictions=[
            {"path": file, "boxes": [dict(zip(finding.COLUMNS, row, strict=True)) for row in rows]}
            for file, rows in boxes
        ],
        header=("path", *finding.COLUMNS),
        rows=[[file, *row] for file, rows in boxes for row in rows or nothing],
        narrow=1 + len(finding.COLUMNS),
        digits=2,
        remarks=remarks,
        note=""
        if asked.threshold is not None
        else f"Boxes from a score of {threshold:.2f} on; --threshold takes others.",
        drawn={"drawn": asked.draw},
    )
