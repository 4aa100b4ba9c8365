"""Composites study's data: the question, what is pasted, and what each training of `does-tip-help` learns from.

Two arms paste threats into the same empty training images, by the code of `composite-threats`: "tip" threat crops,
"fakes+tip" those and the images that finished runs synthesised. "live" lays threat crops into any training image,
with a threat or without, other ones at every step.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.compositing.online_workflow import Tip
from tlkit.tasks.compositing.settings import CompositeSettings
from tlkit.tasks.compositing.threats import Threats, gather_threats
from tlkit.tasks.studies.question import NOTHING, Question
from tlkit.tasks.studies.study import CELLS

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.compositing.online import ThreatProjection

CROPS, FAKES = "crops", "fakes"
LIVE = "live"  # threats are pasted into all training images while it learns, and there are no composites
ARMS = {
    NOTHING: (),
    "tip": (CROPS,),
    "fakes+tip": (CROPS, FAKES),
    LIVE: (),
}  # arm -> of what it has composites


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


@dataclass(frozen=True, kw_only=True)
class TipQuestion(Question):
    """What is asked.

    Attributes:
        threats: Source of the crops, as typed.
        fakes: Finished runs that made images of threats, as typed.
        detector: A key of `DETECTORS`, with its usual anchors.
        composites: Made of the crops, and as many of all fakes together.
        live_share: Of the images of the arm "live" that threats are pasted into.
        how: What threats look like in them.
    """

    threats: str
    fakes: tuple[str, ...] = ()
    numbers: tuple[int, ...] = (20, 50)
    arms: tuple[str, ...] = ("tip",)
    detector: str = "yolov8"
    repeats: int = 2
    composites: int = 200
    live_share: float = 0.5
    how: CompositeSettings = field(default_factory=CompositeSettings)

    @property
    def composing(self) -> set[str]:
        """Of what composites are made, "crops" or "fakes", for any arm."""
        return {kind for arm in self.every_arm for kind in ARMS[arm]}

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageFault: Fakes without their arm, the arm without fakes, or nothing to learn at all.
        """
        wanted = FAKES in self.composing
        if wanted and not self.fakes:
            raise UsageFault(
                "--arms fakes+tip has no fakes.",
                "Name a run that synthesises with --generated, or leave it out.",
            )
        if self.fakes and not wanted:
            raise UsageFault(f"--generated {self.fakes[0]} is used by no arm.", "Add fakes+tip to --arms.")
        if set(self.numbers) == {0} and not self.composing:
            raise UsageFault("--numbers 0 and no composites leave nothing to learn.", "Add tip to --arms.")

    def facts(self) -> dict[str, Any]:
        """For the card."""
        return {**vars(self), "how": self.how.poses}


# --- what is pasted in ---


def gather(run: Run, split: BoxSplit, question: TipQuestion) -> list[Laid]:
    """Describe the crops and the fakes of the classes that the boxes have, and keep their manifests; cut none yet.

    Raises:
        DataFault: None is of such a class; a crop is an image that is evaluated here; a run learned from one.
        UsageFault: There is no such run.
    """
    crops = gather_threats(run, split, question.threats, "--threats", "threats.csv", made=False)
    found = [Laid(CROPS, CROPS, crops, question.composites)]
    several = len(question.fakes)
    for k, typed in enumerate(question.fakes):
        name = f"{FAKES}-{k + 1}"
        fakes = gather_threats(run, split, typed, "--generated", f"{name}.csv", made=True)
        share = question.composites * (k + 1) // several - question.composites * k // several
        found.append(Laid(FAKES, name, fakes, share))
    run.record(threats={one.name: one.threats.split.summary()[TRAINING] for one in found})
    return found


# --- what is learned from ---


class CompositesData:
    """What every training of the question shares.

    Args:
        run: Of the recipe.
        split: Images with boxes, split.
        question: What is asked.
        threats: Of `gather`.

    Attributes:
        shown: int64 [m]: training images that show a threat.
        empty: int64 [m]: those that show none: all arms learn from them, and threats are pasted into them.
        numbers: Those of the question that training has enough images for; the others are named and left out.
        draws: Images an epoch, the same for every training: as many as the arm "nothing" has at the largest number.

    Raises:
        DataFault: Training has no empty image, or fewer others than any number; an evaluated part has no box.
    """

    def __init__(self, run: Run, split: BoxSplit, question: TipQuestion, threats: Sequence[Laid]) -> None:
        import numpy as np

        self.run, self.split, self.question, self.threats = run, split, question, threats
        training = split.indices(TRAINING)
        has = np.array([len(some) > 0 for some in split.images.xyxy])[training]
        self.shown, self.empty = training[has], training[~has]
        self._check()
        self.numbers = self._numbers()
        repeats = range(question.repeats)
        self.draws = len(self.empty) + max(len(self.chosen(max(self.numbers), r)) for r in repeats)

    def _check(self) -> None:
        from tlkit.tasks.studies.detection_gains import evaluated_classes

        source = self.split.images.source
        if not len(self.empty):
            raise DataFault(
                f"{source} has no empty image in its training part to paste threats into.",
                "Add images without a threat (rows of boxes.csv with an empty box).",
            )
        for part in (VALIDATION, TEST):
            if not evaluated_classes(self.split.take(part)):
                raise DataFault(
                    f"The {part} part of {source} has no box.", "Give more images, or another --seed."
                )

    def _numbers(self) -> tuple[int, ...]:
        there, wanted = len(self.shown), sorted(set(self.question.numbers))
        kept = [number for number in wanted if number <= there]
        if not self.question.composing:
            kept = [number for number in kept if number]
        if not kept:
            raise DataFault(
                f"Training has {count(there, 'image')} with a threat, fewer than any of --numbers.",
                f"Take --numbers {there}, or give it more images.",
            )
        if left := [number for number in wanted if number > there]:
            self.run.say(
                f"Left out: {', '.join(map(str, left))}; training has {count(there, 'image')} with a threat."
            )
        return tuple(kept)

    def arms(self, number: int) -> tuple[str, ...]:
        """The arms at a number; at 0 there is none without composites, for no image would have a box."""
        return tuple(arm for arm in self.question.every_arm if number or ARMS[arm])

    def chosen(self, number: int, repeat: int) -> np.ndarray:
        """The real images with a threat of a repeat, int64; a smaller number's are among a larger one's.

        Groups come whole and in random order, so that the last one may bring a few more than `number`.
        """
        import numpy as np

        groups = [self.split.groups[i] for i in self.shown]
        names = sorted(set(groups))
        order = np.random.default_rng([self.run.seed, repeat]).permutation(len(names))
        place = {name: int(k) for name, k in zip(names, order, strict=True)}
        ranks = np.array([place[group] for group in groups])
        queue = np.argsort(ranks, kind="stable")
        end = number
        while 0 < end < len(queue) and ranks[queue[end]] == ranks[queue[end - 1]]:
            end += 1
        return np.sort(self.shown[queue[:end]])

    def seed(self, repeat: int) -> int:
        """Of everything random in a repeat, the same for all arms."""
        return self.run.seed * 1000 + repeat

    def of_training(self, arm: str, number: int, repeat: int) -> BoxSplit:
        """What a detector learns from and is chosen by: real images, all empty ones, and the arm's composites."""
        import numpy as np

        from tlkit.data.boxes.synthetic import add_composites

        split = self.split
        evaluated = [split.indices(part) for part in (VALIDATION, TEST)]
        real = np.sort(np.concatenate([self.chosen(number, repeat), self.empty, *evaluated]))
        made = [self.composites(one, repeat) for one in self.threats if one.kind in ARMS[arm]]
        return add_composites(split.only(real), made)[0]

    def change(self, arm: str, size: int) -> ThreatProjection | None:
        """What is pasted into training images of `size` pixels while a detector learns in an arm."""
        if arm != LIVE:
            return None
        question = self.question
        crops = next(one.threats for one in self.threats if one.kind == CROPS)
        how = replace(question.how, share=question.live_share)
        return Tip(self.run, self.split, how, crops).change(size)

    def composites(self, laid: Laid, repeat: int) -> Path:
        """A folder with `composites/` of some threats: made once a repeat, then read, in any arm and at any number."""
        from tlkit.tasks.compositing.bag_writer import Maker

        home = self.run.folder.folder(CELLS) / f"{laid.name}-{repeat}"
        if not home.is_dir():
            aside = home.with_suffix(".part")
            shutil.rmtree(aside, ignore_errors=True)
            how = replace(self.question.how, count=laid.composites, empty=0.0)
            seed = self.seed(repeat) + 500 * [one.name for one in self.threats].index(laid.name)
            threats = laid.threats
            if not threats.crops:
                threats.crops[TRAINING] = threats.cut(self.run, TRAINING)
            maker = Maker(self.run, threats, self.split.only(self.empty), how, aside, seed)
            maker.make(TRAINING)
            maker.finish()
            aside.replace(home)
        return home
