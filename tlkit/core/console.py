"""Console: what a command prints, on stdout and stderr, in any encoding; a run's log.txt keeps a copy of what is said.

A stream in cp1252 or ASCII cannot hold every name: such characters are written as backslash escapes, in JSON as JSON's
own, and never as "?". rich is imported when a progress bar is first drawn, so that help and lists stay quick.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from tlkit.core.notebook_bar import NotebookBar, in_notebook

Step = Callable[[int], None]

_ROW = "{:<8} {:>7}  {:>10}  {:>8}  {:>{}}  {:^4}  {:>7}"
_SHORT = {"accuracy": "acc"}  # the seed's own word


def _put(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write a text on stdout, or on stderr, where there is one."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None:
        stream.write(f"{text}\n" if nl else text)
        stream.flush()


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text on stdout, or on stderr; what that cannot hold is escaped."""
    _put(held(text, err=err), err=err, nl=nl)


def echo_json(value: Any) -> None:
    """Print one line of JSON on stdout, all of it in ASCII where the stream cannot hold it otherwise."""
    text = spelled(json.dumps(value, ensure_ascii=False))
    if not _holds(sys.stdout, text):
        text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    _put(text)


def held(text: str, *, err: bool = False) -> str:
    r"""The text as stdout, or stderr, can hold it: other characters as \xe9, \u732b or \U0001f408.

    A byte of a file's name that is no UTF-8 is \udc80 to \udcff, as Python has it.
    """
    stream = sys.stderr if err else sys.stdout
    if _holds(stream, text):
        return text
    text, encoding = spelled(text), _encoding(stream)
    if not _holds(stream, text):
        Console.escaped = encoding
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def spelled(text: str) -> str:
    """The text with names as their bytes spell them in UTF-8, where Python took them for another encoding."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, such as JSON's escapes can make
        return text


def tell_escaped() -> None:
    """Say in one line that names were escaped since the last call, and what shows them."""
    encoding, Console.escaped = Console.escaped, ""
    if not encoding:
        return
    if encoding == "utf-8":
        Console().say("Note: bytes of names that are no UTF-8 are written with backslash escapes.")
        return
    without = " without PYTHONIOENCODING" if "PYTHONIOENCODING" in os.environ else ""
    Console().say(
        f"Note: the output is {encoding}, and what that cannot hold is written with backslash escapes. "
        f"PYTHONUTF8=1{without} in the environment shows it."
    )


def _encoding(stream: TextIO | None) -> str:
    stream = getattr(stream, "rich_proxied_file", stream)  # while a bar runs, rich stands before stderr
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name


def _holds(stream: TextIO | None, text: str) -> bool:
    try:
        text.encode(_encoding(stream))
    except UnicodeEncodeError:
        return False
    return True


class Console:
    """Speaks on stderr; after `keep_log` everything said is in a file too.

    Attributes:
        quiet: Whether only faults are shown, in all of this process.
        escaped: The encoding that could not hold all that was printed, until `tell_escaped` has said so.
    """

    quiet = False
    escaped = ""

    def __init__(self) -> None:
        self._log: TextIO | None = None
        self._bar: NotebookBar | None = None

    def keep_log(self, path: Path) -> None:
        """Append everything that is said from now on to a file."""
        self.close()
        self._log = path.open("a", encoding="utf-8", errors="backslashreplace")

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
        if self._bar:
            self._bar.stop()  # until its next step
        if "rich" in self.__dict__:
            self.rich.print(held(text, err=True), markup=False, soft_wrap=True)
        else:
            echo(text, err=True)

    def log(self, text: str) -> None:
        """Only log it."""
        if self._log:
            with suppress(OSError):
                self._log.write(spelled(text) + "\n")
                self._log.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches stderr, and wants bars."""
        return not self.quiet and sys.stderr is not None and sys.stderr.isatty()

    @property
    def shows_bars(self) -> bool:
        """Whether a person watches stderr, on a terminal or in a notebook."""
        return self.is_terminal or (not self.quiet and in_notebook())

    @cached_property
    def rich(self) -> Any:
        """The rich console on stderr that a progress bar and `say` share."""
        from rich.console import Console as RichConsole

        return RichConsole(file=sys.stderr, highlight=False)  # of which it then knows the encoding

    @contextmanager
    def progress(self, text: str, total: int) -> Iterator[Step]:
        """A bar on a terminal or in a notebook, nothing elsewhere; yields a function of how much is done."""
        if not self.shows_bars:
            yield lambda _done: None
            return
        with self.bars() as bars:
            bar = bars.add_task(held(text, err=True), total=total)
            yield lambda done: bars.update(bar, completed=done)

    def bars(self) -> Any:
        """A rich Progress, in a notebook what stands in for it, that vanishes when it stops and leaves stdout alone."""
        if in_notebook():
            self._bar = NotebookBar()
            return self._bar
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
        found = (logs.get(key) for key in ("loss", "val_loss", f"val_{self.measure}"))
        values = ["-" if value is None else f"{float(value):.4f}" for value in found]
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
        if not self._console.shows_bars or epoch > self._epochs:
            self.close()
            return
        if not self._bars:
            self._bars = self._console.bars()
            self._bars.start()
            self._bar = self._bars.add_task("", total=self._steps)
        self._bars.reset(self._bar, total=self._steps, description=f"{self._phase} {epoch}/{self._epochs}")
