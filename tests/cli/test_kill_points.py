"""A run that is killed anywhere and resumed ends as the run that was not killed: same bits, same best, same rows."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw
from tests.models.test_training import fit_toy, same, values
from tlkit.cli.interruption import Stopped
from tlkit.models.settings import Fitting
from tlkit.results.run_folder import read_card, read_metrics
from tlkit.results.sameness import first_difference

# `tlkit` as a person runs it; its process kills itself, as SIGKILL does, before the nth fsync or rename.
PROGRAM = """
import os, pathlib, signal, sys
call, _, number = sys.argv.pop(1).partition(":")
left = [int(number or 0)]
def dying(function):
    def called(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return called
if call == "fsync":
    os.fsync = dying(os.fsync)
if call == "rename":
    pathlib.Path.replace = dying(pathlib.Path.replace)
from tlkit.cli.main import main
main(sys.argv[1:])
"""
NET = ("--backbone", "mobilenet-v2-0.35", "--weights", "none", "--batch", 4)
RECIPES = {
    "cnn": ("small-cnn", "--epochs", 6, "--batch", 6, "--augment"),
    "head": ("fine-tune", "--epochs", 5, 0, 0, "--image-size", 64, *NET),
    "phases": ("fine-tune", "--epochs", 2, 2, 1, "--image-size", 64, "--views", 2, *NET),
    "game": (
        *("synthesize-dcgan", "--class", "disc", "--size", 32, "--steps", 8, "--every", 2, "--batch", 8),
        *("--width", 8, "--latent", 8, "--samples", 9, "--judge", "pixels", "--ada", "--p", 0.2),
    ),
    "detector": ("detect-retinanet", "--epochs", 1, 3, "--image-size", 64, *NET),
}
# Twenty points: at a moment drawn at random from the whole run, or within a write.
POINTS = [
    *(("cnn", f"moment:{i}") for i in range(3)),
    *(("cnn", f"{call}:{i}") for call, i in (("fsync", 2), ("fsync", 7), ("rename", 4), ("rename", 9))),
    *(("head", point) for point in ("moment:10", "fsync:5", "rename:6")),
    *(("phases", point) for point in ("moment:20", "moment:21", "fsync:6", "rename:10")),
    *(("game", point) for point in ("moment:30", "fsync:3", "rename:5")),
    *(("detector", point) for point in ("moment:40", "fsync:6", "rename:5")),
]


def command(recipe, source, runs, point=""):
    name, *options = RECIPES[recipe]
    words = [name, str(source), "--name", recipe, "--runs", str(runs), "--device", "cpu", *map(str, options)]
    return [sys.executable, "-c", PROGRAM, point, "run", *words]


def start(words, folder):
    """A process with a cache of its own, so that nothing is known from an earlier one."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    _, err = process.communicate(timeout=1500)
    return process.returncode, err


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill") / "shapes"
    for label, kind in enumerate(("bar", "disc")):
        (root / kind).mkdir(parents=True)
        for number in range(15):
            draw(label, number, 40).convert("L").save(root / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """recipe, source -> (the run that was left alone, its seconds once the folder was there), made once."""
    made = {}

    def make(recipe, source):
        if recipe not in made:
            folder = tmp_path_factory.mktemp(f"whole_{recipe}")
            process = start(command(recipe, source, folder / "runs"), folder)
            began = await_folder(process, folder / "runs" / recipe / "unfinished-1")
            code, err = finish(process)
            assert code == 0, err[-3000:]
            made[recipe] = folder / "runs" / recipe / "1", time.monotonic() - began
        return made[recipe]

    return make


def await_folder(process, folder):
    while process.poll() is None and not (folder / "options.json").is_file():
        time.sleep(0.01)
    return time.monotonic()


def kill_at_a_moment(recipe, source, folder, seconds, chance):
    """Kill the process after a share of the time that a whole run takes, sooner where it was done by then."""
    for share in (chance, chance / 2, chance / 4):
        shutil.rmtree(folder, ignore_errors=True)
        process = start(command(recipe, source, folder / "runs"), folder)
        await_folder(process, folder / "runs" / recipe / "unfinished-1")
        time.sleep(share * seconds)
        process.kill()
        if finish(process)[0] == -signal.SIGKILL and (folder / "runs" / recipe / "unfinished-1").is_dir():
            return
    pytest.fail("every process was done before it could be killed")


def steps_of_board(run):
    """Folder and tag -> the steps of its numbers, in order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for folder in sorted({file.parent for file in (run / "tensorboard").rglob("events.*")}):
        events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                found[folder.name, tag] = [event.step for event in events.Tensors(tag)]
    return found


def check_same(whole, resumed):
    assert first_difference(whole, resumed) is None
    steps = steps_of_board(resumed)
    assert steps == steps_of_board(whole)
    assert all(len(set(one)) == len(one) for one in steps.values())
    assert steps
    assert not list(resumed.parent.glob("unfinished-*"))


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "point"), POINTS, ids=[f"{r}-{p.replace(':', '-')}" for r, p in POINTS])
def test_a_run_killed_anywhere_goes_on_bit_for_bit(recipe, point, shapes, bags, unkilled, tmp_path):
    source = bags if recipe == "detector" else shapes
    whole, seconds = unkilled(recipe, source)
    folder = tmp_path / "killed"
    call, _, number = point.partition(":")
    if call == "moment":
        kill_at_a_moment(recipe, source, folder, seconds, random.Random(int(number)).uniform(0.05, 0.98))
    else:
        code, err = finish(start(command(recipe, source, folder / "runs", point), folder))
        assert code == -signal.SIGKILL, err[-3000:]
    unfinished = folder / "runs" / recipe / "unfinished-1"
    assert not (folder / "runs" / recipe / "1").exists()
    code, err = finish(start([sys.executable, "-c", PROGRAM, "", "resume", str(unfinished)], folder))
    assert code == 0, err[-3000:]
    check_same(whole, folder / "runs" / recipe / "1")


def test_a_run_killed_within_a_checkpoint_goes_on_bit_for_bit(shapes, tmp_path, tlkit_command):
    """The short one of the twenty: the best of the second epoch is written aside, and not yet renamed."""
    name, *options = RECIPES["cnn"]
    arguments = ["run", name, shapes, "--name", "cnn", *options]
    assert tlkit_command(*arguments, "--runs", tmp_path / "whole").code == 0
    code, err = finish(start(command("cnn", shapes, tmp_path / "killed", "rename:6"), tmp_path))
    assert code == -signal.SIGKILL, err[-3000:]
    unfinished = tmp_path / "killed" / "cnn" / "unfinished-1"
    assert list((unfinished / "checkpoints").rglob(".*.npz-*"))  # written aside
    assert tlkit_command("resume", unfinished).code == 0
    check_same(tmp_path / "whole" / "cnn" / "1", tmp_path / "killed" / "cnn" / "1")


# --- exact points, in this process ---


class Killed(BaseException):
    """What a kill is to a process that cannot be killed here."""


@pytest.mark.parametrize(
    "call", [5, *(pytest.param(call, marks=pytest.mark.slow) for call in (2, 3, 4, 6, 7))]
)
def test_a_kill_during_the_write_loses_one_interval_at_most(call, tmp_path, monkeypatch):
    """Writes: 1 the beginning; then one of the last epoch, before it one of the best where an epoch is better."""
    whole, result, rows = fit_toy(tmp_path / "whole", epochs=4)
    fsync, left, told = os.fsync, [call], []

    def killed(handle):
        left[0] -= 1
        if not left[0]:
            raise Killed
        fsync(handle)

    from tlkit.models.training import Watchers

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(Killed):
        fit_toy(tmp_path / "cut", epochs=4, watchers=Watchers(epoch=lambda row, _: told.append(row)))
    monkeypatch.undo()
    resumed, again, later = fit_toy(tmp_path / "cut", epochs=4)
    assert len(told) - 1 <= len(rows) - len(later) <= len(told)
    assert [{**row, "seconds": 0} for row in rows[-len(later) :]] == [{**row, "seconds": 0} for row in later]
    assert (again.best_epoch, again.best_loss) == (result.best_epoch, result.best_loss)
    assert same(values(whole.trainable_variables), values(resumed.trainable_variables))


def test_the_best_never_gets_worse_after_a_resume(tmp_path):
    """Keras's BackupAndRestore with ModelCheckpoint overwrites it with the first epoch after (keras#17012)."""
    how = {"epochs": 8, "rate": 0.5, "fitting": Fitting(batch=8, patience=99, schedule="constant")}
    _, result, rows = fit_toy(tmp_path / "whole", **how)
    losses = [row["validation_loss"] for row in rows]
    worse = next(i for i, row in enumerate(rows) if i and not row["best"])  # after a better one
    with pytest.raises(KeyboardInterrupt):
        fit_toy(tmp_path / "cut", stop_after=worse + 1, **how)
    with np.load(tmp_path / "cut" / "best.npz") as stored:
        before = {name: stored[name] for name in stored.files}
    with pytest.raises(KeyboardInterrupt):  # the epoch that is worse is learned again, and killed again
        fit_toy(tmp_path / "cut", stop_after=worse + 1, **how)
    with np.load(tmp_path / "cut" / "best.npz") as stored:
        assert all(np.array_equal(stored[name], before[name]) for name in before)
    _, again, later = fit_toy(tmp_path / "cut", **how)
    assert later[0]["epoch"] == worse + 1
    assert not later[0]["best"]
    assert again.best_loss == result.best_loss == min(losses)


@pytest.mark.slow
def test_a_phase_without_its_best_begins_again(tmp_path):
    """As when a kill came while the checkpoints were being removed."""
    whole, _, rows = fit_toy(tmp_path / "whole", epochs=2)
    (tmp_path / "whole" / "best.npz").unlink()
    again, _, later = fit_toy(tmp_path / "whole", epochs=2)
    assert [{**row, "seconds": 0} for row in rows] == [{**row, "seconds": 0} for row in later]
    assert same(values(whole.trainable_variables), values(again.trainable_variables))


# --- other data than the run began with ---


def changed(folder):
    Image.new("RGB", (40, 40), (9, 9, 9)).save(folder / "bar" / "1.png")


def added(folder):
    draw(1, 77).save(folder / "disc" / "new.png")


def removed(folder):
    (folder / "disc" / "2.png").unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [(changed, "bar/1.png differs"), (added, "disc/new.png was added"), (removed, "disc/2.png is gone")],
)
def test_other_data_is_refused_by_name(change, words, make_folder, tmp_path, monkeypatch, tlkit_command):
    from tlkit.models import phases

    def stop(*_arguments, **_options):
        raise Stopped(signal.SIGTERM)

    source = make_folder(bar=8, disc=8)
    monkeypatch.setattr(phases, "fit_phases", stop)
    said = tlkit_command("run", "small-cnn", source, "--runs", tmp_path / "runs")
    assert said.code == 143
    change(source)
    said = tlkit_command("resume", "small-cnn-photos", "--runs", tmp_path / "runs", "--json")
    assert said.code == 3
    assert said.json["error"]["problem"] == f"{source} is not what it was when this run began: {words}."
    assert (tmp_path / "runs" / "small-cnn-photos" / "unfinished-1").is_dir()


def test_a_line_of_metrics_that_a_kill_cut_short_is_dropped(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--ending", "late")
    metrics = kitchen / "saved_models" / "toy-photos" / "unfinished-1" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"phase": "he')
    assert tlkit_command("resume", "toy-photos").code == 0
    finished = kitchen / "saved_models" / "toy-photos" / "1"
    assert [row["epoch"] for row in read_metrics(finished)] == [1, 2, 3]
    assert (finished / "metrics.jsonl").read_text().count("\n") == 3
    assert read_card(finished)["number"] == 1
    json.loads((finished / "options.json").read_text())


def test_tensorboard_forgets_what_comes_after_the_checkpoint(tmp_path):
    import tensorflow as tf

    from tlkit.results.events import forget

    folder = tmp_path / "tensorboard" / "training"
    writer = tf.summary.create_file_writer(str(folder))
    for step in range(1, 6):
        with writer.as_default(step):
            tf.summary.scalar("loss", 1 / step)
            tf.summary.scalar("head/loss", 1 / step, step=step + 10)  # counts within its phase
    writer.close()
    before = next(folder.iterdir()).read_bytes()
    forget(tmp_path / "tensorboard", 5)
    assert next(folder.iterdir()).read_bytes() == before
    forget(tmp_path / "tensorboard", 3)
    assert steps_of_board(tmp_path) == {
        ("training", "loss"): [1, 2, 3],
        ("training", "head/loss"): [11, 12, 13],
    }
    assert len([*folder.iterdir()]) == 1
    forget(Path(tmp_path / "nowhere"), 0)
