"""Comparison of detectors: which are trained and for how long, which join, and what answers for each of them.

Free of TensorFlow and NumPy, so that options can name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare-detectors` compares.

    Attributes:
        detectors: Those that are trained, each for `minutes`; may be none.
        minutes: Of learning.
        added: Finished runs of detectors, or of this recipe, as a person names them; their rows join.
        own: By detector, options of its recipe alone, as words.
        images: In the row of pictures.
    """

    detectors: tuple[str, ...]
    minutes: float
    added: tuple[str, ...] = ()
    own: Mapping[str, tuple[str, ...]]
    images: int = 3


class Outcome(NamedTuple):
    """How a command in a process of its own has ended.

    Attributes:
        answer: What it printed with --json; empty where it failed.
        fault: Why it failed, in a sentence or two; empty where it did not.
    """

    answer: dict[str, Any]
    fault: str = ""


class Commands(Protocol):
    """What runs and asks detectors; `cli/own_process.py` does so in a process for each."""

    def refused(self, detector: str) -> str:
        """Why a detector's recipe cannot be trained for so long, in a sentence; "" where it can."""

    def check(self, detector: str) -> Outcome:
        """A dry run of its recipe."""

    def start(self, detector: str, name: str) -> Outcome:
        """Train it as a run of this name."""

    def resume(self, path: Path) -> Outcome:
        """Go on with its unfinished run."""

    def time(self, run: Path, files: Sequence[Path]) -> Outcome:
        """Ask a finished run about images, one at a time: "milliseconds" of the answer is what one took."""

    def draw(self, runs: Sequence[Path], source: str, images: int, file: Path) -> Outcome:
        """Draw what several runs find on the same images."""
