"""What the trainings of `does-tip-help` learn from: a few real images, all empty ones, and an arm's composites."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.errors import DataFault
from tlkit.tasks.compositing.bag_writer import Maker, Threats
from tlkit.tasks.compositing.bags_workflow import cut
from tlkit.tasks.compositing.online_workflow import Projecting, Tip
from tlkit.tasks.studies.composites_arms import ARMS, CROPS, LIVE, Laid, TipQuestion
from tlkit.tasks.studies.few_shot_data import CELLS

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.compositing.online import ThreatProjection


class TipEvidence:
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
        has = np.array([len(some) > 0 for some in split.boxes.xyxy])[training]
        self.shown, self.empty = training[has], training[~has]
        self._check()
        self.numbers = self._numbers()
        repeats = range(question.repeats)
        self.draws = len(self.empty) + max(len(self.chosen(max(self.numbers), r)) for r in repeats)

    def _check(self) -> None:
        from tlkit.tasks.studies.detection_gains import evaluated_classes

        source = self.split.boxes.source
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

        groups = [self.split.split.groups[i] for i in self.shown]
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
        projecting = Projecting(question.threats, None, question.live_share, question.how)
        return Tip(self.run, self.split, projecting, crops).change(size)

    def composites(self, laid: Laid, repeat: int) -> Path:
        """A folder with `composites/` of some threats: made once a repeat, then read, in any arm and at any number."""
        home = self.run.folder.folder(CELLS) / f"{laid.name}-{repeat}"
        if not home.is_dir():
            aside = home.with_suffix(".part")
            shutil.rmtree(aside, ignore_errors=True)
            how = replace(self.question.how, count=laid.composites, empty=0.0)
            seed = self.seed(repeat) + 500 * [one.name for one in self.threats].index(laid.name)
            maker = Maker(self.run, self._cut(laid), self.split.only(self.empty), how, aside, seed)
            maker.make(TRAINING)
            maker.finish()
            aside.replace(home)
        return home

    def _cut(self, laid: Laid) -> Threats:
        """The threats cut out, once."""
        threats = laid.threats
        if not threats.crops:
            threats.crops[TRAINING] = {
                name: cut(self.run, threats.split, TRAINING, name) for name in threats.classes
            }
        return threats
