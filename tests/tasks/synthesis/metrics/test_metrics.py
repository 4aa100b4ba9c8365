"""Measures of generated images against closed forms, plain loops and planted faults."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from tlkit.data.images.decoding.depth import read_images
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.synthesis.metrics.collapse import DiscriminatorAnswers, collapse_reason, diversity, twins
from tlkit.tasks.synthesis.metrics.kid import frechet, kid
from tlkit.tasks.synthesis.metrics.precision_recall import (
    copy_threshold,
    density_coverage,
    memorisation,
    precision_recall,
)
from tlkit.tasks.synthesis.metrics.summary import measure_synthesis

WIDTH = 6
HEALTHY = DiscriminatorAnswers(real=0.8, fake=0.3, held_out=0.7)


def normal(count, seed, mean=0.0, spread=1.0, width=WIDTH):
    return np.random.default_rng(seed).normal(mean, spread, (count, width))


# --- KID ---------------------------------------------------------------------------------------------------


def expected_kernel(first, second, width):
    """E[(x.y / d + 1)^3] of independent x, y with means (m, ..., m) and covariances s^2 I, from their moments."""
    moments = []
    for mean, spread in (first, second):
        centre, unit = np.full(width, mean), np.eye(width)
        square = np.outer(centre, centre) + spread**2 * unit
        cube = np.einsum("i,j,k->ijk", centre, centre, centre)
        for pattern in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
            cube = cube + spread**2 * np.einsum(pattern, centre, unit)
        moments.append((centre, square, cube))
    (a1, a2, a3), (b1, b2, b3) = moments
    return 1 + 3 * (a1 @ b1) / width + 3 * (a2 * b2).sum() / width**2 + (a3 * b3).sum() / width**3


def true_kid(first, second, width=WIDTH):
    across = expected_kernel(first, second, width)
    return expected_kernel(first, first, width) + expected_kernel(second, second, width) - 2 * across


def loop_kid(real, fake):
    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(items):
        pairs = [kernel(x, y) for i, x in enumerate(items) for j, y in enumerate(items) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in real for y in fake]
    return within(real) + within(fake) - 2 * sum(across) / len(across)


def test_kid_is_the_double_loop():
    real, fake = normal(9, 0), normal(7, 1, 0.5)
    assert kid(real, fake).value == pytest.approx(loop_kid(real.tolist(), fake.tolist()), rel=1e-12)


@pytest.mark.parametrize("second", [(0.4, 1.0), (0.7, 1.0), (0.3, 1.4)])
def test_kid_of_shifted_gaussians_is_its_closed_form_without_bias_at_any_size(second):
    first = (0.3, 1.0)
    truth = true_kid(first, second)
    for count in (8, 40):
        values = [
            kid(normal(count, [1, seed], *first), normal(count, [2, seed], *second), subsets=1).value
            for seed in range(250)
        ]
        error = np.std(values) / math.sqrt(len(values))
        assert abs(np.mean(values) - truth) < 3.5 * error


def test_kid_of_one_source_is_about_zero_and_often_negative():
    values = [kid(normal(20, [1, n]), normal(20, [2, n]), subsets=1).value for n in range(200)]
    assert 0.25 < np.mean(np.array(values) < 0) < 0.75
    assert abs(np.mean(values)) < 3.5 * np.std(values) / math.sqrt(200)


def test_kid_of_a_set_with_itself_is_negative_by_the_pairs_of_a_image_with_itself():
    same = normal(30, 3)
    kernel = (same @ same.T / WIDTH + 1) ** 3
    excess = np.diag(kernel).mean() - (kernel.sum() - np.trace(kernel)) / (30 * 29)
    assert kid(same, same).value == pytest.approx(-2 * excess / 30, rel=1e-9)


@pytest.mark.parametrize("sizes", [(40, 40), (30, 120)])
def test_the_interval_of_kid_covers_the_truth_about_95_times_in_100_and_is_no_wider_than_needed(sizes):
    truth = true_kid((0.5, 1.0), (1.2, 1.0))
    found = [
        kid(normal(sizes[0], [1, n], 0.5), normal(sizes[1], [2, n], 1.2), subsets=60, seed=n)
        for n in range(100)
    ]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.85 <= covered <= 0.99
    width = np.mean([one.high - one.low for one in found])
    assert width == pytest.approx(2 * 1.96 * np.std([one.value for one in found]), rel=0.25)


def test_other_subsets_give_intervals_of_like_width():
    real, fake = normal(80, 0, 0.5), normal(80, 1, 1.2)
    widths = [np.diff(kid(real, fake, subset=size, subsets=400)[1:3])[0] for size in (20, 40, 60)]
    assert max(widths) < 1.35 * min(widths)


def test_kid_says_what_it_rests_on_and_repeats_by_seed():
    real, fake = normal(20, 0), normal(31, 1)
    found = kid(real, fake, seed=4)
    assert (found.subset, found.subsets, found.real, found.fake) == (10, 100, 20, 31)
    assert found == kid(real, fake, seed=4)
    assert found.low != kid(real, fake, seed=5).low
    assert found.value == kid(real, fake, seed=5).value


def test_kid_refuses_what_it_cannot_do():
    with pytest.raises(UsageFault, match="subset of 20 cannot be drawn from 20 real and 31") as fault:
        kid(normal(20, 0), normal(31, 1), subset=20)
    assert "Take 2 to 19" in fault.value.remedy
    with pytest.raises(UsageFault, match="subset of 1 "):
        kid(normal(20, 0), normal(31, 1), subset=1)
    with pytest.raises(DataFault, match="there are 3 and 31"):
        kid(normal(3, 0), normal(31, 1))
    broken = normal(20, 0)
    broken[3, 2] = np.nan
    with pytest.raises(DataFault, match="1 of 20 generated images are no numbers"):
        kid(normal(20, 0), broken)


# --- Frechet -----------------------------------------------------------------------------------------------


def test_frechet_of_shifted_gaussians_nears_its_closed_form():
    real, fake = normal(40_000, 0, 0.0, 1.0, 4), normal(40_000, 1, 0.5, 2.0, 4)
    assert frechet(real, fake) == pytest.approx(4 * 0.5**2 + 4 * (1 + 4 - 2 * 2), rel=0.02)


def test_frechet_is_the_matrix_formula_on_samples():
    mixing = np.random.default_rng(5).normal(size=(5, 5))
    real, fake = normal(30, 0, width=5) @ mixing, normal(40, 1, 0.7, width=5)
    first, second = np.cov(real.T), np.cov(fake.T)
    moved = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    expected = moved + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(real, fake) == pytest.approx(expected, rel=1e-9)
    assert frechet(real, real) == pytest.approx(0, abs=1e-9)


def test_frechet_is_refused_where_the_covariance_has_no_full_rank():
    assert np.linalg.matrix_rank(np.cov(normal(6, 0).T)) == 5  # the reason: 6 images, 6 features
    with pytest.raises(
        DataFault, match="more than 6 images of each kind; there are 6 and 50.*rank 5"
    ) as fault:
        frechet(normal(6, 0), normal(50, 1))
    assert "KID" in fault.value.remedy
    assert frechet(normal(7, 0), normal(50, 1)) > 0


# --- precision, recall, density, coverage ------------------------------------------------------------------


def loop_measures(real, fake, k):
    def radius(items, index):
        return sorted(math.dist(items[index], x) for j, x in enumerate(items) if j != index)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    inside = [[math.dist(x, y) <= r for y in fake] for x, r in zip(real, real_radii, strict=True)]
    return {
        "precision": sum(any(row[j] for row in inside) for j in range(len(fake))) / len(fake),
        "recall": sum(any(math.dist(x, y) <= r for y, r in zip(fake, fake_radii, strict=True)) for x in real)
        / len(real),
        "density": sum(sum(row) for row in inside) / (k * len(fake)),
        "coverage": sum(any(row) for row in inside) / len(real),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbour_measures_are_the_plain_loops(k):
    real, fake = normal(40, 0), normal(35, 1, 0.5, 0.8)
    expected = loop_measures(real.tolist(), fake.tolist(), k)
    precision, recall = precision_recall(real, fake, k)
    density, coverage = density_coverage(real, fake, k)
    found = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    assert {name: pytest.approx(one.value, rel=1e-12) for name, one in found.items()} == expected
    assert all(one.low <= one.value <= one.high for one in found.values())
    assert 0 < expected["recall"] < expected["precision"] <= 1


def test_identical_sets_are_precise_and_covered_and_far_ones_are_not():
    same, far = normal(50, 0), normal(50, 1, 50.0)
    assert [one.value for one in (*precision_recall(same, same), density_coverage(same, same)[1])] == [
        1,
        1,
        1,
    ]
    assert [
        one.value for pair in (precision_recall(same, far), density_coverage(same, far)) for one in pair
    ] == [0] * 4
    assert precision_recall(same, same)[0].low == pytest.approx(0.025 ** (1 / 50))


def test_a_generator_of_one_mode_is_precise_but_recalls_half():
    real = np.concatenate([normal(60, 0, -20.0), normal(60, 1, 20.0)])
    precision, recall = precision_recall(real, normal(60, 2, -20.0))
    density, coverage = density_coverage(real, normal(60, 2, -20.0))
    assert precision.value > 0.7
    assert 0.4 < recall.value <= 0.5
    assert 0.4 < coverage.value <= 0.5
    assert density.value > 0.7


def test_one_outlier_inflates_precision_but_not_density():
    real = np.concatenate(
        [normal(60, 0), np.full((1, WIDTH), 30.0)]
    )  # Naeem 2020, figure 2: its ball is huge
    fakes = np.concatenate([normal(10, 1), normal(50, 2, 15.0)])
    assert precision_recall(real, fakes)[0].value > 0.9
    assert density_coverage(real, fakes)[0].value < 0.4


def test_too_few_for_the_neighbours():
    with pytest.raises(DataFault, match="3 neighbours need more than 3 images; there are 20 and 3"):
        precision_recall(normal(20, 0), normal(3, 1))


# --- memorisation ------------------------------------------------------------------------------------------


def loop_threshold(training):
    nearest = [min(math.dist(x, y) for j, y in enumerate(training) if j != i) for i, x in enumerate(training)]
    return np.quantile(nearest, 0.01)


def test_memorisation_is_the_plain_loop():
    training, fake, unseen = normal(60, 0), normal(50, 1, 0.0, 0.6), normal(20, 2)
    found = memorisation(training, fake, unseen)
    threshold = loop_threshold(training.tolist())
    nearest = [[math.dist(x, y) for y in training] for x in fake]
    assert found.threshold == pytest.approx(threshold)
    assert found.nearest.tolist() == [row.index(min(row)) for row in nearest]
    assert np.allclose(found.distances, [min(row) for row in nearest])
    assert found.share.value == np.mean([min(row) <= threshold for row in nearest])
    assert found.held_out.value == np.mean(
        [min(math.dist(x, y) for y in training) <= threshold for x in unseen]
    )
    assert found.excess.value == found.share.value - found.held_out.value


@pytest.mark.parametrize("planted", [0, 7, 50])
def test_planted_copies_are_counted_and_found(planted):
    training, fake = normal(80, 0), normal(50, 1, 4.0)
    fake[:planted] = training[10 : 10 + planted]
    fake[:planted] += np.random.default_rng(2).normal(0, 0.001, (planted, WIDTH))
    found = memorisation(training, fake, normal(40, 3))
    assert found.nearest[:planted].tolist() == list(range(10, 10 + planted))
    assert found.share.value == planted / 50
    assert found.held_out.value < 0.05
    assert found.excess.low <= planted / 50 - found.held_out.value <= found.excess.high
    assert (found.excess.low > 0) == (planted == 50)


def test_exact_copies_of_a_set_with_duplicates_are_still_copies():
    training = np.concatenate([normal(60, 0), normal(60, 0)[:5]])
    found = memorisation(training, training[:20])
    assert found.duplicates == 5
    assert found.threshold == pytest.approx(loop_threshold(training[:60].tolist()))
    assert found.share.value == 1
    assert (found.held_out, found.excess) == (None, None)


def test_all_pairs_would_be_the_wrong_yardstick():
    """The issue's warning: reals in families (views of one object) are near each other without being copies."""
    centres = np.random.default_rng(0).normal(0, 4, (6, WIDTH))
    reals = centres.repeat(40, axis=0) + np.random.default_rng(1).normal(0, 0.5, (240, WIDTH))
    order = np.random.default_rng(2).permutation(240)
    training, unseen = reals[order[:160]], reals[order[160:]]
    found = memorisation(training, unseen, unseen)
    distances = np.linalg.norm(training[:, None] - training, axis=2)
    all_pairs = np.quantile(distances[np.triu_indices(160, 1)], 0.01)
    assert found.share.value < 0.08
    assert (np.linalg.norm(unseen[:, None] - training, axis=2).min(axis=1) <= all_pairs).mean() > 0.3


def test_held_out_reals_are_called_copies_about_once_in_a_hundred():
    shares = [
        memorisation(normal(200, [1, n]), normal(100, [2, n]), normal(200, [3, n])).held_out.value
        for n in range(20)
    ]
    assert np.mean(shares) == pytest.approx(0.01, abs=0.006)


def test_the_interval_of_the_excess_covers_the_truth():
    """Shares of 30 % and 10 %: differences of binomial draws, about 95 in 100 intervals hold 0.2 or more do."""
    from tlkit.tasks.synthesis.metrics.precision_recall import _difference, share_of

    generator = np.random.default_rng(0)
    found = [
        _difference(share_of(generator.random(60) < 0.3), share_of(generator.random(40) < 0.1))
        for _ in range(300)
    ]
    assert np.mean([one.low <= 0.2 <= one.high for one in found]) >= 0.94


def test_a_constant_set_has_no_threshold():
    with pytest.raises(DataFault, match="Only 1 of 12 images differ"):
        copy_threshold(np.ones((12, WIDTH)))
    with pytest.raises(DataFault, match="no generated images"):
        memorisation(normal(12, 0), np.empty((0, WIDTH)))


# --- collapse ----------------------------------------------------------------------------------------------


def test_diversity_is_the_ratio_of_mean_distances():
    real, fake = normal(12, 0), normal(9, 1, 3.0, 0.5)

    def mean(items):
        pairs = [math.dist(x, y) for i, x in enumerate(items) for y in items[i + 1 :]]
        return sum(pairs) / len(pairs)

    found = diversity(real, fake)
    assert found.value == pytest.approx(mean(fake.tolist()) / mean(real.tolist()))
    assert found.low < found.value < found.high


def test_the_interval_of_diversity_covers_the_truth():
    found = [diversity(normal(40, [1, n]), normal(40, [2, n], 0.0, 0.7), seed=n) for n in range(60)]
    assert np.mean([one.low <= 0.7 <= one.high for one in found]) >= 0.88
    width = np.mean([one.high - one.low for one in found])
    assert width == pytest.approx(2 * 1.96 * np.std([one.value for one in found]), rel=0.25)


@pytest.mark.parametrize("seed", range(10))
def test_healthy_sets_raise_no_alarm(seed):
    real = normal(100, [0, seed])
    for fake in (normal(64, [1, seed]), normal(300, [1, seed], 0.4, 0.8), normal(64, [1, seed], 0.0, 1.3)):
        assert collapse_reason(real, fake, HEALTHY) is None


@pytest.mark.parametrize("seed", range(5))
def test_planted_collapses_are_flagged_with_their_reason(seed):
    real = normal(100, [0, seed])
    one_image = normal(1, [1, seed]) + normal(64, [2, seed], 0.0, 0.05)
    assert "nearly the same image every time" in collapse_reason(real, one_image)
    few_images = normal(8, [1, seed]).repeat(8, axis=0) + normal(64, [2, seed], 0.0, 0.01)
    assert diversity(real, few_images).value > 0.7  # distances alone would not tell
    assert "have a twin among the samples" in collapse_reason(real, few_images)
    constant = np.ones((64, WIDTH))
    assert "0.00 times as much" in collapse_reason(real, constant)
    half = np.concatenate([normal(32, [1, seed]), normal(1, [3, seed]).repeat(32, axis=0)])
    assert 0.5 <= twins(real, half) < 0.6
    assert "% of the samples have a twin" in collapse_reason(real, half)


def test_a_discriminator_that_has_won_and_samples_that_are_no_numbers():
    real, fake = normal(100, 0), normal(64, 1)
    assert "it has won" in collapse_reason(real, fake, DiscriminatorAnswers(real=1.0, fake=0.0))
    assert collapse_reason(real, fake, DiscriminatorAnswers(real=1.0, fake=0.02)) is None
    fake[3, 3] = np.inf
    assert collapse_reason(real, fake) == "The samples have features that are no numbers."


def test_limits_are_the_callers():
    real, fake = normal(100, 0), normal(64, 1, 0.0, 0.8)
    assert "alarm below 0.9" in collapse_reason(real, fake, least_diversity=0.9)
    assert "alarm above -1 %" in collapse_reason(real, fake, most_twins=-0.01)


def test_twins_are_the_plain_loop_and_rare_among_reals_whatever_the_sizes():
    real, fake = normal(50, 0), normal(30, 1, 0.0, 0.3)

    def nearest(items):
        return [min(math.dist(x, y) for j, y in enumerate(items) if j != i) for i, x in enumerate(items)]

    limit = sorted(nearest(real[:30].tolist()))[14:16]
    expected = np.mean([one <= sum(limit) / 2 / 3 for one in nearest(fake.tolist())])
    assert 0 < twins(real, fake) == expected
    for count in (60, 100, 400):
        assert np.mean([twins(normal(100, [0, n]), normal(count, [1, n])) for n in range(5)]) < 0.03


# --- all of it ---------------------------------------------------------------------------------------------

MEASURES = [
    "kid",
    "kid_training",
    "kid_of_reals",
    "precision",
    "recall",
    "density",
    "coverage",
    "memorisation",
]


def test_all_measures_are_json_and_say_what_they_rest_on():
    training, unseen, fake = normal(90, 0), normal(30, 1), normal(50, 2, 0.2)
    figures = measure_synthesis(training, unseen, fake, extractor="the test's own", seed=3)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    for name in [*MEASURES, "diversity", "frechet"]:
        assert figures[name]["extractor"] == "the test's own"
        assert {"reals", "fakes", "against"} <= figures[name].keys()
    for name in [*MEASURES, "diversity"]:
        assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
    assert figures["kid"]["value"] == kid(unseen, fake).value
    assert (figures["kid"]["subset"], figures["kid"]["against"], figures["kid"]["reals"]) == (
        15,
        "held_out",
        30,
    )
    assert figures["kid_training"]["value"] == kid(training, fake).value
    assert figures["kid_of_reals"]["value"] == kid(training, unseen).value
    assert figures["precision"]["value"] == precision_recall(unseen, fake)[0].value
    assert figures["frechet"]["value"] == frechet(unseen, fake)
    assert figures["memorisation"]["excess"]["value"] == memorisation(training, fake, unseen).excess.value
    assert figures["pictures"] == {"training": 90, "held_out": 30, "fake": 50}
    assert figures["diversity"]["reals"] == 90


@pytest.mark.parametrize("unseen", [None, normal(5, 1), normal(0, 1)])
def test_without_held_out_images_the_training_images_stand_in_and_it_is_said(unseen):
    figures = measure_synthesis(normal(40, 0), unseen, normal(50, 2), extractor="x")
    assert figures["precision"]["against"] == "training"
    assert figures["kid_of_reals"]["value"] is None
    assert "fewer than 8" in figures["kid_of_reals"]["reason"]
    assert (figures["memorisation"]["held_out"] is None) == (unseen is None or not len(unseen))


def test_frechet_is_absent_with_its_reason_in_few_images():
    wide = measure_synthesis(normal(40, 0, width=64), None, normal(50, 1, width=64), extractor="x")
    assert wide["frechet"]["value"] is None
    assert "needs more than 64 images" in wide["frechet"]["reason"]


def test_too_few_images_and_two_extractors_are_refused():
    with pytest.raises(DataFault, match="There are 7 generated images; .* at least 8"):
        measure_synthesis(normal(40, 0), None, normal(7, 1), extractor="x")
    with pytest.raises(DataFault, match="one extractor for all"):
        measure_synthesis(normal(40, 0), None, normal(40, 1, width=5), extractor="x")


def test_the_better_generator_wins_every_measure():
    training, unseen = normal(120, 0), normal(60, 1)
    good = measure_synthesis(training, unseen, normal(120, 2), extractor="x")
    poor = measure_synthesis(training, unseen, normal(120, 3, 0.8, 0.5), extractor="x")
    assert good["kid"]["high"] < poor["kid"]["low"]
    assert all(good[name]["value"] > poor[name]["value"] for name in ("recall", "coverage", "diversity"))
    assert good["frechet"]["value"] < poor["frechet"]["value"]


@pytest.mark.real
@pytest.mark.parametrize("seed", range(3))
def test_real_images_stand_up_to_real_images(real_data, seed):
    """Pixels as features: other real shuriken are no copies, no collapse and no farther than chance."""
    files = sorted((real_data / "threats" / "shuriken").iterdir())
    order = np.random.default_rng(seed).permutation(len(files))
    pixels = read_images(files, 16, 1).reshape(len(files), -1)[order]
    training, unseen, others = np.split(pixels, [90, 120])
    figures = measure_synthesis(training, unseen, others, extractor="pixels at 16 x 16")
    assert collapse_reason(training, others) is None
    assert figures["kid"]["low"] <= 0 <= figures["kid"]["high"]
    # Few reals, many views of one object: up to 4 of 30 are as near as copies, held-out or not. Hence the yardstick.
    assert figures["memorisation"]["excess"]["low"] <= 0 <= figures["memorisation"]["excess"]["high"]
    assert figures["precision"]["value"] > 0.7
    assert collapse_reason(training, training[:5].repeat(8, axis=0)) is not None
