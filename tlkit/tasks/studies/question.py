"""Question of a study: at which numbers of real images, with which arms, and how often."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "nothing"  # the arm to which nothing is added


@dataclass(frozen=True, kw_only=True)
class Question:
    """What every study asks.

    Attributes:
        numbers: Of real images.
        arms: What is added; "nothing" is always among them.
        repeats: Each with other real images.
    """

    numbers: tuple[int, ...]
    arms: tuple[str, ...]
    repeats: int

    @property
    def every_arm(self) -> tuple[str, ...]:
        """The arms, "nothing" first."""
        return tuple(dict.fromkeys((NOTHING, *self.arms)))
