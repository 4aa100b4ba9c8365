"""Boxes in tables: boxes.csv, TensorFlow's and others' CSV, and Open Images' CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    files_like,
    folder_within,
    listed_names,
    number,
    numbers,
    read_text,
    rows_of_images,
    stated_size,
    truth,
)
from tlkit.data.boxes.formats.declared_parts import declare, part_of_file, part_said
from tlkit.data.boxes.formats.image_finder import Finder, checked_name, neighbours
from tlkit.data.images.dataset import PART_NAMES
from tlkit.errors import DataFault

CORNERS = ("left", "top", "right", "bottom")
SIDES = ("left", "top", "width", "height")
OF_THE_IMAGE = {"group", "split", "part", "subset"}
OF_A_BOX = {"difficult", "crowd", *OF_THE_IMAGE}
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
    """Rows of image,left,top,right,bottom,class[,difficult][,crowd][,group][,split][,...].

    An empty box is a negative image.
    Other tools' names of columns do too, such as TensorFlow's filename,width,height,class,xmin,ymin,xmax,ymax, where
    width and height are those of the image; or left, top, width and height of the box. Further columns are facts of
    the boxes. A `classes.txt` beside the file gives the order of the classes.

    Args:
        file: The table; image paths are relative to its folder.
        whole: Images below the folder that it does not name are unlabelled.

    Raises:
        DataFault: A column is missing, a path leaves the folder, or an image has two groups or parts.
    """
    form = "boxes.csv" if file.name == "boxes.csv" else "table"
    return _read({file: None}, Annotations(form, file.parent, []), whole=whole)


def read_tables(files: list[Path], folder: Path) -> Annotations:
    """Several tables, as of TensorFlow's train_labels.csv and test_labels.csv; their names say the parts.

    Args:
        files: The tables; image paths are relative to the folder of each, or to the source.
        folder: The source.

    Raises:
        DataFault: As for `read_csv`.
    """
    parts = {file: part_of_table(file, folder) for file in files}
    return _read(parts, Annotations("table", folder, []), whole=True)


def _read(parts: dict[Path, str | None], found: Annotations, *, whole: bool) -> Annotations:
    """The rows of tables, each with the part that its name says; their images lie below the source's folder."""
    finder, names = Finder(found), None
    for file, part in parts.items():
        columns, own = _checked_columns(file), dict[str, Annotated]()
        found.class_names, found.written = listed_names(file.parent), ",".join(_numbers(columns))
        names = names or found.class_names
        find = partial(finder.meant, file=file.name, above=folder_within(file, found.root), part=part)
        rows = ((where, row[columns["image"]], row) for where, row in table(file))
        for image, where, row in rows_of_images(rows, find, own):
            _add_row(found, image, where, row, columns)
        for path, image in own.items():
            image.part = image.part or part
            first = finder.known.setdefault(path, image)
            if first is not image:
                found.spoil(first, "duplicate", image.where, f"{path} is listed in {first.where} too")
    found.class_names = names
    finder.close(whole=whole)
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
    if not found.takes(image, where, name, "the box has no class"):
        return
    left, top, right, bottom = map(number, cells)
    if "right" not in columns:
        right, bottom = left + right, top + bottom
    own = {*OF_A_BOX, *columns.values()}
    extras = {key: value for key, value in row.items() if key not in own}
    corners, written = (left, top, right, bottom), ",".join(cells)
    difficult, crowd = (truth(row.get(key)) for key in ("difficult", "crowd"))
    image.add(Record(where, name, corners, difficult, extras, written, crowd))


def _state_size(
    found: Annotations, image: Annotated, where: str, row: dict[str, str], columns: dict[str, str]
) -> None:
    """Take the size of the image from its row, where the columns are not the sides of the box."""
    if not {"image_width", "image_height"} <= columns.keys():
        return
    stated = [row[columns[side]] for side in ("image_width", "image_height")]
    size = stated_size(*stated)
    if size is None:
        return
    if "right" in columns:
        left, top, right, bottom = (number(row[columns[key]]) for key in CORNERS)
        if abs(right - left - number(stated[0])) <= 1 and abs(bottom - top - number(stated[1])) <= 1:
            return  # the box's own sides
    if image.size not in {None, size}:
        found.spoil(
            image, "image-size", where, f"says {size[0]}x{size[1]}, and {image.where} says another size"
        )
    image.size = image.size or size


def _image_facts(image: Annotated, where: str, row: dict[str, str]) -> None:
    """Group and part, which every row of an image must agree on."""
    part = part_said(where, row.get("split") or row.get("part") or row.get("subset"))
    group = row.get("group") or None
    for what, known, value in (("group", image.group, group), ("split", image.part, part)):
        if known and value and known != value:
            raise DataFault(f"{where}: {image.path} has {what} {known} and {value}.", "Give it one.")
    image.group, image.part = image.group or group, image.part or part


# --- Open Images ---


def read_open_images(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Rows of ImageID,...,LabelName,...,XMin,XMax,YMin,YMax,... in shares of the sides.

    Images are found by their names anywhere below the folder, first in the one that is called as the table's part.
    `class-descriptions*.csv` (LabelName,DisplayName, as published with or without a header) or `classes.csv` gives
    readable names. Boxes around groups are crowds: the protocol of Open Images ignores what lies inside one by the
    detection's own area.

    Args:
        files: The tables; of several, the name of each says its part (train-annotations-bbox.csv), or its folder.
        folder: Where the images and the class descriptions lie.
        whole: Images without a row are unlabelled.

    Raises:
        DataFault: A table is no CSV, or two of them list one image.

    Source: https://storage.googleapis.com/openimages/web/download_v7.html
    """
    finder = Finder(found := Annotations("Open Images", folder, [], normalised=True))
    readable = _descriptions(folder)
    listed: dict[str, list[str]] = {}
    for file in files:
        part = part_of_table(file, folder) if len(files) > 1 else None
        paths = listed.setdefault(part or "", [])
        rows = ((where, row.get("ImageID", ""), row) for where, row in table(file))
        for image, where, row in rows_of_images(rows, partial(_image, finder, file, part), finder.known):
            paths.append(image.path)
            _add_open_images_box(found, image, where, row, readable)
    declare(found, f"{folder.name}'s tables", listed, twice=False)
    finder.close(whole=whole)
    return found


def part_of_table(file: Path, folder: Path) -> str | None:
    """The part that an Open Images table's name, or a folder above it, says."""
    return part_of_file(file.name, file.relative_to(folder).parts[:-1])


def _image(finder: Finder, file: Path, part: str | None, where: str, identity: str) -> str | None:
    """The path of the image of an ImageID; its name has no suffix."""
    checked_name(where, identity)
    subsets = [name for name in PART_NAMES if part and PART_NAMES[name] == part]
    places = [f"{one}/{two}" for name in subsets for one, two in ((name, "data"), ("images", name))]
    near = neighbours(folder_within(file, finder.folder))
    match = finder.stem(identity, ["", *subsets, *places, *near], part)
    if not match.paths:
        finder.found.missing_image(where, f"there is no image of {identity}")
        return None
    return finder.take(where, identity, match._replace(exact=True), file.name)


def _add_open_images_box(
    found: Annotations, image: Annotated, where: str, row: dict[str, str], readable: dict[str, str]
) -> None:
    name = row.get("LabelName", "")
    if not found.takes(image, where, name, "the box has no LabelName"):
        return
    left, top, right, bottom = numbers(row, "XMin", "YMin", "XMax", "YMax")
    crowd = truth(row.get("IsGroupOf"))
    image.add(Record(where, readable.get(name, name), (left, top, right, bottom), crowd=crowd))


def _descriptions(folder: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for pattern in ("*class-descriptions*.csv", "*/*class-descriptions*.csv", "**/metadata/classes.csv"):
        for file in files_like(folder, pattern):
            rows = csv.reader(io.StringIO(read_text(file)))
            try:
                names.update({row[0].strip(): row[1].strip() for row in rows if len(row) > 1})
            except csv.Error as fault:
                raise DataFault(f"{file} is no CSV: {fault}.", "Save it as CSV, UTF-8.") from None
    return names
