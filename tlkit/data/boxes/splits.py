"""Parts for images with boxes: split as `splits` splits, with each group standing for its rarest class.

An image has many labels, a stratum is one: the class of its group that the fewest groups have, so that the rare
classes are shared out evenly; images without boxes are a stratum of their own. The manifest is the same
`split.csv`, with the stratum as label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlkit.core.reading import Reading
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.images.dataset import PARTS
from tlkit.data.images.inspection import Inspection, inspect_files
from tlkit.data.images.splits import Split, groups_of, split_images
from tlkit.errors import DataFault, UsageFault

BoxSplit = Split[Boxes]


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
    group: str | None = None,
    inspections: Sequence[Inspection] | None = None,
    **options: Any,
) -> BoxSplit:
    """Give every image a part.

    Args:
        boxes: The images; their own parts are honoured and checked.
        group: Regular expression on the path, or a column's name.
        inspections: What was seen in each file, [n]; None: look now.
        options: Those of `splits.split_images`, `small` aside.

    Raises:
        DataFault: A file does not open; or as for `splits.split_images`.
        UsageFault: `group` is no regular expression.
    """
    seen = list(inspections) if inspections is not None else inspect_files(boxes.files())
    bad = next((i for i, inspection in enumerate(seen) if inspection.error), None)
    if bad is not None:
        raise DataFault(f"{boxes.file(bad)} {seen[bad].error}.", "Replace or remove it and its annotation.")
    dealt = strata(boxes, groups_of(boxes, seen, group), least=len(PARTS))
    return split_images(replace(boxes, dealt=dealt), seen, group=group, **options)


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
