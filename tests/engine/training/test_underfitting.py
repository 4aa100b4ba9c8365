"""Whether a phase still improved when its epochs ended: said once, with the option that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import run_recipe
from tlkit.engine.training import underfitting as improving
from tlkit.engine.training.settings import Phase, StepPhase
from tlkit.engine.training.underfitting import longer, was_cut_short

HEAD, TOP, ALL = Phase("head", "head", 8, 1e-2), Phase("top", "top", 0, 1e-4), Phase("all", "all", 2, 1e-4)


def rows(*losses, phase="head", **more):
    best = [loss < min([9.0, *losses[:i]]) for i, loss in enumerate(losses)]
    return [
        {"phase": phase, "epoch": i + 1, "validation_loss": loss, "best": best[i], **more}
        for i, loss in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.39, 0.38), True),  # epoch 6 against epoch 8: 0.40 to 0.38
        (
            (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.399, 0.398),
            False,
        ),  # by half a hundredth only: the rate had fallen
        ((0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.31), False),  # the best was the last but one
        ((0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3), False),  # stopped early
        ((), False),
    ],
)
def test_a_phase_was_cut_short_if_its_last_epoch_was_the_best_by_far(losses, expected):
    assert was_cut_short(HEAD, [*rows(0.1, 0.05, phase="all"), *rows(*losses)]) is expected


def test_a_detector_is_told_by_its_measure_and_by_judged_epochs_only():
    evaluated = [
        {"phase": "head", "epoch": 3, "validation_loss": 1.0, "validation_AP50": 0.5, "best": True},
        {"phase": "head", "epoch": 7},
        {"phase": "head", "epoch": 8, "validation_loss": 2.0, "validation_AP50": 0.6, "best": True},
    ]
    assert was_cut_short(HEAD, evaluated)
    evaluated[-1]["validation_AP50"] = 0.501
    assert not was_cut_short(HEAD, evaluated)
    assert not was_cut_short(HEAD, evaluated[-1:])


def test_the_sentence_names_the_option_of_its_recipe():
    steps = [StepPhase("head", "head", 1, 1e-2, 40), StepPhase("all", "all", 3, 1e-4, 50)]
    assert (
        longer(steps, steps[1:]) == "The all phase still improved when its 3 epochs ended: give --steps 380."
    )
    one = longer([HEAD, TOP, ALL], [HEAD])
    assert one == "The head phase still improved when its 8 epochs ended: give --epochs 16 0 2."
    both = longer([HEAD, TOP, ALL], [HEAD, ALL])
    assert (
        both == "The head phase and all phase still improved when their epochs ended: give --epochs 16 0 4."
    )
    cnn = Phase("training", "all", 100, 1e-3)
    assert longer([cnn], [cnn]).endswith("its 100 epochs ended: give --epochs 200.")


@pytest.mark.slow
def test_a_run_that_ends_too_early_says_so_and_a_refit_keeps_what_validation_chose(
    make_folder, tmp_path, monkeypatch
):
    """The same run without and with --refit: validation rows and temperature are those of the first fit, bit for bit."""
    monkeypatch.setattr(improving, "FALL", 0.0)  # three epochs of few steps fall by little
    source = make_folder("photos", bar=10, disc=10)
    options = ("--epochs", 3, "--learning-rate", 1e-3, "--runs", tmp_path / "runs")
    runs = [Path(run_recipe("small-cnn", source, *options, *more)["run"]) for more in ((), ("--refit",))]
    cards = [json.loads((run / "card.json").read_text()) for run in runs]
    pages = [(run / "report.html").read_text() for run in runs]
    advice = "The training phase still improved when its 3 epochs ended: give --epochs 6."
    for run, card, page in zip(runs, cards, pages, strict=True):
        assert f"\nNote: {advice}\n" in (run / "log.txt").read_text()
        assert card["improving"] == {"phases": ["training"], "advice": advice}
        assert advice in page
    first, second = cards
    assert "refit" not in first
    assert second["refit"]["epochs"] == {"training": 3}
    assert second["refit"]["images"] == 16
    assert second["refit"]["temperature"] == second["model"]["temperature"] == first["model"]["temperature"]
    assert second["refit"]["calibration"] == "not measured on the refitted model"
    assert second["calibration"] is None
    assert second["measures"]["validation"] == first["measures"]["validation"]
    assert [second["measures"][part]["ece"] for part in ("training", "test")] == [None, None]
    assert "Calibration was not measured on the refitted model." in pages[1]
    assert "not measured on the refitted model" not in pages[0]
    rows = [(run / "predictions.csv").read_text().splitlines() for run in runs]
    changed = {one.split(",")[1] for one, other in zip(*rows, strict=True) if one != other}
    assert changed == {"training", "test"}
    phases = [json.loads(line)["phase"] for line in (runs[1] / "metrics.jsonl").read_text().splitlines()]
    assert phases == ["training"] * 3 + ["refit-training"] * 3
