"""R-CNN learns eight bags by heart, as far as its proposals reach: nothing between pixels and boxes is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.proposals import with_proposals
from tlkit.data.xray.bags import write_bags
from tlkit.tasks.detection.metrics.proposal_recall import proposal_recall
from tlkit.tasks.detection.metrics.summary import coco_measures
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.rcnn.rcnn import build_rcnn
from tlkit.tasks.detection.rcnn.rcnn_features import RegionFeatures
from tlkit.tasks.detection.rcnn.rcnn_learning import learn, regions_of
from tlkit.tasks.detection.settings import LEAST_SCORE, Detecting

SIZE = 416


@pytest.mark.slow
@pytest.mark.onednn
def test_eight_bags_are_learned_by_heart(tmp_path):
    pytest.importorskip("cv2", reason="Selective Search needs the extra proposals")
    write_bags(tmp_path / "bags", 40, seed=3)
    every = read_boxes(tmp_path / "bags")
    some = every.take(np.flatnonzero([len(xyxy) > 0 for xyxy in every.xyxy])[:8])
    eight = with_proposals(some, 300)
    detector, _ = build_rcnn(eight.class_names, SIZE, "efficientnet-lite0", "imagenet", 96)
    features = RegionFeatures(detector)
    regions = [regions_of(eight, index, SIZE, 300) for index in range(8)]
    rows = [features(eight.file(index), one.boxes) for index, one in enumerate(regions)]
    learn(regions, rows, len(eight.class_names)).into(detector)
    found = Finder(detector, Detecting(LEAST_SCORE, 0.3, 100)).in_boxes(eight)
    by_class = proposal_recall(eight)["per_class"].values()
    recall = np.mean([one for one in by_class if one is not None])  # AP50 is a mean over classes too
    assert recall > 0.3
    assert coco_measures(eight, found)["AP50"] >= 0.95 * recall
