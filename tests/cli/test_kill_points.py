"""A run that is killed anywhere and resumed ends as the run that was not killed: same bits, same best, same rows."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import tiny_backbone
from tests.conftest import draw
from tests.core.tensorboard_events.boards import check_board, images_of_board, points_of_board
from tests.tasks.classification.test_fit import fit_toy, same, values
from tlkit.cli.signals import Stopped
from tlkit.core.run_diff import first_difference
from tlkit.core.run_folder import read_card, read_metrics
from tlkit.engine.training.settings import Fitting

# The processes that are killed come from one that has imported TensorFlow already and done nothing with it; the run
# that is left alone comes from Python's start, so that its hashes of words, and the order of sets, are others.
FORKS, FRESH = multiprocessing.get_context("forkserver"), multiprocessing.get_context("spawn")
FORKS.set_forkserver_preload(["tensorflow", "keras", "tlkit.cli.main"])
NET = ("--backbone", "mobilenet-v2-0.35", "--weights", "none", "--batch", 4)
RECIPES = {
    "cnn": ("small-cnn", "--epochs", 8, "--batch", 6, "--augment"),
    "head": ("fine-tune", "--epochs", 5, 0, 0, "--image-size", 64, *NET),
    "phases": ("fine-tune", "--epochs", 2, 2, 1, "--image-size", 64, "--views", 2, *NET),
    "refit": ("fine-tune", "--epochs", 3, 2, 0, "--image-size", 64, "--refit", *NET),
    "game": (
        *("synthesize-dcgan", "--class", "disc", "--size", 32, "--steps", 8, "--every", 2, "--batch", 8),
        *("--width", 8, "--latent", 8, "--samples", 9, "--metric-extractor", "pixels", "--ada", "--p", 0.2),
    ),
    "detector": ("detect-retinanet", "--epochs", 1, 3, "--image-size", 64, *NET),
    "detector-yolov1": ("detect-yolov1", "--epochs", 1, 3, "--image-size", 64, *NET),
    "detector-yolov2": (
        "detect-yolov2",
        "--epochs",
        1,
        3,
        "--image-size",
        64,
        *NET,
    ),  # its sizes follow from the step
    "detector-yolov3": ("detect-yolov3", "--steps", 8, "--image-size", 64, *NET),
    "detector-fast-rcnn": (
        "detect-fast-rcnn",
        "--epochs",
        1,
        3,
        "--image-size",
        64,
        *NET,
    ),  # it searches for proposals before it learns, and draws among them
    "detector-faster-rcnn": (
        "detect-faster-rcnn",
        "--epochs",
        1,
        3,
        "--image-size",
        64,
        *NET,
    ),  # it draws regions
    "detector-mask-rcnn": ("detect-mask-rcnn", "--epochs", 1, 2, "--image-size", 64, *NET),
}
# Thirty-six kills, those of one recipe one after the other: first at moments drawn at random, then within a write (before
# the nth fsync or rename since the process began).
KILLS = {
    "cnn": ("moment", "moment", "moment", "fsync:3", "rename:4", "fsync:6", "rename:5"),
    "head": ("moment", "rename:4", "fsync:5"),
    "phases": ("moment", "moment", "fsync:5", "rename:6"),
    "refit": ("moment", "moment", "fsync:9", "rename:8"),
    "game": ("moment", "fsync:3", "rename:4"),
    **dict.fromkeys(
        (name for name in RECIPES if name.startswith("detector")), ("moment", "rename:4", "fsync:4")
    ),
}


def words_of(recipe, source, runs):
    name, *options = RECIPES[recipe]
    words = ["run", name, source, "--name", recipe, "--runs", runs, "--device", "cpu", *options]
    return [str(word) for word in words]


def run_tlkit(words, folder, point):
    """`tlkit` in a process of its own; it kills itself, as SIGKILL does, before its nth fsync or rename."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # nothing is known from an earlier one
    for number, name in ((1, os.devnull), (2, folder / "err.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    call, _, number = point.partition(":")
    left = itertools.count(int(number or 0), -1)

    def dying(function):
        def called(*arguments, **options):
            if next(left) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return called

    if call == "fsync":
        os.fsync = dying(os.fsync)
    if call == "rename":
        Path.replace = dying(Path.replace)
    from tlkit.cli.main import main
    from tlkit.tasks.synthesis import evaluate_workflow as synthesis_results

    synthesis_results.SOUGHT = 2  # steps of a search that draws an image only
    with pytest.MonkeyPatch.context() as patch:
        if "detect" in str(words):
            tiny_backbone(patch)
        main(words)


def start(words, folder, point="", context=FORKS):
    folder.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=run_tlkit, args=([str(word) for word in words], folder, point))
    process.start()
    return process


def finish(process, folder):
    """Exit code (a signal's number, negative) and what was said."""
    process.join(1500)
    return process.exitcode, (folder / "err.txt").read_text()[-3000:]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill") / "shapes"
    for label, kind in enumerate(("bar", "disc")):
        (root / kind).mkdir(parents=True)
        for number in range(20):  # of which 4 discs are validated on, the least that a GAN is evaluated by
            draw(label, number, 40).convert("L").save(root / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """recipe, source -> (the run that was left alone, its seconds once the folder was there), made once."""
    made = {}

    def make(recipe, source):
        if recipe not in made:
            folder = tmp_path_factory.mktemp(f"whole_{recipe}")
            process = start(words_of(recipe, source, folder / "runs"), folder, context=FRESH)
            began = await_folder(process.is_alive, folder / "runs" / recipe / "unfinished-1")
            code, err = finish(process, folder)
            assert code == 0, err
            made[recipe] = folder / "runs" / recipe / "1", time.monotonic() - began
        return made[recipe]

    return make


def await_folder(alive, folder):
    while alive() and not (folder / "options.json").is_file():
        time.sleep(0.01)
    return time.monotonic()


def kill_one_after_the_other(recipe, source, folder, seconds):
    """Start a run, kill it, resume it, kill it again and so on; whether there was something to kill each time."""
    unfinished = folder / "runs" / recipe / "unfinished-1"
    words = words_of(recipe, source, folder / "runs")
    shares = random.Random(recipe)
    moments = KILLS[recipe].count("moment")
    for point in KILLS[recipe]:
        process = start(words, folder, point)
        if point == "moment":
            await_folder(process.is_alive, unfinished)
            time.sleep(shares.uniform(0.05, 0.9) / moments * seconds)
            process.kill()
        code, err = finish(process, folder)
        assert code in (0, -signal.SIGKILL), err
        if code == 0 or not unfinished.is_dir():
            return False
        words = ["resume", unfinished]
    return True


def check_same(whole, resumed, *, images=True):
    assert first_difference(whole, resumed) is None
    check_board(resumed)
    assert points_of_board(resumed) == points_of_board(whole)
    assert not images or images_of_board(resumed) == images_of_board(whole)
    assert not list(resumed.parent.glob("unfinished-*"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", KILLS)
def test_a_run_killed_again_and_again_ends_bit_for_bit(recipe, shapes, bags, masked_bags, unkilled, tmp_path):
    if "fast-" in recipe:
        pytest.importorskip("cv2", reason="Selective Search needs the extra proposals")
    source = bags if RECIPES[recipe][0].startswith("detect-") else shapes
    source = masked_bags if "mask" in recipe else source
    whole, seconds = unkilled(recipe, source)
    tries = (tmp_path / str(haste) for haste in (1, 2, 4, 8, 16))  # where the machine has less to do by now
    folder = next(f for f in tries if kill_one_after_the_other(recipe, source, f, seconds / int(f.name)))
    code, err = finish(start(["resume", folder / "runs" / recipe / "unfinished-1"], folder), folder)
    assert code == 0, err
    check_same(whole, folder / "runs" / recipe / "1")


def damage_board(folder):
    first, *others = sorted(folder.rglob("*tfevents*"))
    assert others
    first.unlink()
    for file in others:
        os.truncate(file, file.stat().st_size - 30)


@pytest.mark.slow
def test_a_run_killed_within_a_checkpoint_goes_on_bit_for_bit(shapes, tmp_path, tlkit_command):
    """The short one of the twenty: the best of the second epoch is written aside, and not yet renamed; and the machine
    that went down has lost the ends of the event files and one of them whole: of its points none is missing, for metrics.jsonl has them too."""
    short = ("--epochs", 3)
    words = [*words_of("cnn", shapes, tmp_path / "whole"), *short]
    assert tlkit_command(*words).code == 0
    words = [*words_of("cnn", shapes, tmp_path / "killed"), *short]
    code, err = finish(start(words, tmp_path, "rename:6"), tmp_path)
    assert code == -signal.SIGKILL, err
    unfinished = tmp_path / "killed" / "cnn" / "unfinished-1"
    assert list((unfinished / "checkpoints").rglob(".*.npz-*"))  # written aside
    damage_board(unfinished / "tensorboard")
    assert tlkit_command("resume", unfinished).code == 0
    check_same(tmp_path / "whole" / "cnn" / "1", tmp_path / "killed" / "cnn" / "1", images=False)


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

    from tlkit.engine.training.fit import Watchers

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
    [
        (changed, "bar/1.png differs"),
        pytest.param(added, "disc/new.png was added", marks=pytest.mark.slow),
        pytest.param(removed, "disc/2.png is gone", marks=pytest.mark.slow),
    ],
)
def test_other_data_is_refused_by_name(change, words, make_folder, tmp_path, monkeypatch, tlkit_command):
    from tlkit.tasks.classification import phases

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
