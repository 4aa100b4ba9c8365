"""Threats that are pasted into X-ray images, and where they come from: crops, and finished runs that made images.

None may be, or have learned from, an image that is evaluated; only those of classes that have boxes are taken.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.core.run import Run
from tlkit.core.text import place_of
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.engine.training.manifest import keep_manifest
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.data.images.splits import Split
    from tlkit.tasks.compositing.composites import ThreatCrop

CUT_OUT = (
    "None of the crops is an image that is evaluated here, by sha256; whether one was cut out of such an image cannot "
    "be told."
)


@dataclass
class Threats:
    """Threats of each part by class, and the split that they are of.

    Attributes:
        split: Of the crops.
        crops: Part -> class -> crops, once they are cut out.
        learned: Rows of `trained_on.csv` of the run that made the crops, where one did.
    """

    split: Split
    crops: dict[str, dict[str, list[ThreatCrop]]] = field(default_factory=dict)
    learned: list[dict[str, str]] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The classes that have a crop, in their order."""
        images = self.split.images
        return [images.class_names[k] for k in sorted(set(images.labels.tolist()))]

    def cut(
        self, run: Run, part: str, names: Sequence[str] = (), largest: int | None = None
    ) -> dict[str, list[ThreatCrop]]:
        """Cut the threats of a part out, by class; crops that show nothing are named and left out.

        Args:
            run: Of the recipe.
            part: Whose threats.
            names: Of the classes; none: all that have a crop.
            largest: Longer side at which they are kept, pixels; None: as `composites.hold` has it.

        Raises:
            DataFault: None is left of a class.
        """
        return {name: self._cut_class(run, part, name, largest) for name in names or self.classes}

    def _cut_class(self, run: Run, part: str, name: str, largest: int | None) -> list[ThreatCrop]:
        from tlkit.data.images.decoding.depth import read_image
        from tlkit.tasks.compositing.composites import LARGEST_HELD, hold

        images, crops = self.split.images, []
        label, most = images.class_names.index(name), min(largest or LARGEST_HELD, LARGEST_HELD)
        chosen = [int(i) for i in self.split.indices(part) if images.labels[i] == label]
        with run.progress(f"cutting {name} out", len(chosen)) as step:
            for done, i in enumerate(chosen, 1):
                crop = hold(read_image(images.file(i), 1)[..., 0], most, i)
                if crop is None:
                    run.say(f"Left out: {images.paths[i]} shows nothing before its background.")
                else:
                    crops.append(crop)
                step(done)
        if not crops:
            raise DataFault(
                f"{images.source} has no {name} in its {part} part.",
                "Give more crops, another --group or --hold-out, or leave the class out with --class.",
            )
        return crops


def gather_threats(
    run: Run, split: BoxSplit, typed: str, option: str, manifest: str, only: str | None = None, *, made: bool
) -> Threats:
    """Describe the threats of the classes that the boxes have, keep their manifest and say what there is; cut none yet.

    Args:
        run: Of the recipe.
        split: Images with boxes.
        typed: A source of crops, or a finished run that made images.
        option: By which it was named.
        manifest: Name of the file.
        only: Regular expression; crops whose path does not have it are left out.
        made: Whether a run is meant.

    Raises:
        DataFault: None is left; a crop is an image that is evaluated here; or the run learned from one.
        UsageFault: `only` is no regular expression, or there is no such run.
    """
    from tlkit.core.run_folder import find_run
    from tlkit.data.images.synthetic import check_leak

    named = f"{option} {typed}"
    if made:
        maker = find_run(typed, Path(run.options["runs"]))
        check_leak(split, maker, f"{maker.parent.name}/{maker.name}", option=option)
        threats, _ = fakes_of(typed, maker)
    else:
        threats = Threats(all_for_training(typed, download=run.split.download)[0])
    threats.split = _matching(threats.split, only, named)
    if not made:
        _check_evaluated(threats.split, split, named)
    keep_manifest(run, typed, threats.split, manifest)
    threats.split = of_classes(run, threats.split, split, named)
    per_class = threats.split.summary()[TRAINING]["per_class"]
    kinds = ", ".join(f"{number} of {name}" for name, number in per_class.items() if number)
    run.say(f"Threats: {kinds} from {threats.split.images.source}.")
    if not made:
        run.say(CUT_OUT)
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
        for digest, part in zip(split.sha256, split.parts, strict=True)
        if part in (VALIDATION, TEST)
    }
    met = [i for i, digest in enumerate(crops.sha256) if digest in evaluated]
    if met:
        more = f" (and {len(met) - 1} more)" if len(met) > 1 else ""
        raise DataFault(
            f"{typed} has {crops.images.paths[met[0]]}, which is in the {evaluated[crops.sha256[met[0]]]} part "
            f"of {split.images.source}{more}.",
            "Take it out of the crops, or split the images with another --split or --seed.",
        )


def of_classes(run: Run, crops: Split, split: BoxSplit, typed: str) -> Split:
    """The crops of classes that the boxes have, upper and lower case aside; the others are named and left out.

    Raises:
        DataFault: None is left.
    """
    boxes = split.images
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


# --- finished runs, and crops of which none is evaluated ---


def maker_of(source: str, runs: Path) -> Path | None:
    """The finished run whose images a source means, or None: it is a source like others."""
    from tlkit.core.run_folder import find_run
    from tlkit.data.images.synthetic import SYNTHETIC, TRAINED_ON

    place = Path(source)
    if place.name == SYNTHETIC and (place.parent / TRAINED_ON).is_file():
        return place.parent
    if place.exists() and not (place / SYNTHETIC).is_dir() and not list(place.glob(f"*/{TRAINED_ON}")):
        return None
    if not place.exists() and not (runs / source).is_dir():
        return None
    return find_run(source, runs)


def fakes_of(typed: str, maker: Path, *, skip_bad: bool = False) -> tuple[Threats, list[dict[str, str]]]:
    """The images that a synthesising run made, all for training and not yet cut out, and what was left out of them.

    Args:
        typed: What the person called it.
        maker: The folder of the finished run.
        skip_bad: Leave files out that do not open.

    Raises:
        DataFault: It has none, or does not say what it learned from.
    """
    from tlkit.data.images.splits import SYNTHETIC_GROUP
    from tlkit.data.images.synthetic import SYNTHETIC, TRAINED_ON

    if not (maker / SYNTHETIC).is_dir() or not (maker / TRAINED_ON).is_file():
        raise DataFault(
            f"{typed} has no images in {SYNTHETIC}/ or no {TRAINED_ON}.", "Name a run that synthesises."
        )
    group = f"{SYNTHETIC_GROUP}{maker.parent.name}/{maker.name}"
    split, skipped = all_for_training(str(maker / SYNTHETIC), group, skip_bad=skip_bad)
    with (maker / TRAINED_ON).open(newline="", encoding="utf-8") as stream:
        return Threats(split, learned=list(csv.DictReader(stream))), skipped


def all_for_training(
    source: str, group: str | None = None, *, skip_bad: bool = False, download: bool = False
) -> tuple[Split, list[dict[str, str]]]:
    """Crops of which none is evaluated: all are for training but those that the source itself keeps for another part.

    Args:
        source: Of the crops.
        group: Of all of them; None: as the source declares, else each its own.
        skip_bad: Leave files out that do not open.
        download: Let `tfds:` fetch.

    Returns:
        The split, and what was left out as {"path", "reason"}.

    Raises:
        DataFault: See `read_images` and `openable`; or nothing is left.
    """
    from tlkit.data.images.load import openable
    from tlkit.data.images.sources import read_images
    from tlkit.data.images.splits import Split, groups_of

    images, seen, skipped = openable(read_images(source, download=download, least=1), skip_bad=skip_bad)
    kept = [i for i, part in enumerate(images.parts) if part in (None, TRAINING)]
    if not kept:
        raise DataFault(f"{source} has no crop in its training part.", "Name crops to learn from.")
    images, seen = images.take(kept), [seen[i] for i in kept]
    groups = groups_of(images, seen) if group is None else (group,) * len(images)
    return Split(images, tuple(one.sha256 for one in seen), groups, (TRAINING,) * len(images)), skipped
