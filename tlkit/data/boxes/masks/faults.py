"""Masks looked at beside their boxes: drawn from outlines, and what cannot be named, as faults of boxes are.

A box is worth something without its mask, so of a mask that cannot be drawn the box stays; where box and mask say
two things, nobody can tell which is meant, and the image is left out as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.data.boxes.formats.annotations import WHOLE, Annotated, Corners, Fault, Record
from tlkit.data.boxes.formats.stated_sizes import Form
from tlkit.data.boxes.masks.drawing import OVER, UndrawnMask, draw
from tlkit.data.boxes.masks.rle import Mask, area

Checked = tuple[np.ndarray, np.ndarray, list[Fault]]  # boxes, which can be used, and what is wrong with them
LEFT = "its mask is left out, its box stays"
CUT = "cut off at the edge"
FIT, FIT_SHARE = (
    2.0,
    0.05,
)  # pixels, or the share of the box's side, that an edge of it may stand off its mask
MaskRow = tuple[Mask | None, ...]


def no_masks(xyxy: Sequence[np.ndarray]) -> tuple[MaskRow, ...]:
    """None for each box of images that have none."""
    return tuple((None,) * len(some) for some in xyxy)


def drawn_masks(
    readable: Sequence[tuple[Annotated, Form]], checked: Sequence[Checked]
) -> tuple[tuple[MaskRow, ...], list[Checked]]:
    """`with_masks` of many images: the masks of each, and what `checked_boxes` gave with the faults of masks."""
    both = [with_masks(image, form.size, one) for (image, form), one in zip(readable, checked, strict=True)]
    return tuple(some for some, _ in both), [one for _, one in both]


def with_masks(image: Annotated, size: tuple[int, int], checked: Checked) -> tuple[MaskRow, Checked]:
    """Draw the masks of an image whose boxes were looked at.

    Args:
        image: Its records have outlines, or None.
        size: Width and height, pixels.
        checked: What `checked_boxes` gave.

    Returns:
        A mask or None for each record, and what was given with the faults of masks among its own.
    """
    boxes, usable, faults = checked
    if image.spoiled:  # and left out
        return (None,) * len(boxes), checked
    known = {fault.where: fault for fault in faults}
    masks: list[Mask | None] = []
    found: list[Fault] = []
    for record, corners in zip(image.records, boxes, strict=True):
        mask, wrong = _drawn(record, corners, size)
        masks.append(mask)
        if wrong:
            box_fault = known.get(record.where)
            # A box that was to be read off its mask: what is wrong with it is the mask.
            if box_fault and box_fault.kind == "no-number" and mask is None:
                known[record.where] = box_fault._replace(what=wrong[1])
            elif not box_fault:
                found.append(Fault(wrong[0], record.where, wrong[1], wrong[2], image.path))
    faults = [known[fault.where] if fault.kind == "no-number" else fault for fault in faults]
    return tuple(masks), (boxes, usable, [*faults, *found])


def kept_masks(masks: Sequence[MaskRow], checked: Sequence[Checked]) -> tuple[MaskRow, ...] | None:
    """Of each image the masks of the boxes that can be used; None where there is no mask at all."""
    kept = tuple(
        tuple(some[i] for i in np.flatnonzero(usable))
        for some, (_, usable, _) in zip(masks, checked, strict=True)
    )
    return kept if any(mask is not None for some in kept for mask in some) else None


def _drawn(
    record: Record, corners: np.ndarray, size: tuple[int, int]
) -> tuple[Mask | None, tuple[str, str, str] | None]:
    """The mask of a record, and the kind of what is wrong with it, in words, and what is done; None where nothing is."""
    if record.outline is None:
        return None, None
    try:
        mask, own, over = draw(record.outline, size)
    except UndrawnMask as fault:
        return None, (fault.kind, fault.what, LEFT)
    pixels = area(mask)
    if pixels < 2:
        kind, what = ("mask-pixel", "is one pixel") if pixels else ("mask-empty", "covers no pixel")
        return None, (kind, f"its mask {what}", LEFT)
    off = "" if record.crowd else _misfit(own, corners)
    if off:
        return mask, ("mask-box", off, WHOLE)
    if over > OVER:
        what = f"its polygon reaches {over:.4g} pixels out of its image of {size[0]}x{size[1]}"
        return mask, ("mask-outside", what, CUT)
    return mask, None


def _misfit(own: Corners, corners: np.ndarray) -> str:
    """How a box and its mask, whose own box is given, say two things; empty where they agree."""
    room = np.maximum(FIT, FIT_SHARE * np.tile(corners[2:] - corners[:2], 2))
    if not (np.abs(corners - np.array(own)) > room).any():
        return ""
    said, found = (",".join(f"{value:g}" for value in some) for some in (corners.tolist(), own))
    return f"box {said} does not fit its mask, whose box is {found} (left,top,right,bottom)"
