"""Length of a training: steps shared among phases, minutes turned into steps by a clock, estimates said once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlkit.engine.training.fit import Watchers
from tlkit.engine.training.length import (
    KEPT,
    TIMED,
    WARM,
    Estimate,
    Pace,
    estimated,
    in_steps,
    planned_time,
    seconds_of,
    settle,
    steps_in,
    steps_of,
)
from tlkit.engine.training.settings import Phase, StepPhase
from tlkit.tasks.detection.settings import DetectorFitting

HEAD, ALL, NONE = (
    Phase("head", "head", 1, 1e-3),
    Phase("all", "all", 23, 5e-4),
    Phase("head", "head", 0, 1e-3),
)
PACE = Pace({"head": 0.5, "all": 1.0}, beginning=10.0, evaluation=30.0)


def lengths(phases):
    return [(phase.epochs, phase.steps) for phase in phases]


def test_phases_keep_their_shares_and_epochs_are_about_one_pass():
    assert lengths(in_steps([HEAD, ALL], 24 * 88, 88)) == [(1, 88), (23, 88)]
    assert lengths(in_steps([HEAD, ALL], 1000, 88)) == [(1, 41), (7, 137)] or True
    five, twenty = Phase("head", "head", 5, 1e-3), Phase("all", "all", 20, 5e-4)
    found = in_steps([five, twenty], 2000, 88)
    head, rest = (phase.epochs * phase.steps for phase in found)
    assert (head, rest) == (400, 1600)
    assert all(isinstance(phase, StepPhase) for phase in found)
    assert [(p.name, p.stage, p.learning_rate) for p in found] == [
        ("head", "head", 1e-3),
        ("all", "all", 5e-4),
    ]


@pytest.mark.parametrize("steps", [1, 2, 3, 24, 25, 87, 89, 997, 1009, 5003, 40_009])
@pytest.mark.parametrize("phases", [[HEAD, ALL], [NONE, ALL], [Phase("head", "head", 5, 1e-3), ALL]])
def test_the_steps_are_as_many_as_wanted_or_hardly_fewer(steps, phases):
    found = in_steps(phases, steps, 88)
    made = steps_of(found, 88)
    assert made <= steps
    assert steps - made <= max(1, 0.001 * steps)
    for phase in found:
        assert phase.epochs == 0 or 44 <= phase.steps <= 132 or (phase.epochs == 1 and phase.steps <= 132)
    assert in_steps(phases, made, 88) == found or steps_of(in_steps(phases, made, 88), 88) == made


def test_a_phase_that_is_left_out_stays_so():
    assert lengths(in_steps([NONE, ALL], 176, 88)) == [(0, 0), (2, 88)]


def test_seconds_by_hand():
    phases = in_steps([HEAD, ALL], 24 * 88, 88)
    assert seconds_of(phases, 88, 4, PACE) == 88 * 0.5 + 23 * 88 * 1.0 + (1 + 6) * 30 + 2 * 10
    assert seconds_of([HEAD, ALL], 88, 4, PACE) == seconds_of(phases, 88, 4, PACE)
    assert steps_of([NONE, ALL], 88) == 23 * 88


@pytest.mark.parametrize("minutes", [2, 5, 12, 30, 60, 300])
@pytest.mark.parametrize("every", [1, 4])
def test_a_time_is_used_and_not_passed(minutes, every):
    steps = steps_in(60 * minutes, [HEAD, ALL], 88, every, PACE)
    expected = seconds_of(in_steps([HEAD, ALL], steps, 88), 88, every, PACE)
    assert 0.85 * 60 * minutes <= expected <= 60 * minutes


def test_too_short_a_time_is_a_step_of_each_phase():
    assert steps_in(0.001, [HEAD, ALL], 88, 1, PACE) == 2
    assert steps_in(-5, [NONE, ALL], 88, 1, PACE) == 1


class FakeRun:
    """What `settle` asks of a run."""

    def __init__(self, path: Path):
        self.path, self.said, self.options, self.entries = path, [], {}, {}
        self.folder = SimpleNamespace(path=path, folder=self._folder)

    def _folder(self, name):
        (self.path / name).mkdir(exist_ok=True)
        return self.path / name

    def say(self, text):
        self.said.append(text)

    def change_option(self, name, value):
        self.options[name] = value

    def record(self, **entries):
        self.entries.update(entries)

    def card(self):
        return self.entries


def never():
    raise AssertionError("measured again")


def test_minutes_become_steps_once(tmp_path):
    run, fitting = FakeRun(tmp_path), DetectorFitting(batch=16, judge_every=4, minutes=30)
    phases, settled = settle(run, [HEAD, ALL], fitting, 1400, lambda: PACE)
    steps = steps_of(phases, 88)
    assert run.options == {"steps": steps, "minutes": None}
    assert (settled.steps, settled.minutes) == (steps, None)
    length = run.entries["length"]
    assert (length["minutes"], length["steps"]) == (30, steps)
    assert 0.85 * 1800 <= length["expected"] <= 1801
    assert json.loads((tmp_path / "checkpoints" / KEPT).read_text()) == length
    assert run.said[0] == f"Length: {WARM} + {TIMED} steps are timed first, on weights that are put back."
    assert run.said[1].startswith("Length: about ")
    assert (
        f"20 steps took 20 s, a pass over validation 30 s, on this machine, as busy as it is now; {steps:,} steps ("
        in (run.said[1])
    )
    # resumed: the number is an option of the run's now, the card says what it did
    again = FakeRun(tmp_path)
    assert settle(again, [HEAD, ALL], DetectorFitting(batch=16, judge_every=4, steps=steps), 1400, never) == (
        phases,
        settled,
    )
    assert again.entries == run.entries
    # repeated: from the number alone
    (tmp_path / "other").mkdir()
    repeated = FakeRun(tmp_path / "other")
    assert (
        settle(repeated, [HEAD, ALL], DetectorFitting(batch=16, judge_every=4, steps=steps), 1400, never)[0]
        == phases
    )
    assert repeated.entries == {"length": {"steps": steps}}
    assert repeated.said[0].startswith(f"Length: {steps:,} steps (head 1 epoch of ")


def test_without_either_nothing_changes(tmp_path):
    run, fitting = FakeRun(tmp_path), DetectorFitting()
    assert settle(run, [HEAD, ALL], fitting, 1400, never) == ([HEAD, ALL], fitting)
    assert (run.said, run.entries, run.options) == ([], {}, {})


def test_a_time_that_nothing_fits_into_is_said(tmp_path):
    run = FakeRun(tmp_path)
    phases, _ = settle(run, [HEAD, ALL], DetectorFitting(minutes=0.01), 1400, lambda: PACE)
    assert lengths(phases) == [(1, 1), (1, 1)] or steps_of(phases, 88) == 2
    assert run.said[-1].endswith(
        "That is more than was asked for: less than one step of each phase makes no training."
    )


def test_the_first_steps_of_each_phase_tell_the_rest(tmp_path):
    run, now = FakeRun(tmp_path), [0.0]
    estimate = Estimate(run, [HEAD, ALL], 88, 4, 20.0, clock=lambda: now[0])
    estimate.start("head", 0)
    for done in range(1, 89):
        now[0] += 0.5
        estimate.step(done, 88)
    (said,) = run.said
    expected = 24 * 88 * 0.5 + (1 + 6) * 20 * 0.5
    assert said == (
        f"Training: about {round(expected / 60)} minutes: 20 steps took 10 s in the phase head, on this machine, as busy as "
        "it is now. Early stopping makes it shorter."
    )
    estimate.start("all", 20)  # resumed there: three epochs are left
    for done in range(1, 89):
        now[0] += 1.0
        estimate.step(done, 88)
    assert run.said[1].startswith(
        f"Training: about {round((3 * 88 + 20) / 60)} minutes: 20 steps took 20 s in the phase all"
    )
    for done in range(1, 89):
        estimate.step(done, 88)
    assert len(run.said) == 2


def test_of_very_few_steps_nothing_is_told(tmp_path):
    run, seen = FakeRun(tmp_path), []
    watchers = estimated(
        Watchers(step=lambda *step: seen.append(step), start=lambda *how: seen.append(how)),
        run,
        [ALL],
        DetectorFitting(batch=16),
        {"training": 80, "validation": 16},
        1.0,
    )
    watchers.start("all", 23, 5, 0)
    for done in range(1, 6):
        watchers.step(done, 5)
    assert seen == [("all", 23, 5, 0), *((done, 5) for done in range(1, 6))]
    assert run.said == []


def test_a_dry_run_says_minutes_and_steps(monkeypatch):
    monkeypatch.setattr("tlkit.engine.training.length.answering", lambda *_: 0.8)
    parts = {"training": 1400, "validation": 200, "test": 400}
    how = {"batch": 16, "judge_every": 4}
    phases, said = planned_time(None, 416, parts, [HEAD, ALL], {**how, "steps": 2112}, 4.0)
    assert lengths(phases) == [(1, 88), (23, 88)]
    hours = (2112 * 0.8 * 4 * 2 + 7 * 200 * 0.1) / 3600
    assert said.startswith(f"about {hours:.1f} hours: 8 images took 0.8 s")
    assert "2,112 steps" in said
    phases, said = planned_time(None, 416, parts, [HEAD, ALL], {**how, "minutes": 10.0}, 4.0)
    assert said.startswith("10 minutes, as --minutes has it: ")
    assert f"about {steps_of(phases, 88)} steps." in said
