"""`tlkit compare --draw`: what several detectors find on the same images, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.cli.commands.evaluate_boxes import read_as_run
from tlkit.cli.commands.predict_boxes import load_detector, threshold_of
from tlkit.cli.inference import ask
from tlkit.cli.unseen import unseen
from tlkit.core.console import Console
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.data.boxes.dataset import Boxes
    from tlkit.tasks.detection.detections import Detections

BATCH = 8


def draw_compared(
    runs: Sequence[Path], cards: Sequence[dict[str, Any]], file: Path, source: str | None, number: int
) -> None:
    """Draw a row for each image: the truth, then each run's boxes from its own threshold on.

    Args:
        runs: [r] folders of detectors' runs.
        cards: [r] their cards.
        file: A PNG; must not exist.
        source: Images with boxes, or None: those of the first run.
        number: How many images.

    Raises:
        UsageFault: A run is no detector's, or the file cannot be used.
        DataFault: No image is left that none of the runs has learned from.
    """
    _check(runs, cards, file)
    wanted = source or str(cards[0].get("source"))
    boxes = read_as_run(cards[0], wanted)
    truth = _named(boxes.take(chosen_images(runs, boxes, number)), cards)
    detectors = {
        name: (_found(run, truth), threshold_of(run, card))
        for run, card, name in zip(runs, cards, _titles(runs, cards), strict=True)
    }
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.detection.reporting.plots import beside_truth

    save(beside_truth(truth, detectors, range(len(truth))), file)
    Console().say(f"Drawn: {len(truth)} images of {wanted} that no run has learned from, in {file}.")


def chosen_images(runs: Sequence[Path], boxes: Boxes, number: int) -> list[int]:
    """Indices of images that none of the runs has learned from, spread over the set, one of them empty.

    Args:
        runs: Folders of finished runs.
        boxes: The images.
        number: How many at most; from 3 on the last is one without objects, where there is one.

    Raises:
        DataFault: There is none.
    """
    with_objects = [i for i in range(len(boxes)) if len(boxes.xyxy[i])]
    empty = [i for i in range(len(boxes)) if not len(boxes.xyxy[i])]
    last = _first_unseen(runs, boxes, empty, 1) if number >= 3 or not with_objects else []
    first = _first_unseen(runs, boxes, with_objects, number - len(last))
    if not first + last:
        raise DataFault(
            f"Some run has learned from each image of {boxes.source}.", "Name others with --source."
        )
    return first + last


def _first_unseen(runs: Sequence[Path], boxes: Boxes, indices: list[int], number: int) -> list[int]:
    """`number` of the unseen among `indices`, evenly spread, one of a group; hashed only until there are enough."""
    from tlkit.data.images.inspection import inspect_files

    indices = sorted({boxes.groups[i] or boxes.paths[i]: i for i in reversed(indices)}.values())
    stride = max(len(indices) // max(number, 1), 1)
    spread = [i for start in range(stride) for i in indices[start::stride]]
    found: list[int] = []
    for start in range(0, len(spread), 4 * number):
        some = spread[start : start + 4 * number]
        looked = inspect_files([boxes.file(i) for i in some])
        fit = set(range(len(some))).intersection(*(unseen(run, looked) for run in runs))
        found += [some[place] for place in sorted(fit)]
        if len(found) >= number:
            break
    return sorted(found[:number])


def _check(runs: Sequence[Path], cards: Sequence[dict[str, Any]], file: Path) -> None:
    for run, card in zip(runs, cards, strict=True):
        if card.get("kind") != "detector":
            raise UsageFault(f"--draw is for detectors, and {run} is none.", "Leave it out.")
    if file.suffix.lower() != ".png":
        raise UsageFault(f"--draw {file} is no PNG.", "Let its name end in .png.")
    if file.exists():
        raise UsageFault(f"--draw {file} is there already.", "Name a new file.")


def _named(boxes: Boxes, cards: Sequence[dict[str, Any]]) -> Boxes:
    """The images, with the names of all classes that a run may find."""
    names = [*boxes.class_names, *(name for card in cards for name in card.get("classes") or ())]
    return replace(boxes, class_names=tuple(dict.fromkeys(names)))


def _titles(runs: Sequence[Path], cards: Sequence[dict[str, Any]]) -> list[str]:
    """Each run's network, and the run where two have the same."""
    networks = [str((card.get("model") or {}).get("network") or card.get("recipe")) for card in cards]
    return [
        network if networks.count(network) == 1 else f"{network} {run.parent.name}/{run.name}"
        for run, network in zip(runs, networks, strict=True)
    ]


def _found(run: Path, truth: Boxes) -> list[Detections]:
    """What the run's SavedModel answers about each image."""
    import numpy as np

    served = load_detector(run)
    answers = ask(served, [truth.file(i) for i in range(len(truth))], BATCH, f"asking {run.name}")
    order = np.array([truth.class_names.index(name) for name in served.classes], np.int32)
    return [one._replace(labels=order[one.labels]) for one in answers]
