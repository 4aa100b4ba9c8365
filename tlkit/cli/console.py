"""The voice of the command: people read stderr, a run's log.txt keeps a copy, and nothing here is data.

rich is imported when a progress bar is first drawn, so that help and lists stay quick.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import click

Step = Callable[[int], None]

_ROW = "{:<8} {:>7}  {:>10}  {:>8}  {:>{}}  {:^4}  {:>7}"
_SHORT = {"accuracy": "acc"}  # the seed's own word


class Console:
    """Speaks on stderr; after `keep_log` everything said is in a file too.

    Attributes:
        quiet: Whether only faults are shown, in all of this process.
    """

    quiet = False

    def __init__(self) -> None:
        self._log: TextIO | None = None

    def keep_log(self, path: Path) -> None:
        """Append everything that is said from now on to a file."""
        self.close()
        self._log = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """End the log."""
        if self._log:
            with suppress(OSError):  # a full disk: what was said stands on stderr too
                self._log.close()
            self._log = None

    def say(self, text: str) -> None:
        """Show a line (or more), above the progress bar if there is one, and log it."""
        self.log(text)
        if self.quiet:
            return
        if "rich" in self.__dict__:
            self.rich.print(text, markup=False, soft_wrap=True)
        else:
            click.echo(text, err=True)

    def log(self, text: str) -> None:
        """Only log it."""
        if self._log:
            with suppress(OSError):
                self._log.write(text + "\n")
                self._log.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches stderr, and wants bars."""
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()

    @cached_property
    def rich(self) -> Any:
        """The rich console on stderr that a progress bar and `say` share."""
        from rich.console import Console as RichConsole

        return RichConsole(stderr=True, highlight=False)

    @contextmanager
    def progress(self, text: str, total: int) -> Iterator[Step]:
        """A bar with time left on a terminal, nothing elsewhere; yields a function of how much is done."""
        if not self.is_terminal:
            yield lambda _done: None
            return
        with self.bars() as bars:
            bar = bars.add_task(text, total=total)
            yield lambda done: bars.update(bar, completed=done)

    def bars(self) -> Any:
        """A rich Progress that vanishes when it stops and leaves stdout alone."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.rich,
            transient=True,
            redirect_stdout=False,
        )


class TrainingTable:
    """The table of epochs: one row each, the best so far marked, a bar for the epoch that runs.

    The columns are those of the course's own training loop: phase, epoch, training loss, validation loss,
    the measure on validation, best, seconds.

    Attributes:
        measure: By which epochs are told apart, as in the logs behind "val_"; it heads its column.
    """

    measure = "accuracy"

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Any = None
        self._bar: Any = None
        self._headed = False
        self._phase = ""
        self._steps: int | None = None

    def start(self, phase: str, epochs: int, steps: int | None = None) -> None:
        """Begin a phase.

        Args:
            phase: Its name, such as "head".
            epochs: How many epochs it may take.
            steps: Batches in an epoch, if known.
        """
        if not self._headed:
            self._say("phase", "epoch", "train-loss", "val-loss", self._heading, "best", "time[s]")
            self._headed = True
        self._phase, self._epochs, self._steps = phase, epochs, steps
        self._show_bar(1)

    def step(self, done: int, total: int | None = None) -> None:
        """Move the bar: `done` batches of the epoch that runs."""
        if self._bars:
            self._bars.update(self._bar, completed=done, total=total or self._steps)

    def epoch(
        self, phase: str, epoch: int, epochs: int, logs: dict[str, Any], best: bool, seconds: float
    ) -> None:
        """Add a row.

        Args:
            phase: The phase's name.
            epoch: Which epoch has ended, from 1.
            epochs: How many the phase may take.
            logs: Keras logs: `loss`, `val_loss` and "val_" with the measure; what is missing stays "-".
            best: Whether this is the best epoch so far.
            seconds: What it took.
        """
        values = [_figure(logs.get(key)) for key in ("loss", "val_loss", f"val_{self.measure}")]
        self._say(phase, f"{epoch}/{epochs}", *values, "*" if best else "", f"{seconds:.1f}")
        self._show_bar(epoch + 1)

    def close(self) -> None:
        """Take the bar away; the rows stay."""
        if self._bars:
            self._bars.stop()
            self._bars = self._bar = None

    @property
    def _heading(self) -> str:
        return f"val-{_SHORT.get(self.measure, self.measure)}"

    def _say(self, *cells: str) -> None:
        *before, best, seconds = cells
        self._console.say(_ROW.format(*before, len(self._heading), best, seconds).rstrip())

    def _show_bar(self, epoch: int) -> None:
        if not self._console.is_terminal or epoch > self._epochs:
            self.close()
            return
        if not self._bars:
            self._bars = self._console.bars()
            self._bars.start()
            self._bar = self._bars.add_task("", total=self._steps)
        self._bars.reset(self._bar, total=self._steps, description=f"{self._phase} {epoch}/{self._epochs}")


def _figure(value: Any) -> str:
    """Four decimals; "-" for what was not measured."""
    if value is None or not math.isfinite(float(value)):
        return "-" if value is None else str(float(value))
    return f"{float(value):.4f}"
