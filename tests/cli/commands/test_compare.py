"""`tlkit compare`: cards side by side, as text and as data."""

import csv
import io

import pytest

from tlkit.core.run_folder import RunFolder


@pytest.fixture
def cards(kitchen):
    def card(name, accuracy, **more):
        measures = {
            "n": 200,
            "accuracy": accuracy,
            "eta": 0.9,
            "auc": None,
            "ece": 0.01234,
            "intervals": {"accuracy": [accuracy - 0.02, accuracy + 0.01]},
        }
        RunFolder.start(kitchen / "saved_models", name).finish(
            {"recipe": "fine-tune", "source": "a|b/", "model": {"backbone": "xception"}, "seconds": 61.6,
             "measures": {"test": measures}, **more}
        )  # fmt: skip

    card("guns", 0.9)
    card("guns", 0.95)
    card("blades", 0.5, measures={}, model=None, recipe="dcgan", seconds=None)
    return kitchen


def test_the_table(cards, tlkit_command):
    said = tlkit_command("compare", "guns", "blades/1")
    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["run", "recipe", "source", "backbone", "n", "accuracy", "eta", "auc", "ece", "seconds"],
        ["guns/1", "fine-tune", "a|b/", "xception", "200", "0.9000", "[0.8800,", "0.9100]", "0.9000",
         "-", "0.0123", "62"],
        ["guns/2", "fine-tune", "a|b/", "xception", "200", "0.9500", "[0.9300,", "0.9600]", "0.9000",
         "-", "0.0123", "62"],
        ["blades/1", "dcgan", "a|b/", "-", "-", "-", "-", "-", "-", "-"],
    ]  # fmt: skip
    ends = {line.rindex("0.0123") for line in said.out.splitlines() if "0.0123" in line}
    assert len(ends) == 1  # columns stand under each other


def test_detectors_have_columns_of_their_own(cards, tlkit_command):
    measures = {"n": 40, "AP50": 0.75, "AP": 0.5, "intervals": {"AP50": [0.625, 0.875]}}
    entries = {"kind": "detector", "recipe": "detect-yolov8", "source": "bags/", "seconds": 9.0}
    model = {"backbone": "yolov8-xs"}
    RunFolder.start(cards / "saved_models", "found").finish(
        {**entries, "model": model, "measures": {"test": measures}}
    )
    assert [line.split() for line in tlkit_command("compare", "found").out.splitlines()] == [
        ["run", "recipe", "source", "backbone", "n", "seconds", "AP50", "AP"],
        [
            "found/1",
            "detect-yolov8",
            "bags/",
            "yolov8-xs",
            "40",
            "9",
            "0.7500",
            "[0.6250,",
            "0.8750]",
            "0.5000",
        ],
    ]
    both = tlkit_command("compare", "found", "guns/1").out.splitlines()
    assert both[0].split() == [
        "run", "recipe", "source", "backbone", "n", "accuracy", "eta", "auc", "ece", "seconds", "AP50", "AP",
    ]  # fmt: skip
    assert both[2].split()[-3:] == ["62", "-", "-"]
    row = tlkit_command("compare", "found", "--json").json["runs"][0]
    assert (row["low"], row["high"], row["AP50"], row["accuracy"]) == (0.625, 0.875, 0.75, None)


def test_a_run_named_twice_stands_once_and_order_is_as_asked(cards, tlkit_command):
    rows = tlkit_command("compare", "blades", "guns/2", "guns", "--json").json["runs"]
    assert [row["run"] for row in rows] == ["blades/1", "guns/2", "guns/1"]


def test_as_json_and_csv_nothing_is_rounded(cards, tlkit_command):
    row = tlkit_command("compare", "guns/1", "--json").json["runs"][0]
    assert row == {
        "run": "guns/1",
        "recipe": "fine-tune",
        "source": "a|b/",
        "backbone": "xception",
        "n": 200,
        "accuracy": 0.9,
        "eta": 0.9,
        "auc": None,
        "ece": 0.01234,
        "low": 0.88,
        "high": 0.91,
        "seconds": 61.6,
        "AP50": None,
        "AP": None,
        "path": "saved_models/guns/1",
    }
    table = list(csv.DictReader(io.StringIO(tlkit_command("compare", "guns", "blades", "--csv").out)))
    assert [r["run"] for r in table] == ["guns/1", "guns/2", "blades/1"]
    assert (table[0]["ece"], table[0]["auc"], table[0]["low"]) == ("0.01234", "", "0.88")


def test_as_markdown(cards, tlkit_command):
    lines = tlkit_command("compare", "guns/2", "--markdown").out.splitlines()
    assert lines[0] == "| run | recipe | source | backbone | n | accuracy | eta | auc | ece | seconds |"
    assert lines[1] == "| --- | --- | --- | --- | --: | --: | --: | --: | --: | --: |"
    cells = [r"a\|b/", "xception", "200", "0.9500 [0.9300, 0.9600]", "0.9000", "-", "0.0123", "62"]
    assert lines[2] == f"| guns/2 | fine-tune | {' | '.join(cells)} |"


def test_in_a_narrow_terminal_columns_are_left_out_and_named(cards, monkeypatch, capsys):
    from tlkit.cli.main import main

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for columns, header, absent in (
        (120, "run recipe source backbone n accuracy eta auc ece seconds", None),
        (80, "run recipe source backbone n accuracy eta auc", ["ece", "seconds"]),
    ):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit):
            main(["compare", "guns"])
        said = capsys.readouterr()
        assert said.out.splitlines()[0].split() == header.split()
        assert max(map(len, said.out.splitlines())) <= columns
        assert all(name in said.err for name in absent or ())
        assert bool(said.err) == bool(absent)


def test_csv_for_spreadsheets(kitchen, tlkit_command):
    (kitchen / "=photos").mkdir()
    tlkit_command("run", "toy", "=photos", "--name", "one", "--csv-safe")
    for options, source in (([], "=photos"), (["--csv-safe"], "'=photos")):
        (row,) = csv.DictReader(io.StringIO(tlkit_command("compare", "one", "--csv", *options).out))
        assert row["source"] == source
    said = tlkit_command("compare", "one", "--csv-safe")
    assert (said.code, said.err.splitlines()[0]) == (2, "Error: --csv-safe is for --csv.")
