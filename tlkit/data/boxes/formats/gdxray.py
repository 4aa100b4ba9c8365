"""Boxes of the X-ray data base GDXray: series of images, each with a ground_truth.txt."""

from __future__ import annotations

from pathlib import Path

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    listed_names,
    number,
    read_text,
)
from tlkit.data.images.readers.image_files import images_below

SERIES_CLASSES = {
    "C": "defect",
    "W": "defect",
}  # castings and welds; other groups have several kinds of objects


def read_gdxray(folder: Path) -> Annotations:
    """Series folders with a ground_truth.txt: one row a box, frame x1 x2 y1 y2, in pixels.

    Frame 7 of C0001 is the image whose name ends in 7: C0001_0007.png. The class is "defect" in castings and
    welds, else "object"; a `classes.txt` of one line beside the rows names it otherwise. The series is a column, so
    `--group series` keeps it together.

    Source: Mery et al., GDXray, J. Nondestruct. Eval. 34 (2015), section 3.
    """
    found = Annotations("GDXray", folder, [])
    for file in sorted(folder.rglob("ground_truth.txt")):
        _add_series(found, file)
    return found


def _add_series(found: Annotations, file: Path) -> None:
    where = file.relative_to(found.root).as_posix()
    prefix = where.removesuffix(file.name)
    frames = {}
    for name in images_below(file.parent):
        digits = name.rsplit(".", 1)[0].rsplit("_", 1)[-1]
        if digits.isdecimal() and "/" not in name:
            frames[int(digits)] = prefix + name
    series = file.resolve().parent.name
    name = (listed_names(file.parent) or (SERIES_CLASSES.get(series[:1].upper(), "object"),))[0]
    images: dict[int, Annotated] = {}
    for line, text in enumerate(read_text(file).splitlines(), 1):
        cells = [number(cell) for cell in text.replace(",", " ").split()]
        if not cells:
            continue
        frame, left, right, top, bottom = cells if len(cells) == 5 else (cells[0], *[float("nan")] * 4)
        row = f"{where} line {line}"
        if frame not in frames:
            found.missing_image(row, f"there is no image of frame {frame:g}")
            continue
        image = images.setdefault(int(frame), Annotated(frames[int(frame)], row, columns={"series": series}))
        image.add(Record(row, name, (left, top, right, bottom)))
    found.unlabelled += [path for frame, path in frames.items() if frame not in images]
    found.images += images.values()
