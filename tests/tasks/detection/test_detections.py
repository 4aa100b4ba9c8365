"""Detections of one image: what is taken from them, and what is shown of them."""

from __future__ import annotations

import numpy as np

from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.predict_workflow import rows_of, shown

FOUND = Detections(
    np.array([[0, 0, 9.876, 5.125], [1, 1, 1.004, 8], [2, 2, 4, 4]], np.float32),
    np.array([0.9, 0.75, 0.2], np.float32),
    np.array([1, 0, 1], np.int32),
    "a.png",
)


def test_those_above_a_score_keep_their_order_and_their_file():
    kept = FOUND.above(0.75)
    assert (kept.scores.tolist(), kept.labels.tolist(), kept.path) == (
        [np.float32(0.9), 0.75],
        [1, 0],
        "a.png",
    )
    assert FOUND.take(np.array([2])).boxes.tolist() == [[2, 2, 4, 4]]
    assert FOUND.above(1).boxes.shape == (0, 4)


def test_what_is_shown_is_rounded_and_has_area():
    """The second box has no width once it is rounded."""
    assert rows_of(shown(FOUND, 0.1), ("gun", "knife")) == [
        ["knife", 0.9, 0.0, 0.0, 9.88, 5.12],  # as Python rounds: half to even
        ["knife", 0.2, 2.0, 2.0, 4.0, 4.0],
    ]
    assert rows_of(shown(FOUND, 1), ("gun", "knife")) == []


def test_rounding_is_that_of_python():
    generator = np.random.default_rng(0)
    boxes = np.sort(generator.random((2000, 4), np.float32) * 2000, axis=1)
    boxes[:500] = np.round(boxes[:500] * 8) / 8  # with ties
    scores = np.sort(generator.random(2000, np.float32))[::-1]
    found = shown(Detections(boxes, scores, np.zeros(2000, np.int32)), 0)
    rounded = [[round(float(value), 2) for value in box] for box in boxes]
    kept = [i for i, (left, top, right, bottom) in enumerate(rounded) if right > left and bottom > top]
    assert found.boxes.tolist() == [rounded[i] for i in kept]
    assert found.scores.tolist() == [round(float(scores[i]), 6) for i in kept]
