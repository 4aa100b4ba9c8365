"""The recipes that find things, run as a person runs them: tiny pictures, one epoch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, run_recipe, tiny_backbone
from tlkit.models.anchors import Anchors


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["detect-retinanet", "detect-yolov8"])
def test_a_backbone_of_the_table_too(recipe, bags, tmp_path):
    check(run_recipe(recipe, bags, "--runs", tmp_path, "--epochs", 0, 1, *SMALL))


def test_a_finished_detector_keeps_every_promise(finished_detector):
    check(finished_detector)


def check(found):
    folder = Path(found["run"])
    for name in ("saved_model.pb", "model.keras", "recipe.py", "options.json", "card.json", "metrics.jsonl", "log.txt",
                 "report.html", "split.csv", "pictures/batch.png", "pictures/found.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / "checkpoints").exists()
    card = json.loads((folder / "card.json").read_text())
    assert card["kind"] == "detector"
    assert card["classes"] == ["gun", "knife"]
    assert card["measures"]["test"]["n"] == 6
    assert card["parity"]["largest_difference"] <= card["parity"]["tolerance"]
    assert found["n"] == 6


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--epochs", 0, 0, *SMALL), 2, "--epochs leaves every phase out"),
        (("--more", "gan"), 2, "There is no run 'gan' in"),
        (("--skip-bad",), 2, "--skip-bad does not apply to pictures with boxes"),
    ],
)
def test_what_does_not_fit_is_told(options, code, words, bags, tmp_path):
    refused = run_recipe("detect-retinanet", bags, "--runs", tmp_path, *options, code=code)
    assert words in refused["error"]["problem"]


def test_a_detector_starts_from_another(finished_detector, bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    run = Path(finished_detector["run"])
    options = (bags, "--runs", tmp_path, "--start", run, *SMALL)
    plan = run_recipe("detect-retinanet", *options, "--dry-run")
    origin = plan["model"]["weights"]
    assert origin["source"].endswith("with its gun, knife")
    assert origin["sha256"] == hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    its = json.loads((run / "card.json").read_text())["model"]["anchors"]
    assert plan["model"]["anchors"] == its  # proposed there, and not the usual ones
    assert its["base"] != Anchors().base
    refused = run_recipe("detect-retinanet", *options, "--propose-anchors", code=2)["error"]
    assert "--propose-anchors does not go with --start" in refused["problem"]
    refused = run_recipe("detect-retinanet", *options, "--seed", 1, code=3)["error"]
    assert "learned from" in refused["problem"]
    assert f"--split {run / 'split.csv'}" in refused["remedy"]
