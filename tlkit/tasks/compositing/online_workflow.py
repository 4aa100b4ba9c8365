"""Threats pasted into training images while a detector learns (`--paste`): what they are, and what does it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING
from tlkit.errors import UsageFault
from tlkit.tasks.compositing.bag_writer import Superimposing, Threats
from tlkit.tasks.compositing.bags_workflow import cut

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.compositing.online import ThreatProjection

MANIFEST = "tip.csv"
SHARE = 0.5  # of the training images, where nothing else is said
SPARE = 2.0  # threats are kept at this many times the longest side that they are pasted in with


@dataclass(frozen=True)
class Projecting:
    """What is pasted into training images at every step.

    Attributes:
        threats: Source of clean crops, or a finished run that made some, as typed; None: nothing is.
        only: Regular expression on the crops' paths.
        share: Of the images.
        how: What threats look like in them; only its poses count.
    """

    threats: str | None = None
    only: str | None = None
    share: float = SHARE
    how: Superimposing = field(default_factory=Superimposing)

    def __post_init__(self) -> None:
        others = (self.only, self.share, self.how)
        if self.threats is None and others != (None, SHARE, Superimposing()):
            raise UsageFault(
                "Options of threats pasted in do nothing without --paste.",
                "Name clean crops with --paste, or leave them out.",
            )

    def facts(self) -> dict[str, Any]:
        """For the card."""
        return {"share": self.share, **self.how.poses}


class Tip:
    """Threats that are pasted in while a detector learns.

    Args:
        run: Of the recipe.
        split: What is learned.
        projecting: How they are pasted in.
        threats: Not yet cut out.
    """

    def __init__(self, run: Run, split: BoxSplit, projecting: Projecting, threats: Threats) -> None:
        self.run, self.split, self.projecting, self.threats = run, split, projecting, threats

    def change(self, size: int) -> ThreatProjection:
        """Cut the threats out and make the change for images in squares of `size` pixels.

        Raises:
            DataFault: A class has no crop that shows a threat.
        """
        from tlkit.data.boxes.lazy_images import Backgrounds
        from tlkit.tasks.compositing.colour import palette
        from tlkit.tasks.compositing.composites import sides_of, wish_for
        from tlkit.tasks.compositing.online import ThreatProjection

        how = self.projecting.how
        sides = {name: how.sides or sides_of(name) for name in self.threats.classes}
        longest = math.ceil(SPARE * size * max(most for _, most in sides.values()))
        crops = {name: cut(self.run, self.threats.split, TRAINING, name, longest) for name in sides}
        held = {name: [crop.held for crop in some] for name, some in crops.items()}
        tinted = how.tint == "bags"
        return ThreatProjection(
            wish_for(held, per_bag=how.per_bag, sides=sides, thickness=how.thickness),
            self.split.boxes.class_names,
            self.projecting.share,
            i0=how.i0,
            colours=palette(Backgrounds(self.split.take(TRAINING))) if tinted else None,
        )


def load_threats(run: Run, split: BoxSplit, projecting: Projecting) -> Tip | None:
    """Describe the threats that are pasted in, keep their manifest as `tip.csv`, and say how; None where there are none.

    Raises:
        DataFault: None is of a class that has boxes, or one is, or was learned from, an image that is evaluated here.
        UsageFault: There is no such source or run.
    """
    from tlkit.tasks.compositing.threats import threats_for

    if projecting.threats is None:
        return None
    threats = threats_for(run, split, projecting.threats, "--paste", MANIFEST, projecting.only)
    least, most = projecting.how.per_bag
    run.say(
        f"While it learns, {least} to {most} of them are pasted into {projecting.share:.0%} of the training images, "
        "other ones at every step."
    )
    crops = threats.split.summary()[TRAINING]
    run.record(tip={"source": projecting.threats, "crops": crops["per_class"], **projecting.facts()})
    return Tip(run, split, projecting, threats)
