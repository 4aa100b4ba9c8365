"""rle.csv of simulated images: the masks of their threats, in the order of the boxes, as COCO packs run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from faster_coco_eval.core import mask as coco_masks

from tlkit.core.csv_writer import write_csv

RLE = "rle.csv"
COLUMNS = ("image", "box", "height", "width", "counts")
Row = tuple[str, int, int, int, str]


def mask_rows(path: str, masks: Sequence[np.ndarray]) -> Iterator[Row]:
    """A row a mask, bool `[h, w]`, of the image at `path`; boxes are counted from 0."""
    for number, mask in enumerate(masks):
        packed = coco_masks.encode(np.asfortranarray(mask, np.uint8))
        yield (path, number, *mask.shape, packed["counts"].decode("ascii"))


def write_mask_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write the table."""
    write_csv(file, [COLUMNS, *rows])
