"""Anchors: where they lie, how well they cover, and a proposal that covers better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlkit.data.boxes.dataset import Boxes, iou
from tlkit.errors import DataFault
from tlkit.tasks.detection.anchors import (
    Anchors,
    best_ious,
    coverage,
    propose_anchors,
    shape_clusters,
    with_levels,
)


def boxes_of(arrays, labels=None, size=256):
    labels = labels or [[0] * len(a) for a in arrays]
    return Boxes(
        source="drawn",
        root=Path(),
        class_names=("gun", "knife"),
        paths=tuple(f"{i}.png" for i in range(len(arrays))),
        xyxy=tuple(np.array(a, np.float32).reshape(-1, 4) for a in arrays),
        labels=tuple(np.array(some, np.int32) for some in labels),
        difficult=tuple(np.zeros(len(a), bool) for a in arrays),
        sizes=((size, size),) * len(arrays),
        groups=(None,) * len(arrays),
        parts=(None,) * len(arrays),
    )


def random_boxes(count=60, seed=0, low=10, high=90, size=256):
    random = np.random.default_rng(seed)
    sides = random.uniform(low, high, (count, 2))
    corner = random.uniform(0, size - sides)
    return np.concatenate([corner, corner + sides], 1)


@pytest.mark.parametrize("size", [64, 96, 320])
def test_anchors_are_those_of_keras_cv(size):
    import keras_cv

    anchors = Anchors()
    theirs = keras_cv.layers.AnchorGenerator(
        bounding_box_format="xyxy",
        sizes=[32.0 * 2**i for i in range(5)],
        scales=list(anchors.scales),
        aspect_ratios=list(anchors.ratios),
        strides=[8 * 2**i for i in range(5)],
    )(image_shape=(size, size, 3))
    expected = np.concatenate([np.asarray(some) for some in theirs.values()])
    assert anchors.boxes(size) == pytest.approx(expected, abs=1e-3)


def test_the_best_anchor_is_the_one_that_a_search_over_all_finds():
    anchors = Anchors(base=20.0, ratios=(0.4, 1.0, 3.0))
    some = random_boxes(80, high=200)
    some[:5, :2] = 0  # at an edge, where the nearest place is the first
    expected = iou(some, anchors.boxes(256)).max(1)
    assert best_ious(some, anchors, 256) == pytest.approx(expected, abs=1e-5)


def test_coverage_counts_by_class_and_size():
    anchors = Anchors()  # the first anchors: 32 px squares in the middle of cells of 8 px
    fits, small, long = [100, 100, 132, 132], [100, 100, 108, 108], [0, 0, 200, 10]
    found = coverage(boxes_of([[fits, small], [long], []], [[0, 0], [1], []]), anchors, 256)
    rows = {(row.kind, row.size): row for row in found.rows}
    assert set(rows) == {("gun", "medium"), ("gun", "small"), ("knife", "medium")}
    assert (rows["gun", "medium"].boxes, rows["gun", "medium"].covered) == (1, 1)
    assert rows["gun", "medium"].mean_iou == pytest.approx(1.0)  # centre 116 = 14.5 cells of 8
    assert (rows["gun", "small"].boxes, rows["gun", "small"].covered) == (1, 0)
    assert rows["gun", "small"].mean_iou == pytest.approx(64 / 1024, rel=1e-3)  # 8 px in the 32 px square
    assert rows["knife", "medium"].covered == 0
    assert found.share == pytest.approx(1 / 3)
    assert len(list(found.sentences())) == 2
    assert "0 of 1 small boxes of gun" in next(iter(found.sentences()))
    assert found.summary()["boxes"] == 3


def test_images_of_another_size_are_measured_in_the_square():
    large = coverage(boxes_of([[[400, 400, 528, 528]]], size=1024), Anchors(), 256)
    assert large.rows[0].size == "medium"
    assert large.rows[0].mean_iou == pytest.approx(1.0)


def test_a_data_set_without_boxes_is_covered_and_has_no_proposal():
    empty = boxes_of([[], []])
    assert coverage(empty, Anchors(), 256).share == 1.0
    with pytest.raises(DataFault, match="no boxes to fit anchors to"):
        propose_anchors(empty, 256)


def test_a_proposal_covers_small_and_long_boxes_better():
    random = np.random.default_rng(3)
    width, height = random.uniform(8, 14, 200), random.uniform(30, 60, 200)
    corner = random.uniform(0, 190, (200, 2))
    found = np.concatenate([corner, corner + np.stack([width, height], 1)], 1)
    boxes = boxes_of([found[:100], found[100:]])
    before, after = (coverage(boxes, anchors, 256) for anchors in (Anchors(), propose_anchors(boxes, 256)))
    assert before.share < 0.3
    assert after.share > 0.9
    assert after.mean_iou > before.mean_iou + 0.2


def test_a_proposal_is_never_worse():
    boxes = boxes_of([random_boxes(50, seed=5, low=30, high=60)])
    assert (
        coverage(boxes, propose_anchors(boxes, 256), 256).mean_iou >= coverage(boxes, Anchors(), 256).mean_iou
    )


def test_a_rare_class_of_small_boxes_is_covered_too():
    many = random_boxes(300, seed=6, low=60, high=70)
    few = random_boxes(12, seed=7, low=15, high=19)
    boxes = boxes_of([np.concatenate([many, few])], [[0] * 300 + [1] * 12])
    rows = coverage(boxes, propose_anchors(boxes, 256), 256).rows
    assert {row.kind: row.covered / row.boxes >= 0.9 for row in rows} == {"gun": True, "knife": True}


def test_clusters_are_the_shapes_that_were_planted():
    random = np.random.default_rng(0)
    planted = np.array([[0.5, 2.0], [1.0, 1.0], [2.0, 0.5]])
    sides = np.repeat(planted, 40, 0) * random.uniform(0.95, 1.05, (120, 2))
    assert shape_clusters(random.permutation(sides), 3) == pytest.approx(planted, abs=0.05)
    assert len(shape_clusters(np.array([[1.0, 1.0], [1.0, 1.0]]), 3)) == 1


def test_strides_larger_than_the_image_are_left_out():
    assert [with_levels(Anchors(), size).levels for size in (64, 96, 128, 256, 640)] == [4, 4, 5, 5, 5]
