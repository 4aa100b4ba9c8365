"""The machines of R-CNN are those that liblinear's own numbers describe, and hard negatives enter and leave as they should."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.tasks.detection.rcnn import rcnn_machines
from tlkit.tasks.detection.rcnn.rcnn_machines import Machine, learn_machine, overlaps_by_class


def objective(machine, positives, negatives):
    """What is to be small: half the squared weights, the bias's among them, and C times the hinge losses."""
    weight = machine.bias / 10
    losses = 2 * np.maximum(0, 1 - machine.scores(positives)).sum()
    losses += np.maximum(0, 1 + machine.scores(negatives)).sum()
    return (machine.kernel.astype(float) ** 2).sum() / 2 + weight**2 / 2 + 1e-3 * losses


def test_a_machine_has_the_least_cost_of_all_near_it():
    random = np.random.default_rng(0)
    positives = (random.normal(1, 1, (30, 6)) * 8).astype(np.float32)
    negatives = (random.normal(-1, 1, (80, 6)) * 8).astype(np.float32)
    machine = learn_machine(positives, [negatives])
    least = objective(machine, positives, negatives)
    for number in range(6):
        for step in (1e-2, -1e-2):
            kernel = machine.kernel.copy()
            kernel[number] += step
            assert objective(machine._replace(kernel=kernel), positives, negatives) > least - 1e-5
    for step in (0.2, -0.2):
        assert objective(machine._replace(bias=machine.bias + step), positives, negatives) > least - 1e-5
    assert (machine.positives, machine.fits) == (30, 1)


def test_hard_negatives_enter_and_easy_ones_leave_and_a_fit_follows_2000_new_ones(monkeypatch):
    """The machine is the feature itself, so that scores are known."""
    fitted = []

    def fit(positives, negatives, seed, fits):
        fitted.append(negatives[:, 0].tolist())
        return Machine(np.ones(1, np.float32), 0.0, len(positives), len(negatives), fits)

    monkeypatch.setattr(rcnn_machines, "_fitted", fit)
    monkeypatch.setattr(rcnn_machines, "REFIT", 3)
    rows = [[-1.5, -1.1, -3], [-1.00005, -1.00015, 2], [], [-5, -1.15], [0.5, 0.25], [0.125], [-9]]
    stream = [np.array(row, np.float32).reshape(-1, 1) for row in rows]
    machine = learn_machine(np.ones((1, 1), np.float32), stream)
    hard = pytest.approx([-1.1, -1.00005, 2, 0.5, 0.25], abs=1e-6)
    assert fitted[0] == pytest.approx([-1.5, -1.1, -3])  # all of the first image
    assert fitted[1] == hard  # four new, at least three
    assert fitted[2] == pytest.approx([-1.1, -1.00005, 2, 0.5, 0.25, 0.125], abs=1e-6)  # the end
    assert (machine.fits, machine.negatives, len(fitted)) == (3, 6, 3)


def test_a_class_with_one_positive_is_learned_and_one_with_none_is_never_found():
    random = np.random.default_rng(1)
    negatives = random.normal(0, 4, (50, 8)).astype(np.float32)
    positive = np.full((1, 8), 12, np.float32)
    one = learn_machine(positive, [negatives[:0], negatives])
    assert one.scores(positive)[0] > one.scores(negatives).max()
    none = learn_machine(positive[:0], [negatives])
    assert none.fits == 0
    assert none.scores(negatives).max() <= -10
    assert learn_machine(positive, []).scores(positive)[0] <= -10
    assert learn_machine(positive, [negatives[:0]]).fits == 0


def test_the_same_seed_gives_the_same_bits():
    random = np.random.default_rng(2)
    positives, negatives = (random.normal(m, 3, (60, 12)).astype(np.float32) for m in (1, -1))
    one, two = (learn_machine(positives, np.split(negatives, 6), 5) for _ in range(2))
    assert one.kernel.tobytes() == two.kernel.tobytes()
    assert one.bias == two.bias


def test_overlaps_are_the_largest_with_an_object_of_the_class():
    regions = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 50, 60]], np.float32)
    objects = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [5, 0, 15, 10]], np.float32)
    found = overlaps_by_class(regions, objects, np.array([0, 0, 2], np.int32), 3)
    expected = [[1, 0, 1 / 3], [0.5, 0, 0.2], [0, 0, 0]]
    np.testing.assert_allclose(found, expected)
    assert (
        overlaps_by_class(regions, objects[:0], np.zeros(0, np.int32), 3).tolist()
        == np.zeros((3, 3)).tolist()
    )
