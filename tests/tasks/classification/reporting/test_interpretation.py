"""Each sentence of the interpretation speaks when it should and is silent when it should."""

from __future__ import annotations

import pytest

from tlkit.engine.reporting.html import percent
from tlkit.tasks.classification.reporting.interpretation import interpretation


def measured(accuracy=0.9, interval=(0.88, 0.92), n=400, groups=200, ece=0.01, **supports):
    supports = supports or {"gun": n // 2, "other": n // 2}
    return {
        "n": n,
        "groups": groups,
        "accuracy": accuracy,
        "intervals": {"accuracy": list(interval)},
        "ece": ece,
        "per_class": {
            name: {"support": count, "recall": accuracy if count else None}
            for name, count in supports.items()
        },
    }


def said(test=None, **parts) -> str:
    parts = parts if test is None else {"test": test, **parts}
    return " ".join(f"[{remark.tone}] {remark.sentence}" for remark in interpretation(parts))


def test_accuracy_comes_first_with_what_it_rests_on():
    first = interpretation({"test": measured()})[0]
    assert first.sentence == (
        "On 400 images from 200 groups the model is right 90.0 % of the time "
        "(95 % interval: 88.0 % to 92.0 %)."
    )
    assert "groups" not in interpretation({"test": measured(n=400, groups=400)})[0].sentence


def test_width_of_the_interval():
    assert "[caution] The interval is wide (20 points)" in said(measured(interval=(0.75, 0.95)))
    assert "[good] The interval is narrow (2.0 points)" in said(measured(interval=(0.89, 0.91)))
    between = said(measured(interval=(0.86, 0.93)))
    assert "narrow" not in between
    assert "wide" not in between


def test_few_groups_make_even_the_interval_doubtful():
    assert "Only 5 groups were tested" in said(measured(groups=5))
    assert "groups were tested" not in said(measured(groups=10))


def test_a_perfect_score_is_not_perfection():
    text = said(measured(1.0, (0.964, 1.0)))
    assert "No mistake was seen" in text
    assert "up to 3.6 % of new images" in text
    assert "No mistake" not in said(measured())


def test_always_answering_the_most_frequent_class():
    assert (
        "[caution] Always answering “other” would be right 89.0 % of the time: the model is not shown"
        in said(measured(gun=44, other=356))
    )
    assert "[plain] Always answering “gun” would be right 50.0 % of the time." in said(measured())
    assert "All images are of the class “gun”" in said(measured(gun=400))


def test_the_weakest_class_is_named():
    evaluated = measured()
    evaluated["per_class"]["gun"]["recall"] = 0.5
    assert "[caution] It most often misses “gun”: it finds 50.0 % of the 200." in said(evaluated)
    assert "misses" not in said(measured(1.0, (0.98, 1.0)))


def test_rare_and_absent_classes():
    text = said(measured(gun=391, blade=9, **{"throwing star": 0}))
    assert "Fewer than 10 images of “blade”" in text
    assert "No image of “throwing star”" in text
    assert "Fewer" not in said(measured())
    many = said(measured(gun=300, **{f"c{index}": 1 for index in range(8)}))
    assert "“c4” and 3 more classes" in many


@pytest.mark.parametrize(
    ("ece", "tone", "text"), [(0.08, "caution", "8 points"), (0.012, "plain", "1.2 points")]
)
def test_probabilities(ece, tone, text):
    assert f"[{tone}] Its probabilities are off by {text}" in said(measured(ece=ece))


def test_much_better_on_training_images_than_on_new_ones():
    assert "names 99.9 % of its training images" in said(measured(), training=measured(0.999))
    assert "training images" not in said(measured(), training=measured(0.93))


def test_without_a_test_part_the_numbers_flatter():
    assert said(validation=measured()).startswith(
        "[caution] There is no test part: the model was chosen on these"
    )
    assert "has seen these images" in said(training=measured())
    assert "no test part" not in said(measured(), validation=measured())


def test_nothing_measured_nothing_said():
    assert interpretation({}) == []
    assert interpretation({"test": {"kid": 0.2}}) == []


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50.0 %"),
        (0.9996, "more than 99.9 %"),
        (0.0001, "less than 0.1 %"),
        (0.99949, "99.9 %"),
    ],
)
def test_percent_is_never_rounded_to_certainty(share, text):
    assert percent(share) == text
