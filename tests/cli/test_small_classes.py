"""--small-classes from the command line: said, kept for resume and repeat, and held to by evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.core.run_folder import read_card

CNN = ("--epochs", 1, "--image-size", 16)


def write_patches(root, counts, size=16):
    """Class folders of patches, each a colour of its class under noise."""
    generator = np.random.default_rng(0)
    for name, number in counts.items():
        (root / name).mkdir(parents=True)
        tone = generator.integers(40, 216, (4, 4, 3)).repeat(size // 4, axis=0).repeat(size // 4, axis=1)
        for i in range(number):
            pixels = tone + generator.integers(-40, 40, (size, size, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def photos(tmp_path):
    return write_patches(tmp_path / "photos", {"bar": 6, "disc": 6, "frame": 2, "nail": 1})


def test_a_refusal_names_an_option_that_works(photos, tmp_path, tlkit_command):
    words = (
        "run",
        "extract-features",
        photos,
        "--backbone",
        "intensity",
        "--runs",
        tmp_path / "runs",
        "--json",
    )
    refused = tlkit_command(*words)
    assert refused.code == 3
    assert "2 classes have too few groups of images" in refused.json["error"]["problem"]
    assert "--small-classes leave-out" in refused.json["error"]["remedy"]
    said = tlkit_command(*words, "--small-classes", "leave-out")
    assert (said.code, read_card(Path(said.json["run"]))["classes"]) == (0, ["bar", "disc"])
    assert "Warning: 3 images of 2 classes with too few groups of images were left out" in said.err
    unknown = tlkit_command(*words, "--small-classes", "drop")
    assert (unknown.code, unknown.json["error"]["code"]) == (2, 2)


def test_a_run_is_judged_on_its_source_with_what_it_left_out(finished, tmp_path, tlkit_command):
    source, run = tmp_path / "more", tmp_path / "runs" / "left" / "1"
    shutil.copytree(finished.source, source)
    write_patches(source, {"nail": 2})
    shutil.copytree(finished.run, run)
    refused = tlkit_command("evaluate", run, source, "--json")
    assert "Class nail of" in refused.json["error"]["problem"]
    card = json.loads((run / "card.json").read_text())
    card["data"]["small_classes"] = {
        "how": "leave-out",
        "into": None,
        "classes": {"nail": {"images": 2, "groups": 2}},
    }
    (run / "card.json").write_text(json.dumps(card))
    answer = tlkit_command("evaluate", run, source, "--json").json
    assert answer["n"] == card["measures"]["test"]["n"]
    assert answer["small_classes"]["sentence"].startswith("2 images of 1 class with too few groups")


@pytest.mark.slow
def test_folded_classes_are_learned_repeated_and_judged_as_one(photos, tmp_path, tlkit_command):
    words = ("run", "small-cnn", photos, *CNN, "--name", "cnn", "--runs", tmp_path / "runs")
    assert tlkit_command(*words, "--small-classes", "fold").code == 0
    run = tmp_path / "runs" / "cnn" / "1"
    card = read_card(run)
    assert card["classes"] == ["bar", "disc", "other"]
    assert card["options"]["small_classes"] == "fold"
    assert set(card["data"]["small_classes"]["classes"]) == {"frame", "nail"}
    assert "are now of class other" in (run / "report.html").read_text()
    repeated = tlkit_command("repeat", run, "--discard", "--runs", tmp_path / "runs")
    assert repeated.code == 0, repeated.err
    answer = tlkit_command("evaluate", run, photos, "--json").json
    assert answer["confusion"] == card["measures"]["test"]["confusion"]
    assert answer["per_class"]["other"]["support"] == 1


@pytest.mark.slow
def test_two_thousand_classes_from_end_to_end(tmp_path, tlkit_command):
    counts = {f"class_{k:04d}": 2 if k < 3 else 6 for k in range(2000)}
    photos = write_patches(tmp_path / "photos", counts, 32)
    words = ("run", "small-cnn", photos, "--epochs", 2, "--name", "many", "--runs", tmp_path / "runs")
    said = tlkit_command(*words, "--small-classes", "leave-out")
    assert said.code == 0, said.err
    assert max(map(len, said.err.splitlines())) < 400
    run = tmp_path / "runs" / "many" / "1"
    assert (run / "card.json").stat().st_size < 5_000_000
    assert (run / "predictions.csv").stat().st_size < 5_000_000
    assert (run / "report.html").stat().st_size < 8_000_000
    shown = tlkit_command("evaluate", run, photos)
    assert "--json has all." in shown.err
    assert len(shown.out.splitlines()) < 60
    answer = tlkit_command("evaluate", run, photos, "--json").json
    test = read_card(run)["measures"]["test"]
    assert answer["confusion_cells"] == test["confusion_cells"]
    assert len(answer["per_class"]) == 1997
