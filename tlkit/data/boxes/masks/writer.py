"""Boxes written as mask images: masks/STEM.png of one value an object, and masks.csv, what each object is.

An index image holds one object a pixel; where objects of an image share pixels, they lie in masks/STEM/, one file each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tlkit.core.csv_writer import write_csv
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.masks.images import index_image, write_mask_image
from tlkit.data.boxes.masks.rle import Mask, box, decode, share_pixels
from tlkit.errors import DataFault

TABLE, MASKS = "masks.csv", "masks"
HEADER = ("image", "value", "class", "difficult", "crowd")
AREA = "area"  # a column that is always there: without it, a reader counts pixels
BOX = "box"  # the column of a box that is not that around its mask


def write_masks(boxes: Boxes, folder: Path) -> None:
    """Write masks/, masks.csv and classes.txt into a folder whose images are in place.

    Args:
        boxes: With masks.
        folder: Where.

    Raises:
        DataFault: A box has no mask, or a path of an image is the folder of another's masks.
    """
    masks = [_whole(boxes, i) for i in range(len(boxes))]
    stems = [PurePosixPath(path).with_suffix("").as_posix() for path in boxes.paths]
    inner = next((path for path in boxes.paths if PurePosixPath(path).parent.as_posix() in set(stems)), None)
    if inner:
        raise DataFault(
            f"{inner} lies in a folder with the name of another image, as the masks of that one would.",
            "Rename the folder, or use --to coco.",
        )
    for stem, some, size in zip(stems, masks, boxes.sizes, strict=True):
        if share_pixels(some):
            for number, mask in enumerate(some, 1):
                file = folder / MASKS / stem / f"{number:05}.png"
                write_mask_image(file, decode(mask).astype(np.uint8) * 255)
        else:
            values = index_image(some) if some else np.zeros(size[::-1], np.uint8)
            write_mask_image(folder / MASKS / f"{stem}.png", values)
    names = "".join(f"{name}\n" for name in boxes.class_names)
    (folder / "classes.txt").write_text(names, encoding="utf-8")
    exact = all(map(_around, boxes.xyxy, masks))
    facts = {AREA: tuple(("",) * len(some) for some in boxes.xyxy), **boxes.box_columns}
    header = (*HEADER, *(() if exact else (BOX,)), *facts)
    write_csv(folder / TABLE, [header, *_rows(boxes, facts, exact=exact)])


def _whole(boxes: Boxes, index: int) -> list[Mask]:
    """The masks of an image's boxes.

    Raises:
        DataFault: One has none.
    """
    every = boxes.masks[index] if boxes.masks else (None,) * len(boxes.xyxy[index])
    masks = [mask for mask in every if mask]
    if len(masks) < len(every):
        lacking = len(every) - len(masks)
        raise DataFault(
            f"{lacking} of {len(every)} boxes of {boxes.paths[index]} have no mask to be written.",
            "Use --to coco, which holds boxes with and without.",
        )
    return masks


def _around(xyxy: np.ndarray, masks: list[Mask]) -> bool:
    """Whether boxes are those around their masks."""
    return all(np.array_equal(corners, box(mask) or ()) for corners, mask in zip(xyxy, masks, strict=True))


def _rows(boxes: Boxes, facts: Mapping[str, Sequence[Sequence[str]]], *, exact: bool) -> Iterator[tuple]:
    for i, path in enumerate(boxes.paths):
        for j, corners in enumerate(boxes.xyxy[i]):
            flags = int(boxes.difficult[i][j]), int(boxes.crowd[i][j])
            said = " ".join(np.format_float_positional(side, trim="-") for side in corners)
            sides = () if exact else (said,)
            own = (values[i][j] for values in facts.values())
            yield (path, j + 1, boxes.class_names[boxes.labels[i][j]], *flags, *sides, *own)
