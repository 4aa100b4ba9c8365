"""Composites beside the real images: another run's `composites/` join the training part of images with boxes.

What they were made of stands in the run's `trained_on.csv`; were one of those images evaluated here, the test would
be worth nothing, so both are compared before anything is learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.core.files import hashes_of
from tlkit.core.text import count, place_of
from tlkit.data.boxes.dataset import EMPTY, Boxes, read_boxes
from tlkit.data.boxes.splits import BoxSplit, strata
from tlkit.data.images.dataset import TRAINING
from tlkit.data.images.synthetic import add_made, check_leak
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
    return add_made(split, runs, _made)


def _made(split: BoxSplit, run: Path, name: str) -> tuple[Boxes, list[str], dict[str, int]]:
    """The composites of a run for training, for `add_made`."""
    if not (run / COMPOSITES / "boxes.csv").is_file():
        raise DataFault(
            f"--synthetic {name} has no {COMPOSITES}/ with boxes.", "Name a run of composite-threats."
        )
    check_leak(split, run, name, BAG_SPLIT)
    made = read_boxes(run / COMPOSITES)
    made = made.take([i for i, part in enumerate(made.parts) if part in (None, TRAINING)])
    if not len(made):
        raise DataFault(
            f"--synthetic {name} has no composites for training.", "Make some with --part training."
        )
    made = _renamed(made, split.images, name)
    per_class = Counter(made.class_names[k] for some in made.labels for k in some.tolist())
    numbers = {"pictures": len(made), EMPTY: made.summary()["negative"], **dict(sorted(per_class.items()))}
    return replace(made, dealt=strata(made)), hashes_of(made.files()), numbers


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
