"""Which format lies in a folder, and its reader.

Images and annotations may lie as labelling tools and data sets leave them; the names of files decide, in the
order of `RECOGNISED`. Two formats in one folder are a question to the person, except that boxes.csv, our own, is
always meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tlkit.core.text import did_you_mean
from tlkit.data.boxes.formats.annotations import Annotations, files_like
from tlkit.data.boxes.formats.coco import coco_files, folder_of, read_coco
from tlkit.data.boxes.formats.cvat import cvat_files, is_cvat, read_cvat
from tlkit.data.boxes.formats.gdxray import read_gdxray
from tlkit.data.boxes.formats.image_lists import source_of
from tlkit.data.boxes.formats.index_images import mask_folders, read_mask_images
from tlkit.data.boxes.formats.labelme import labelme_files, read_labelme
from tlkit.data.boxes.formats.tables import (
    header_of,
    is_box_table,
    part_of_table,
    read_csv,
    read_open_images,
    read_tables,
)
from tlkit.data.boxes.formats.unsupported import refuse_stranger
from tlkit.data.boxes.formats.via import is_via, read_via, via_files
from tlkit.data.boxes.formats.voc import read_voc, voc_files
from tlkit.data.boxes.formats.yolo import read_yolo, yolo_files
from tlkit.errors import DataFault

KNOWN = (
    "boxes.csv, COCO *.json, VOC *.xml, YOLO labels/*.txt, GDXray ground_truth.txt, an Open Images CSV, CVAT's "
    "annotations.xml, labelme's or VIA's JSON, a CSV of TensorFlow's, or masks/*.png"
)
Reader = Callable[[], Annotations]


def read_annotations(source: str, place: Path) -> Annotations:
    """Read whatever boxes lie at a place.

    Args:
        source: As typed, for faults.
        place: A folder, or one file: boxes.csv, an Open Images CSV, a COCO JSON, a YOLO data.yaml.

    Raises:
        DataFault: It is missing, of no known format, or of several.
    """
    if place.is_file():
        return _read_file(source, place)
    if not place.is_dir():
        siblings = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        hint = did_you_mean(place.name, siblings, shown=place.parent.joinpath)
        raise DataFault(
            f"{source} does not exist.", f"{hint} A SOURCE of boxes is a folder with {KNOWN}.".lstrip()
        )
    readers = _readers(place)
    if "boxes.csv" in readers:
        return readers["boxes.csv"]()
    if not readers:
        refuse_stranger(source, place)
        raise DataFault(f"{source} has no boxes.", f"Put {KNOWN} there.")
    if len(readers) > 1:
        raise DataFault(
            f"{source} has boxes in {len(readers)} formats: {', '.join(readers)}.",
            "Keep one, or name its file instead of the folder.",
        )
    return next(iter(readers.values()))()


def formats_in(folder: Path) -> list[str]:
    """Names of the formats whose files lie in a folder; empty where there are no boxes."""
    return list(_readers(folder))


def _readers(folder: Path) -> dict[str, Reader]:
    """The formats that lie in a folder, with a function that reads each."""
    found: dict[str, Reader] = {}
    if (folder / "boxes.csv").is_file():
        return {"boxes.csv": lambda: read_csv(folder / "boxes.csv", whole=True)}
    if coco := coco_files(folder):
        found["COCO"] = lambda: read_coco(coco, folder, whole=True)
    cvat = cvat_files(folder)
    if cvat:
        found["CVAT"] = lambda: read_cvat(cvat, folder, whole=True)
    if voc := [file for file in voc_files(folder) if not cvat or not is_cvat(file)]:
        found["VOC"] = lambda: read_voc(voc, folder)
    if next(folder.rglob("ground_truth.txt"), None):
        found["GDXray"] = lambda: read_gdxray(folder)
    if tables := _tables(folder, ("*.csv", "*/*.csv", "*/*/*.csv"), _is_open_images):
        found["Open Images"] = lambda: _read_open_images(tables, folder)
    found |= _further_readers(folder, found)
    if "GDXray" not in found and (yolo := yolo_files(folder)):
        found["YOLO"] = lambda: read_yolo(yolo, folder)
    return found or _mask_readers(folder)


def _tables(folder: Path, patterns: Sequence[str], fits: Callable[[Path], bool]) -> list[Path]:
    """The tables of the first pattern that has any which fit."""
    for pattern in patterns:
        if tables := [file for file in files_like(folder, pattern) if fits(file)]:
            return tables
    return []


def _further_readers(folder: Path, found: dict[str, Reader]) -> dict[str, Reader]:
    """Readers of what lies beside no other format's files: labelme's and VIA's JSON, other tools' tables."""
    if via := via_files(folder):
        return {"VIA": lambda: read_via(via, folder, whole=True)}
    if "COCO" not in found and (labelme := labelme_files(folder)):
        return {"labelme": lambda: read_labelme(labelme, folder, whole=True)}
    if not found and (tables := _tables(folder, ("*.csv", "*/*.csv"), is_box_table)):
        return {"tables": lambda: read_tables(tables, folder)}
    return {}


def _mask_readers(folder: Path) -> dict[str, Reader]:
    """The reader of mask images, which are read where nothing else is: many formats have a folder of such beside."""
    return {"masks": lambda: read_mask_images(folder)} if mask_folders(folder) else {}


def _read_open_images(tables: list[Path], folder: Path) -> Annotations:
    """One table, or one for each part."""
    if len(tables) > 1 and not all(part_of_table(file, folder) for file in tables):
        names = ", ".join(file.relative_to(folder).as_posix() for file in tables)
        raise DataFault(
            f"{folder} has {len(tables)} tables of boxes, not all of them named after a part: {names}.",
            "Name one instead of the folder, or call them train, validation and test.",
        )
    return read_open_images(tables, folder, whole=True)


def _is_open_images(file: Path) -> bool:
    return {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"} <= set(header_of(file))


def _read_file(source: str, file: Path) -> Annotations:
    """One file names its images; others beside them are no concern of it."""
    suffix = file.suffix.lower()
    other = _read_other_file(source, file)
    if other is not None:
        return other
    if suffix == ".csv":
        if _is_open_images(file):
            return read_open_images([file], file.parent, whole=False)
        return read_csv(file, whole=False)
    if suffix == ".json":
        return read_coco([file], folder_of(file), whole=False)
    if suffix in {".yaml", ".yml"}:
        return _read_yaml(file)
    if file.name == "ground_truth.txt":
        return read_gdxray(file.parent)
    raise DataFault(f"{source} is no file of boxes.", f"A SOURCE of boxes is a folder with {KNOWN}.")


def _read_yaml(file: Path) -> Annotations:
    """A named data.yaml: the labels of the folder that it speaks of, with its own names and parts."""
    folder, note = source_of(file)
    files = yolo_files(folder)
    if not files:
        raise DataFault(
            note or f"{file}: there are no labels below {folder}.",
            "Name the folder that holds the images and their labels, with this file in it.",
        )
    found = read_yolo(files, folder, source=file)
    found.notes += [note] if note else []
    return found


def _read_other_file(source: str, file: Path) -> Annotations | None:
    """A file of VIA's, labelme's or CVAT's; None for what may be another."""
    suffix = file.suffix.lower()
    if suffix in {".csv", ".json"} and is_via(file):
        return read_via([file], file.parent, whole=False)
    if suffix == ".json" and file in labelme_files(file.parent):
        return read_labelme([file], file.parent, whole=False)
    if suffix == ".xml" and is_cvat(file):
        return read_cvat([file], file.parent, whole=False)
    refuse_stranger(source, file)
    return None
