"""Any bytes through the served graph: an answer or InvalidArgumentError for each, never a crash, never a hang."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.fuzzing import draw_images
from tests.tasks.classification.serving.test_saved_model import small_classifier
from tests.tasks.detection.detecting import NAMES, SIZE, tiny_pyramid
from tlkit.tasks.classification.serving.saved_model import export_saved_model
from tlkit.tasks.detection import retinanet, yolov8
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.serving.saved_model import export_detector
from tlkit.tasks.detection.settings import Detecting

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "1"
    export_saved_model(small_classifier(), folder)
    return folder


def ask(folder, count, seconds):
    """In a process of its own, so that its death is a failed test and not the end of all tests."""
    command = [sys.executable, "-m", "tests.fuzzing", str(folder), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found.pop("same"), "what was asked before changes the answer"
    return found, done.stderr[-3000:]


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_classifier_answers_or_refuses(count, folder):
    found, said = ask(folder, count, 300 if count < 1000 else 3600)
    assert set(found) == {"answered", "refused"}, said
    assert sum(found.values()) == 2 * count
    assert min(found.values()) > 0.1 * count  # both happen, or nothing is tried


@pytest.mark.slow
def test_a_detector_answers_or_refuses(tmp_path, monkeypatch):
    for module in (retinanet, yolov8):
        monkeypatch.setattr(module, "build_pyramid", tiny_pyramid)
    detector = build_detector(
        "retinanet", NAMES, SIZE, "tiny", "none", width=16, depth=1, anchors=Anchors(14.0)
    )[0]
    export_detector(detector, tmp_path / "1", Detecting(threshold=0.001, overlap=0.5, most=6))
    found, said = ask(tmp_path / "1", 1000, 3600)
    assert set(found) == {"answered", "refused"}, said
    assert min(found.values()) > 100


def test_one_bad_item_fails_its_call_and_the_others_are_as_ever_without_it(folder):
    """Documented in saved_models/README.md. `tlkit predict` then asks one by one, and names the file."""
    answer = tf.saved_model.load(str(folder)).signatures["serving_default"]
    sound = draw_images()[:4]
    alone = answer(tf.constant(sound))["probability"].numpy()
    for bad in (b"", b"no image", sound[0][:50]):
        for place in range(5):
            with pytest.raises(tf.errors.InvalidArgumentError):
                answer(tf.constant([*sound[:place], bad, *sound[place:]]))
    np.testing.assert_array_equal(answer(tf.constant(sound))["probability"], alone)
