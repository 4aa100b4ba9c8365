"""Composites beside the real images: another run's `composites/` join the training part of images with boxes.

What they were made of stands in the run's `trained_on.csv`; were one of those images evaluated here, the test would
be worth nothing, so both are compared before anything is learned.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.core.text import count, place_of
from tlkit.data.boxes.dataset import Boxes, read_boxes
from tlkit.data.boxes.splits import EMPTY, BoxSplit, strata
from tlkit.data.images.inspection import inspect_files
from tlkit.data.images.sources import TRAINING
from tlkit.data.images.splits import SYNTHETIC_GROUP
from tlkit.data.images.synthetic import check_leak
from tlkit.errors import DataFault

COMPOSITES = "composites"  # the folder of images and boxes.csv in a run
BAG_SPLIT = "bag_split.csv"  # which of the bags a run took for which part


def add_composites(split: BoxSplit, runs: Sequence[Path]) -> tuple[BoxSplit, dict[str, dict[str, int]]]:
    """The same split with the composites of runs in its training part.

    Args:
        split: Of images with boxes.
        runs: Folders of finished runs of composite-threats. Of one that made all parts, those for training are taken.

    Returns:
        The split, and for each run its number of images, of empty ones, and of boxes of each class.

    Raises:
        DataFault: A run has no composites for training, does not say what it is made of, is made of an image that is
            evaluated here, or has a class that the split does not have.
    """
    added: dict[str, dict[str, int]] = {}
    for run in runs:
        name = f"{run.parent.name}/{run.name}"
        if not (run / COMPOSITES / "boxes.csv").is_file():
            raise DataFault(
                f"--synthetic {name} has no {COMPOSITES}/ with boxes.", "Name a run of composite-threats."
            )
        check_leak(split.split, run, name, BAG_SPLIT)
        split, added[name] = _joined(split, run, name)
    return split, added


def _joined(split: BoxSplit, run: Path, name: str) -> tuple[BoxSplit, dict[str, int]]:
    more = read_boxes(run / COMPOSITES)
    more = more.take([i for i, part in enumerate(more.parts) if part in (None, TRAINING)])
    if not len(more):
        raise DataFault(
            f"--synthetic {name} has no composites for training.", "Make some with --part training."
        )
    more = _renamed(more, split.boxes, name)
    seen = inspect_files(more.files())
    group = (f"{SYNTHETIC_GROUP}{name}",) * len(more)
    # From the source's folder, so that a manifest names both kinds of images in one way.
    paths = tuple(Path(os.path.relpath(file, split.boxes.root)).as_posix() for file in more.files())
    images = split.split.images
    empty = images.class_names.index(EMPTY)
    kinds = strata(more)
    kinds = np.where(kinds == len(more.class_names), empty, kinds).astype(np.int32)
    extended = replace(
        images,
        paths=(*images.paths, *paths),
        labels=np.concatenate([images.labels, kinds]),
        parts=(*images.parts, *[TRAINING] * len(more)),
        groups=(*images.groups, *group),
        columns={column: (*values, *[""] * len(more)) for column, values in images.columns.items()},
    )
    joined = replace(
        split.split,
        images=extended,
        sha256=(*split.split.sha256, *(one.sha256 for one in seen)),
        groups=(*split.split.groups, *group),
        parts=(*split.split.parts, *[TRAINING] * len(more)),
    )
    numbers = {"pictures": len(more), EMPTY: sum(not len(some) for some in more.xyxy)}
    per_class = Counter(more.class_names[k] for some in more.labels for k in some.tolist())
    return BoxSplit(_together(split.boxes, replace(more, paths=paths)), joined), {
        **numbers,
        **dict(sorted(per_class.items())),
    }


def _renamed(more: Boxes, boxes: Boxes, name: str) -> Boxes:
    """The composites with the classes of the source, whose spelling counts.

    Raises:
        DataFault: A class with boxes is not among them.
    """
    places = {label: place_of(label, boxes.class_names) for label in more.class_names}
    used = [label for label, number in more.counts().items() if number]
    unknown = [label for label in used if places[label] < 0]
    if unknown:
        raise DataFault(
            f"--synthetic {name} has boxes of {', '.join(used)}; {boxes.source} has {', '.join(boxes.class_names)}, and "
            f"no {unknown[0]}.",
            "Make composites of these classes only (composite-threats --class), or name the classes alike.",
        )
    place = np.array([places[label] for label in more.class_names], np.int32)
    labels = tuple(place[some].astype(np.int32) for some in more.labels)
    return replace(more, class_names=boxes.class_names, labels=labels)


def _together(boxes: Boxes, more: Boxes) -> Boxes:
    """Both one after the other, `more` with paths from the root of `boxes`; columns are those of `boxes`."""
    number = len(more)
    blank = tuple(("",) * len(some) for some in more.xyxy)
    return replace(
        boxes,
        paths=(*boxes.paths, *more.paths),
        xyxy=(*boxes.xyxy, *more.xyxy),
        labels=(*boxes.labels, *more.labels),
        difficult=(*boxes.difficult, *more.difficult),
        crowd=(*boxes.crowd, *more.crowd),
        sizes=(*boxes.sizes, *more.sizes),
        groups=(*boxes.groups, *more.groups),
        parts=(*boxes.parts, *more.parts),
        columns={name: (*values, *[""] * number) for name, values in boxes.columns.items()},
        box_columns={
            name: (*values, *more.box_columns.get(name, blank)) for name, values in boxes.box_columns.items()
        },
    )


def say_composites(added: dict[str, dict[str, int]]) -> list[str]:
    """A sentence for each run whose composites were added."""
    sentences = []
    for name, found in added.items():
        kinds = ", ".join(
            f"{number} of {label}" for label, number in found.items() if label not in ("pictures", EMPTY)
        )
        sentences.append(
            f"Added to training from {name}: {count(found['pictures'], 'composite')}, {found[EMPTY]} of them "
            f"empty; boxes: {kinds or 'none'}."
        )
    return sentences
