"""Parts for images with boxes: split as `splits` splits, with each group standing for its rarest class.

An image has many labels, a stratum is one: the class of its group that the fewest groups have, so that the rare
classes are shared out evenly; images without boxes are a stratum of their own. The manifest is the same
`split.csv`, with the stratum as label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkit.core.reading import Reading
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.images.inspection import Inspection, inspect_files
from tlkit.data.images.sources import PARTS, Images
from tlkit.data.images.splits import SHARES, Split, groups_of, split_images
from tlkit.errors import DataFault, UsageFault

EMPTY = "empty"


@dataclass(frozen=True)
class BoxSplit:
    """Which part every image belongs to, and its boxes.

    Attributes:
        boxes: The images of the split, [n].
        split: The same images with their strata as labels, hashes, groups, parts and warnings.
    """

    boxes: Boxes
    split: Split

    def indices(self, part: str) -> np.ndarray:
        """int64 [m]: the images of `part`, in the order of their paths."""
        return self.split.indices(part)

    def take(self, part: str) -> Boxes:
        """The images of `part`."""
        return self.boxes.take(self.indices(part))

    def only(self, indices: np.ndarray | Sequence[int]) -> BoxSplit:
        """The images at `indices`, in that order, each in its part."""
        return BoxSplit(self.boxes.take(indices), self.split.only(indices))

    def groups(self, part: str) -> tuple[str, ...]:
        """The group of every image of `part`: what intervals are drawn over."""
        return tuple(self.split.groups[i] for i in self.indices(part))

    @property
    def manifest(self) -> str:
        """The text of `split.csv`."""
        return self.split.manifest

    @property
    def digest(self) -> str:
        """sha256 of the manifest, in hex."""
        return self.split.digest

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the person and the report."""
        return (*self.boxes.told, *self.split.warnings)

    def summary(self) -> dict:
        """Counts for card.json: part -> n, groups, negative, boxes, per_class."""
        return {part: self._part_summary(part) for part in PARTS}

    def _part_summary(self, part: str) -> dict:
        some = self.take(part).summary()
        return {
            "n": some["images"],
            "groups": len(set(self.groups(part))),
            **{name: some[name] for name in ("negative", "boxes", "per_class")},
        }


def wanted(boxes: Boxes, reading: Reading) -> Boxes:
    """The images with boxes that --include and --exclude leave.

    Raises:
        UsageFault: An option is given that is for tables of labelled images.
        DataFault: No image is left.
    """
    for name in ("path_column", "label_column", "suffix"):
        if getattr(reading, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageFault(
                f"{option} is for tables of labelled images.", "Leave it out: boxes have their own."
            )
    kept = [i for i, path in enumerate(boxes.paths) if reading.wants(path)]
    if not kept:
        raise DataFault(f"--include and --exclude leave no image of {boxes.source}.", "Widen the patterns.")
    return boxes.take(kept)


def split_boxes(
    boxes: Boxes,
    *,
    seed: int = 0,
    group: str | None = None,
    manifest: Path | None = None,
    hold_out: str | None = None,
    shares: tuple[float, float, float] = SHARES,
    allow_leak: bool = False,
    inspections: Sequence[Inspection] | None = None,
) -> BoxSplit:
    """Give every image a part.

    Args:
        boxes: The images; their own parts are honoured and checked.
        seed: Splits the groups differently.
        group: Regular expression on the path, or a column's name.
        manifest: A `split.csv` to use again; images that it does not list are left out.
        hold_out: COLUMN=VALUE, or a regular expression on the path: the images that it fits are the test part.
        shares: Wanted shares of training, validation and test.
        allow_leak: Let exact copies and groups cross declared parts; the report says so.
        inspections: What was seen in each file, [n]; None: look now.

    Raises:
        DataFault: A file does not open; or as for `splits.split_images`.
        UsageFault: `group` is no regular expression.
    """
    seen = list(inspections) if inspections is not None else inspect_files(boxes.files())
    bad = next((i for i, inspection in enumerate(seen) if inspection.error), None)
    if bad is not None:
        raise DataFault(f"{boxes.file(bad)} {seen[bad].error}.", "Replace or remove it and its annotation.")
    images = _with_strata(boxes, seen, group)
    split = split_images(
        images,
        seen,
        seed=seed,
        group=group,
        manifest=manifest,
        hold_out=hold_out,
        allow_leak=allow_leak,
        shares=shares,
    )
    place = {path: index for index, path in enumerate(boxes.paths)}
    return BoxSplit(boxes.take([place[path] for path in split.images.paths]), split)


def strata(boxes: Boxes, groups: Sequence[str] | None = None, least: int = 1) -> np.ndarray:
    """The class that each image stands for when it is split: that of its group which the fewest groups have.

    Args:
        boxes: The images.
        groups: The group of each, [n]; None: each its own.
        least: Groups that a stratum must have; those of a smaller one stand for their next rarest class, or, having
            no other, for the largest stratum.

    Returns:
        int32 [n], indices into `class_names` and, for groups without boxes, k.
    """
    names = list(groups) if groups is not None else [str(i) for i in range(len(boxes))]
    empty = len(boxes.class_names)
    classes: dict[str, set[int]] = {}
    for name, labels in zip(names, boxes.labels, strict=True):
        classes.setdefault(name, set()).update(labels.tolist())
    having = Counter(k for some in classes.values() for k in some)
    choices = {name: sorted(some, key=lambda k: (having[k], k)) or [empty] for name, some in classes.items()}
    while True:
        sizes = Counter(some[0] for some in choices.values())
        largest = max(sizes, key=lambda k: (sizes[k], -k), default=empty)
        small = next((k for k in sorted(sizes) if sizes[k] < least and k != largest), None)
        if small is None:
            return np.array([choices[name][0] for name in names], np.int32)
        for name, some in choices.items():
            if some[0] == small:
                choices[name] = some[1:] or [largest]


def box_groups(boxes: Boxes, inspections: list[Inspection], group: str | None = None) -> tuple[str, ...]:
    """The group of every image, [n]; arguments as for `split_boxes`."""
    return groups_of(_as_images(boxes), inspections, group)


def _as_images(boxes: Boxes) -> Images:
    """The images as `splits` knows them: one label each."""
    return Images(
        source=boxes.source,
        root=boxes.root,
        paths=boxes.paths,
        labels=strata(boxes),
        class_names=(*boxes.class_names, EMPTY),
        parts=boxes.parts,
        groups=boxes.groups,
        columns=boxes.columns,
    )


def _with_strata(boxes: Boxes, inspections: list[Inspection], group: str | None) -> Images:
    """The same, labelled with the strata of their groups."""
    labels = strata(boxes, box_groups(boxes, inspections, group), least=len(PARTS))
    return Images(**{**vars(_as_images(boxes)), "labels": labels})
