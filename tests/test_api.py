"""Python API: what `tlkit.run`, `load`, `predict`, `evaluate` and `generate` come to is what the commands come to."""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlkit
from tests.cli.conftest import kitchen, tlkit_command  # noqa: F401 - fixtures
from tlkit.core.console import Console
from tlkit.core.run_diff import first_difference

SEEDED = '''"""Draw from every source of chance, and count a layer."""

import random
from pathlib import Path

import click

import tlkit


@tlkit.recipe()
@click.argument("source")
@click.option("--ending", default="good")
@click.option("--augment/--no-augment", default=True)
def seeded(run, source, ending, augment):
    run.start_tensorflow()
    import logging

    import keras
    import numpy as np
    import tensorflow as tf

    layer = keras.layers.Dense(2)
    layer.build((1, 3))
    drawn = [random.random(), np.random.rand(), float(tf.random.normal([])), layer.kernel.numpy().ravel().tolist()]
    drawn += [layer.name, layer.dtype_policy.name, augment]
    keras.config.set_dtype_policy("mixed_bfloat16")
    logging.getLogger().addHandler(logging.StreamHandler())  # as some library does
    run.folder.append_metrics({"drawn": drawn})
    if ending == "click":
        raise click.BadParameter("no")
    if ending == "stop":
        import signal

        signal.raise_signal(signal.SIGINT)
    (run.folder.path / "drawn.json").write_text(str(drawn))
'''


@pytest.fixture
def seeded(kitchen):  # noqa: F811
    """The current folder, with a recipe in ./recipes that draws random numbers."""
    (kitchen / "recipes" / "seeded.py").write_text(SEEDED)
    return kitchen


def state():
    """Everything of this process that a run may not change."""
    import keras
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config

    umask = os.umask(0)
    os.umask(umask)
    loggers = [logging.getLogger(name) for name in (None, "tensorflow", "absl")]
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "loggers": [(logger.level, list(logger.handlers)) for logger in loggers],
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "umask": umask,
        "policy": keras.config.dtype_policy(),
        "deterministic": config.is_op_determinism_enabled(),
        "seed": context.global_seed(),
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "streams": (sys.stdout, sys.stderr),
        "quiet": Console.quiet,
    }


def test_two_runs_in_one_process_are_those_of_two_processes_and_leave_it_as_it_was(seeded):
    import keras

    program = "import tlkit; print(tlkit.run('seeded', 'photos', seed=3).path)"
    alone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    keras.layers.Dense(1)
    random.seed(11)
    np.random.seed(12)  # noqa: NPY002
    keras.config.set_dtype_policy("mixed_float16")
    try:
        before = state()
        runs = [tlkit.run("seeded", "photos", seed=3) for _ in range(2)]
        assert state() == before
    finally:
        keras.config.set_dtype_policy("float32")
    drawn = [
        (path / "drawn.json").read_text() for path in (Path(alone.stdout.strip()), *(r.path for r in runs))
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    assert "'dense', 'float32', True" in drawn[0]
    assert [type(run).__name__ for run in runs] == ["FinishedRun"] * 2


def test_options_are_words_of_the_command_line(seeded):
    run = tlkit.run(Path("recipes/seeded.py"), "photos", name="mine", augment=False, verbose=None)
    assert run.path == Path("saved_models/mine/1")
    assert run.card["options"]["augment"] is False
    log = (run.path / "log.txt").read_text()
    assert "tlkit run recipes/seeded.py photos --name mine --no-augment" in log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epoch": 3}, ("--epoch", "3")),
        ({"epochs": 0}, ("--epochs", "0")),
        ({"rates": 1.0}, ("--rates", "1.0")),
        ({"rates": (1, 2)}, ("--rates", "1", "2", "--batch", "x")),
        ({"device": "gpu"}, ("--device", "gpu")),
        ({"ending": "early"}, ("--ending", "early")),
        ({"ending": "late"}, ("--ending", "late")),
        ({"ending": "memory"}, ("--ending", "memory")),
    ],
)
def test_faults_are_those_of_the_command(options, words, kitchen, tlkit_command):  # noqa: F811
    if "x" in words:
        options = {**options, "batch": "x"}
    with pytest.raises(tlkit.TlkitError) as caught:
        tlkit.run("toy", "photos", **options)
    said = tlkit_command("run", "toy", "photos", "--json", *words)
    error = said.json["error"]
    expected = {**error, "remedy": error["remedy"].replace("unfinished-2", "unfinished-1")}
    fault = caught.value
    assert expected == {
        "code": fault.exit_code,
        "kind": type(fault).__name__,
        "problem": fault.problem,
        "remedy": fault.remedy,
    }


def test_what_has_no_meaning_here_is_refused(kitchen):  # noqa: F811
    with pytest.raises(tlkit.UsageFault, match="--json is for the command line"):
        tlkit.run("toy", "photos", json=True)
    with pytest.raises(tlkit.UsageFault, match=r"--allow-leak is a switch; here stands 'yes'\."):
        tlkit.run("toy", "photos", allow_leak="yes")
    with pytest.raises(tlkit.UsageFault, match="No such command 'tyo'. Did you mean 'toy'"):
        tlkit.run("tyo", "photos")


def test_a_dry_run_is_a_plan(kitchen, tlkit_command, capsys):  # noqa: F811
    plan = tlkit.run("toy", "photos", dry_run=True)
    assert capsys.readouterr().out == ""
    assert plan == tlkit_command("run", "toy", "photos", "--dry-run", "--json").json
    assert not Path("saved_models").exists()


def test_an_interrupt_is_one_and_says_how_to_go_on(seeded, capsys):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        tlkit.run("seeded", "photos", ending="stop")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "Stopped. tlkit resume saved_models/seeded-photos/unfinished-1 goes on."
    assert signal.getsignal(signal.SIGINT) == handler
    with pytest.raises(tlkit.UsageFault, match="seeded-photos has no finished run"):
        tlkit.load("seeded-photos")


def test_faults_of_click_within_a_recipe_are_ours(seeded):
    with pytest.raises(tlkit.UsageFault, match="Invalid value: no"):
        tlkit.run("seeded", "photos", ending="click")


@pytest.fixture(scope="module")
def loaded(finished):
    """The finished run of fine-tune; commands that name it take the model that is loaded here."""
    from tlkit.tasks.classification.serving.saved_model import Served

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Served, "load", functools.cache(Served.load))
        yield tlkit.load(str(finished.run))


def rounded(prediction, classes):
    """A classifier's answer as `tlkit predict --json` prints it, written down apart from it."""
    return {
        "path": prediction.path,
        "label": prediction.label,
        "confidence": round(prediction.confidence, 6),
        "probabilities": {
            name: round(float(value), 6)
            for name, value in zip(classes, prediction.probabilities, strict=True)
        },
    }


def test_a_classifier_answers_as_predict_does(finished, loaded, tlkit_command):  # noqa: F811
    run = loaded
    answers = run.predict(finished.source)
    said = tlkit_command("predict", finished.run, finished.source, "--json").json
    assert [rounded(one, run.classes) for one in answers] == said["predictions"]
    assert list(run.classes) == said["classes"]
    file = Path(answers[0].path)
    pixels = np.asarray(Image.open(file).convert("RGB"))
    for images in (
        str(file),
        file.read_bytes(),
        pixels,
        [pixels, file.read_bytes(), file],
        np.stack([pixels] * 3),
    ):
        found = run.predict(images)
        expected = run.predict([file] * len(found))  # of equal batches, for bits depend on their size
        assert len(found) == (1 if images is pixels or isinstance(images, str | bytes) else 3)
        assert all(
            np.array_equal(one.probabilities, two.probabilities)
            for one, two in zip(found, expected, strict=True)
        )


def test_images_in_other_formats_are_read_from_bytes_as_from_files(finished, loaded, tmp_path):
    run = loaded
    image = Image.open(next((finished.source / "bar").glob("*.png"))).convert("RGB")
    for name in ("x.tif", "x.jpg", "x.bmp"):
        image.save(tmp_path / name)
        pair = run.predict([tmp_path / name, (tmp_path / name).read_bytes()])
        assert np.array_equal(*(one.probabilities for one in pair))


def test_nothing_is_answered_with_nothing_and_no_network_is_asked(loaded, monkeypatch):
    monkeypatch.setattr(loaded._served, "_answer", None)
    assert loaded.predict([]) == []
    assert loaded.predict(np.zeros((0, 8, 8, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((8, 8, 3)), r"images\[0\] is float64 \[8, 8, 3\], and no image\."),
        (np.zeros((8, 8), np.uint8), r"images\[0\] is uint8 \[8, 8\], and no image\."),
        (b"no image", r"images\[0\] is not an image of a known format\."),
        ([b""], r"images\[0\] is empty \(0 bytes\)\."),
        ("nowhere.png", "nowhere.png does not exist"),
    ],
)
def test_what_is_no_image_is_named(images, sentence, loaded):
    with pytest.raises(tlkit.DataFault, match=sentence):
        loaded.predict(images)


def test_measures_are_those_of_evaluate(finished, loaded, tlkit_command):  # noqa: F811
    run = loaded
    assert (
        run.evaluate(finished.source)
        == tlkit_command("evaluate", finished.run, finished.source, "--json").json
    )
    with pytest.raises(tlkit.UsageFault, match="No such option '--grup'. Did you mean --group"):
        run.evaluate(finished.source, grup="x")


def test_another_kind_is_refused_as_by_the_command(finished, loaded, tmp_path, tlkit_command):  # noqa: F811
    run = loaded
    with pytest.raises(tlkit.UsageFault, match="is a run of fine-tune and has no generator"):
        run.generate(1)
    table = tmp_path / "table" / "1"
    table.mkdir(parents=True)
    (table / "card.json").write_text(json.dumps({"kind": "table", "recipe": "does-it-help"}))
    image = next((finished.source / "bar").glob("*.png"))
    with pytest.raises(tlkit.UsageFault) as caught:
        tlkit.load(table).predict(image)
    assert caught.value.problem == tlkit_command("predict", table, image, "--json").json["error"]["problem"]


def test_a_damaged_run_is_told_when_it_is_loaded(tmp_path):
    (tmp_path / "card.json").write_text("{}")
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(tlkit.ModelFault):
        tlkit.load(tmp_path)


def test_nothing_slow_is_imported_for_the_names():
    program = (
        "import sys, tlkit; tlkit.load, tlkit.run; print({'numpy', 'tensorflow', 'click'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- the heavy ones ---

RECIPES = {
    "small-cnn": {"epochs": 2, "image_size": 32, "batch": 8},
    "fine-tune": {"epochs": (3, 1, 1), "image_size": 64, "batch": 10, "refit": True},
    "synthesize-dcgan": {"class_": "disc", "size": 32, "steps": 4, "every": 2, "batch": 8, "width": 8, "latent": 8,
                         "samples": 9, "judge": "pixels"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.onednn
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_second_run_has_the_bits_of_one_in_a_process_of_its_own(recipe, make_folder, tmp_path, monkeypatch):
    source = make_folder(bar=40, disc=40)
    monkeypatch.chdir(tmp_path)
    import keras

    keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)])(np.zeros((1, 2)), training=True)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        runs = [tlkit.run(recipe, source, **RECIPES[recipe]) for _ in range(2)]
    finally:
        keras.config.set_dtype_policy("float32")
    program = f"import tlkit; print(tlkit.run({recipe!r}, {str(source)!r}, **{RECIPES[recipe]!r}).path)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [first_difference(Path(done.stdout.strip()), run.path) for run in runs] == [None, None]
