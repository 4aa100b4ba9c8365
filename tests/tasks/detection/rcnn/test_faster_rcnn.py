"""Faster R-CNN as a detector: both stages are one model that is saved, resized and taught as the others are."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes, use_tiny_pyramid
from tests.tasks.detection.test_fit import FITTING, PARTS, fit, same, values
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.splits import split_boxes
from tlkit.errors import ExportFault, UsageFault
from tlkit.tasks.detection.build import build_detector, load_detector, resized_detector
from tlkit.tasks.detection.evaluate_workflow import _recalled
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.proposals_workflow import recall_said
from tlkit.tasks.detection.rcnn.rpn import PyramidAnchors
from tlkit.tasks.detection.serving.export import detector_to_litert, detector_to_onnx
from tlkit.tasks.detection.serving.saved_model import TOLERANCE, check_detector_parity, export_detector
from tlkit.tasks.detection.settings import Detecting
from tlkit.tasks.detection.warm_start import start_from

IMAGES = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
NOTHING = (np.full((2, 1, 4), -1, np.float32), np.full((2, 1), -1, np.int32))
SOMETHING = (
    np.array([[[6, 8, 40, 44], [30, 2, 50, 20]], [[-1] * 4, [-1] * 4]], np.float32),
    np.array([[0, 2], [-1, -1]], np.int32),
)
SMALL = {
    "width": 8,
    "hidden": 8,
    "anchors": PyramidAnchors(12.0),
    "regions": 16,
    "proposals": (60, 20, 60, 30),
}


@pytest.fixture(autouse=True, scope="module")
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        yield


def build(names=NAMES, seed=0, **options):
    keras.utils.set_random_seed(seed)
    detector = build_detector("faster-rcnn", names, SIZE, "tiny", "none", **{**SMALL, **options})[0]
    for number, (variable, _) in enumerate(detector.class_columns()):  # so that it says different things
        variable.assign(np.random.default_rng(number).normal(0, 0.3, variable.shape))
    return detector


def answers(detector):
    raw = detector(IMAGES)
    return detector._regions(raw, raw["proposals"])


@pytest.fixture(scope="module")
def detector():
    return build()


def test_recall_is_that_of_the_regions_it_proposes_itself(detector, tmp_path):
    boxes = drawn_boxes(tmp_path, 3, width=150, height=90)
    own = Finder(detector).proposed(boxes, batch=2)
    assert len(own) == 3
    assert all(0 < len(some) <= 30 for some in own)
    every = np.concatenate(own)
    assert (every[:, 2:] > every[:, :2]).all()
    assert (every >= 0).all()
    assert (every <= [150, 90, 150, 90]).all()  # the grey beside a long image is no part of it
    hit = replace(boxes, xyxy=tuple(some[:1] for some in own), **of_one_each(3))
    missed = replace(boxes, xyxy=(np.array([[0, 0, 1, 1]], np.float32),) * 3, **of_one_each(3))
    assert _recalled(detector, hit, 2)["proposals"]["recall"] == 1
    found = _recalled(detector, missed, 2)["proposals"]
    assert found["recall"] == 0
    assert recall_said(found).endswith("of its first stage, on 0.000 of 3 objects (IoU 0.5).")


def of_one_each(images):
    """What else is known of one object in each image."""
    no = (np.zeros(1, bool),) * images
    return {"labels": (np.zeros(1, np.int32),) * images, "difficult": no, "crowd": no, "box_columns": {}}


def test_each_proposal_is_asked_as_each_class(detector):
    boxes, scores = detector.decode(detector(IMAGES))
    assert boxes.shape == (2, 90, 4)
    assert scores.shape == (2, 90, 3)
    assert boxes.dtype == scores.dtype == tf.float32
    assert ((boxes.numpy() >= 0) & (boxes.numpy() <= SIZE)).all()
    assert detector(IMAGES, training=True)["proposals"].shape == (2, 20, 4)


def test_losses_of_both_stages_teach_all_layers_and_empty_batches_teach_too(detector):
    for truth, boxes in ((SOMETHING, True), (NOTHING, False)):
        with tf.GradientTape() as tape:
            parts = detector.loss_parts(detector(IMAGES, training=True), *truth)
            total = tf.add_n(list(parts.values()))
        variables = detector.trainable_variables
        gradients = dict(
            zip([v.path for v in variables], tape.gradient(total, [v.value for v in variables]), strict=True)
        )
        assert list(parts) == ["class", "box", "objectness", "proposals"]
        assert all(np.isfinite(float(v)) for v in parts.values())
        assert min(float(parts["class"]), float(parts["objectness"])) > 0
        assert (float(parts["box"]) > 0, float(parts["proposals"]) > 0) == (boxes, boxes)
        taught = {path for path, g in gradients.items() if g is not None and np.abs(g).max() > 0}
        for layer in ("feature_pyramid", "proposal_head", "box_head", "conv_1"):
            assert any(layer in path for path in taught), layer
        assert any("box_head/boxes" in path for path in taught) == boxes


def test_a_sample_follows_from_seed_and_step_and_is_one_and_the_same_when_evaluated(detector):
    detector.compile(keras.optimizers.SGD(0.0))
    seen = {}
    for seed, step in (((1, 2), 0), ((1, 2), 5), ((3, 2), 0), ((1, 2), 0)):
        detector.seed = seed
        detector.optimizer.iterations.assign(step)
        lots = tuple(detector(IMAGES, training=True)["lots"].numpy()[0].tolist())
        assert seen.setdefault((seed, step), lots) == lots
        assert (detector(IMAGES)["lots"].numpy() == 0).all()
    assert len(set(seen.values())) == 3


def test_saved_and_resized_it_is_the_same(detector, tmp_path):
    detector.save(tmp_path / "model.keras")
    loaded = load_detector(tmp_path / "model.keras")
    assert loaded.settings == detector.settings
    assert [v.path for v in loaded.weights] == [v.path for v in detector.weights]
    for one, other in zip(detector.decode(detector(IMAGES)), loaded.decode(loaded(IMAGES)), strict=True):
        assert (one.numpy() == other.numpy()).all()
        assert one.numpy().std() > 0
    larger = resized_detector(detector, 96)
    assert same(values(larger.weights), values(detector.weights))
    assert len(larger.anchor_boxes) > 2 * len(detector.anchor_boxes)


@pytest.mark.slow
def test_classes_come_over_by_name_with_scores_and_boxes(tmp_path):
    old, new = build(), build(("x", "blue", "red"), seed=1)
    old.save(tmp_path / "model.keras")
    start_from(new, tmp_path / "model.keras")
    logits, deltas = answers(new)
    its_logits, its_deltas = answers(old)
    for mine, its in ((1, 2), (2, 0), (3, 3)):  # the last is the background
        np.testing.assert_allclose(logits[..., mine], its_logits[..., its], atol=1e-5)
    with pytest.raises(UsageFault, match="has regions 16; this one has 8"):
        start_from(build(regions=8), tmp_path / "model.keras")
    for mine, its in ((1, 2), (2, 0)):
        np.testing.assert_allclose(deltas[..., mine, :], its_deltas[..., its, :], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("form", ["pyramid", "paper"])
def test_mixed_precision_computes_losses_and_boxes_in_float32(policy, form):
    before = keras.config.dtype_policy()
    small = {**SMALL, "anchors": None} if form == "paper" else SMALL
    try:
        keras.config.set_dtype_policy(policy)
        detector = build(form=form, **{k: v for k, v in small.items() if k != "form"})
        raw = detector(IMAGES)
        found = {k: float(v) for k, v in detector.loss_parts(raw, *SOMETHING).items()}
        boxes, scores = detector.decode(raw)
    finally:
        keras.config.set_dtype_policy(before)
    assert raw["objectness"].dtype == (tf.bfloat16 if "bfloat16" in policy else tf.float16)
    assert all(np.isfinite(v) for v in found.values())
    assert boxes.dtype == scores.dtype == raw["proposals"].dtype == tf.float32


@pytest.mark.slow
@pytest.mark.onednn
def test_an_interruption_leaves_no_trace_in_what_is_sampled(tmp_path):
    split = split_boxes(drawn_boxes(tmp_path / "p", 16, parts=PARTS))
    how = {"augmentation": BoxAugmentation(flip="horizontal"), "fitting": FITTING, "epochs": 3, "rate": 1e-3}
    whole, folder = build(), tmp_path / "stopped"
    _, rows = fit(whole, split, tmp_path / "whole", copy_at=(2, folder), **how)
    resumed = build(seed=5)
    _, later = fit(resumed, split, folder, **how)
    assert later == rows[1:]
    assert same(values(whole.weights), values(resumed.weights))
    assert whole.seed == resumed.seed != (0, 0)


def test_litert_is_refused_in_a_sentence(detector, tmp_path):
    with pytest.raises(ExportFault, match="faster-rcnn cannot be written as LiteRT") as caught:
        detector_to_litert(detector, tmp_path / "model.tflite")
    assert "--format onnx" in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_onnx_answers_as_keras_does(detector, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    for nms in (False, True):
        found = detector_to_onnx(detector, tmp_path / f"{nms}.onnx", Detecting(most=6), nms=nms)
        assert found["largest_difference"] <= 1e-4
        assert found["spread"] > 0.1


@pytest.mark.slow
def test_a_saved_model_answers_as_keras_does(detector, tmp_path):
    files = drawn_boxes(tmp_path / "wide", 3, width=150, height=90).files()
    how = Detecting(threshold=0.001, overlap=0.5, most=6)
    export_detector(detector, tmp_path / "run", how)
    found = check_detector_parity(detector, tmp_path / "run", files, how)
    assert found["largest_difference"] <= TOLERANCE
    assert found["detections"] >= 10
