"""The recipes that find things, run as a person runs them: tiny pictures, one epoch."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlkit.cli.main import main


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Dark rectangles on bright noise; every third picture is empty."""
    root = tmp_path_factory.mktemp("detection") / "bags"
    root.mkdir()
    rows = []
    generator = np.random.default_rng(0)
    for number in range(30):
        pixels = generator.integers(150, 250, (72, 96, 3))
        name = f"{number:02}.png"
        if number % 3:
            left, top = generator.integers(2, 40, 2)
            right, bottom = left + 24, top + 20
            kind = ("gun", "knife")[number % 2]
            pixels[top:bottom, left:right] = (20, 20, 120) if number % 2 else (120, 20, 20)
            rows.append([name, left, top, right, bottom, kind])
        else:
            rows.append([name, "", "", "", "", ""])
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
    with (root / "boxes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "left", "top", "right", "bottom", "class"])
        writer.writerows(rows)
    return root


def run(*arguments: object, code: int = 0) -> dict:
    result = CliRunner().invoke(main, ["run", *map(str, arguments), "--json"])
    assert result.exit_code == code, result.stderr + result.stdout
    return json.loads(result.stdout)


SMALL = ("--image-size", 64, "--batch", 4, "--backbone", "mobilenet-v2-0.35", "--weights", "none")


@pytest.mark.parametrize(
    "recipe", ["detect-retinanet", pytest.param("detect-yolov8", marks=pytest.mark.slow)]
)
def test_a_finished_detector_keeps_every_promise(recipe, bags, tmp_path):
    found = run(recipe, bags, "--runs", tmp_path, "--epochs", 0, 1, *SMALL)
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
        (("--more", "gan"), 2, "--more does not apply to pictures with boxes"),
        (("--skip-bad",), 2, "--skip-bad does not apply to pictures with boxes"),
    ],
)
def test_what_does_not_fit_is_told(options, code, words, bags, tmp_path):
    refused = run("detect-retinanet", bags, "--runs", tmp_path, *options, code=code)
    assert words in refused["error"]["problem"]
