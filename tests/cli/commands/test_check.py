"""`tlkit check`: a table for people, all of it for programs, a list to work through, and the exit code."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil

import pytest
from PIL import Image

from tests.cli.conftest import modules_after
from tests.conftest import draw
from tlkit.errors import DataFault


@pytest.fixture
def photos(make_folder):
    return make_folder("photos", bar=12, disc=12)


@pytest.fixture
def faulty(photos):
    """Two errors of one kind, one of another, and two warnings."""
    for name in ("bar/0.png", "disc/1.png"):
        (photos / name).write_bytes(b"")
    shutil.copy(photos / "bar/2.png", photos / "disc/copy.png")
    draw(0, 500).convert("P").save(photos / "bar/few.png")
    draw(0, 501).save(photos / "bar/two words.png")
    return photos


def test_nothing_found_is_said_and_good(photos, tlkit_command):
    said = tlkit_command("check", photos)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{photos}: 24 images (12 bar, 12 disc)\nNothing found.\n"


def test_people_see_a_table_and_what_to_do(faulty, tlkit_command):
    said = tlkit_command("check", faulty)
    assert said.code == 3
    head, rest = said.out.split("\n\n", 1)
    table, advice, total = rest.split("\n\n")
    assert head == f"{faulty}: 27 images (14 bar, 13 disc)"
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["severity", "kind", "found", "files", "what", "for", "example"]
    assert [row[:4] for row in rows[1:]] == [
        ["error", "zero-byte", "2", "2"],
        ["error", "copy-across-classes", "1", "2"],
        ["warning", "palette", "1", "1"],
        ["warning", "blank-name", "1", "1"],
    ]
    assert "bar/0.png, disc/1.png" in table
    assert "zero-byte: bar/0.png is empty (0 bytes). Get the file again" in advice.splitlines()[0]
    assert total == "3 errors, 2 warnings.\n"


def test_programs_get_everything(faulty, tlkit_command):
    said = tlkit_command("check", faulty, "--json")
    assert said.code == 3
    found = said.json
    assert found["schema_version"] == 1
    assert (found["form"], found["images"], found["errors"], found["warnings"]) == ("classes", 27, 3, 2)
    assert found["classes"] == {"bar": 14, "disc": 13}
    assert found["kinds"][0] == {"kind": "zero-byte", "severity": "error", "count": 2}
    assert found["error"]["code"] == 3
    assert found["error"]["problem"] == f"{faulty} has 3 errors."
    assert len(found["findings"]) == 5
    assert found["findings"][2] == {
        "kind": "copy-across-classes",
        "severity": "error",
        "paths": ["bar/2.png", "disc/copy.png"],
        "sentence": "bar/2.png and disc/copy.png are the same file with two labels: bar and disc.",
        "remedy": "Keep it in the right class.",
    }


def test_warnings_change_no_exit_code(photos, tlkit_command):
    draw(0, 500).convert("P").save(photos / "bar/few.png")
    said = tlkit_command("check", photos, "--json")
    assert said.code == 0
    assert said.json["warnings"] == 1
    assert "error" not in said.json


def test_the_fix_list_has_a_line_for_each_file(faulty, tmp_path, tlkit_command):
    file = tmp_path / "look.csv"
    assert tlkit_command("check", faulty, "--fix-list", file).code == 3
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["path"], row["kind"], row["severity"]) for row in rows] == [
        ("bar/0.png", "zero-byte", "error"),
        ("disc/1.png", "zero-byte", "error"),
        ("bar/2.png", "copy-across-classes", "error"),
        ("disc/copy.png", "copy-across-classes", "error"),
        ("bar/few.png", "palette", "warning"),
        ("bar/two words.png", "blank-name", "warning"),
    ]
    assert all(row["remedy"] for row in rows)


def test_a_fix_list_that_cannot_be_written_is_a_usage_fault(photos, tmp_path, tlkit_command):
    said = tlkit_command("check", photos, "--fix-list", tmp_path / "no" / "look.csv")
    assert said.code == 2
    assert "cannot be written" in said.err


def test_hostile_names_neither_break_the_output_nor_reach_the_terminal(photos, tmp_path, tlkit_command):
    for name in (b"caf\xe9.png", b"\x1b[2Jred.png", "\u202egpj.png".encode()):
        draw(1, len(name)).save(photos / "bar" / os.fsdecode(name), format="PNG")
    file = tmp_path / "look.csv"
    for options in ([], ["--json"]):
        said = tlkit_command("check", photos, "--fix-list", file, *options)
        assert said.code == 3
        assert "\x1b" not in said.out
        assert "\u202e" not in said.out
    assert said.json["findings"][0]["paths"] == ["bar/caf\\xe9.png"]
    assert "bar/caf\\xe9.png,undecodable-name,error" in file.read_text(encoding="utf-8")


def test_a_group_that_is_given_explains_its_copies(photos, tlkit_command):
    for number in range(3):
        image = draw(0, 600 + number).resize((10, 10)).resize((80, 80))
        image.save(photos / f"bar/B1_{number}.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / f"bar/UB1_{number}.png")
    said = tlkit_command("check", photos)
    assert said.code == 0
    assert "turned-copy      3      6" in said.out
    assert r"--group '.*?(\d+_\d+)|.+' does so for 3 of 3 families." in said.out.replace("\n  ", " ")
    assert "Nothing found." in tlkit_command("check", photos, "--group", r"(\d+_\d+|\w+/\d+)").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 3, ("nowhere does not exist", "SOURCE")),
        (["xray:boats"], 2, ("xray:boats is unknown",)),
        (["photos", "--group", "B("], 2, ("no regular expression",)),
        (["photos", "--group", "B7"], 3, ("does not match bar/0.png",)),
        (["photos", "--run", "none"], 2, ("There is no run 'none'",)),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
def test_what_cannot_be_checked_is_one_sentence(
    arguments, code, words, as_json, photos, monkeypatch, tlkit_command
):
    monkeypatch.chdir(photos.parent)
    said = tlkit_command("check", *arguments, *(["--json"] if as_json else []))
    assert said.code == code
    text = json.dumps(said.json["error"]) if as_json else said.err
    assert all(word in text for word in words)


def test_a_run_names_likely_label_errors_and_its_parts(finished, tmp_path, tlkit_command):
    """One label of the run's test part is changed by moving the file: the run's answer speaks against it."""
    source = tmp_path / "shapes"
    shutil.copytree(finished.source, source)
    with (finished.run / "predictions.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] != "training"]
    right = next(row for row in rows if row["predicted"] == row["label"])
    others = sorted({row["label"] for row in rows} - {right["label"]})
    moved = f"{others[0]}/moved.png"
    (source / right["path"]).rename(source / moved)
    said = tlkit_command("check", source, "--run", finished.run, "--json")
    assert said.code == 0
    assert said.json["judged"] == len(rows)
    assert set(said.json["parts"]) == {"training", "validation", "test"}
    assert moved in {path for f in said.json["findings"] if f["kind"] == "label-error" for path in f["paths"]}
    said = tlkit_command("check", source, "--run", finished.run)
    assert f"told from {len(rows)} images that the run has not trained on" in said.out


def test_no_tensorflow_and_nothing_else_slow(photos):
    said, modules = modules_after("check", str(photos))
    assert "Nothing found." in said
    assert {"tensorflow", "keras", "sklearn", "skimage", "scipy", "matplotlib"} & modules == set()


def test_an_unprepared_set_names_a_command_that_has_the_option(tmp_path, monkeypatch, tlkit_command):
    """The remedy of `check`, which has no --download, is a whole command; here a set that is there by then."""
    from tlkit.data.images.readers import tfds as catalogue

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    said = tlkit_command("check", "tfds:no_such_set")
    assert said.code == 3
    command = re.search(r"tlkit (run fine-tune tfds:no_such_set --download)", said.err)[1]
    asked = []

    def downloaded(name):
        asked.append(name)
        raise DataFault(f"tfds:{name} could not be downloaded.", "")

    monkeypatch.setattr(catalogue, "_downloaded", downloaded)
    tlkit_command(*command.split(), "--runs", tmp_path / "runs")
    assert asked == ["no_such_set"]


def test_detectors_say_that_they_do_not_download(tmp_path, tlkit_command):
    said = tlkit_command("run", "detect-yolov8", tmp_path, "--download", "--runs", tmp_path / "runs")
    assert (said.code, "--download does not apply to images with boxes" in said.err) == (2, True)


def test_a_fix_list_for_spreadsheets(kitchen, tlkit_command):
    for kind in ("=bar", "disc"):
        (kitchen / "photos" / kind).mkdir(parents=True)
        Image.new("L", (40, 40)).save(kitchen / "photos" / kind / "0.png")
    said = tlkit_command("check", "photos", "--csv-safe")
    assert (said.code, said.err.splitlines()[0]) == (2, "Error: --csv-safe is for --fix-list.")
    for file, options, start in (("a.csv", [], "=bar"), ("b.csv", ["--csv-safe"], "'=bar")):
        tlkit_command("check", "photos", "--fix-list", file, *options)
        with (kitchen / file).open(encoding="utf-8") as stream:
            found = [row["path"] for row in csv.DictReader(stream) if "bar" in row["path"]]
        assert found
        assert all(path.startswith(start) for path in found)
