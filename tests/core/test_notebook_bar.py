"""Progress in a notebook: a line that is written over, and no trace of it between the rows."""

import io
import sys

from tlkit.core import notebook_bar
from tlkit.core.console import Console, TrainingTable


class OutStream(io.StringIO):
    """Its class says that it is ipykernel's, as the stderr of a cell is."""

    __module__ = "ipykernel.iostream"


def test_rows_stand_alone_and_the_bar_is_written_over(monkeypatch):
    monkeypatch.setattr(sys, "stderr", OutStream())
    monkeypatch.setattr(notebook_bar, "PAUSE", 0)
    table = TrainingTable(Console())
    table.start("head", 2, 5)
    table.step(5)
    table.epoch("head", 1, 2, {"loss": 0.5}, best=True, seconds=1.0)
    table.epoch("head", 2, 2, {"loss": 0.4}, best=False, seconds=1.0)
    table.close()
    text = sys.stderr.getvalue()
    assert "\rhead 1/2 0 of 5\rhead 1/2 5 of 5\r               \rhead" in text
    lines = [line.rpartition("\r")[2] for line in text.split("\n")]
    assert [line.split()[:2] for line in lines if line] == [
        ["phase", "epoch"],
        ["head", "1/2"],
        ["head", "2/2"],
    ]
    assert text.endswith("\n")


def test_a_shorter_text_leaves_nothing_of_a_longer_one(monkeypatch):
    monkeypatch.setattr(sys, "stderr", OutStream())
    with Console().bars() as bar:
        bar.add_task("a long text", total=3)
        bar.reset(0, total=3, description="short")
    assert sys.stderr.getvalue() == "\ra long text 0 of 3\rshort 0 of 3      \r            \r"


def test_elsewhere_there_is_no_bar(capsys):
    with Console().progress("reading", 3) as step:
        step(1)
    assert capsys.readouterr().err == ""
