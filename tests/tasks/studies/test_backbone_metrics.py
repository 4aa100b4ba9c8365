"""The table's figures by hand, and intervals that widen when images come in few groups."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.tasks.studies.backbone_metrics import contest_measures

NAMES = ("blade", "gun", "other")


def test_by_hand():
    labels = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    predicted = np.array([0, 1, 1, 1, 2, 2, 0, 2])
    detected = np.zeros((8, 3), bool)
    detected[[0, 1, 4], 0] = True  # both blades and one false alarm: precision 2/3, recall 1
    detected[[2], 1] = True  # one of two guns: precision 1, recall 1/2
    found = contest_measures(labels, predicted, detected, NAMES, [str(i) for i in range(8)])
    assert found["per_class"]["blade"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "eta": (2 / 3) ** 0.5}
    )
    assert found["per_class"]["gun"] == pytest.approx({"precision": 1, "recall": 0.5, "eta": 0.5**0.5})
    assert found["eta"] == pytest.approx(((2 / 3) ** 0.5 + 0.5**0.5) / 2)  # without `other`
    assert found["accuracy"] == 6 / 8
    assert (found["n"], found["groups"]) == (8, 8)


def test_a_class_that_nothing_is_said_to_be_counts_as_zero():
    labels = np.array([0, 1, 2] * 4)
    found = contest_measures(labels, labels, np.zeros((12, 3), bool), NAMES, [str(i) for i in range(12)])
    assert found["eta"] == 0
    assert found["accuracy"] == 1


def test_intervals_hold_the_value_and_widen_with_fewer_groups():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 400)
    wrong = np.repeat(generator.random(40) < 0.3, 10)  # whole groups go wrong together
    predicted = np.where(wrong, (labels + 1) % 3, labels)
    detected = predicted[:, None] == np.arange(3)
    widths = {}
    for name, groups in {"alone": np.arange(400), "together": np.arange(400) // 10}.items():
        found = contest_measures(labels, predicted, detected, NAMES, [str(g) for g in groups])
        low, high = found["intervals"]["eta"]
        assert low < found["eta"] < high
        widths[name] = high - low
    assert widths["together"] > 2 * widths["alone"]
