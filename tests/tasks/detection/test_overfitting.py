"""Detectors of every kind, on the backbones that they come with, can learn eight bags by heart: nothing between pixels and
boxes is lost on the way.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.xray.bags import write_bags
from tlkit.engine.training.settings import Phase
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.fit import EVALUATED, fit_detector
from tlkit.tasks.detection.metrics.summary import coco_measures, detection_measures
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.settings import DetectorFitting
from tlkit.tasks.detection.table import detector_class
from tlkit.tasks.detection.yolo.yolov1 import crowded

SIZE = 192
LEAST_SIDE = 12  # pixels; a razor blade of a suitcase has half of that here


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Eight bags with threats that a network of this size can see, no two of which have their middles in one cell."""
    folder = tmp_path_factory.mktemp("eight") / "bags"
    write_bags(folder, 48, seed=3, size=SIZE, masks=True)
    boxes = read_boxes(folder, masks=True)
    visible = [
        len(xyxy) > 0 and np.diff(xyxy.reshape(-1, 2, 2), axis=1).min() >= LEAST_SIDE for xyxy in boxes.xyxy
    ]
    chosen = boxes.take(np.flatnonzero(visible))
    alone = [crowded(chosen.take([i]), SIZE, SIZE // 32)[1] == 0 for i in range(len(chosen))]
    return chosen.take(np.flatnonzero(alone)[:8])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # what lies behind the paper's one map
@pytest.mark.parametrize(
    ("kind", "backbone", "weights", "stage"),
    [
        ("yolov8", "yolov8-xs", "none", "all"),
        ("retinanet", "efficientnet-lite0", "imagenet", "all"),
        ("yolov3", "efficientnet-lite0", "imagenet", "all"),
        ("yolov2", "efficientnet-lite0", "imagenet", "all"),
        ("faster-rcnn", "efficientnet-lite0", "imagenet", "all"),
        ("faster-rcnn paper", "efficientnet-lite0", "imagenet", "all"),
        ("mask-rcnn", "efficientnet-lite0", "imagenet", "all"),
        ("yolov1", "efficientnet-lite0", "imagenet", "head"),  # at this rate its backbone would be unlearned
    ],
)
def test_eight_bags_are_learned_by_heart(kind, backbone, weights, stage, eight, tmp_path):
    assert len(eight) == 8
    assert sum(map(len, eight.xyxy)) >= 8
    keras.utils.set_random_seed(0)
    kind, _, form = kind.partition(" ")
    options = {"one_size": True} if kind == "yolov2" else {}  # several sizes take more steps than these
    options |= {"form": form, "width": 128, "hidden": 256} if form else {}  # its own layers take minutes more
    own = detector_class(kind).design(eight, SIZE, None, **options).own
    detector, _ = build_detector(kind, eight.class_names, SIZE, backbone, weights, **own)
    eight = eight if detector.has_masks else replace(eight, masks=None)

    def evaluator(found, boxes):
        return {"AP50": coco_measures(boxes, found)["AP50"] or 0.0}

    learned_and_judged = SimpleNamespace(take=lambda _part: eight)
    fitting = DetectorFitting(batch=8, judge_every=50, patience=100)
    phase = Phase(stage, stage, 150, 1e-3)
    fit_detector(
        detector,
        learned_and_judged,
        [phase],
        fitting,
        tmp_path,
        batch_norm=weights == "none",
        evaluator=evaluator,
    )
    found = Finder(detector, EVALUATED).in_boxes(eight)
    assert evaluator(found, eight)["AP50"] >= 0.95
    if detector.has_masks:
        assert detection_measures(eight, found, resamples=2)["masks"]["AP50"] >= 0.95
