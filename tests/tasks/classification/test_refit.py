"""Refit: training and validation learned together, for the epochs of the first fit, the test part not touched."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from tests.tasks.classification.test_fit import same, values
from tlkit.data.images.load import load_split
from tlkit.engine.training.fit import Watchers
from tlkit.engine.training.settings import Fitting, Phase
from tlkit.tasks.classification import refit as refitting
from tlkit.tasks.classification.fit import PhaseResult
from tlkit.tasks.classification.phases import Learning, fit_phases, restore_last
from tlkit.tasks.classification.refit import Refit, again, joined, refit_phases
from tlkit.tasks.classification.small_cnn import build_small_cnn

HEAD, TOP, ALL = (Phase(name, name, epochs, 0.01) for name, epochs in (("head", 9), ("top", 4), ("all", 3)))


def result(name, epochs, best):
    return PhaseResult(name, epochs, best, 0.1, 0.9, 0.01, 1.0, "all epochs done")


def test_each_phase_runs_to_its_best_and_one_that_bettered_nothing_is_left_out():
    results = [result("head", 9, 7), result("top", 4, 0), result("all", 3, 2)]
    rows = [{"phase": "head", "learning_rate": 0.01 / (i + 1)} for i in range(9)]
    found = again([HEAD, TOP, ALL], results, rows, "cosine")
    assert found == [Refit(HEAD, 7), Refit(ALL, 2)]
    assert found[0].phase == Phase("refit-head", "head", 7, 0.01)
    assert again([HEAD], results[:1], rows, "plateau")[0].rates == tuple(row["learning_rate"] for row in rows)


@pytest.fixture
def split(make_folder):
    return load_split(str(make_folder(bar=10, disc=10))).split


def small():
    keras.utils.set_random_seed(0)
    return build_small_cnn(("bar", "disc"))


def test_it_learns_what_a_fit_on_both_parts_learns_without_a_look_at_the_test_part(split, tmp_path):
    """The oracle: an ordinary phase on the joined parts, selected by the test part and then told to take its last."""
    how, phase = Fitting(batch=6, patience=99), Phase("refit-all", "all", 3, 0.01)
    told, theirs, ours = [], small(), small()
    parts = tuple("validation" if part == "test" else "training" for part in split.parts)
    fit_phases(theirs, Learning(dataclasses.replace(split, parts=parts), how), [phase], tmp_path / "theirs")
    restore_last(theirs, tmp_path / "theirs", phase)
    for index in split.indices("test"):
        split.images.file(index).unlink()
    watchers = Watchers(epoch=lambda row, counts: told.append((row, counts.size)))
    refits = [Refit(Phase("all", "all", 3, 0.01), 3)]
    refit_phases(ours, Learning(split, how), refits, tmp_path / "ours", watchers=watchers)
    assert same(values(theirs.variables), values(ours.variables))
    assert len(joined(split).indices("training")) == 16
    assert [(row["phase"], row["epoch"], row["best"], size) for row, size in told] == [
        ("refit-all", epoch, False, 0) for epoch in (1, 2, 3)
    ]
    assert not any(name.startswith("validation") for row, _ in told for name in row)


def test_the_rate_falls_as_it_was_planned_and_a_stop_leaves_no_trace(split, tmp_path, monkeypatch):
    """Two of six epochs: the rate of the second is that of a cosine over six; and resumed it is the same."""
    how, refits = Fitting(batch=8, warmup=0.0), [Refit(Phase("all", "all", 6, 0.01), 2)]
    told, whole, resumed = [], small(), small()
    refit_phases(
        whole,
        Learning(split, how),
        refits,
        tmp_path / "whole",
        watchers=Watchers(epoch=lambda row, _: told.append(row)),
    )
    assert [row["learning_rate"] for row in told] == pytest.approx(
        [0.005 * (1 + np.cos(np.pi * done / 6)) for done in (1, 2)], rel=1e-5
    )
    kept = refitting._Refitter.save

    def keep_and_stop(keeper):
        kept(keeper)
        raise KeyboardInterrupt

    monkeypatch.setattr(refitting._Refitter, "save", keep_and_stop)
    with pytest.raises(KeyboardInterrupt):
        refit_phases(small(), Learning(split, how), refits, tmp_path / "stopped")
    monkeypatch.setattr(refitting._Refitter, "save", kept)
    refit_phases(resumed, Learning(split, how), refits, tmp_path / "stopped")
    assert same(values(whole.trainable_variables), values(resumed.trainable_variables))
    again_done = small()  # nothing is left to do
    refit_phases(again_done, Learning(split, how), refits, tmp_path / "stopped")
    assert same(values(whole.trainable_variables), values(again_done.trainable_variables))


def test_a_rate_that_followed_validation_is_taken_from_the_first_fit(split, tmp_path):
    how, told = Fitting(batch=8, schedule="plateau"), []
    refit_phases(
        small(),
        Learning(split, how),
        [Refit(Phase("all", "all", 6, 0.01), 3, (0.01, 0.003, 0.003))],
        tmp_path,
        watchers=Watchers(epoch=lambda row, _: told.append(row["learning_rate"])),
    )
    assert told == pytest.approx([0.01, 0.01, 0.003])
