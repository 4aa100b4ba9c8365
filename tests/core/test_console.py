"""The table of epochs: plain lines in a file, a bar under it on a terminal."""

import io
import json
import math
import sys

import pytest

from tlkit.cli.tables import show_csv, show_markdown, show_table
from tlkit.core.console import Console, TrainingTable, echo, echo_json, held, tell_escaped


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


# --- streams that cannot hold every name ---

NAMES = "caf\u00e9 \u732b \U0001f408 \udcff"  # of cp1252, of a wide script, an emoji, a byte that is no UTF-8
CELLS = {
    "ascii": b"caf\\xe9 \\u732b \\U0001f408 \\udcff",
    "cp1252": b"caf\xe9 \\u732b \\U0001f408 \\udcff",
    "utf-8": b"caf\xc3\xa9 \xe7\x8c\xab \xf0\x9f\x90\x88 \\udcff",
}
NOTES = {
    **{
        encoding: f"Note: the output is {encoding}, and what that cannot hold is written with backslash escapes. "
        "PYTHONUTF8=1 in the environment shows it.\n"
        for encoding in ("ascii", "cp1252")
    },
    "utf-8": "Note: bytes of names that are no UTF-8 are written with backslash escapes.\n",
}


@pytest.fixture(params=sorted(CELLS))
def narrow(request, monkeypatch):
    """An encoding, and a function that makes stdout one of it, in the test, and gives one that says what it got."""
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    monkeypatch.setattr(Console, "escaped", "")

    def begin():
        stream = io.TextIOWrapper(io.BytesIO(), encoding=request.param, newline="\n")
        monkeypatch.setattr(sys, "stdout", stream)

        def printed():
            stream.flush()
            return stream.buffer.getvalue()

        return printed

    return request.param, begin


def test_text_is_escaped_and_nothing_is_lost(narrow, capsys):
    encoding, begin = narrow
    printed = begin()
    echo(NAMES)
    show_csv(["path"], [[NAMES], [0.5]])
    show_markdown(["path"], [[NAMES]])
    cell = CELLS[encoding]
    assert printed() == b"%s\npath\n%s\n0.5\n| path |\n| --- |\n| %s |\n" % (cell, cell, cell)
    tell_escaped()
    tell_escaped()
    assert capsys.readouterr().err == NOTES[encoding]  # once


def test_a_table_of_escapes_is_still_aligned(narrow):
    encoding, begin = narrow
    printed = begin()
    show_table(["path", "n"], [[NAMES, 1], ["x", 22]])
    lines = printed().decode(encoding).splitlines()
    width = len(CELLS[encoding].decode(encoding))
    assert lines == [f"{'path':{width}}   n", f"{CELLS[encoding].decode(encoding)}   1", f"{'x':{width}}  22"]


def test_json_is_ascii_where_it_has_to_be_and_the_same_value(narrow, capsys):
    encoding, begin = narrow
    printed = begin()
    echo_json({NAMES: [NAMES, 1.5, None], "plain": "caf\u00e9"})
    assert json.loads(printed().decode(encoding)) == {NAMES: [NAMES, 1.5, None], "plain": "caf\u00e9"}
    assert printed().isascii()  # as there is a byte that even UTF-8 cannot hold
    echo_json({"caf\u00e9": "\U0001f408"})
    last = printed().splitlines()[-1]
    assert json.loads(last.decode(encoding)) == {"caf\u00e9": "\U0001f408"}
    assert last.isascii() == (encoding != "utf-8")
    tell_escaped()
    assert capsys.readouterr().err == ""  # JSON's escapes are the same text


def test_a_name_taken_for_ascii_is_written_as_its_bytes_spell_it(narrow):
    """As Python has names under LC_ALL=C without UTF-8 mode."""
    encoding, begin = narrow
    begin()
    taken = "caf\u00e9 \U0001f408".encode().decode("ascii", "surrogateescape")
    assert (
        held(taken)
        == {
            "ascii": "caf\\xe9 \\U0001f408",
            "cp1252": "caf\u00e9 \\U0001f408",
            "utf-8": "caf\u00e9 \U0001f408",
        }[encoding]
    )


def test_a_bar_and_what_is_said_in_cp1252(terminal, monkeypatch, tmp_path):
    class Narrow(io.TextIOWrapper):
        def isatty(self):
            return True

    terminal()
    stream = Narrow(io.BytesIO(), encoding="cp1252", errors="strict")
    monkeypatch.setattr(sys, "stderr", stream)
    console = Console()
    console.keep_log(tmp_path / "log.txt")
    with console.progress(f"reading {NAMES}", 2) as step:
        step(1)
        console.say(NAMES)
    console.close()
    stream.flush()
    assert CELLS["cp1252"] in stream.buffer.getvalue()
    assert b"\\u25" not in stream.buffer.getvalue()  # the bar itself is drawn in ASCII
    assert b"?" not in stream.buffer.getvalue().replace(b"\x1b[?25", b"")
    assert (tmp_path / "log.txt").read_bytes().splitlines()[0] == CELLS["utf-8"]
