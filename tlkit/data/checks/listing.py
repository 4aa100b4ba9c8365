"""Listing of a SOURCE, faults included: every image with its labels or boxes, and what stands in the way.

`read_images` and `read_boxes` raise the first of the findings, as a recipe must; a check wants all of them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tlkit.core.reading import PLAIN, Reading
from tlkit.data.boxes.dataset import Boxes, Examined, examine_boxes, without_any
from tlkit.data.boxes.faults import OF_ALL
from tlkit.data.boxes.formats.annotations import Fault
from tlkit.data.boxes.formats.detect import formats_in
from tlkit.data.boxes.formats.index_images import mask_paths
from tlkit.data.boxes.formats.tables import header_of, is_box_table
from tlkit.data.boxes.formats.unsupported import stranger_in
from tlkit.data.boxes.sizes import LEAST_SIDE, USUAL_SIZE, least_sides, tiny_boxes
from tlkit.data.checks.masks import mask_findings
from tlkit.data.images.dataset import TRAINING
from tlkit.data.images.findings import ERROR, KINDS, Finding, finding
from tlkit.data.images.readers.folders import images_below
from tlkit.data.images.readers.image_files import is_image
from tlkit.data.images.sources import Listed, list_images
from tlkit.data.xray.source_options import is_bags
from tlkit.errors import DataFault

# One of these makes a table one of boxes.
BOX_COLUMNS = frozenset(("left", "xmin", "x_min", "x1", "bbox", "region_shape_attributes"))


def list_source(source: str, *, unlabelled: str = "error", reading: Reading = PLAIN) -> Listed:
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
    try:
        return list_images(source, reading=reading)
    except DataFault as fault:
        if not source.startswith("tfds:"):
            raise
        try:
            return _list_boxes(source, unlabelled, PLAIN)
        except DataFault:
            raise fault from None


def _has_boxes(source: str) -> bool:
    """Whether a source is one of boxes: a built-in or prepared set of them, or a folder with their files."""
    place = Path(source)
    if is_bags(source) or place.suffix.lower() in {".json", ".yaml", ".yml", ".xml"}:
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


def _list_boxes(source: str, unlabelled: str, reading: Reading) -> Listed[Boxes]:
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
    known = boxes or without_any(source, root, ())
    others: list[str] = []
    if place.is_dir():  # all its images, also those that no annotation names or that do not open
        below = images_below(root)
        masks = mask_paths(place) if "masks" in formats_in(place) else set()
        inner = {
            (place / path).relative_to(root).as_posix()
            for path in masks
            if (place / path).is_relative_to(root)
        }
        others = sorted({*below.paths} - {*known.paths} - inner)
        findings += [fault for fault in below.findings if fault.kind != "ignored-file"]
    every = known.followed_by(without_any(source, root, others))
    wanted = sorted((path, i) for i, path in enumerate(every.paths) if reading.wants(path))
    images = replace(every.take([i for _, i in wanted]), remarks=())  # which are findings
    told = [found for found in findings if found.kind != "unreadable-image"]
    return Listed(images, told, used=tuple(i < len(known) for _, i in wanted))


def _examined(source: str, unlabelled: str) -> tuple[Boxes, list[Finding]]:
    """The boxes as recipes would use them with --faults clip, and what they refuse without, or say."""
    masks = not is_bags(source)  # theirs are exact, and not drawn for a look
    found = examine_boxes(source, unlabelled=unlabelled, masks=masks)
    faults = found.faults
    boxes = found.boxes
    if unlabelled == "error" and any(fault.kind == "unlabelled-image" for fault in faults):
        boxes = examine_boxes(source, unlabelled="negative", masks=masks).boxes
    findings = [_box_finding(fault, found) for fault in faults]
    findings += [finding(one.kind, one.path, f"{one}: {one.done}.") for one in found.remarks]
    findings += [finding("layout", source, note) for note in boxes.remarks]
    findings += mask_findings(boxes)
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
