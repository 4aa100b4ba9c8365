"""The recipes on features, run as a person runs them, and `tlkit cache`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from tests.conftest import draw
from tlkit.cli.main import main


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("features") / "shapes"
    for label, kind in enumerate(("bar", "disc", "other")):
        (root / kind).mkdir(parents=True)
        for number in range(12):
            draw(label, number, 48).save(root / kind / f"{number}.png")
    return root


def call(*arguments: object, code: int = 0) -> dict:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.stderr + result.stdout
    return json.loads(result.stdout)


def run(recipe: str, source: Path, runs: Path, *options: object, code: int = 0) -> dict:
    return call("run", recipe, source, "--runs", runs, *options, code=code)


# --- extract-features ---


@pytest.fixture(scope="module")
def extracted(shapes, tmp_path_factory):
    runs = tmp_path_factory.mktemp("extracted")
    options = ["--image-size", 64, "--parquet", "--name", "f"]
    return [run("extract-features", shapes, runs, *options) for _ in range(2)]


def test_the_second_run_computes_nothing_and_gives_the_same(extracted):
    assert [found["computed"] for found in extracted] == [36, 0]
    first, second = (np.load(Path(found["run"]) / "features.npy", mmap_mode="r") for found in extracted)
    assert first.dtype == np.float32
    assert first.shape == (36, 1280)
    assert (first == second).all()


def test_the_index_names_the_rows(extracted, shapes):
    folder = Path(extracted[0]["run"])
    with (folder / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "label", "group", "part"]
    assert [row["path"] for row in rows] == sorted(str(p.relative_to(shapes)) for p in shapes.rglob("*.png"))
    assert {row["part"] for row in rows} == {"training", "validation", "test"}
    assert all(row["path"].startswith(row["label"] + "/") for row in rows)


def test_parquet_holds_the_same(extracted):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = Path(extracted[0]["run"])
    table = parquet.read_table(folder / "features.parquet")
    assert np.stack(table["features"].to_pylist()) == pytest.approx(np.load(folder / "features.npy"))
    assert table.num_rows == 36


def test_the_projector_has_points_names_and_images(extracted):
    from google.protobuf import text_format
    from PIL import Image
    from tensorboard.plugins.projector import ProjectorConfig

    folder = Path(extracted[0]["run"]) / "tensorboard"
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    entry = config.embeddings[0]
    assert np.loadtxt(folder / entry.tensor_path, delimiter="\t").shape == (36, 1280)
    assert len((folder / entry.metadata_path).read_text().splitlines()) == 37
    with Image.open(folder / entry.sprite.image_path) as sprite:
        assert sprite.size == (6 * 48, 6 * 48)


def test_an_inner_layer_and_the_list_of_layers(shapes, tmp_path):
    found = run(
        "extract-features", shapes, tmp_path, "--image-size", 64, "--layer", "block3b_add", "--name", "inner"
    )
    assert np.load(Path(found["run"]) / "features.npy").shape == (36, 40)
    layers = run("extract-features", shapes, tmp_path, "--image-size", 64, "--layers")["layers"]
    assert {"name": "block3b_add", "kind": "Add", "shape": "8x8x40"} in layers
    assert layers[-1]["name"] == "pooled"
    assert not (tmp_path / "extract-features-shapes").exists()


def test_a_layer_that_is_not_there_gets_the_nearest(shapes, tmp_path):
    error = run("extract-features", shapes, tmp_path, "--layer", "block3b_ad", code=2)["error"]
    assert "has no layer 'block3b_ad'" in error["problem"]
    assert "block3b_add" in error["remedy"]


def test_an_extractor_that_is_not_there_gets_the_nearest(shapes, tmp_path):
    error = run("extract-features", shapes, tmp_path, "--backbone", "mobilnet", code=2)["error"]
    assert "mobilenet" in error["problem"] + error["remedy"]


# --- fit-head ---


@pytest.fixture(scope="module")
def headed(shapes, tmp_path_factory):
    runs = tmp_path_factory.mktemp("headed")
    options = ["--image-size", 64, "--folds", 3, "--heads"]
    made = {}

    def make(name):
        if name not in made:
            made[name] = run("fit-head", shapes, runs, *options, name, "--name", name)
        return made[name]

    return make


# By default tests/tasks/classification/test_heads.py compares all others with scikit-learn, without the command line.
@pytest.mark.parametrize("head", ["knn3", pytest.param("svm-rbf", marks=pytest.mark.slow)])
def test_the_served_head_gives_scikit_learns_label_on_every_test_image(headed, head):
    folder = Path(headed(head)["run"])
    card = json.loads((folder / "card.json").read_text())
    agreed = card["scikit_learn"]
    assert agreed["same_label"] == agreed["images"] == card["measures"]["test"]["n"]
    assert agreed["largest_difference"] < 1e-4
    assert card["parity"]["largest_difference"] <= 1e-5
    assert card["model"]["head"] == head
    assert not list(folder.rglob("*.pkl"))
    page = (folder / "report.html").read_text()
    assert f"scikit-learn's label on {agreed['images']} of {agreed['images']} test images" in page
    assert "Nothing was trained" not in page


def test_from_bytes_the_knn_model_answers_as_its_predictions_file(headed, shapes):
    folder = Path(headed("knn3")["run"])
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    with (folder / "predictions.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "test"]
    answer = serve(tf.constant([(shapes / row["path"]).read_bytes() for row in rows]))
    assert [label.decode() for label in answer["label"].numpy()] == [row["predicted"] for row in rows]


def test_a_class_with_fewer_members_than_folds_is_named(shapes, tmp_path):
    error = run("fit-head", shapes, tmp_path, "--image-size", 64, "--folds", 20, code=3)["error"]
    assert "fewer than the 20 folds" in error["problem"]
    assert "--folds" in error["remedy"]


def test_a_hand_made_family_cannot_be_served(shapes, tmp_path):
    error = run("fit-head", shapes, tmp_path, "--backbone", "lbp", code=2)["error"]
    assert "lbp cannot be served" in error["problem"]


# --- compare-backbones ---


@pytest.fixture(scope="module")
def compared(shapes, tmp_path_factory):
    runs = tmp_path_factory.mktemp("compared")
    options = [
        "--backbones",
        "pixels,intensity,mobilenet@nowhere.h5",
        "--heads",
        "knn1,logistic",
        "--folds",
        3,
        "--leaky",
    ]
    return run("compare-backbones", shapes, runs, *options)


def test_the_table_has_a_row_for_each_pair_with_intervals(compared):
    folder = Path(compared["run"])
    with (folder / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["extractor"], row["head"]) for row in rows} == {
        (extractor, head) for extractor in ("pixels", "intensity") for head in ("knn1", "logistic")
    }
    assert [row["chosen"] for row in rows].count("*") == 2
    for row in rows:
        assert 0 <= float(row["low"]) <= float(row["eta"]) <= float(row["high"]) <= 1
        assert 0 <= float(row["bar precision"]) <= 1
        assert float(row["ms/image"]) > 0
    assert [float(row["eta"]) for row in rows] == sorted((float(row["eta"]) for row in rows), reverse=True)
    nearest = next(row for row in rows if (row["extractor"], row["head"]) == ("pixels", "knn1"))
    assert float(nearest["flattered by"]) >= 0  # its training images are their own neighbours
    assert "**" in (folder / "table.md").read_text()
    assert (folder / "pictures" / "eta.png").stat().st_size > 5000
    assert "Extractors compared" in (folder / "report.html").read_text()


def test_an_extractor_without_weights_is_left_out_and_named(compared):
    card = json.loads((Path(compared["run"]) / "card.json").read_text())
    assert [one["extractor"] for one in card["left_out"]] == ["mobilenet@nowhere.h5"]
    assert compared["n"] == card["measures"]["best"]["n"]


# --- cache ---


def test_the_cache_is_shown_and_trimmed(extracted, monkeypatch, tmp_path):
    files = call("cache")["files"]
    assert ("efficientnet-lite0", "pooled", "64") in {
        (f["facts"]["network"], f["facts"]["layer"], f["facts"]["image_size"]) for f in files
    }
    shown = CliRunner().invoke(main, ["cache"])
    assert shown.exit_code == 0
    assert "efficientnet-lite0" in shown.stdout
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert call("cache", "--trim", 0)["files"] == []


def test_random_weights_follow_the_seed_and_not_the_order(tmp_path):
    from tlkit.core.console import Console
    from tlkit.core.run import Run
    from tlkit.core.run_folder import RunFolder
    from tlkit.tasks.features.workflow import built_extractor

    def digests(names, seed=0):
        folder = RunFolder.start(tmp_path, "order")
        run = Run("any", folder, {}, Console(), seed=seed)
        return {name: built_extractor(run, name, image_size=32)[0].digest for name in names}

    one, two = "mobilenet-0.25@none", "mobilenet-v2-0.35@none"
    first, second = digests([one, two]), digests([two, one])
    assert first == second
    assert digests([one], seed=1)[one] != first[one]
