"""Where threats come from that are pasted into images with boxes: crops, and finished runs that made images.

None may be, or have learned from, an image that is evaluated; only those of classes that have boxes are taken.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.core.run import Run
from tlkit.core.text import place_of
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.engine.training.manifest import keep_manifest
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.compositing.bag_writer import Threats
from tlkit.tasks.compositing.bags_workflow import all_for_training, fakes_of, maker_of

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.data.images.splits import Split

CUT_OUT = (
    "None of the crops is an image that is evaluated here, by sha256; whether one was cut out of such an image cannot "
    "be told."
)


def threats_for(
    run: Run, split: BoxSplit, typed: str, option: str, manifest: str, only: str | None = None
) -> Threats:
    """Crops of a source or of a finished run, whichever is meant; arguments as in `crops_for`."""
    if maker_of(typed, Path(run.options["runs"])) is None:
        return crops_for(run, split, typed, option, manifest, only)
    return fakes_for(run, split, typed, option, manifest, only)


def crops_for(
    run: Run, split: BoxSplit, source: str, option: str, manifest: str, only: str | None = None
) -> Threats:
    """Describe the crops of the classes that the boxes have, keep their manifest and say what there is; cut none yet.

    Args:
        run: Of the recipe.
        split: Images with boxes.
        source: Of the crops, as typed.
        option: By which it was named.
        manifest: Name of the file.
        only: Regular expression; crops whose path does not have it are left out.

    Raises:
        DataFault: None is left, or a crop is an image that is evaluated here.
        UsageFault: `only` is no regular expression.
    """
    crops, _ = all_for_training(source, download=run.split.download)
    crops = _matching(crops, only, f"{option} {source}")
    _check_evaluated(crops, split, f"{option} {source}")
    return _taken(run, split, Threats(crops), source, option, manifest, CUT_OUT)


def fakes_for(
    run: Run, split: BoxSplit, typed: str, option: str, manifest: str, only: str | None = None
) -> Threats:
    """The same of the images that a finished run made.

    Raises:
        DataFault: None is left, or the run learned from an image that is evaluated here.
        UsageFault: There is no such run.
    """
    from tlkit.core.run_folder import find_run
    from tlkit.data.images.synthetic import check_leak

    maker = find_run(typed, Path(run.options["runs"]))
    check_leak(split.split, maker, f"{maker.parent.name}/{maker.name}", option=option)
    made, _ = fakes_of(typed, maker)
    made.split = _matching(made.split, only, f"{option} {typed}")
    return _taken(run, split, made, typed, option, manifest)


def _taken(
    run: Run, split: BoxSplit, threats: Threats, typed: str, option: str, manifest: str, note: str = ""
) -> Threats:
    keep_manifest(run, typed, threats.split, manifest)
    threats.split = of_classes(run, threats.split, split, f"{option} {typed}")
    per_class = threats.split.summary()[TRAINING]["per_class"]
    kinds = ", ".join(f"{number} of {name}" for name, number in per_class.items() if number)
    run.say(f"Threats: {kinds} from {threats.split.images.source}.")
    if note:
        run.say(note)
    return threats


def _matching(crops: Split, only: str | None, typed: str) -> Split:
    if only is None:
        return crops
    try:
        wanted = re.compile(only)
    except re.error as error:
        raise UsageFault(
            f"{only!r} is no regular expression: {error}.", "Write it as for --group."
        ) from error
    kept = [i for i, path in enumerate(crops.images.paths) if wanted.search(path)]
    if not kept:
        raise DataFault(f"No path of {typed} has {only!r}.", f"Paths look like {crops.images.paths[0]}.")
    return crops.only(kept)


def _check_evaluated(crops: Split, split: BoxSplit, typed: str) -> None:
    evaluated = {
        digest: part
        for digest, part in zip(split.split.sha256, split.split.parts, strict=True)
        if part in (VALIDATION, TEST)
    }
    met = [i for i, digest in enumerate(crops.sha256) if digest in evaluated]
    if met:
        more = f" (and {len(met) - 1} more)" if len(met) > 1 else ""
        raise DataFault(
            f"{typed} has {crops.images.paths[met[0]]}, which is in the {evaluated[crops.sha256[met[0]]]} part "
            f"of {split.boxes.source}{more}.",
            "Take it out of the crops, or split the images with another --split or --seed.",
        )


def of_classes(run: Run, crops: Split, split: BoxSplit, typed: str) -> Split:
    """The crops of classes that the boxes have, upper and lower case aside; the others are named and left out.

    Raises:
        DataFault: None is left.
    """
    boxes = split.boxes
    known = [name for name, number in boxes.counts().items() if number]
    names = crops.images.class_names
    other = [name for name in names if place_of(name, known) < 0]
    kept = [i for i, label in enumerate(crops.images.labels) if names[label] not in other]
    if not kept:
        raise DataFault(
            f"{typed} has {', '.join(names)}; {boxes.source} has boxes of {', '.join(boxes.class_names)}, and none of "
            "these.",
            "Name crops of its classes, in folders called as they are.",
        )
    if other:
        run.say(f"Left out of {typed}: {', '.join(other)}; {boxes.source} has no boxes of that.")
    return crops.only(kept)
