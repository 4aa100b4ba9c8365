"""Boxes in YOLO's text files: one file an image, one line a box, class and shares of the sides.

A line is `class centre-x centre-y width height`; one number more is a confidence, as predictions are saved; with an
even number of more it is an outline, of which the box is taken, or, where data.yaml has `kpt_shape`, a box and its
keypoints. The class is a number of the list of names, or a name itself. Commas and semicolons separate as blanks do;
`#` begins a comment. Numbers of many digits are read exactly, so that pixels written by `tlkit convert` come back as
they were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from pathlib import Path, PurePosixPath

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    checked_names,
    files_like,
    name_list,
    number,
    read_text,
    truth,
)
from tlkit.data.boxes.formats.data_yaml import unquoted, yaml_pieces
from tlkit.data.boxes.formats.declared_parts import part_of_path
from tlkit.data.boxes.formats.image_finder import (
    Finder,
    Index,
    Match,
    folders_above,
    neighbours,
    without_suffix,
)
from tlkit.data.boxes.formats.image_lists import declare_parts
from tlkit.data.boxes.formats.outlines import NO_BOX, Corners, about, around
from tlkit.data.boxes.formats.tables import table
from tlkit.data.images.readers.image_files import files_below, is_named_image
from tlkit.errors import DataFault

NAME_FILES = (
    ("data.yaml", "data.yml"),
    ("dataset.yaml", "dataset.yml"),
    ("*.yaml", "*.yml"),
    ("classes.txt", "obj.names", "*.names", "_darknet.labels"),
    ("labels/classes.txt", "images/classes.txt", "data/*.names"),
    ("*/*.yaml", "*/*.yml"),
    ("*/classes.txt", "*/*.names", "*/_darknet.labels"),
    ("*/*/*.yaml", "*/*/*.yml", "*/*/classes.txt", "*/*/*.names"),
)
YAML = {".yaml", ".yml"}
NO_LABELS = re.compile(
    r"(classes|(autosplit_)?(train|trainval|val|valid|validation|test)|readme.*|notes.*|license.*|requirements)\.txt",
    re.I,
)
ATTRIBUTES = "attributes.csv"  # beside labels/: what a line has no room for
EXACT = Context(prec=60)
BOX = "centre x,centre y,width,height"
LONG = 25  # characters of a number that a float cannot hold


def label_place(path: str) -> str:
    """Where the labels of an image lie: its last folder `images` becomes `labels`; else beside it."""
    pieces = list(PurePosixPath(path).with_suffix(".txt").parts)
    for index in reversed(range(len(pieces) - 1)):
        if pieces[index] == "images":
            pieces[index] = "labels"
            break
    return "/".join(pieces)


def yolo_files(folder: Path) -> list[Path]:
    """The label files below a folder: those in folders called labels.

    Where there is none, but a list of names: those beside images, else those anywhere that are called as an image.
    """
    every = files_below(folder)[0]
    texts = [path for path in every if path.lower().endswith(".txt")]
    files = [path for path in texts if "labels" in path.casefold().split("/")[:-1]]
    plain = [path for path in files if not NO_LABELS.fullmatch(path.rpartition("/")[2])]
    if not plain and not names_files(folder):
        return []
    images = [path for path in every if is_named_image(path)]
    stems = {_stem(path) for path in images}
    if len(plain) < len(files):  # labels/test.txt belongs to an image, if one is called so
        odd = set(files) - set(plain)
        plain = [path for path in files if path not in odd or _stem(path) in stems] if plain else []
    if not plain:
        texts = [path for path in texts if not NO_LABELS.fullmatch(path.rpartition("/")[2])]
        places = {path.rpartition("/")[0] for path in images}
        plain = [path for path in texts if path.rpartition("/")[0] in places]
    return [folder / path for path in plain or [path for path in texts if _stem(path) in stems]]


def _stem(path: str) -> str:
    return without_suffix(path).rpartition("/")[2].casefold()


def names_files(folder: Path) -> list[Path]:
    """The files that could name the classes: data.yaml, obj.names, classes.txt or their like, the nearest only."""
    for patterns in NAME_FILES:
        seen = [file for pattern in patterns for file in files_like(folder, pattern)]
        if found := [f for f in seen if f.suffix.lower() not in YAML or "names:" in read_text(f)]:
            return found
    return []


def names_in(file: Path) -> tuple[str, ...]:
    """The class names of a data.yaml or of a list of names."""
    return yaml_names(file) if file.suffix.lower() in YAML else name_list(file)


def _names_file(folder: Path) -> Path:
    """The file that names the classes.

    Raises:
        DataFault: There is none, or several that differ.
    """
    files = names_files(folder)
    if not files:
        raise DataFault(
            f"{folder} has YOLO labels but no names of classes.", "Add classes.txt, one name a line."
        )
    other = next((file for file in files if names_in(file) != names_in(files[0])), None)
    if other is not None:
        one, two = (file.relative_to(folder).as_posix() for file in (files[0], other))
        remedy = f"Name the one that is meant: {other}." if other.suffix.lower() in YAML else "Keep one."
        raise DataFault(
            f"{folder} has two files that name classes, and they differ: {one} and {two}.", remedy
        )
    return files[0]


def read_yolo(files: list[Path], folder: Path, source: Path | None = None) -> Annotations:
    """Label files in labels/ beside images/, or beside the images, and a list of class names.

    An empty file is a negative image; an image without a file is unlabelled. data.yaml, obj.data or lists of images
    declare parts.

    Args:
        files: The label files.
        folder: The source; its images without a label file are unlabelled.
        source: The file that names the classes; None: look for it.

    Raises:
        DataFault: No file names the classes, or several do, differently.
    """
    source = source or _names_file(folder)
    names = names_in(source)
    finder = Finder(found := Annotations("YOLO", folder, [], names, normalised=True, written=BOX))
    lines, labels = _Lines(found, names, keypoint_numbers(source)), _labels_of(finder, files)
    prefix = _root(finder.images, labels)
    attributes = _attributes(folder)
    for path, file in labels.items():
        place = file.relative_to(folder).as_posix()
        image = finder.known[path] = Annotated(path, place)
        lines.add(image, file, place, attributes.get(path.removeprefix(f"{prefix}/"), {}))
    found.doubt = lines.doubt
    finder.close(whole=True)
    declare_parts(finder, source)
    found.set_root(folder, prefix)
    return found


def _labels_of(finder: Finder, files: list[Path]) -> dict[str, Path]:
    """Path of each image that has labels -> its file; a fault for files without image, or with several."""
    own = Index(finder.images, stems=True)
    claims: dict[str, list[str]] = {}
    far: list[str] = []
    for file in files:
        place = file.relative_to(finder.folder).as_posix()
        near = (own.at(name) for name in _image_stems(without_suffix(place)))
        claims[place] = list(next(filter(None, near), ()))
        far += [] if claims[place] else [place]
    taken = {path for paths in claims.values() for path in paths}
    for place in far:
        stem = without_suffix(place)
        match = finder.stem(
            stem.rpartition("/")[2], neighbours(place.rpartition("/")[0]), part_of_path(place)
        )
        claims[place] = [path for path in match.paths if path not in taken]
    labels: dict[str, Path] = {}
    for place, paths in claims.items():
        path = finder.take(place, "its image", Match(tuple(paths), exact=place not in far))
        if path is not None and path in labels:
            first = labels[path].relative_to(finder.folder).as_posix()
            finder.found.missing_image(place, f"its image {path} has {first} already")
        elif path is not None:
            labels[path] = finder.folder / place
    return labels


def _image_stems(stem: str) -> Iterator[str]:
    """Where the image of a label file may lie: `images` for one of its folders `labels`, the last first; beside it."""
    pieces = stem.split("/")
    for place in reversed(range(len(pieces) - 1)):
        if pieces[place].casefold() == "labels":
            yield "/".join([*pieces[:place], "images", *pieces[place + 1 :]])
    yield stem


def _root(images: list[str], labels: Iterable[str]) -> str:
    """The one folder called images that holds all labelled images; none where it belongs to a part."""
    tops = {
        above
        for path in images
        for above in folders_above(path)
        if above.rpartition("/")[2].casefold() == "images"
    }
    tops = {top for top in tops if not any(other != top and top.startswith(f"{other}/") for other in tops)}
    top = tops.pop() if len(tops) == 1 else ""
    inside = top and all(path.startswith(f"{top}/") for path in labels)
    return top if inside and part_of_path(f"{top}/") is None else ""


class _Lines:
    """Reads label files of one source.

    Attributes:
        used: Numbers of classes that were seen.
    """

    def __init__(self, found: Annotations, names: tuple[str, ...], keypoints: int) -> None:
        self.found, self.names, self.keypoints = found, names, keypoints
        self.used: set[float] = set()

    def add(self, image: Annotated, file: Path, place: str, attributes: dict[int, dict[str, str]]) -> None:
        """Add the lines of a file to an image; a class that is none spoils it."""
        for line, text in enumerate(read_text(file).splitlines(), 1):
            cells = self._cells(text)
            if not cells:
                continue
            where, name = f"{place} line {line}", self._name(cells)
            if name is None:
                what = (
                    f"class {cells[0]} is not among the {len(self.names)} names (0 to {len(self.names) - 1})"
                )
                self.found.spoil(image, "unknown-class", where, what)
                continue
            extras = dict(attributes.get(len(image.records), {}))
            if len(cells) == 6:
                extras["confidence"] = cells[5]
            difficult, crowd = (truth(extras.pop(key, "")) for key in ("difficult", "crowd"))
            corners = _corners(cells[1:], self.keypoints)
            written = _written(corners, cells[1:])
            image.add(Record(where, name, corners, difficult, extras, written, crowd))

    def _cells(self, text: str) -> list[str]:
        """Class and numbers; a name with blanks is one cell."""
        cells = _separated(re.sub(r"(^|\s)#.*", "", text))
        words = next((i for i, cell in enumerate(cells) if not math.isnan(number(cell))), len(cells))
        for length in range(min(words, len(cells)), 1, -1):
            if (name := " ".join(cells[:length])) in self.names:
                return [name, *cells[length:]]
        return cells

    def _name(self, cells: list[str]) -> str | None:
        label = number(cells[0])
        if math.isnan(label):
            return cells[0] if cells[0] in self.names else None
        self.used.add(label)
        return self.names[int(label)] if label in range(len(self.names)) else None

    @property
    def doubt(self) -> str:
        """A sentence where the numbers of the classes seem to begin at 1, so that all of them are another class."""
        if not self.used or min(self.used) < 1 or max(self.used) != len(self.names):
            return ""
        last = len(self.names)
        return f"No line has class 0 and some have {last}: the numbers seem to begin at 1, where 0 is the first. "


def _separated(text: str) -> list[str]:
    """The cells of a line, blanks, tabs, semicolons or commas between them.

    A comma between two digits stays where blanks separate too (0 0,5 0,5): it is a decimal comma, which is no number.
    """
    cells = text.replace(";", " ").split()
    if len(cells) == 1 or not any(re.search(r"\d,\d", cell) for cell in cells):
        cells = text.replace(";", " ").replace(",", " ").split()
    return [cell.strip(",") for cell in cells if cell.strip(",")]


def _written(corners: Corners, cells: list[str]) -> str:
    """How a box that is none was written."""
    if not any(map(math.isnan, corners)):
        return ""
    text = " ".join(cells)[:80] or "of no numbers"
    if any(re.fullmatch(r"-?\d+,\d+", cell) for cell in cells):
        return f"{text} (decimal commas: write points)"
    return text


def _corners(cells: list[str], keypoints: int = 0) -> Corners:
    """Left, top, right, bottom as shares of the sides; NaN for what is no box.

    Args:
        cells: Numbers of a line, without the class.
        keypoints: How many of them are keypoints where there are any more than a box.
    """
    if keypoints and len(cells) == 4 + keypoints:
        cells = cells[:4]
    elif len(cells) == 5:  # a confidence
        if not 0 <= number(cells[4]) <= 1:
            return NO_BOX
        cells = cells[:4]
    elif len(cells) >= 6 and len(cells) % 2 == 0 and not keypoints:  # an outline: x, y, x, y, ...
        return around(cells[::2], cells[1::2])
    if len(cells) != 4:
        return NO_BOX
    if max(map(len, cells)) > LONG:
        return _exact_corners(cells)
    x, y, width, height = map(number, cells)
    return about(x, y, width / 2, height / 2)


def _exact_corners(cells: list[str]) -> Corners:
    try:
        x, y, width, height = (Decimal(cell) for cell in cells)
        pairs = ((x, -width), (y, -height), (x, width), (y, height))
        left, top, right, bottom = (float(EXACT.add(c, EXACT.divide(s, Decimal(2)))) for c, s in pairs)
    except (ArithmeticError, ValueError):  # no number, infinite, or too large
        return NO_BOX
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


def keypoint_numbers(file: Path) -> int:
    """How many numbers of a line are keypoints, by the entry `kpt_shape: [points, 2 or 3]` of a data.yaml; 0 without.

    Raises:
        DataFault: The entry is something else.
    """
    text = read_text(file) if file.suffix.lower() in YAML else ""
    entry = re.search(r"^kpt_shape:[ \t]*(?:#.*)?\n?(.*(?:\n[ \t]*-.*)*)", text, re.M)
    if entry is None:
        return 0
    sides = re.findall(r"[0-9.]+", entry[1].split("#")[0])
    if len(sides) != 2 or not all(side.isdecimal() and len(side) < 6 for side in sides):
        raise DataFault(f"{file} has a kpt_shape that is no pair of numbers.", "Write kpt_shape: [17, 3].")
    return int(sides[0]) * int(sides[1])


def yaml_names(file: Path) -> tuple[str, ...]:
    """The entry `names` of a data.yaml: a list or a table from number to name, on one line or on several.

    Raises:
        DataFault: It has no such entry, or its numbers are not 0, 1, 2, ...
    """
    names: list[str] = []
    for entry in yaml_pieces(read_text(file), "names"):
        numbered = re.fullmatch(r"""['"]?(\d+)['"]?\s*:\s*(.+)""", entry)
        if numbered and (numbered[1].lstrip("0") or "0") != str(len(names)):
            raise DataFault(
                f"{file} names class {numbered[1]} where {len(names)} is due.", "Number them 0, 1, 2."
            )
        names.append(unquoted(numbered[2] if numbered else entry))
    if not names:
        raise DataFault(f"{file} has no class names.", "Write names: [gun, knife].")
    return checked_names(str(file), names)
