"""Samples of regions: what the table says of their overlap, the same again from the same seed, and never NaN."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.tasks.detection.deltas import boxes_of, deltas_of
from tlkit.tasks.detection.rcnn.box_head import BoxHead, detected_regions, region_losses
from tlkit.tasks.detection.rcnn.sampling import draw, sample_regions

RANDOM = np.random.default_rng(0)
CORNERS = RANDOM.uniform(0, 60, (3, 200, 2))
PROPOSALS = np.concatenate([CORNERS, CORNERS + RANDOM.uniform(8, 40, (3, 200, 2))], -1).astype(np.float32)
XYXY = np.float32([[[10, 10, 40, 44], [50, 30, 80, 50]], [[20, 20, 45, 45], [-1] * 4], [[-1] * 4, [-1] * 4]])
LABELS = np.int32([[2, 0], [-2, -1], [-1, -1]])  # two objects; a difficult one alone; none
SEED = tf.constant([3, 4])


def plain_iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.maximum(sides, 0).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def test_regions_have_the_overlap_that_the_paper_says():
    found = sample_regions(PROPOSALS, XYXY, LABELS, 32, SEED)
    labels = found.labels.numpy()
    assert labels.shape == (3, 32)
    assert 2 <= (labels[0] >= 0).sum() <= 8  # the true boxes at least, a quarter at most
    for box, label, own in zip(found.boxes.numpy()[0], labels[0], found.xyxy.numpy()[0], strict=True):
        ious = [plain_iou(box, truth) for truth in XYXY[0]]
        if label >= 0:
            assert max(ious) >= 0.5
            assert label == LABELS[0, int(np.argmax(ious))]
            assert own.tolist() == XYXY[0, int(np.argmax(ious))].tolist()
        elif label == -1:
            assert 0.1 <= max(ious) < 0.5
    assert all(plain_iou(box, XYXY[1, 0]) < 0.5 for box in found.boxes.numpy()[1])
    assert (labels[1] == -1).all()  # without an object all are background, however far from any
    assert (labels[2] == -1).all()


def test_a_sample_follows_from_its_seed():
    first, again, other = (
        sample_regions(PROPOSALS, XYXY, LABELS, 16, seed) for seed in (SEED, SEED, SEED + 1)
    )
    assert (first.boxes.numpy() == again.boxes.numpy()).all()
    assert (first.boxes.numpy() != other.boxes.numpy()).any()


def test_both_kinds_are_drawn_as_they_are_there():
    positive = np.zeros((2, 40), bool)
    positive[0, 10:13] = positive[1] = True
    places, found = (v.numpy() for v in draw(positive, ~positive, 8, 16, SEED))
    assert found.sum(1).tolist() == [16, 8]  # three and thirteen; eight, and no negative one is there
    assert sorted(places[0, :3].tolist()) == [10, 11, 12]
    assert len(set(places[0].tolist())) == 16


def test_fewer_than_asked_are_no_nan():
    """fast-rcnn 111; proposals without an area, as clipping leaves, are none."""
    few = np.float32([[[5, 5, 5, 30], [-1] * 4]] * 3)
    found = sample_regions(few, XYXY, LABELS, 8, SEED)
    assert (found.labels.numpy() >= 0).sum(1).tolist() == [2, 0, 0]
    assert (found.labels.numpy() == -2).sum(1).tolist() == [6, 8, 8]
    head = BoxHead(3, 8)
    with tf.GradientTape() as tape:
        losses = region_losses(*head(RANDOM.normal(size=(3, 8, 2, 2, 4)).astype(np.float32)), found)
        total = tf.add_n(list(losses.values()))
    assert np.isfinite(float(total))
    assert all(np.isfinite(g.numpy()).all() for g in tape.gradient(total, [v.value for v in head.weights]))
    nothing = region_losses(
        tf.zeros([1, 8, 4]), tf.zeros([1, 8, 3, 4]), found._replace(labels=found.labels[1:2])
    )
    assert [float(v) for v in nothing.values()] == [0.0, 0.0]


def test_background_alone_has_a_loss():
    """keras-frcnn 75."""
    found = sample_regions(PROPOSALS[2:], XYXY[2:], LABELS[2:], 8, SEED)
    losses = region_losses(tf.zeros([1, 8, 4]), tf.ones([1, 8, 3, 4]), found)
    assert float(losses["class"]) == pytest.approx(np.log(4))
    assert float(losses["box"]) == 0


def test_losses_are_those_of_a_plain_loop():
    found = sample_regions(PROPOSALS, XYXY, LABELS, 16, SEED)
    logits, deltas = RANDOM.normal(size=(3, 16, 4)).astype(np.float32), RANDOM.normal(size=(3, 16, 3, 4))
    classes = box = 0.0
    for b, r in np.ndindex(3, 16):
        label, likely = int(found.labels[b, r]), np.exp(logits[b, r]) / np.exp(logits[b, r]).sum()
        classes -= np.log(likely[label])  # -1 is the background, which is the last
        if label >= 0:
            a, t = found.boxes.numpy()[b, r], found.xyxy.numpy()[b, r]
            sides, wanted = a[2:] - a[:2], t[2:] - t[:2]
            middle = ((t[:2] + t[2:]) - (a[:2] + a[2:])) / 2 / sides
            truth = np.concatenate([middle / 0.1, np.log(wanted / sides) / 0.2])
            off = np.abs(deltas[b, r, label] - truth)
            box += np.where(off < 1, 0.5 * off**2, off - 0.5).sum()
    losses = region_losses(logits, deltas.astype(np.float32), found)
    assert float(losses["class"]) == pytest.approx(classes / 48, rel=1e-4)
    assert float(losses["box"]) == pytest.approx(box / 48, rel=1e-4)


def test_deltas_and_boxes_are_inverses_and_each_class_has_its_own():
    truth = PROPOSALS[:1, 100:105]
    deltas = np.zeros((1, 5, 3, 4), np.float32)
    deltas[:, :, 1] = deltas_of(PROPOSALS[:1, :5], truth)
    assert boxes_of(deltas[:, :, 1], PROPOSALS[:1, :5]).numpy() == pytest.approx(truth, abs=1e-3)
    logits = np.float32([[[0, 3, 0, 0]] * 5])
    proposals = PROPOSALS[:1, :5].copy()
    proposals[0, 4] = -1  # padding
    boxes, scores = (v.numpy() for v in detected_regions(logits, deltas, proposals, 90))
    assert boxes.shape == (1, 15, 4)
    assert boxes[0, 1] == pytest.approx(np.clip(truth[0, 0], 0, 90), abs=1e-3)
    assert scores[0, 1].tolist() == [0, pytest.approx(np.exp(3) / (np.exp(3) + 3)), 0]
    assert (scores[0, 12:] == 0).all()
