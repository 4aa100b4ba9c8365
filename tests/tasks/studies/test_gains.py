"""Does it help: figures by hand, intervals that cover, interpretations that say what is there."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.tasks.studies.gain_charts import benefit_curves
from tlkit.tasks.studies.gains import NOTHING, interpretations, measure_benefit

TRUTH = np.array([True] * 4 + [False] * 6)
GROUPS = [f"g{i}" for i in range(10)]


def called(*indices):
    answer = np.zeros(10, bool)
    answer[list(indices)] = True
    return answer


def test_figures_by_hand():
    answers = {
        (20, NOTHING): np.stack([called(0, 4), called(0, 1)]),  # recall 1/4, 2/4; precision 1/2, 1
        (20, "gan"): np.stack([called(0, 1, 2, 3), called()]),  # 1 and 1; 0 and 0
    }
    nothing, gan = measure_benefit(TRUTH, GROUPS, answers)
    assert nothing.measures["recall"].value == pytest.approx(3 / 8)
    assert nothing.measures["precision"].value == pytest.approx(3 / 4)
    assert nothing.measures["eta"].value == pytest.approx((np.sqrt(1 / 8) + np.sqrt(1 / 2)) / 2)
    assert [gan.measures[name].value for name in ("recall", "precision", "eta")] == [0.5, 0.5, 0.5]
    assert gan.gains["eta"].value == pytest.approx(0.5 - nothing.measures["eta"].value)
    assert nothing.gains["eta"] == (0.0, (0.0, 0.0))


def test_the_interval_of_the_gain_is_narrower_than_that_of_two_strangers():
    generator = np.random.default_rng(0)
    truth = generator.random(200) < 0.4
    base = np.stack([truth ^ (generator.random(200) < 0.2) for _ in range(3)])
    better = base.copy()
    better[:, np.flatnonzero(truth)[:6]] = True
    groups = [str(i) for i in range(200)]
    plain, other = measure_benefit(truth, groups, {(50, NOTHING): base, (50, "more"): better})
    width = np.ptp(other.gains["eta"].interval)
    alone = sum(np.ptp(cell.measures["eta"].interval) for cell in (plain, other))
    assert 0 < width < alone / 3


def test_groups_widen_the_intervals():
    truth = np.repeat([True, False], 50)
    answer = np.stack([np.tile([True] * 5 + [False] * 5, 10)])
    alone = measure_benefit(truth, [str(i) for i in range(100)], {(20, NOTHING): answer})[0]
    together = measure_benefit(truth, [str(i // 5) for i in range(100)], {(20, NOTHING): answer})[0]
    width = np.ptp(alone.measures["recall"].interval)
    assert np.ptp(together.measures["recall"].interval) > 1.5 * width


def test_verdicts_say_help_harm_and_nothing():
    truth = np.repeat([True, False], 40)
    groups = [str(i) for i in range(80)]
    half = np.stack([truth & (np.arange(80) % 2 == 0)] * 2)
    answers = {
        (20, NOTHING): half,
        (20, "good"): np.stack([truth] * 2),
        (20, "bad"): np.stack([~truth] * 2),
        (20, "same"): half,
    }
    good, bad, same = interpretations(measure_benefit(truth, groups, answers))
    assert good.startswith("good helps with 20 real images (eta +0.293 [")
    assert bad.startswith("bad harms with 20 real images (eta -0.707 [")
    assert same == "same makes no difference that can be shown with 20 (eta +0.000 [+0.000, +0.000])."


def test_the_chart_has_a_line_for_each_arm_in_each_panel():
    half = np.stack([called(0, 1, 4)])
    answers = {(n, arm): half for n in (20, 50) for arm in (NOTHING, "flips", "gan")}
    figure = benefit_curves(measure_benefit(TRUTH, GROUPS, answers), "shuriken")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["recall", "precision", "eta"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [NOTHING, "flips", "gan"]
