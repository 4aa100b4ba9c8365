"""Fast R-CNN learns eight bags by heart, as far as its proposals reach: nothing between pixels and boxes is lost on the way."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.proposals import with_proposals
from tlkit.data.xray.bags import write_bags
from tlkit.engine.training.settings import Phase
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.fit import fit_detector
from tlkit.tasks.detection.metrics.proposal_recall import proposal_recall
from tlkit.tasks.detection.metrics.summary import coco_measures
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.rcnn.fast_rcnn import FastRcnnDetector
from tlkit.tasks.detection.settings import LEAST_SCORE, Detecting, DetectorFitting

SIZE = 224  # of the network; the bags have 416 pixels, in which they are searched
LEAST_SIDE = 22  # pixels of those, which are 12 of the network's


@pytest.mark.slow
@pytest.mark.onednn
@pytest.mark.parametrize("pooling", ["max", "align"])
def test_eight_bags_are_learned_by_heart(pooling, tmp_path):
    pytest.importorskip("cv2", reason="Selective Search needs the extra proposals")
    write_bags(tmp_path / "bags", 48, seed=3)
    every = read_boxes(tmp_path / "bags")
    visible = [
        len(xyxy) > 0 and np.diff(xyxy.reshape(-1, 2, 2), axis=1).min() >= LEAST_SIDE for xyxy in every.xyxy
    ]
    eight = with_proposals(every.take(np.flatnonzero(visible)[:8]), FastRcnnDetector.proposals)
    assert len(eight) == 8
    keras.utils.set_random_seed(0)
    backbone = ("efficientnet-lite0", "imagenet")
    detector, _ = build_detector("fast-rcnn", eight.class_names, SIZE, *backbone, pooling=pooling)
    learned_and_judged = SimpleNamespace(take=lambda _part: eight)
    fitting = DetectorFitting(batch=8, judge_every=50, patience=100)
    fit_detector(detector, learned_and_judged, [Phase("all", "all", 150, 1e-3)], fitting, tmp_path / "run")
    found = Finder(detector, Detecting(LEAST_SCORE, 0.3, 100)).in_boxes(eight)
    by_class = proposal_recall(eight)["per_class"].values()
    recall = np.mean([one for one in by_class if one is not None])  # AP50 is a mean over classes too
    assert recall > 0.5
    assert coco_measures(eight, found)["AP50"] >= 0.95 * recall
