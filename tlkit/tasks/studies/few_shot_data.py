"""Few-shot study's data: the question, its split and features, and which images each training learns from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tlkit.core.text import some_of
from tlkit.data.images.sources import TRAINING
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.features.workflow import extract
from tlkit.tasks.studies.question import Question
from tlkit.tasks.studies.study import Study
from tlkit.tasks.synthesis.settings import LEAST_IMAGES

GANS = ("dcgan", "stylegan")
WITH_CLUTTER = "+composites"  # fakes of a GAN, and those fakes set into clutter

if TYPE_CHECKING:
    import numpy as np

    from tlkit.core.run import Run
    from tlkit.data.images.splits import Split
    from tlkit.tasks.features.extract import Featurizer


def needs_gan(arm: str) -> bool:
    """Whether a GAN is trained for an arm."""
    return arm.removesuffix(WITH_CLUTTER) in GANS


@dataclass(frozen=True, kw_only=True)
class FewShotQuestion(Question):
    """What is asked.

    Attributes:
        name: Of the class that is to be found.
        samples: Images that a generator adds.
        steps: Of each GAN.
        size: Side of the generated images, pixels.
        negative: The class that composites take their surroundings from.
    """

    name: str
    samples: int
    steps: int
    size: int
    negative: str

    def facts(self) -> dict[str, Any]:
        """For the card."""
        return {"name": self.name, **asdict(self)}


class FewShotData(Study):
    """What every training of the question shares: the split, its features, and what computes them.

    Raises:
        UsageFault: The split has no such class, or a number is too small for a GAN.
        DataFault: Training has fewer of it than any number.
    """

    def __init__(self, run: Run, split: Split, question: FewShotQuestion, featurizer: Featurizer) -> None:
        import numpy as np

        self.run, self.split, self.featurizer = run, split, featurizer
        self.question: FewShotQuestion = question
        names = split.images.class_names
        if question.name not in names:
            raise UsageFault(
                f"--class {question.name} is no class of {split.images.source}.",
                f"Its classes are {some_of(names)}.",
            )
        self.truth = np.asarray(split.images.labels) == names.index(question.name)
        self.features = extract(run, split, featurizer)
        self.numbers = self._numbers()

    def of(self, part: str, *, shown: bool) -> np.ndarray:
        """int64 [m]: images of a part that show the class, or do not."""
        chosen = self.split.indices(part)
        return chosen[self.truth[chosen] == shown]

    def _numbers(self) -> list[int]:
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
