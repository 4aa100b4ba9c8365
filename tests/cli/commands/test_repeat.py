"""`tlkit repeat`: same seed, same bits; and a difference is named."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.cli.recipes.test_synthesis import EVALUATED, TINY, threats  # noqa: F401 (a fixture)
from tests.cli.test_kill_points import NET, RECIPES, shapes  # noqa: F401 (a fixture)
from tlkit.core.device import computes_with_onednn
from tlkit.core.environment import DECODING
from tlkit.core.run_diff import (
    Distance,
    compared,
    data_difference,
    distances,
    first_difference,
    timeless,
    weights_of,
)
from tlkit.core.run_folder import read_card


def test_the_same_run_again_is_the_same(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--epochs", "2", "--group", "(x)")
    said = tlkit_command("repeat", "toy-photos", "--json")
    assert said.code == 0
    runs = kitchen / "saved_models" / "toy-photos"
    assert said.json["status"] == "same"
    assert said.json["repeat"] == (runs / "2").resolve().as_posix()
    assert said.json["notes"] == []
    assert {"card.json", "metrics.jsonl"} <= set(said.json["files"])
    options = [json.loads((runs / n / "options.json").read_text())["options"] for n in "12"]
    assert options[0] == options[1]
    said = tlkit_command("repeat", "toy-photos/1", "--discard")
    assert said.code == 0
    assert said.out.splitlines()[0].endswith("files, bit for bit")
    assert sorted(path.name for path in runs.iterdir()) == ["1", "2"]


def test_a_difference_is_named_and_the_repeat_stays(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--epochs", "2")
    run = kitchen / "saved_models" / "toy-photos" / "1"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[1]["loss"] = 0.5
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = tlkit_command("repeat", "toy-photos", "--discard", "--json")
    assert said.code == 1
    problem = said.json["error"]["problem"]
    assert "are not the same: metrics.jsonl, line 2: loss is 0.5 against None." in problem
    assert (run.parent / "2" / "card.json").is_file()


@pytest.fixture
def counted(kitchen, tlkit_command):
    """A run of the toy, and a way to change its card and the second row of its metrics."""
    tlkit_command("run", "toy", "photos", "--epochs", "2")
    run = kitchen / "saved_models" / "toy-photos" / "1"

    def change(**entries):
        (run / "card.json").write_text(json.dumps({**read_card(run), **entries}))
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rows[1]["epoch"] = 2.5
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    return change


def test_a_machine_that_computes_otherwise_is_no_difference_of_the_run(counted, tlkit_command):
    now = computes_with_onednn()
    counted(environment={"onednn": not now, "keras": "2.0", "decoding": DECODING})
    said = tlkit_command("repeat", "toy-photos/1", "--discard", "--json")
    assert said.code == 0
    assert said.json["status"] == "computed otherwise"
    words = ("on", "off") if not now else ("off", "on")
    assert said.json["otherwise"] == ["onednn was {} and is {}.".format(*words)]
    assert len(said.json["notes"]) == 2
    first = "metrics.jsonl, line 2: epoch is 2.5 against 2."
    assert said.json["differences"] == [
        {"file": "metrics.jsonl", "first": first, "numbers": 2, "differ": 1, "largest": 0.5}
    ]
    assert Path(said.json["repeat"], "card.json").is_file()
    said = tlkit_command("repeat", "toy-photos/1")
    assert said.code == 0
    assert said.out.startswith(
        f"computed otherwise: {'onednn was {} and is {}.'.format(*words)} The same bits are"
    )
    assert first in said.out


def test_other_data_and_an_unknown_setting_excuse_nothing(counted, tlkit_command):
    counted(environment={"onednn": not computes_with_onednn(), "decoding": DECODING}, classes=["a", "c"])
    said = tlkit_command("repeat", "toy-photos/1")
    assert said.code == 1
    assert "are not the same" in said.err
    counted(environment={"onednn": "default", "decoding": DECODING}, classes=["a", "b"])
    said = tlkit_command("repeat", "toy-photos/1")
    assert said.code == 1
    assert "Note: " not in said.err
    assert "Report it: on a CPU this is a fault." in said.err


def test_a_run_whose_files_were_decoded_otherwise_is_told_of(counted, tlkit_command):
    counted(environment={"keras": "2.0"})
    said = tlkit_command("repeat", "toy-photos/1")
    assert "Note: The version of tlkit's decoder (which pixels a file gives) was 1 and is 2." in said.err


def test_a_run_computed_in_two_settings_is_told_of(counted, tlkit_command):
    counted(environment={"changes": ["threads was 2 and is 4."]})
    said = tlkit_command("repeat", "toy-photos/1", "--json")
    assert said.json["status"] == "computed otherwise"
    assert said.json["otherwise"] == ["the run was resumed, and by then threads was 2 and is 4."]


def test_a_recipe_that_has_changed_since_is_said(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos")
    recipe = kitchen / "recipes" / "toy.py"
    recipe.write_text(recipe.read_text().replace('"Counting', '"Now counting'))
    said = tlkit_command("repeat", "toy-photos")
    assert said.code == 0
    assert "Note: the recipe toy has changed since; the run's own copy is used." in said.err
    assert "Now counting" not in said.err
    copy = kitchen / "saved_models" / "toy-photos" / "1" / "recipe.py"
    copy.write_text(copy.read_text() + "\n")
    said = tlkit_command("repeat", "toy-photos/1")
    assert said.code == 2
    assert "is not the recipe that the run was started with" in said.err


def test_a_repeat_that_fails_is_told_like_any_run(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos")
    options = kitchen / "saved_models" / "toy-photos" / "1" / "options.json"
    settings = json.loads(options.read_text())
    settings["options"]["ending"] = "early"
    options.write_text(json.dumps(settings))
    said = tlkit_command("repeat", "toy-photos", "--json")
    assert said.code == 3
    assert said.json["error"]["problem"] == "photos/ has images but no class folders."


@pytest.mark.slow  # by default tests/cli/test_kill_points.py compares two runs of this network
def test_a_network_repeats_and_what_was_different_is_said_before(shapes, tmp_path, tlkit_command):  # noqa: F811
    """Versions of another day are said; the weights of another run are not the same."""
    name, *options = RECIPES["cnn"]
    words = ["run", name, shapes, *options[2:], "--epochs", 2, "--name", "cnn", "--runs", tmp_path]
    assert tlkit_command(*words).code == 0
    card = read_card(tmp_path / "cnn" / "1")
    assert {"python", "numpy", "tensorflow", "keras", "tlkit", "device", "processor", "threads", "pools", "onednn",
            "deterministic", "seeded"} <= set(card["environment"])  # fmt: skip
    assert card["environment"]["deterministic"] is True
    assert len(card["data"]["split_sha256"]) == 64
    card["environment"]["keras"] = "2.0"
    (tmp_path / "cnn" / "1" / "card.json").write_text(json.dumps(card))
    said = tlkit_command("repeat", "cnn/1", "--runs", tmp_path, "--json")
    assert said.code == 0, said.err
    assert "Note: keras was 2.0 and is 3." in said.err
    assert {"model.keras", "last.keras", "predictions.csv", "split.csv"} <= set(said.json["files"])


def keras_file(file, kernel):
    """A `.keras` file with one layer's weights."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as content:
        content["layers/dense/vars/0"] = np.array(kernel, np.float32)
        content["optimizer/vars/0"] = np.random.default_rng().normal()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", str(file))
        archive.writestr("model.weights.h5", stored.getvalue())
    return file


def test_weights_are_compared_bit_for_bit(tmp_path):
    files = [keras_file(tmp_path / f"{n}.keras", [1.0, 2.0]) for n in "12"]
    assert weights_of(files[0])["layers/dense/vars/0"].tolist() == [1, 2]
    runs = [tmp_path / "a", tmp_path / "b"]
    for run, kernel in zip(
        runs, ([1.0, 2.0], [1.0, np.nextafter(np.float32(2), np.float32(3))]), strict=True
    ):
        run.mkdir()
        keras_file(run / "model.keras", kernel)
    wanted = "model.keras, layers/dense/vars/0 differs in 1 of 2 values, by up to 2.4e-07."
    assert first_difference(*runs) == wanted
    assert distances(*runs) == [Distance("model.keras", wanted, 2, 1, 2.0**-22)]
    keras_file(runs[1] / "model.keras", [1.0, 2.0])
    assert first_difference(*runs) is None


BACKBONE = ("--image-size", 64, *NET[:4])
# What is run -> its options, its source, and a file that holds what it came to.
REPEATS = {
    **{name: (words, "shapes", "model.keras") for name, words in RECIPES.items() if name != "cnn"},
    "detector": (RECIPES["detector"], "bags", "model.keras"),
    "yolov8": (("detect-yolov8", "--epochs", 1, 2, "--image-size", 64, *NET), "bags", "model.keras"),
    "stylegan": (("synthesize-stylegan", "--class", "disc", *TINY, *EVALUATED), "shapes", "model.keras"),
    "features": (("extract-features", *BACKBONE), "shapes", "features.npy"),
    "heads": (("fit-head", "--heads", "knn3,mlp", "--folds", 3, *BACKBONE), "shapes", "model.keras"),
    "crops": (("composite-crops", "--copies", 2, "--size", 64), "threats", "composites.csv"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REPEATS)
def test_every_kind_of_recipe_repeats_itself(kind, request, tmp_path, tlkit_command, monkeypatch):
    (name, *options), source, file = REPEATS[kind]
    monkeypatch.setattr("tlkit.tasks.synthesis.evaluate_workflow.SOUGHT", 2)
    words = (name, request.getfixturevalue(source), *options, "--name", "one", "--runs", tmp_path)
    said = tlkit_command("run", *words)
    assert said.code == 0, said.err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing is known from before
    said = tlkit_command("repeat", "one", "--runs", tmp_path, "--json")
    assert said.code == 0, said.out
    assert file in said.json["files"]


def test_files_are_compared_by_what_they_hold(tmp_path):
    runs = [tmp_path / "1", tmp_path / "2"]
    for number, run in enumerate(runs):
        (run / "pictures").mkdir(parents=True)
        (run / "pictures" / "curves.png").write_bytes(bytes([number]))  # drawn from the numbers
        (run / "log.txt").write_text(f"at {number}")
        (run / "metrics.jsonl").write_text(json.dumps({"loss": 1.0, "seconds": number}) + "\n")
        (run / "card.json").write_text(json.dumps({"number": number, "measures": {"test": {"n": [4, 5]}}}))
        (run / "index.csv").write_text("path\na\n")
        np.save(run / "features.npy", np.arange(4.0))
    assert first_difference(*runs) is None
    assert compared(*runs) == ["metrics.jsonl", "card.json", "features.npy", "index.csv"]
    (runs[1] / "extra.bin").write_bytes(b"1")
    assert first_difference(*runs) == f"extra.bin is in {runs[1]} only."
    (runs[0] / "extra.bin").write_bytes(b"2")
    assert first_difference(*runs) == "extra.bin differs."
    np.save(runs[1] / "features.npy", np.array([0, 1, 2.5, 3]))
    assert first_difference(*runs) in {"extra.bin differs."}
    (runs[0] / "extra.bin").write_bytes(b"1")
    assert first_difference(*runs) == "features.npy differs in 1 of 4 values, by up to 0.5."
    (runs[1] / "card.json").write_text(json.dumps({"measures": {"test": {"n": [4, 6]}}}))
    assert first_difference(*runs) == "card.json: measures.test.n[1] is 5 against 6."
    (runs[1] / "index.csv").write_text("path\nb\n")
    (runs[1] / "metrics.jsonl").write_text(json.dumps({"loss": 2.0}) + "\n")
    assert first_difference(*runs) == "metrics.jsonl, line 1: loss is 1.0 against 2.0."
    assert [(d.file, d.numbers, d.differ, d.largest) for d in distances(*runs)] == [
        ("metrics.jsonl", 1, 1, 1.0),  # seconds are left out
        ("card.json", 0, 0, None),  # one has a number more
        ("features.npy", 4, 1, 0.5),
        ("index.csv", 0, 0, None),  # no numbers
    ]
    assert timeless([{"seconds": 1, "a": {"images_per_second": 2, "b": 3}}]) == [{"a": {"b": 3}}]


def test_a_stored_option_that_is_not_known_is_said(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--epochs", "2")
    file = kitchen / "saved_models" / "toy-photos" / "1" / "options.json"
    settings = json.loads(file.read_text())
    settings["options"]["sparkle"] = [1, 2]
    file.write_text(json.dumps(settings))
    said = tlkit_command("repeat", "toy-photos", "--json")
    assert said.code == 0
    assert said.json["notes"] == [
        "the option sparkle of the run ([1, 2]) is none of this version, and is left out."
    ]
    assert said.json["notes"][0] in said.err


def test_what_cards_of_before_lack_tells_no_two_runs_apart(tmp_path):
    runs = [tmp_path / "1", tmp_path / "2"]

    def data_of(*drawn):
        for run, more in zip(runs, drawn, strict=True):
            run.mkdir(exist_ok=True)
            (run / "card.json").write_text(json.dumps({"data": {"parts": {}, **more}}))
        return data_difference(*runs)

    assert data_of({}, {"drawn": {"seed": 0}}) is None
    assert data_of({"drawn": {"seed": 0}}, {"drawn": {"seed": 0}}) is None
    assert (
        data_of({"drawn": {"seed": 1}}, {"drawn": {"seed": 0}})
        == "card.json: data.drawn.seed is 1 against 0."
    )
