"""Cells, places and boxes of YOLO v2 and v3: encode and decode are inverses, and who answers is as a loop finds it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.detection.test_build import plain_iou
from tlkit.tasks.detection.yolo.grids import LARGEST_GROWTH, Grids, answer, background, decode, encode

SIZE = 64
SHAPES = np.array(
    [[[6, 9], [12, 7], [11, 14]], [[20, 12], [14, 28], [26, 24]], [[44, 20], [22, 50], [50, 48]]], np.float32
)
GRIDS = Grids((8, 4, 2), (8, 16, 32), SHAPES)
PLACES = GRIDS.places()
COUNT = 3 * (64 + 16 + 4)


def box(middle, sides):
    return np.concatenate([np.array(middle) - np.array(sides) / 2, np.array(middle) + np.array(sides) / 2])


def test_places_run_through_grids_rows_columns_and_anchors():
    expected = [
        (column * stride, row * stride, stride, *shape)
        for side, stride, shapes in zip(GRIDS.sides, GRIDS.strides, SHAPES, strict=True)
        for row in range(side)
        for column in range(side)
        for shape in shapes
    ]
    np.testing.assert_array_equal(np.concatenate(PLACES, 1), np.array(expected, np.float32))
    assert len(expected) == COUNT
    assert (GRIDS.size, GRIDS.starts()) == (64, [0, 192, 240])


@settings(max_examples=60, deadline=None)
@given(
    place=st.integers(0, COUNT - 1),
    inside=st.tuples(*[st.floats(0.01, 0.99)] * 2),
    growth=st.tuples(*[st.floats(-4, 4)] * 2),
)
def test_encode_and_decode_are_inverses(place, inside, growth):
    own = PLACES.at(tf.constant([[place]]))
    logits = np.log(np.array(inside) / (1 - np.array(inside)))
    raw = tf.constant([[[*logits, *growth]]], tf.float32)
    xyxy = decode(raw, own)
    found, sides = encode(xyxy, own)
    assert found.numpy()[0, 0] == pytest.approx(inside, abs=1e-3)
    assert sides.numpy()[0, 0] == pytest.approx(growth, abs=1e-3)
    again = decode(tf.concat([tf.math.log(found / (1 - found)), sides], -1), own)
    assert again.numpy() == pytest.approx(xyxy.numpy(), abs=0.02, rel=1e-3)
    corner, stride = own.corner.numpy()[0, 0], own.stride.numpy()[0, 0]
    middle = (xyxy.numpy()[0, 0, :2] + xyxy.numpy()[0, 0, 2:]) / 2
    assert (middle >= corner - 0.1).all()
    assert (middle <= corner + stride + 0.1).all()


@pytest.mark.parametrize("value", [1e4, 1e30, 3e38])
def test_boxes_stay_finite_whatever_is_said(value):
    for sign in (1, -1):
        found = decode(tf.fill([1, COUNT, 4], tf.constant(sign * value, tf.float32)), PLACES).numpy()
        assert np.isfinite(found).all()
        sides = (found[..., 2:] - found[..., :2])[0]
        assert sides.max() <= SHAPES.max() * np.exp(LARGEST_GROWTH) * 1.01
        assert np.isfinite(sides.prod(-1)).all()


def plain_answer(xyxy):
    """The place of a box, by a loop."""
    width, height = xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]
    fits = [
        plain_iou((0, 0, width, height), (0, 0, *shape)) for shapes in SHAPES.tolist() for shape in shapes
    ]  # one corner in common: as about one middle
    grid, anchor = divmod(int(np.argmax(fits)), 3)
    column, row = ((xyxy[k] + xyxy[k + 2]) / 2 // GRIDS.strides[grid] for k in (0, 1))
    side = GRIDS.sides[grid]
    column, row = min(max(column, 0), side - 1), min(max(row, 0), side - 1)
    return GRIDS.starts()[grid] + int((row * side + column) * 3 + anchor), max(fits)


def test_boxes_are_answered_for_as_a_loop_finds():
    random = np.random.default_rng(0)
    sides = random.uniform(4, 60, (2, 40, 2))
    middle = random.uniform(0, 64, (2, 40, 2))
    xyxy = np.concatenate([middle - sides / 2, middle + sides / 2], -1).astype(np.float32)
    labels = random.integers(-2, 3, (2, 40)).astype(np.int32)
    found = answer(tf.constant(xyxy), tf.constant(labels), GRIDS)
    taught = 0
    for i in range(2):
        plain = [plain_answer(one) for one in xyxy[i].tolist()]
        best = {}
        for m, (place, fit) in enumerate(plain):
            assert found.place.numpy()[i, m] == place
            if labels[i, m] >= 0 and fit > best.get(place, (0.0, -1))[0]:
                best[place] = fit, m
        chosen = {m for _, m in best.values()}
        assert set(np.flatnonzero(found.taught.numpy()[i])) == chosen
        taught += len(chosen)
    assert taught < (labels >= 0).sum()  # some met at one place


def test_every_grid_answers_for_boxes_of_its_anchors():
    """Anchors in one unit: with those of one grid in cells, no box would ever be learned there."""
    xyxy = np.stack([box((30, 30), shape) for shape in SHAPES.reshape(-1, 2)])[None].astype(np.float32)
    found = answer(tf.constant(xyxy), tf.zeros([1, 9], tf.int32), GRIDS)
    assert (np.digitize(found.place.numpy()[0], GRIDS.starts()) - 1).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.taught.numpy().all()


def test_a_middle_on_the_last_edge_belongs_to_the_last_cell():
    xyxy = tf.constant(
        [[[60.0, 60, 68, 68], [-4, -4, 4, 4]]]
    )  # middles (64, 64), where there is no cell, and (0, 0)
    place = answer(xyxy, tf.zeros([1, 2], tf.int32), GRIDS).place.numpy()[0]
    assert place.tolist() == [plain_answer(one)[0] for one in xyxy.numpy()[0].tolist()]
    assert PLACES.corner.numpy()[place].tolist() == [[56, 56], [0, 0]]


def test_background_is_what_neither_answers_nor_overlaps_much():
    random = np.random.default_rng(1)
    xyxy = np.array([[[6, 8, 40, 44], [30, 2, 50, 20], [40, 40, 62, 60], [-1] * 4]], np.float32)
    labels = np.array([[0, 2, -2, -1]], np.int32)
    raw = random.normal(0, 0.5, (1, COUNT, 4)).astype(np.float32)
    predicted = decode(tf.constant(raw), PLACES)
    answers = answer(tf.constant(xyxy), tf.constant(labels), GRIDS)
    found = background(predicted, tf.constant(xyxy), tf.constant(labels), answers, 0.5).numpy()[0]
    answering = {plain_answer(one)[0] for one in xyxy[0, :3].tolist()}
    for place, one in enumerate(predicted.numpy()[0].tolist()):
        most = max(plain_iou(one, known) for known in xyxy[0, :3].tolist())
        assert found[place] == (0 if most > 0.5 or place in answering else 1)
    assert 3 < (found == 0).sum() < 60


def test_images_without_boxes_are_all_background():
    nothing, none = tf.fill([2, 1, 4], -1.0), tf.fill([2, 1], -1)
    answers = answer(nothing, none, GRIDS)
    assert not answers.taught.numpy().any()
    assert background(decode(tf.zeros([2, COUNT, 4]), PLACES), nothing, none, answers, 0.5).numpy().all()
