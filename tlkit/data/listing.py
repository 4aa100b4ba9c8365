"""What lies in a SOURCE, faults included: every picture with its label, and what stands in the way.

`read_images` stops at the first fault, as a recipe must. A check wants all of them, so here a fault is a finding
and the rest is listed all the same. On a source without faults both list the same pictures; a test says so.
"""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tlkit.data.box_faults import OF_ALL
from tlkit.data.box_formats import formats_in
from tlkit.data.box_records import Fault
from tlkit.data.box_sizes import LEAST_SIDE, USUAL_SIZE, least_sides, tiny_boxes
from tlkit.data.box_strangers import stranger_in
from tlkit.data.box_tables import header_of, is_box_table
from tlkit.data.boxes import Boxes, Examined, examine_boxes
from tlkit.data.findings import ERROR, KINDS, WARNING, Finding, finding
from tlkit.data.sources import (
    IMAGE_SUFFIXES,
    PART_NAMES,
    TRAINING,
    Images,
    Row,
    csv_row,
    describe,
    read_images,
)
from tlkit.errors import DataFault

LITTER = frozenset(("thumbs.db", "desktop.ini"))  # what a system leaves, beside names that begin with a dot
STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")  # of picture files


@dataclass(frozen=True)
class Listing:
    """The pictures of a source as they lie there.

    Attributes:
        images: The pictures; of a source of boxes every label is -1.
        objects: [n] the classes on each picture: its label, or the class of each of its boxes.
        form: "classes" or "boxes".
        findings: What stood in the way.
        used: [n] whether recipes would read the picture; empty: all.
    """

    images: Images
    objects: tuple[tuple[str, ...], ...]
    form: str
    findings: tuple[Finding, ...]
    used: tuple[bool, ...] = ()


def list_source(source: str, *, unlabelled: str = "error") -> Listing:
    """List the pictures of a SOURCE.

    Args:
        source: As for `read_images` or `read_boxes`.
        unlabelled: What a picture without boxes is, as for `read_boxes`.

    Raises:
        DataFault: There is nothing at that place, or nothing that could be listed.
        UsageFault: The source has an unknown prefix.
    """
    if _has_boxes(source):
        return _list_boxes(source, unlabelled)
    if source.lower().endswith(".csv") and Path(source).is_file():
        return _list_csv(source, Path(source))
    if ":" not in source and Path(source).is_dir():
        return _list_folder(source, Path(source))
    return _list_elsewhere(source, unlabelled)


def _listed(images: Images, findings: list[Finding]) -> Listing:
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
            return _list_boxes(source, unlabelled)
        except DataFault:
            raise fault from None


# --- folders ---


def _list_folder(source: str, root: Path) -> Listing:
    findings: list[Finding] = []
    folders = _class_folders(root, root, findings)
    if not folders:
        return _list_loose(source, root, findings)
    split = [p for p in folders if p.name.lower() in PART_NAMES]
    beside = [
        Row(path, p.name) for p in folders if p not in split for path in _pictures_below(p, root, findings)
    ]
    names = {row.label for row in beside} if split else {p.name for p in folders}
    rows = list(beside)
    for top in split:
        for folder in _class_folders(top, root, findings):
            names.add(folder.name)
            part = PART_NAMES[top.name.lower()]
            rows += [Row(path, folder.name, part) for path in _pictures_below(folder, root, findings)]
    if split and beside:
        tops = sorted({row.path.split("/")[0] for row in beside})
        shown = f"{', '.join(p.name for p in split)} and {', '.join(tops[:3])} lie side by side."
        findings.append(finding("mixed-layout", [*(p.name for p in split), *tops], shown))
    findings += [
        finding("ignored-file", name, "it lies beside the class folders, in none of them")
        for name in _loose(root)
    ]
    return _listed(describe(source, root, rows, sorted(names)), findings)


def _list_loose(source: str, root: Path, findings: list[Finding]) -> Listing:
    """A folder of pictures without class folders is one class, as for recipes that imitate it."""
    names = _loose(root)
    if not names:
        return _listed(read_images(source), findings)  # which says why not
    findings.append(finding("no-classes", source))
    label = root.resolve().name
    return _listed(describe(source, root, [Row(name, label) for name in names], [label]), findings)


def _loose(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def _class_folders(folder: Path, root: Path, findings: list[Finding]) -> list[Path]:
    return [p for p in _entries(folder, root, findings) if p.is_dir() and not p.name.startswith("_")]


def _pictures_below(folder: Path, root: Path, findings: list[Finding]) -> list[str]:
    """Paths of the pictures below a class folder; links, locked folders and other files become findings."""
    found, waiting = [], [folder]
    while waiting:
        for entry in _entries(waiting.pop(), root, findings):
            path = entry.relative_to(root).as_posix()
            if entry.is_dir():
                if not entry.is_symlink():
                    waiting.append(entry)
                else:
                    findings.append(finding("ignored-link", path))
            elif entry.suffix.lower() in IMAGE_SUFFIXES:
                found.append(path)
            elif entry.name.lower() not in LITTER:
                findings.append(_ignored_file(entry, path))
    return found


def _entries(folder: Path, root: Path, findings: list[Finding]) -> list[Path]:
    """What lies in a folder, sorted, without hidden entries and links that lead nowhere or back."""
    name = folder.relative_to(root).as_posix()
    try:
        if not folder.stat().st_mode & 0o444 or not os.access(folder, os.R_OK | os.X_OK):
            findings.append(finding("unreadable", name))
            return []
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        findings.append(finding("unreadable", name, error.strerror or str(error)))
        return []
    faults = {entry: _link_fault(entry, root) for entry in entries if entry.is_symlink()}
    findings += [fault for fault in faults.values() if fault]
    return [entry for entry in entries if not faults.get(entry)]


def _link_fault(link: Path, root: Path) -> Finding | None:
    path = link.relative_to(root).as_posix()
    try:
        target = link.resolve(strict=True)
    except RuntimeError:  # how Python 3.11 and 3.12 call a link to itself
        return finding("symlink-loop", path)
    except OSError as error:
        return finding("symlink-loop" if error.errno == errno.ELOOP else "broken-link", path)
    loops = target.is_dir() and target in (link.parent.resolve(), *link.parent.resolve().parents)
    return finding("symlink-loop", path) if loops else None


def _ignored_file(file: Path, path: str) -> Finding:
    try:
        with file.open("rb") as stream:
            start = stream.read(8) if file.is_file() else b""
    except OSError:
        return finding("ignored-file", path)
    is_picture = any(start.startswith(known) for known in STARTS)
    detail = "it is a picture, but its suffix names none" if is_picture else "it is no picture"
    return finding("ignored-file", path, detail)


# --- CSV ---


def _list_csv(source: str, file: Path) -> Listing:
    try:
        return _listed(read_images(source, least=1), [*_twice(file)])
    except DataFault as fault:
        rows, findings = _usable_rows(source, file)
        if not rows:
            raise fault from None
    names = sorted({row.label for row in rows})
    return _listed(describe(source, file.parent, rows, names), [*findings, *_twice(file)])


def _table(file: Path) -> list[dict]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def _usable_rows(source: str, file: Path) -> tuple[list[Row], list[Finding]]:
    """The lines that can be used, and what is wrong with the others; nothing of a file that is no such table."""
    rows, findings = [], []
    try:
        table = _table(file)
    except (UnicodeDecodeError, csv.Error):
        return [], []
    if not table or not {"path", "label"} <= set(table[0]):
        return [], []
    for line, cells in enumerate(table, 2):
        try:
            rows.append(csv_row(source, file.parent, line, cells))
        except DataFault as fault:
            path = (cells["path"] or "").strip() or f"{file.name} line {line}"
            kind = "missing-file" if fault.problem.endswith("does not exist.") else "csv-row"
            findings.append(finding(kind, path, fault.problem, remedy=fault.remedy))
    return rows, findings


def _twice(file: Path) -> Iterator[Finding]:
    lines: dict[str, list[str]] = {}
    for cells in _table(file):
        lines.setdefault((cells.get("path") or "").strip(), []).append((cells.get("label") or "").strip())
    for path, labels in lines.items():
        if path and len(labels) > 1:
            differ = len(set(labels)) > 1
            detail = f"{len(labels)} times" + (f", as {' and '.join(sorted(set(labels)))}" if differ else "")
            yield finding("listed-twice", path, detail, severity=ERROR if differ else WARNING)


# --- boxes ---


def _has_boxes(source: str) -> bool:
    """Whether a source is one of boxes: a built-in or prepared set of them, or a folder with their files."""
    place = Path(source)
    if source.startswith("xray:bags") or place.suffix.lower() in {".json", ".yaml", ".yml", ".xml"}:
        return True
    if place.suffix.lower() == ".csv" and place.is_file():
        return "path" not in header_of(place) or is_box_table(place)
    if ":" in source or not place.is_dir():
        return False
    return bool(formats_in(place)) or (stranger_in(place) is not None and not _has_classes(place))


def _has_classes(root: Path) -> bool:
    """Whether a folder has two folders with images of their own, so that a stray file of boxes is no matter."""
    folders = [
        folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith((".", "_"))
    ]
    return sum(any(p.suffix.lower() in IMAGE_SUFFIXES for p in folder.iterdir()) for folder in folders) > 1


def _list_boxes(source: str, unlabelled: str) -> Listing:
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
    if place.is_dir():  # all its pictures, also those that no annotation names or that do not open
        others: list[Finding] = []
        paths = sorted({*paths, *_pictures_below(root, root, others)})
        findings += [fault for fault in others if fault.kind != "ignored-file"]
    images, objects = _described(source, root, paths, boxes)
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
    findings += [finding("layout", source, note) for note in boxes.layout]
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
    """Pictures of boxes as images without labels, and the classes of their boxes."""
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
