"""Boxes in tables: boxes.csv, Open Images' CSV and GDXray's ground_truth.txt."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tlkit.data.box_records import (
    Annotated,
    Annotations,
    Fault,
    Record,
    name_list,
    number,
    pictures_below,
    read_text,
    safe_path,
    truth,
)
from tlkit.data.sources import PART_NAMES
from tlkit.errors import DataFault

CORNERS = ("left", "top", "right", "bottom")
OF_THE_IMAGE = {"group", "split", "part"}
OF_A_BOX = {"image", "path", "class", "label", "difficult", "crowd", *CORNERS, *OF_THE_IMAGE}
MOST_TABLE = 4_000_000_000  # bytes; Open Images' largest has 2.3 GB


def table(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`FILE line N` and the stripped cells of each row of a CSV file with a header.

    Raises:
        DataFault: It is not readable as such.
    """
    reader = csv.DictReader(io.StringIO(read_text(file, MOST_TABLE)), restval="")
    try:
        for row in reader:
            yield (
                f"{file.name} line {reader.line_num}",
                {key.strip(): value.strip() for key, value in row.items() if key and isinstance(value, str)},
            )
    except csv.Error as fault:
        raise DataFault(
            f"{file} line {reader.line_num} is no CSV: {fault}.", "Save it as CSV, UTF-8."
        ) from None


def header_of(file: Path) -> list[str]:
    """The names of a CSV file's columns; none where the file is no CSV.

    Raises:
        DataFault: It cannot be read.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            return [name.strip() for name in next(csv.reader(stream), [])]
    except OSError as fault:
        raise DataFault(f"{file} cannot be read ({fault.strerror}).", "Check the path.") from None
    except csv.Error:  # a cell of more than 131,072 characters, say
        return []


# --- boxes.csv ---


def read_csv(file: Path, *, whole: bool) -> Annotations:
    """Rows of image,left,top,right,bottom,class[,difficult][,crowd][,group][,split][,...].

    An empty box is a negative image.
    Further columns are facts of the boxes. A `classes.txt` beside the file gives the order of the classes.

    Args:
        file: The table; image paths are relative to its folder.
        whole: Pictures below the folder that it does not name are unlabelled.

    Raises:
        DataFault: A column is missing, a path leaves the folder, or an image has two groups or parts.
    """
    header = header_of(file)
    image_column = "image" if "image" in header else "path"
    class_column = "class" if "class" in header else "label"
    for needed in (image_column if "path" in header else "image", *CORNERS, class_column):
        if needed not in header:
            raise DataFault(
                f"{file} has no column {'class' if needed == 'label' else needed} (columns: {', '.join(header)}).",
                "The first line must be image,left,top,right,bottom,class.",
            )
    names = file.parent / "classes.txt"
    found = Annotations(
        "boxes.csv", file.parent, [], name_list(names) if names.is_file() else None, normalised=False
    )
    images: dict[str, Annotated] = {}
    absent: set[str] = set()
    for where, row in table(file):
        path = safe_path(where, row[image_column])
        if path not in images and path not in absent:
            if not (file.parent / path).is_file():
                absent.add(path)
                found.missing_image(where, f"{path} does not exist")
                continue
            images[path] = Annotated(path, where)
        if path in images:
            _add_row(found, images[path], where, row, row[class_column])
    found.images = list(images.values())
    found.unlabelled = [p for p in pictures_below(file.parent) if p not in images] if whole else []
    return found


def _add_row(found: Annotations, image: Annotated, where: str, row: dict[str, str], name: str) -> None:
    _image_facts(image, where, row)
    cells = [row[key] for key in CORNERS]
    if not any(cells) and not name:
        return
    if not name or (found.class_names is not None and name not in found.class_names):
        what = f"class {name} is not in classes.txt" if name else "the box has no class"
        found.faults.append(Fault("unknown-class", where, what, "dropped"))
        return
    left, top, right, bottom = map(number, cells)
    extras = {key: value for key, value in row.items() if key not in OF_A_BOX}
    difficult, crowd = (truth(row.get(key)) for key in ("difficult", "crowd"))
    image.add(Record(where, name, (left, top, right, bottom), difficult, extras, crowd))


def _image_facts(image: Annotated, where: str, row: dict[str, str]) -> None:
    """Group and part, which every row of an image must agree on."""
    split = (row.get("split") or row.get("part") or "").lower()
    if split and split not in PART_NAMES:
        raise DataFault(f"{where}: split {split} is unknown.", "Use training, validation or test.")
    group, part = row.get("group") or None, PART_NAMES.get(split)
    for what, known, value in (("group", image.group, group), ("split", image.part, part)):
        if known and value and known != value:
            raise DataFault(f"{where}: {image.path} has {what} {known} and {value}.", "Give it one.")
    image.group, image.part = image.group or group, image.part or part


# --- Open Images ---


def read_open_images(file: Path, folder: Path, *, whole: bool) -> Annotations:
    """Rows of ImageID,...,LabelName,...,XMin,XMax,YMin,YMax,... in shares of the sides.

    Pictures are found by their names anywhere below the folder. `class-descriptions*.csv` (LabelName,DisplayName,
    as published with or without a header) gives readable names. Boxes around groups are crowds: the protocol of Open
    Images ignores what lies inside one by the detection's own area.

    Args:
        file: The table.
        folder: Where the pictures and the class descriptions lie.
        whole: Pictures without a row are unlabelled.

    Source: https://storage.googleapis.com/openimages/web/download_v7.html
    """
    found = Annotations("Open Images", folder, [], normalised=True)
    pictures = list(pictures_below(folder))
    by_stem = {path.rsplit("/", 1)[-1].rsplit(".", 1)[0]: path for path in pictures}
    readable = _descriptions(folder)
    images: dict[str, Annotated] = {}
    absent: set[str] = set()
    for where, row in table(file):
        identity = safe_path(where, row.get("ImageID", ""))
        if identity not in by_stem:
            if identity not in absent:
                found.missing_image(where, f"there is no picture of {identity}")
            absent.add(identity)
            continue
        path = by_stem[identity]
        image = images.setdefault(path, Annotated(path, where))
        left, right, top, bottom = (number(row.get(key)) for key in ("XMin", "XMax", "YMin", "YMax"))
        name = row.get("LabelName", "")
        corners, group = (left, top, right, bottom), truth(row.get("IsGroupOf"))
        image.add(Record(where, readable.get(name, name), corners, crowd=group))
    found.images = list(images.values())
    found.unlabelled = [path for path in pictures if path not in images] if whole else []
    return found


def _descriptions(folder: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for file in sorted(folder.glob("*class-descriptions*.csv")):
        rows = csv.reader(io.StringIO(read_text(file)))
        try:
            names.update({row[0].strip(): row[1].strip() for row in rows if len(row) > 1})
        except csv.Error as fault:
            raise DataFault(f"{file} is no CSV: {fault}.", "Save it as CSV, UTF-8.") from None
    return names


# --- GDXray ---

SERIES_CLASSES = {
    "C": "defect",
    "W": "defect",
}  # castings and welds; other groups have several kinds of objects


def read_gdxray(folder: Path, *, whole: bool) -> Annotations:
    """Series folders with a ground_truth.txt: one row a box, frame x1 x2 y1 y2, in pixels.

    Frame 7 of C0001 is the picture whose name ends in 7: C0001_0007.png. The class is "defect" in castings and
    welds, else "object"; a `classes.txt` of one line beside the rows names it otherwise. The series is a column, so
    `--group series` keeps it together.

    Source: Mery et al., GDXray, J. Nondestruct. Eval. 34 (2015), section 3.
    """
    found = Annotations("GDXray", folder, [])
    for file in sorted(folder.rglob("ground_truth.txt")):
        found.images += _series(found, folder, file, whole=whole)
    return found


def _series(found: Annotations, folder: Path, file: Path, *, whole: bool) -> list[Annotated]:
    above = file.parent.relative_to(folder).as_posix()
    prefix = "" if above == "." else f"{above}/"
    where = f"{prefix}{file.name}"
    frames = {}
    for name in pictures_below(file.parent):
        digits = name.rsplit(".", 1)[0].rsplit("_", 1)[-1]
        if digits.isdecimal() and "/" not in name:
            frames[int(digits)] = prefix + name
    names = file.parent / "classes.txt"
    series = file.resolve().parent.name
    name = name_list(names)[0] if names.is_file() else SERIES_CLASSES.get(series[:1].upper(), "object")
    images: dict[int, Annotated] = {}
    for line, text in enumerate(read_text(file).splitlines(), 1):
        cells = [number(cell) for cell in text.replace(",", " ").split()]
        if not cells:
            continue
        frame, left, right, top, bottom = cells if len(cells) == 5 else (cells[0], *[float("nan")] * 4)
        row = f"{where} line {line}"
        if frame not in frames:
            found.missing_image(row, f"there is no picture of frame {frame:g}")
            continue
        image = images.setdefault(int(frame), Annotated(frames[int(frame)], row, columns={"series": series}))
        image.add(Record(row, name, (left, top, right, bottom)))
    if whole:
        found.unlabelled += [path for frame, path in frames.items() if frame not in images]
    return list(images.values())
