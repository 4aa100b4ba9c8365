"""detect-fast-rcnn, run as a person runs it: what is refused at once, the plan, and any number of proposals to a page."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cli.conftest import SMALL, run_recipe, tiny_backbone
from tests.cli.recipes.test_detection import check
from tlkit.data.boxes import proposals
from tlkit.errors import UsageFault


def test_without_opencv_the_extra_is_named_before_anything_is_built(bags, tmp_path, monkeypatch):
    def absent():
        raise UsageFault("Selective Search needs OpenCV.", 'pip install "tlkit[proposals]"')

    monkeypatch.setattr("tlkit.data.boxes.proposals.check_installed", absent)
    monkeypatch.setattr("tlkit.tasks.detection.build.build_detector", lambda *_, **_how: 1 / 0)
    refused = run_recipe("detect-fast-rcnn", bags, "--runs", tmp_path, code=2)
    assert "tlkit[proposals]" in refused["error"]["remedy"]


@pytest.mark.parametrize("options", [("--pooling", "mean"), ("--stride", 5)])
def test_what_no_map_can_do_is_told_before_anything_is_read(options, tmp_path):
    refused = run_recipe("detect-fast-rcnn", "nowhere", "--runs", tmp_path, *options, code=2)
    assert options[0] in refused["error"]["problem"]


@pytest.fixture
def searched(monkeypatch, tmp_path):
    """Selective Search finds boxes by the content alone: none on some images, 5,000 on others, some without an area."""

    def search(contents):
        digest = hashlib.sha256(contents).digest()
        random = np.random.default_rng(list(digest))
        corners = random.integers(0, 60, ((0, 40, 5000)[digest[0] % 3], 2))
        sides = random.integers((0, 0), (36, 12), (len(corners), 2)) + (0, 12) * (
            random.random((len(corners), 1)) < 0.9
        )
        return np.concatenate([corners, np.minimum(corners + sides, (96, 72))], 1).astype(np.float32)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(proposals, "_opencv", lambda: SimpleNamespace(__version__="5.5.5"))
    monkeypatch.setattr(proposals, "_searched", search)


@pytest.mark.slow
def test_the_plan_says_what_the_time_leaves_out(searched, bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    options = (*SMALL, "--pooling", "align", "--stride", 8, "--dry-run")
    plan = run_recipe("detect-fast-rcnn", bags, "--runs", tmp_path, *options)
    model = plan["model"]
    assert (model["network"], model["stride"], model["pooling"]) == ("fast-rcnn", 8, "align")
    assert plan["time"].endswith("Searching for proposals, which counts as learning, is not in it.")


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["max", "align"])
def test_from_images_with_any_number_of_proposals_to_a_page(pooling, searched, bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    options = (*SMALL, "--epochs", 0, 1, "--mosaic", 0.5, "--mixup", 0.2, "--pooling", pooling)
    found = run_recipe("detect-fast-rcnn", bags, "--runs", tmp_path, *options)
    check(found)
    card = json.loads((Path(found["run"]) / "card.json").read_text())
    assert card["proposals"]["training"]["proposals"]["least"] == 0
    assert card["proposals"]["training"]["proposals"]["most"] == 1000
    assert 0 < card["measures"]["test"]["proposals"]["recall"] <= 1
    assert card["detecting"]["overlap"] == 0.3
    assert "ecall of the proposals" in (Path(found["run"]) / "report.html").read_text()
