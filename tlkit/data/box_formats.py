"""Which format lies in a folder, and its reader.

Pictures and annotations may lie as labelling tools and data sets leave them; the names of files decide, in the
order of `RECOGNISED`. Two formats in one folder are a question to the person, except that boxes.csv, our own, is
always meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from tlkit.data.box_coco import coco_files, read_coco
from tlkit.data.box_cvat import cvat_files, is_cvat, read_cvat
from tlkit.data.box_labelme import labelme_files, read_labelme
from tlkit.data.box_records import Annotations
from tlkit.data.box_strangers import stranger_in
from tlkit.data.box_tables import (
    header_of,
    is_box_table,
    read_csv,
    read_gdxray,
    read_open_images,
    read_tables,
)
from tlkit.data.box_via import is_via, read_via, via_files
from tlkit.data.box_voc import read_voc, voc_files
from tlkit.data.box_yolo import read_yolo, yolo_files
from tlkit.errors import DataFault

KNOWN = (
    "boxes.csv, COCO *.json, VOC *.xml, YOLO labels/*.txt, GDXray ground_truth.txt, an Open Images CSV, CVAT's "
    "annotations.xml, labelme's or VIA's JSON, or a CSV of TensorFlow's"
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
        near = difflib.get_close_matches(place.name, siblings, 1)
        hint = f"Did you mean {place.parent / near[0]}? " if near else ""
        raise DataFault(f"{source} does not exist.", f"{hint}A SOURCE of boxes is a folder with {KNOWN}.")
    readers = _readers(place)
    if "boxes.csv" in readers:
        return readers["boxes.csv"]()
    if not readers and (stranger := stranger_in(place)):
        raise DataFault(f"{source} has no boxes that can be read: {stranger.what}.", stranger.remedy)
    if not readers:
        raise DataFault(
            f"{source} has no boxes.",
            f"Put {KNOWN} there.",
        )
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
        found["VOC"] = lambda: read_voc(voc, folder, whole=True)
    if next(folder.rglob("ground_truth.txt"), None):
        found["GDXray"] = lambda: read_gdxray(folder, whole=True)
    if tables := [file for file in sorted(folder.glob("*.csv")) if _is_open_images(file)]:
        found["Open Images"] = lambda: _read_only_table(tables, folder)
    if further := _further_readers(folder, found):
        found.update(further)
    if "GDXray" not in found and (yolo := yolo_files(folder)):
        found["YOLO"] = lambda: read_yolo(yolo, folder, whole=True)
    return found


def _further_readers(folder: Path, found: dict[str, Reader]) -> dict[str, Reader]:
    """Readers of what lies beside no other format's files: labelme's and VIA's JSON, other tools' tables."""
    if via := via_files(folder):
        return {"VIA": lambda: read_via(via, folder, whole=True)}
    if "COCO" not in found and (labelme := labelme_files(folder)):
        return {"labelme": lambda: read_labelme(labelme, folder, whole=True)}
    tables = [file for file in sorted(folder.glob("*.csv")) if is_box_table(file)]
    tables = tables or [file for file in sorted(folder.glob("*/*.csv")) if is_box_table(file)]
    if tables and not found:
        return {"tables": lambda: read_tables(tables, folder)}
    return {}


def _read_only_table(tables: list[Path], folder: Path) -> Annotations:
    if len(tables) > 1:
        names = ", ".join(file.name for file in tables)
        raise DataFault(
            f"{folder} has {len(tables)} tables of boxes: {names}.", "Name one instead of the folder."
        )
    return read_open_images(tables[0], folder, whole=True)


def _is_open_images(file: Path) -> bool:
    return {"ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"} <= set(header_of(file))


def _read_file(source: str, file: Path) -> Annotations:
    """One file names its pictures; others beside them are no concern of it."""
    suffix = file.suffix.lower()
    other = _read_other_file(source, file)
    if other is not None:
        return other
    if suffix == ".csv":
        if _is_open_images(file):
            return read_open_images(file, file.parent, whole=False)
        return read_csv(file, whole=False)
    if suffix == ".json":
        return read_coco([file], file.parent, whole=False)
    if suffix in {".yaml", ".yml"}:
        return read_yolo(yolo_files(file.parent), file.parent, whole=True)
    if file.name == "ground_truth.txt":
        return read_gdxray(file.parent, whole=True)
    raise DataFault(f"{source} is no file of boxes.", f"A SOURCE of boxes is a folder with {KNOWN}.")


def _read_other_file(source: str, file: Path) -> Annotations | None:
    """A file of VIA's, labelme's or CVAT's; None for what may be another."""
    suffix = file.suffix.lower()
    if suffix in {".csv", ".json"} and is_via(file):
        return read_via([file], file.parent, whole=False)
    if suffix == ".json" and file in labelme_files(file.parent):
        return read_labelme([file], file.parent, whole=False)
    if suffix == ".xml" and is_cvat(file):
        return read_cvat([file], file.parent, whole=False)
    if stranger := stranger_in(file):
        raise DataFault(f"{source} has no boxes that can be read: {stranger.what}.", stranger.remedy)
    return None
