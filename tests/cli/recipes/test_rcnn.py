"""detect-rcnn, run as a person runs it: what is refused at once, and from images to a page, killed and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.cli.conftest import run_recipe
from tests.cli.recipes.test_detection import check
from tests.tasks.detection.rcnn.test_rcnn import tiny_features
from tlkit.cli.main import main
from tlkit.errors import UsageFault
from tlkit.tasks.detection.build import load_detector
from tlkit.tasks.detection.rcnn import rcnn, rcnn_workflow
from tlkit.tasks.detection.rcnn.rcnn_features import RegionFeatures
from tlkit.tasks.detection.serving.saved_model import ServedDetector

TINY = ("--image-size", 96, "--crop-side", 32, "--weights", "none", "--regions", 20)


def test_two_lengths_are_one_too_many(bags, tmp_path):
    refused = run_recipe(
        "detect-rcnn", bags, "--runs", tmp_path, "--minutes", 5, "--training-images", 9, code=2
    )
    assert "--minutes does not go with --training-images" in refused["error"]["problem"]


def test_without_opencv_the_extra_is_named_before_anything_is_built(bags, tmp_path, monkeypatch):
    def absent():
        raise UsageFault("Selective Search needs OpenCV.", 'pip install "tlkit[proposals]"')

    monkeypatch.setattr("tlkit.data.boxes.proposals.check_installed", absent)
    refused = run_recipe("detect-rcnn", bags, "--runs", tmp_path, code=2)
    assert "tlkit[proposals]" in refused["error"]["remedy"]


@pytest.fixture
def tiny(monkeypatch):
    pytest.importorskip("cv2", reason="Selective Search needs the extra proposals")
    monkeypatch.setattr(rcnn, "build_features", tiny_features)
    return monkeypatch


@pytest.mark.slow
def test_from_images_to_a_page_a_saved_model_and_predictions(tiny, bags, tmp_path):
    tiny.setattr(rcnn_workflow, "seconds_an_image", lambda *_: 0.06)  # so that a minute has room for all
    found = run_recipe("detect-rcnn", bags, "--runs", tmp_path / "runs", "--minutes", 1, *TINY)
    folder = Path(found["run"])
    for name in ("pictures/batch.png",):  # no batch is learned
        (folder / name).write_bytes(b"-")
    check(found)
    card = json.loads((folder / "card.json").read_text())
    learning = card["learning"]
    assert (learning["training_images"], learning["of"], card["options"]["training_images"]) == (18, 18, 18)
    assert card["options"]["minutes"] is None
    assert 0 < learning["share_on_objects"] <= 0.5
    assert set(learning["classes"]) == {"gun", "knife"}
    assert card["measures"]["test"]["AP50"] > 0.5
    assert card["measures"]["test"]["proposals"]["recall"] > 0.5
    assert card["milliseconds"]["answer"] > 0
    assert "ecall of the proposals" in (folder / "report.html").read_text()
    assert "Learned: " in (folder / "log.txt").read_text()
    served = ServedDetector.load(folder).predict_files([str(bags / "01.png"), str(bags / "02.png")])
    assert [len(one.labels) > 0 for one in served] == [True, True]
    grey = tmp_path / "grey.png"
    from PIL import Image

    Image.new("L", (50, 40), 128).save(grey)  # grey and constant: the proposals are one box, or none
    assert len(ServedDetector.load(folder).predict_files([str(grey)])) == 1
    said = CliRunner().invoke(main, ["export", str(folder), "--format", "onnx", "--json"])
    assert said.exit_code == 5
    assert "proposals" in said.stdout


@pytest.mark.slow
@pytest.mark.onednn
def test_a_run_that_is_killed_goes_on_bit_for_bit_and_is_repeated_so(tiny, bags, tmp_path):
    options = (*TINY, "--minutes", 1)
    compute, calls = RegionFeatures.__call__, []
    tiny.setattr(rcnn_workflow, "seconds_an_image", lambda *_: 4.0)
    tiny.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    whole = Path(run_recipe("detect-rcnn", bags, "--runs", tmp_path / "whole", *options)["run"])
    drawn = json.loads((whole / "card.json").read_text())["learning"]["training_images"]
    assert 10 <= drawn <= 13

    def stopping(self, *given):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return compute(self, *given)

    tiny.setattr(RegionFeatures, "__call__", stopping)
    tiny.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    run = ["run", "detect-rcnn", str(bags), "--runs", str(tmp_path / "parts"), *map(str, options)]
    assert CliRunner().invoke(main, run).exit_code
    folder = next((tmp_path / "parts").glob("*/unfinished-*"))
    tiny.setattr(rcnn_workflow, "seconds_an_image", lambda *_: 1 / 0)  # nothing is timed again
    resumed = CliRunner().invoke(main, ["resume", str(folder), "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    parts = Path(json.loads(resumed.stdout)["run"])
    assert "computed now" in (parts / "log.txt").read_text()
    assert same(whole, parts)
    again = CliRunner().invoke(main, ["repeat", str(whole), "--json"])
    assert again.exit_code == 0, again.stderr + again.stdout
    other = run_recipe(
        "detect-rcnn", bags, "--runs", tmp_path / "seeds", *TINY, "--training-images", drawn, "--seed", 1
    )
    assert not same(whole, Path(other["run"]))


def same(one, other):
    """Whether two runs have the same weights and detections, bit for bit."""
    first, second = (load_detector(run / "model.keras") for run in (one, other))
    pairs = zip(first.weights, second.weights, strict=True)
    return all(np.array_equal(x.numpy(), y.numpy()) for x, y in pairs)
