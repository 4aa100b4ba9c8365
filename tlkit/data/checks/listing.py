"""What lies in a SOURCE, faults included: every image with its label, and what stands in the way.

`read_images` stops at the first fault, as a recipe must. A check wants all of them, so here a fault is a finding
and the rest is listed all the same. On a source without faults both list the same images; a test says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tlkit.core.reading import PLAIN, Reading
from tlkit.data.boxes.dataset import Boxes, Examined, examine_boxes
from tlkit.data.boxes.faults import OF_ALL
from tlkit.data.boxes.formats.annotations import Fault
from tlkit.data.boxes.formats.detect import formats_in
from tlkit.data.boxes.formats.tables import header_of, is_box_table
from tlkit.data.boxes.formats.unsupported import stranger_in
from tlkit.data.boxes.sizes import LEAST_SIDE, USUAL_SIZE, least_sides, tiny_boxes
from tlkit.data.images.dataset import TRAINING, Images, Row, describe
from tlkit.data.images.findings import ERROR, KINDS, Finding, finding
from tlkit.data.images.names import twin_names
from tlkit.data.images.readers.folders import images_below, read_class_folders
from tlkit.data.images.readers.image_files import is_image
from tlkit.data.images.readers.tables import read_image_table
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault

# One of these makes a table one of boxes.
BOX_COLUMNS = frozenset(("left", "xmin", "x_min", "x1", "bbox", "region_shape_attributes"))


@dataclass(frozen=True)
class Listing:
    """The images of a source as they lie there.

    Attributes:
        images: The images; of a source of boxes every label is -1.
        objects: [n] the classes on each image: its label, or the class of each of its boxes.
        form: "classes" or "boxes".
        findings: What stood in the way.
        used: [n] whether recipes would read the image; empty: all.
    """

    images: Images
    objects: tuple[tuple[str, ...], ...]
    form: str
    findings: tuple[Finding, ...]
    used: tuple[bool, ...] = ()


def list_source(source: str, *, unlabelled: str = "error", reading: Reading = PLAIN) -> Listing:
    """List the images of a SOURCE.

    Args:
        source: As for `read_images` or `read_boxes`.
        unlabelled: What an image without boxes is, as for `read_boxes`.
        reading: As for `read_images`.

    Raises:
        DataFault: There is nothing at that place, or nothing that could be listed.
        UsageFault: The source has an unknown prefix.
    """
    if _has_boxes(source):
        return _list_boxes(source, unlabelled, reading)
    if source.lower().endswith(".csv") and Path(source).is_file():
        return _list_csv(source, Path(source), reading)
    if ":" not in source and Path(source).is_dir():
        return _list_folder(source, Path(source), reading)
    return _list_elsewhere(source, unlabelled)


def _listed(images: Images, findings: list[Finding]) -> Listing:
    twins = twin_names(images.paths)
    findings = [*findings, *([twins] if twins else [])]
    objects = tuple((images.class_names[label],) for label in images.labels)
    return Listing(images, objects, "classes", tuple(findings))


def _list_elsewhere(source: str, unlabelled: str) -> Listing:
    """Built-in and prepared sets; a name that means nothing is told here too."""
    try:
        return _listed(read_images(source, least=1), [])
    except DataFault as fault:
        if not source.startswith("tfds:"):
            raise
        try:
            return _list_boxes(source, unlabelled, PLAIN)
        except DataFault:
            raise fault from None


# --- folders ---


def _list_folder(source: str, root: Path, reading: Reading) -> Listing:
    found = read_class_folders(source, root, reading)
    if not found.names:
        return _listed(read_images(source, reading=reading), found.findings)  # which says why not
    findings = [*found.findings]
    if found.loose:
        findings.append(finding("no-classes", source))
    return _listed(describe(source, root, found.rows, found.names, remarks=found.remarks), findings)


# --- CSV ---


def _list_csv(source: str, file: Path, reading: Reading) -> Listing:
    table = read_image_table(source, file, reading)
    if not table.rows:
        raise DataFault(table.findings[0].sentence, table.findings[0].remedy)
    images = describe(source, file.parent, table.rows, table.names, table.columns, table.remarks)
    return _listed(images, table.findings)


# --- boxes ---


def _has_boxes(source: str) -> bool:
    """Whether a source is one of boxes: a built-in or prepared set of them, or a folder with their files."""
    place = Path(source)
    if source.startswith("xray:bags") or place.suffix.lower() in {".json", ".yaml", ".yml", ".xml"}:
        return True
    if place.suffix.lower() == ".csv" and place.is_file():
        columns = {name.strip().casefold() for cell in header_of(place) for name in re.split("[;\t]", cell)}
        return is_box_table(place) or not BOX_COLUMNS.isdisjoint(columns)
    if ":" in source or not place.is_dir():
        return False
    return bool(formats_in(place)) or (stranger_in(place) is not None and not _has_classes(place))


def _has_classes(root: Path) -> bool:
    """Whether a folder has two folders with images of their own, so that a stray file of boxes is no matter."""
    folders = [
        folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith((".", "_"))
    ]
    return sum(any(map(is_image, folder.iterdir())) for folder in folders) > 1


def _list_boxes(source: str, unlabelled: str, reading: Reading) -> Listing:
    place = Path(source)
    boxes: Boxes | None = None
    findings: list[Finding] = []
    try:
        boxes, findings = _examined(source, unlabelled)
    except DataFault as fault:
        if not place.exists():
            raise
        findings = [*findings, finding("annotations", source, fault.problem, remedy=fault.remedy)]
    root = boxes.root if boxes else place if place.is_dir() else place.parent
    paths = list(boxes.paths) if boxes else []
    if place.is_dir():  # all its images, also those that no annotation names or that do not open
        below = images_below(root)
        paths = sorted({*paths, *below.paths})
        findings += [fault for fault in below.findings if fault.kind != "ignored-file"]
    images, objects = _described(source, root, [path for path in paths if reading.wants(path)], boxes)
    known = set(boxes.paths) if boxes else set()
    told = tuple(found for found in findings if found.kind != "unreadable-image")
    return Listing(images, objects, "boxes", told, tuple(path in known for path in images.paths))


def _examined(source: str, unlabelled: str) -> tuple[Boxes, list[Finding]]:
    """The boxes as recipes would use them with --faults clip, and what they refuse without, or say."""
    found = examine_boxes(source, unlabelled=unlabelled)
    faults = found.faults
    boxes = found.boxes
    if unlabelled == "error" and any(fault.kind == "unlabelled-image" for fault in faults):
        boxes = examine_boxes(source, unlabelled="negative").boxes
    findings = [_box_finding(fault, found) for fault in faults]
    findings += [finding(one.kind, one.path, f"{one}: {one.done}.") for one in found.remarks]
    findings += [finding("layout", source, note) for note in boxes.remarks]
    learned = boxes.xyxy
    if TRAINING in boxes.parts:
        learned = tuple(
            some for some, part in zip(boxes.xyxy, boxes.parts, strict=True) if part in {None, TRAINING}
        )
    if not any(map(len, learned)):
        said = f"{source} has no box to learn from."
        findings.append(
            finding("empty-class", boxes.class_names, said, severity=ERROR, remedy="Give images with boxes.")
        )
    if tiny := tiny_boxes(boxes, USUAL_SIZE):
        sides = [least_sides(boxes.take([i]), USUAL_SIZE) for i in range(len(boxes))]
        paths = [path for path, some in zip(boxes.paths, sides, strict=True) if (some < LEAST_SIDE).any()]
        findings.append(finding("tiny-boxes", paths, tiny))
    return boxes, findings


def _box_finding(fault: Fault, found: Examined) -> Finding:
    of_a_box = fault.kind not in {"missing-image", "unlabelled-image", "unreadable-image", "class-names"}
    remedy = f"{found.hint}{KINDS[fault.kind].remedy}" if found.hint and of_a_box else None
    if remedy and found.doubt:
        remedy = f"{found.hint}{OF_ALL}"
    return finding(fault.kind, fault.where, f"{fault}.", remedy=remedy)


def _described(
    source: str, root: Path, paths: list[str], boxes: Boxes | None
) -> tuple[Images, tuple[tuple[str, ...], ...]]:
    """Images of boxes as images without labels, and the classes of their boxes."""
    known = {path: i for i, path in enumerate(boxes.paths)} if boxes else {}
    names, columns = (boxes.class_names, boxes.columns) if boxes else ((), {})

    def row(path: str) -> Row:
        i = known.get(path)
        if boxes is None or i is None:
            return Row(path, "", None, None, ("",) * len(columns))
        return Row(path, "", boxes.parts[i], boxes.groups[i], tuple(values[i] for values in columns.values()))

    def classes_on(path: str) -> tuple[str, ...]:
        i = known.get(path)
        return () if boxes is None or i is None else tuple(names[label] for label in boxes.labels[i])

    images = describe(source, root, [row(path) for path in paths], [""], tuple(columns))
    images = replace(images, labels=np.full(len(paths), -1, np.int32), class_names=tuple(names))
    return images, tuple(map(classes_on, images.paths))
