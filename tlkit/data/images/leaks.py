"""What must not stand on both sides of a split: the same image, the same group, or nearly the same image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.core.text import count
from tlkit.data.images.dataset import TRAINING, Dataset
from tlkit.data.images.inspection import Inspection
from tlkit.data.images.near_duplicates import near_duplicates
from tlkit.errors import DataFault


def crossing_notes(
    images: Dataset, hashes: Sequence[str], groups: Sequence[str], parts: Sequence[str], *, allow: bool
) -> list[str]:
    """Refuse images or groups that cross parts, or, where that is allowed, say so.

    Raises:
        DataFault: An image or a group stands in two parts and `allow` is off.
    """
    for what, keys in (("image", hashes), ("group", groups)):
        crossing = _crossing(keys, parts)
        if not crossing:
            continue
        one, two = crossing[0]
        same = "are the same file" if what == "image" else f"are both of group {groups[one]}"
        problem = (
            f"{count(len(crossing), what)} of {images.source} cross{'es' if len(crossing) == 1 else ''} parts: "
            f"{images.paths[one]} ({parts[one]}) and {images.paths[two]} ({parts[two]}) {same}."
        )
        if not allow:
            raise DataFault(problem, "Take one out, or say --allow-leak; the report will state it.")
        return [f"Leak allowed by --allow-leak: {problem}"]
    return []


def _crossing(keys: Sequence[str], sides: Sequence[str] | np.ndarray) -> list[tuple[int, int]]:
    """(first of the key, i) for each i whose side is not that of the first with its key."""
    first: dict[str, int] = {}
    return [(j, i) for i, key in enumerate(keys) if sides[j := first.setdefault(key, i)] != sides[i]]


def near_duplicate_notes(
    images: Dataset, inspections: Sequence[Inspection], groups: Sequence[str], parts: Sequence[str]
) -> list[str]:
    """A sentence about evaluated images that look like copies of training images of another group."""
    thumbnails = np.stack([inspection.thumbnail for inspection in inspections])
    trained = np.flatnonzero(np.array(parts) == TRAINING)
    evaluated = np.flatnonzero(np.array(parts) != TRAINING)
    pairs = [(i, j) for i, j in near_duplicates(thumbnails, evaluated, trained) if groups[i] != groups[j]]
    if not pairs:
        return []
    one, two = pairs[0]
    return [
        f"{count(len(pairs), 'image')} of validation or test look like mirrored, turned or re-encoded copies "
        f"of training images, for example {images.paths[one]} of {images.paths[two]}. If they show the same "
        "object, give --group so that copies stay together."
    ]


def label_conflict_notes(images: Dataset, hashes: Sequence[str]) -> list[str]:
    """A sentence about equal files with different labels."""
    odd = _crossing(hashes, images.strata)
    if not odd:
        return []
    one, two = odd[0]
    return [
        f"{count(len(odd), 'image')} with two different labels: {images.paths[one]} and {images.paths[two]} "
        "are the same file."
    ]
