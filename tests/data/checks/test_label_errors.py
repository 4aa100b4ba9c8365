"""Likely label errors: by hand on a few numbers, on planted wrong labels, and only out of fold."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tlkit.data.checks.check import check_source
from tlkit.data.checks.label_errors import held_out_answers, label_error_findings, suspects
from tlkit.errors import DataFault, UsageFault


def test_suspects_by_hand():
    """Thresholds: class 0 gets (0.9 + 0.7 + 0.1 + 0.5) / 4 = 0.55, class 1 gets (0.8 + 0.6 + 0.4) / 3 = 0.6."""
    first = np.array([0.9, 0.7, 0.1, 0.5, 0.2, 0.4, 0.6])
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    found = suspects(labels, np.stack([first, 1 - first], axis=1))
    # 3 has 0.5 < 0.55 but class 1 has 0.5 < 0.6 too: nobody is sure. 6 has 0.4 < 0.6, and class 0 has 0.6 >= 0.55.
    assert [(s.row, s.given, s.likely) for s in found] == [(2, 0, 1), (6, 1, 0)]
    assert found[0].probability_likely == pytest.approx(0.9)
    assert found[0].usual == pytest.approx(0.55)
    assert found[1].usual == pytest.approx(0.6)


def test_a_label_that_gets_what_it_usually_gets_is_not_suspect():
    """Class 1 usually gets (0.45 + 0.2) / 2 = 0.325: 0.45 is good for it, though class 0 has its 0.55 too."""
    first = np.array([0.5, 0.6, 0.55, 0.8])
    found = suspects(np.array([0, 0, 1, 1]), np.stack([first, 1 - first], axis=1))
    assert [s.row for s in found] == [3]


def test_a_class_that_nobody_has_is_never_likely():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    assert suspects(np.array([0, 0, 1]), probabilities) == []


def test_planted_wrong_labels_come_first():
    """300 examples of 3 classes, probabilities of a fair model, 15 labels changed."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, 3, 300)
    score = generator.normal(0, 1, (300, 3)) + 5 * np.eye(3)[true]
    probabilities = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    labels = true.copy()
    wrong = generator.choice(300, 15, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    found = suspects(labels, probabilities)
    assert len(set(wrong) & {s.row for s in found}) >= 13
    assert sum(s.row in wrong for s in found[:12]) >= 11
    margins = [s.probability_likely - s.probability_given for s in found]
    assert margins == sorted(margins, reverse=True)


def write(file, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture
def run(make_folder, tmp_path):
    """A source, and the files of a run on it: sure and right, but bar/3 (validation) and disc/0 (training)."""
    source = make_folder("photos", bar=10, disc=10)
    check = check_source(str(source))
    folder = tmp_path / "run"
    folder.mkdir()
    split, answers = (
        [["path", "sha256", "label", "group", "part"]],
        [["path", "part", "label", "predicted", "bar", "disc"]],
    )
    for path, digest in zip(check.paths, check.sha256, strict=True):
        label, number = path.split("/")[0], int(path.split("/")[1].split(".")[0])
        part = "training" if number < 3 else "validation" if number < 6 else "test"
        sure = 0.05 if path in ("bar/3.png", "disc/0.png") else 0.9
        bar = sure if label == "bar" else 1 - sure
        split.append([path, digest, label, "", part])
        answers.append([path, part, label, "bar" if bar > 0.5 else "disc", bar, 1 - bar])
    write(folder / "split.csv", split)
    write(folder / "predictions.csv", answers)
    return source, folder


def test_only_images_that_were_not_trained_on_are_judged(run):
    source, folder = run
    assert len(held_out_answers(folder).sha256) == 14
    (found,), evaluated = label_error_findings(check_source(str(source)), folder)
    assert evaluated == 14
    assert (found.kind, found.severity, found.paths) == ("label-error", "warning", ("bar/3.png",))
    # bar usually gets (6 * 0.9 + 0.05) / 7 = 0.78 on what is held out
    assert found.sentence == (
        "bar/3.png is labelled bar, but the run says disc with 0.95 and bar with 0.05, where bar usually gets 0.78."
    )


def test_a_file_that_moved_is_known_and_a_corrected_label_is_gone(run):
    source, folder = run
    (source / "bar/3.png").rename(source / "disc/corrected.png")
    found, evaluated = label_error_findings(check_source(str(source)), folder)
    assert (found, evaluated) == ([], 14)


def test_a_run_of_something_else_is_refused(run, make_folder):
    _, folder = run
    other = check_source(str(make_folder("other", size=48, disc=10, frame=10)))
    with pytest.raises(DataFault, match="was evaluated on no image of"):
        label_error_findings(other, folder)
    (folder / "predictions.csv").unlink()
    with pytest.raises(UsageFault, match="has no predictions"):
        label_error_findings(other, folder)
