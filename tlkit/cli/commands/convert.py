"""`tlkit convert`: images with boxes and masks from one format into another, exactly, or cut into crops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option, most_pixels_option
from tlkit.core.console import Console
from tlkit.data.xray.drawing import draw_first
from tlkit.errors import UsageFault

if TYPE_CHECKING:
    from tlkit.data.boxes.dataset import Boxes

FORMATS, CROPS = ("coco", "voc", "yolo", "csv", "masks"), "crops"
MASKED = {"coco", "masks"}  # formats that have masks; the others are of boxes
SHOWN = 10  # of what was clipped or dropped; --json lists all
EXAMPLES = """
    tlkit convert bags/ bags-coco --to coco
    tlkit convert voc2007/ voc-yolo --to yolo --link
    tlkit convert nuclei/ nuclei-coco --to coco
    tlkit convert labels.json mended --to csv --faults clip --unlabelled negative
    tlkit convert xray:bags crops --to crops
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument(
    "source", help="Folder with boxes (boxes.csv, COCO, VOC, YOLO, GDXray, masks/*.png ...), or its file."
)
@click.argument("folder", type=click.Path(path_type=Path), help="New folder for images and boxes.")
@click.option("--to", "form", type=click.Choice([*FORMATS, CROPS]), required=True, help="What to write.")
@click.option("--link", is_flag=True, help="Hard-link the images instead of copying them.")
@click.option(
    "--faults",
    type=click.Choice(["refuse", "clip"]),
    default="refuse",
    help="Boxes and files that cannot be: stop, or clip them or leave their images out.",
)
@click.option(
    "--unlabelled",
    type=click.Choice(["error", "negative", "skip"]),
    default="error",
    help="Images without annotation: stop, take them as empty, or leave them out.",
)
@click.option("--no-masks", is_flag=True, help="Boxes only: leave masks and what is wrong with them alone.")
@click.option("--negative", default="other", metavar="CLASS", help="Crops: the class of what is nothing.")
@click.option(
    "--each",
    type=click.IntRange(0),
    default=2,
    metavar="N",
    show_default=True,
    help="Crops: of nothing, an image.",
)
@click.option("--group", help="Crops: as in the recipes, for the parts.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Crops: as in the recipes."
)
@most_pixels_option
@json_option
def convert(
    source: str,
    folder: Path,
    form: str,
    link: bool,
    faults: str,
    unlabelled: str,
    no_masks: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Write images and boxes in another format.

    Reading the new folder gives the same boxes, classes, groups and parts to the last bit, and the same masks as
    coco (run lengths) and as masks (images of one value an object); this is checked before it gets its name. As
    crops, every object is cut out and, of each image, some windows of nothing, with the parts that recipes split off
    at the same --seed and --group: what a classifier for slide-window learns from.
    """
    from tlkit.data.boxes.dataset import read_boxes
    from tlkit.data.boxes.formats.writers import write_boxes

    masks = form in MASKED and not no_masks
    if form == "masks" and no_masks:
        raise UsageFault("--to masks writes masks, and --no-masks leaves them out.", "Take one of the two.")
    draw_first(Console(), source, masks=masks)
    boxes = read_boxes(source, faults=faults, unlabelled=unlabelled, masks=masks)
    summary = boxes.summary()
    if form == CROPS:
        summary["per_class"] = _cut(boxes, folder, link, **how)
    else:
        write_boxes(boxes, folder, form, link=link)
    outcome = {"status": "written", "folder": folder, "format": form, **summary}
    if boxes.masks:
        outcome["masks"] = sum(mask is not None for some in boxes.masks for mask in some)
    if as_json:
        show({**outcome, "source": source, "notes": list(boxes.notes)}, as_json=True)
        return
    console = Console()
    for sentence in boxes.told:
        console.say(sentence)
    for sentence in boxes.notes[:SHOWN]:
        console.say(sentence)
    if len(boxes.notes) > SHOWN:
        console.say(f"And {len(boxes.notes) - SHOWN} more; --json lists all.")
    what = "crops" if form == CROPS else "boxes"
    classes = [{"class": name, what: count} for name, count in outcome.pop("per_class").items()]
    show({**outcome, "classes": classes}, as_json=False)


def _cut(
    boxes: Boxes, folder: Path, link: bool, *, negative: str, each: int, group: str | None, seed: int
) -> dict[str, int]:
    """Write crops, split as a recipe would split the images; returns their number by class."""
    from tlkit.data.boxes.crops import Cutting, write_crops
    from tlkit.data.boxes.splits import split_boxes

    if link:
        raise UsageFault("--link does not go with --to crops: they are new images.", "Leave it out.")
    return write_crops(split_boxes(boxes, seed=seed, group=group), folder, Cutting(negative, each), seed=seed)
