"""What a SOURCE is: a folder of class folders, a CSV file, `tfds:NAME` or `xray:crops`.

All four become one `Images` description: paths of files that a person can open, and their labels.
`tfds:` and `xray:` write their pictures once into the cache, so that everything behind this module
reads files. TensorFlow is imported only for `tfds:`.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from tlkit.data.cache import cache_folder, folder_written_once
from tlkit.data.catalogue import prepared_csv
from tlkit.data.gdxray import contest_pictures
from tlkit.data.paths import inner_path
from tlkit.errors import DataFault, UsageFault

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
IMAGE_SUFFIXES = frozenset(
    (
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)
BUILT_IN = ("xray:crops",)


@dataclass(frozen=True)
class Images:
    """Labelled picture files, in the order of their paths.

    Attributes:
        source: The SOURCE as the person typed it.
        root: Folder that the paths are relative to.
        paths: [n] POSIX paths relative to `root`.
        labels: int32 [n], indices into `class_names`.
        class_names: [k] sorted names.
        parts: [n] the source's own split ("training", "validation", "test") or None.
        groups: [n] declared group of each image or None; a group never crosses parts.
        columns: Further columns of a CSV source by name, each [n].
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: tuple[str | None, ...]
    groups: tuple[str | None, ...]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

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
        )


@dataclass(frozen=True)
class Row:
    """One picture of a source: its path, its label, and what else the source says of it."""

    path: str
    label: str
    part: str | None = None
    group: str | None = None
    others: tuple[str, ...] = ()


def read_images(source: str, *, download: bool = False, least: int = 2) -> Images:
    """Describe the pictures of a SOURCE.

    Args:
        source: FOLDER of class folders (with or without train/ validation/ test/ above them), FILE.csv with
            columns path,label[,split][,group], `tfds:NAME[/CONFIG][:VERSION]`, `xray:crops`, or `gdxray:FOLDER`,
            the course's contest on a GDXray that the person has.
        download: Let `tfds:` fetch a data set that is not prepared.
        least: Classes that it must have: two to learn, one to be judged on or to be imitated. With one, a folder
            of pictures without class folders is one class, named after it.

    Raises:
        DataFault: The source is missing, has no class folders, too few classes or an empty class.
        UsageFault: The source has a prefix that is unknown.
    """
    if source.startswith("tfds:"):
        file = prepared_csv(source.removeprefix("tfds:"), download=download)
        images = _read_csv(source, file)
    elif source.startswith("xray:"):
        images = _read_built_in(source)
    elif source.startswith("gdxray:"):
        images = _read_gdxray(source)
    elif source.lower().endswith(".csv"):
        images = _read_csv(source, Path(source))
    else:
        images = _read_folder(source, Path(source), loose=least == 1)
    _check_classes(images, least)
    return images


def describe(
    source: str, root: Path, rows: list[Row], names: list[str], columns: tuple[str, ...] = ()
) -> Images:
    """The images of rows, in the order of their paths.

    Args:
        source: As typed.
        root: Folder that the rows' paths are relative to.
        rows: One for each picture.
        names: Sorted names of the classes.
        columns: Names of the rows' `others`.
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
    )


def _check_classes(images: Images, least: int) -> None:
    if len(images.class_names) < least:
        one = images.class_names[0] if images.class_names else "nothing"
        raise DataFault(
            f"{images.source} has one class only ({one}); a classifier needs at least two.",
            "Add a folder with pictures of something else, for example other/.",
        )
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    empty = [name for name, count in zip(images.class_names, counts, strict=True) if count == 0]
    if empty:
        raise DataFault(
            f"Class {empty[0]} of {images.source} has no images.",
            f"Put pictures into {empty[0]}/ or remove the folder.",
        )


# --- folders ---


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_")))


def _pictures(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(piece.startswith(".") for piece in path.relative_to(folder).parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            yield path


def _read_folder(source: str, root: Path, *, loose: bool = False) -> Images:
    if not root.is_dir():
        raise _missing(source, root)
    folders = _folders(root)
    if loose and not folders and any(_pictures(root)):
        name = root.resolve().name
        rows = [Row(picture.relative_to(root).as_posix(), name) for picture in _pictures(root)]
        return describe(source, root, rows, [name])
    split = {f: PART_NAMES[f.name.lower()] for f in folders if f.name.lower() in PART_NAMES}
    others = [f for f in folders if f not in split and any(_pictures(f))]
    if split and others:
        raise DataFault(
            f"{source} mixes split folders ({', '.join(f.name for f in split)}) and class folders "
            f"({', '.join(f.name for f in others[:3])}).",
            "Keep class folders at the top, or train/, validation/ and test/ with class folders inside.",
        )
    if not folders or (not split and not others and not any(_folders(f) for f in folders)):
        _check_has_folders(source, root, folders)
    above: dict[Path, str | None] = {**split} or {root: None}
    rows = [
        Row(picture.relative_to(root).as_posix(), label.name, part)
        for folder, part in above.items()
        for label in _folders(folder)
        for picture in _pictures(label)
    ]
    names = sorted({label.name for folder in above for label in _folders(folder)})
    if split:
        _check_labels_trained(source, rows, names)
    return describe(source, root, rows, names)


def _check_has_folders(source: str, root: Path, folders: list[Path]) -> None:
    loose = [p for p in root.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    if loose and not folders:
        first = loose[0].name
        raise DataFault(
            f"{source} has images but no class folders.",
            f"Put each class in its own folder ({root.name}/gun/{first}, {root.name}/blade/2.png).",
        )
    if not folders:
        raise DataFault(
            f"{source} has no class folders and no images.",
            f"Make one folder for each class and put its pictures inside ({root.name}/gun/1.png).",
        )


def _check_labels_trained(source: str, rows: list[Row], names: list[str]) -> None:
    """A class that is judged must have been learned."""
    trained = {row.label for row in rows if row.part == TRAINING}
    for part in (VALIDATION, TEST):
        unknown = sorted({row.label for row in rows if row.part == part} - trained)
        if unknown and trained:
            near = difflib.get_close_matches(unknown[0], sorted(trained), 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise DataFault(
                f"Class {unknown[0]} of {source} has pictures for {part} but none for training.{hint}",
                f"Add training pictures of {unknown[0]} or take it out of the {part} part.",
            )
    lonely = sorted(set(names) - trained)
    if lonely and trained:
        raise DataFault(
            f"Class {lonely[0]} of {source} has no images for training.",
            f"Put training pictures of {lonely[0]} in place or remove its folder.",
        )


def _missing(source: str, path: Path) -> DataFault:
    if path.is_file():
        return DataFault(
            f"{source} is a file, not a folder of class folders.",
            "Give the folder that holds the class folders, or a CSV file with columns path,label.",
        )
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, 1)
    hint = f"Did you mean {path.parent / near[0]}? " if near else ""
    return DataFault(
        f"Folder {source} does not exist.",
        f"{hint}A SOURCE is a folder of class folders, a FILE.csv, tfds:NAME or xray:crops.",
    )


# --- CSV ---


def _read_csv(source: str, file: Path) -> Images:
    """Rows of path,label[,split][,group][,...]; paths are relative to the CSV file's folder."""
    if not file.is_file():
        raise DataFault(f"{source} does not exist.", "Give a CSV file with the columns path,label.")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            table = list(csv.DictReader(stream))
    except OSError as fault:
        raise DataFault(f"{source} cannot be read ({fault.strerror}).", "Check its permissions.") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise DataFault(
            f"{source} is not a readable UTF-8 CSV file: {fault}.", "Save it as CSV, UTF-8."
        ) from None
    header = list(table[0]) if table else []
    for needed in ("path", "label"):
        if needed not in header:
            raise DataFault(
                f"{source} has no column {needed} (columns: {', '.join(map(str, header)) or 'none'}).",
                "The first line must name the columns: path,label and, if you like, split and group.",
            )
    extra = tuple(name for name in header if name and name not in ("path", "label", "split", "group"))
    rows = [csv_row(source, file.parent, line, row, extra) for line, row in enumerate(table, 2)]
    names = sorted({row.label for row in rows})
    if any(row.part for row in rows):
        _check_labels_trained(source, rows, names)
    return describe(source, file.parent, rows, names, extra)


def csv_row(source: str, folder: Path, line: int, row: dict, extra: tuple[str, ...] = ()) -> Row:
    """One line of a CSV source.

    Args:
        source: As typed.
        folder: Of the CSV file.
        line: Its number, from 1.
        row: Its cells by column.
        extra: Further columns to keep.

    Raises:
        DataFault: It lacks a path or a label, its path leaves the folder or does not exist, or its split is unknown.
    """
    path, label = (row["path"] or "").strip(), (row["label"] or "").strip()
    if not path or not label:
        raise DataFault(
            f"{source} line {line} lacks a {'label' if path else 'path'}.", "Fill it in or delete the line."
        )
    inner = inner_path(path)
    if inner is None:
        raise DataFault(
            f"{source} line {line}: {path} is no path inside the folder of the CSV file.",
            f"Give paths relative to {folder}/ and below it.",
        )
    if not (folder / inner).is_file():
        raise DataFault(
            f"{source} line {line}: {folder / inner} does not exist.", "Correct the path or delete the line."
        )
    split = (row.get("split") or "").strip().lower()
    if split and split not in PART_NAMES:
        raise DataFault(
            f"{source} line {line}: split {split} is unknown.", "Use training, validation or test."
        )
    group = (row.get("group") or "").strip() or None
    return Row(
        inner,
        label,
        PART_NAMES.get(split),
        group,
        tuple((row[name] or "").strip() for name in extra),
    )


# --- sources that are written into the cache first ---


def _read_built_in(source: str) -> Images:
    if source not in BUILT_IN:
        raise UsageFault(f"Source {source} is unknown.", f"The built-in set is {BUILT_IN[0]}.")
    xray = import_module("tlkit.data.xray")  # SciPy takes its time, and other sources do without
    folder = folder_written_once(cache_folder() / "xray" / f"crops-{xray.VERSION}", xray.write_crops)
    return replace(_read_csv(source, folder / "images.csv"), source=source)


def _read_gdxray(source: str) -> Images:
    root = Path(source.removeprefix("gdxray:"))
    rows = [Row(path, label, part, None, (series,)) for path, label, part, series in contest_pictures(root)]
    return describe(source, root, rows, sorted({row.label for row in rows}), ("series",))
