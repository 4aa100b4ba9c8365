"""Warped proposals have the paper's context, and the network's mean where the image ends."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.tasks.detection.rcnn.rcnn_warp import CHUNK, answers_of_crops, fill_of, grown, norm_scale, warp

FILL = (10.0, 20.0, 30.0)


def warped(pixels, boxes, side, fill=FILL):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return warp(tf.constant(pixels[None]), boxes, tf.zeros(len(boxes), tf.int32), side, fill).numpy()


def ramp(height=40, width=60):
    """Red grows by 4 a column, green by 5 a row: a pixel's middle at (x, y) has 4x - 2 and 5y - 2.5."""
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 5 * y, 0 * x], -1).astype(np.uint8)


@pytest.mark.parametrize("side", [227, 96])
def test_the_context_is_that_of_the_paper_measured_in_the_warped_square(side):
    left, top, right, bottom = grown(tf.constant([100.0, 50.0, 295.0, 115.0]), side).numpy()
    assert (right - left, bottom - top) == pytest.approx((227, 65 * 227 / 195), rel=1e-5)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((197.5, 82.5))
    assert (100 - left) * side / (right - left) == pytest.approx(16 * side / 227, rel=1e-4)


def test_a_ramp_is_sampled_exactly_without_half_a_pixel_of_shift():
    """side 4: the box of 195/227 x 8 pixels is grown to 8, two pixels of the image a pixel of the square."""
    half = 4 * 195 / 227
    crop = warped(ramp(), [20 - half, 16 - half, 20 + half, 16 + half], 4)[0].astype(float)
    middles = np.array([17, 19, 21, 23])  # x of the middles of the square's pixels; from 16 to 24
    np.testing.assert_allclose(crop[1, :, 0], 4 * middles - 2, atol=0.51)
    np.testing.assert_allclose(crop[:, 1, 1], 5 * (middles - 4) - 2.5, atol=0.51)


def test_what_lies_beyond_the_image_has_the_mean_and_its_edge_has_not():
    pixels = np.full((20, 20, 3), 200, np.uint8)
    half = 10 * 195 / 227
    crop = warped(pixels, [-half, 10 - half, half, 10 + half], 8)[
        0
    ]  # from x -10 to 10: the left half lies outside
    assert (crop[:, :4] == FILL).all()
    assert (crop[:, 4:] == 200).all()
    inside = (
        8.0 * 195 / 227 / 2
    )  # 8 pixels up to the image's corner, each warped to two: the outermost are the image's
    assert (warped(pixels, [4 - inside, 4 - inside, 4 + inside, 4 + inside], 16) == 200).all()


def test_the_mean_is_in_the_order_of_red_green_and_blue():
    assert fill_of("caffe") == (123.68, 116.779, 103.939)
    assert fill_of("lite") == (127, 127, 127)
    assert fill_of("inside") == (123.675, 116.28, 103.53)


def test_answers_of_many_images_lie_where_their_boxes_do_and_padding_has_none():
    images = np.stack([np.full((16, 16, 3), 50 * (i + 1), np.uint8) for i in range(3)])
    boxes = np.full((3, CHUNK, 4), -1, np.float32)
    boxes[0, :2] = [[4, 4, 8, 8], [5, 5, 9, 9]]
    boxes[2, :] = [4, 4, 8, 8]
    boxes[2, 7] = [4, 4, 4, 8]  # of no width
    seen = []

    def network(crops):
        seen.append(len(crops))
        return tf.reduce_mean(tf.cast(crops, tf.float32), [1, 2])[:, :2]

    found = answers_of_crops(network, 2, tf.constant(images), tf.constant(boxes), 8, FILL).numpy()
    expected = np.zeros((3, CHUNK, 2))
    expected[0, :2], expected[2] = 50, 150
    expected[2, 7] = 0
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert set(seen) == {CHUNK}


def test_no_proposal_at_all_asks_the_network_nothing():
    def network(crops):
        raise AssertionError("asked")

    images, none = tf.zeros([2, 8, 8, 3], tf.uint8), tf.fill([2, 3, 4], -1.0)
    assert (
        answers_of_crops(network, 5, images, none, 8, FILL).numpy().tolist() == np.zeros((2, 3, 5)).tolist()
    )
    empty = answers_of_crops(network, 5, images, tf.zeros([2, 0, 4]), 8, FILL)
    assert empty.shape == (2, 0, 5)


def test_features_are_scaled_to_a_mean_length_of_20():
    features = np.array([[3, 4], [0, 15]], np.float32)
    assert norm_scale(features) == pytest.approx(2)
    assert norm_scale(np.zeros((0, 2), np.float32)) == norm_scale(np.zeros((3, 2), np.float32)) == 1
