"""Crops for a classifier, cut out of images with boxes: what a window that is moved over them would see.

A window rarely lies exactly over an object and has one of a few shapes, so an object's crop has the nearest shape, a
little another size and another place. Crops of nothing are cut where objects hardly reach into: half of them beside
an object, where a window half over it lies, else anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.core.csv_writer import write_csv
from tlkit.data.boxes.dataset import iou
from tlkit.data.boxes.formats.writers import new_folder
from tlkit.data.boxes.lazy_images import Backgrounds
from tlkit.data.boxes.splits import BoxSplit
from tlkit.data.images.decoding.depth import write_image
from tlkit.errors import DataFault, UsageFault

LABELS = "labels.csv"
NOTHING = 0.2  # IoU with every box below which a window shows nothing
TRIES = 30  # places for a window of nothing; a full image may have none


@dataclass(frozen=True)
class Cutting:
    """How crops are cut.

    Attributes:
        negative: Class of the crops of nothing.
        each: Crops of nothing an image.
        area: Least and largest area of an object's crop, by the box's.
        shift: Largest shift of its middle, by its sides.
        ratios: Width over height of all crops.
    """

    negative: str = "other"
    each: int = 2
    area: tuple[float, float] = (0.8, 1.5)
    shift: float = 0.1
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)


class Crop(NamedTuple):
    """One crop: number of the image, class, and window float64 [4] (left, top, right, bottom), inside it."""

    image: int
    label: str
    window: np.ndarray


def write_crops(
    split: BoxSplit, folder: str | Path, cutting: Cutting = Cutting(), *, seed: int = 0
) -> dict[str, int]:
    """Cut crops out of images into a new folder: images/ and `labels.csv` (path, label, split, group).

    Parts and groups are those of the images, so that a classifier learns from no image that its windows are
    evaluated on, if both are split alike.

    Args:
        split: The images, split.
        folder: Must not exist, or be empty.
        cutting: How.
        seed: Another seed cuts elsewhere.

    Returns:
        Number of crops by class.

    Raises:
        UsageFault: The folder is in use or inside the source, or a class of boxes has the name of what is nothing.
        DataFault: There is no box.
    """
    folder, boxes = Path(folder), split.images
    if cutting.negative.casefold() in (name.casefold() for name in boxes.class_names):
        raise UsageFault(
            f"--negative {cutting.negative} is a class of the boxes.", "Name the crops of nothing otherwise."
        )
    if not sum(map(len, boxes.xyxy)):
        raise DataFault(f"{boxes.source} has no boxes to cut out.", "Give images with boxes.")
    with new_folder(folder, boxes.root) as aside:
        return _write(split, aside, cut_windows(split, cutting, seed))


def cut_windows(split: BoxSplit, cutting: Cutting = Cutting(), seed: int = 0) -> Iterator[Crop]:
    """Where crops lie: for each image its objects, then what is nothing, as large as objects of the whole set are.

    The objects' crops of image i depend on (seed, i) and its boxes alone.
    """
    boxes = split.images
    sides = np.concatenate([some[:, 2:] - some[:, :2] for some in boxes.xyxy])
    roots = np.sqrt(sides.prod(1))  # pixels, of the area
    for image, (found, labels) in enumerate(zip(boxes.xyxy, boxes.labels, strict=True)):
        rng, size = np.random.default_rng([seed, image]), np.array(boxes.sizes[image], float)
        for box, label in zip(found.astype(float), labels, strict=True):
            yield Crop(image, boxes.class_names[label], _around(rng, box, size, cutting))
        for number in range(cutting.each):
            beside = number % 2 == 0 and len(found) > 0
            window = _nothing(rng, found.astype(float), size, roots, cutting, beside)
            if window is not None:
                yield Crop(image, cutting.negative, window)


def _around(rng: np.random.Generator, box: np.ndarray, size: np.ndarray, cutting: Cutting) -> np.ndarray:
    sides = box[2:] - box[:2]
    ratio = min(cutting.ratios, key=lambda r: abs(np.log(r * sides[1] / sides[0])))
    shape = _shape(np.sqrt(sides.prod() * rng.uniform(*cutting.area)), ratio)
    middle = (box[:2] + box[2:]) / 2 + rng.uniform(-cutting.shift, cutting.shift, 2) * shape
    return _inside(middle, shape, size)


def _nothing(
    rng: np.random.Generator,
    found: np.ndarray,
    size: np.ndarray,
    roots: np.ndarray,
    cutting: Cutting,
    beside: bool,
) -> np.ndarray | None:
    """A window that no box fills, beside a box or anywhere; None where no place was found."""
    for _ in range(TRIES):
        ratio = rng.choice(cutting.ratios)
        shape = np.minimum(_shape(rng.choice(roots), ratio), size)
        middle = rng.uniform(shape / 2, size - shape / 2)
        if beside:
            box = found[rng.integers(len(found))]
            reach = (shape + box[2:] - box[:2]) / 2
            middle = (box[:2] + box[2:]) / 2 + rng.uniform(-1, 1, 2) * reach
        window = _inside(middle, shape, size)
        if not len(found) or iou(window[None], found).max() < NOTHING:
            return window
    return None


def _shape(root: float, ratio: float) -> np.ndarray:
    """Width and height, of the root of their product and width over height."""
    return root * np.array([np.sqrt(ratio), 1 / np.sqrt(ratio)])


def _inside(middle: np.ndarray, shape: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The window in whole pixels, moved and where it must be cut to lie inside the image, at least a pixel."""
    shape = np.clip(np.rint(shape), 1, size)
    low = np.clip(np.rint(middle - shape / 2), 0, size - shape)
    return np.concatenate([low, low + shape])


def _write(split: BoxSplit, folder: Path, crops: Iterator[Crop]) -> dict[str, int]:
    images = Backgrounds(split.images)
    rows: list[Sequence[str]] = []
    (folder / "images").mkdir()
    for image, some in groupby(crops, key=lambda crop: crop.image):
        levels, bits = images.levels(image), images.bits(image)
        part, group = split.parts[image], split.groups[image]
        for crop in some:
            path = Path("images") / f"{len(rows) + 1:06}.png"
            left, top, right, bottom = crop.window.astype(int)
            write_image(folder / path, levels[top:bottom, left:right], bits)
            rows.append((path.as_posix(), crop.label, part, group))
    write_csv(folder / LABELS, [("path", "label", "split", "group"), *rows])
    return dict(sorted(Counter(label for _, label, *_ in rows).items()))
