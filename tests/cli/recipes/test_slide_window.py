"""slide-window with a head of its own, run as a person runs it: refused, from images to a page, killed and gone on with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import run_recipe
from tests.cli.recipes.test_detection import check
from tests.cli.recipes.test_rcnn import same
from tests.tasks.detection.sliding_window.test_pooled import colour_maps
from tlkit.cli.main import main
from tlkit.tasks.detection.serving.saved_model import ServedDetector
from tlkit.tasks.detection.sliding_window import pooled, pooled_workflow
from tlkit.tasks.detection.sliding_window.pooled_rounds import Rounds

TINY = (
    "--size",
    96,
    "--weights",
    "none",
    "--shapes",
    4,
    "--rounds",
    1,
    "--head-steps",
    200,
    "--views",
    "turned",
)


@pytest.fixture
def tiny(monkeypatch):
    """Maps of colours, three channels each, and no timing of heads."""
    monkeypatch.setattr(pooled, "build_maps", colour_maps)
    monkeypatch.setattr(pooled.PooledLayout, "__init__", narrow(pooled.PooledLayout.__init__))
    monkeypatch.setattr(pooled_workflow, "seconds_a_head", lambda *_: 0.1)
    return monkeypatch


def narrow(begin):
    def narrowed(self, shapes, **how):
        begin(self, shapes, **{"channels": (3, 3), "hidden": 16, **how})

    return narrowed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--minutes", 5, "--training-images", 9), "--minutes does not go with --training-images"),
        (("--ratio", 1), "--ratio does not go without --classifier"),
        (("--negative", "other"), "--negative does not go without --classifier"),
        (("--classifier", "crops", "--rounds", 3), "--rounds does not go with --classifier"),
        (("--way", "crops"), "--way crops moves a finished classifier, and there is no --classifier"),
        (("--way", "pooled", "--classifier", "crops"), "--way pooled trains its own head"),
        (("--size", 100), "--size 100 does not suit pooled windows"),
    ],
)
def test_options_that_do_not_go_together_are_told(options, words, bags, tmp_path):
    refused = run_recipe("slide-window", bags, "--runs", tmp_path, *options, code=2)
    assert words in refused["error"]["problem"]
    assert refused["error"]["remedy"]


def labelled(folder, boxes, draw=lambda number: np.full((96, 96, 3), 90, np.uint8)):
    """Thirty images of 96 pixels, with boxes [(left, top, right, bottom, class)] of the number of each."""
    folder.mkdir()
    rows = [["image", "left", "top", "right", "bottom", "class"]]
    for number in range(30):
        name = f"{number:02}.png"
        Image.fromarray(draw(number)).save(folder / name)
        some = boxes(number)
        rows += [[name, *box] for box in some] or [[name, "", "", "", "", ""]]
    with (folder / "boxes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def distinct(number):
    """A grey image of its own grey."""
    return np.full((96, 96, 3), 60 + 3 * number, np.uint8)


def test_images_without_any_object_are_refused_before_a_network_is_built(tmp_path):
    source = labelled(tmp_path / "empty", lambda _number: [], distinct)
    refused = run_recipe("slide-window", source, "--runs", tmp_path / "runs", *TINY, code=3)
    assert "box" in refused["error"]["problem"]
    assert refused["error"]["remedy"]


@pytest.mark.slow
def test_objects_as_large_as_their_images_leave_nothing_to_tell(tiny, tmp_path):
    source = labelled(tmp_path / "whole", lambda _number: [(0, 0, 96, 96, "wall")], distinct)
    refused = run_recipe("slide-window", source, "--runs", tmp_path / "runs", *TINY, code=3)
    assert "no window beside their objects" in refused["error"]["problem"]


@pytest.mark.slow
def test_grey_images_and_a_class_without_objects_end_in_a_page(tiny, tmp_path):
    """All that can be learned is nothing; what matters is that it is said, and nothing is NaN."""

    def boxes(number):
        kind = "rare" if number == 0 else "wall"
        return [(10, 10, 40, 40, kind)] if number % 2 == 0 else []

    source = labelled(tmp_path / "grey", boxes, distinct)
    found = run_recipe("slide-window", source, "--runs", tmp_path / "runs", "--training-images", 15, *TINY)
    folder = Path(found["run"])
    card = json.loads((folder / "card.json").read_text())
    assert set(card["learning"]["classes"]) == {"rare", "wall"}
    assert all(np.isfinite(one["loss"]) for one in card["learning"]["rounds"])
    if not card["learning"]["classes"]["rare"]:
        assert "have no rare: none of them can be found" in (folder / "log.txt").read_text()


def test_a_dry_run_says_windows_time_and_what_makes_it_shorter(tiny, bags, tmp_path):
    dry = run_recipe("slide-window", bags, "--runs", tmp_path, *TINY, "--dry-run")
    windows = dry["model"]["windows"] if "windows" in dry.get("model", {}) else None
    assert "windows of an image took" in dry["time"]
    assert "18 training images gone through 2 times, then 12 images evaluated" in dry["time"]
    assert "--step make it shorter" in dry["time"]
    assert windows is None or windows["way"] == "pooled"


@pytest.mark.slow
def test_from_images_to_a_page_a_saved_model_and_predictions(tiny, bags, tmp_path):
    tiny.setattr(pooled_workflow, "seconds_an_image", lambda *_: 0.06)  # so that a minute has room for all
    found = run_recipe("slide-window", bags, "--runs", tmp_path / "runs", "--minutes", 1, *TINY)
    folder = Path(found["run"])
    (folder / "pictures" / "batch.png").write_bytes(b"-")  # no batch is learned
    check(found)
    card = json.loads((folder / "card.json").read_text())
    learning = card["learning"]
    assert (learning["training_images"], learning["of"], card["options"]["training_images"]) == (18, 18, 18)
    assert card["options"]["minutes"] is None
    assert [one["number"] for one in learning["rounds"]] == [0, 1]
    assert min(learning["classes"].values()) > 0
    assert card["model"]["windows"]["way"] == "pooled"
    assert card["model"]["windows"]["windows"] > 50
    assert {"slope", "offset", "detections"} <= set(card["calibration"])
    assert card["measures"]["test"]["AP50"] > 0.5
    log = (folder / "log.txt").read_text()
    assert (
        log.index("Time: about") < log.index("Round 0: ") < log.index("Round 1: ") < log.index("Threshold: ")
    )
    assert (folder / "detections.csv").stat().st_size > 0
    files = [str(bags / "01.png"), str(bags / "02.png")]
    assert [len(one.labels) > 0 for one in ServedDetector.load(folder).predict_files(files)] == [True, True]
    grey = tmp_path / "grey.png"
    Image.new("L", (500, 20), 128).save(grey)  # constant, and far wider than any window is high
    assert len(ServedDetector.load(folder).predict_files([str(grey)])) == 1
    said = CliRunner().invoke(main, ["export", str(folder), "--format", "onnx", "--json"])
    assert said.exit_code == 5
    assert "Windows pooled from levels" in said.stdout
    evaluated = CliRunner().invoke(main, ["evaluate", str(folder), str(bags), "--json"])
    measured = json.loads(evaluated.stdout)
    assert measured["AP50"] == pytest.approx(card["measures"]["test"]["AP50"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.onednn
def test_a_run_that_is_killed_goes_on_bit_for_bit_and_is_repeated_so(tiny, bags, tmp_path):
    options = (*TINY, "--minutes", 1)
    taught, calls = Rounds.taught, []
    tiny.setattr("tlkit.tasks.detection.sliding_window.pooled_rounds.BLOCK", 4)
    tiny.setattr(pooled_workflow, "seconds_an_image", lambda *_: 4.0)
    whole = Path(run_recipe("slide-window", bags, "--runs", tmp_path / "whole", *options)["run"])
    drawn = json.loads((whole / "card.json").read_text())["learning"]["training_images"]
    assert 10 <= drawn <= 13

    def stopping(self, *given):
        calls.append(1)
        if len(calls) == drawn + 6:  # in the second block of the round of false alarms
            raise KeyboardInterrupt
        return taught(self, *given)

    tiny.setattr(Rounds, "taught", stopping)
    run = ["run", "slide-window", str(bags), "--runs", str(tmp_path / "parts"), *map(str, options)]
    assert CliRunner().invoke(main, run).exit_code
    folder = next((tmp_path / "parts").glob("*/unfinished-*"))
    tiny.setattr(pooled_workflow, "seconds_an_image", lambda *_: 1 / 0)  # nothing is timed again
    resumed = CliRunner().invoke(main, ["resume", str(folder), "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    assert len(calls) == 2 * drawn + 2  # the first block of that round was kept: its second began anew
    parts = Path(json.loads(resumed.stdout)["run"])
    assert same(whole, parts)
    rows = [json.loads(line) for line in (parts / "metrics.jsonl").read_text().splitlines()]
    assert [(row["phase"], row["epoch"]) for row in rows] == [("windows", 1), ("windows", 2)]
    again = CliRunner().invoke(main, ["repeat", str(whole), "--json"])
    assert again.exit_code == 0, again.stderr + again.stdout
    seed = ("--training-images", drawn, "--seed", 1)
    other = run_recipe("slide-window", bags, "--runs", tmp_path / "seeds", *TINY, *seed)
    assert not same(whole, Path(other["run"]))
