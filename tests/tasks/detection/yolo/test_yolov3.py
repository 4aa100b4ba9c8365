"""YOLOv3: its losses by a plain loop over hand-worked cells, and what is learned where."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, use_tiny_pyramid
from tests.tasks.detection.test_build import plain_iou
from tlkit.tasks.detection.build import build_detector

SHAPES = (*((6, 9), (12, 7), (11, 14)), *((20, 12), (14, 28), (26, 24)), *((44, 20), (22, 50), (50, 48)))
# One box for each grid, whose anchors 0, 5 and 8 fit best, a difficult one, and padding; an image without any.
XYXY = np.array(
    [[[3, 2, 9, 12], [24, 20, 50, 46], [4, 6, 56, 52], [40, 50, 52, 58], [-1] * 4], [[-1] * 4] * 5],
    np.float32,
)
LABELS = np.array([[0, 2, 1, -2, -1], [-1] * 5], np.int32)
# middles (6, 7), (37, 33), (30, 29), (46, 54): (stride, row, column, anchor of the grid)
CELLS = [(8, 0, 0, 0), (16, 2, 2, 2), (32, 0, 0, 2)]
DIFFICULT = (8, 6, 5, 1)
NEAR = (16, 2, 1, 2)  # says, from the next cell, a box that overlaps the second one by 0.6


@pytest.fixture(scope="module")
def detector():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        keras.utils.set_random_seed(0)
        yield build_detector("yolov3", NAMES, SIZE, "tiny", widths=(8, 8, 8), anchors=SHAPES)[0]


@pytest.fixture(scope="module")
def raw():
    random = np.random.default_rng(0)
    found = {
        f"stride_{stride}": random.normal(0, 0.7, (2, SIZE // stride, SIZE // stride, 24)).astype(np.float32)
        for stride in (8, 16, 32)
    }
    found["stride_16"][0, 2, 1, 16:20] = (4.0, -2.7, 0.0, 0.0)
    return found


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cross(truth, logit):
    return -truth * np.log(sigmoid(logit)) - (1 - truth) * np.log(1 - sigmoid(logit))


def plain_losses(raw, image):
    """Of one image, number by number."""
    found = {"class": 0.0, "box": 0.0, "object": 0.0, "no_object": 0.0}
    boxes = [m for m in range(5) if LABELS[image, m] != -1]
    answering = dict(zip(CELLS, (0, 1, 2), strict=True)) if image == 0 else {}
    for grid, (name, values) in enumerate(raw.items()):
        stride = int(name.split("_")[1])
        for row, column, anchor in np.ndindex(*values.shape[1:3], 3):
            numbers = values[image, row, column, anchor * 8 : anchor * 8 + 8].astype(np.float64)
            shape = SHAPES[grid * 3 + anchor]
            x, y = (column + sigmoid(numbers[0])) * stride, (row + sigmoid(numbers[1])) * stride
            w, h = shape[0] * np.exp(numbers[2]), shape[1] * np.exp(numbers[3])
            place = (stride, row, column, anchor)
            if place in answering:
                left, top, right, bottom = XYXY[image, answering[place]].astype(np.float64)
                weight = 2 - (right - left) * (bottom - top) / SIZE**2
                middle = (left + right) / 2 / stride - column, (top + bottom) / 2 / stride - row
                sides = np.log((right - left) / shape[0]), np.log((bottom - top) / shape[1])
                found["box"] += weight * sum(cross(middle[k], numbers[k]) for k in (0, 1))
                found["box"] += weight * sum((sides[k] - numbers[2 + k]) ** 2 / 2 for k in (0, 1))
                found["object"] += cross(1, numbers[4])
                label = LABELS[image, answering[place]]
                found["class"] += sum(cross(float(k == label), numbers[5 + k]) for k in range(3))
                continue
            near = [plain_iou((x - w / 2, y - h / 2, x + w / 2, y + h / 2), XYXY[image, m]) for m in boxes]
            if max(near, default=0) <= 0.5 and not (image == 0 and place == DIFFICULT):
                found["no_object"] += cross(0, numbers[4])
    return found


def test_losses_are_those_of_a_loop_over_cells(detector, raw):
    each = [plain_losses(raw, image) for image in (0, 1)]
    expected = {name: (each[0][name] + each[1][name]) / 2 for name in each[0]}
    found = detector.loss_parts(raw, XYXY, LABELS)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-4)
    assert each[1]["class"] == each[1]["box"] == each[1]["object"] == 0 < each[1]["no_object"]


def test_the_loss_of_an_image_does_not_depend_on_its_batch(detector, raw):
    def total(chosen):
        some = {name: values[chosen] for name, values in raw.items()}
        return float(tf.add_n(list(detector.loss_parts(some, XYXY[chosen], LABELS[chosen]).values())))

    assert total([0, 1]) == pytest.approx((total([0]) + total([1])) / 2, rel=1e-5)
    assert total([0, 0, 0]) == pytest.approx(total([0]), rel=1e-5)


def test_every_grid_learns_and_what_is_ignored_does_not(detector, raw):
    given = {name: tf.Variable(values) for name, values in raw.items()}
    with tf.GradientTape() as tape:
        loss = tf.add_n(list(detector.loss_parts(given, XYXY, LABELS).values()))
    gradients = tape.gradient(loss, given)
    for stride, row, column, anchor in CELLS:
        numbers = tf.convert_to_tensor(gradients[f"stride_{stride}"])[0, row, column, anchor * 8 :][:8]
        assert (numbers.numpy() != 0).all()
    for stride, row, column, anchor in (DIFFICULT, NEAR):
        numbers = tf.convert_to_tensor(gradients[f"stride_{stride}"])[0, row, column, anchor * 8 :][:8]
        assert (numbers.numpy() == 0).all()
    flat = detector.flat({name: tf.convert_to_tensor(g) for name, g in gradients.items()}).numpy()
    learned = (flat != 0).any(-1)
    assert 2 <= (~learned[0]).sum() < 20  # the difficult one's, and places that overlap objects
    assert learned[1].all()
    assert (flat[1][:, :4] == 0).all()


def test_half_of_a_gradient_is_truth_less_prediction(detector, raw):
    """Of sides and middles, times 2 - w h, as the paper and its code have it."""
    given = tf.Variable(raw["stride_16"])
    with tf.GradientTape() as tape:
        box = detector.loss_parts({**raw, "stride_16": given}, XYXY[:, :2], LABELS[:, :2])["box"]
    found = (
        tf.convert_to_tensor(tape.gradient(box, given)).numpy()[0, 2, 2, 16:20] * 2
    )  # a mean over two images
    said = raw["stride_16"][0, 2, 2, 16:20]
    truth = np.array([37 / 16 - 2, 33 / 16 - 2, 0.0, np.log(26 / 24)])
    weight = 2 - 26 * 26 / SIZE**2
    now = np.concatenate([sigmoid(said[:2]), said[2:]])
    assert found == pytest.approx(weight * (now - truth), abs=1e-4)


def test_scores_are_objectness_times_each_class_by_itself(detector, raw):
    boxes, scores = detector.decode(raw)
    assert boxes.shape == (2, 252, 4)
    assert scores.shape == (2, 252, 3)
    numbers = raw["stride_16"][1, 3, 1, 8:16]
    place = 192 + (3 * 4 + 1) * 3 + 1
    assert scores[1, place].numpy() == pytest.approx(sigmoid(numbers[4]) * sigmoid(numbers[5:]), rel=1e-4)
    x, y = (1 + sigmoid(numbers[0])) * 16, (3 + sigmoid(numbers[1])) * 16
    w, h = 14 * np.exp(numbers[2]), 28 * np.exp(numbers[3])
    assert boxes[1, place].numpy() == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2], abs=1e-3)
