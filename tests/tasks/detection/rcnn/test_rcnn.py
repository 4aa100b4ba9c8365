"""R-CNN as a detector: what it learns it says, of the proposals that it is given, and nothing of padding."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, draw, drawn_boxes
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.safe_loading.keras_models import read_model
from tlkit.data.boxes.batches import Letterboxed, network_proposals
from tlkit.engine.training.drawn_images import drawn
from tlkit.errors import DataFault
from tlkit.tasks.detection.metrics.summary import coco_measures
from tlkit.tasks.detection.predict import original, select
from tlkit.tasks.detection.rcnn import rcnn, rcnn_features
from tlkit.tasks.detection.rcnn.rcnn import RcnnDetector, build_rcnn
from tlkit.tasks.detection.rcnn.rcnn_features import RegionFeatures
from tlkit.tasks.detection.rcnn.rcnn_learning import (
    chosen_proposals,
    learn,
    regions_of,
    share_on_objects,
)
from tlkit.tasks.detection.settings import Detecting

SIDE = 16


def tiny_features(backbone, side, weights="none"):
    """What `build_features` gives: the colours of a crop's cells, which tell these objects and their edges."""
    images = keras.Input((side, side, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 64, -2, name="preprocess")(images)
    x = keras.layers.AveragePooling2D(side // 4, name="backbone")(x)
    return (
        images,
        keras.layers.Flatten(name="features", dtype="float32")(x),
        WeightsOrigin("none", "no weights", None),
    )


@pytest.fixture
def tiny(monkeypatch):
    """A network of cells, and files that are squares of the right size already, whose reader takes long to trace."""
    monkeypatch.setattr(rcnn, "build_features", tiny_features)
    monkeypatch.setattr(rcnn_features, "read_letterboxed", square)


def square(contents, size):
    pixels = tf.ensure_shape(tf.io.decode_png(contents, 3), [size, size, 3])
    sides = tf.constant([size, size], tf.float32)
    return Letterboxed(pixels, tf.ones(2), tf.zeros(2), sides)


def with_jitter(boxes, each=40, seed=0):
    """The same images with regions all over them, some of which are nearly their objects."""
    found = []
    for index, xyxy in enumerate(boxes.xyxy):
        random = np.random.default_rng([seed, index])
        corners = random.uniform(0, SIZE - 12, (each, 2))
        some = np.concatenate([corners, np.minimum(corners + random.uniform(8, 32, (each, 2)), SIZE)], 1)
        near = np.repeat(xyxy, 6, 0) + random.normal(0, 1.5, (6 * len(xyxy), 4))
        mixed = np.concatenate([some, near])[random.permutation(each + 6 * len(xyxy))]
        found.append(mixed.clip(0, SIZE).astype(np.float32))
    return replace(boxes, proposals=tuple(found))


def taught(boxes, detector, most=40):
    features = RegionFeatures(detector)
    regions = [regions_of(boxes, index, SIZE, most) for index in range(len(boxes))]
    rows = [features(boxes.file(index), one.boxes) for index, one in enumerate(regions)]
    learn(regions, rows, len(NAMES)).into(detector)
    return features, regions, rows


def detections(detector, boxes):
    pixels = np.stack([draw(number)[0] for number in range(len(boxes))])
    given = {"images": tf.constant(pixels), "proposals": tf.constant(network_proposals(boxes, SIZE))}
    kept = select(*detector.decode(detector(given, training=False)), Detecting(0.01, 0.3, 20))
    return original(boxes, 0, kept, SIZE)


def test_what_is_learned_is_found_and_survives_saving_to_the_bit(tiny, tmp_path):
    boxes = with_jitter(drawn_boxes(tmp_path / "images", 16))
    detector, origin = build_rcnn(NAMES, SIZE, "efficientnet-lite0", "none", SIDE)
    assert origin.kind == "none"
    features, regions, rows = taught(boxes, detector)
    found = detections(detector, boxes)
    assert coco_measures(boxes, found)["AP50"] > 0.8
    # the cache gives the same, and so does who computes all of it again
    again = RegionFeatures(detector)
    assert again(boxes.file(0), regions[0].boxes).tobytes() == rows[0].tobytes()
    assert (again.computed, features.computed) == (0, sum(map(len, rows)))
    detector.save(tmp_path / "model.keras")
    other = read_model(tmp_path / "model.keras")
    assert isinstance(other, RcnnDetector)
    for one, two in zip(found, detections(other, boxes), strict=True):
        assert all(x.tobytes() == y.tobytes() for x, y in zip(one[:3], two[:3], strict=True))


def test_proposals_beyond_300_padding_and_boxes_without_area_are_not_answered(tiny):
    detector, _ = build_rcnn(("a", "b"), SIZE, "efficientnet-lite0", "none", SIDE)
    detector.machines.bias.assign([5.0, -5.0])
    images = tf.zeros([3, SIZE, SIZE, 3], tf.uint8)
    proposals = np.full((3, 5000, 4), -1, np.float32)
    proposals[0] = np.random.default_rng(0).uniform([0, 0, 32, 32], [30, 30, 62, 62], (5000, 4))
    proposals[1, :2] = [[5, 5, 5, 9], [4, 4, 9, 9]]
    boxes, scores = detector.decode(detector({"images": images, "proposals": proposals}, training=False))
    assert boxes.shape == (3, 600, 4)
    assert (scores.numpy()[0].max(1) > 0).sum() == 600
    assert np.flatnonzero(scores.numpy()[1].max(1)).tolist() == [2, 3]
    assert scores.numpy()[1, 2:4] == pytest.approx(np.diag([0.9999546, 4.54e-5]), rel=1e-3)
    assert boxes.numpy()[1, 2] == pytest.approx([4, 4, 9, 9])
    assert not scores.numpy()[2].any()
    # a regression that pushes every box out of the square leaves none
    detector.regression.bias.assign([1e3, 0, 0, 0] * 2)
    _, none = detector.decode(detector({"images": images, "proposals": proposals}, training=False))
    assert not none.numpy().any()


def test_what_has_not_learned_finds_nothing(tiny):
    detector, _ = build_rcnn(NAMES, SIZE, "efficientnet-lite0", "none", SIDE)
    given = {"images": tf.zeros([1, SIZE, SIZE, 3], tf.uint8), "proposals": tf.constant([[[0.0, 0, 20, 20]]])}
    _, scores = detector.decode(detector(given, training=False))
    assert scores.numpy().max() < 1e-6


def test_regions_are_half_on_objects_at_most_in_the_order_of_the_proposals():
    objects = np.array([[0, 0, 10, 10]], np.float32)
    on, off = [0, 0, 10, 8], [40, 40, 50, 50]
    proposals = np.array([off, on, on, on, off, off, on], np.float32)
    assert chosen_proposals(proposals, objects, 4).tolist() == [0, 1, 2, 4]
    assert chosen_proposals(proposals, objects[:0], 4).tolist() == [0, 1, 2, 3]
    assert chosen_proposals(proposals[[1, 2, 3]], objects, 4).tolist() == [0, 1]
    assert chosen_proposals(proposals[:0], objects, 4).tolist() == []


def test_images_without_objects_without_proposals_or_without_background_are_refused(tiny, tmp_path):
    boxes = with_jitter(drawn_boxes(tmp_path / "images", 4))
    empty = [regions_of(boxes, 3, SIZE, 40)]  # each fourth image is empty
    features = [np.ones((len(empty[0].boxes), 5), np.float32)]
    with pytest.raises(DataFault, match="no object"):
        learn(empty, features, len(NAMES))
    bare = replace(boxes, proposals=(np.zeros((0, 4), np.float32),) * 4)
    one = regions_of(bare, 0, SIZE, 40)
    assert share_on_objects([one]) == 0
    single = replace(one, overlaps=np.ones_like(one.overlaps))
    with pytest.raises(DataFault, match="no proposal beside"):
        learn([single], [np.ones((len(one.boxes), 5), np.float32)], len(NAMES))


def test_the_draw_follows_the_seed_and_the_content(tmp_path):
    boxes = drawn_boxes(tmp_path / "images", 6)
    hashes = [f"{number}" for number in range(6)]
    first = drawn(boxes, hashes, 0, 6).tolist()
    assert sorted(first) == list(range(6))
    assert drawn(boxes, hashes, 0, 3).tolist() == first[:3]
    assert drawn(boxes, hashes, 1, 6).tolist() != first
