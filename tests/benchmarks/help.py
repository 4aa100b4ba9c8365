"""Claim: `tlkit --help` takes at most 5 times as long as `python -c "import click"`.

python -m tests.benchmarks.help
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measuring import Comparison, in_turn, main, seconds

COMMANDS = {
    "click": [sys.executable, "-c", "import click"],
    "tlkit --help": [str(Path(sys.executable).with_name("tlkit")), "--help"],
    "tlkit run --help": [str(Path(sys.executable).with_name("tlkit")), "run", "--help"],
    "tlkit run fine-tune --help": [
        str(Path(sys.executable).with_name("tlkit")),
        "run",
        "fine-tune",
        "--help",
    ],
}


def measure(_source: str, pairs: int = 5) -> list[Comparison]:
    """Wall seconds of each command, each a process of its own; one round before, to fill the disk's cache."""

    def run(command: list[str]) -> float:
        return seconds(lambda: subprocess.run(command, check=True, capture_output=True))

    ways = {name: lambda command=command: run(command) for name, command in COMMANDS.items()}
    in_turn(ways, 1)
    values = in_turn(ways, pairs)
    click = values.pop("click")
    return [Comparison(f"{name} / import click", "s", click, ours, target=5) for name, ours in values.items()]


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=15)
