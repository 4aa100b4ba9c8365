"""Checks of masks as a set: those that share pixels, those of crowds, and boxes that have none."""

from __future__ import annotations

from collections.abc import Iterator

from tlkit.core.text import count
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.masks.rle import share_pixels
from tlkit.data.images.findings import Finding, finding


def mask_findings(boxes: Boxes) -> Iterator[Finding]:
    """What is worth a word of the masks of images; nothing where they have none."""
    if boxes.masks is None:
        return
    single = [
        [mask for mask, crowd in zip(some, flags, strict=True) if mask and not crowd]
        for some, flags in zip(boxes.masks, boxes.crowd, strict=True)
    ]
    shared = [share_pixels(some) for some in single]
    crowds = [
        sum(bool(mask and crowd) for mask, crowd in zip(some, flags, strict=True))
        for some, flags in zip(boxes.masks, boxes.crowd, strict=True)
    ]
    lacking = [sum(mask is None for mask in some) for some in boxes.masks]
    for kind, numbers, what in (
        ("mask-overlap", shared, "with masks that share pixels"),
        ("mask-crowd", crowds, "with masks of crowds"),
        ("mask-missing", lacking, "with boxes that have no mask"),
    ):
        paths = [path for path, number in zip(boxes.paths, numbers, strict=True) if number]
        if paths:
            such = f"such as {paths[0]}" if len(paths) > 1 else paths[0]
            yield finding(kind, paths, f"{boxes.source} has {count(len(paths), 'image')} {what}: {such}.")
