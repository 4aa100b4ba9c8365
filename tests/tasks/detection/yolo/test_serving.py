"""YOLO with anchors as it is served: SavedModel, ONNX and LiteRT answer as Keras does, and nothing with nothing."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.backbones.test_darknet_weights import check, drawn, write
from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes, use_tiny_pyramid
from tlkit.backbones.darknet import body_convolutions
from tlkit.engine.serving.convert import litert_interpreter
from tlkit.errors import ModelFault
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.serving.export import detector_to_litert, detector_to_onnx
from tlkit.tasks.detection.serving.saved_model import (
    TOLERANCE,
    ServedDetector,
    check_detector_parity,
    export_detector,
)
from tlkit.tasks.detection.settings import Detecting

SMALL = {"yolov3": {"widths": (8, 8, 8)}, "yolov2": {"width": 8, "passed": 4}}
HOW = Detecting(threshold=0.001, overlap=0.5, most=6)


def test_a_file_of_darknet_s_fills_backbone_and_heads(tmp_path):
    """Darknet's convolutions in a file's order: written from one detector, read into another."""
    names, small = ("a", "b"), {"widths": (4, 4, 4)}
    one = build_detector("yolov3", names, SIZE, "darknet-small", "none", **small)[0]
    convolutions = [*body_convolutions(one.backbone.get_layer("backbone")), *one.convolutions()]
    parts = drawn(convolutions)
    file = write(tmp_path / "whole.weights", parts)
    other, origin = build_detector("yolov3", names, SIZE, "darknet-small", str(file), **small)
    check([*body_convolutions(other.backbone.get_layer("backbone")), *other.convolutions()], parts)
    assert (origin.kind, origin.source) == ("file", str(file))
    with pytest.raises(ModelFault, match="whole.weights"):
        build_detector("yolov3", (*names, "c"), SIZE, "darknet-small", str(file), **small)


@pytest.fixture(params=SMALL, scope="module")
def detector(request):
    """Untrained, but it says different things at different places."""
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        keras.utils.set_random_seed(1)
        made = build_detector(request.param, NAMES, SIZE, "tiny", "none", **SMALL[request.param])[0]
        for number, (variable, _) in enumerate(made.class_columns()):
            if len(variable.shape) > 1:
                variable.assign(np.random.default_rng(number).normal(0, 0.5, variable.shape))
        yield made


def test_an_empty_batch_has_no_boxes_and_a_loss_of_nothing(detector):
    raw = {name: value[:0] for name, value in detector(tf.zeros([1, SIZE, SIZE, 3], tf.uint8)).items()}
    boxes, scores = detector.decode(raw)
    assert boxes.shape[0] == scores.shape[0] == 0
    parts = detector.loss_parts(raw, tf.zeros([0, 2, 4]), tf.zeros([0, 2], tf.int32))
    assert {float(value) for value in parts.values()} == {0.0}


@pytest.mark.slow
def test_a_saved_model_answers_as_keras_does(detector, tmp_path):
    files = drawn_boxes(tmp_path / "wide", 3, width=150, height=90).files()
    export_detector(detector, tmp_path / "run", HOW)
    found = check_detector_parity(detector, tmp_path / "run", files, HOW)
    assert found["largest_difference"] <= TOLERANCE
    assert found["detections"] >= 10
    assert ServedDetector.load(tmp_path / "run").predict_files([]) == []
    answer = tf.saved_model.load(str(tmp_path / "run")).signatures["pixels"](
        tf.zeros([0, 40, 50, 3], tf.uint8)
    )
    assert answer["boxes"].shape == (0, HOW.most, 4)


@pytest.mark.slow
def test_files_of_both_formats_answer_as_keras_does(detector, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 3)).astype(np.uint8)
    boxes, scores = (value.numpy() for value in detector.decode(detector(images, training=False)))
    assert detector_to_litert(detector, tmp_path / "model.tflite")["largest_difference"] <= 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces LiteRT's next home
        answer = litert_interpreter(tmp_path / "model.tflite").get_signature_runner()(images=images[:1])
    assert answer["boxes"] == pytest.approx(boxes[:1], abs=1e-2, rel=1e-4)
    assert answer["scores"] == pytest.approx(scores[:1], abs=1e-4)
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    assert detector_to_onnx(detector, tmp_path / "model.onnx", HOW)["largest_difference"] <= 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    found = session.run(["boxes", "scores"], {"images": images})
    assert found[0] == pytest.approx(boxes, abs=1e-2, rel=1e-4)
    assert found[1] == pytest.approx(scores, abs=1e-4)
