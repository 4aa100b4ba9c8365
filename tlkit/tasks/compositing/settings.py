"""Settings of composites: which threats are pasted into X-ray images, how many, how large, how thick, and into which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.data.images.sources import PARTS, TRAINING
from tlkit.errors import UsageFault

SHARE = 0.5  # of the training images of a detector, where nothing else is said
SIDES: dict[str, tuple[float, float]] = {  # longer side as a share of the bag's, where nothing else is said
    "blade": (0.06, 0.14),
    "gun": (0.18, 0.4),
    "knife": (0.18, 0.45),
    "shuriken": (0.1, 0.22),
}
ANY_SIDE = (0.08, 0.3)
CLUTTER = ("others", "simulated", "both")


@dataclass(frozen=True)
class CompositeSettings:
    """How composites are made, beforehand or while a detector learns.

    Attributes:
        per_bag: Least and most threats in one; 0 gives bags as they are.
        sides: Least and largest longer side, as a share of the bag's; None: as usual for each class.
        thickness: Least and most k of T**k.
        i0: Grey level of the free beam in bags, 0..1; None estimates it in each.
        tint: "bags": in coloured bags threats take the colours of its metal; "none": they are grey.
        classes: Of the threats; none: all but `negative`.
        negative: Class of harmless things, which is never pasted into a bag.
        part: "training", "validation", "test" or "all": whose threats and bags are used.
        copies: Composites of each bag.
        count: Composites in all, instead.
        empty: Share of them that are left as they are; while a detector learns, none of `share`.
        only_empty_bags: Leave bags out that have boxes.
        bag_group: As --group, for the bags.
        bag_split: As --split, for the bags.
        source: Of what is pasted while a detector learns, clean crops or a finished run that made some, as typed; None:
            nothing is.
        only: Regular expression on the paths of those crops.
        share: Of the images that it is pasted into while a detector learns.

    Raises:
        UsageFault: A range that is none.
    """

    per_bag: tuple[int, int] = (1, 2)
    sides: tuple[float, float] | None = None
    thickness: tuple[float, float] = (0.8, 1.25)
    i0: float | None = None
    tint: str = "bags"
    classes: tuple[str, ...] = ()
    negative: str = "other"
    part: str = TRAINING
    copies: int = 1
    count: int | None = None
    empty: float = 0.3
    only_empty_bags: bool = False
    bag_group: str | None = None
    bag_split: Path | None = None
    source: str | None = None
    only: str | None = None
    share: float = SHARE

    def __post_init__(self) -> None:
        if not 0 <= self.per_bag[0] <= self.per_bag[1]:
            raise UsageFault(
                f"Composites with {self.per_bag[0]} to {self.per_bag[1]} threats each cannot be made."
            )
        if not 0 < self.thickness[0] <= self.thickness[1]:
            raise UsageFault(
                f"A thickness from {self.thickness[0]:g} to {self.thickness[1]:g} is no range above 0."
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are made."""
        return PARTS if self.part == "all" else (self.part,)

    @property
    def poses(self) -> dict[str, Any]:
        """What threats look like in a composite, for the card of a run that makes no composites of its own."""
        return {name: getattr(self, name) for name in ("per_bag", "sides", "thickness", "i0", "tint")}

    def sides_of(self, name: str) -> tuple[float, float]:
        """Least and largest longer side of a class's threats, as a share of the bag's; upper and lower case aside."""
        return self.sides or SIDES.get(name.casefold(), ANY_SIDE)


@dataclass(frozen=True)
class ClutterSettings:
    """How clean crops are set into clutter.

    Attributes:
        copies: Composites of each threat. A crop that shows nothing before its background gives none.
        negatives: Threat-free composites, as a multiple of the number of crops of other matter (of the threats'
            composites where there are none).
        size: Longer side of the images, pixels.
        clutter: "others", "simulated" or "both".
        negative: Class of the harmless things.
        validation: Whether the validation part is used too, for composites to choose by.

    Raises:
        UsageFault: An unknown kind of clutter, a number below 0, or images too small.
    """

    copies: int = 4
    negatives: float = 2.0
    size: int = 256
    clutter: str = "both"
    negative: str = "other"
    validation: bool = False

    def __post_init__(self) -> None:
        if self.clutter not in CLUTTER:
            raise UsageFault(f"{self.clutter} is no kind of clutter.", f"There are: {', '.join(CLUTTER)}.")
        if self.copies < 0 or self.negatives < 0:
            raise UsageFault(
                f"{self.copies} copies and {self.negatives:g} negatives: neither may be below 0."
            )
        if self.size < 32:
            raise UsageFault(f"Composites of {self.size} px are too small.", "Take 32 px or more.")
