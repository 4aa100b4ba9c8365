"""Anchor shapes of YOLO: k-means of the training boxes, or a file of numbers; how well they cover the boxes.

An anchor is a width and a height in pixels of the network's square, everywhere: here, in files, settings and cards.

Source: Redmon 2017 (YOLO9000, section 2, "dimension clusters").
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlkit.data.boxes.dataset import Boxes
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.detection.anchors import Coverage, coverage_by, learned_boxes, shape_clusters, shape_ious

Shapes = tuple[tuple[float, float], ...]
PAPER_SIZE = 416  # pixels: side of the square that the shapes of the papers belong to
MOST_BYTES = 100_000  # of a file of anchors


def smallest_first(shapes: Sequence[Sequence[float]]) -> Shapes:
    """Widths and heights as plain numbers, by area."""
    return tuple(sorted(((float(w), float(h)) for w, h in shapes), key=lambda one: (one[0] * one[1], one)))


def scaled_shapes(shapes: Sequence[Sequence[float]], size: int) -> Shapes:
    """Shapes of a square of 416 pixels in one of another side."""
    return smallest_first([[round(side * size / PAPER_SIZE, 2) for side in one] for one in shapes])


def fitted_shapes(boxes: Boxes, size: int, usual: Shapes) -> Shapes:
    """As many anchors as `usual` by k-means with 1 - IoU over all boxes that are learned.

    Args:
        boxes: The training images.
        size: Side of the network's square, pixels.
        usual: What fills up where there are fewer different boxes.

    Raises:
        DataFault: There is no box.
    """
    found, _ = learned_boxes(boxes, size)
    if not len(found):
        raise DataFault(f"{boxes.source} has no boxes to fit anchors to.", "Give images with boxes.")
    clusters = shape_clusters(found[:, 2:] - found[:, :2], len(usual)).astype(np.float64).round(2)
    shapes = [tuple(one) for one in np.unique(clusters, axis=0)]
    more = [one for one in usual if one not in shapes]
    return smallest_first([*shapes, *more][: len(usual)])


def shape_coverage(boxes: Boxes, size: int, shapes: Shapes) -> Coverage:
    """How the boxes of a data set are covered by anchors about the same middle (Redmon 2017, table 1)."""
    anchors = np.array(shapes, np.float64)
    return coverage_by(
        boxes,
        size,
        lambda found: shape_ious((found[:, 2:] - found[:, :2]).astype(np.float64), anchors).max(1),
    )


def read_shapes(file: Path, count: int) -> Shapes:
    """Anchors from a text file, "10,13, 16,30, ...", as in a line of Darknet's cfg; "anchors =" may stand before them.

    Args:
        file: Widths and heights, pixels of the network's square.
        count: How many a detector has.

    Raises:
        UsageFault: It cannot be read, holds another count, or what is no number above zero.
    """
    remedy = f"Give a file with {2 * count} numbers above zero, width,height, in pixels of the square."
    try:
        with Path(file).open("rb") as stream:
            text = stream.read(MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageFault(f"--anchors {file} cannot be read as text: {fault}.", remedy) from fault
    words = re.sub(r"^\s*anchors\s*=", "", text).replace(",", " ").split()
    numbers = [_number(word, file, remedy) for word in words]
    if len(numbers) != 2 * count:
        raise UsageFault(
            f"--anchors {file} holds {len(numbers)} numbers; {count} anchors have {2 * count}.", remedy
        )
    return smallest_first(list(zip(numbers[::2], numbers[1::2], strict=True)))


def _number(word: str, file: Path, remedy: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageFault(f"--anchors {file} holds {word[:40]!r}, which is no number above zero.", remedy)
    return value
