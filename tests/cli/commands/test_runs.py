"""`tlkit runs`: every run of a folder, finished or not, with what it reached."""

from __future__ import annotations

import json
import sys

import pytest

from tlkit.core.run_folder import RunFolder

TEST = {"n": 40, "accuracy": 0.9, "intervals": {"accuracy": [0.8, 0.95]}}


@pytest.fixture
def runs(kitchen):
    """Runs of each kind and state, a day apart, and what is no run beside them."""
    root = kitchen / "saved_models"

    def finish(name, day, **card):
        begun = {"recipe": "fine-tune", "source": "photos/", "created": f"2026-11-{day:02}T10:11:12+00:00"}
        return RunFolder.start(root, name).finish(begun | card)

    def begin(name, day, **files):
        settings = {"tlkit": "0.1.0", "recipe": "small-cnn", "recipe_sha256": "", "working_folder": ".",
                    "created": f"2026-11-{day:02}T10:11:12+00:00", "options": {"source": "s/" + 40 * "x"}}  # fmt: skip
        folder = RunFolder.start(root, name)
        folder.write_json("options.json", settings)
        return folder

    finish("guns", 1, measures={"test": TEST})
    finish("bags", 2, measures={"test": {"AP50": 0.7, "AP": 0.4, "intervals": {"AP50": None}}})
    finish("fakes", 3, measures={"kid": {"value": 0.0361, "low": 0.02, "high": 0.05}})
    finish(
        "table",
        4,
        measures={"rows": [], "best": {"eta": 0.925, "accuracy": 0.5, "intervals": {"eta": [0.9, 1.0]}}},
    )
    finish("pictures", 5, source=None)
    begin("guns", 6)
    held = begin("busy", 7)
    held.lock()
    (begin("nan", 8).folder("checkpoints/head/replay") / "replay.json").write_text("{}")
    (finish("cut", 9) / "card.json").write_text("{")
    (begin("worn", 10).path / "options.json").write_text(json.dumps({"recipe": "x"}))
    (root / "notes" / "12").mkdir(parents=True)  # no run
    (root / "guns" / "3").write_text("no run either")
    yield root
    held.release()


EXPECTED = [  # the newest first; without a date last
    ("nan/unfinished-1", "not finite", None),
    ("busy/unfinished-1", "running" if sys.platform != "win32" else "unfinished", None),
    ("guns/unfinished-2", "unfinished", None),
    ("pictures/1", "finished", None),
    ("table/1", "finished", {"name": "eta", "value": 0.925, "low": 0.9, "high": 1.0}),
    ("fakes/1", "finished", {"name": "KID", "value": 0.0361, "low": 0.02, "high": 0.05}),
    ("bags/1", "finished", {"name": "AP50", "value": 0.7, "low": None, "high": None}),
    ("guns/1", "finished", {"name": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95}),
]


def test_every_run_with_its_state_and_its_measure(runs, tlkit_command):
    rows = tlkit_command("runs", "--json").json["runs"]
    assert [(row["run"], row["state"], row["measure"]) for row in rows[:8]] == EXPECTED
    assert {(row["run"], row["state"]) for row in rows[8:]} == {
        ("cut/1", "broken"),
        ("worn/unfinished-1", "broken"),
    }
    assert rows[7]["created"] == "2026-11-01T10:11:12+00:00"
    assert (rows[7]["recipe"], rows[7]["source"]) == ("fine-tune", "photos/")
    assert (rows[2]["recipe"], rows[2]["source"]) == ("small-cnn", "s/" + 40 * "x")
    assert rows[2]["path"] == "saved_models/guns/unfinished-2"


def test_the_table(runs, tlkit_command):
    lines = tlkit_command("runs").out.splitlines()
    assert lines[0].split("  ")[0] == "run"
    row = next(line for line in lines if line.startswith("guns/1 "))
    assert row.split() == [
        "guns/1", "finished", "2026-11-01", "10:11", "fine-tune", "photos/", "accuracy", "0.9000", "[0.8000,", "0.9500]",
    ]  # fmt: skip
    cut = next(line for line in lines if line.startswith("guns/unfinished-2"))
    assert " ..." + 21 * "x" + " " in cut


def test_listing_a_run_lets_it_go_on(runs, tlkit_command):
    tlkit_command("runs")
    folder = RunFolder.reopen(runs / "guns" / "unfinished-2")
    folder.lock()  # nobody holds it
    folder.release()


def test_no_runs_say_how_to_make_one(kitchen, tlkit_command):
    said = tlkit_command("runs")
    assert (said.code, said.out) == (0, "")
    assert said.err == "There are no runs in saved_models. Make one: tlkit run fine-tune xray:crops\n"
    assert tlkit_command("runs", "--json").json["runs"] == []
    assert "--runs nowhere is no folder." in tlkit_command("runs", "--runs", "nowhere").err


def test_runs_of_a_recipe_are_listed(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--runs", "here")
    tlkit_command("run", "toy", "photos", "--runs", "here", "--ending", "late")
    rows = tlkit_command("runs", "--runs", "here", "--json").json["runs"]
    assert {(row["run"], row["state"]) for row in rows} == {
        ("toy-photos/1", "finished"),
        ("toy-photos/unfinished-2", "unfinished"),
    }
    assert {row["source"] for row in rows} == {"photos"}
