"""rle.csv beside annotations: the masks of boxes whose format has no room for them, image,box,height,width,counts.

`counts` are COCO's compressed runs; `box` is the box's number on its image, from 0, in the order of the annotations.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from tlkit.data.boxes.formats.annotations import Annotations
from tlkit.data.boxes.formats.tables import table
from tlkit.data.boxes.masks.rle import Mask
from tlkit.data.xray.mask_table import COLUMNS, RLE, write_mask_rows
from tlkit.errors import DataFault

MOST_CELL = 64_000_000  # characters of one mask's runs


def write_rle(file: Path, masks: Iterable[tuple[str, int, Mask | None]]) -> None:
    """Write the masks of boxes.

    Args:
        file: To write.
        masks: Path of the image, number of the box on it from 0, and its mask; None has no row.
    """
    rows = ((path, number, *mask.size, mask.counts.decode("ascii")) for path, number, mask in masks if mask)
    write_mask_rows(file, rows)


def read_rle(folder: Path, annotations: Annotations) -> None:
    """Give boxes the masks of an rle.csv, if the folder has one; a box that has an outline of its own keeps it.

    Args:
        folder: Of the annotations.
        annotations: Changed in place.

    Raises:
        DataFault: It has other columns, or names an image or a box that is not there.
    """
    file = folder / RLE
    if not file.is_file():
        return
    images = {image.path: image for image in annotations.images}
    for where, row in _rows(file):
        if not row.keys() >= set(COLUMNS):
            raise DataFault(
                f"{file} has no column {_missing(row)}.", f"Its first line is {','.join(COLUMNS)}."
            )
        image, number = images.get(row["image"]), row["box"]
        if image is None or not number.isdecimal() or int(number) >= len(image.records):
            raise DataFault(
                f"{where}: {row['image']} has no box {number}.",
                f"Write the masks anew, or remove {RLE}: boxes go without.",
            )
        record = image.records[int(number)]
        if record.outline is None:
            sides = [int(row[key]) if row[key].isdecimal() else row[key] for key in ("height", "width")]
            outline = {"size": sides, "counts": row["counts"]}
            image.records[int(number)] = record._replace(outline=outline)


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    limit = csv.field_size_limit(MOST_CELL)
    try:
        yield from table(file)
    finally:
        csv.field_size_limit(limit)


def _missing(row: dict[str, str]) -> str:
    return next(name for name in COLUMNS if name not in row)
