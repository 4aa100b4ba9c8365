"""Few-shot study's data: the question, its split and features, and what is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlkit.core.text import some_of
from tlkit.data.images.sources import TRAINING
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.features.workflow import extract
from tlkit.tasks.synthesis.settings import LEAST_IMAGES

NOTHING = "nothing"
GANS = ("dcgan", "stylegan")
WITH_CLUTTER = "+composites"  # fakes of a GAN, and those fakes set into clutter
CELLS = "cells"  # folder of what is there already, for a run that goes on


if TYPE_CHECKING:
    import numpy as np

    from tlkit.core.run import Run
    from tlkit.data.images.splits import Split
    from tlkit.tasks.features.extract import Featurizer


def computed_once(run: Run, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that the run keeps by name until its end; a kill leaves no half of it."""
    import numpy as np

    file = run.folder.folder(CELLS) / f"{name}.npy"
    if not file.is_file():
        aside = file.with_suffix(".part.npy")
        np.save(aside, compute())
        aside.replace(file)
    return np.load(file, allow_pickle=False)


def needs_gan(arm: str) -> bool:
    """Whether a GAN is played for an arm."""
    return arm.removesuffix(WITH_CLUTTER) in GANS


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        name: Of the class that is to be found.
        numbers: Of real images of it.
        arms: What is added; "nothing" is always among them.
        repeats: Each with other real images.
        samples: Images that a generator adds.
        steps: Of each GAN.
        size: Side of the generated images, pixels.
        negative: The class that composites take their surroundings from.
    """

    name: str
    numbers: tuple[int, ...]
    arms: tuple[str, ...]
    repeats: int
    samples: int
    steps: int
    size: int
    negative: str


class Evidence:
    """What every training of the question shares: the split, its features, and what computes them."""

    def __init__(self, run: Run, split: Split, question: Question, featurizer: Featurizer) -> None:
        import numpy as np

        self.run, self.split, self.question, self.featurizer = run, split, question, featurizer
        names = split.images.class_names
        if question.name not in names:
            raise UsageFault(
                f"--class {question.name} is no class of {split.images.source}.",
                f"Its classes are {some_of(names)}.",
            )
        self.truth = np.asarray(split.images.labels) == names.index(question.name)
        self.features = extract(run, split, featurizer)

    def of(self, part: str, *, shown: bool) -> np.ndarray:
        """int64 [m]: images of a part that show the class, or do not."""
        chosen = self.split.indices(part)
        return chosen[self.truth[chosen] == shown]

    def numbers(self) -> list[int]:
        """The numbers that training has enough images for; the others are named and left out."""
        there = len(self.of(TRAINING, shown=True))
        kept = [number for number in sorted(set(self.question.numbers)) if number <= there]
        few = [number for number in kept if number < LEAST_IMAGES]
        if gans := [arm for arm in self.question.arms if few and needs_gan(arm)]:
            raise UsageFault(
                f"--numbers {few[0]} is too few for {gans[0]}: a GAN needs {LEAST_IMAGES} images.",
                f"Leave {few[0]} out, or the arm.",
            )
        if left := sorted(set(self.question.numbers) - set(kept)):
            self.run.say(
                f"Left out: {', '.join(map(str, left))}; training has {there} of {self.question.name}."
            )
        if not kept:
            raise DataFault(
                f"Training has {there} images of {self.question.name}, fewer than any of --numbers.",
                f"Take --numbers {there}, or give it more images.",
            )
        return kept

    def chosen(self, number: int, repeat: int) -> np.ndarray:
        """The real images of a repeat; a smaller number's are among a larger one's."""
        import numpy as np

        pool = self.of(TRAINING, shown=True)
        order = np.random.default_rng([self.run.seed, repeat]).permutation(len(pool))
        return np.sort(pool[order[:number]])
