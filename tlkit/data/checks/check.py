"""Everything wrong with a data set that can be told before anything is learned from it.

`tlkit check` shows it. Training recipes run the cheap part themselves (`load_split`) and refuse what
corrupts results. Nothing here imports TensorFlow; memory grows by about 3 KiB an image, a third of it
its thumbnail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit.core.reading import PLAIN, Reading
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.checks.datasets import (
    class_faults,
    copy_faults,
    group_faults,
    near_duplicate_faults,
    part_faults,
)
from tlkit.data.checks.files import look_at_files
from tlkit.data.checks.listing import list_source
from tlkit.data.images.dataset import TRAINING, Dataset
from tlkit.data.images.findings import ERROR, WARNING, Finding, about_boxes, ordered
from tlkit.data.images.inspection import Inspection
from tlkit.data.images.names import label_faults, name_faults
from tlkit.data.images.small_classes import small_classes, too_small
from tlkit.data.images.sources import Listed
from tlkit.data.images.splits import SHARES, declared_groups, joined_groups
from tlkit.errors import DataFault


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        source: The SOURCE as typed.
        root: Folder that paths are relative to.
        form: "classes" or "boxes".
        paths: [n] its images.
        sha256: [n] in hex; empty for what cannot be read.
        labels: [n] class of each image; empty for a source of boxes.
        counts: Images, or boxes, of each class.
        parts: Images of each declared part.
        findings: Errors first.
        remarks: How the source was read and what of it was not, in sentences.
    """

    source: str
    root: Path
    form: str
    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: tuple[str, ...]
    counts: dict[str, int]
    parts: dict[str, int]
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(found.severity == ERROR for found in self.findings)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return sum(found.severity == WARNING for found in self.findings)


def check_source(
    source: str,
    *,
    group: str | None = None,
    unlabelled: str = "error",
    parts: Mapping[str, str] | None = None,
    reading: Reading = PLAIN,
    begin: Callable[[int], Callable[[int], None]] = lambda _total: lambda _done: None,
) -> Check:
    """Check a SOURCE of labelled images or of boxes.

    Args:
        source: As for `read_images` or `read_boxes`.
        group: As for `split_images`: near duplicates of one group and part are expected.
        unlabelled: What an image without boxes is, as for `read_boxes`.
        parts: Part by sha256, such as a run's, for a source that declares none.
        reading: As for `read_images`.
        begin: Called with the number of images; gives what is called with the number done.

    Raises:
        DataFault: There is nothing at that place, or `group` does not match.
        UsageFault: The source has an unknown prefix, or `group` is no regular expression.
    """
    listing = list_source(source, unlabelled=unlabelled, reading=reading)
    images, boxed = listing.images, isinstance(listing.images, Boxes)
    labels = ("",) * len(images) if boxed else tuple(name for (name,) in images.objects())
    groups = declared_groups(images, group)
    looks, thumbnails = look_at_files(images.root, images.paths, 4, begin(len(images)))
    hashes = tuple(look.sha256 for look in looks)
    sides = _parts(images.parts, hashes, parts or {})
    if listing.used:
        sides = tuple(side if used else None for side, used in zip(sides, listing.used, strict=True))
    findings = [
        *listing.findings,
        *(found for look in looks for found in look.findings),
        *name_faults(images.paths),
        *label_faults(images.class_names),
        *_set_faults(listing, looks, thumbnails, labels, groups, sides),
    ]
    return Check(
        source=source,
        root=images.root,
        form="boxes" if boxed else "classes",
        paths=images.paths,
        sha256=hashes,
        labels=labels,
        counts=images.counts(),
        parts=dict(Counter(side for side in sides if side)),
        findings=ordered(map(about_boxes, findings) if boxed else findings),
        remarks=images.remarks,
    )


def _set_faults(
    listing: Listed,
    looks: list[Inspection],
    thumbnails: np.ndarray,
    labels: tuple[str, ...],
    groups: tuple[str | None, ...],
    sides: tuple[str | None, ...],
) -> list[Finding]:
    images = listing.images
    hashes = [look.sha256 for look in looks]
    keys = [
        group or look.sha256 or path for group, look, path in zip(groups, looks, images.paths, strict=True)
    ]
    opened = [look.error is None for look in looks]
    boxed = isinstance(images, Boxes)
    small = {} if boxed else _small(images, looks, groups)
    return [
        *class_faults(images.class_names, images.objects(), keys, sides, boxes=boxed, small=small),
        *part_faults([part for part, used in zip(images.parts, listing.used, strict=False) if used]),
        *group_faults(images.paths, groups, sides),
        *copy_faults(images.paths, hashes, labels, sides),
        *near_duplicate_faults(images.paths, hashes, thumbnails, opened, labels, sides, groups),
    ]


def _small(images: Dataset, looks: list[Inspection], groups: tuple[str | None, ...]) -> dict[str, DataFault]:
    """Why training refuses classes with too few groups, by their names."""
    kept = [i for i, look in enumerate(looks) if look.sha256]
    joined = joined_groups(tuple(looks[i].sha256 for i in kept), tuple(groups[i] for i in kept))
    parts, names = [images.parts[i] for i in kept], images.class_names
    found = small_classes(images.strata[kept], joined, parts, SHARES)
    return {names[k]: too_small(names, {k: n}, parts, SHARES, option=True) for k, n in found.items()}


def _parts(
    declared: tuple[str | None, ...], hashes: tuple[str, ...], known: Mapping[str, str]
) -> tuple[str | None, ...]:
    """The parts that a split would honour: where some are declared, the others are for training."""
    if any(declared):
        return tuple(part or TRAINING for part in declared)
    return tuple(known.get(digest) for digest in hashes)
