"""Threats pasted into training images while a detector learns (`--paste`): what they are, and what does it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING
from tlkit.tasks.compositing.settings import CompositeSettings
from tlkit.tasks.compositing.threats import Threats, gather_threats, maker_of

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.compositing.online import ThreatProjection

MANIFEST = "tip.csv"
SPARE = 2.0  # threats are kept at this many times the longest side that they are pasted in with


@dataclass(frozen=True)
class Tip:
    """Threats that are pasted in while a detector learns.

    Attributes:
        run: Of the recipe.
        split: What is learned.
        settings: How they are pasted in.
        threats: Not yet cut out.
    """

    run: Run
    split: BoxSplit
    settings: CompositeSettings
    threats: Threats

    def change(self, size: int) -> ThreatProjection:
        """Cut the threats out and make the change for images in squares of `size` pixels.

        Raises:
            DataFault: A class has no crop that shows a threat.
        """
        from tlkit.data.boxes.lazy_images import Backgrounds
        from tlkit.tasks.compositing.colour import palette
        from tlkit.tasks.compositing.online import ThreatProjection

        settings, threats = self.settings, self.threats
        longest = math.ceil(SPARE * size * max(settings.sides_of(name)[1] for name in threats.classes))
        crops = threats.cut(self.run, TRAINING, largest=longest)
        training = Backgrounds(self.split.take(TRAINING))
        return ThreatProjection(
            crops,
            replace(settings, empty=0.0),
            self.split.images.class_names,
            palette(training) if settings.tint == "bags" else None,
        )


def load_threats(run: Run, split: BoxSplit, settings: CompositeSettings) -> Tip | None:
    """Describe the threats that are pasted in, keep their manifest as `tip.csv`, and say how; None where there are none.

    Raises:
        DataFault: None is of a class that has boxes, or one is, or was learned from, an image that is evaluated here.
        UsageFault: There is no such source or run.
    """
    if settings.source is None:
        return None
    made = maker_of(settings.source, Path(run.options["runs"])) is not None
    threats = gather_threats(run, split, settings.source, "--paste", MANIFEST, settings.only, made=made)
    least, most = settings.per_bag
    run.say(
        f"While it learns, {least} to {most} of them are pasted into {settings.share:.0%} of the training images, "
        "other ones at every step."
    )
    crops = threats.split.summary()[TRAINING]
    facts = {"share": settings.share, **settings.poses}
    run.record(tip={"source": settings.source, "crops": crops["per_class"], **facts})
    return Tip(run, split, settings, threats)
