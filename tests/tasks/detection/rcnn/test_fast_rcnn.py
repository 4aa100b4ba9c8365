"""Fast R-CNN as a detector: any number of proposals, losses that are finite whatever is on a batch, the same draws again."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import (
    NAMES,
    SIZE,
    average_precision_50,
    drawn_boxes,
    use_tiny_pyramid,
)
from tests.tasks.detection.rcnn.test_rcnn import with_jitter
from tests.tasks.detection.test_fit import FITTING, PARTS, fit, same, values
from tlkit.cli import replay_step
from tlkit.cli.replay_step import repeat_step
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.splits import split_boxes
from tlkit.engine.training import replay
from tlkit.engine.training.nan_guard import Findings
from tlkit.engine.training.settings import Phase
from tlkit.errors import UsageFault
from tlkit.tasks.detection.build import build_detector, load_detector, resized_detector
from tlkit.tasks.detection.fit import fit_detector
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.rcnn.fast_rcnn import FastRcnnDetector
from tlkit.tasks.detection.serving.saved_model import TOLERANCE, check_detector_parity, export_detector
from tlkit.tasks.detection.settings import Detecting, DetectorFitting
from tlkit.tasks.detection.table import DETECTORS, detector_class
from tlkit.tasks.detection.warm_start import start_from

IMAGES = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
NONE = [-1.0] * 4
PROPOSALS = np.array(
    [
        [
            [6, 9, 39, 44],
            [28, 2, 50, 22],
            [20, 20, 60, 60],
            [1, 1, 9, 60],
            [3.2, 3.2, 3.9, 3.7],
            [8, 8, 8, 30],
        ],
        [[30, 30, 60, 50], [0, 0, 64, 64], [-9, 40, 20, 90], NONE, NONE, NONE],
    ],
    np.float32,
)  # among them one below a pixel, one without an area, one past the edges, and padding
TRUTH = {
    "objects": (
        np.array([[[6, 8, 40, 44], [30, 2, 50, 20]], [NONE, NONE]], np.float32),
        np.array([[0, 2], [-1, -1]], np.int32),
    ),
    "no object on any image": (np.full((2, 1, 4), -1, np.float32), np.full((2, 1), -1, np.int32)),
    "difficult ones alone": (PROPOSALS[:, :1], np.full((2, 1), -2, np.int32)),
}
SMALL = {"width": 8, "hidden": 8, "regions": 16}


@pytest.fixture(autouse=True, scope="module")
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        yield


def build(names=NAMES, seed=0, **options):
    keras.utils.set_random_seed(seed)
    detector = build_detector("fast-rcnn", names, SIZE, "tiny", "none", **{**SMALL, **options})[0]
    for number, (variable, _) in enumerate(detector.class_columns()):  # so that it says different things
        variable.assign(np.random.default_rng(number).normal(0, 0.3, variable.shape))
    return detector


def ask(detector, proposals=PROPOSALS, images=IMAGES, **how):
    return detector({"images": images, "proposals": proposals}, **how)


@pytest.fixture(scope="module", params=["max", pytest.param("align", marks=pytest.mark.slow)])
def detector(request):
    return build(pooling=request.param)


def test_each_proposal_is_asked_as_each_class_and_what_has_no_area_is_nothing(detector):
    boxes, scores = (v.numpy() for v in detector.decode(ask(detector)))
    assert (boxes.shape, scores.shape) == ((2, 18, 4), (2, 18, 3))
    assert ((boxes >= 0) & (boxes <= SIZE)).all()
    asked = scores.reshape(2, 6, 3, 3).any((2, 3))
    assert asked.tolist() == [[True] * 5 + [False], [True] * 3 + [False] * 3]
    # what a regression pushes out of the square is nothing
    bias = detector.box_head.boxes.bias
    before = bias.numpy()
    bias.assign([1e4, 0, 0, 0] * 3)
    try:
        assert not detector.decode(ask(detector))[1].numpy().any()
    finally:
        bias.assign(before)


def test_one_proposal_or_5000_or_none(detector):
    many = np.random.default_rng(1).uniform([0, 0, 32, 32], [30, 30, 64, 64], (2, 5000, 4)).astype(np.float32)
    many[:, :6] = PROPOSALS
    boxes, scores = detector.decode(ask(detector, many))
    assert boxes.shape == (2, 3000, 4)  # 1,000 are taken
    few = detector.decode(ask(detector))  # what one says does not depend on the others
    np.testing.assert_allclose(scores[:, :18], few[1], atol=1e-5)
    for none in (PROPOSALS[:, :0], np.full((2, 7, 4), -1, np.float32)):
        boxes, scores = detector.decode(ask(detector, none))
        assert boxes.shape[1] >= 3
        assert not scores.numpy().any()
        found = detector.loss_parts(ask(detector, none, training=True), *TRUTH["objects"])
        assert float(found["class"]) > 0  # the true boxes teach
        found = detector.loss_parts(ask(detector, none, training=True), *TRUTH["no object on any image"])
        assert [float(v) for v in found.values()] == [0.0, 0.0]


@pytest.mark.parametrize("truth", TRUTH)
def test_a_batch_of_anything_teaches_all_layers_without_nan(detector, truth):
    proposals = tf.constant(PROPOSALS)
    with tf.GradientTape() as tape:
        tape.watch(proposals)
        parts = detector.loss_parts(ask(detector, proposals, training=True), *TRUTH[truth])
        total = tf.add_n(list(parts.values()))
    variables = detector.trainable_variables
    *gradients, of_proposals = tape.gradient(total, [*(v.value for v in variables), proposals])
    assert of_proposals is None
    assert list(parts) == ["class", "box"]
    assert float(parts["class"]) > 0
    assert (float(parts["box"]) > 0) == (truth == "objects")
    assert all(g is not None for g in gradients)  # no layer is there for nothing
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    taught = {v.path for v, g in zip(variables, gradients, strict=True) if np.abs(g).max() > 0}
    for layer in ("feature_pyramid/lateral_3", "feature_pyramid/smooth_0", "box_head/scores", "conv_1"):
        assert any(layer in path for path in taught), layer
    assert any("box_head/boxes" in path for path in taught) == (truth == "objects")


def test_constant_images_are_answered(detector):
    raw = ask(detector, images=np.full_like(IMAGES, 128), training=True)
    parts = detector.loss_parts(raw, *TRUTH["objects"])
    assert all(np.isfinite(float(v)) for v in parts.values())
    assert np.isfinite(detector.decode(raw)[0].numpy()).all()


def test_gradients_are_the_same_bits_each_time(detector):
    def gradients():
        with tf.GradientTape() as tape:
            total = tf.add_n(list(detector.loss_parts(ask(detector), *TRUTH["objects"]).values()))
        return [g.numpy() for g in tape.gradient(total, [v.value for v in detector.trainable_variables])]

    assert same(gradients(), gradients())


def test_saved_and_resized_it_is_the_same(detector, tmp_path):
    detector.save(tmp_path / "model.keras")
    loaded = load_detector(tmp_path / "model.keras")
    assert loaded.settings == detector.settings
    assert [v.path for v in loaded.weights] == [v.path for v in detector.weights]
    for one, other in zip(detector.decode(ask(detector)), loaded.decode(ask(loaded)), strict=True):
        assert (one.numpy() == other.numpy()).all()
        assert one.numpy().std() > 0
    assert same(values(resized_detector(detector, 96).weights), values(detector.weights))


def kept_step(detector, folder, seed, step):
    """What a replay of a step finds, as it is written and as it is repeated."""
    batch = (
        {"images": IMAGES, "proposals": PROPOSALS},
        dict(zip(("boxes", "classes"), TRUTH["objects"], strict=True)),
    )
    place = {"phase": "all", "epoch": 1, "step": 8, "files": (), "seed": 3, "learning_rate": 0.1}
    detector.seed = seed
    detector.optimizer.iterations.assign(step)
    return replay.write_step(folder, detector, batch, **place), repeat_step(folder / "replay")


def test_a_replay_keeps_seed_and_step_of_what_is_drawn(tmp_path, monkeypatch):
    seen = []

    def look(model, _batch, _learned=None):
        seen.append(model._lots().numpy().tolist())
        return Findings({}, (), 0)

    monkeypatch.setattr(replay, "look", look)
    monkeypatch.setattr(replay_step, "look", look)
    detector = build()
    detector.compile(keras.optimizers.SGD(0.0))
    kept_step(detector, tmp_path, (1, 2), 7)
    assert seen[0] == seen[1]
    assert (tuple(detector.seed), int(detector.optimizer.iterations)) == ((1, 2), 7)
    facts = replay.read(tmp_path / "replay").network
    assert facts["drawn"] == {"seed": [1, 2], "step": 7}
    detector.seed = (0, 0)
    assert detector._lots().numpy().tolist() != seen[0]


@pytest.mark.slow
def test_a_step_that_is_repeated_from_its_replay_learns_the_same_regions(tmp_path):
    """Its loss is that of the step, and no other's."""
    detector, losses = build(regions=2), []
    detector.compile(keras.optimizers.SGD(0.0))
    for seed, step in (((1, 2), 7), ((1, 2), 8), ((5, 2), 7)):
        kept, repeated = kept_step(detector, tmp_path, seed, step)
        assert repeated.loss == pytest.approx(kept.loss, rel=1e-6)
        losses.append(kept.loss["loss"])
    assert len(set(losses)) == 3


def test_the_map_is_as_fine_as_it_is_asked_for():
    for stride, levels in ((4, 4), (8, 3), (16, 2)):
        detector = build(stride=stride)
        raw = ask(detector)
        assert raw[f"map_{stride}"].shape == (2, SIZE // stride, SIZE // stride, 8)
        assert len(detector.neck.lateral) == levels
        assert len(detector.neck.smooth) == 1
    design = FastRcnnDetector.design(None, SIZE, None, pooling="align")
    assert design.facts == {"stride": 4, "pooling": "align", "regions": 64}


def test_the_table_says_of_every_kind_whether_it_takes_proposals():
    for kind, row in DETECTORS.items():
        assert row.proposals == bool(detector_class(kind).proposals), kind
    assert DETECTORS["fast-rcnn"].proposals


@pytest.mark.slow
def test_classes_come_over_by_name_and_another_pooling_is_refused(tmp_path):
    old, new = build(), build(("x", "blue", "red"), seed=1)
    old.save(tmp_path / "model.keras")
    start_from(new, tmp_path / "model.keras")
    (logits, deltas), (its_logits, its_deltas) = (d._regions(ask(d), PROPOSALS) for d in (new, old))
    for mine, its in ((1, 2), (2, 0), (3, 3)):  # the last is the background
        np.testing.assert_allclose(logits[..., mine], its_logits[..., its], atol=1e-5)
    for mine, its in ((1, 2), (2, 0)):
        np.testing.assert_allclose(deltas[..., mine, :], its_deltas[..., its, :], atol=1e-5)
    with pytest.raises(UsageFault, match="has pooling max; this one has align"):
        start_from(build(pooling="align"), tmp_path / "model.keras")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("pooling", ["max", "align"])
def test_mixed_precision_leaves_proposals_losses_and_boxes_in_float32(policy, pooling):
    """In bfloat16 a coordinate from 256 on has steps of two pixels."""
    before = keras.config.dtype_policy()
    moved = PROPOSALS + np.float32(0.1234)
    try:
        keras.config.set_dtype_policy(policy)
        detector = build(pooling=pooling)
        raw = ask(detector, moved)
        found = {k: float(v) for k, v in detector.loss_parts(raw, *TRUTH["objects"]).items()}
        boxes, scores = detector.decode(raw)
    finally:
        keras.config.set_dtype_policy(before)
    assert raw["map_4"].dtype == (tf.bfloat16 if "bfloat16" in policy else tf.float16)
    assert (raw["proposals"].numpy() == moved).all()
    assert all(np.isfinite(v) for v in found.values())
    assert boxes.dtype == scores.dtype == raw["proposals"].dtype == tf.float32


@pytest.mark.slow
@pytest.mark.onednn
@pytest.mark.parametrize("pooling", ["max", "align"])
def test_an_interruption_leaves_no_trace_in_what_is_sampled(pooling, tmp_path):
    split = split_boxes(with_jitter(drawn_boxes(tmp_path / "p", 16, parts=PARTS)))
    how = {"augmentation": BoxAugmentation(flip="horizontal"), "fitting": FITTING, "epochs": 3, "rate": 1e-3}
    whole, folder = build(pooling=pooling), tmp_path / "stopped"
    _, rows = fit(whole, split, tmp_path / "whole", copy_at=(2, folder), **how)
    resumed = build(pooling=pooling, seed=5)
    _, later = fit(resumed, split, folder, **how)
    assert later == rows[1:]
    assert same(values(whole.weights), values(resumed.weights))
    assert whole.seed == resumed.seed != (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["max", "align"])
def test_drawn_images_are_learned_by_heart(pooling, tmp_path):
    """As tests/tasks/detection/test_fit.py has it of others; proposals lie anywhere, some near the objects."""
    own = with_jitter(drawn_boxes(tmp_path / "p", 24))
    keras.utils.set_random_seed(0)
    detector = build_detector("fast-rcnn", NAMES, SIZE, "tiny", pooling=pooling)[0]
    fitting = DetectorFitting(batch=8, ema=0.95, judge_every=100, patience=99)
    learned_and_judged = SimpleNamespace(take=lambda _part: own)
    phases = [Phase("all", "all", 100, 4e-3)]
    fit_detector(detector, learned_and_judged, phases, fitting, tmp_path / "run", batch_norm=True)
    found = Finder(detector, Detecting(overlap=0.3)).in_boxes(own)
    assert average_precision_50(found, own) > 0.9
    empty = [one for one, some in zip(found, own.xyxy, strict=True) if not len(some)]
    assert len(empty) == 6
    assert max((one.scores.max() for one in empty if len(one.scores)), default=0) < 0.5


@pytest.mark.slow
def test_a_saved_model_answers_as_keras_does(detector, tmp_path):
    pytest.importorskip("cv2", reason="Selective Search needs the extra proposals")
    files = drawn_boxes(tmp_path / "wide", 3, width=150, height=90).files()
    how = Detecting(threshold=0.001, overlap=0.5, most=6)
    export_detector(detector, tmp_path / "run", how)
    found = check_detector_parity(detector, tmp_path / "run", files, how)
    assert found["largest_difference"] <= TOLERANCE
    assert found["detections"] >= 10
    asked = tf.saved_model.load(str(tmp_path / "run")).signatures["instances"]
    nothing = asked(image_bytes=tf.constant([], tf.string), proposals=tf.zeros([0, 3, 4]))
    assert nothing["boxes"].shape == (0, 6, 4)
