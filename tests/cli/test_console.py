"""The table of epochs: plain lines in a file, a bar under it on a terminal."""

import io
import math
import sys

import pytest

from tlkit.cli.console import Console, TrainingTable


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes stderr a terminal, in the test and not before it: pytest changes stderr in between."""

    def watch():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return watch


def train(console):
    table = TrainingTable(console)
    table.start("head", 2, 10)
    table.step(5)
    table.epoch(
        "head", 1, 2, {"loss": 0.69314, "val_loss": 0.5, "val_accuracy": 0.875}, best=True, seconds=1.25
    )
    table.step(3, 12)
    table.epoch("head", 2, 2, {"loss": math.nan, "val_loss": None}, best=False, seconds=100)
    table.start("all", 1)
    table.epoch("all", 1, 1, {"loss": 0.25, "val_loss": 0.25, "val_accuracy": 1.0}, best=True, seconds=0.04)
    table.close()


ROWS = [
    "phase      epoch  train-loss  val-loss  val-acc  best  time[s]",
    "head         1/2      0.6931    0.5000   0.8750   *        1.2",
    "head         2/2         nan         -        -          100.0",
    "all          1/1      0.2500    0.2500   1.0000   *        0.0",
]


def test_the_seed_s_columns():
    assert ROWS[0].split() == ["phase", "epoch", "train-loss", "val-loss", "val-acc", "best", "time[s]"]


def test_the_heading_follows_the_measure(capsys):
    table = TrainingTable(Console())
    table.measure = "AP50"
    table.start("all", 2)
    logs = {"loss": 3.0, "val_loss": 2.5, "val_AP50": 0.125, "val_accuracy": 0.75}
    table.epoch("all", 1, 2, logs, best=True, seconds=9)
    assert capsys.readouterr().err.splitlines() == [
        "phase      epoch  train-loss  val-loss  val-AP50  best  time[s]",
        "all          1/2      3.0000    2.5000    0.1250   *        9.0",
    ]


def test_plain_lines_where_nobody_watches(capsys, tmp_path):
    console = Console()
    console.keep_log(tmp_path / "log.txt")
    train(console)
    console.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ROWS
    assert (tmp_path / "log.txt").read_text().splitlines() == ROWS


def test_a_bar_on_a_terminal_that_vanishes(terminal, tmp_path):
    screen, console = terminal(), Console()
    console.keep_log(tmp_path / "log.txt")
    train(console)
    console.say("Test: [accuracy] 1.0")  # brackets are text, not markup
    console.close()
    said = screen.getvalue()
    assert "head 1/2" in said
    assert "left" in said
    for row in [*ROWS, "Test: [accuracy] 1.0"]:
        assert row in said
    assert said.rfind("\x1b[2K") > said.rfind("left")  # the last bar was wiped away
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h")  # the cursor is given back
    assert (tmp_path / "log.txt").read_text().splitlines() == [*ROWS, "Test: [accuracy] 1.0"]


def test_no_color_is_respected(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal()
    train(Console())
    assert "\x1b[3" not in screen.getvalue()  # no colours; moving the cursor is allowed


def test_colours_otherwise(terminal):
    screen = terminal()
    train(Console())
    assert "\x1b[3" in screen.getvalue()


def test_progress_moves_on_a_terminal_only(terminal):
    screen = terminal()
    with Console().progress("judging", 4) as step:
        step(3)
    assert "judging" in screen.getvalue()
    assert "3/4" in screen.getvalue()


def test_progress_is_silent_elsewhere(capsys):
    with Console().progress("judging", 4) as step:
        step(3)
    assert capsys.readouterr() == ("", "")
