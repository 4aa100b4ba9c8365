"""Progress bar of a notebook: one line of text that is written over, for a notebook moves no cursor.

Jupyter heeds carriage returns and nothing else of a terminal, and rich's own support of it needs ipywidgets.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Self

PAUSE = 0.2  # seconds between two drawings: each is a message to the browser


def in_notebook() -> bool:
    """Whether stderr is the output of a notebook's cell."""
    return type(sys.stderr).__module__.partition(".")[0] == "ipykernel"


class NotebookBar:
    """Stands in for rich's `Progress` with one task; goes away when it stops."""

    def __init__(self) -> None:
        self._text, self._done = "", 0
        self._total: int | None = None
        self._length = 0  # of what is drawn
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; it is drawn once there is a text."""

    def stop(self) -> None:
        """Take the line away."""
        if self._length:
            sys.stderr.write(f"\r{'':{self._length}}\r")
            sys.stderr.flush()
            self._length = 0

    def add_task(self, text: str, total: int | None = None) -> int:
        """Take a text and how much there is to do."""
        self.reset(0, total=total, description=text)
        return 0

    def reset(self, _task: int, *, total: int | None, description: str) -> None:
        """Begin again."""
        self._text, self._total, self._done = description, total, 0
        if description:
            self._draw()

    def update(self, _task: int, *, completed: int, total: int | None = None) -> None:
        """Say how much is done."""
        self._done, self._total = completed, total or self._total
        if monotonic() - self._drawn >= PAUSE:
            self._draw()

    def _draw(self) -> None:
        of = "" if self._total is None else f" of {self._total}"
        line = f"{self._text} {self._done}{of}"
        sys.stderr.write(f"\r{line:{self._length}}")
        sys.stderr.flush()
        self._length, self._drawn = len(line), monotonic()
