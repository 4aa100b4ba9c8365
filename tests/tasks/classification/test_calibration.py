"""Calibration against plain loops, a grid search and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tlkit.tasks.classification.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)


def overconfident(n: int = 4000, by: float = 2.5, seed: int = 0):
    """Draw labels from true probabilities and give the model's sharper ones (logits times `by`)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 4)) * 1.5
    true = apply_temperature(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 1.0)
    labels = (true.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1)
    return labels, apply_temperature(true, 1 / by)


def log_loss(labels, probabilities) -> float:
    return -sum(math.log(max(row[label], 1e-38)) for row, label in zip(probabilities, labels)) / len(labels)


def test_error_by_hand():
    # Confidences 0.95 (right), 0.95 (wrong), 0.6 (right): bins ]14/15, 1] and ]8/15, 9/15].
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6]])
    found = expected_calibration_error(np.array([0, 1, 1]), probabilities)
    assert found == pytest.approx(2 / 3 * abs(0.5 - 0.95) + 1 / 3 * abs(1 - 0.6))


def test_error_equals_a_plain_loop():
    labels, probabilities = overconfident(500)
    expected = 0.0
    for number in range(15):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels)
            if number / 15 < row.max() <= (number + 1) / 15
        ]
        if inside:
            confidence, right = (sum(column) / len(inside) for column in zip(*inside))
            expected += len(inside) / 500 * abs(right - confidence)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_bins_hold_their_upper_edge_and_empty_ones_are_nan():
    probabilities = np.array([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]])
    table = reliability_bins(np.array([0, 1, 0]), probabilities, bins=4)
    assert table.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table.counts.tolist() == [0, 1, 1, 1]
    np.testing.assert_array_equal(table.confidence, [np.nan, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(table.accuracy, [np.nan, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("by", [0.5, 2.5])
def test_the_temperature_that_was_put_in_is_found(by):
    labels, probabilities = overconfident(by=by)
    temperature = fit_temperature(labels, probabilities)
    assert temperature == pytest.approx(by, rel=0.08)
    after = apply_temperature(probabilities, temperature)
    assert (
        expected_calibration_error(labels, after) < 0.03 < expected_calibration_error(labels, probabilities)
    )


def test_no_temperature_of_a_fine_grid_is_better():
    labels, probabilities = overconfident(400)
    best = log_loss(labels, apply_temperature(probabilities, fit_temperature(labels, probabilities)))
    grid = [log_loss(labels, apply_temperature(probabilities, t)) for t in np.geomspace(0.05, 20, 300)]
    assert best <= min(grid) + 1e-6


def test_temperature_is_softmax_of_divided_logits_and_keeps_the_label():
    logits = np.array([[1.0, 2.0, 0.5], [-30.0, 4.0, 3.9]])
    powers = np.exp(logits)
    halved = np.exp(logits / 2)
    found = apply_temperature(powers / powers.sum(axis=1, keepdims=True), 2.0)
    np.testing.assert_allclose(found, halved / halved.sum(axis=1, keepdims=True), rtol=1e-12)
    assert found.argmax(axis=1).tolist() == [1, 1]


def test_certain_answers_stay_finite():
    found = apply_temperature(np.array([[1.0, 0.0]], np.float32), 20.0)
    assert np.isfinite(found).all()
    assert found[0, 0] > found[0, 1] > 0


def test_too_few_images_keep_one():
    labels, probabilities = overconfident(29)
    assert fit_temperature(labels, probabilities) == 1.0
    assert fit_temperature(np.zeros(0, int), np.zeros((0, 2))) == 1.0


def test_without_a_mistake_it_does_not_sharpen():
    labels = np.tile([0, 1], 50)
    probabilities = np.where(np.eye(2)[labels] > 0, 0.7, 0.3)
    assert fit_temperature(labels, probabilities) == 1.0


def test_useless_answers_end_at_a_bound_and_stay_finite():
    labels = np.tile([0, 1], 50)
    temperature = fit_temperature(labels, np.eye(2)[1 - labels])  # certain and always wrong
    assert temperature == pytest.approx(20.0, rel=1e-3)


def test_calibrated_answers_are_left_nearly_alone():
    labels, probabilities = overconfident(by=1.0)
    assert fit_temperature(labels, probabilities) == pytest.approx(1.0, abs=0.08)
