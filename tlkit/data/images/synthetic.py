"""Synthetic images beside the real ones: another run's `synthetic/CLASS/*.png` join the training part.

Those that it made of the validation part, `synthetic-validation/CLASS/*.png`, join that; the test part none.

What made them learned from real images; were one of those evaluated here, its test would be worth nothing. So every
such run leaves `trained_on.csv`, and it is compared with the validation and test parts before anything is learned.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.core.csv_writer import write_csv
from tlkit.core.text import count, did_you_mean, some_of
from tlkit.data.images.dataset import TEST, TRAINING, VALIDATION, AnySet, Images
from tlkit.data.images.inspection import inspect_files
from tlkit.data.images.readers.image_files import is_image
from tlkit.data.images.splits import SYNTHETIC_GROUP, Split
from tlkit.errors import DataFault

SETTLED = 300  # steps of a GAN from which it can be asked whether samples differ; before, little is learned
_ENDED = re.compile(r"all steps done|.* minutes are over")  # how a GAN ends that went well
SYNTHETIC = "synthetic"  # the folder of class folders in a run
TRAINED_ON = "trained_on.csv"
FOLDERS = {TRAINING: SYNTHETIC, VALIDATION: f"{SYNTHETIC}-validation"}  # of images made of a part


def write_trained_on(
    folder: Path, split: Split, indices: Iterable[int], chosen_by: Iterable[int] = ()
) -> None:
    """Write path, sha256, label, group and part of the real images that a synthesising run learns from or uses.

    Args:
        folder: Of the run.
        split: Whose images they are.
        indices: Which of them are learned from; their part is training.
        chosen_by: Those whose synthetic images are for validation.
    """
    rows = (
        (split.images.paths[i], split.sha256[i], split.stratum(i), split.groups[i], part)
        for part, some in ((TRAINING, indices), (VALIDATION, chosen_by))
        for i in some
    )
    write_csv(folder / TRAINED_ON, [("path", "sha256", "label", "group", "part"), *rows])


def add_synthetic(split: Split, runs: Sequence[Path]) -> tuple[Split, dict[str, dict[str, int]]]:
    """The same split with the synthetic images of runs in its training part, and in validation what is for that.

    Args:
        split: Of real images.
        runs: Folders of finished runs that hold `synthetic/` and `trained_on.csv`.

    Returns:
        The split, and for each run its number of images of each class.

    Raises:
        DataFault: A run has no synthetic images, does not say what it learned from, learned from an image that
            is evaluated here, or has a class that the split does not have.
    """
    return add_made(split, runs, _made)


def add_made(
    split: Split[AnySet],
    runs: Sequence[Path],
    made_by: Callable[[Split[AnySet], Path, str], tuple[AnySet, Sequence[str], dict[str, int]]],
) -> tuple[Split[AnySet], dict[str, dict[str, int]]]:
    """The same split with what runs have made.

    Args:
        split: Of real images.
        runs: Folders of finished runs.
        made_by: Split, run and its name -> images with the classes of the split, each in the part that it joins; their
            hashes; and their number by kind. It refuses what must not join.

    Returns:
        The split, and for each run the numbers.
    """
    added: dict[str, dict[str, int]] = {}
    for run in runs:
        name, images = f"{run.parent.name}/{run.name}", split.images
        made, hashes, added[name] = made_by(split, run, name)
        group = (f"{SYNTHETIC_GROUP}{name}",) * len(made)
        parts = tuple(part or TRAINING for part in made.parts)
        # From the source's folder, so that a manifest names both kinds of images in one way.
        root = os.path.realpath(images.root)  # `..` behind a link leads to where the link points
        paths = tuple(Path(os.path.relpath(file, root)).as_posix() for file in made.files())
        split = replace(
            split,
            images=images.followed_by(
                replace(made, root=images.root, paths=paths, groups=group, parts=parts)
            ),
            sha256=(*split.sha256, *hashes),
            groups=(*split.groups, *group),
            parts=(*split.parts, *parts),
        )
    return split, added


def check_leak(
    split: Split, run: Path, name: str, manifest: str = "split.csv", option: str = "--synthetic"
) -> None:
    """Refuse a run that learned from, or is made of, what is evaluated here.

    Args:
        split: What is learned and evaluated here.
        run: Folder of the run.
        name: What it is called in messages.
        manifest: Its file that splits this source as the run did.
        option: By which it was named.

    Raises:
        DataFault: It does, or does not say what it learned from, or its generator had collapsed.
    """
    refuse_collapsed(run, f"{option} {name}")
    file = run / TRAINED_ON
    if not file.is_file():
        raise DataFault(
            f"{option} {name} does not say which images it learned from: it has no {TRAINED_ON}.",
            "Name a run of synthesize-dcgan, synthesize-stylegan, composite-crops or composite-threats.",
        )
    _refuse_evaluated(split, file, f"{option} {name}", run / manifest)


def collapse_of(run: Path) -> str | None:
    """Why the generator of a run had collapsed, a sentence, or None: by its card and metrics.jsonl.

    Runs of today end as failures then; those of earlier versions ended as finished ones, with the alarm in the card.
    A run of `generate` repeats what is said of its generator.
    """
    try:
        card = json.loads((run / "card.json").read_text(encoding="utf-8"))
        if card.get("collapsed"):
            return card["collapsed"]
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return None
    gan = card.get("game") or {}
    ended = gan.get("stopped", "")
    early = gan.get("steps", 0) < SETTLED or any(row.get("various") for row in rows)
    return None if not ended or early or _ENDED.fullmatch(ended) else ended


def refuse_collapsed(run: Path, who: str) -> None:
    """Refuse images of a generator that had collapsed.

    Args:
        run: Folder of the run that made them.
        who: The option and the run, for the message.

    Raises:
        DataFault: It had.
    """
    reason = collapse_of(run)
    if reason:
        raise DataFault(
            f"{who} comes from a generator that had collapsed. {reason}",
            "Train one again: tlkit run synthesize-dcgan SOURCE --class NAME begins again by itself where it collapses.",
        )


def check_start(split: Split, run: Path, name: str) -> None:
    """Refuse to start from a run that learned from, or was chosen by, what is evaluated here.

    Raises:
        DataFault: It did.
    """
    _refuse_evaluated(split, run / "split.csv", f"--warm-start {name}", run / "split.csv")


def _refuse_evaluated(split: Split, file: Path, who: str, manifest: Path) -> None:
    """Refuse what learned from images that are evaluated here, or was chosen by images that are tested here.

    Args:
        split: What is learned and evaluated here.
        file: Says which images those are.
        who: The option and the run, for the message.
        manifest: Splits this source as the run did, for the remedy.
    """
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    learned = {row["sha256"]: row["path"] for row in rows if (row.get("part") or TRAINING) == TRAINING}
    chosen_by = {row["sha256"]: row["path"] for row in rows if row.get("part") == VALIDATION}
    met = [
        i
        for i, (digest, part) in enumerate(zip(split.sha256, split.parts, strict=True))
        if (digest in learned and part != TRAINING) or (digest in chosen_by and part == TEST)
    ]
    learned |= chosen_by
    if met:
        more = f" (and {len(met) - 1} more)" if len(met) > 1 else ""
        raise DataFault(
            f"{who} learned from {learned[split.sha256[met[0]]]}, which is in the {split.parts[met[0]]} part "
            f"here{more}.",
            f"Give both the same parts: --split {manifest}, or the same --group, --hold-out and --seed.",
        )


def _made(split: Split[Images], run: Path, name: str) -> tuple[Images, list[str], dict[str, int]]:
    """The synthetic images of a run, for `add_made`."""
    check_leak(split, run, name)
    names = split.images.class_names
    found = [
        (file, part)
        for part, folder in FOLDERS.items()
        for file in sorted((run / folder).glob("*/*"))
        if is_image(file)
    ]
    if not found:
        raise DataFault(
            f"--synthetic {name} has no images in {SYNTHETIC}/.", "Name a run that made synthetic images."
        )
    files, parts = zip(*found, strict=True)
    _check_classes(name, {file.parent.name for file in files}, split.images)
    seen = inspect_files(files)
    for file, inspection in zip(files, seen, strict=True):
        if inspection.error:
            raise DataFault(f"{file} {inspection.error}.", "Make the synthetic images again.")
    made = Images(
        source=name,
        root=run,
        class_names=names,
        paths=tuple(file.relative_to(run).as_posix() for file in files),
        labels=np.array([names.index(file.parent.name) for file in files], np.int32),
        groups=(None,) * len(files),
        parts=parts,
    )
    labels = ((file.parent.name, part) for file, part in found)
    kinds = Counter(label if part == TRAINING else f"{label} for {part}" for label, part in labels)
    return made, [inspection.sha256 for inspection in seen], dict(kinds)


def _check_classes(name: str, classes: set[str], images: Images) -> None:
    for label in sorted(classes - set(images.class_names)):
        hint = did_you_mean(label, images.class_names)
        raise DataFault(
            f"--synthetic {name} has images of {label}, which {images.source} has not.",
            f"{hint} Its classes are {some_of(images.class_names)}.".lstrip(),
        )


def say_added(added: dict[str, dict[str, int]]) -> list[str]:
    """A sentence for each run whose images were added."""
    each = {name: [f"{count(n, 'image')} of {k}" for k, n in found.items()] for name, found in added.items()}
    return [f"Added to training from {name}: {some_of(kinds)}." for name, kinds in each.items()]
