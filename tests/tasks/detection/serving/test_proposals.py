"""A detector that takes proposals: asked, served and refused; with a network of three weights."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes
from tlkit.backbones.table import WeightsOrigin
from tlkit.cli.inference import load_served
from tlkit.data.boxes import proposals
from tlkit.data.boxes.affine import real_boxes
from tlkit.data.boxes.batches import Letterboxed
from tlkit.errors import DataFault, ExportFault, UsageFault
from tlkit.tasks.detection.base import Detector
from tlkit.tasks.detection.evaluate_workflow import _recalled
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.proposals_workflow import asked_of_pixels, search
from tlkit.tasks.detection.serving import saved_model as serving
from tlkit.tasks.detection.serving.export import detector_to_litert, detector_to_onnx
from tlkit.tasks.detection.settings import Detecting

HOW = Detecting(threshold=0.01, overlap=0.9, most=4)
FOUND = np.array([[20, 10, 60, 50], [0, 0, 150, 90], [5, 5, 5, 20], [130, 70, 150, 90]], np.float32)


class Regions(Detector, keras.Model):
    """Says of each proposal how red, green and blue the image's pixel at its middle is."""

    kind = "regions"
    proposals = 3

    def __init__(self):
        images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
        boxes = keras.Input((None, 4), name="proposals")
        tone = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity", name="tone")
        raw = {"map": tone(keras.layers.Rescaling(1 / 255)(images)), "proposals": boxes}
        super().__init__({"images": images, "proposals": boxes}, raw)
        self._begin({"class_names": NAMES, "size": SIZE, "backbone": "none"})

    @classmethod
    def of(cls, settings, weights="none"):
        return cls(), WeightsOrigin("none", "random", None)

    def decode(self, raw):
        boxes = raw["proposals"]
        middle = tf.cast(tf.clip_by_value((boxes[..., 1::-1] + boxes[..., :1:-1]) / 2, 0, SIZE - 1), tf.int32)
        tones = tf.gather_nd(raw["map"], middle, batch_dims=1)
        return boxes, tf.where(real_boxes(boxes)[..., None], tones, 0.0)


@pytest.fixture(scope="module")
def detector():
    return Regions()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return drawn_boxes(folder / "wide", 2, width=150, height=90).files()


@pytest.fixture(autouse=True)
def searched(monkeypatch, tmp_path):
    """Selective Search finds the same four boxes anywhere, of which one has no area."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(proposals, "_opencv", lambda: SimpleNamespace(__version__="5.5.5"))
    monkeypatch.setattr(proposals, "_searched", lambda _contents: FOUND)


def test_proposals_are_placed_in_the_square_cut_at_the_image_and_at_their_number(detector):
    finder = Finder(detector, HOW)
    read = Letterboxed(
        tf.fill([2, SIZE, SIZE, 3], tf.constant(128, tf.uint8)),
        tf.constant([[0.5, 0.5]] * 2),
        tf.constant([[0.0, 16.0]] * 2),
        tf.constant([[128.0, 64.0]] * 2),
    )
    several = [[20, 10, 60, 50], [-9, -9, 400, 500], [200, 5, 300, 20], [0, 0, 9, 9]]
    given = finder.given(read, tf.constant([several, [[-1] * 4] * 4], tf.float32))
    none = [-1] * 4
    assert given["proposals"].numpy().tolist() == [[[10, 21, 30, 41], [0, 16, 64, 48], none], [none] * 3]
    found = finder.detect(given)
    assert found.count.numpy().tolist() == [4, 0]  # two places, each of more than one class
    assert {tuple(box) for box in found.boxes.numpy()[0].tolist()} == {(10, 21, 30, 41), (0, 16, 64, 48)}
    nothing = finder.detect(finder.given(read, tf.zeros([2, 0, 4])))
    assert nothing.count.numpy().tolist() == [0, 0]
    assert finder.given(read) is read.pixels


@pytest.fixture(scope="module")
def run(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    serving.export_detector(detector, folder, HOW)
    return folder


@pytest.mark.slow
@pytest.mark.onednn
def test_served_it_finds_what_keras_finds_of_files_of_every_form(detector, run, files):
    found = serving.check_detector_parity(detector, run, files, HOW)
    assert found["largest_difference"] <= serving.TOLERANCE
    assert found["detections"] >= 20
    (one, _) = load_served(run, detector=True).predict_files(files)
    assert {tuple(box) for box in one.boxes.round(2).tolist()} == {
        (20, 10, 60, 50),
        (0, 0, 150, 90),
    }  # of the first 3


@pytest.mark.slow
def test_a_data_set_with_and_without_its_proposals_is_asked_alike(detector, files):
    boxes = drawn_boxes(Path(files[0]).parent, 2, width=150, height=90)
    known = replace(boxes, proposals=(FOUND[:3],) * 2)
    finder = Finder(detector, HOW)
    alike = [finder.in_boxes(boxes), finder.in_boxes(known), finder.in_files(files)]
    for some in zip(*alike, strict=True):
        assert len({json.dumps(np.round(one.boxes, 3).tolist()) for one in some}) == 1
        assert len(some[0].scores) >= 2
    none = replace(boxes, proposals=(np.zeros((0, 4), np.float32),) * 2)
    assert [len(one.scores) for one in finder.in_boxes(none)] == [0, 0]
    looked = search(SimpleNamespace(progress=lambda *_: _Bar()), detector, boxes)
    assert [len(some) for some in looked.proposals] == [3, 3]
    assert _recalled(detector, looked, 8)["proposals"]["proposals"]["most"] == 3
    assert _recalled(detector, boxes, 8) == {}


class _Bar:
    def __enter__(self):
        return lambda _done: None

    def __exit__(self, *_):
        return False


@pytest.mark.slow
def test_signatures_take_proposals_and_none(run, files):
    loaded = tf.saved_model.load(str(run))
    contents = tf.constant([Path(file).read_bytes() for file in files])
    given = tf.constant(np.stack([FOUND, np.full_like(FOUND, -1)]))
    whole = loaded.signatures["serving_default"](image_bytes=contents, proposals=given)
    assert whole["count"].numpy().tolist()[1] == 0
    assert whole["count"].numpy()[0] >= 2
    rows = loaded.signatures["instances"](image_bytes=contents, proposals=given)
    assert set(whole) - set(rows) == {"classes"}
    assert (rows["boxes"].numpy() == whole["boxes"].numpy()).all()
    pixels = tf.stack([tf.io.decode_image(one) for one in contents.numpy()])
    seen = loaded.signatures["pixels"](images=pixels, proposals=given)
    assert seen["boxes"].numpy() == pytest.approx(whole["boxes"].numpy(), abs=1e-3)
    for some in (tf.zeros([2, 0, 4]), tf.fill([2, 5000, 4], 3.0)):  # none, and only ones without an area
        assert loaded.signatures["instances"](image_bytes=contents, proposals=some)[
            "count"
        ].numpy().tolist() == [0, 0]
    over = loaded.signatures["instances"](image_bytes=contents[:1], proposals=[[[-50.0, -50, 500, 500]]])
    assert over["boxes"].numpy()[0, 0].tolist() == [0, 0, 150, 90]
    nothing = loaded.signatures["serving_default"](image_bytes=contents[:0], proposals=given[:0])
    assert nothing["boxes"].shape == (0, HOW.most, 4)


@pytest.mark.slow
def test_a_broken_file_is_named_and_the_absent_extra_too(run, files, tmp_path, monkeypatch):
    (tmp_path / "bad.png").write_bytes(Path(files[0]).read_bytes()[:60])
    served = serving.ServedDetector.load(run)
    with pytest.raises(DataFault, match="bad.png is truncated"):
        served.predict_files([files[0], tmp_path / "bad.png"])
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageFault, match="not installed") as absent:
        serving.ServedDetector.load(run)
    assert "tlkit[proposals]" in absent.value.remedy


@pytest.mark.parametrize("write", [detector_to_onnx, detector_to_litert])
def test_what_cannot_take_proposals_refuses(write, detector, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    with pytest.raises(ExportFault, match="takes proposals beside the image"):
        write(detector, tmp_path / "model", HOW)


def test_its_time_is_estimated_from_pixels_alone(detector):
    asked = asked_of_pixels(detector)
    assert asked(tf.zeros([2, SIZE, SIZE, 3], tf.uint8), training=False)["proposals"].shape == (2, 3, 4)
