"""Boxes in YOLO's text files: one file an image, one line a box, class and shares of the sides.

A line is `class centre-x centre-y width height`; with more numbers it is an outline, of which the box is taken.
Numbers of many digits are read exactly, so that pixels written by `tlkit convert` come back as they were.
"""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from pathlib import Path, PurePosixPath

from tlkit.data.box_records import (
    Annotated,
    Annotations,
    Fault,
    Record,
    checked_names,
    name_list,
    number,
    pictures_below,
    read_text,
    truth,
)
from tlkit.data.box_tables import table
from tlkit.errors import DataFault

NAME_LISTS = (
    "classes.txt",
    "obj.names",
    "*.names",
    "labels/classes.txt",
    "images/classes.txt",
    "data/*.names",
)
NAME_TABLES = ("data.yaml", "dataset.yaml", "*.yaml", "*.yml")
NO_LABELS = re.compile(
    r"(classes|train|trainval|val|valid|validation|test|readme.*|notes.*|license.*)\.txt", re.I
)
ATTRIBUTES = "attributes.csv"  # beside labels/: what a line has no room for
EXACT = Context(prec=60)
LONG = 25  # characters of a number that a float cannot hold


def label_place(path: str) -> str:
    """Where the labels of a picture lie: its last folder `images` becomes `labels`; else beside it."""
    pieces = list(PurePosixPath(path).with_suffix(".txt").parts)
    for index in reversed(range(len(pieces) - 1)):
        if pieces[index] == "images":
            pieces[index] = "labels"
            break
    return "/".join(pieces)


def yolo_files(folder: Path) -> list[Path]:
    """The label files of a folder: in folders called labels, or beside pictures when there is a list of names."""
    files = [
        file
        for file in sorted(folder.rglob("*.txt"))
        if "labels" in file.relative_to(folder).parts[:-1] and not NO_LABELS.fullmatch(file.name)
    ]
    if files or names_file(folder) is None:
        return files
    places = {(folder / path).parent for path in pictures_below(folder)}
    return [
        f for place in sorted(places) for f in sorted(place.glob("*.txt")) if not NO_LABELS.fullmatch(f.name)
    ]


def names_file(folder: Path) -> Path | None:
    """The file that names the classes: data.yaml, obj.names or classes.txt."""
    found = (file for pattern in (*NAME_TABLES, *NAME_LISTS) for file in sorted(folder.glob(pattern)))
    return next((f for f in found if f.suffix not in {".yaml", ".yml"} or "names:" in read_text(f)), None)


def read_yolo(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Label files in labels/ beside images/, or beside the pictures, and a list of class names.

    An empty file is a negative image; a picture without a file is unlabelled.

    Args:
        files: The label files.
        folder: The source.
        whole: Pictures without a label file are unlabelled.

    Raises:
        DataFault: No file names the classes.
    """
    source = names_file(folder)
    if source is None:
        raise DataFault(
            f"{folder} has YOLO labels but no names of classes.", "Add classes.txt, one name a line."
        )
    names = yaml_names(source) if source.suffix in {".yaml", ".yml"} else name_list(source)
    root = folder / "images" if (folder / "images").is_dir() else folder
    above = "images/" if root != folder else ""
    found = Annotations("YOLO", root, [], names, normalised=True)
    pictures = list(pictures_below(root))
    left = {file.relative_to(folder).as_posix(): file for file in files}
    attributes = _attributes(folder)
    for path in pictures:
        place = label_place(above + path)
        file = left.pop(place, None) or left.pop(above + str(PurePosixPath(path).with_suffix(".txt")), None)
        if file is None:
            found.unlabelled += [path] if whole else []
            continue
        image = Annotated(path, place)
        _add_lines(found, image, file, place, names, attributes.get(path, {}))
        found.images.append(image)
    for where in left:
        found.missing_image(where, "its picture does not exist")
    return found


def _add_lines(
    found: Annotations,
    image: Annotated,
    file: Path,
    place: str,
    names: tuple[str, ...],
    attributes: dict[int, dict[str, str]],
) -> None:
    for line, text in enumerate(read_text(file).splitlines(), 1):
        cells = text.split()
        if not cells:
            continue
        where = f"{place} line {line}"
        label = number(cells[0])
        if label not in range(len(names)):
            what = f"class {cells[0]} is not among the {len(names)} names (0 to {len(names) - 1})"
            found.faults.append(Fault("unknown-class", where, what, "dropped"))
            continue
        extras = dict(attributes.get(len(image.records), {}))
        difficult, crowd = (truth(extras.pop(key, "")) for key in ("difficult", "crowd"))
        image.add(Record(where, names[int(label)], _corners(cells[1:]), difficult, extras, crowd))


def _corners(cells: list[str]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom as shares of the sides; NaN for what is no box."""
    if len(cells) >= 6 and len(cells) % 2 == 0:  # an outline: x, y, x, y, ...
        across, down = [number(cell) for cell in cells[::2]], [number(cell) for cell in cells[1::2]]
        return min(across), min(down), max(across), max(down)
    if len(cells) != 4:
        return (float("nan"),) * 4
    if max(map(len, cells)) > LONG:
        return _exact_corners(cells)
    x, y, width, height = map(number, cells)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _exact_corners(cells: list[str]) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (Decimal(cell) for cell in cells)
        pairs = ((x, -width), (y, -height), (x, width), (y, height))
        left, top, right, bottom = (float(EXACT.add(c, EXACT.divide(s, Decimal(2)))) for c, s in pairs)
    except (ArithmeticError, ValueError):  # no number, infinite, or too large
        return (float("nan"),) * 4
    return left, top, right, bottom


def _attributes(folder: Path) -> dict[str, dict[int, dict[str, str]]]:
    """Path -> number of the box -> its facts, from attributes.csv (image,box,difficult,crowd,...)."""
    file = folder / ATTRIBUTES
    found: dict[str, dict[int, dict[str, str]]] = {}
    if file.is_file():
        for where, row in table(file):
            if not row.get("image") or not re.fullmatch("[0-9]{1,9}", row.get("box", "")):
                raise DataFault(
                    f"{where}: image or number of the box is missing.", "Mend or remove the file."
                )
            box = int(row.pop("box"))
            found.setdefault(row.pop("image"), {})[box] = row
    return found


# --- data.yaml ---


def yaml_names(file: Path) -> tuple[str, ...]:
    """The entry `names` of a data.yaml: a list or a table from number to name, on one line or on several.

    Only this entry is understood, so no YAML of others is ever run.

    Raises:
        DataFault: It has no such entry, or its numbers are not 0, 1, 2, ...
    """
    match = re.search(r"^names:[ \t]*(.*(?:\n(?:[ \t\-].*|[ \t]*))*)", read_text(file), re.M)
    body = match[1].strip() if match else ""
    if body.startswith(("[", "{")):
        entries = _between_commas(re.split(r"[]}](?=\s|$)", body[1:])[0])
    else:
        lines = (_COMMENT.sub(r"\1", line).strip() for line in body.splitlines())
        entries = [line.removeprefix("-").strip() for line in lines if line]
    names: list[str] = []
    for entry in entries:
        numbered = re.fullmatch(r"""['"]?(\d+)['"]?\s*:\s*(.+)""", entry)
        if numbered and (numbered[1].lstrip("0") or "0") != str(len(names)):
            raise DataFault(
                f"{file} names class {numbered[1]} where {len(names)} is due.", "Number them 0, 1, 2."
            )
        names.append(_unquoted(numbered[2] if numbered else entry))
    if not names:
        raise DataFault(f"{file} has no class names.", "Write names: [gun, knife].")
    return checked_names(str(file), names)


_COMMENT = re.compile(r"""^((?:[^'"]|'[^']*'|"(?:\\.|[^"\\])*")*?)(?:^|\s)#.*$""")


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text[1:-1]
    return text[1:-1].replace("''", "'") if len(text) > 1 and text[0] == text[-1] == "'" else text


def _between_commas(text: str) -> list[str]:
    """Pieces between commas; a quoted piece may hold commas."""
    pieces = re.findall(r"""((?:[^,'"]|'[^']*'|"[^"]*")+)""", " ".join(text.split()))
    return [piece.strip() for piece in pieces if piece.strip()]
