"""The exported detector: the same boxes as in Keras, in the pixels of the file, whatever its shape and format."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes, tiny_pyramid
from tlkit.engine.serving.convert import litert_interpreter
from tlkit.errors import DataFault, ExportFault, ModelFault
from tlkit.tasks.detection import retinanet, yolov8
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.predict import Finder, select
from tlkit.tasks.detection.serving.export import detector_to_litert, detector_to_onnx
from tlkit.tasks.detection.serving.onnx_nms import OUTPUTS, add_nms
from tlkit.tasks.detection.serving.saved_model import (
    TOLERANCE,
    ServedDetector,
    check_detector_parity,
    export_detector,
)
from tlkit.tasks.detection.settings import Detecting

HOW = Detecting(threshold=0.011, overlap=0.5, most=6)


@pytest.fixture(scope="module")
def detector():
    """Untrained, but with a head that says different things at different places."""
    patch = pytest.MonkeyPatch()
    for module in (retinanet, yolov8):
        patch.setattr(module, "build_pyramid", tiny_pyramid)
    keras.utils.set_random_seed(1)
    made = build_detector("retinanet", NAMES, SIZE, "tiny", "none", width=16, depth=1, anchors=Anchors(14.0))[
        0
    ]
    for head, spread in (("class_head", 1.0), ("box_head", 0.5)):
        kernel = made.get_layer(head).prediction.kernel
        kernel.assign(np.random.default_rng(0).normal(0, spread, kernel.shape).astype(np.float32))
    yield made
    patch.undo()


@pytest.fixture(scope="module")
def run(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    export_detector(detector, folder, HOW)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    wide = drawn_boxes(folder / "wide", 2, width=150, height=90)
    high = drawn_boxes(folder / "high", 2, width=70, height=130)
    return [*wide.files(), *high.files()]


@pytest.mark.onednn
def test_the_same_boxes_as_in_keras_for_every_form_of_a_image(detector, run, files):
    found = check_detector_parity(detector, run, files, HOW)
    assert found["largest_difference"] <= TOLERANCE
    assert found["detections"] >= 20
    assert {"EXIF-turned JPEG", "16-bit PNG", "non-square PNG"} <= set(found["checked"])


def test_boxes_are_in_the_pixels_of_the_file(detector, run, files):
    served = ServedDetector.load(run)
    assert served.classes == NAMES
    found = served.predict_files(files)
    expected = Finder(detector, HOW).in_files(files)
    beyond = 0
    for one, other, (width, height) in zip(found, expected, [(150, 90)] * 2 + [(70, 130)] * 2, strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        assert one.boxes == pytest.approx(other.boxes, abs=1e-3)
        assert one.boxes.min() >= 0
        assert one.boxes[:, 2].max() <= width
        assert one.boxes[:, 3].max() <= height
        assert list(one.scores) == sorted(one.scores, reverse=True)
        beyond += int((one.boxes[:, 2:].max(1) > SIZE).any())
    assert beyond == 4  # not the square's 64 pixels


def test_a_image_twice_as_large_has_boxes_twice_as_large(run, files, tmp_path):
    image = Image.open(files[0])
    doubled = tmp_path / "doubled.png"
    image.resize((300, 180), Image.Resampling.NEAREST).save(doubled)
    once, twice = ServedDetector.load(run).predict_files([files[0], doubled])
    assert len(once.boxes) == len(twice.boxes) > 0
    assert twice.boxes == pytest.approx(2 * once.boxes, abs=1.0)


@pytest.mark.onednn
def test_signatures_answer_alike_and_pad(run, files):
    loaded = tf.saved_model.load(str(run))
    contents = tf.constant([Path(file).read_bytes() for file in files[:2]])
    answer = loaded.signatures["serving_default"](contents)
    assert {k: v.dtype for k, v in answer.items()} == {
        "boxes": tf.float32,
        "scores": tf.float32,
        "labels": tf.string,
        "count": tf.int32,
        "classes": tf.string,
    }
    assert answer["boxes"].shape == (2, HOW.most, 4)
    rows = loaded.signatures["instances"](contents)
    assert set(rows) == {"boxes", "scores", "labels", "count"}
    assert loaded.signatures["classes"]()["classes"].numpy().tolist() == [name.encode() for name in NAMES]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files[:2]])
    seen = loaded.signatures["pixels"](tf.constant(pixels))
    for name in ("boxes", "scores", "count"):
        assert answer[name].numpy() == pytest.approx(seen[name].numpy(), abs=1e-4)
        assert (answer[name].numpy() == rows[name].numpy()).all()
    for boxes, scores, labels, count in zip(
        *(answer[k].numpy() for k in ("boxes", "scores", "labels", "count")), strict=True
    ):
        assert (boxes[count:] == 0).all()
        assert (scores[count:] == 0).all()
        assert (labels[count:] == b"").all()
        assert set(labels[:count].tolist()) <= {name.encode() for name in NAMES}
    assert loaded.signatures["serving_default"](tf.constant([], tf.string))["boxes"].shape == (0, HOW.most, 4)


def test_weights_are_stored_once(detector, run):
    stored = sum(file.stat().st_size for file in (run / "variables").iterdir())
    assert stored < 1.2 * sum(4 * np.prod(w.shape) for w in detector.weights) + 20_000


def test_a_broken_file_is_named_or_skipped(run, files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(files[0]).read_bytes()[:60])
    served = ServedDetector.load(run)
    with pytest.raises(DataFault, match="bad.png is truncated"):
        served.predict_files([files[0], bad])
    skipped: list[tuple[str, str]] = []
    found = served.predict_files([files[0], bad, tmp_path / "missing.png", files[1]], skipped=skipped)
    assert [one.path for one in found] == [str(files[0]), str(files[1])]
    assert [path.rsplit("/")[-1] for path, _ in skipped] == ["bad.png", "missing.png"]


def test_a_folder_without_a_detector_is_a_fault(tmp_path):
    with pytest.raises(ModelFault, match="no SavedModel of a detector"):
        ServedDetector.load(tmp_path)


def test_onnx_gives_the_same_boxes_and_scores(detector, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    file = tmp_path / "model.onnx"
    found = detector_to_onnx(detector, file, HOW)
    assert found["largest_difference"] <= 1e-4
    session = onnxruntime.InferenceSession(str(file))
    images = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 3)).astype(np.uint8)
    boxes, scores = session.run(["boxes", "scores"], {"images": images})
    expected = detector.decode(detector(images, training=False))
    assert boxes == pytest.approx(expected[0].numpy(), abs=1e-2)
    assert scores == pytest.approx(expected[1].numpy(), abs=1e-4)
    assert scores.std() > 0.001
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(NAMES)
    assert (about["image_size"], about["most"], about["nms"]) == (str(SIZE), "6", "outside")
    assert about["letterbox"] == (
        "RGB; sides times image_size / longer side, rounded; by areas to shrink, bilinear to grow; "
        "offset (image_size - side) // 2; grey 114 around"
    )
    with pytest.raises(ExportFault, match="is there already"):
        detector_to_onnx(detector, file)


@pytest.mark.parametrize(
    "how",
    [
        Detecting(threshold=0.3, overlap=0.4, most=7),
        Detecting(threshold=0.0, overlap=0.5, most=300, candidates=50),
        Detecting(threshold=0.9, overlap=0.0, most=1),
        Detecting(threshold=1.0, most=5),  # nothing
    ],
)
def test_suppression_inside_onnx_is_that_of_the_saved_model(how):
    """The same random boxes and scores through both, three images at a time, one of them with nothing to find."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    sides = {"boxes": ["n", 80, 4], "scores": ["n", 80, 3]}
    values = [
        [onnx.helper.make_tensor_value_info(f"{into}{name}", 1, shape) for name, shape in sides.items()]
        for into in ("in_", "")
    ]
    nodes = [onnx.helper.make_node("Identity", [f"in_{name}"], [name]) for name in sides]
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "raw", *values), opset_imports=opset, ir_version=9
    )
    session = onnxruntime.InferenceSession(add_nms(model, 100, 3, 80, how).SerializeToString())
    random = np.random.default_rng(5)
    corner = random.uniform(-10, 90, (3, 80, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 40, (3, 80, 2))], -1).astype(np.float32)
    scores = random.uniform(0.001, 0.999, (3, 80, 3)).astype(np.float32)
    scores[1] = 0
    found, kept, labels, count = session.run(list(OUTPUTS), {"in_boxes": boxes, "in_scores": scores})
    expected = select(tf.constant(boxes), tf.constant(scores), how)
    assert count.tolist() == expected.count.numpy().tolist()
    assert (count[1], found.shape, kept.shape) == (0, (3, how.most, 4), (3, how.most))
    assert labels.tolist() == expected.labels.numpy().tolist()
    np.testing.assert_array_equal(kept, expected.scores.numpy())
    np.testing.assert_array_equal(found, np.clip(expected.boxes.numpy(), 0, 100))


def test_onnx_with_suppression_says_what_the_saved_model_says(detector, run, tmp_path):
    """Images of the square's own size: the SavedModel letterboxes nothing, and both give pixels of them."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    assert detector_to_onnx(detector, tmp_path / "m.onnx", HOW, nms=True)["largest_difference"] <= 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    images = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 3)).astype(np.uint8)
    boxes, scores, labels, count = session.run(list(OUTPUTS), {"images": images})
    served = tf.saved_model.load(str(run)).signatures["pixels"](images=tf.constant(images))
    assert count.tolist() == served["count"].numpy().tolist()
    assert count.max() > 0
    assert scores == pytest.approx(served["scores"].numpy(), abs=1e-4)
    assert boxes == pytest.approx(served["boxes"].numpy(), abs=1e-2)
    names = [[NAMES[k].encode() if k >= 0 else b"" for k in row] for row in labels]
    assert names == served["labels"].numpy().tolist()
    about = session.get_modelmeta().custom_metadata_map
    assert (about["nms"], about["threshold"], about["candidates"]) == ("inside", "0.011", "400")
    assert "grey 114 around" in about["letterbox"]


def test_litert_gives_the_same_boxes_and_scores(detector, tmp_path):
    file = tmp_path / "model.tflite"
    found = detector_to_litert(detector, file)
    assert found["largest_difference"] <= 1e-4
    assert found["spread"] > 0.001
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces LiteRT's next home
        ask = litert_interpreter(file).get_signature_runner()
    images = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3)).astype(np.uint8)
    answer = ask(images=images)
    expected = detector.decode(detector(images, training=False))
    assert answer["boxes"] == pytest.approx(expected[0].numpy(), abs=1e-2)
    assert answer["scores"] == pytest.approx(expected[1].numpy(), abs=1e-4)
    assert (tmp_path / "model.labels.txt").read_text().split() == list(NAMES)
    with pytest.raises(ExportFault, match=r"model.labels.txt is there already"):
        detector_to_litert(detector, file)
