"""The arms of `does-tip-help`: what each puts beside the few real pictures that a detector learns from.

All lay threats into the same empty training pictures, by the code of `composite-threats`: "tip" threat crops,
"fakes+tip" those and the pictures that finished runs synthesised.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.cli.benefit_arms import NOTHING
from tlkit.cli.manifests import keep_manifest
from tlkit.cli.running import Run
from tlkit.cli.threat_chapters import all_for_training, fakes_of
from tlkit.cli.threat_composites import Superimposing, Threats
from tlkit.data.class_names import place_of
from tlkit.data.sources import TEST, TRAINING, VALIDATION
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.data.box_splits import BoxSplit
    from tlkit.data.splits import Split

CROPS, FAKES = "crops", "fakes"
ARMS = {NOTHING: (), "tip": (CROPS,), "fakes+tip": (CROPS, FAKES)}  # arm -> of what it has composites


class Laid(NamedTuple):
    """Threats of one source.

    Attributes:
        kind: "crops" or "fakes".
        name: "crops", or "fakes-1" and so on.
        threats: Not cut out before they are needed.
        composites: That are made of them.
    """

    kind: str
    name: str
    threats: Threats
    composites: int


@dataclass(frozen=True)
class TipQuestion:
    """What is asked.

    Attributes:
        threats: Source of the crops, as typed.
        fakes: Finished runs that made pictures of threats, as typed.
        numbers: Of real training pictures that show a threat.
        arms: What is added; "nothing" is always among them.
        detector: "yolov8" or "retinanet", with its usual anchors.
        repeats: Each with other real pictures, other composites and another seed.
        composites: Made of the crops, and as many of all fakes together.
        how: What threats look like in them.
    """

    threats: str
    fakes: tuple[str, ...] = ()
    numbers: tuple[int, ...] = (20, 50)
    arms: tuple[str, ...] = ("tip",)
    detector: str = "yolov8"
    repeats: int = 2
    composites: int = 200
    how: Superimposing = field(default_factory=Superimposing)

    @property
    def every_arm(self) -> tuple[str, ...]:
        """The arms, "nothing" first."""
        return tuple(dict.fromkeys((NOTHING, *self.arms)))

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageFault: Fakes without their arm, the arm without fakes, or nothing to learn at all.
        """
        wanted = any(FAKES in ARMS[arm] for arm in self.arms)
        if wanted and not self.fakes:
            raise UsageFault(
                "--arms fakes+tip has no fakes.", "Name a run that synthesises with --fakes, or leave it out."
            )
        if self.fakes and not wanted:
            raise UsageFault(f"--fakes {self.fakes[0]} is used by no arm.", "Add fakes+tip to --arms.")
        if set(self.numbers) == {0} and self.every_arm == (NOTHING,):
            raise UsageFault("--numbers 0 and no arm leave nothing to learn.", "Add tip to --arms.")

    def facts(self) -> dict[str, Any]:
        """For the card."""
        poses = ("per_bag", "sides", "thickness", "i0", "tint")
        return {**asdict(replace(self, how=Superimposing())), "how": {n: getattr(self.how, n) for n in poses}}


# --- what is laid in ---


def gather(run: Run, split: BoxSplit, question: TipQuestion) -> list[Laid]:
    """Describe the crops and the fakes of the classes that the boxes have, and keep their manifests; cut none yet.

    Raises:
        DataFault: None is of such a class; a crop is a picture that is judged here; a run learned from one.
        UsageFault: There is no such run.
    """
    typed = f"--threats {question.threats}"
    crops, _ = all_for_training(question.threats, download=run.split.download)
    _check_crops(crops, split, typed)
    keep_manifest(run, question.threats, crops, "threats.csv")
    found = [Laid(CROPS, CROPS, Threats(of_classes(run, crops, split, typed)), question.composites)]
    several = len(question.fakes)
    for k, name in enumerate(question.fakes):
        made = _fakes(run, split, name, f"{FAKES}-{k + 1}.csv")
        share = question.composites * (k + 1) // several - question.composites * k // several
        found.append(Laid(FAKES, f"{FAKES}-{k + 1}", made, share))
    run.record(threats={one.name: one.threats.split.summary()[TRAINING] for one in found})
    for one in found:
        run.say(f"Threats: {_counted(one.threats.split)}.")
    run.say(
        "None of the crops is a picture that is judged here, by sha256; whether one was cut out of such a picture "
        "cannot be told."
    )
    return found


def _fakes(run: Run, split: BoxSplit, typed: str, manifest: str) -> Threats:
    """The pictures of a run that are of the classes that the boxes have."""
    from tlkit.data.more import check_leak
    from tlkit.results.run_folder import find_run

    maker = find_run(typed, Path(run.options["runs"]))
    check_leak(split.split, maker, f"{maker.parent.name}/{maker.name}", option="--fakes")
    made, _ = fakes_of(typed, maker)
    keep_manifest(run, typed, made.split, manifest)
    made.split = of_classes(run, made.split, split, f"--fakes {typed}")
    return made


def _counted(split: Split) -> str:
    per_class = split.summary()[TRAINING]["per_class"]
    kinds = ", ".join(f"{number} of {name}" for name, number in per_class.items() if number)
    return f"{kinds} from {split.images.source}"


def _check_crops(crops: Split, split: BoxSplit, typed: str) -> None:
    judged = {
        digest: part
        for digest, part in zip(split.split.sha256, split.split.parts, strict=True)
        if part in (VALIDATION, TEST)
    }
    met = [i for i, digest in enumerate(crops.sha256) if digest in judged]
    if met:
        more = f" (and {len(met) - 1} more)" if len(met) > 1 else ""
        raise DataFault(
            f"{typed} has {crops.images.paths[met[0]]}, which is in the {judged[crops.sha256[met[0]]]} part "
            f"of {split.boxes.source}{more}.",
            "Take it out of the crops, or deal the pictures out with another --split or --seed.",
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
