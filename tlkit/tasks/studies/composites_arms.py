"""The arms of `does-tip-help`: what each puts beside the few real images that a detector learns from.

Two paste threats into the same empty training images, by the code of `composite-threats`: "tip" threat crops,
"fakes+tip" those and the images that finished runs synthesised. "live" lays threat crops into any training image,
with a threat or without, other ones at every step.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING
from tlkit.errors import UsageFault
from tlkit.tasks.compositing.bag_writer import Superimposing, Threats
from tlkit.tasks.compositing.threats import crops_for, fakes_for
from tlkit.tasks.studies.few_shot_data import NOTHING

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit

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


@dataclass(frozen=True)
class TipQuestion:
    """What is asked.

    Attributes:
        threats: Source of the crops, as typed.
        fakes: Finished runs that made images of threats, as typed.
        numbers: Of real training images that show a threat.
        arms: What is added; "nothing" is always among them.
        detector: "yolov8" or "retinanet", with its usual anchors.
        repeats: Each with other real images, other composites and another seed.
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
    how: Superimposing = field(default_factory=Superimposing)

    @property
    def every_arm(self) -> tuple[str, ...]:
        """The arms, "nothing" first."""
        return tuple(dict.fromkeys((NOTHING, *self.arms)))

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
        return {**asdict(replace(self, how=Superimposing())), "how": self.how.poses}


# --- what is pasted in ---


def gather(run: Run, split: BoxSplit, question: TipQuestion) -> list[Laid]:
    """Describe the crops and the fakes of the classes that the boxes have, and keep their manifests; cut none yet.

    Raises:
        DataFault: None is of such a class; a crop is an image that is evaluated here; a run learned from one.
        UsageFault: There is no such run.
    """
    crops = crops_for(run, split, question.threats, "--threats", "threats.csv")
    found = [Laid(CROPS, CROPS, crops, question.composites)]
    several = len(question.fakes)
    for k, name in enumerate(question.fakes):
        made = fakes_for(run, split, name, "--generated", f"{FAKES}-{k + 1}.csv")
        share = question.composites * (k + 1) // several - question.composites * k // several
        found.append(Laid(FAKES, f"{FAKES}-{k + 1}", made, share))
    run.record(threats={one.name: one.threats.split.summary()[TRAINING] for one in found})
    return found
