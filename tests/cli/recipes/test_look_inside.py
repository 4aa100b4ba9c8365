"""look-inside from the command line: what it leaves, and what it says of bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import draw
from tlkit.cli.main import main


@pytest.fixture
def photo(tmp_path) -> Path:
    draw(0, 1, 64).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def look(image: Path, *options: str):
    quick = ["--backbone", "mobilenet", "--weights", "none", "--image-size", "32"]
    runs = str(image.parent / "runs")
    return CliRunner().invoke(main, ["run", "look-inside", str(image), *quick, "--runs", runs, *options])


def test_a_run_has_its_table_images_page_and_board(photo):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = look(photo, "--layer", "conv1_relu", "--layer", "conv_dw_7", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    run = Path(found["run"])
    with (run / "layers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == found["layers"] == 86
    assert sum(int(row["multiply_adds"]) for row in rows) == found["multiply_adds"]
    assert sum(int(row["parameters"]) for row in rows) == found["parameters"] == 3_228_864
    assert rows[1:3] == [
        {"layer": "conv1", "kind": "Conv2D", "output": "16 x 16 x 32", "parameters": "864", "multiply_adds": "221184"},
        {"layer": "conv1_bn", "kind": "BatchNormalization", "output": "16 x 16 x 32", "parameters": "128", "multiply_adds": "0"},
    ]  # fmt: skip
    names = ["filters", "maps_1_conv1_relu", "maps_2_conv_dw_7", "walk_through"]
    assert sorted(file.stem for file in (run / "pictures").iterdir()) == names
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "Inside mobilenet" in page
    tags = EventAccumulator(str(run / "tensorboard" / "validation")).Reload().Tags()["tensors"]
    assert {"filters", "walk through", "maps 1 conv1 relu"} <= set(tags)
    card = json.loads((run / "card.json").read_text())
    assert card["kind"] == "pictures"
    assert card["measures"]["multiply_adds"] == found["multiply_adds"]
    assert not (run / "saved_model.pb").exists()
    assert "1,048,576" in result.stderr  # the dearest layers are shown


def test_a_layer_that_does_not_exist_is_told_and_nothing_is_left(photo):
    result = look(photo, "--layer", "conv_dw7")
    assert result.exit_code == 2
    assert "Error: mobilenet has no layer 'conv_dw7'.\n  Did you mean conv_dw_7" in result.stderr
    assert not list((photo.parent / "runs").rglob("*.json"))


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text"])
def test_what_is_no_image_is_told_before_tensorflow_starts(kind, tmp_path):
    file = tmp_path / "photo.png"
    if kind == "folder":
        file.mkdir()
    elif kind != "missing":
        file.write_text("" if kind == "empty" else "no image")
    result = look(file)
    says = {
        "missing": "does not exist",
        "folder": "is a folder",
        "empty": "is empty (0 bytes)",
        "text": "is not an image of a known format",
    }
    assert result.exit_code == 3
    assert result.stderr.startswith(f"Error: {file} {says[kind]}.")
    assert "Device:" not in result.stderr
