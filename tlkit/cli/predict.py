"""`tlkit predict`: names for images, or boxes on them, from the SavedModel of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tlkit.cli.console import Console
from tlkit.cli.device import import_tensorflow
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import csv_safe_option, hold_limit, json_option, runs_option, served_pixels_option
from tlkit.cli.outcome import show
from tlkit.cli.tables import show_csv, show_table
from tlkit.errors import DataFault, UsageFault
from tlkit.results.run_folder import find_run, read_card

if TYPE_CHECKING:
    from tlkit.results.serving import Loaded, Prediction, Served

Answer = TypeVar("Answer")

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
    help="Pictures, or folders: all pictures below; of a detector, a COCO file too.",
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
    help="Of a detector: write pictures with their boxes, boxes.csv and COCO's detections.json.",
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
        from tlkit.cli.boxes_found import Asked, tell_boxes

        tell_boxes(
            Asked(path, card, images, threshold, draw, coco, csv_safe), form, batch=batch, skip_bad=skip_bad
        )
        return
    for option, value in (("--draw", draw), ("--threshold", threshold), ("--coco", coco)):
        if value is not None:
            raise UsageFault(
                f"{option} is for detectors, and {path} is none.", "Leave it out, or name a detector's run."
            )
    _tell_names(path, pictures(images), form, batch=batch, skip_bad=skip_bad, csv_safe=csv_safe)


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


def left_out(skipped: list[tuple[str, str]] | None, *, say: bool = False) -> list[dict[str, str]]:
    """The files that cannot be used as {"path", "reason"}; told on stderr if `say`."""
    rows = [{"path": file, "reason": reason} for file, reason in skipped or ()]
    for row in rows if say else ():
        Console().say(f"Left out: {row['path']} {row['reason']}.")
    return rows


def say_all(remarks: list[str]) -> None:
    """Tell on stderr what was passed over."""
    for sentence in remarks:
        Console().say(sentence)


class Files(NamedTuple):
    """What a person asks about: files, and what in their folders was passed over, in sentences."""

    files: list[Path]
    remarks: list[str]


def pictures(places: tuple[Path, ...]) -> Files:
    """The files among `places` and the images in the folders among them, in that order, none twice.

    A file that is named is tried whatever its name; in a folder the rule is that of a source (`images_below`).

    Raises:
        DataFault: One is not there, or a folder has no pictures.
    """
    from tlkit.data.image_folders import images_below
    from tlkit.data.image_records import IMAGE_SUFFIXES

    found: dict[Path, None] = {}
    remarks: list[str] = []
    for place in places:
        if place.is_dir():
            inside = images_below(place)
            remarks += [f"{place}: {sentence}" for sentence in inside.remarks]
            if not inside.paths:
                said = " ".join(inside.remarks)
                raise DataFault(
                    f"{place} has no pictures.{said and ' '}{said}",
                    f"Known: {', '.join(sorted(IMAGE_SUFFIXES))}.",
                )
            found.update(dict.fromkeys(place / path for path in inside.paths))
        elif place.is_file():
            found[place] = None
        else:
            raise DataFault(f"{place} does not exist.", "Name pictures, or a folder of them.")
    return Files(list(found), remarks)


def load_served(path: Path) -> Served:
    """The SavedModel of a run, ready to answer.

    Raises:
        UsageFault: The run made no model.
        ModelFault: It made no classifier.
    """
    if not (path / "saved_model.pb").is_file():
        raise UsageFault(
            f"{path} has no SavedModel.", "Name a run of a recipe that makes a classifier or a detector."
        )
    import_tensorflow()
    from tlkit.results import serving

    return serving.Served.load(path)


def ask(
    served: Loaded[Answer],
    files: list[Path],
    batch: int,
    text: str,
    skipped: list[tuple[str, str]] | None = None,
) -> list[Answer]:
    """The model's answers for files, under a progress bar.

    Args:
        served: The model.
        files: [n] pictures.
        batch: Pictures a step.
        text: What the bar says.
        skipped: Takes (path, reason) of files that cannot be used; without it the first one is a fault.

    Returns:
        [n] answers, less the skipped ones.

    Raises:
        DataFault: A file cannot be used.
    """
    found: list[Answer] = []
    with Console().progress(text, len(files)) as step:
        for start in range(0, len(files), 8 * batch):  # long enough for reading ahead, short enough for a bar
            found += served.predict_files(files[start : start + 8 * batch], batch, skipped=skipped)
            step(min(start + 8 * batch, len(files)))
    return found


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
