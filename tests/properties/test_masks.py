"""The box of a mask that was moved is the box that was moved, whatever happens to the image."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.boxes.masks.moved import batch_of, ellipses, rendered
from tests.properties.test_proposals import HOW
from tlkit.data.boxes.affine import PADDING
from tlkit.data.boxes.augment import augment_boxes
from tlkit.data.boxes.masks import moving


@settings(max_examples=settings().max_examples // 10)
@given(how=HOW, seed=st.integers(0, 2**31 - 1), numbers=st.integers(0, 2**31 - 1))
def test_the_box_of_a_moved_mask_is_the_moved_box(how, seed, numbers):
    drawn = ellipses(np.random.default_rng(numbers), images=2)
    xyxy, labels, masks, grids = batch_of(drawn)
    pixels = tf.zeros([2, *drawn.shape[2:], 3], tf.uint8)
    batch = augment_boxes(pixels, xyxy, labels, tf.constant([seed, 1]), how, masks)
    shown, boxes, kinds = moving.shown(grids, batch.masks, batch.xyxy, batch.labels, PADDING)
    there = kinds.numpy() != PADDING
    assert (there == (shown.numpy() > 0).any((2, 3)) & there).all()
    frame = batch.pixels.shape[1]
    for label in range(4):
        for _, box, mask in rendered(batch, shown, boxes, kinds, label):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            assert np.abs(tight - box).max() <= 2  # a pixel, and a cell of the grid where it is enlarged
            assert 0 <= box.min() <= box.max() <= frame
