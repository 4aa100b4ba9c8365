"""A run that an earlier version made still predicts, is evaluated, and goes on; old_runs/make.py made what lies there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.old_runs import make
from tests.old_runs.make import ANSWERS, ARCHIVE, FINDING, NAMING, RUNS, Made, question, unpack
from tlkit.cli.main import main
from tlkit.core.run_folder import read_card, read_metrics

# The old code computed without oneDNN, so without it the sums are the same ones (largest difference seen: 5e-7, the
# rounding of the answers). oneDNN takes them in another order (1.1e-6 seen), by kernels that differ between processors.
SAME = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"
TOLERANCE = 1e-5 if SAME else 1e-4
GAMES = ("dcgan", "stylegan")


def call(*words: object, code: int = 0) -> dict:
    """What the present `tlkit WORDS --json` prints."""
    result = CliRunner().invoke(main, [*map(str, words), "--json"])
    assert result.exit_code == code, f"{words}\n{result.stderr}{result.stdout}"
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The pictures and the old runs, unpacked elsewhere than they were made."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as packed:
        unpack(packed, folder)
    return folder


@pytest.fixture
def here(old, monkeypatch):
    monkeypatch.chdir(old)
    return old


@pytest.fixture(scope="module")
def answers():
    return json.loads(ANSWERS.read_text(encoding="utf-8"))


def quick(names, of_each_kind):
    """One of each kind is also tried under the other setting of oneDNN; the rest is long."""
    return [
        pytest.param(n, marks=pytest.mark.onednn if n in of_each_kind else pytest.mark.slow) for n in names
    ]


# --- predict, evaluate, generate ---


@pytest.mark.parametrize("name", quick(NAMING, ("fine-tune", "small-cnn", "fit-head")))
def test_names_are_what_they_were(name, here, answers):
    before = answers[name]["predict"]
    now = call(*question("predict", name))
    assert now["classes"] == before["classes"]
    check_names(now["predictions"], before["predictions"])


def check_names(now, before):
    rows = [np.array([list(one["probabilities"].values()) for one in some]) for some in (now, before)]
    assert (
        np.std(rows[1], axis=0).max() > 0.05
    )  # of pictures that all look alike nothing would be learned here
    np.testing.assert_allclose(*rows, rtol=0, atol=TOLERANCE)
    assert [(one["path"], one["label"]) for one in now] == [(one["path"], one["label"]) for one in before]


@pytest.mark.parametrize("name", quick(FINDING, FINDING))
def test_boxes_are_what_they_were(name, here, answers):
    check_boxes(call(*question("predict", name)), answers[name]["predict"])


def check_boxes(now, before):
    assert (now["classes"], now["threshold"]) == (before["classes"], before["threshold"])
    found, expected = (boxes_of(some["predictions"]) for some in (now, before))
    assert len(expected) > 2
    assert [box[:2] for box in found] == [box[:2] for box in expected]
    scores, sides = ([[box[2] for box in some], [box[3:] for box in some]] for some in (found, expected))
    np.testing.assert_allclose(scores[0], sides[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(scores[1], sides[1], rtol=0, atol=0.02)  # pixels; the answers have two digits


def boxes_of(predictions):
    """(path, class, score, left, top, right, bottom) of every box, by path, class and score."""
    return sorted(
        (one["path"], *(box[key] for key in ("class", "score", "left", "top", "right", "bottom")))
        for one in predictions
        for box in one["boxes"]
    )


@pytest.mark.parametrize("name", quick(NAMING + FINDING, ("small-cnn",)))
def test_evaluations_are_what_they_were(name, here, answers):
    before = answers[name]["evaluate"]
    now = call(*question("evaluate", name))
    measured = [key for key, value in before.items() if isinstance(value, int | float)]
    assert {"n", "groups"} < set(measured)
    allowed = dict.fromkeys(measured, 10 * TOLERANCE)
    if "auc" in measured and not SAME:
        allowed["auc"] += one_pair(before)
    for key in measured:
        assert now[key] == pytest.approx(before[key], abs=allowed[key]), key


def one_pair(before):
    """What one pair of images weighs in the mean area under the curves: two that are 1e-7 apart may change their order."""
    n, classes = before["n"], len(before["per_class"])
    return classes / n / (n - n / classes) / classes  # as many images of each class


@pytest.mark.parametrize(
    "kind", [pytest.param(GAMES[0], marks=pytest.mark.onednn), pytest.param(GAMES[1], marks=pytest.mark.slow)]
)
def test_generators_make_the_same_pictures(kind, here):
    """Those that the old `tlkit run generate` made lie beside the generator."""
    made = call("run", *RUNS[f"generate-{kind}"].words, "--name", "again", "--runs", "runs")
    before, now = (pictures_of(Path(run)) for run in (f"runs/generate-{kind}/1", made["run"]))
    assert before.shape[0] == made["pictures"] == 3
    assert before.std(axis=0).mean() > 1
    assert np.abs(now - before).max() <= 1  # a grey level: the rounding to 8 bits may fall on either side


def pictures_of(run):
    files = sorted((run / "synthetic" / "disc").glob("*.png"))
    return np.stack([np.asarray(Image.open(file), np.float64) for file in files])


def test_a_bare_saved_model_knows_its_classes(here, answers, tmp_path):
    """As TensorFlow Serving has it: saved_model.pb and variables/, without a card."""
    from tlkit.tasks.classification.serving.saved_model import Served

    bare, run = tmp_path / "bare", here / "runs" / "small-cnn" / "1"
    shutil.copytree(run / "variables", bare / "variables")
    shutil.copy(run / "saved_model.pb", bare)
    before = answers["small-cnn"]["predict"]
    served = Served.load(bare)
    assert list(served.classes) == before["classes"]
    found = served.predict_files([here / one["path"] for one in before["predictions"]])
    expected = [list(one["probabilities"].values()) for one in before["predictions"]]
    np.testing.assert_allclose([one.probabilities for one in found], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMING)
def test_keras_files_still_load_and_answer(name, here, answers):
    import tlkit.tasks.classification.head_layers  # noqa: F401 - registers the heads' layers
    from tlkit.core.safe_loading.keras_models import read_model
    from tlkit.data.images.decoding.decode import decode_and_resize

    model = read_model(here / "runs" / name / "1" / "model.keras")
    before = answers[name]["predict"]["predictions"]
    size = int(model.input_shape[1])
    pixels = np.stack([decode_and_resize((here / one["path"]).read_bytes(), size) for one in before])
    expected = [list(one["probabilities"].values()) for one in before]
    np.testing.assert_allclose(model(pixels, training=False), expected, rtol=0, atol=TOLERANCE)


# --- resume ---

# What a run of each recipe ends with, beside what every run has.
ENDS = {
    **dict.fromkeys(("fine-tune", "small-cnn"), ("model.keras", "last.keras", "saved_model.pb", "predictions.csv")),
    "fit-head": ("model.keras", "saved_model.pb", "predictions.csv"),
    **{f"synthesize-{kind}": ("model.keras", "saved_model.pb", "trained_on.csv", "synthetic/disc/00009.png") for kind in GAMES},
    "does-it-help": ("benefit.csv",),
}  # fmt: skip
ROWS = {"fine-tune": 4, "small-cnn": 12, "synthesize-dcgan": 3, "synthesize-stylegan": 2}  # of metrics.jsonl


def test_a_run_of_every_recipe_that_goes_on_is_kept():
    assert {name for name, made in RUNS.items() if made.stop} == set(ENDS)


@pytest.mark.parametrize("name", quick(ENDS, ("small-cnn",)))
def test_an_unfinished_run_goes_on(name, here, monkeypatch):
    monkeypatch.setattr(
        "tlkit.tasks.synthesis.evaluate_workflow.SOUGHT", 2
    )  # steps of a search that draws a picture only
    unfinished = Path("runs") / name / "unfinished-2"
    learned = read_metrics(unfinished)
    assert unfinished.is_dir()
    if name in ROWS:
        assert 0 < len(learned) <= ROWS[name]
    said = call("resume", unfinished)
    finished = Path(said["run"])
    assert (said["status"], finished, unfinished.exists()) == ("finished", Path("runs") / name / "2", False)
    for file in (*ENDS[name], "card.json", "report.html", "split.csv", "log.txt"):
        assert (finished / file).stat().st_size > 0, file
    assert not (finished / "checkpoints").exists()
    rows = read_metrics(finished)
    assert len(rows) == ROWS.get(name, 0)
    kept = len(learned) - 1  # the last one was written after the last checkpoint
    if name in ROWS:
        assert rows[:kept] == learned[:kept]
    check_measures(name, *(read_card(finished.with_name(number)) for number in "12"))


def check_measures(name, whole, resumed):
    """What the old code came to without a stop, the present one comes to as well, but for the order of sums."""
    if RUNS[name].further:  # the run that was not stopped had other words
        assert resumed["measures"]["test"]["n"] == whole["measures"]["test"]["n"]
        return
    before, now = (dict(numbers_of(card["measures"])) for card in (whole, resumed))
    assert list(now) == list(before)
    for path, value in before.items():
        assert now[path] == pytest.approx(value, abs=1e-3 if SAME else 0.05), path


def numbers_of(content, path=""):
    """(path, value) of every number below."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from numbers_of(value, f"{path}.{key}")
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield path, content


# --- detectors, whose runs are made when they are needed ---

SMALL = ("--image-size", 64, "--batch", 4, "--threshold", 0.004, "--most", 5)
DETECTORS = {
    "detect-retinanet": Made(
        ("detect-retinanet", "scenes", *SMALL, "--backbone", "mobilenet-v2-0.35", "--weights", "none", "--epochs", 1, 3),
        ("/all/last.npz", 2),
    ),
    "detect-yolov8": Made(("detect-yolov8", "scenes", *SMALL, "--epochs", 0, 3), ("/all/last.npz", 2)),
}  # fmt: skip


@pytest.fixture(scope="module")
def old_code(tmp_path_factory):
    known = ["git", "cat-file", "-e", f"{make.COMMIT}^{{commit}}"]
    if (
        not shutil.which("git")
        or subprocess.run(known, cwd=make.HERE, capture_output=True, check=False).returncode
    ):
        pytest.skip(f"commit {make.COMMIT[:7]} is not in the history here (a shallow clone, or no clone)")
    return make.OldCode(tmp_path_factory.mktemp("code"))


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_old_detectors_predict_are_evaluated_and_go_on(name, old_code, monkeypatch):
    if not (old_code.folder / "scenes").is_dir():
        make.draw_scenes(old_code.folder / "scenes")
    old_code.run(name, DETECTORS[name])
    asked = [
        "predict",
        f"runs/{name}/1",
        *(f"scenes/{number:02}.png" for number in range(6)),
        "--threshold",
        "0.004",
    ]
    judged = ["evaluate", f"runs/{name}/1", "scenes"]
    before = [old_code.call(*words) for words in (asked, judged)]
    monkeypatch.chdir(old_code.folder)
    now = call(*asked)
    assert [one["path"] for one in now["predictions"]] == [one["path"] for one in before[0]["predictions"]]
    if SAME:  # after three epochs scores are so alike that another order of sums ranks them otherwise
        check_boxes(now, before[0])
    now = call(*judged)
    assert (now["n"], now["objects"]) == (before[1]["n"], before[1]["objects"])
    said = call("resume", Path("runs") / name / "unfinished-2")
    finished = Path(said["run"])
    assert finished == Path("runs") / name / "2"
    for file in ("saved_model.pb", "model.keras", "card.json", "report.html", "split.csv"):
        assert (finished / file).stat().st_size > 0, file
    whole, resumed = (read_card(finished.with_name(number)) for number in "12")
    assert [phase["epochs"] for phase in resumed["phases"]] == [phase["epochs"] for phase in whole["phases"]]
    assert resumed["measures"]["test"]["n"] == whole["measures"]["test"]["n"]
