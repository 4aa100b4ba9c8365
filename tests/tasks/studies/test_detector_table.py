"""The table of detectors: what a row takes of a card, who has none, what is bold, and that every form says the same."""

from __future__ import annotations

import csv
import io

import pytest

from tlkit.core.csv_writer import CsvWriter
from tlkit.tasks.studies import detector_table as table

SAME = table.Same("abc", ("gun", "knife"), 15.0, "efficientnet-lite0", "imagenet", 576)


def card(recipe="detect-yolov8", ap50=0.8, **changed):
    """A card as a detector's recipe leaves it."""
    screening = [
        {"rate": rate, "recall": recall, "per_bin": {"0-0.25": {"recall": recall, "objects": 30}}}
        for rate, recall in ((0.1, 0.6), (0.5, 0.7), (1.0, 0.75))
    ]
    test = {
        "n": 400,
        "groups": 200,
        "objects": 300,
        "AP50": ap50,
        "AP": ap50 / 2,
        "APs": 0.1,
        "APm": 0.5,
        "APl": None,
    }
    intervals = {"AP50": [ap50 - 0.05, ap50 + 0.05], "AP": None, "recall@0.5": [0.65, 0.76]}
    per_class = {"gun": {"AP50": 0.9}, "knife": {"AP50": 0.7}}
    return {
        "recipe": recipe,
        "kind": "detector",
        "classes": ["gun", "knife"],
        "data": {"split_sha256": "abc", "parts": {"training": {"n": 1400}}},
        "model": {"network": "yolov8", "backbone": "efficientnet-lite0", "image_size": 576, "parameters": 4_000_000},
        "options": {"weights": "imagenet", "start": None, "batch": 16, "seed": 0},
        "length": {"minutes": 15.0, "steps": 1204, "pace": {"steps": {"head": 0.3, "all": 0.6}}},
        "measures": {"test": {**test, "intervals": intervals, "per_class": per_class, "screening": screening}},
        **changed,
    }  # fmt: skip


def test_a_row_has_what_the_card_says():
    row = table.row_of(card(), "runs/a/1", 41.7, SAME)
    wanted = {"detector": "yolov8", "differs": "", "minutes": 15.0, "steps": 1204, "seconds_a_step": 0.6, "AP50": 0.8,
              "AP50_low": 0.75, "AP50_high": pytest.approx(0.85), "AP_low": None, "recall@0.5": 0.7, "recall@0.5_low": 0.65,
              "recall@1": 0.75, "APl": None, "hidden 0-0.25": 0.7, "hidden 0-0.25 objects": 30, "AP50 knife": 0.7,
              "mask_AP": None, "proposals": None, "milliseconds": 41.7, "parameters": 4_000_000}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_masks_and_proposals_have_their_columns_where_a_card_has_them():
    measured = card()["measures"]["test"] | {"masks": {"AP": 0.3, "AP50": 0.5}, "proposals": {"recall": 0.85}}
    rows = [
        table.row_of(card(measures={"test": measured}), "a", None, SAME),
        table.row_of(card(), "b", None, SAME),
    ]
    headings = [heading for heading, _ in table.parts_of(rows, SAME.classes)[0].columns]
    assert headings[-2:] == ["mask AP", "proposals on"]
    assert table.cells_of(table.parts_of(rows, SAME.classes)[0], rows)[0][-2:] == [0.3, 0.85]
    assert "mask AP" not in [heading for heading, _ in table.parts_of(rows[1:], SAME.classes)[0].columns]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"length": {"minutes": 8, "steps": 600}}, "8 minutes"),
        ({"length": {}, "phases": [{"epochs": 1}, {"epochs": 23}]}, "2112 steps"),  # 24 times 88
        ({"length": {}, "learning": {"minutes": 15.0, "training_images": 77}}, ""),
        ({"length": {}, "learning": {}}, "no set time"),
        ({"model": {"backbone": "mobilenet", "image_size": 320}}, "on mobilenet, at 320 pixels"),
        ({"options": {"weights": "none"}}, "from random weights"),
        ({"options": {"weights": "imagenet", "start": "mine/2"}}, "from run mine/2"),
        ({"options": {}}, ""),  # a window has its classifier's weights
    ],
)
def test_what_learned_otherwise_is_marked(changed, said):
    row = table.row_of(card(**changed), "runs/a/1", None, SAME)
    assert row["differs"] == said
    assert table.cell_of(row, "marked") == ("yolov8*" if said else "yolov8")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"kind": "generator"}, "is no run of a detector"),
        ({"measures": {}}, "was not evaluated"),
        ({"classes": ["gun"]}, "finds gun, and not gun"),
        ({"data": {"split_sha256": "other"}}, "other images or other parts"),
    ],
)
def test_who_has_no_row_is_told_why(changed, words):
    said = table.unfit(card(**changed), "runs/a/1", SAME)
    assert words in said
    assert bool(said) == bool(words)


def test_markdown_csv_and_cells_say_the_same_and_the_best_is_bold():
    cards = [
        card("detect-yolov1", 0.1),
        card("detect-rcnn", 0.8, length={}, learning={"minutes": 8, "training_images": 77}),
    ]
    rows = table.ordered(
        [table.row_of(one, f"runs/{i}", 10.0 * (i + 1), SAME) for i, one in enumerate(cards)]
    )
    assert [row["detector"] for row in rows] == ["rcnn", "yolov1"]
    parts, absent = table.parts_of(rows, SAME.classes), [("slide-window", "It has no | minutes.")]
    text = table.as_markdown(parts, rows, absent)
    assert "| rcnn\\* | **0.800 (0.750 to 0.850)** |" in text
    assert "| yolov1 | 0.100 (0.050 to 0.150) |" in text
    assert "rcnn (8 minutes)" in text
    assert "8 min, 77 images" in text
    assert "- slide-window: It has no | minutes." in text
    widths = [line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(widths[: 2 + len(rows)])) == 1
    stream = io.StringIO()
    CsvWriter(stream, safe=False).writerows(table.as_table(rows, absent))
    read = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [(one["detector"], one["AP50"], one["why"]) for one in read] == [
        ("rcnn", "0.8", ""),
        ("yolov1", "0.1", ""),
        ("slide-window", "", "It has no | minutes."),
    ]


def test_costs_have_their_best_below_and_equal_ones_have_none():
    rows = [table.row_of(card(), "a", 90.0, SAME), table.row_of(card(), "b", 40.4, SAME)]
    costs = table.parts_of(rows, SAME.classes)[-1]
    assert table.best_cells(costs, rows) == {(1, [name for _, name in costs.columns].index("milliseconds"))}
    assert table.best_cells(table.parts_of(rows, SAME.classes)[0], rows) == set()
    assert table.cell_of(rows[1], "milliseconds") == 40


def test_a_comparison_of_nothing_but_sentences_is_a_table_too():
    assert table.as_table([], [("rcnn", "No OpenCV.")]) == [["detector", "why"], ["rcnn", "No OpenCV."]]


def test_points_over_time_have_ticks_however_near_they_are():
    from tlkit.tasks.studies.detector_charts import against_time

    figure = against_time(["a", "b"], [0.5, 0.6], [(0.4, 0.6), (0.5, 0.7)], [31.0, 34.0], [False, True])
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert [
        text
        for tick, text in zip(axes.get_xticks(), axes.xaxis.get_ticklabels(), strict=True)
        if low < tick < high
    ]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert "no detector" in against_time([], [], [], [], []).texts[0].get_text()
