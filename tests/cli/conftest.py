"""A folder with a recipe of one's own, and a way to run the command in it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from tlkit.cli.main import main

TOY = '''"""Count to a number, slowly.

    tlkit run toy photos/ --epochs 3
"""

import time
from pathlib import Path

import click

import tlkit


@tlkit.recipe(split=True)
@click.argument("source")
@click.option("--epochs", type=click.IntRange(min=1), default=3, help="How far to count.")
@click.option("--rates", nargs=2, type=float, default=(0.1, 0.2), help="Two rates.")
@click.option("--batch", type=int, default=32, help="Images a step.")
@click.option("--ending", default="good", help="How to end.")
def toy(run, source, epochs, rates, batch, ending):
    assert isinstance(rates, tuple)
    run.say(f"Counting {source} with {rates}, group {run.split.group}")
    run.record(seen=Path(source).is_dir(), classes=["a", "b"], measures={"test": {"n": 4, "accuracy": 0.75, "auc": float("nan")}})
    run.stop_if_dry({"images": 4})
    if ending == "early":
        raise tlkit.DataFault("photos/ has images but no class folders.", "Put each class in its own folder.")
    done = len(run.folder.metrics())
    run.table.start("head", epochs, 2)
    for epoch in range(done + 1, epochs + 1):
        run.table.step(1)
        run.folder.append_metrics({"phase": "head", "epoch": epoch, "seconds": 10.0})
        run.table.epoch("head", epoch, epochs, {"loss": 1 / epoch, "val_loss": 0.5}, epoch == 1, 0.25)
        if ending == "late" and not run.resumed:
            raise tlkit.RunFailed("The loss became NaN at step 3.", "Try a smaller --rates.")
        if ending == "bug" and not run.resumed:
            1 / 0
        if ending == "memory":
            raise MemoryError
        if ending == "interrupt" and not run.resumed:
            raise KeyboardInterrupt
        if ending == "sleep":
            (run.folder.path / "asleep").touch()
            time.sleep(60)
        if ending == "stuck":  # inside one C call, where Python cannot answer a signal
            import hashlib

            from tlkit.cli import interruption

            interruption.GRACE = 0.3
            (run.folder.path / "asleep").touch()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    (run.folder.path / "report.html").write_text("A report.")
    run.result({"accuracy": 0.75, "interval": [0.2, 1 / 3]})
'''


class Said(NamedTuple):
    """What a command line answered."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """The current folder, with the toy recipe in ./recipes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toy.py").write_text(TOY)
    return tmp_path


@pytest.fixture
def tlkit_command():
    """Run a command line in this process: tlkit_command("run", "toy", "photos") -> Said."""

    def call(*arguments: object) -> Said:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


def modules_after(*arguments: str) -> tuple[str, set[str]]:
    """What a command line prints in a process of its own, and the modules that it has imported by then."""
    program = (
        "import sys; from tlkit.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout, set(done.stderr.split())
