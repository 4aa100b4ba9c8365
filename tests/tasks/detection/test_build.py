"""Detectors of every kind: what KerasCV gets wrong is shown in its own class, and is right in ours."""

from __future__ import annotations

import math

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, tiny_pyramid, use_tiny_pyramid
from tlkit.backbones import pyramids
from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.detection import retinanet, yolov8
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.assignment import by_alignment, by_overlap, pairwise_iou
from tlkit.tasks.detection.build import build_detector, load_detector, unfreeze_detector
from tlkit.tasks.detection.losses import complete_iou, distribution, focal, smooth_l1
from tlkit.tasks.detection.predict import check_detecting, select
from tlkit.tasks.detection.settings import UNSET, Detecting

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
NOTHING = (np.full((2, 1, 4), -1, np.float32), np.full((2, 1), -1, np.int32))
SOMETHING = (
    np.array([[[6, 8, 40, 44], [30, 2, 50, 20]], [[-1] * 4, [-1] * 4]], np.float32),
    np.array([[0, 2], [-1, -1]], np.int32),
)
KINDS = ("retinanet", "yolov8", "yolov3", "yolov2", "yolov1")
DEARER_SLOW = (
    "retinanet",
    "yolov3",
    pytest.param("yolov2", marks=pytest.mark.slow),  # as YOLOv3 but for its losses
    pytest.param("yolov8", marks=pytest.mark.slow),
)  # YOLOv8 is built and traced for long


@pytest.fixture(scope="module")
def made():
    """Detectors of every kind on the small pyramid."""
    patch = pytest.MonkeyPatch()
    use_tiny_pyramid(patch)
    keras.utils.set_random_seed(0)
    yield {
        "retinanet": build_detector(
            "retinanet", NAMES, SIZE, "tiny", "none", width=16, depth=1, anchors=Anchors(16.0)
        )[0],
        "yolov1": build_detector("yolov1", NAMES, SIZE, "tiny")[0],
        "yolov8": build_detector("yolov8", NAMES, SIZE, "tiny")[0],
        "yolov3": build_detector("yolov3", NAMES, SIZE, "tiny", widths=(8, 8, 8))[0],
        "yolov2": build_detector("yolov2", NAMES, SIZE, "tiny", width=8, passed=4)[0],
    }
    patch.undo()


def parts(detector, truth, images=IMAGES):
    return {k: float(v) for k, v in detector.loss_parts(detector(images), *truth).items()}


# --- images without objects ---


def stock_retinanet():
    model = keras_cv.models.RetinaNet(
        backbone=tiny_pyramid("tiny", SIZE)[0], num_classes=3, bounding_box_format="xyxy"
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        box_loss="smoothl1",
        classification_loss="focal",
        jit_compile=False,
    )
    return model


def test_the_stock_retinanet_has_no_loss_without_objects_and_ours_has(made):
    stock = stock_retinanet()
    images = tf.cast(IMAGES, tf.float32)
    truth = {"boxes": tf.constant(NOTHING[0]), "classes": tf.constant(NOTHING[1], tf.float32)}
    loss = stock.compute_loss(images, truth, stock({"images": images}), sample_weight=None)
    assert float(loss) == 0.0  # the fault
    ours = parts(made["retinanet"], NOTHING)
    assert ours["class"] > 1e-3  # every score starts at 0.01
    assert ours["box"] == 0


@pytest.mark.parametrize("kind", DEARER_SLOW)
def test_the_gradient_of_empty_images_lowers_their_scores(made, kind):
    detector = made[kind]
    before = [np.array(v) for v in detector.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.add_n(list(detector.loss_parts(detector(IMAGES, training=True), *NOTHING).values()))
    gradients = tape.gradient(loss, [v.value for v in detector.trainable_variables])
    scores = detector.decode(detector(IMAGES, training=True))[1].numpy().mean()
    norm = np.sqrt(sum(float(tf.reduce_sum(g**2)) for g in gradients if g is not None))
    for variable, gradient in zip(detector.trainable_variables, gradients, strict=True):
        if gradient is not None:
            variable.assign_sub(0.3 * gradient / norm)
    after = detector.decode(detector(IMAGES, training=True))[1].numpy().mean()
    for variable, value in zip(detector.trainable_variables, before, strict=True):
        variable.assign(value)
    assert after < 0.99 * scores


def test_heads_start_from_a_prior_of_few_objects(made):
    ours = made["retinanet"].decode(made["retinanet"](IMAGES))[1].numpy()
    assert ours.mean() == pytest.approx(0.01, rel=0.1)
    assert ours.std() < 0.002
    stock = keras_cv.models.YOLOV8Detector(
        backbone=tiny_pyramid("tiny", SIZE)[0], num_classes=3, bounding_box_format="xyxy", fpn_depth=1
    )
    theirs = np.asarray(stock(IMAGES.astype(np.float32))["classes"])
    assert theirs.mean() == pytest.approx(0.5, abs=0.1)  # as if every place had an object
    yolo = made["yolov8"].decode(made["yolov8"](IMAGES))[1].numpy()
    expected = np.repeat(
        5 / 3 / (640 / np.array([8, 16, 32])) ** 2, [64, 16, 4]
    )  # 5 objects in 640 px, 3 classes
    assert yolo[0].mean(1) == pytest.approx(expected, rel=0.5)


# --- losses and padding ---


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_count_and_objects_do(made, kind):
    detector = made[kind]
    with_objects = parts(detector, SOMETHING)
    assert with_objects["box"] > 0
    wide = (
        np.concatenate([SOMETHING[0], np.full((2, 5, 4), -1, np.float32)], 1),
        np.concatenate([SOMETHING[1], np.full((2, 5), -1, np.int32)], 1),
    )
    assert parts(detector, wide) == pytest.approx(with_objects, rel=1e-5)
    moved = (SOMETHING[0][:, ::-1].copy(), SOMETHING[1][:, ::-1].copy())  # padding in front is padding too
    assert parts(detector, moved) == pytest.approx(with_objects, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_ignored_box_is_neither_object_nor_background(made, kind):
    detector = made[kind]
    ignored = (SOMETHING[0], np.where(SOMETHING[1] >= 0, -2, SOMETHING[1]))
    found, empty = parts(detector, ignored), parts(detector, NOTHING)
    assert found["box"] == 0
    assert 0 < sum(found.values()) < sum(empty.values())


def test_class_loss_is_the_sum_over_places_per_object(made):
    """By a plain loop over anchors, with KerasCV's formula of the focal loss."""
    detector = made["retinanet"]
    raw = detector(IMAGES)
    logits = np.asarray(raw["classification"], np.float64)
    targets = by_overlap(tf.constant(detector.anchor_boxes), *map(tf.constant, SOMETHING))
    total, objects = 0.0, 0
    for i in range(2):
        for a, label in enumerate(targets.labels[i].numpy()):
            objects += label >= 0
            if label == -2:
                continue
            for k in range(3):
                p = 1 / (1 + np.exp(-logits[i, a, k]))
                total += -0.25 * (1 - p) ** 2 * np.log(p) if k == label else -0.75 * p**2 * np.log(1 - p)
    assert objects > 2
    assert float(detector.loss_parts(raw, *SOMETHING)["class"]) == pytest.approx(total / objects, rel=1e-4)


def plain_ciou(a, b):
    """Zheng 2020, equations 10 and 11."""
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    angles = [math.atan((c[2] - c[0]) / (c[3] - c[1])) for c in (a, b)]
    shape = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    iou = plain_iou(a, b)
    return iou - apart / diagonal - shape**2 / (1 - iou + shape)


def test_losses_are_those_of_papers_and_keras_cv():
    found = RANDOM.uniform(5, 60, (40, 2, 2)).cumsum(1).reshape(40, 4).astype(np.float32)
    truth = RANDOM.uniform(5, 60, (40, 2, 2)).cumsum(1).reshape(40, 4).astype(np.float32)
    assert complete_iou(found, truth).numpy() == pytest.approx(
        [plain_ciou(*pair) for pair in zip(found.tolist(), truth.tolist(), strict=True)], abs=1e-5
    )  # KerasCV squares 4 / pi^2 too
    logits = RANDOM.normal(size=(40, 3)).astype(np.float32)
    kinds = np.eye(3, dtype=np.float32)[RANDOM.integers(0, 3, 40)]
    theirs = keras_cv.losses.FocalLoss(from_logits=True, reduction="none")(kinds, logits)
    assert focal(logits, kinds).numpy().sum(1) == pytest.approx(np.asarray(theirs), rel=1e-3)
    theirs = keras_cv.losses.SmoothL1Loss(l1_cutoff=1.0, reduction="none")(truth, found)
    assert smooth_l1(found, truth).numpy() == pytest.approx(np.asarray(theirs), rel=1e-5)


def test_the_distribution_loss_is_cross_entropy_with_both_neighbours():
    logits = RANDOM.normal(size=(3, 16)).astype(np.float32)
    logs = np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    expected = [
        -(0.75 * logs[0, 2] + 0.25 * logs[0, 3]),
        -logs[1, 7],
        -(0.01 * logs[2, 14] + 0.99 * logs[2, 15]),
    ]
    found = distribution(logits, np.array([2.25, 7.0, 99.0], np.float32)).numpy()
    assert found == pytest.approx(expected, rel=1e-3)


# --- who answers for what ---


def plain_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_anchors_are_matched_as_a_loop_matches_them(made):
    anchors = made["retinanet"].anchor_boxes
    xyxy = np.array(
        [[[6, 8, 40, 44], [30, 2, 36, 7], [45, 45, 63, 63], [-1] * 4]], np.float32
    )  # the second fits none
    labels = np.array([[0, 2, -2, -1]], np.int32)
    found = by_overlap(tf.constant(anchors), tf.constant(xyxy), tf.constant(labels))
    best_of = [max(plain_iou(a, box) for a in anchors) for box in xyxy[0, :2]]
    assert best_of[1] < 0.5
    for a, anchor in enumerate(anchors):
        ious = [plain_iou(anchor, box) for box in xyxy[0, :3]]
        forced = any(ious[m] > best_of[m] * (1 - 1e-4) for m in (0, 1))
        match = int(np.argmax(ious[:2]))
        if forced or max(ious[:2]) >= 0.5:
            expected = labels[0, match]
            assert found.xyxy.numpy()[0, a].tolist() == xyxy[0, match].tolist()
        else:
            expected = -2 if max(ious) >= 0.4 else -1
        assert found.labels.numpy()[0, a] == expected
    assert set(found.labels.numpy()[0].tolist()) == {-2, -1, 0, 2}


def test_no_box_matches_no_anchor(made):
    found = by_overlap(tf.constant(made["retinanet"].anchor_boxes), *map(tf.constant, NOTHING))
    assert (found.labels.numpy() == -1).all()
    assert float(tf.reduce_sum(found.score)) == 0


def test_places_are_aligned_as_a_loop_aligns_them(made):
    detector = made["yolov8"]
    random = np.random.default_rng(4)
    centres = detector.centres
    middle = centres + random.normal(0, 3, centres.shape)
    half = random.uniform(6, 18, centres.shape)
    predicted = np.concatenate([middle - half, middle + half], 1)[None].astype(np.float32)
    scores = random.uniform(0.01, 0.9, (1, len(centres), 3)).astype(np.float32)
    xyxy = np.array([[[6, 8, 40, 44], [30, 2, 60, 30], [33, 33, 63, 63], [-1] * 4]], np.float32)
    labels = np.array([[0, 2, -2, -1]], np.int32)
    found = by_alignment(*(tf.constant(v) for v in (scores, predicted, centres, xyxy, labels)))
    fits, ious = np.zeros((len(centres), 2)), np.zeros((len(centres), 2))
    for a, (x, y) in enumerate(centres):
        for m, box in enumerate(xyxy[0, :2]):
            if box[0] < x < box[2] and box[1] < y < box[3]:
                ious[a, m] = plain_iou(predicted[0, a], box)
                fits[a, m] = scores[0, a, labels[0, m]] ** 0.5 * ious[a, m] ** 6
    for m in (0, 1):
        keep = np.argsort(-fits[:, m])[:10]
        drop = np.setdiff1d(np.arange(len(centres)), keep[fits[keep, m] > 0])
        fits[drop, m] = ious[drop, m] = 0
    owner = ious.argmax(1)
    for m in (0, 1):
        fits[owner != m, m] = 0
    for a, (x, y) in enumerate(centres):
        ignored = 33 < x < 63 and 33 < y < 63
        expected = labels[0, owner[a]] if ious[a].max() > 0 else (-2 if ignored else -1)
        assert found.labels.numpy()[0, a] == expected
        wanted = (
            fits[a, owner[a]] / fits[:, owner[a]].max() * ious[:, owner[a]].max() if ious[a].max() > 0 else 0
        )
        assert found.score.numpy()[0, a] == pytest.approx(wanted, abs=1e-5)
    assert 10 <= (found.labels.numpy() >= 0).sum() <= 20


def test_the_stock_encoder_takes_a_far_box_for_a_fit_and_ours_does_not(made):
    """A negative complete IoU to the sixth power is large: a box far away outranks one that fits a little."""
    centres = np.array([[10, 10], [20, 20]], np.float32)
    truth = np.array([[[5, 5, 25, 25]]], np.float32)
    predicted = np.array([[[8, 8, 16, 16], [400, 400, 401, 600]]], np.float32)  # the second is nowhere near
    scores = np.full((1, 2, 1), 0.5, np.float32)
    label = np.zeros((1, 1), np.float32)
    from keras_cv.src.models.object_detection.yolo_v8.yolo_v8_label_encoder import YOLOV8LabelEncoder

    arguments = [tf.constant(v) for v in (scores, predicted, centres, label, truth)]
    theirs = YOLOV8LabelEncoder(num_classes=1, max_anchor_matches=1)(*arguments, tf.constant([[[True]]]))
    assert float(tf.reduce_sum(theirs[1])) == 0  # the only candidate was the far one, and it taught nothing
    ours = by_alignment(*map(tf.constant, (scores, predicted, centres, truth, label.astype(np.int32))))
    assert ours.labels.numpy().tolist() == [[0, -1]]
    assert float(ours.score[0, 0]) == pytest.approx(64 / 400, rel=1e-4)


# --- decoding ---


def test_retinanet_decodes_what_it_is_taught(made):
    detector = made["retinanet"]
    anchors = tf.constant(detector.anchor_boxes)
    truth = np.tile(np.array([6, 8, 40, 44], np.float32), (1, len(anchors), 1))
    raw = {
        "box": retinanet.deltas_of(anchors, tf.constant(truth)),
        "classification": tf.zeros([1, len(anchors), 3]),
    }
    assert detector.decode(raw)[0].numpy() == pytest.approx(truth, abs=1e-2)


def test_yolo_decodes_what_it_is_taught(made):
    detector = made["yolov8"]
    box = np.array([6, 8, 40, 44], np.float32)
    inside = (detector.centres > box[:2]).all(1) & (detector.centres < box[2:]).all(1)
    sides = np.abs(box - np.tile(detector.centres, 2)) / detector.strides[:, None]
    low = np.floor(sides).astype(int)
    bins = np.full((*sides.shape, 16), -40.0)
    for i, side in np.ndindex(*sides.shape):
        share = sides[i, side] - low[i, side]
        bins[i, side, low[i, side]] = np.log(max(1 - share, 1e-9))
        if share:
            bins[i, side, low[i, side] + 1] = np.log(share)
    raw = {"boxes": tf.constant(bins.reshape(1, -1, 64), tf.float32), "classes": tf.zeros([1, len(sides), 3])}
    found = detector.decode(raw)[0].numpy()[0]
    assert found[inside] == pytest.approx(np.tile(box, (inside.sum(), 1)), abs=1e-2)


def test_duplicates_go_and_other_classes_stay():
    xyxy = tf.constant(
        [[[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40], [50, 50, 60, 60]]], tf.float32
    )
    scores = tf.constant([[[0.9, 0], [0.8, 0], [0, 0.7], [0.6, 0], [0.04, 0]]])
    found = select(xyxy, scores, Detecting(threshold=0.05, most=10, candidates=10))
    assert found.count.numpy().tolist() == [3]
    assert found.labels.numpy()[0].tolist() == [0, 1, 0] + [-1] * 7
    assert found.scores.numpy()[0, :4] == pytest.approx([0.9, 0.7, 0.6, 0])
    assert found.boxes.numpy()[0, 2].tolist() == [30, 30, 40, 40]
    assert select(xyxy, scores, Detecting(most=2)).count.numpy().tolist() == [2]
    assert select(xyxy, scores, Detecting(candidates=1)).count.numpy().tolist() == [1]


def test_as_many_are_found_as_may_be():
    """600 sure objects that do not touch: 400 candidates let no more than 400 through, whatever --max-detections said."""
    boxes = np.array([[x, y, x + 8, y + 8] for x in range(0, 300, 10) for y in range(0, 200, 10)], np.float32)
    scores = tf.constant(np.full((1, 600, 1), 0.9, np.float32))
    found = select(tf.constant(boxes[None]), scores, Detecting(most=1000))
    assert (int(found.count[0]), found.boxes.shape) == (600, (1, 1000, 4))
    assert int(select(tf.constant(boxes[None]), scores, Detecting(most=1000, candidates=400)).count[0]) == 400
    assert [Detecting(most=most).candidates for most in (5, 100, 101, 1000)] == [400, 400, 1010, 10_000]
    old = {"threshold": 0.05, "overlap": 0.5, "most": 1000, "candidates": 400}  # of a card: as it was served
    assert vars(Detecting(**old)) == old
    unset = Detecting(most=UNSET)
    assert [unset.for_objects(number).most for number in (0, 99, 250)] == [100, 100, 250]
    assert unset.for_objects(250).candidates == 2500
    assert Detecting(most=7).for_objects(250).most == 7
    with pytest.raises(UsageFault, match="--max-detections 0"):
        check_detecting(unset)


def test_suppression_is_greedy_by_score():
    random = np.random.default_rng(1)
    corner, sides = random.uniform(0, 60, (40, 2)), random.uniform(10, 30, (40, 2))
    boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    scores = random.uniform(0.1, 1, (40, 2)).astype(np.float32)
    kept = []
    for label in range(2):
        chosen = []
        for i in np.argsort(-scores[:, label]):
            if all(plain_iou(boxes[i], boxes[j]) <= 0.5 for j in chosen):
                chosen.append(i)
        kept += [(scores[i, label], label, i) for i in chosen]
    expected = sorted(kept, reverse=True)
    found = select(tf.constant(boxes[None]), tf.constant(scores[None]), Detecting(most=100, candidates=40))
    assert int(found.count[0]) == len(expected)
    for i, (score, label, index) in enumerate(expected):
        assert found.scores.numpy()[0, i] == pytest.approx(score)
        assert found.labels.numpy()[0, i] == label
        assert found.boxes.numpy()[0, i] == pytest.approx(boxes[index])


def test_iou_is_that_of_a_plain_calculation():
    random = np.random.default_rng(2)
    some = np.sort(random.uniform(0, 50, (2, 6, 2, 2)), axis=2).reshape(2, 6, 4).astype(np.float32)
    found = pairwise_iou(tf.constant(some[0]), tf.constant(some[1:])).numpy()[0]
    for i, j in np.ndindex(6, 6):
        assert found[i, j] == pytest.approx(plain_iou(some[0, i], some[1, j]), abs=1e-5)


# --- the model as a whole ---


@pytest.mark.parametrize("kind", [*DEARER_SLOW, "yolov1"])
def test_a_saved_detector_is_the_same_with_names_and_settings(made, kind, tmp_path):
    detector = made[kind]
    detector.save(tmp_path / "model.keras")
    loaded = load_detector(tmp_path / "model.keras")
    assert (loaded.class_names, loaded.size, loaded.kind) == (NAMES, SIZE, kind)
    assert loaded.settings == detector.settings
    for one, other in zip(detector.decode(detector(IMAGES)), loaded.decode(loaded(IMAGES)), strict=True):
        assert (one.numpy() == other.numpy()).all()
        assert one.numpy().std() > 0


def test_a_file_that_is_no_detector_is_refused(tmp_path):
    with pytest.raises(ModelFault, match="cannot be read as a detector"):
        load_detector(tmp_path / "none.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(ModelFault, match="no detector"):
        load_detector(tmp_path / "other.keras")


@pytest.mark.parametrize("kind", [*DEARER_SLOW, "yolov1"])
def test_mixed_precision_computes_losses_and_boxes_in_float32(kind, monkeypatch):
    use_tiny_pyramid(monkeypatch)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        detector = build_detector(kind, NAMES, SIZE, "tiny", "none")[0]
        raw = detector(IMAGES)
        found = parts(detector, SOMETHING)
        boxes, scores = detector.decode(raw)
    finally:
        keras.config.set_dtype_policy(before)
    assert {tf.bfloat16} == {v.dtype for v in raw.values()}
    assert all(np.isfinite(v) for v in found.values())
    assert boxes.dtype == scores.dtype == tf.float32


def test_momentum_of_batch_normalisation_suits_short_trainings(made):
    for detector in made.values():
        found = {
            p.momentum for p in detector._flatten_layers() if isinstance(p, keras.layers.BatchNormalization)
        }
        assert found == {0.9}


@pytest.mark.parametrize(("size", "near"), [(100, 96), (40, 64), (300, 288)])
def test_sizes_that_do_not_suit_are_refused(size, near):
    with pytest.raises(UsageFault, match=f"--image-size {size} does not suit") as caught:
        build_detector("retinanet", NAMES, size, "efficientnet-lite0", "none")
    assert str(near) in caught.value.remedy


def test_class_names_must_differ():
    with pytest.raises(UsageFault, match="different class names"):
        build_detector("yolov8", ("a", "a"), SIZE)
    with pytest.raises(UsageFault, match="different class names"):
        build_detector("retinanet", (), SIZE)


@pytest.fixture
def _real_pyramids(monkeypatch):
    for module in (retinanet, yolov8):
        monkeypatch.setattr(module, "build_pyramid", pyramids.build_pyramid)


@pytest.mark.usefixtures("_real_pyramids")
def test_the_published_darknet_weights_are_not_pretended():
    with pytest.raises(ModelFault, match="--weights imagenet cannot be had for yolov8-xs"):
        build_detector("yolov8", NAMES, SIZE, "yolov8-xs", "imagenet")


@pytest.mark.usefixtures("_real_pyramids")
def test_thawing_a_darknet_by_stages():
    detector = build_detector("yolov8", NAMES, SIZE, "yolov8-xs", "none")[0]
    body = detector.backbone.get_layer("backbone")
    counts = {}
    for stage in ("head", "top", "all"):
        unfreeze_detector(detector, stage)
        counts[stage] = len(body.trainable_variables)
    assert counts["head"] == 0 < counts["top"] < counts["all"]
    assert len(detector.trainable_variables) > counts["all"]
