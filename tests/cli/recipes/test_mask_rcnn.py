"""detect-mask-rcnn, run as a person runs it: from images with masks to a page, pictures and run lengths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask as coco

from tests.cli.conftest import SMALL, run_recipe
from tlkit.cli.main import main


def test_boxes_without_masks_are_refused_by_name(bags, tmp_path):
    refused = run_recipe("detect-mask-rcnn", bags, "--runs", tmp_path, *SMALL, "--dry-run", code=3)
    assert "has boxes, but no masks" in refused["error"]["problem"]
    assert "detect-faster-rcnn" in refused["error"]["remedy"]


@pytest.mark.slow
@pytest.mark.onednn
def test_from_masks_to_a_page_and_masks_again(masked_bags, tmp_path):
    source = masked_bags
    sizes = ("--image-size", 96, "--batch", 4, "--backbone", "mobilenet-v2-0.35", "--weights", "none")
    found = run_recipe("detect-mask-rcnn", source, "--runs", tmp_path / "runs", "--epochs", 1, 1, *sizes)
    folder = Path(found["run"])
    card = json.loads((folder / "card.json").read_text())
    assert card["model"]["masks"] is True
    assert card["parity"]["largest_difference"] <= card["parity"]["tolerance"]
    masks = card["measures"]["test"]["masks"]
    assert masks["objects"] == card["measures"]["test"]["objects"]
    assert set(masks["intervals"]) == {"AP", "AP50", "AP75"}
    assert found["mask_AP50"] == masks["AP50"]
    assert "mask AP50" in (folder / "report.html").read_text()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(row["training_mask_loss"]) for row in rows)
    answer = CliRunner().invoke(main, ["evaluate", str(folder), str(source), "--json"])
    assert answer.exit_code == 0, answer.stderr
    assert json.loads(answer.stdout)["masks"]["objects"] > 0
    drawn = tmp_path / "drawn"
    least = str(card["detecting"]["threshold"])
    said = CliRunner().invoke(
        main, ["predict", str(folder), str(source), "--threshold", least, "--draw", str(drawn)]
    )
    assert said.exit_code == 0, said.stderr
    rows = json.loads((drawn / "detections.json").read_text())
    images = {one["id"]: one for one in json.loads((drawn / "images.json").read_text())["images"]}
    assert rows
    for row in rows:
        image = images[row["image_id"]]
        assert row["segmentation"]["size"] == [image["height"], image["width"]]
        left, top, width, height = coco.toBbox(row["segmentation"])
        x, y, wide, high = row["bbox"]
        if width:
            inside = np.array([left - x, top - y, x + wide - left - width, y + high - top - height])
            assert inside.min() >= -1  # a pixel
    with Image.open(drawn / images[rows[0]["image_id"]]["file_name"]) as image:
        assert image.size == (images[rows[0]["image_id"]]["width"], images[rows[0]["image_id"]]["height"])
