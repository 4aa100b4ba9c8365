"""Proposals: who learns what, at the border too; which boxes are proposed; and no gradient through where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.tasks.detection.anchors import best_ious
from tlkit.tasks.detection.rcnn.rpn import (
    PaperAnchors,
    PyramidAnchors,
    match_anchors,
    proposal_losses,
    propose,
)

SIZE = 64
ANCHORS = PyramidAnchors(8.0, levels=4).boxes(SIZE)
XYXY = np.float32([[[10, 10, 21, 19], [2, 30, 5, 33], [40, 40, 60, 60], [-1] * 4]])
LABELS = np.int32([[1, 0, -2, -1]])  # the second fits no anchor well, the third is difficult
RANDOM = np.random.default_rng(0)


def plain_iou(a, b):
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - sides.prod())


def test_anchors_are_those_of_the_papers():
    pyramid = PyramidAnchors().boxes(256)
    assert len(pyramid) == 6 * (64**2 + 32**2 + 16**2 + 8**2 + 4**2)
    sides = np.sqrt((pyramid[:, 2:] - pyramid[:, :2]).prod(-1))
    assert sorted(set(sides.round().tolist())) == [32, 45, 64, 91, 128, 181, 256, 362, 512, 724]
    assert (pyramid[:6, :2] + pyramid[:6, 2:]) / 2 == pytest.approx(2.0)  # the middle of the first cell
    paper = PaperAnchors().boxes(256)
    assert len(paper) == 9 * 16**2
    assert sorted(set(np.sqrt((paper[:, 2:] - paper[:, :2]).prod(-1)).round().tolist())) == [128, 256, 512]
    assert best_ious(np.float32([[0, 0, 32, 32]]), PyramidAnchors(32.0), 64)[0] == pytest.approx(
        max(plain_iou(a, np.float32([0, 0, 32, 32])) for a in PyramidAnchors(32.0).boxes(64))
    )


def test_anchors_are_matched_as_a_loop_matches_them():
    """Those over the border are neither of an object nor of the background."""
    found = match_anchors(ANCHORS, XYXY, LABELS, SIZE)
    inside = [(a[:2] >= 0).all() and (a[2:] <= SIZE).all() for a in ANCHORS]
    ious = np.array(
        [
            [plain_iou(a, box) if ok else 0 for box in XYXY[0, :3]]
            for a, ok in zip(ANCHORS, inside, strict=True)
        ]
    )
    best = ious[:, :2].max(0)
    assert best[1] < 0.7
    for a, ok in enumerate(inside):
        forced = any(ious[a, m] > 0 and ious[a, m] >= best[m] * (1 - 1e-4) for m in (0, 1))
        positive = ok and (forced or ious[a, :2].max() >= 0.7)
        assert bool(found.positive[0, a]) == positive
        assert bool(found.negative[0, a]) == (ok and not positive and ious[a].max() < 0.3)
        if positive:
            assert found.xyxy[0, a].numpy().tolist() == XYXY[0, ious[a, :2].argmax()].tolist()
    border = ~np.array(inside)
    assert 0 < border.sum() < len(ANCHORS)
    assert not (found.positive.numpy() | found.negative.numpy())[0, border].any()


def test_losses_are_those_of_a_plain_loop():
    objectness = RANDOM.normal(size=(1, len(ANCHORS))).astype(np.float32)
    deltas = RANDOM.normal(0, 0.3, (1, len(ANCHORS), 4)).astype(np.float32)
    matched = match_anchors(ANCHORS, XYXY, LABELS, SIZE)
    few = matched._replace(
        negative=matched.negative & (np.arange(len(ANCHORS)) < 90)
    )  # so that all are drawn
    losses = proposal_losses(objectness, deltas, tf.constant(ANCHORS), few, tf.constant([1, 2]))
    positive, negative = (np.flatnonzero(v.numpy()[0]) for v in (few.positive, few.negative))
    cross = np.log1p(np.exp(-objectness[0, positive])).sum() + np.log1p(np.exp(objectness[0, negative])).sum()
    box = 0.0
    for a in positive:
        sides, wanted = ANCHORS[a, 2:] - ANCHORS[a, :2], few.xyxy.numpy()[0, a]
        middle = ((wanted[:2] + wanted[2:]) - (ANCHORS[a, :2] + ANCHORS[a, 2:])) / 2 / sides
        off = np.abs(deltas[0, a] - np.concatenate([middle, np.log((wanted[2:] - wanted[:2]) / sides)]))
        box += np.where(off < 1 / 9, 4.5 * off**2, off - 1 / 18).sum()  # beta 1/9, no variances
    number = len(positive) + len(negative)
    assert number < 256
    assert float(losses["objectness"]) == pytest.approx(cross / number, rel=1e-4)
    assert float(losses["proposals"]) == pytest.approx(box / number, rel=1e-4)


def test_an_image_of_background_teaches_256_anchors():
    matched = match_anchors(ANCHORS, np.full((1, 1, 4), -1, np.float32), np.int32([[-1]]), SIZE)
    assert not matched.positive.numpy().any()
    zeros = tf.zeros([1, len(ANCHORS)])
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        losses = proposal_losses(
            zeros, tf.zeros([1, len(ANCHORS), 4]), tf.constant(ANCHORS), matched, tf.constant([0, 0])
        )
    assert float(losses["objectness"]) == pytest.approx(np.log(2))
    gradient = tf.convert_to_tensor(tape.gradient(losses["objectness"], zeros)).numpy()
    assert (gradient > 0).sum() == 256


def test_proposals_are_the_best_without_duplicates_and_nothing_flows_back():
    objectness = np.full((1, len(ANCHORS)), -9, np.float32)
    deltas = np.zeros((1, len(ANCHORS), 4), np.float32)
    objectness[0, [300, 301, 303]] = 3, 2, 1
    deltas[0, 301] = np.concatenate([(ANCHORS[300, :2] + ANCHORS[300, 2:] - ANCHORS[301, :2] - ANCHORS[301, 2:]) / 2 / (ANCHORS[301, 2:] - ANCHORS[301, :2]),
                                     np.log((ANCHORS[300, 2:] - ANCHORS[300, :2]) / (ANCHORS[301, 2:] - ANCHORS[301, :2]))])  # fmt: skip
    deltas[0, 303, :2] = 99  # far outside: nothing is left of it
    values = [tf.constant(v) for v in (objectness, deltas)]
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = propose(*values, tf.constant(ANCHORS), SIZE, (3, 5))
        total = tf.reduce_sum(found)
    assert tape.gradient(total, values) == [None, None]
    assert found.numpy()[0, 0] == pytest.approx(np.clip(ANCHORS[300], 0, SIZE), abs=1e-4)
    assert (
        found.numpy()[0, 1:] == 0
    ).all()  # the second is a duplicate, the third nothing, and no more were asked
