"""Any proposal goes wherever a box in its place goes, whatever happens to the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tlkit.data.boxes.augment import augment_boxes, augment_with_proposals
from tlkit.data.boxes.augment_settings import BoxAugmentation

HOW = st.builds(
    BoxAugmentation,
    flip=st.sampled_from(["none", "horizontal", "vertical", "both"]),
    turn=st.booleans(),
    scale=st.sampled_from([(1.0, 1.0), (0.6, 1.7)]),
    stretch=st.sampled_from([0.0, 0.2]),
    shift=st.sampled_from([0.0, 0.3]),
    crop=st.sampled_from([0, 128]),
    mosaic=st.sampled_from([0.0, 0.0, 0.5]),
    mixup=st.sampled_from([0.0, 0.0, 0.5]),
)


@settings(max_examples=settings().max_examples // 10)
@given(how=HOW, seed=st.integers(0, 2**31 - 1), numbers=st.integers(0, 2**31 - 1))
def test_a_proposal_moves_exactly_as_a_box_does(how, seed, numbers):
    random = np.random.default_rng(numbers)
    corners = np.sort(random.uniform(0, 160, (3, 5, 2, 2)), 2).reshape(3, 5, 4).astype(np.float32)
    labels = np.tile(np.arange(5, dtype=np.int32), (3, 1))
    there = random.random((3, 5)) < 0.8
    boxes, labels = np.where(there[..., None], corners, -1), np.where(there, labels, -1)
    pixels = tf.zeros([3, 160, 160, 3], tf.uint8)
    batch, found = augment_with_proposals(pixels, boxes, labels, boxes, tf.constant([seed, 1]), how)
    kept = batch.xyxy.numpy(), batch.labels.numpy()
    for moved, kinds, regions in zip(*kept, found.numpy(), strict=True):
        real = regions[:, 0] >= 0
        assert not real[real.sum() :].any()  # those that are left come first
        assert sorted(moved[kinds != -1].tolist()) == sorted(regions[real].tolist())
    alone = augment_boxes(pixels, boxes, labels, tf.constant([seed, 1]), replace(how, crop=0))
    if not how.crop:  # which draws by the number of places
        assert all((a.numpy() == b.numpy()).all() for a, b in zip(alone.parts, batch.parts, strict=True))
