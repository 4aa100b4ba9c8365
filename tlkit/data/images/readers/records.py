"""Labelled images as a source lists them: the rows, and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES

TRAINING, VALIDATION, TEST = "training", "validation", "test"
PARTS = (TRAINING, VALIDATION, TEST)
PART_NAMES = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")  # of image files


NOT_READ = {
    ".heic": "it is HEIC: save it as JPEG, or install a reader: pip install 'tlkit[heif]'",
    ".heif": "it is HEIF: save it as JPEG, or install a reader: pip install 'tlkit[heif]'",
    ".avif": "it is AVIF, which this Pillow does not read: pip install -U pillow, or save it as JPEG",
    ".jp2": "it is JPEG 2000, which this Pillow does not read: save it as PNG",
    ".dcm": "it is DICOM: export it as PNG of 16 bit",
    ".svg": "it is a drawing of lines: save it as PNG",
    ".raw": "it is a camera's raw file: develop it to JPEG",
    ".cr2": "it is a camera's raw file: develop it to JPEG",
    ".nef": "it is a camera's raw file: develop it to JPEG",
    ".dng": "it is a camera's raw file: develop it to JPEG",
    ".psd": "it is a Photoshop file: save it as PNG",
    ".npy": "it is an array: save it as PNG",
}


@dataclass(frozen=True)
class Images:
    """Labelled image files, in the order of their paths.

    Attributes:
        source: The SOURCE as the person typed it.
        root: Folder that the paths are relative to.
        paths: [n] POSIX paths relative to `root`.
        labels: int32 [n], indices into `class_names`.
        class_names: [k] sorted names.
        parts: [n] the source's own split ("training", "validation", "test") or None.
        groups: [n] declared group of each image or None; a group never crosses parts.
        columns: Further columns of a CSV source by name, each [n].
        remarks: Sentences on how the source was read and what of it was not.
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: tuple[str | None, ...]
    groups: tuple[str | None, ...]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.paths[index]

    def files(self) -> list[str]:
        """Every image's full path, [n]."""
        return [str(self.root / path) for path in self.paths]

    def take(self, indices: np.ndarray | list[int]) -> Images:
        """The images at `indices`, in that order, with the same classes."""
        chosen = [int(i) for i in indices]
        return Images(
            source=self.source,
            root=self.root,
            paths=tuple(self.paths[i] for i in chosen),
            labels=self.labels[chosen],
            class_names=self.class_names,
            parts=tuple(self.parts[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            columns={name: tuple(values[i] for i in chosen) for name, values in self.columns.items()},
            remarks=self.remarks,
        )


@dataclass(frozen=True)
class Row:
    """One image of a source: its path, its label, and what else the source says of it."""

    path: str
    label: str
    part: str | None = None
    group: str | None = None
    others: tuple[str, ...] = ()


def describe(
    source: str,
    root: Path,
    rows: Sequence[Row],
    names: Sequence[str],
    columns: tuple[str, ...] = (),
    remarks: Sequence[str] = (),
) -> Images:
    """The images of rows, in the order of their paths.

    Args:
        source: As typed.
        root: Folder that the rows' paths are relative to.
        rows: One for each image.
        names: Sorted names of the classes.
        columns: Names of the rows' `others`.
        remarks: As in `Images`.
    """
    rows = sorted(rows, key=lambda row: row.path)
    index = {name: i for i, name in enumerate(names)}
    return Images(
        source=source,
        root=root,
        paths=tuple(row.path for row in rows),
        labels=np.array([index[row.label] for row in rows], np.int32),
        class_names=tuple(names),
        parts=tuple(row.part for row in rows),
        groups=tuple(row.group for row in rows),
        columns={name: tuple(row.others[i] for row in rows) for i, name in enumerate(columns)},
        remarks=tuple(remarks),
    )


def is_image(file: Path) -> bool:
    """Whether a file in a folder is taken for an image: its suffix says so, or it has none and begins like one.

    The one rule for every verb that reads a folder. Hidden files are none: `._1.jpg` is what a system writes beside
    `1.jpg`. A file that is named, by a person or a table, is tried whatever its name.
    """
    if file.name.startswith("."):
        return False
    suffix = file.suffix.lower()
    return suffix in IMAGE_SUFFIXES or (not suffix and begins_like_an_image(file))


def is_hidden_image(file: Path) -> bool:
    """Whether a file would be an image by its suffix and is hidden, which is worth a word."""
    return file.name.startswith(".") and file.suffix.lower() in IMAGE_SUFFIXES


def begins_like_an_image(file: Path) -> bool:
    """Whether the first bytes are those of JPEG, PNG, GIF, WebP, BMP or TIFF."""
    try:
        with file.open("rb") as stream:
            start = stream.read(8) if file.is_file() else b""
    except OSError:
        return False
    return any(start.startswith(known) for known in STARTS)


def why_not_read(file: Path) -> str:
    """Why a file in a folder is not taken for an image, for people."""
    if file.suffix.lower() in NOT_READ:
        return NOT_READ[file.suffix.lower()]
    if begins_like_an_image(file):
        return "it is an image, but its suffix names none"
    return "it is no image"
