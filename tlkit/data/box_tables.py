"""Boxes in tables: boxes.csv, TensorFlow's and others' CSV, Open Images' CSV and GDXray's ground_truth.txt."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tlkit.data.box_records import (
    Annotated,
    Annotations,
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
SIDES = ("left", "top", "width", "height")
OF_THE_IMAGE = {"group", "split", "part", "subset"}
OF_A_BOX = {"difficult", *OF_THE_IMAGE}
# What other tools call the columns, in any case; our own names come first.
SPELLINGS = {
    "image": (
        "image",
        "path",
        "filename",
        "file_name",
        "image_path",
        "img_path",
        "image_name",
        "image_filename",
    ),
    "class": ("class", "label", "class_name", "label_name", "category", "category_name"),
    "left": ("left", "xmin", "x_min", "x1", "bbox_x", "bbox_left", "box_left"),
    "top": ("top", "ymin", "y_min", "y1", "bbox_y", "bbox_top", "box_top"),
    "right": ("right", "xmax", "x_max", "x2", "bbox_right", "box_right"),
    "bottom": ("bottom", "ymax", "y_max", "y2", "bbox_bottom", "box_bottom"),
    "width": ("bbox_width", "box_width", "bbox_w", "width", "w"),
    "height": ("bbox_height", "box_height", "bbox_h", "height", "h"),
    "image_width": ("image_width", "img_width", "width"),
    "image_height": ("image_height", "img_height", "height"),
}
MOST_TABLE = 4_000_000_000  # bytes; Open Images' largest has 2.3 GB


def table(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`FILE line N` and the stripped cells of each row of a CSV file with a header.

    Raises:
        DataFault: It is not readable as such.
    """
    reader = csv.DictReader(io.StringIO(read_text(file, MOST_TABLE)), restval="")
    try:
        for row in reader:
            more = row.get(None)  # type: ignore[call-overload]
            if more and any(cell.strip() for cell in more):
                raise DataFault(
                    f"{file} line {reader.line_num} has {len(row) - 1 + len(more)} cells, and the header has "
                    f"{len(row) - 1}.",
                    "Write numbers with points, and put cells with commas into quotation marks.",
                )
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


def box_columns(header: list[str]) -> dict[str, str]:
    """What each column is -> its name in a table of boxes; without the box's own sides where right and bottom are there.

    Args:
        header: The names of the columns.
    """
    known = {name.casefold(): name for name in reversed(header)}
    found = {
        what: known[next(name for name in names if name in known)]
        for what, names in SPELLINGS.items()
        if any(name in known for name in names)
    }
    sides = {"width", "height"} if {"right", "bottom"} <= found.keys() else set()
    for side in ("width", "height"):  # one column is not both the box's and the image's
        if side not in sides and found.get(side) == found.get(f"image_{side}"):
            sides.add(f"image_{side}")
    return {what: name for what, name in found.items() if what not in sides}


def is_box_table(file: Path) -> bool:
    """Whether a CSV has the columns of boxes, in any tool's spelling."""
    columns = box_columns(header_of(file))
    return {"image", "class", *_numbers(columns)} <= columns.keys()


def _numbers(columns: dict[str, str]) -> tuple[str, ...]:
    """The columns of a box: corners, unless there is neither right nor bottom."""
    return (
        SIDES
        if not columns.keys() & {"right", "bottom"} and {"width", "height"} <= columns.keys()
        else CORNERS
    )


def _checked_columns(file: Path) -> dict[str, str]:
    """`box_columns` of a file.

    Raises:
        DataFault: One is missing.
    """
    header = header_of(file)
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise DataFault(
                f"{file} is separated by {name}, not by commas.",
                "Save it as CSV with commas between cells and points in numbers (10.5).",
            )
    columns = box_columns(header)
    for needed in ("image", *_numbers(columns), "class"):
        if needed not in columns:
            raise DataFault(
                f"{file} has no column {needed} (columns: {', '.join(header)}).",
                "The first line must be image,left,top,right,bottom,class.",
            )
    return columns


def read_csv(file: Path, *, whole: bool) -> Annotations:
    """Rows of image,left,top,right,bottom,class[,difficult][,group][,split][,...]; an empty box is a negative image.

    Other tools' names of columns do too, such as TensorFlow's filename,width,height,class,xmin,ymin,xmax,ymax, where
    width and height are those of the image; or left, top, width and height of the box. Further columns are facts of
    the boxes. A `classes.txt` beside the file gives the order of the classes.

    Args:
        file: The table; image paths are relative to its folder.
        whole: Pictures below the folder that it does not name are unlabelled.

    Raises:
        DataFault: A column is missing, a path leaves the folder, or an image has two groups or parts.
    """
    columns = _checked_columns(file)
    names = file.parent / "classes.txt"
    form = "boxes.csv" if file.name == "boxes.csv" else "table"
    found = Annotations(form, file.parent, [], name_list(names) if names.is_file() else None)
    found.written = ",".join(_numbers(columns))
    images: dict[str, Annotated] = {}
    absent: set[str] = set()
    for where, row in table(file):
        path = safe_path(where, row[columns["image"]])
        if path not in images and path not in absent:
            if not (file.parent / path).is_file():
                absent.add(path)
                found.missing_image(where, f"{path} does not exist")
                continue
            images[path] = Annotated(path, where)
        if path in images:
            _add_row(found, images[path], where, row, columns)
    found.images = list(images.values())
    found.unlabelled = [p for p in pictures_below(file.parent) if p not in images] if whole else []
    return found


def read_tables(files: list[Path], folder: Path) -> Annotations:
    """Several tables, as of TensorFlow's train_labels.csv and test_labels.csv; their names say the parts.

    Args:
        files: The tables; image paths are relative to the folder of each.
        folder: The source.

    Raises:
        DataFault: As for `read_csv`.
    """
    found = Annotations("table", folder, [])
    images: dict[str, Annotated] = {}
    for file in files:
        one = read_csv(file, whole=False)
        above = file.parent.relative_to(folder)
        words = [*file.stem.lower().replace("-", "_").split("_"), *(piece.lower() for piece in above.parts)]
        part = next((PART_NAMES[word] for word in words if word in PART_NAMES), None)
        found.faults += one.faults
        found.written, found.class_names = one.written, found.class_names or one.class_names
        for image in one.images:
            image.path, image.part = (above / image.path).as_posix(), image.part or part
            first = images.setdefault(image.path, image)
            if first is not image:
                found.spoil(first, "duplicate", image.where, f"{image.path} is listed in {first.where} too")
    found.images = list(images.values())
    found.unlabelled = [path for path in pictures_below(folder) if path not in images]
    return found


def _add_row(
    found: Annotations, image: Annotated, where: str, row: dict[str, str], columns: dict[str, str]
) -> None:
    _image_facts(image, where, row)
    cells = [row[columns[key]] for key in found.written.split(",")]
    name = row[columns["class"]]
    _state_size(found, image, where, row, columns)
    if not any(cells) and not name:
        return
    if not name or (found.class_names is not None and name not in found.class_names):
        what = f"class {name} is not in classes.txt" if name else "the box has no class"
        found.spoil(image, "unknown-class", where, what)
        return
    left, top, right, bottom = map(number, cells)
    if "right" not in columns:
        right, bottom = left + right, top + bottom
    own = {*OF_A_BOX, *columns.values()}
    extras = {key: value for key, value in row.items() if key not in own}
    image.add(
        Record(where, name, (left, top, right, bottom), truth(row.get("difficult")), extras, ",".join(cells))
    )


def _state_size(
    found: Annotations, image: Annotated, where: str, row: dict[str, str], columns: dict[str, str]
) -> None:
    """Take the size of the image from its row, where the columns are not the sides of the box."""
    if not {"image_width", "image_height"} <= columns.keys():
        return
    stated = [number(row[columns[side]]) for side in ("image_width", "image_height")]
    if not all(0 < side < 1e9 for side in stated):
        return
    if "right" in columns:
        left, top, right, bottom = (number(row[columns[key]]) for key in CORNERS)
        if abs(right - left - stated[0]) <= 1 and abs(bottom - top - stated[1]) <= 1:
            return  # the box's own sides
    size = int(stated[0]), int(stated[1])
    if image.size not in {None, size}:
        found.spoil(
            image, "image-size", where, f"says {size[0]}x{size[1]}, and {image.where} says another size"
        )
    image.size = image.size or size


def _image_facts(image: Annotated, where: str, row: dict[str, str]) -> None:
    """Group and part, which every row of an image must agree on."""
    split = (row.get("split") or row.get("part") or row.get("subset") or "").lower()
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
    as published with or without a header) gives readable names. Boxes around groups count as difficult.

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
        if not name:
            found.spoil(image, "unknown-class", where, "the box has no LabelName")
            continue
        corners = left, top, right, bottom
        image.add(Record(where, readable.get(name, name), corners, truth(row.get("IsGroupOf"))))
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
