"""The recall of proposals, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tlkit.data.boxes.dataset import without_any
from tlkit.tasks.detection.metrics.proposal_recall import proposal_recall


def test_objects_count_as_found_where_a_proposal_covers_half_of_the_union():
    boxes = replace(
        without_any("some", Path(), ["a", "b"], [(50, 50)] * 2),
        class_names=("gun", "knife", "other"),
        xyxy=(
            np.array([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 50, 50]], np.float32),
            np.zeros((0, 4), np.float32),
        ),
        labels=(np.array([0, 1, 1], np.int32), np.zeros(0, np.int32)),
        difficult=(np.array([False, False, True]), np.zeros(0, bool)),
        crowd=(),
        proposals=(
            np.array([[0, 0, 10, 5], [20, 20, 30, 24.9]], np.float32),  # IoU 0.5 and 0.49
            np.zeros((0, 4), np.float32),
        ),
    )
    assert proposal_recall(boxes) == {
        "recall": 0.5,
        "per_class": {"gun": 1.0, "knife": 0.0, "other": None},
        "objects": 2,
        "overlap": 0.5,
        "proposals": {"mean": 1.0, "least": 0, "most": 2},
    }
    assert proposal_recall(boxes, 0.4)["recall"] == 1.0
    nothing = boxes.take([1])
    assert proposal_recall(nothing)["recall"] is None
