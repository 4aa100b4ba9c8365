"""Regions of interest: pooled as a plain loop pools them, half a pixel and the smallest boxes included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tlkit.tasks.detection.rcnn.roi import levels_of, roi_align, roi_max_pool

RANDOM = np.random.default_rng(0)
STRIDES = (4, 8, 16)
PYRAMID = [RANDOM.normal(size=(2, 96 // s, 128 // s, 3)).astype(np.float32) for s in STRIDES]
BOXES = np.array(
    [
        [[3.3, 5.1, 60.2, 44.9], [0, 0, 128, 96], [100, 70, 128, 96], [20.25, 20.25, 20.75, 20.5]],
        [[0, 0, 4, 4], [17, 8, 17, 8], [50.5, 3, 51.5, 95], [-20, -30, 40, 200]],
    ],
    np.float32,
)  # among them boxes below a pixel, without an area, and past the edges


def plain_sample(x, at_y, at_x):
    """Bilinear, the outermost cells going on."""
    at_y, at_x = np.clip(at_y, 0, x.shape[0] - 1), np.clip(at_x, 0, x.shape[1] - 1)
    y, z = int(at_y), int(at_x)
    below, beside = min(y + 1, x.shape[0] - 1), min(z + 1, x.shape[1] - 1)
    u, v = at_y - y, at_x - z
    return (1 - u) * ((1 - v) * x[y, z] + v * x[y, beside]) + u * (
        (1 - v) * x[below, z] + v * x[below, beside]
    )


def plain_align(x, box, stride, side):
    """He 2017, section 3: four samples a cell."""
    box = np.clip(box.astype(np.float64), 0, [x.shape[1] * stride, x.shape[0] * stride] * 2) / stride - 0.5
    found = np.zeros((side, side, x.shape[2]))
    for i, j, a, b in np.ndindex(side, side, 2, 2):
        at_y = box[1] + (i + (a + 0.5) / 2) * (box[3] - box[1]) / side
        at_x = box[0] + (j + (b + 0.5) / 2) * (box[2] - box[0]) / side
        found[i, j] += plain_sample(x, at_y, at_x) / 4
    return found


def plain_level(box):
    sides = np.clip(box[2:], 0, (128, 96)) - np.clip(box[:2], 0, (128, 96))
    area = float(sides[0]) * float(sides[1])
    k = math.floor(4 + math.log2(math.sqrt(area) / 224)) if area else 0
    return min(max(k, 2), 4) - 2


def plain_pool(x, box, stride, side):
    """Girshick 2015, section 2.1, in whole cells."""
    box = np.clip(box.astype(np.float64), 0, [x.shape[1] * stride, x.shape[0] * stride] * 2)
    first = [math.floor(v / stride + 0.5) for v in box[:2]]
    last = [max(math.floor((v - 1) / stride + 0.5), a) for v, a in zip(box[2:], first, strict=True)]
    found = np.zeros((side, side, x.shape[2]))
    for i, j in np.ndindex(side, side):
        cells = []
        for number, axis, size in ((i, 1, x.shape[0]), (j, 0, x.shape[1])):
            length = last[axis] - first[axis] + 1
            low = min(first[axis] + math.floor(number * length / side), size - 1)
            high = min(first[axis] + math.ceil((number + 1) * length / side), size)
            cells.append(slice(low, max(high, low + 1)))
        found[i, j] = x[cells[0], cells[1]].max((0, 1))
    return found


def test_roi_align_is_a_plain_loop_on_one_map_and_on_a_pyramid():
    single = roi_align([PYRAMID[0]], BOXES, [4], 7).numpy()
    mixed = roi_align(PYRAMID, BOXES * 1.0, STRIDES, 3).numpy()
    assert single.shape == (2, 4, 7, 7, 3)
    for b, r in np.ndindex(2, 4):
        box, level = BOXES[b, r], plain_level(BOXES[b, r])
        assert single[b, r] == pytest.approx(plain_align(PYRAMID[0][b], box, 4, 7), abs=2e-5)
        expected = plain_align(PYRAMID[level][b], box, STRIDES[level], 3)
        assert mixed[b, r] == pytest.approx(expected, abs=2e-5)


def test_roi_align_is_exact_on_a_ramp():
    """Half a pixel (onnxruntime 6921, tensorpack 542); a box below a pixel keeps its size (torchvision 2438)."""
    y, x = np.meshgrid((np.arange(24) + 0.5) * 4, (np.arange(32) + 0.5) * 4, indexing="ij")
    ramp = np.stack([x, y], -1)[None].astype(np.float32)  # each cell holds the pixel of its middle
    boxes = np.array([[[10, 20, 38, 48], [30.3, 30.3, 30.8, 30.6], [6.5, 9, 8, 81]]], np.float32)
    found = roi_align([ramp], boxes, [4]).numpy()[0]
    for box, grid in zip(boxes[0], found, strict=True):
        steps = (np.arange(7) + 0.5) / 7
        assert grid[0, :, 0] == pytest.approx(box[0] + steps * (box[2] - box[0]), abs=1e-3)
        assert grid[:, 0, 1] == pytest.approx(box[1] + steps * (box[3] - box[1]), abs=1e-3)


def test_gradients_reach_the_maps_as_the_loop_is_linear_and_not_the_boxes():
    weights = RANDOM.normal(size=(2, 4, 3, 3, 3)).astype(np.float32)
    maps, boxes = [tf.constant(x) for x in PYRAMID], tf.constant(BOXES)
    with tf.GradientTape() as tape:
        tape.watch([*maps, boxes])
        loss = tf.reduce_sum(roi_align(maps, boxes, STRIDES, 3) * weights)
    *gradients, of_boxes = tape.gradient(loss, [*maps, boxes])
    assert of_boxes is None
    # linear: the loss is the product of map and gradient
    total = sum(float((g.numpy() * x).sum(dtype=np.float64)) for g, x in zip(gradients, PYRAMID, strict=True))
    assert total == pytest.approx(float(loss), rel=1e-4)
    for level, gradient in enumerate(gradients):
        place = np.unravel_index(np.abs(gradient.numpy()).argmax(), gradient.shape)
        moved = [x.copy() for x in PYRAMID]
        moved[level][place] += 1
        change = tf.reduce_sum(
            (roi_align(moved, BOXES, STRIDES, 3) - roi_align(maps, BOXES, STRIDES, 3)) * weights
        )
        assert gradient.numpy()[place] == pytest.approx(float(change), rel=1e-3)


def test_boxes_belong_to_levels_by_their_size():
    """FPN, equation 1: 224 pixels belong to stride 16, and an octave is a level, at the very edge too."""
    sides = np.array([1, 55, 111.99, 112, 223.9, 224, 447.9, 448, 895, 5000, 0], np.float32)
    boxes = np.stack([sides * 0, sides * 0, sides, sides], -1)
    assert levels_of(boxes, (4, 8, 16, 32)).numpy().tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 0]
    assert levels_of(boxes, (16,)).numpy().tolist() == [0] * 11
    assert levels_of(np.float32([[0, 0, 112, 448]]), (8, 16, 32)).numpy().tolist() == [1]


def test_max_pooling_is_a_plain_loop_and_its_gradient_goes_to_the_largest():
    x = PYRAMID[0]
    found = roi_max_pool(x, BOXES, 4).numpy()
    for b, r in np.ndindex(2, 4):
        assert found[b, r] == pytest.approx(plain_pool(x[b], BOXES[b, r], 4, 7), abs=0)
    value = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = tf.reduce_sum(roi_max_pool(value, BOXES[:, :1], 4, 2))
    gradient = tape.gradient(loss, value).numpy()
    assert gradient.sum() == pytest.approx(2 * 4 * 3)
    assert float(loss) == pytest.approx((gradient * x).sum(), rel=1e-4)


def test_half_precision_stays_what_it_is():
    x = tf.cast(PYRAMID[1], tf.bfloat16)
    for found in (roi_align([x], BOXES, [8]), roi_max_pool(x, BOXES, 8)):
        assert found.dtype == tf.bfloat16
        assert np.isfinite(tf.cast(found, tf.float32).numpy()).all()
