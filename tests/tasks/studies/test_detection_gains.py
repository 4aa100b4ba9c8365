"""What an arm does for a detector: AP50 by hand and by pycocotools, gains in the same draws, interpretations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.summary import coco_measures
from tlkit.tasks.studies import gains as benefit
from tlkit.tasks.studies.detection_gains import (
    MAIN,
    SCREENING,
    as_rows,
    evaluated_classes,
    from_rows,
    measure_detection_benefit,
)
from tlkit.tasks.studies.gain_charts import benefit_curves
from tlkit.tasks.studies.gains import interpretations

BOX = np.array([[10, 10, 30, 30]], np.float32)
NONE = np.zeros((0, 4), np.float32)


def draw_images(labels: list[list[int]]) -> Boxes:
    """Images with a box of each of these classes, all in other places."""
    number = len(labels)
    return Boxes(
        source="made",
        root=Path(),
        class_names=("gun", "knife", "star"),
        paths=tuple(f"{i}.png" for i in range(number)),
        xyxy=tuple(np.concatenate([BOX + 40 * j for j in range(len(own))] or [NONE]) for own in labels),
        labels=tuple(np.array(own, np.int32) for own in labels),
        difficult=tuple(np.zeros(len(own), bool) for own in labels),
        sizes=((200, 200),) * number,
        groups=(None,) * number,
        parts=(None,) * number,
    )


def said(truth: Boxes, found: list[int], alarms: list[int] = ()) -> list[Detections]:
    """A detector that finds all objects of some images (0.9) and sees guns that are not there on others (0.95)."""
    answers = []
    for i, (own, kinds) in enumerate(zip(truth.xyxy, truth.labels, strict=True)):
        hit, wrong = i in found, i in alarms
        boxes = np.concatenate([own if hit else NONE, BOX + 150 if wrong else NONE])
        scores = np.array([0.9] * len(own) * hit + [0.95] * wrong, np.float32)
        labels = np.array([*(kinds.tolist() if hit else []), *[0] * wrong], np.int32)
        answers.append(Detections(boxes, scores, labels))
    return answers


TRUTH = draw_images([[0], [0], [0], [0], [1], [1], [], [], [], []])
GROUPS = [f"g{i}" for i in range(10)]


@pytest.fixture(autouse=True)
def fewer(monkeypatch):
    """A hundred draws tell as much here as a thousand, and sooner."""
    monkeypatch.setattr(benefit, "RESAMPLES", 100)


def test_figures_by_hand():
    answers = {
        (20, "nothing"): [said(TRUTH, [0, 1]), said(TRUTH, [0, 1, 2, 3, 4, 5])],
        (20, "tip"): [said(TRUTH, range(6)), said(TRUTH, range(6), alarms=[6, 7, 8, 9])],
        (0, "tip"): [said(TRUTH, [4]), said(TRUTH, [4])],
    }
    nothing, tip, alone = measure_detection_benefit(TRUTH, GROUPS, answers)
    # 51 of COCO's 101 recalls are up to 2/4; four false alarms before four hits give a precision of 4/8 throughout
    half = 51 / 101
    assert nothing.measures["class gun"].value == pytest.approx((half + 1) / 2)
    assert nothing.measures["class knife"].value == pytest.approx((0 + 1) / 2)
    assert nothing.measures[MAIN].value == pytest.approx((half / 2 + 1) / 2)
    assert tip.measures["class gun"].value == pytest.approx((1 + 0.5) / 2)
    assert tip.measures["class knife"].value == pytest.approx(1)
    assert tip.gains[MAIN].value == pytest.approx((1 + 0.75) / 2 - (half / 2 + 1) / 2)
    assert tip.gains["class knife"].value == pytest.approx(0.5)
    assert nothing.gains[MAIN] == (0.0, (0.0, 0.0))
    assert alone.gains == {}
    assert alone.measures["class knife"].value == pytest.approx(half)
    # 6 objects; the second detector's 0.4 false alarms an image stand before its hits
    assert [nothing.measures[name].value for name in SCREENING] == pytest.approx([4 / 6] * 3)
    assert [tip.measures[name].value for name in SCREENING] == pytest.approx([0.5, 1, 1])
    assert "class star" not in tip.measures  # no star is evaluated
    assert evaluated_classes(TRUTH) == ["gun", "knife"]


def test_the_draws_are_those_of_a_plain_loop_over_whole_groups(monkeypatch):
    monkeypatch.setattr(benefit, "RESAMPLES", 12)
    generator = np.random.default_rng(0)
    truth = draw_images([[int(generator.integers(2))] if i % 3 else [] for i in range(18)])
    groups = [f"g{i // 2}" for i in range(18)]
    pair = [
        said(truth, generator.permutation(18)[:7].tolist(), generator.permutation(18)[:4].tolist())
        for _ in range(2)
    ]
    cells = measure_detection_benefit(truth, groups, {(5, "nothing"): pair[:1], (5, "tip"): pair[1:]}, seed=3)
    for cell, found in zip(cells, pair, strict=True):
        assert cell.measures[MAIN].value == pytest.approx(coco_measures(truth, found)["AP50"], abs=1e-6)
    draws = np.random.default_rng(3).multinomial(9, np.full(9, 1 / 9), size=12)
    gains = []
    for draw in draws:
        images = [i for g in range(9) for _ in range(draw[g]) for i in (2 * g, 2 * g + 1)]
        plain, tip = (coco_measures(truth.take(images), [found[i] for i in images])["AP50"] for found in pair)
        gains.append(tip - plain)
    np.testing.assert_allclose(cells[1].gains[MAIN].interval, np.quantile(gains, [0.025, 0.975]), atol=1e-6)


def test_verdicts_help_harm_cannot_tell_and_have_nothing_to_compare():
    truth = draw_images([[0]] * 30 + [[]] * 30)
    groups = [f"g{i}" for i in range(60)]
    answers = {
        (0, "same"): [said(truth, range(30))] * 2,
        (20, "nothing"): [said(truth, range(15))] * 2,
        (20, "good"): [said(truth, range(30))] * 2,
        (20, "bad"): [said(truth, range(5))] * 2,
        (20, "same"): [said(truth, range(15, 30))] * 2,
    }
    same, good, bad = interpretations(measure_detection_benefit(truth, groups, answers), MAIN)
    assert good.startswith("good helps with 20 real images (AP50 +0.495 [+0.")  # 1 - 51 / 101
    assert bad.startswith("bad harms with 20 real images (AP50 -0.337 [-0.")  # 17 / 101 less 51 / 101
    assert same.startswith("same makes no difference that can be shown with 20 (AP50 +0.000 [-0.")
    assert same.endswith(
        "; alone, with 0 real images, reaches AP50 1.000 [1.000, 1.000] and has nothing to be compared with."
    )


def test_detections_go_through_a_file_and_back_as_they_were():
    found = said(TRUTH, [0, 4], [6])
    back = from_rows(as_rows(found), len(TRUTH))
    for one, other in zip(found, back, strict=True):
        for first, second in zip(one[:3], other[:3], strict=True):
            assert first.dtype == second.dtype
            np.testing.assert_array_equal(first, second)
    assert [len(one.scores) for one in from_rows(as_rows(said(TRUTH, [])), len(TRUTH))] == [0] * 10


def test_the_chart_has_a_panel_for_each_measure():
    answers = {(n, arm): [said(TRUTH, [0])] for n in (20, 50) for arm in ("nothing", "tip")}
    answers[0, "tip"] = [said(TRUTH, [])]
    figure = benefit_curves(measure_detection_benefit(TRUTH, GROUPS, answers), "guns", (MAIN, *SCREENING))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [MAIN, *SCREENING]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["nothing", "tip"]
