"""YOLOv2: its losses by a plain loop over hand-worked cells, and the sizes that it learns at."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, use_tiny_pyramid
from tests.tasks.detection.test_build import plain_iou
from tests.tasks.detection.yolo.test_yolov3 import cross, sigmoid
from tlkit.tasks.detection.build import build_detector, resized_detector
from tlkit.tasks.detection.yolo import yolov2

SHAPES = ((8, 10), (20, 12), (14, 28), (40, 22), (44, 48))
# Two objects that meet at one place (cell 0, 0; anchor 1), of which the second fits better; one in the last cell; a
# difficult one, and padding; an image without any.
XYXY = np.array(
    [[[2, 4, 28, 16], [5, 6, 25, 18], [16, 20, 52, 62], [34, 2, 44, 12], [-1] * 4], [[-1] * 4] * 5],
    np.float32,
)
LABELS = np.array([[0, 2, 1, -2, -1], [-1] * 5], np.int32)
CELLS = {(0, 0, 1): 1, (1, 1, 4): 2}  # row, column, anchor -> object
DIFFICULT = (0, 1, 0)
NEAR = (1, 0, 4)  # says, from the next cell, a box that overlaps the last object by more than 0.6


@pytest.fixture(scope="module")
def detector():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        keras.utils.set_random_seed(0)
        yield build_detector("yolov2", NAMES, SIZE, "tiny", width=8, passed=4, anchors=SHAPES)[0]


@pytest.fixture(scope="module")
def raw():
    values = np.random.default_rng(0).normal(0, 0.7, (2, 2, 2, 40)).astype(np.float32)
    values[0, 1, 0, 32:36] = (4.0, -0.94, -0.2, -0.13)
    return {"stride_32": values}


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def plain_losses(values, image):
    """Of one image, number by number."""
    found = {"class": 0.0, "box": 0.0, "object": 0.0, "no_object": 0.0}
    boxes = [m for m in range(5) if LABELS[image, m] != -1]
    for row, column, anchor in np.ndindex(2, 2, 5):
        numbers = values[image, row, column, anchor * 8 : anchor * 8 + 8].astype(np.float64)
        now = np.array([*sigmoid(numbers[:2]), *numbers[2:4]])
        x, y = (column + now[0]) * 32, (row + now[1]) * 32
        w, h = SHAPES[anchor] * np.exp(now[2:])
        said = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        object_ = CELLS.get((row, column, anchor)) if image == 0 else None
        if object_ is not None:
            left, top, right, bottom = XYXY[image, object_].astype(np.float64)
            middle = (left + right) / 64 - column, (top + bottom) / 64 - row
            sides = np.log((right - left) / SHAPES[anchor][0]), np.log((bottom - top) / SHAPES[anchor][1])
            found["box"] += ((now - np.array([*middle, *sides])) ** 2).sum() / 2
            fit = plain_iou(said, (left, top, right, bottom))
            found["object"] += 5 * (fit - sigmoid(numbers[4])) ** 2 / 2
            found["class"] -= np.log(softmax(numbers[5:])[LABELS[image, object_]])
            continue
        near = max((plain_iou(said, XYXY[image, m]) for m in boxes), default=0)
        if near <= 0.6 and not (image == 0 and (row, column, anchor) == DIFFICULT):
            found["no_object"] += sigmoid(numbers[4]) ** 2 / 2
    return found


def test_losses_are_those_of_a_loop_over_cells(detector, raw):
    each = [plain_losses(raw["stride_32"], image) for image in (0, 1)]
    expected = {name: (each[0][name] + each[1][name]) / 2 for name in each[0]}
    found = detector.loss_parts(raw, XYXY, LABELS)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-4)
    assert each[1]["class"] == each[1]["box"] == each[1]["object"] == 0 < each[1]["no_object"]
    alone = detector.loss_parts({"stride_32": raw["stride_32"][:1]}, XYXY[:1], LABELS[:1])
    assert {name: float(value) for name, value in alone.items()} == pytest.approx(each[0], rel=1e-4)


def test_what_is_ignored_has_no_gradient_and_confidence_does_not_move_boxes(detector, raw):
    given = {"stride_32": tf.Variable(raw["stride_32"])}
    with tf.GradientTape(persistent=True) as tape:
        parts = detector.loss_parts(given, XYXY, LABELS)
        loss = tf.add_n(list(parts.values()))
    gradient = tf.convert_to_tensor(tape.gradient(loss, given["stride_32"])).numpy().reshape(2, 2, 2, 5, 8)
    for row, column, anchor in CELLS:
        assert (gradient[0, row, column, anchor] != 0).all()
    for row, column, anchor in (DIFFICULT, NEAR):
        assert (gradient[0, row, column, anchor] == 0).all()
    sure = tf.convert_to_tensor(tape.gradient(parts["object"], given["stride_32"])).numpy().reshape(-1, 8)
    assert (sure[:, :4] == 0).all()  # the IoU is a target, not something to be learned through
    assert (sure[:, 4] != 0).sum() == 2


def test_scores_are_confidence_times_one_class_of_all(detector, raw):
    boxes, scores = detector.decode(raw)
    assert boxes.shape == (2, 20, 4)
    numbers = raw["stride_32"][1, 1, 0, 16:24]
    place = (1 * 2 + 0) * 5 + 2
    assert scores[1, place].numpy() == pytest.approx(sigmoid(numbers[4]) * softmax(numbers[5:]), rel=1e-4)
    assert cross(1, 0.0) == pytest.approx(np.log(2))
    sides = boxes[1, place, 2:] - boxes[1, place, :2]
    assert sides.numpy() == pytest.approx(np.array([14, 28]) * np.exp(numbers[2:4]), rel=1e-4)


# --- training at many sizes ---


class _Built:
    """What `sides` and `learned` ask of a detector, without a network."""

    sides, learned = yolov2.Yolov2Detector.sides, yolov2.Yolov2Detector.learned

    def __init__(self, size, seed=(0, 0), step=0, one_size=False):
        self.size, self.seed, self.settings = size, seed, {"one_size": one_size}
        self.optimizer = type("", (), {"iterations": tf.Variable(step, dtype=tf.int64)})


def test_sizes_are_those_of_the_paper_and_in_proportion():
    assert _Built(416).sides == (320, 352, 384, 416, 448, 480, 512, 544, 576, 608)
    assert _Built(192).sides == (160, 192, 224, 256, 288)
    assert _Built(64).sides == (64, 96)
    assert _Built(416, one_size=True).sides == (416,)


def test_the_size_follows_from_seed_and_step_and_changes_every_ten_steps():
    pixels = tf.zeros([1, 8, 8, 3], tf.uint8)

    def sizes(seed):
        first, last = (
            [
                _Built(192, seed, step).learned(pixels, {"boxes": tf.zeros([1, 1, 4])})[0].shape[1]
                for step in range(start, 300, 10)
            ]
            for start in (0, 9)
        )
        assert first == last
        return first

    assert sizes((1, 2)) == sizes((1, 2)) != sizes((1, 3))
    assert set(sizes((1, 2))) == {160, 192, 224, 256, 288}


def test_boxes_stay_on_what_they_are_of():
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[0, 16:48, 8:40] = 255
    boxes = {"boxes": tf.constant([[[8.0, 16, 40, 48], [-1, -1, -1, -1]]]), "classes": tf.constant([[0, -1]])}
    grown = next(
        found
        for step in range(0, 400, 10)
        if (found := _Built(64, (0, 0), step).learned(tf.constant(pixels), boxes))[0].shape[1] == 96
    )
    rows, columns = np.nonzero(grown[0].numpy()[0, ..., 0] > 127)
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert grown[1]["boxes"].numpy()[0, 0] == pytest.approx(edges, abs=1)
    assert grown[1]["classes"] is boxes["classes"]


def test_the_network_takes_any_side_with_the_same_weights(detector):
    images = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3)).astype(np.uint8)
    larger = resized_detector(detector, 96)
    for one, other in zip(detector.decode(detector(images)), larger.decode(larger(images)), strict=True):
        assert one.shape[1] == 45
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    shapes = detector.decode(detector(images[:, :64, :64]))[0].shape
    assert shapes == (2, 20, 4)
