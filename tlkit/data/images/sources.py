"""What a SOURCE is: a folder of class folders, a CSV file, `tfds:NAME` or `xray:crops`.

All four become one `Images` description: paths of files that a person can open, and their labels.
`tfds:` and `xray:` write their images once into the cache, so that everything behind this module
reads files. TensorFlow is imported only for `tfds:`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np

from tlkit.core.files import cache_folder, folder_written_once
from tlkit.core.reading import PLAIN, Reading
from tlkit.core.text import did_you_mean
from tlkit.data.images.dataset import (
    PART_NAMES,
    PARTS,
    TEST,
    TRAINING,
    VALIDATION,
    Images,
    Row,
    describe,
)
from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES
from tlkit.data.images.findings import ERROR, Finding
from tlkit.data.images.names import label_faults, twin_names
from tlkit.data.images.readers.folders import read_class_folders
from tlkit.data.images.readers.gdxray import contest_images
from tlkit.data.images.readers.tables import read_image_table
from tlkit.data.images.readers.tfds import prepared_csv
from tlkit.errors import DataFault, UsageFault

__all__ = [
    "IMAGE_SUFFIXES",
    "PARTS",
    "PART_NAMES",
    "TEST",
    "TRAINING",
    "VALIDATION",
    "Images",
    "Row",
    "describe",
    "missing_folder",
    "read_images",
    "refuse_first",
]

BUILT_IN = ("xray:crops",)
REFUSED = frozenset(  # by training
    ("mixed-layout", "no-classes", "csv-row", "missing-file", "listed-twice", "label-spelling")
)


def read_images(source: str, *, download: bool = False, least: int = 2, reading: Reading = PLAIN) -> Images:
    """Describe the images of a SOURCE.

    Args:
        source: FOLDER of class folders (with or without train/ validation/ test/ above them), FILE.csv with
            columns path,label[,split][,group], `tfds:NAME[/CONFIG][:VERSION]`, `xray:crops`, or `gdxray:FOLDER`,
            the course's contest on a GDXray that the person has.
        download: Let `tfds:` fetch a data set that is not prepared.
        least: Classes that it must have: two to learn, one to be evaluated on or to be imitated. With one, a folder
            of images without class folders is one class, named after it.
        reading: Which images of a folder or table are wanted, and which columns of a table say what.

    Raises:
        DataFault: The source is missing, has no class folders, too few classes or an empty class; or a line of a
            table cannot be used.
        UsageFault: The source has a prefix that is unknown.
    """
    if source.startswith("tfds:"):
        file = prepared_csv(source.removeprefix("tfds:"), download=download)
        images = _read_csv(source, file, PLAIN)
    elif source.startswith("xray:"):
        images = _read_built_in(source)
    elif source.startswith("gdxray:"):
        images = _read_gdxray(source)
    elif source.lower().endswith(".csv"):
        images = _read_csv(source, Path(source), reading)
    else:
        images = _read_folder(source, Path(source), reading, loose=least == 1)
    _check_classes(images, least)
    twins = twin_names(images.paths)
    return replace(images, remarks=(*images.remarks, f"{twins.sentence} {twins.remedy}")) if twins else images


def refuse_first(findings: Iterable[Finding], names: Iterable[str]) -> None:
    """Refuse what training cannot use.

    Args:
        findings: Of a reader.
        names: Of the classes; two that a person reads as one are refused too.

    Raises:
        DataFault: The first of them.
    """
    for found in (*findings, *label_faults(names)):
        if found.severity == ERROR and found.kind in REFUSED:
            raise DataFault(found.sentence, found.remedy)


def _check_classes(images: Images, least: int) -> None:
    if len(images.class_names) < least:
        one = images.class_names[0] if images.class_names else "nothing"
        raise DataFault(
            f"{images.source} has one class only ({one}); a classifier needs at least two.",
            "Add a folder with images of something else, for example other/.",
        )
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    empty = [name for name, count in zip(images.class_names, counts, strict=True) if count == 0]
    if empty:
        raise DataFault(
            f"Class {empty[0]} of {images.source} has no images.",
            f"Put images into {empty[0]}/ or remove the folder.",
        )


# --- folders ---


def _read_folder(source: str, root: Path, reading: Reading, *, loose: bool = False) -> Images:
    if not root.is_dir():
        raise missing_folder(source, root)
    found = read_class_folders(source, root, reading)
    if found.loose and not loose:
        first = found.rows[0].path
        raise DataFault(
            f"{source} has images but no class folders.",
            f"Put each class in its own folder ({root.name}/gun/{first}, {root.name}/blade/2.png).",
        )
    if not found.names:
        raise DataFault(
            f"{source} has no class folders and no images.",
            f"Make one folder for each class and put its images inside ({root.name}/gun/1.png).",
        )
    refuse_first(found.findings, found.names)
    _check_labels_trained(source, found.rows, found.names)
    return describe(source, root, found.rows, found.names, remarks=found.remarks)


def _check_labels_trained(source: str, rows: list[Row], names: list[str]) -> None:
    """A class that is evaluated must have been learned, where the source says what is learned."""
    trained = {row.label for row in rows if row.part == TRAINING}
    for part in (VALIDATION, TEST):
        unknown = sorted({row.label for row in rows if row.part == part} - trained)
        if unknown and trained:
            hint = did_you_mean(unknown[0], trained)
            raise DataFault(
                f"Class {unknown[0]} of {source} has images for {part} but none for training.{hint and ' '}{hint}",
                f"Add training images of {unknown[0]} or take it out of the {part} part.",
            )
    lonely = sorted(set(names) - trained)
    if lonely and trained:
        raise DataFault(
            f"Class {lonely[0]} of {source} has no images for training.",
            f"Put training images of {lonely[0]} in place or remove its folder.",
        )


def missing_folder(source: str, path: Path) -> DataFault:
    """Why a folder that was typed cannot be read, with what may have been meant."""
    if path.is_file():
        return DataFault(
            f"{source} is a file, not a folder of class folders.",
            "Give the folder that holds the class folders, or a CSV file with columns path,label.",
        )
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, siblings, shown=path.parent.joinpath)
    return DataFault(
        f"Folder {source} does not exist.",
        f"{hint} A SOURCE is a folder of class folders, a FILE.csv, tfds:NAME or xray:crops.".lstrip(),
    )


# --- CSV ---


def _read_csv(source: str, file: Path, reading: Reading) -> Images:
    """Rows of a table of images; paths are relative to the CSV file's folder."""
    table = read_image_table(source, file, reading)
    refuse_first(table.findings, table.names)
    _check_labels_trained(source, table.rows, table.names)
    return describe(source, file.parent, table.rows, table.names, table.columns, table.remarks)


# --- sources that are written into the cache first ---


def _read_built_in(source: str) -> Images:
    if source not in BUILT_IN:
        raise UsageFault(f"Source {source} is unknown.", f"The built-in set is {BUILT_IN[0]}.")
    xray = import_module("tlkit.data.xray.crops")  # SciPy takes its time, and other sources do without
    folder = folder_written_once(cache_folder() / "xray" / f"crops-{xray.VERSION}", xray.write_crops)
    return replace(_read_csv(source, folder / "images.csv", PLAIN), source=source)


def _read_gdxray(source: str) -> Images:
    root = Path(source.removeprefix("gdxray:"))
    rows = [Row(path, label, part, None, (series,)) for path, label, part, series in contest_images(root)]
    return describe(source, root, rows, sorted({row.label for row in rows}), ("series",))
