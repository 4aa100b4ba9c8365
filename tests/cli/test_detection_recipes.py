"""The recipes that find things, run as a person runs them: tiny pictures, one epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, run_recipe


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
