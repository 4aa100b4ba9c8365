"""What a reader of boxes found, before anything is believed: images, their boxes, and where each stands.

Every format becomes `Annotations`. Coordinates are kept as float64 until the sizes of the images are known;
`where` is the file and the line, row or object that a person must open to mend a fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from tlkit.core.paths import inner_path, is_text
from tlkit.errors import DataFault, shortened

Corners = tuple[float, float, float, float]  # left, top, right, bottom
# What is done where an annotation has no one meaning: of a box left out alone the object would be background.
WHOLE = "its image is left out"
END = 200_000  # bytes at either end of a file that tell what it is
MOST_BOXES = 10_000  # on one image: more is no annotation but an attack or a broken file


class Fault(NamedTuple):
    """Something wrong with a box, an image or an annotation.

    Attributes:
        kind: "zero-size", "inverted", "out-of-image", "duplicate", "normalised", "no-number", "missing-image",
            "unlabelled-image", "unreadable-image", "image-size", "image-id", "unknown-class" or "class-names"; of masks
            "mask-outline", "mask-length", "mask-size", "mask-values", "mask-outside", "mask-empty", "mask-pixel" or
            "mask-box"; or, of what is no fault but worth a word, "turned-boxes", "scaled-boxes" or "either-form".
        where: File and line, row or object.
        what: What is wrong there, as the end of a sentence.
        done: What `faults="clip"` does about it.
        path: The image, relative to the root; empty where there is none.
    """

    kind: str
    where: str
    what: str
    done: str
    path: str = ""

    def __str__(self) -> str:
        return shortened(f"{self.where}: {self.what}")


class Record(NamedTuple):
    """One box as it was written: corners are left, top, right, bottom; see `Boxes` for difficult and crowd.

    `written` is the text where the corners are none. `outline` is what a mask can be drawn from (see `masks.drawing`),
    as it was written; None where there is none.
    """

    where: str
    name: str
    corners: Corners
    difficult: bool = False
    extras: dict[str, str] = {}  # noqa: RUF012 - never changed
    written: str = ""
    crowd: bool = False
    outline: Any = None


@dataclass
class Annotated:
    """One image and its boxes.

    Attributes:
        path: POSIX path relative to the root.
        where: What names it.
        records: Its boxes, in the order in which they were written; none: a negative image.
        size: Width and height that the annotation claims.
        part: The source's own split.
        group: The declared group.
        columns: Further facts of the image.
        spoiled: Something on it could not be read, so that it shows more than its records say.
        exact: The size is that of mask images, which are not scaled.
    """

    path: str
    where: str
    records: list[Record] = field(default_factory=list)
    size: tuple[int, int] | None = None
    part: str | None = None
    group: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    spoiled: bool = False
    exact: bool = False

    def add(self, record: Record) -> None:
        """Add a box.

        Raises:
            DataFault: There are more than `MOST_BOXES`.
        """
        if len(self.records) >= MOST_BOXES:
            raise DataFault(
                f"{record.where}: {self.path} has more than {MOST_BOXES:,} boxes.", "Look at that file."
            )
        self.records.append(record)


@dataclass
class Annotations:
    """All that a source says.

    Attributes:
        form: "boxes.csv", "table", "COCO", "VOC", "YOLO", "GDXray", "Open Images", "CVAT", "labelme", "VIA" or "masks".
        root: Folder that image paths are relative to.
        images: The annotated images.
        class_names: In the order of the source, or None where it has none.
        normalised: Corners are shares of the image's sides, not pixels.
        unlabelled: Images of the source, relative to the root, that no annotation names.
        faults: What the reader had to leave out.
        parts: Part of each path that the source's lists or files declare, unlabelled images included.
        notes: How images were found and parts declared where that is not plain, as sentences.
        written: What the four numbers of a box are in the file: corners, or two numbers and two sides.
        doubt: A sentence if all boxes of the source have no one meaning, so that leaving out some would not do.
    """

    form: str
    root: Path
    images: list[Annotated]
    class_names: tuple[str, ...] | None = None
    normalised: bool = False
    unlabelled: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    written: str = "left,top,right,bottom"
    doubt: str = ""

    def spoil(self, image: Annotated, kind: str, where: str, what: str) -> None:
        """Note what cannot be read of an image, which is then left out as a whole."""
        image.spoiled = True
        self.faults.append(Fault(kind, where, what, WHOLE, image.path))

    def takes(self, image: Annotated, where: str, name: str, lacking: str) -> bool:
        """Whether a class can be a box's; else its image is spoiled: it is empty, or not in the source's list."""
        if name and (self.class_names is None or name in self.class_names):
            return True
        self.spoil(image, "unknown-class", where, f"class {name} is not in classes.txt" if name else lacking)
        return False

    def missing_image(self, where: str, what: str) -> None:
        """Note an annotation whose image is not there."""
        self.faults.append(Fault("missing-image", where, what, "left out"))

    def set_root(self, folder: Path, prefix: str) -> None:
        """Make paths relative to a folder of the source that holds all images.

        Args:
            folder: The source, to which they are relative now.
            prefix: The folder, POSIX; "" for the source itself.
        """
        self.root = folder / prefix if prefix else folder
        if not prefix:
            return
        start = f"{prefix}/"
        for image in self.images:
            image.path = image.path.removeprefix(start)
        self.unlabelled = [path.removeprefix(start) for path in self.unlabelled if path.startswith(start)]
        self.parts = {path.removeprefix(start): part for path, part in self.parts.items()}
        self.faults = [fault._replace(path=fault.path.removeprefix(start)) for fault in self.faults]


def rows_of_images(
    rows: Iterable[tuple[str, str, Any]],
    find: Callable[[str, str], str | None],
    images: dict[str, Annotated],
) -> Iterator[tuple[Annotated, str, Any]]:
    """The rows of an annotation file whose images are there, each with its image and where it stands.

    Args:
        rows: Where each stands, the name of its image, and the row.
        find: From the first place of a name, and the name, to the image's path or None.
        images: Those that are known, by path; gets the new ones.
    """
    paths: dict[str, str | None] = {}
    for where, name, row in rows:
        if name not in paths:
            paths[name] = find(where, name)
        if path := paths[name]:
            yield images.setdefault(path, Annotated(path, where)), where, row


def safe_path(where: str, text: str) -> str:
    """A path from an annotation, in POSIX form.

    Args:
        where: File and line, for the fault.
        text: Either slash may separate.

    Raises:
        DataFault: It is empty, absolute, leaves the folder, or cannot be a file's name.
    """
    path = inner_path(text)
    if path is None:
        said = text.strip() if is_text(text) else ascii(text.strip())
        raise DataFault(
            f"{where}: {said or 'an empty name'} is no path inside the source.",
            "Give the image's path relative to the folder, without '..'.",
        )
    return path


def is_hidden(path: Path) -> bool:
    """Whether a relative path has a piece that begins with a dot."""
    return any(piece.startswith(".") for piece in path.parts)


def files_like(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that fit a pattern whose letters stand for both cases, sorted; hidden ones are none."""
    either = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in pattern)
    files = (file for file in sorted(folder.glob(either)) if file.is_file())
    return [file for file in files if not is_hidden(file.relative_to(folder))]


def folder_within(file: Path, top: Path) -> str:
    """The folder of a file, POSIX, relative to one above it; "" for that one itself."""
    above = file.parent.relative_to(top).as_posix()
    return "" if above == "." else above


def read_text(file: Path, most: int = 64_000_000) -> str:
    """The text of an annotation file, UTF-8 with or without its mark.

    Args:
        file: What to read.
        most: Bytes that such a file can have.

    Raises:
        DataFault: It is missing, too large, or not UTF-8.
    """
    try:
        if file.stat().st_size > most:
            raise DataFault(f"{file} has more than {most // 1_000_000:,} MB.", "Look at that file.")
        return file.read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise DataFault(f"{file} cannot be read ({fault.strerror}).", "Check the path.") from None
    except UnicodeDecodeError:
        raise DataFault(f"{file} is not UTF-8 text.", "Save it as UTF-8.") from None


def read_json(file: Path, most: int) -> Any:
    """What a JSON file holds.

    Args:
        file: What to read.
        most: Bytes that such a file can have.

    Raises:
        DataFault: It is no JSON, or as for `read_text`.
    """
    try:
        text = read_text(file, most)
        data = json.loads(text)
        if "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode("utf-8")  # half of a pair of surrogates is no text
    except (ValueError, RecursionError) as fault:  # ValueError: also a whole number of more than 4,300 digits
        raise DataFault(f"{file} is no JSON: {fault}.", "Write it anew.") from None
    return data


def ends_of(file: Path) -> str:
    """The first and the last characters of a text file, for a look at what it is; empty where it cannot be read."""
    try:
        with file.open("rb") as stream:
            head = stream.read(END)
            stream.seek(max(len(head), file.stat().st_size - END))
            return (head + stream.read(END)).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def number(text: object) -> float:
    """A coordinate; NaN for what is none, which the check then names."""
    if isinstance(text, bool):
        return float("nan")
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def numbers(entry: Mapping[str, Any] | Element, *keys: str) -> list[float]:
    """The coordinates under some keys of an object of JSON, a row or an XML element."""
    return [number(entry.get(key)) for key in keys]


def stated_size(width: object, height: object) -> tuple[int, int] | None:
    """Width and height that an annotation states, in pixels; None where one is no side of an image."""
    sides = number(width), number(height)
    return (int(sides[0]), int(sides[1])) if all(0 < side < 1e9 for side in sides) else None


def truth(text: object) -> bool:
    """Whether a flag is set: 1, true, yes; not 0, empty, false."""
    return str(text or "").strip().lower() not in {"", "0", "0.0", "false", "no", "none"}


def name_list(file: Path) -> tuple[str, ...]:
    """Class names, one a line; blank lines at the end do not count.

    Raises:
        DataFault: There is no name, or one is empty or stands twice.
    """
    names = [line.strip() for line in read_text(file).rstrip().splitlines()]
    if not names:
        raise DataFault(f"{file} names no class.", "Write one name a line, or remove the file.")
    return checked_names(str(file), names)


def listed_names(folder: Path) -> tuple[str, ...] | None:
    """The names in a folder's classes.txt; None where it has none."""
    file = folder / "classes.txt"
    return name_list(file) if file.is_file() else None


def checked_names(where: str, names: list[str]) -> tuple[str, ...]:
    """The names, none of them empty, twice, or of characters that UTF-8 does not have.

    Raises:
        DataFault: One is.
    """
    for index, name in enumerate(names):
        if not is_text(name):
            raise DataFault(f"{where} has the name {name!a}, which is no text.", "Rename the class.")
        if not name or name in names[:index]:
            problem = f"names {name} twice" if name else f"has an empty name ({index})"
            raise DataFault(f"{where} {problem}.", "Give every class one name of its own.")
    return tuple(names)
