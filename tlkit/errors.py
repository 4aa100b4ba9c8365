"""Everything that can go wrong and has a remedy.

TlkitError                    exit code
├── RunFailed                 1  the run broke: it diverged, a device is absent, memory ended
├── UsageFault                2  an option has a value that cannot be
├── DataFault                 3  missing, unreadable, leaking or unsuitable images
├── ModelFault                4  weights or a model that cannot be had or do not fit
└── ExportFault               5  the model cannot be written in the wanted format

Ctrl-C ends with 130. Any other exception is a bug of ours and shows its traceback.
"""

from __future__ import annotations

LONGEST = 1000  # characters of a line that a person is shown


def shortened(text: str) -> str:
    """The same without the middles of its overlong lines: a hostile file can hold a name of ten million characters."""
    half = LONGEST // 2
    lines = text.split("\n") if len(text) > LONGEST else [text]
    return "\n".join(line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}" for line in lines)


class TlkitError(Exception):
    """A fault that a person can mend: one sentence for the problem, one for the remedy.

    Args:
        problem: What is wrong, naming the thing as typed, the value received and the limit.
        remedy: What to do next; may be empty where the problem says it.
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = shortened(problem)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem


class RunFailed(TlkitError):
    """The run itself broke: it diverged, the device is absent, memory ended."""

    exit_code = 1


class UsageFault(TlkitError):
    """An option has a value that cannot be."""

    exit_code = 2


class DataFault(TlkitError):
    """Images or labels are missing, unreadable, leaking or unsuitable."""

    exit_code = 3


class ModelFault(TlkitError):
    """Weights or a model cannot be had or do not fit."""

    exit_code = 4


class ExportFault(TlkitError):
    """The model cannot be written in the wanted format."""

    exit_code = 5
