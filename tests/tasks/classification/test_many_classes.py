"""Two thousand classes: the card, the tables, the page and the images stay small, and nothing in them is lost."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tlkit.core import bootstrap as intervals
from tlkit.data.checks.label_errors import held_out_answers, suspects
from tlkit.data.checks.predictions import read_predictions, write_predictions
from tlkit.data.images.sources import PARTS, Images
from tlkit.data.images.splits import Split
from tlkit.engine.reporting import charts, style
from tlkit.tasks.classification.metrics import (
    classification_measures,
    confusion,
    confusion_entry,
    confusion_of,
)
from tlkit.tasks.classification.reporting import plots as images
from tlkit.tasks.classification.reporting.report import write_report

CLASSES = 2000
NAMES = tuple(f"class {k:04d}" for k in range(CLASSES))


def answers_of(labels, classes, seed=0):
    """Probabilities that are right twice in three and sure of it."""
    generator = np.random.default_rng(seed)
    found = generator.random((len(labels), classes), np.float32)
    chosen = np.where(
        generator.random(len(labels)) < 0.67, labels, generator.integers(0, classes, len(labels))
    )
    found[np.arange(len(labels)), chosen] += classes
    return found / found.sum(1, keepdims=True)


def split_of(labels, names, parts):
    numbers = range(len(labels))
    images = Images(
        source="many",
        root=Path(),
        paths=tuple(f"{names[k]}/{i}.png" for i, k in zip(numbers, labels, strict=True)),
        labels=np.array(labels, np.int32),
        class_names=tuple(names),
        parts=(None,) * len(labels),
        groups=(None,) * len(labels),
    )
    hashes = tuple(f"{i:064x}" for i in numbers)
    return Split(images, hashes, hashes, tuple(parts))


@pytest.fixture(scope="module")
def many():
    """A split of an image a class and part, its answers, and their measures."""
    labels = np.tile(np.arange(CLASSES), 3)
    split = split_of(labels, NAMES, np.repeat(PARTS, CLASSES).tolist())
    answers = answers_of(labels, CLASSES)
    chosen = split.indices("test")
    found = classification_measures(labels[chosen], answers[chosen], NAMES, resamples=20)
    return split, answers, found


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "form"), [(100, "confusion"), (101, "confusion_cells")])
def test_a_matrix_is_sparse_above_a_hundred_classes_and_the_same_when_read(classes, form):
    generator = np.random.default_rng(1)
    labels, predicted = generator.integers(0, classes, (2, 300))
    matrix = confusion(labels, predicted, classes)
    entry = json.loads(json.dumps(confusion_entry(matrix)))
    assert list(entry) == [form]
    if form == "confusion_cells":
        counted = {}
        for pair in zip(labels.tolist(), predicted.tolist(), strict=True):
            counted[pair] = counted.get(pair, 0) + 1
        assert entry[form] == [[*pair, n] for pair, n in sorted(counted.items())]
    read = confusion_of({**entry, "per_class": dict.fromkeys(range(classes))})
    assert read.dtype == np.int64
    assert read.tolist() == matrix.tolist()


def test_measures_of_two_thousand_classes_are_small(many):
    split, answers, found = many
    assert "confusion" not in found
    assert len(json.dumps(found, indent=1)) < 1_000_000
    labels = split.images.labels[split.indices("test")]
    right = answers[split.indices("test")].argmax(1) == labels
    assert confusion_of(found).trace() == right.sum()
    for k in (0, 7, 1999):
        area = metrics.roc_auc_score(labels == k, answers[split.indices("test"), k])
        assert found["per_class"][NAMES[k]]["auc"] == pytest.approx(area, abs=1e-12)


def test_auc_of_all_classes_at_once_is_that_of_each():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 9, 200)
    labels[labels == 4] = 5  # a class without an image
    answers = np.round(generator.random((200, 9)), 1)  # with ties
    groups = np.unique(generator.integers(0, 50, 200), return_inverse=True)[1]
    draws = intervals.draw_groups(groups.max() + 1, 40, 0)
    each = [intervals.resampled_auc(labels == k, answers[:, k], groups, draws) for k in np.unique(labels)]
    found = intervals.resampled_aucs(labels, answers, groups, draws)
    np.testing.assert_array_equal(found, np.stack(each, axis=1))


# --- predictions.csv ---------------------------------------------------------------------------------------


def test_predictions_of_many_classes_hold_the_five_likeliest(many, tmp_path):
    split, answers, _ = many
    file = tmp_path / "predictions.csv"
    write_predictions(file, split, answers)
    assert file.stat().st_size < 200 * len(answers)
    with file.open(newline="") as stream:
        header, first, *_ = csv.reader(stream)
    assert header[:7] == ["path", "part", "label", "predicted", "p_label", "label_1", "p_1"]
    assert header[7:] == ["label_2", "p_2", "label_3", "p_3", "label_4", "p_4", "label_5", "p_5"]
    best = sorted(range(CLASSES), key=lambda k: -answers[0, k])[:5]
    assert first[5::2] == [NAMES[k] for k in best]
    assert first[6::2] == [f"{answers[0, k]:.6f}" for k in best]
    assert first[4] == f"{answers[0, 0]:.6f}"


@pytest.mark.parametrize("classes", [100, 101])
def test_predictions_are_read_again_in_either_form(classes, tmp_path):
    labels = np.arange(classes)
    names = [f"c{k:03d}" for k in range(classes)]
    split, answers = split_of(labels, names, ["test"] * classes), answers_of(labels, classes)
    write_predictions(tmp_path / "predictions.csv", split, answers)
    read = list(read_predictions(tmp_path / "predictions.csv"))
    assert [one.path for one in read] == list(split.images.paths)
    assert [one.label for one in read] == names
    assert [one.predicted for one in read] == [names[k] for k in answers.argmax(1)]
    assert [one.confidence for one in read] == pytest.approx(answers.max(1), abs=1e-6)
    assert [one.p_label for one in read] == pytest.approx(answers[labels, labels], abs=1e-6)
    assert {len(one.likeliest) for one in read} == ({100} if classes == 100 else {5})


def test_label_errors_of_many_classes_are_those_among_the_five_likeliest(many, tmp_path):
    split, answers = many[0], np.round(many[1].astype(np.float64), 6)  # as the table has them
    write_predictions(tmp_path / "predictions.csv", split, answers)
    (tmp_path / "split.csv").write_text(split.manifest)
    held_out = [*split.indices("validation"), *split.indices("test")]
    labels = split.images.labels[held_out]
    found = held_out_answers(tmp_path)
    rows = range(len(held_out))
    told = suspects(labels, found.probabilities(rows, [NAMES[k] for k in labels]))
    whole = suspects(labels, answers[held_out])
    best = np.argsort(-answers[held_out], axis=1, kind="stable")[:, :5]
    wanted = {
        (s.row, s.given, s.likely) for s in whole if s.likely in best[s.row]
    }  # others are not in the table
    assert len(wanted) > 500
    assert {(s.row, s.given, s.likely) for s in told} == wanted


# --- page and images -------------------------------------------------------------------------------------


def test_a_run_of_many_classes_has_a_small_card_page_and_images(many, tmp_path):
    split, answers, found = many
    measures = dict.fromkeys(PARTS, found)
    card = {
        "source": "many",
        "classes": list(NAMES),
        "data": {"parts": split.summary()},
        "measures": measures,
    }
    (tmp_path / "card.json").write_text(json.dumps(card, indent=1))
    write_predictions(tmp_path / "predictions.csv", split, answers)
    labels = split.images.labels[split.indices("test")]
    matrices = {part: confusion_of(of) for part, of in measures.items()}
    counts = {part: summary["per_class"] for part, summary in split.summary().items()}
    figures = {
        "confusion": charts.three_confusions(matrices, NAMES),
        "roc": images.roc_curves(labels, answers[split.indices("test")], NAMES),
        "counts": charts.class_counts(counts),
    }
    for name, figure in figures.items():
        assert style.save(figure, tmp_path / "pictures" / f"{name}.png").stat().st_size < 500_000
    assert len(figures["confusion"].axes[0].get_yticklabels()) == 30
    assert figures["counts"].axes[0].get_xlabel() == "images of the 20 smallest of 2,000 classes"
    page = write_report(tmp_path).read_text()
    assert (tmp_path / "card.json").stat().st_size < 2_000_000
    assert len(page) < 1_500_000
    text = re.sub(r"base64,[^\"]*", "", page)
    assert len(text) < 60_000
    assert "The 20 of 2,000 classes that are found least." in text
    assert "and 1,980 more" in text
    assert max(map(len, re.sub(r"<[^>]*>", "\n", text).splitlines())) < 1_000


def test_the_most_confused_classes_are_drawn_with_shares_of_all_their_images():
    matrix = np.diag(np.full(150, 9))
    matrix[7, 140], matrix[7, 7], matrix[7, 3] = 5, 4, 1
    matrix[3, 3] = 0
    figure = charts.confusion_matrix(matrix, [f"c{k}" for k in range(150)])
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (len(names), {"c3", "c7", "c140"} - set(names)) == (30, set())
    assert names == sorted(names, key=lambda name: int(name[1:]))
    assert axes.get_title(loc="left") == f"{matrix.sum():,} images · the 30 most confused of 150 classes"
    place = {name: k for k, name in enumerate(names)}
    colours = axes.images[0].get_array()
    expected = style.REDS(np.sqrt(5 / 10))
    assert colours[place["c7"], place["c140"]].tolist() == pytest.approx(list(expected))


def test_the_smallest_classes_are_counted():
    counts = {f"c{k:03d}": k for k in range(101)}
    names = [
        label.get_text() for label in charts.class_counts({"training": counts}).axes[0].get_yticklabels()
    ]
    assert names == [f"c{k:03d}" for k in range(20)]
    whole = charts.class_counts({"training": dict(list(counts.items())[:100])})
    assert len(whole.axes[0].get_yticklabels()) == 100
