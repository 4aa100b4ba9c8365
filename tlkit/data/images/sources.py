"""What a SOURCE is: a folder of class folders, a CSV file, `tfds:NAME` or `xray:crops`.

All four become one `Images` description: paths of files that a person can open, and their labels.
`tfds:` and `xray:` write their images once into the cache, so that everything behind this module
reads files. TensorFlow is imported only for `tfds:`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Generic, NamedTuple

from tlkit.core.files import cache_folder, folder_written_once
from tlkit.core.reading import PLAIN, Reading
from tlkit.core.text import did_you_mean
from tlkit.data.images.dataset import (
    PART_NAMES,
    PARTS,
    TEST,
    TRAINING,
    VALIDATION,
    AnySet,
    Found,
    Images,
    Row,
)
from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES
from tlkit.data.images.findings import ERROR, Finding, finding
from tlkit.data.images.names import label_faults, twin_names
from tlkit.data.images.readers.folders import read_class_folders
from tlkit.data.images.readers.gdxray import contest_images
from tlkit.data.images.readers.tables import read_image_table
from tlkit.data.images.readers.tfds import prepared_csv
from tlkit.data.xray.source_options import CROPS, read_options
from tlkit.errors import DataFault, UsageFault

__all__ = [
    "IMAGE_SUFFIXES",
    "PARTS",
    "PART_NAMES",
    "TEST",
    "TRAINING",
    "VALIDATION",
    "Images",
    "list_images",
    "read_images",
]

REFUSED = frozenset(  # by training
    ("mixed-layout", "no-classes", "csv-row", "missing-file", "listed-twice", "label-spelling")
)


class Listed(NamedTuple, Generic[AnySet]):
    """The images of a source as they lie there.

    Attributes:
        images: All that can be listed, with labels or with boxes.
        findings: What stands in the way, and what is left out.
        loose: They lie in no class folders: one class, named after the folder.
        used: [n] whether recipes would read the image; empty: all.
    """

    images: AnySet
    findings: list[Finding]
    loose: bool = False
    used: tuple[bool, ...] = ()


def list_images(source: str, *, download: bool = False, reading: Reading = PLAIN) -> Listed[Images]:
    """List the images of a SOURCE with all that is wrong with it, of which `read_images` raises the first.

    Args:
        source: As for `read_images`.
        download: As for `read_images`.
        reading: As for `read_images`.

    Raises:
        DataFault: The source is missing, or nothing in it can be listed.
        UsageFault: The source has a prefix that is unknown.
    """
    if source.startswith("tfds:"):
        listed = _in_table(source, prepared_csv(source.removeprefix("tfds:"), download=download), PLAIN)
    elif source.startswith("xray:"):
        listed = _in_table(source, _built_in(source), PLAIN)
    elif source.startswith("gdxray:"):
        listed = _in_gdxray(source)
    elif source.lower().endswith(".csv"):
        listed = _in_table(source, Path(source), reading)
    else:
        listed = _in_folder(source, Path(source), reading)
    twins = twin_names(listed.images.paths)
    return listed._replace(findings=[*listed.findings, twins]) if twins else listed


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
    images, findings, loose, _ = list_images(source, download=download, reading=reading)
    if loose and least > 1:
        name = Path(source).name
        raise DataFault(
            f"{source} has images but no class folders.",
            f"Put each class in its own folder ({name}/gun/{images.paths[0]}, {name}/blade/2.png).",
        )
    for found in (*findings, *label_faults(images.class_names)):
        if found.severity == ERROR and found.kind in REFUSED and not loose:
            raise DataFault(found.sentence, found.remedy)
    _check_labels_trained(images)
    _check_classes(images, least)
    twins = [f"{found.sentence} {found.remedy}" for found in findings if found.kind == "twin-names"]
    return replace(images, remarks=(*images.remarks, *twins))


def _check_classes(images: Images, least: int) -> None:
    if len(images.class_names) < least:
        one = images.class_names[0] if images.class_names else "nothing"
        raise DataFault(
            f"{images.source} has one class only ({one}); a classifier needs at least two.",
            "Add a folder with images of something else, for example other/.",
        )
    empty = [name for name, count in images.counts().items() if count == 0]
    if empty:
        raise DataFault(
            f"Class {empty[0]} of {images.source} has no images.",
            f"Put images into {empty[0]}/ or remove the folder.",
        )


def _check_labels_trained(images: Images) -> None:
    """A class that is evaluated must have been learned, where the source says what is learned."""
    source, names = images.source, images.class_names
    labelled = list(zip(images.labels.tolist(), images.parts, strict=True))
    present = {part: {names[k] for k, own in labelled if own == part} for part in PARTS}
    trained = present[TRAINING]
    for part in (VALIDATION, TEST):
        unknown = sorted(present[part] - trained)
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


# --- what a source can be ---


def _in_folder(source: str, root: Path, reading: Reading) -> Listed[Images]:
    if not root.is_dir():
        raise _missing_folder(source, root)
    found = read_class_folders(source, root, reading)
    if not found.names:
        raise DataFault(
            f"{source} has no class folders and no images.",
            f"Make one folder for each class and put its images inside ({root.name}/gun/1.png).",
        )
    loose = [finding("no-classes", source)] if found.loose else []
    return Listed(found.images(source, root), [*found.findings, *loose], found.loose)


def _missing_folder(source: str, path: Path) -> DataFault:
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


def _in_table(source: str, file: Path, reading: Reading) -> Listed[Images]:
    """Rows of a table of images; paths are relative to the folder of the file."""
    found = read_image_table(source, file, reading)
    if not found.rows and found.findings:
        raise DataFault(found.findings[0].sentence, found.findings[0].remedy)
    return Listed(found.images(source, file.parent), found.findings)


def _built_in(source: str) -> Path:
    """The table of a set that is written into the cache first."""
    if source.split(":")[1] != CROPS.split(":")[1]:
        raise UsageFault(f"Source {source} is unknown.", f"The built-in set is {CROPS}.")
    read_options(source, CROPS, {})
    xray = import_module("tlkit.data.xray.crops")  # SciPy takes its time, and other sources do without
    folder = folder_written_once(cache_folder() / "xray" / f"crops-{xray.VERSION}", xray.write_crops)
    return folder / "images.csv"


def _in_gdxray(source: str) -> Listed[Images]:
    root = Path(source.removeprefix("gdxray:"))
    rows = [Row(path, label, part, None, (series,)) for path, label, part, series in contest_images(root)]
    found = Found(rows, sorted({row.label for row in rows}), columns=("series",))
    return Listed(found.images(source, root), [])
