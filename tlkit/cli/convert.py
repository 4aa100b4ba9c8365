"""`tlkit convert`: pictures with boxes from one format into another, exactly."""

from __future__ import annotations

from pathlib import Path

import click

from tlkit.cli.console import Console
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import json_option
from tlkit.cli.outcome import show

SHOWN = 10  # of what was clipped or dropped; --json lists all
EXAMPLES = """
    tlkit convert bags/ bags-coco --to coco
    tlkit convert voc2007/ voc-yolo --to yolo --link
    tlkit convert labels.json mended --to csv --faults clip --unlabelled negative
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument(
    "source", help="Folder with boxes (boxes.csv, COCO, VOC, YOLO, GDXray, Open Images), or its file."
)
@click.argument("folder", type=click.Path(path_type=Path), help="New folder for images and boxes.")
@click.option(
    "--to", "form", type=click.Choice(["coco", "voc", "yolo", "csv"]), required=True, help="What to write."
)
@click.option("--link", is_flag=True, help="Hard-link the images instead of copying them.")
@click.option(
    "--faults",
    type=click.Choice(["refuse", "clip"]),
    default="refuse",
    help="Boxes and files that cannot be: stop, or clip or drop them.",
)
@click.option(
    "--unlabelled",
    type=click.Choice(["error", "negative", "skip"]),
    default="error",
    help="Images without annotation: stop, take them as empty, or leave them out.",
)
@json_option
def convert(
    source: str, folder: Path, form: str, link: bool, faults: str, unlabelled: str, as_json: bool
) -> None:
    """Write images and boxes in another format.

    Reading the new folder gives the same boxes, classes, groups and parts to the last bit; this is checked before
    it gets its name.
    """
    from tlkit.data.box_writers import write_boxes
    from tlkit.data.boxes import read_boxes

    boxes = read_boxes(source, faults=faults, unlabelled=unlabelled)
    write_boxes(boxes, folder, form, link=link)
    summary = boxes.summary()
    outcome = {"status": "written", "folder": folder, "format": form, **summary}
    if as_json:
        show({**outcome, "source": source, "notes": list(boxes.notes)}, as_json=True)
        return
    console = Console()
    for sentence in boxes.notes[:SHOWN]:
        console.say(sentence)
    if len(boxes.notes) > SHOWN:
        console.say(f"And {len(boxes.notes) - SHOWN} more; --json lists all.")
    classes = [{"class": name, "boxes": count} for name, count in outcome.pop("per_class").items()]
    show({**outcome, "classes": classes}, as_json=False)
