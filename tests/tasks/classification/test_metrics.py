"""Numbers against scikit-learn, plain loops and sums done by hand; intervals against simulated truth."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from tlkit.core import bootstrap as intervals
from tlkit.errors import DataFault, RunFailed
from tlkit.tasks.classification.metrics import classification_measures, confusion, roc_points

NAMES = ("blade", "gun", "other", "shuriken")


def answers(n: int = 300, classes: int = 4, seed: int = 0, strength: float = 1.5):
    """Draw labels and noisy probabilities, with ties, that favour the right class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    logits = generator.normal(size=(n, classes)).round(1)
    logits[np.arange(n), labels] += strength
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


def one_hot(predicted: list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[predicted]


def equal(left, right) -> bool:
    """Compare nested results; numbers to 1e-12."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == (pytest.approx(right, abs=1e-12) if isinstance(left, float) else right)


# --- against oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_number_equals_scikit_learn(seed):
    labels, probabilities = answers(seed=seed)
    found = classification_measures(labels, probabilities, NAMES, resamples=10)
    predicted = probabilities.argmax(axis=1)
    report = metrics.classification_report(labels, predicted, target_names=NAMES, output_dict=True)
    assert found["n"] == found["groups"] == 300
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert found["confusion"] == metrics.confusion_matrix(labels, predicted).tolist()
    for name in NAMES:
        row, known = found["per_class"][name], report[name]
        assert (row["precision"], row["recall"], row["f1"], row["support"]) == pytest.approx(
            (known["precision"], known["recall"], known["f1-score"], known["support"])
        )


def test_log_loss_and_eta_equal_plain_loops():
    labels, probabilities = answers()
    found = classification_measures(labels, probabilities, NAMES, resamples=10)
    expected = -sum(math.log(row[label]) for row, label in zip(probabilities, labels)) / 300
    assert found["log_loss"] == pytest.approx(expected, abs=1e-12)
    etas = []
    for index in (0, 1, 3):  # without "other"
        hits = sum(p.argmax() == index == t for p, t in zip(probabilities, labels))
        said = sum(p.argmax() == index for p in probabilities)
        etas.append(math.sqrt(hits / said * hits / sum(labels == index)))
    assert found["eta_classes"] == ["blade", "gun", "shuriken"]
    assert found["eta"] == pytest.approx(sum(etas) / 3, abs=1e-12)


def test_a_table_done_by_hand():
    # true a a a a b b c; said a a b a b b a
    found = classification_measures(
        np.array([0, 0, 0, 0, 1, 1, 2]), one_hot([0, 0, 1, 0, 1, 1, 0], 3), ("a", "b", "c"), resamples=10
    )
    assert found["confusion"] == [[3, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    a, b, c = (found["per_class"][name] for name in "abc")
    assert (a["precision"], a["recall"], a["eta"]) == (0.75, 0.75, 0.75)
    assert b["f1"] == pytest.approx(2 * 2 / (2 + 3))
    assert (c["precision"], c["recall"], c["f1"], c["eta"]) == (0.0, 0.0, 0.0, 0.0)  # never predicted
    assert found["eta_classes"] == ["a", "b", "c"]
    assert found["eta"] == pytest.approx((0.75 + math.sqrt(2 / 3) + 0) / 3)


def test_roc_points_enclose_the_area():
    labels, probabilities = answers()
    found = classification_measures(labels, probabilities, NAMES, resamples=10)
    for index, name in enumerate(NAMES):
        false, true, thresholds = roc_points(labels, probabilities, index)
        assert np.trapezoid(true, false) == pytest.approx(found["per_class"][name]["auc"], abs=1e-12)
        assert len(thresholds) == len(true) == len(false)
    assert roc_points(np.zeros(3, int), np.eye(2)[[0, 0, 1]], 0) is None


def test_confusion_keeps_classes_that_do_not_occur():
    assert confusion(np.array([0, 2]), np.array([2, 2]), 4).tolist() == [
        [0, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]


# --- intervals ---------------------------------------------------------------------------------------------


def test_resamples_equal_measuring_the_repeated_images():
    labels, probabilities = answers(60)
    groups = np.random.default_rng(1).integers(0, 12, 60)
    draws = intervals.draw_groups(12, 20, seed=3)
    found = intervals.resampled_measures(labels, probabilities, groups, np.array([0, 1, 3]), draws)
    for row, counts in enumerate(draws.astype(int)):
        rows = np.repeat(np.arange(60), counts[groups])
        assert sorted(set(labels[rows])) == [0, 1, 2, 3], "the comparison needs all classes"
        whole = classification_measures(labels[rows], probabilities[rows], NAMES, resamples=2)
        for name, values in found.items():
            assert values[row] == pytest.approx(whole[name], abs=1e-12), name


def test_area_of_tied_scores_equals_scikit_learn_in_every_resample():
    generator = np.random.default_rng(0)
    is_class, scores = generator.random(50) < 0.4, generator.integers(0, 5, 50) / 4
    draws = intervals.draw_groups(50, 30, seed=1)
    found = intervals.resampled_auc(is_class, scores, np.arange(50), draws)
    expected = [metrics.roc_auc_score(is_class, scores, sample_weight=row) for row in draws]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_resamples_without_a_class_average_over_the_others():
    labels, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    found = intervals.resampled_measures(
        labels, one_hot(predicted, 3), np.arange(4), np.arange(3), np.array([[2.0, 1, 1, 0], [0, 0, 0, 4]])
    )
    assert found["balanced_accuracy"].tolist() == pytest.approx([(2 / 3 + 1) / 2, 1.0])
    assert np.isnan(found["auc"][1])  # one class only


def test_intervals_hold_the_value_and_grow_when_images_cling_together():
    labels, probabilities = answers(400)
    alone = classification_measures(labels, probabilities, NAMES)
    # Ten copies of everything, each copy in its original's group: no new knowledge, so no narrower interval.
    groups = [str(index) for index in range(400)] * 10
    copies = classification_measures(np.tile(labels, 10), np.tile(probabilities, (10, 1)), NAMES, groups)
    naive = classification_measures(np.tile(labels, 10), np.tile(probabilities, (10, 1)), NAMES)
    assert copies["groups"] == 400
    for name, (low, high) in alone["intervals"].items():
        assert low < alone[name] < high
        width, of_copies, of_naive = (np.ptp(found["intervals"][name]) for found in (alone, copies, naive))
        assert of_copies == pytest.approx(width, rel=0.15)
        assert of_naive < width / 2.5


def test_interval_of_single_images_is_near_the_binomial_one():
    labels, probabilities = answers(400)
    found = classification_measures(labels, probabilities, NAMES, resamples=4000)
    expected = stats.binom.ppf([0.025, 0.975], 400, found["accuracy"]) / 400
    assert found["intervals"]["accuracy"] == pytest.approx(expected, abs=0.006)


def test_a_perfect_score_is_not_certainty():
    labels = np.repeat(np.arange(3), (40, 40, 20))
    found = classification_measures(labels, one_hot(labels, 3), ("a", "b", "c"))
    assert found["accuracy"] == found["auc"] == found["eta"] == 1.0
    assert found["intervals"]["accuracy"] == pytest.approx([0.025 ** (1 / 100), 1.0])
    assert found["intervals"]["accuracy"][0] == pytest.approx(stats.binomtest(100, 100).proportion_ci().low)
    for name in ("balanced_accuracy", "eta", "macro_f1", "auc"):  # the rarest class has 20 groups
        assert found["intervals"][name] == pytest.approx([0.025 ** (1 / 20), 1.0])


def test_always_wrong_is_bounded_too():
    labels = np.tile([0, 1], 15)
    found = classification_measures(labels, one_hot(1 - labels, 2), ("a", "b"))
    assert found["accuracy"] == 0
    assert found["intervals"]["accuracy"] == pytest.approx([0.0, 1 - 0.025 ** (1 / 30)])


@pytest.mark.parametrize(("share", "trials"), [(0.9, 10), (0.5, 2), (0.0, 7), (1.0, 7)])
def test_exact_interval_equals_scipys(share, trials):
    expected = stats.binomtest(round(share * trials), trials).proportion_ci(method="exact")
    assert intervals.exact_interval(share, trials) == pytest.approx([expected.low, expected.high])


@pytest.mark.slow
def test_intervals_cover_the_truth_where_images_cling_together():
    """Images of a group share its difficulty: intervals over groups hold the truth, over images not."""
    generator = np.random.default_rng(0)
    held, held_naive, trials = 0, 0, 300
    for _ in range(trials):
        chance = generator.beta(4, 1, 60)  # mean 0.8
        groups = np.repeat(np.arange(60), 20)
        labels = generator.integers(0, 2, len(groups))
        right = generator.random(len(groups)) < chance[groups]
        probabilities = one_hot(np.where(right, labels, 1 - labels), 2)
        low, high = classification_measures(labels, probabilities, "ab", groups)["intervals"]["accuracy"]
        held += low <= 0.8 <= high
        low, high = classification_measures(labels, probabilities, "ab")["intervals"]["accuracy"]
        held_naive += low <= 0.8 <= high
    assert 0.90 <= held / trials <= 0.98
    assert held_naive / trials < 0.85


# --- properties --------------------------------------------------------------------------------------------


def test_order_of_rows_and_names_of_groups_change_nothing():
    labels, probabilities = answers(120)
    groups = np.array([f"g{index % 30:02}" for index in range(120)])
    order = np.random.default_rng(5).permutation(120)
    expected = classification_measures(labels, probabilities, NAMES, groups.tolist())
    assert equal(classification_measures(labels[order], probabilities[order], NAMES, groups[order]), expected)


def test_same_seed_same_intervals_and_another_seed_others():
    labels, probabilities = answers(120)
    first, again, other = (
        classification_measures(labels, probabilities, NAMES, seed=seed)["intervals"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_the_result_is_plain_json():
    labels, probabilities = answers(50)
    found = classification_measures(labels.astype(np.int32), probabilities.astype(np.float32), NAMES)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_thousand_resamples_of_five_thousand_images_take_seconds():
    labels, probabilities = answers(5000, 10)
    start = time.perf_counter()
    classification_measures(labels, probabilities, [str(index) for index in range(10)])
    assert time.perf_counter() - start < 6  # about 1 s on an idle core


# --- edges -------------------------------------------------------------------------------------------------


def test_absent_classes_are_said_to_be_unknown_not_zero():
    found = classification_measures(np.array([0, 0, 1]), one_hot([0, 1, 1], 4), NAMES, resamples=50)
    absent = found["per_class"]["shuriken"]
    assert absent == {"precision": 0.0, "recall": None, "f1": None, "eta": None, "auc": None, "support": 0}
    assert found["eta_classes"] == ["blade", "gun"]
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == 0.75
    assert found["macro_f1"] == pytest.approx(2 / 3)


def test_a_predicted_class_without_images_costs_macro_f1():
    found = classification_measures(np.array([0, 0, 1]), one_hot([0, 3, 1], 4), NAMES, resamples=50)
    assert found["per_class"]["shuriken"]["f1"] == 0.0
    expected = metrics.f1_score([0, 0, 1], [0, 3, 1], average="macro", zero_division=0.0)
    assert found["macro_f1"] == pytest.approx(expected)


def test_one_image():
    found = classification_measures(np.array([1]), np.array([[0.2, 0.8]]), ("a", "b"))
    assert (found["n"], found["groups"], found["accuracy"], found["auc"]) == (1, 1, 1.0, None)
    assert found["intervals"]["auc"] is None
    assert found["intervals"]["accuracy"] == pytest.approx([0.025, 1.0])
    assert found["ece"] == pytest.approx(0.2)


def test_one_group_says_next_to_nothing():
    labels, probabilities = answers(100)
    low, high = classification_measures(labels, probabilities, NAMES, ["one"] * 100)["intervals"]["accuracy"]
    assert low < 0.05
    assert high > 0.95


@pytest.mark.parametrize(
    ("negative", "expected"),
    [("other", ["gun"]), (None, ["gun", "other"]), ("absent", ["gun", "other"])],
)
def test_eta_leaves_the_negative_class_out(negative, expected):
    found = classification_measures(
        np.array([0, 1]), one_hot([0, 0], 2), ("gun", "other"), negative=negative, resamples=5
    )
    assert found["eta_classes"] == expected
    assert found["eta"] == pytest.approx(math.sqrt(0.5) / len(expected))


def test_eta_of_the_negative_class_alone_when_nothing_else_is_there():
    found = classification_measures(np.array([1, 1]), one_hot([1, 1], 2), ("gun", "other"), resamples=5)
    assert (found["eta_classes"], found["eta"]) == (["other"], 1.0)


def test_no_image_names_the_remedy():
    with pytest.raises(DataFault, match="no image") as caught:
        classification_measures(np.zeros(0, int), np.zeros((0, 2)), ("a", "b"))
    assert "classes" in caught.value.remedy


def test_nan_is_a_failed_run_not_a_number():
    with pytest.raises(RunFailed, match=r"NaN or infinity for 1 of 2 images"):
        classification_measures(np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 1.0]]), ("a", "b"))


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [([0, 1], [[1.0, 0.0]]), ([0, 2], np.eye(2)), ([0, -1], np.eye(2)), ([0, 1], np.ones((2, 2)))],
)
def test_what_does_not_fit_is_refused(labels, probabilities):
    with pytest.raises(ValueError, match=r"labels|rows"):
        classification_measures(np.array(labels), np.array(probabilities), ("a", "b"))
