"""Box regression of R-CNN: who teaches, and the ridge with whitened targets."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.tasks.detection.rcnn.rcnn_boxes import LAMBDA, learn_regression, near_objects


def test_only_regions_above_0_6_teach_each_by_the_object_it_overlaps_most():
    objects = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    regions = np.array([[0, 0, 10, 6], [0, 0, 10, 6.1], [0, 0, 10, 8.9], [3, 3, 3, 3]], np.float32)
    chosen, which = near_objects(regions, objects)
    assert (chosen.tolist(), which.tolist()) == ([0, 1, 2], [1, 1, 1])
    only, _ = near_objects(regions, objects[:1])
    assert only.tolist() == [1, 2]  # 0.6 itself does not
    assert [len(some) for some in near_objects(regions, objects[:0])] == [0, 0]
    assert [len(some) for some in near_objects(regions[:0], objects)] == [0, 0]


def test_the_ridge_is_that_of_whitened_targets_by_an_independent_solver():
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    features = (random.normal(0, 6, (300, 5))).astype(np.float32)
    targets = features @ random.normal(0, 0.02, (5, 4)) + random.normal(0, 0.1, (300, 4)) + [0.1, 0, 0.3, 0]
    found = learn_regression(features, targets)
    mean = targets.mean(0)
    covariance = np.cov(targets.T, bias=True)
    values, axes = np.linalg.eigh(covariance)
    root = axes @ np.diag(np.sqrt(values + 1e-3)) @ axes.T
    inputs = np.concatenate([features, np.ones((300, 1))], 1)
    solver = Ridge(LAMBDA, fit_intercept=False).fit(inputs, (targets - mean) @ np.linalg.inv(root))
    expected = inputs @ solver.coef_.T @ root + mean
    np.testing.assert_allclose(features @ found.kernel + found.bias, expected, atol=1e-5)
    white = (targets - mean) @ np.linalg.inv(root)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(4), atol=0.2)
    assert found.pairs == 300


def test_one_pair_and_none_give_finite_ways():
    features = np.full((1, 3), 4, np.float32)
    one = learn_regression(features, np.array([[0.1, 0.2, 0.0, -0.1]]))
    assert features[0] @ one.kernel + one.bias == pytest.approx([0.1, 0.2, 0, -0.1], abs=1e-6)
    none = learn_regression(features[:0], np.zeros((0, 4)))
    assert (none.kernel.any(), none.bias.any(), none.pairs) == (False, False, 0)
