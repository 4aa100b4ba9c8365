"""AP of masks is pycocotools'; objects without a mask do not count; intervals are those of its own matches."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.masks import rle
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.masks import have_masks, judged_by_masks, mask_pairs
from tlkit.tasks.detection.metrics.summary import detection_measures

SIDES = (60, 50)  # width and height


def disc(x, y, a, b):
    rows, columns = np.mgrid[0 : SIDES[1], 0 : SIDES[0]] + 0.5
    return rle.encode(((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1)


@pytest.fixture(scope="module")
def scenes():
    """Twelve images with discs of two classes, and detections that are off by some pixels."""
    random = np.random.default_rng(3)
    masks, boxes, labels, found = [], [], [], []
    for _ in range(12):
        places = random.uniform([12, 12, 5, 5], [48, 38, 11, 11], (3, 4))
        own = tuple(disc(*place) for place in places)
        kinds = random.integers(0, 2, 3).astype(np.int32)
        moved = places + random.normal(0, 1.5, places.shape)
        seen = tuple(disc(*place) for place in moved)
        masks.append(own)
        labels.append(kinds)
        boxes.append(np.array([rle.box(mask) for mask in own], np.float32))
        around = np.array([rle.box(mask) for mask in seen], np.float32)
        found.append(Detections(around, random.random(3).astype(np.float32), kinds, "", seen))
    number = len(masks)
    truth = Boxes(
        source="drawn",
        root=".",
        class_names=("a", "b"),
        paths=tuple(f"{i:02}.png" for i in range(number)),
        labels=tuple(labels),
        xyxy=tuple(boxes),
        masks=tuple(masks),
        difficult=tuple(np.zeros(3, bool) for _ in range(number)),
        sizes=(SIDES,) * number,
        groups=(None,) * number,
        parts=(None,) * number,
    )
    return truth, found


def by_pycocotools(truth, found):
    images = [{"id": i + 1, "width": SIDES[0], "height": SIDES[1]} for i in range(len(truth))]
    own, theirs = [], []
    for i, masks in enumerate(truth.masks):
        for mask, label in zip(masks, truth.labels[i], strict=True):
            row = {"id": len(own) + 1, "image_id": i + 1, "category_id": int(label) + 1, "iscrowd": 0}
            own.append({**row, "segmentation": mask.coco, "area": rle.area(mask), "bbox": [0, 0, 1, 1]})
        one = found[i]
        for mask, label, score in zip(one.masks, one.labels, one.scores, strict=True):
            row = {"image_id": i + 1, "category_id": int(label) + 1, "score": float(score)}
            theirs.append({**row, "segmentation": mask.coco})
    coco = COCO()
    coco.dataset = {"images": images, "categories": [{"id": 1}, {"id": 2}], "annotations": own, "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(theirs), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


def test_ap_of_masks_is_that_of_pycocotools(scenes):
    measured = detection_measures(*scenes, resamples=20)["masks"]
    stats = by_pycocotools(*scenes)
    assert [measured[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(stats[:3].tolist())
    assert measured["objects"] == 36
    assert 0.1 < measured["AP"] < 0.9
    low, high = measured["intervals"]["AP50"]
    assert low <= measured["AP50"] <= high
    assert set(measured["per_class"]) == {"a", "b"}
    means = [row["AP50"] for row in measured["per_class"].values()]
    assert np.mean(means) == pytest.approx(measured["AP50"])


def test_an_object_without_a_mask_does_not_count(scenes):
    truth, found = scenes
    lost = tuple((None, *row[1:]) for row in truth.masks)
    measured = detection_measures(replace(truth, masks=lost), found, resamples=2)["masks"]
    assert measured["objects"] == 24
    assert judged_by_masks(replace(truth, masks=lost)).difficult[0].tolist() == [True, False, False]


def test_without_masks_on_either_side_there_is_nothing_to_measure(scenes):
    truth, found = scenes
    bare = [one._replace(masks=None) for one in found]
    assert not have_masks(truth, bare)
    assert not have_masks(replace(truth, masks=None), found)
    assert "masks" not in detection_measures(truth, bare, resamples=2)


def test_pairs_are_numbered_through_all_images(scenes):
    truth, found = scenes
    near = mask_pairs(truth, found, 0.5)
    assert len(near.row_images) == len(near.column_images) == 36
    assert (near.row_images[near.rows] == near.column_images[near.columns]).all()
    assert (near.overlap >= 0.5).all()
    own = near.rows == near.columns  # each was moved a little
    assert own.sum() > 12
    one, other = found[0].masks[0], truth.masks[0][0]
    first = near.overlap[(near.rows == 0) & (near.columns == 0)]
    assert not len(first) or first[0] == pytest.approx(rle.mask_iou(one, other))
