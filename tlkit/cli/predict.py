"""`tlkit predict`: names for images, from the SavedModel of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlkit.cli.console import Console
from tlkit.cli.device import import_tensorflow
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import json_option, runs_option
from tlkit.cli.outcome import show
from tlkit.cli.tables import show_csv, show_table
from tlkit.errors import DataFault, UsageFault
from tlkit.results.run_folder import find_run

EXAMPLES = """
    tlkit predict fine-tune-photos new/1.png new/2.png
    tlkit predict fine-tune-photos/3 new/ --csv > names.csv
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="NAME (its newest run), NAME/3, or a run's folder.")
@click.argument(
    "images",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="Pictures, or folders: all pictures below.",
)
@click.option("--batch", type=click.IntRange(1), default=32, metavar="N", help="Images a step.")
@runs_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
def predict(run: str, images: tuple[Path, ...], batch: int, runs: Path, as_json: bool, as_csv: bool) -> None:
    """Name what is on images, with a finished run.

    One line an image: its path, the most probable class and that probability. --json and --csv have the
    probabilities of all classes.
    """
    if as_json and as_csv:
        raise UsageFault("Use just one of --json and --csv.")
    path = find_run(run, runs)
    files = pictures(images)
    served = load_served(path)
    with Console().progress("predicting", len(files)) as step:
        found = []
        for start in range(0, len(files), batch):
            found += served.predict_files(files[start : start + batch], batch)
            step(len(found))
    rows = [_row(prediction, served.classes) for prediction in found]
    if as_json:
        show({"run": path, "classes": list(served.classes), "predictions": rows}, as_json=True)
        return
    cells = [[row["path"], row["label"], row["confidence"]] for row in rows]
    if as_csv:
        wide = [[*cell, *row["probabilities"].values()] for cell, row in zip(cells, rows, strict=True)]
        show_csv(["path", "label", "confidence", *served.classes], wide)
    else:
        show_table(["path", "label", "confidence"], [[p, label, f"{c:.4f}"] for p, label, c in cells], left=2)


def pictures(places: tuple[Path, ...]) -> list[Path]:
    """The files among `places` and the pictures in the folders among them, in that order, none twice.

    Raises:
        DataFault: One is not there, or a folder has no pictures.
    """
    from tlkit.data.sources import IMAGE_SUFFIXES

    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = [
                p for p in sorted(place.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
            ]
            if not inside:
                raise DataFault(f"{place} has no pictures.", f"Known: {', '.join(sorted(IMAGE_SUFFIXES))}.")
            found.update(dict.fromkeys(inside))
        elif place.is_file():
            found[place] = None
        else:
            raise DataFault(f"{place} does not exist.", "Name pictures, or a folder of them.")
    return list(found)


def load_served(path: Path) -> Any:
    """The SavedModel of a run, ready to answer.

    Raises:
        UsageFault: The run made no classifier.
    """
    if not (path / "saved_model.pb").is_file():
        raise UsageFault(f"{path} has no SavedModel.", "Name a run of a recipe that makes a classifier.")
    import_tensorflow()
    from tlkit.results import serving

    return serving.Served.load(path)


def _row(prediction: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "path": Path(prediction.path).as_posix(),
        "label": prediction.label,
        "confidence": round(float(prediction.confidence), 6),
        "probabilities": {
            name: round(float(value), 6)
            for name, value in zip(classes, prediction.probabilities, strict=True)
        },
    }
