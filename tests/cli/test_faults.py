"""What goes wrong outside: the disk, the clock, the files, the memory. One sentence each, and nothing half-done has a number."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_kill_points import RECIPES
from tlkit.core import run_folder
from tlkit.core.run_folder import RunFolder, find_run, read_card, read_metrics
from tlkit.core.system_faults import as_fault
from tlkit.errors import RunFailed

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; from tlkit.cli.main import main; main(sys.argv[1:])"
LEARN = '''"""Learn a little, and serve nothing.

    tlkit run learn photos/
"""

import click

import tlkit
from tlkit.cli.options import classification as choices


@tlkit.recipe(split=True)
@click.argument("source")
@choices.fitting(patience=9, schedule="constant")
def learn(run, source, fitting):
    # Ingredients
    split = tlkit.deal(run, source)

    # Preparation
    model = tlkit.prepare_small_cnn(run, split, 32)

    # Cooking
    tlkit.fit(run, model, split, [tlkit.Phase("training", "all", 2, 1e-3)], fitting)
    model.save(run.folder.path / "model.keras")
'''


def numbers(home):
    return sorted(entry.name for entry in home.iterdir()) if home.exists() else []


def fail_at(monkeypatch, call, error):
    """Let the `call`th row of metrics raise instead of being written."""
    append, left = RunFolder.append_metrics, [call]

    def failing(self, row):
        left[0] -= 1
        if not left[0]:
            raise error
        append(self, row)

    monkeypatch.setattr(RunFolder, "append_metrics", failing)


# --- the disk ---


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "Nothing more can be written: the disk is full."),
        (errno.EDQUOT, "Nothing more can be written: the disk quota is used up."),
        (errno.EFBIG, "A file would be larger than is allowed here."),
        (errno.EROFS, "Nothing can be written: the disk is read-only."),
        (errno.EMFILE, "Too many files are open."),
    ],
)
def test_metrics_that_cannot_be_written_fail_the_run_in_one_sentence(
    number, words, kitchen, monkeypatch, tlkit_command
):
    fail_at(monkeypatch, 2, OSError(number, os.strerror(number)))
    said = tlkit_command("run", "toy", "photos", "--json")
    assert said.code == 1
    assert said.json["error"]["problem"] == words
    assert said.json["error"]["remedy"].endswith("tlkit resume saved_models/toy-photos/unfinished-1 goes on.")
    assert numbers(kitchen / "saved_models" / "toy-photos") == ["unfinished-1"]
    monkeypatch.undo()
    monkeypatch.chdir(kitchen)
    assert tlkit_command("resume", "toy-photos").code == 0
    rows = read_metrics(kitchen / "saved_models" / "toy-photos" / "1")
    assert [row["epoch"] for row in rows] == [1, 2, 3]


@pytest.mark.parametrize(("name", "left"), [("card.json", ["unfinished-1"]), ("options.json", [])])
def test_no_number_without_a_card_and_no_folder_without_options(
    name, left, kitchen, monkeypatch, tlkit_command
):
    replace = run_folder._replace

    def full(path, text):
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(path, text)

    monkeypatch.setattr(run_folder, "_replace", full)
    said = tlkit_command("run", "toy", "photos")
    assert said.code == 1
    assert "Error: Nothing more can be written: the disk is full." in said.err
    assert numbers(kitchen / "saved_models" / "toy-photos") == left


def test_a_log_that_cannot_be_written_stops_nothing(kitchen, monkeypatch, tlkit_command):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from tlkit.core.console import Console

    keep = Console.keep_log
    monkeypatch.setattr(Console, "keep_log", lambda self, path: keep(self, Path("/dev/full")))
    assert tlkit_command("run", "toy", "photos").code == 0


def test_libraries_that_swallow_the_number_are_understood():
    """As they said it on a full disk: h5py, NumPy's tofile, TensorFlow."""
    import tensorflow as tf

    full = "Nothing more can be written: the disk is full."
    h5py = OSError(
        "Can't write data (file write failed: time = 1, filename = 'x', errno = 28, error message = 'No space"
    )
    for error in (
        h5py,
        OSError("100000 requested and 8160 written"),
        tf.errors.ResourceExhaustedError(None, None, "/x/variables.data; No space left on device"),
        tf.errors.UnknownError(None, None, "/x/events; No space left on device"),
    ):
        assert as_fault(error, {"batch": 32}).problem == full
    memory = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")
    assert as_fault(memory, {"batch": 32}).problem == "The memory is used up."
    assert as_fault(OSError(errno.EIO, "odd"), {}) is None


def test_a_file_of_the_cache_is_told_from_one_of_the_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    read_only = (errno.EROFS, os.strerror(errno.EROFS))
    fault = as_fault(OSError(*read_only, f"{tmp_path}/tlkit/xray/x"), {"runs": "saved_models"})
    assert fault.problem == f"The cache folder {tmp_path}/tlkit cannot be written: Read-only file system."
    assert "XDG_CACHE_HOME" in fault.remedy
    for options, remedy in (({"runs": "x"}, "use another --runs."), ({}, "write to another place.")):
        assert as_fault(OSError(*read_only, "/elsewhere"), options).remedy == f"Mount it anew, or {remedy}"


@contextmanager
def tiny_disk(folder, size="200k", *options):
    """A file system of its own in memory, really full when it is full."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting is not allowed here; RLIMIT_FSIZE stands for it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(tmp_path, kitchen, tlkit_command):
    toy = kitchen / "recipes" / "toy.py"
    write = '(run.folder.path / f"weights-{epoch}").write_bytes(bytes(90_000))\n        run.table.epoch('
    toy.write_text(toy.read_text().replace("run.table.epoch(", write))
    with tiny_disk(tmp_path / "disk") as disk:
        said = tlkit_command("run", "toy", "photos", "--runs", disk, "--epochs", 9)
        assert said.code == 1
        assert "Error: Nothing more can be written: the disk is full." in said.err
        assert "Traceback" not in said.err
        assert numbers(disk / "toy-photos") == ["unfinished-1"]
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        assert tlkit_command("resume", disk / "toy-photos" / "unfinished-1").code == 0
        assert numbers(disk / "toy-photos") == ["1"]


def test_a_checkpoint_on_a_full_disk_leaves_the_one_before(tmp_path):
    from tlkit.engine.training.checkpoints import load_variables, save_variables

    with tiny_disk(tmp_path / "disk") as disk:
        file = disk / "last.npz"
        save_variables(file, [np.ones(20_000, np.float32)], {"epoch": 1})
        with pytest.raises(RunFailed, match=r"last\.npz could not be written \(No space left on device\)"):
            save_variables(file, [np.ones(40_000, np.float32)], {"epoch": 2})
        assert [entry.name for entry in disk.iterdir()] == ["last.npz"]

        class Variable:
            shape = (20_000,)

            def assign(self, value):
                self.value = value

        kept = Variable()
        assert load_variables(file, [kept]) == {"epoch": 1}
        assert (kept.value == 1).all()


def test_runs_on_a_read_only_disk(tmp_path, kitchen, tlkit_command):
    with tiny_disk(tmp_path / "disk") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = tlkit_command("run", "toy", "photos", "--runs", disk)
        assert said.code == 1
        assert f"Error: {disk}/toy-photos cannot be written: Read-only file system." in said.err


def test_a_folder_that_may_not_be_written(kitchen, monkeypatch, tlkit_command):
    """As root, whom permissions do not stop, only so."""

    def denied(self, *_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    said = tlkit_command("run", "toy", "photos", "--runs", "locked")
    assert said.code == 1
    assert "Error: locked/toy-photos cannot be written: Permission denied." in said.err
    found = as_fault(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "photos/1.png"), {})
    assert found.problem == "photos/1.png cannot be used: Permission denied."


def child(*arguments, limits=(), cwd=None, program=PROGRAM):
    """A command line in a process of its own with less of something."""

    def lower():
        for what, value in limits:
            resource.setrlimit(what, (value, value))

    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lower,
        timeout=600,
    )


def test_files_that_may_not_grow(kitchen):
    toy = kitchen / "recipes" / "toy.py"
    write = '(run.folder.path / "weights").write_bytes(bytes(90_000 * epoch))\n        run.table.epoch('
    toy.write_text(toy.read_text().replace("run.table.epoch(", write))
    done = child("run", "toy", "photos", limits=[(resource.RLIMIT_FSIZE, 100_000)], cwd=kitchen)
    assert done.returncode == 1
    assert "Error: A file would be larger than is allowed here.\n  Raise the limit" in done.stderr
    assert "Traceback" not in done.stderr
    assert numbers(kitchen / "saved_models" / "toy-photos") == ["unfinished-1"]


# --- few file descriptors ---

LOOK = """
import sys
from pathlib import Path
from tlkit.data.images.inspection import inspect_files
files = sorted(Path(sys.argv[1]).iterdir()) * 20
print(sum(one.error is None for one in inspect_files(files)), len(files))
"""


def test_few_file_descriptors_are_enough(kitchen, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(20):
        Image.new("L", (8, 8), number).save(tmp_path / "many" / f"{number}.png")
    few = [(resource.RLIMIT_NOFILE, 64)]
    assert child(tmp_path / "many", limits=few, program=LOOK).stdout.split() == ["400", "400"]
    done = child("run", "toy", "photos", limits=few, cwd=kitchen)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_few_file_descriptors_are_enough_to_train(make_folder, tmp_path):
    source = make_folder(bar=30, disc=30)
    options = ("--epochs", 2, "--runs", tmp_path / "runs", "--device", "cpu")
    done = child("run", "small-cnn", source, *options, limits=[(resource.RLIMIT_NOFILE, 64)])
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "Error: Too many files are open.\n  Raise the limit: ulimit -n" in done.stderr


# --- two at once, and the clock ---


# Neither process takes a number before both have looked which ones are free.
TOGETHER = f"""
import os, time
from pathlib import Path
from tlkit.core import run_folder
look = run_folder._numbers
def looked(home, **how):
    found = look(home, **how)
    Path(f"ready-{{os.getpid()}}").touch()
    while len(list(Path().glob("ready-*"))) < 2:
        time.sleep(0.01)
    return found
run_folder._numbers = looked
{PROGRAM}
"""


def test_two_runs_of_one_name_at_once_are_both_kept(kitchen):
    command = [sys.executable, "-c", TOGETHER, "run", "toy", "photos", "--epochs", "40"]
    both = [
        subprocess.Popen(
            [*command, "--seed", str(n)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for n in (1, 2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    home = kitchen / "saved_models" / "toy-photos"
    assert numbers(home) == ["1", "2"]
    told = {out.splitlines()[0].removeprefix("run: ") for out in said}
    assert told == {"saved_models/toy-photos/1", "saved_models/toy-photos/2"}
    seeds = {json.loads((home / n / "card.json").read_text())["seed"] for n in ("1", "2")}
    assert seeds == {1, 2}
    for n in ("1", "2"):
        assert [row["epoch"] for row in read_metrics(home / n)] == [*range(1, 41)]


def test_numbers_and_seconds_do_not_follow_the_clock(kitchen, monkeypatch, tlkit_command):
    """The clock goes back by an hour at every look at it."""
    now = [time.time()]

    def back():
        now[0] -= 3600
        return now[0]

    tlkit_command("run", "toy", "photos")
    monkeypatch.setattr(time, "time", back)
    tlkit_command("run", "toy", "photos")
    home = kitchen / "saved_models" / "toy-photos"
    os.utime(home / "1", (2e9, 2e9))
    os.utime(home / "1" / "card.json", (2e9, 2e9))
    assert numbers(home) == ["1", "2"]
    assert find_run("toy-photos").name == "2"
    assert 0 <= json.loads((home / "2" / "card.json").read_text())["seconds"] < 60


def test_nothing_is_timed_by_the_clock_on_the_wall():
    files = sorted((ROOT / "tlkit").rglob("*.py"))
    assert [file for file in files if "time.time(" in file.read_text(encoding="utf-8")] == []


# --- images that vanish or change ---


@pytest.fixture
def learner(kitchen, make_folder):
    """A folder with the recipes `learn`, which trains, and `look`, which only deals; photos/ beside them."""
    (kitchen / "recipes" / "learn.py").write_text(LEARN)
    make_folder(bar=12, disc=12)
    return kitchen


def vanish(file):
    file.unlink()


def change(file):
    file.write_bytes(file.read_bytes() + b"more")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (vanish, "cannot be read any more: it vanished"),
        pytest.param(change, "was changed", marks=pytest.mark.slow),
    ],
)
def test_a_image_that_is_not_what_it_was_fails_the_run_by_name(
    harm, words, learner, monkeypatch, tlkit_command
):
    """After the manifest, before the first epoch; the network would learn what the manifest does not say."""
    from tlkit.tasks.classification import phases

    fit_phases = phases.fit_phases

    def harmed(*arguments, **options):
        harm(learner / "photos" / "disc" / "3.png")
        return fit_phases(*arguments, **options)

    monkeypatch.setattr(phases, "fit_phases", harmed)
    said = tlkit_command("run", "learn", "photos", "--json")
    assert said.code == 3
    assert said.json["error"]["problem"] == f"photos/disc/3.png {words} while the run was at work."
    assert "1" not in numbers(learner / "saved_models" / "learn-photos")


def test_a_image_that_changes_after_the_last_epoch_is_seen_too(kitchen, make_folder, tlkit_command):
    source = make_folder(bar=6, disc=6)
    text = (kitchen / "recipes" / "toy.py").read_text()
    text = text.replace("    run.stop_if_dry(", "    tlkit.deal(run, source)\n    run.stop_if_dry(")
    harm = f'    Path(r"{source}/bar/2.png").write_bytes(b"other")\n    run.result('
    (kitchen / "recipes" / "toy.py").write_text(text.replace("    run.result(", harm))
    said = tlkit_command("run", "toy", "photos")
    assert said.code == 3
    assert "Error: photos/bar/2.png was changed while the run was at work." in said.err
    assert numbers(kitchen / "saved_models" / "toy-photos") == ["unfinished-1"]


def test_a_reader_that_dies_ends_the_run_and_does_not_hang(tmp_path, monkeypatch):
    """There are no worker processes; readers are threads, and what one raises comes out where it is waited for."""
    import tensorflow as tf

    from tlkit.data.images import batches as images
    from tlkit.data.images import inspection
    from tlkit.data.images.decoding import decode as decoding
    from tlkit.engine.serving import saved_model as serving

    Image.new("L", (8, 8)).save(tmp_path / "1.tif")

    def dead(*_arguments):
        raise RuntimeError("the reader died")

    monkeypatch.setattr(decoding, "_as_png", dead)
    with pytest.raises(tf.errors.OpError, match="the reader died"):
        list(images.pixel_batches([str(tmp_path / "1.tif")] * 3, 8))
    monkeypatch.setattr(inspection, "_thumbnail", dead)
    assert "the reader died" in inspection.inspect_file(tmp_path / "1.tif").error
    monkeypatch.setattr(serving, "_read", dead)
    with pytest.raises(RuntimeError, match="the reader died"):
        list(serving._read_ahead([tmp_path / "1.tif"] * 9, 2))


# --- memory ---


def out_of_memory(monkeypatch, above):
    """Let training end for want of memory with more than so many images a step, after it has learned something."""
    import tensorflow as tf

    from tlkit.tasks.classification import phases

    fit_phase, tried = phases.fit_phase, []

    def short(model, phase, fitting, *arguments, **options):
        tried.append(fitting.batch)
        result = fit_phase(model, phase, fitting, *arguments, **options)
        if fitting.batch > above:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return result

    monkeypatch.setattr(phases, "fit_phase", short)
    return tried


def test_batch_auto_halves_once(learner, monkeypatch, tlkit_command):
    tried = out_of_memory(monkeypatch, above=16)
    said = tlkit_command("run", "learn", "photos", "--batch", "auto", "--name", "halved")
    assert said.code == 0, said.err
    assert "The memory does not hold --batch 32: beginning again with --batch 16." in said.err
    assert tried == [32, 16]
    halved = learner / "saved_models" / "halved" / "1"
    assert read_card(halved)["options"]["batch"] == 16
    assert [row["epoch"] for row in read_metrics(halved)] == [1, 2]


@pytest.mark.slow
def test_a_run_whose_batch_was_halved_ends_as_if_it_had_begun_so(learner, monkeypatch, tlkit_command):
    tried = out_of_memory(monkeypatch, above=16)
    assert tlkit_command("run", "learn", "photos", "--batch", "auto", "--name", "halved").code == 0
    assert tlkit_command("run", "learn", "photos", "--batch", "16", "--name", "plain").code == 0
    assert tried == [32, 16, 16]
    halved, plain = (learner / "saved_models" / name / "1" for name in ("halved", "plain"))
    assert json.loads((halved / "card.json").read_text())["options"]["batch"] == 16
    assert json.loads((halved / "options.json").read_text())["options"]["batch"] == 16
    one, other = ([{**row, "seconds": 0} for row in read_metrics(run)] for run in (halved, plain))
    assert one == other
    from tlkit.core.safe_loading.keras_models import read_model

    pairs = zip(
        read_model(halved / "model.keras").weights, read_model(plain / "model.keras").weights, strict=True
    )
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_memory_that_ends_twice_is_told_with_the_half(learner, monkeypatch, tlkit_command):
    tried = out_of_memory(monkeypatch, above=1)
    said = tlkit_command("run", "learn", "photos", "--batch", "auto")
    assert said.code == 1
    assert "Error: The memory is used up.\n  Try less than --batch 16." in said.err
    assert tried == [32, 16]
    said = tlkit_command("run", "learn", "photos", "--batch", "8", "--name", "fixed")
    assert "Try less than --batch 8." in said.err
    assert tried == [32, 16, 8]


def test_batch_is_a_number_or_auto(learner, tlkit_command):
    said = tlkit_command("run", "learn", "photos", "--batch", "automatic")
    assert said.code == 2
    assert "'automatic' is not a valid integer" in said.err


# --- SIGTERM ---


def sent_term(monkeypatch, row=1):
    append, left = RunFolder.append_metrics, [row]

    def told(self, entry):
        append(self, entry)
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "append_metrics", told)


@pytest.mark.slow
def test_a_training_that_is_told_to_end_saves_and_goes_on(learner, monkeypatch, tlkit_command):
    with monkeypatch.context() as patch:
        sent_term(patch, row=2)
        said = tlkit_command("run", "learn", "photos", "--json")
    assert said.code == 143
    assert said.json["error"]["code"] == 143
    home = learner / "saved_models" / "learn-photos"
    assert numbers(home) == ["unfinished-1"]
    assert (home / "unfinished-1" / "checkpoints" / "training" / "last.npz").is_file()
    assert tlkit_command("resume", "learn-photos").code == 0
    assert [row["epoch"] for row in read_metrics(home / "1")] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_kind_of_training_saves_when_it_is_told_to_end(
    recipe, make_folder, bags, tmp_path, monkeypatch, tlkit_command
):
    name, *options = RECIPES[recipe]
    source = bags if recipe == "detector" else make_folder(bar=25, disc=25)
    with monkeypatch.context() as patch:
        sent_term(patch)
        said = tlkit_command("run", name, source, "--name", recipe, "--runs", tmp_path, *options)
    assert said.code == 143, said.err
    home = tmp_path / recipe
    assert numbers(home) == ["unfinished-1"]
    assert list((home / "unfinished-1").rglob("*.npz"))
    assert tlkit_command("resume", home / "unfinished-1").code == 0
    assert numbers(home) == ["1"]
