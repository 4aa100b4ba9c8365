"""The recipes that find things, run as a person runs them: tiny images, one epoch."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import SMALL, run_recipe, tiny_backbone
from tlkit.cli.main import main
from tlkit.engine.training.length import Pace
from tlkit.engine.training.progress import Reporter
from tlkit.errors import RunFailed
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.build import load_detector
from tlkit.tasks.detection.fit import measure_pace

SEARCHED = pytest.mark.skipif(find_spec("cv2") is None, reason="Selective Search needs the extra proposals")


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        "detect-retinanet",
        "detect-yolov1",
        "detect-yolov2",
        "detect-yolov3",
        "detect-yolov8",
        pytest.param("detect-fast-rcnn", marks=SEARCHED),
        "detect-faster-rcnn",
    ],
)
def test_a_backbone_of_the_table_too(recipe, bags, tmp_path):
    check(run_recipe(recipe, bags, "--runs", tmp_path, "--epochs", 0, 1, *SMALL))


def test_a_file_of_anchors_reaches_the_detector_and_another_is_refused(bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    file = tmp_path / "anchors.txt"
    file.write_text(", ".join(f"{n},{2 * n}" for n in range(2, 11)))
    options = (bags, "--runs", tmp_path, "--anchors", file, *SMALL, "--dry-run")
    model = run_recipe("detect-yolov3", *options)["model"]
    assert model["anchors"] == [[n, 2 * n] for n in range(2, 11)]
    assert model["coverage"]["boxes"] > 0
    file.write_text("2,4, 5,6")
    refused = run_recipe("detect-yolov3", *options, code=2)["error"]
    assert "holds 4 numbers; 9 anchors have 18" in refused["problem"]


@pytest.mark.onednn
def test_a_finished_detector_keeps_every_promise(finished_detector):
    check(finished_detector)


def check(found):
    folder = Path(found["run"])
    for name in ("saved_model.pb", "model.keras", "recipe.py", "options.json", "card.json", "metrics.jsonl", "log.txt",
                 "report.html", "split.csv", "pictures/batch.png", "pictures/found.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / "checkpoints").exists()
    card = json.loads((folder / "card.json").read_text())
    assert card["kind"] == "detector"
    assert card["classes"] == ["gun", "knife"]
    assert card["measures"]["test"]["n"] == 6
    assert card["parity"]["largest_difference"] <= card["parity"]["tolerance"]
    assert found["n"] == 6
    page = (folder / "report.html").read_text()  # words of screening are for xray: and gdxray: alone
    assert "Recall at few false alarms" in page
    assert "Precision and recall are from a score of" in page
    assert not any(words in page for words in ("Screening", "screener", "all threats"))


def test_words_of_screening_are_for_x_rays():
    from tlkit.tasks.detection.reporting.report import is_xray

    assert [is_xray({"source": source}) for source in ("xray:bags", "gdxray:here", "bags/", "tfds:voc", None)] == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--epochs", 0, 0, *SMALL), 2, "--epochs leaves every phase out"),
        (("--synthetic", "gan"), 2, "There is no run 'gan' in"),
        (("--minutes", 5, "--steps", 9), 2, "--minutes does not go with --steps: each says how long"),
        (("--epochs", 0, 1, "--minutes", 5), 2, "--minutes does not go with --epochs"),
        (("--steps", 9, "--epochs", 0, 1), 2, "--steps does not go with --epochs"),
        (("--minutes", 0), 2, "--minutes"),
        (("--minutes", -3), 2, "--minutes"),
        (("--minutes", "nan"), 2, "--minutes"),
        (("--minutes", "inf"), 2, "--minutes"),
        (("--steps", 0), 2, "--steps"),
        (("--skip-bad",), 2, "--skip-bad does not apply to images with boxes"),
    ],
)
def test_what_does_not_fit_is_told(options, code, words, bags, tmp_path):
    refused = run_recipe("detect-retinanet", bags, "--runs", tmp_path, *options, code=code)
    assert words in refused["error"]["problem"]


@pytest.mark.slow
def test_minutes_become_steps_that_a_resumed_run_keeps(bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    paces, fits = [Pace({"head": 0.1, "all": 0.2}, 1.0, 2.0)], []

    def fit_detector(_detector, _split, phases, fitting, *_others, **_options):
        fits.append((phases, fitting))
        raise RunFailed("That is enough.", "Go on elsewhere.")

    monkeypatch.setattr("tlkit.tasks.detection.fit.fit_detector", fit_detector)
    monkeypatch.setattr("tlkit.tasks.detection.fit.measure_pace", lambda *_, **_how: paces.pop())
    run_recipe("detect-retinanet", bags, "--runs", tmp_path, *SMALL, "--minutes", 2, code=1)
    folder = next(tmp_path.glob("*/unfinished-*"))
    options = json.loads((folder / "options.json").read_text())["options"]
    phases, fitting = fits[0]
    assert options["minutes"] is None
    assert options["steps"] == fitting.steps == sum(phase.epochs * phase.steps for phase in phases)
    assert 100 < fitting.steps < 700  # 120 s, of which validation takes its part
    assert "Length: about 2 minutes: 20 steps took 4 s" in (folder / "log.txt").read_text()
    tlkit_resume = CliRunner().invoke(main, ["resume", str(folder), "--json"])
    assert tlkit_resume.exit_code == 1
    assert fits[1] == fits[0]  # and nothing was timed again: there was one pace


@pytest.mark.slow
@pytest.mark.onednn
def test_a_run_of_minutes_that_is_stopped_goes_on_and_is_repeated_bit_for_bit(bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    tell, measure, told = Reporter.epoch, measure_pace, []

    def stopping(self, row, confusion):
        told.append(row["epoch"])
        if len(told) == 3:
            raise KeyboardInterrupt
        tell(self, row, confusion)

    def measuring(*arguments, **how):
        measure(*arguments, **how)  # whatever it leaves, this run has, and its repeat has not
        return Pace({"head": 4.0, "all": 4.0}, 0.0, 0.0)

    monkeypatch.setattr(Reporter, "epoch", stopping)
    monkeypatch.setattr("tlkit.tasks.detection.fit.measure_pace", measuring)
    monkeypatch.setattr("tlkit.engine.training.length.time", SimpleNamespace(monotonic=lambda: 0.0))
    words = ["run", "detect-yolov8", bags, "--runs", tmp_path, "--name", "timed", *SMALL, "--minutes", 1]
    assert CliRunner().invoke(main, [str(word) for word in words]).exit_code != 0
    (folder,) = tmp_path.glob("timed/unfinished-*")
    assert json.loads((folder / "options.json").read_text())["options"]["steps"] == 15
    monkeypatch.setattr(
        "tlkit.tasks.detection.fit.measure_pace", lambda *_, **_how: 1 / 0
    )  # nothing is timed again
    assert CliRunner().invoke(main, ["resume", str(folder)]).exit_code == 0
    assert told[:4] == [1, 2, 3, 3]  # the third epoch was told and not yet kept
    card = json.loads((tmp_path / "timed" / "1" / "card.json").read_text())
    assert (card["length"]["minutes"], card["length"]["steps"]) == (1, 15)
    assert (card["options"]["minutes"], card["options"]["steps"]) == (None, 15)
    again = CliRunner().invoke(main, ["repeat", str(tmp_path / "timed" / "1"), "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["status"] == "same"


def test_a_dry_run_shows_the_steps(bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    plan = run_recipe("detect-yolov8", bags, "--runs", tmp_path, *SMALL, "--minutes", 2, "--dry-run")
    assert plan["time"].startswith("2 minutes, as --minutes has it: 8 images took")
    assert {phase["steps"] > 0 for phase in plan["phases"] if phase["epochs"]} == {True}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--crop", 128), "--crop 128 does not suit a yolov1"),
        (("--cells", 0), "0 is not in the range"),
        (("--boxes-per-cell", 0), "0 is not in the range"),
        (("--learning-rates", -1, 0.1), "--learning-rates takes 2 numbers above 0"),
    ],
)
def test_what_a_grid_cannot_learn_is_told_before_anything_is_drawn(options, words, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refused = run_recipe("detect-yolov1", "xray:bags", "--runs", tmp_path / "runs", *options, code=2)
    assert words in refused["error"]["problem"]
    assert not (tmp_path / "cache").exists()


def test_a_grid_is_told_and_must_divide_the_image(bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    options = (bags, "--runs", tmp_path, *SMALL, "--dry-run")
    model = run_recipe("detect-yolov1", *options)["model"]
    assert (model["cells"], model["boxes_per_cell"], model["cell_taken"]) == (2, 2, 0)
    assert model["objects"] > 0
    refused = run_recipe("detect-yolov1", *options, "--cells", 5, code=2)["error"]
    assert "--cells 5 does not divide 64 pixels" in refused["problem"]
    refused = run_recipe("detect-yolov1", *options, "--form", "paper", "--image-size", 96, code=2)["error"]
    assert "--image-size 96 does not suit --form paper" in refused["problem"]


def test_a_detector_starts_from_another(finished_detector, bags, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    run = Path(finished_detector["run"])
    options = (bags, "--runs", tmp_path, "--warm-start", run, *SMALL)
    plan = run_recipe("detect-retinanet", *options, "--dry-run")
    origin = plan["model"]["weights"]
    assert origin["source"].endswith("with its gun, knife")
    assert origin["sha256"] == hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    its = json.loads((run / "card.json").read_text())["model"]["anchors"]
    assert plan["model"]["anchors"] == its  # proposed there, and not the usual ones
    assert its["base"] != Anchors().base
    refused = run_recipe("detect-retinanet", *options, "--propose-anchors", code=2)["error"]
    assert "--propose-anchors does not go with --warm-start" in refused["problem"]
    refused = run_recipe("detect-retinanet", *options, "--seed", 1, code=3)["error"]
    assert "learned from" in refused["problem"]
    assert f"--split {run / 'split.csv'}" in refused["remedy"]


# --- threats pasted in while it learns, and other precisions ---


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Clean crops of guns, and of what no bag has; the last gun lies before other things."""
    root = tmp_path_factory.mktemp("tip") / "crops"
    for kind, grey in (("GUN", 40), ("star", 90)):
        (root / kind).mkdir(parents=True)
        for number in range(4):
            image = np.full((50, 60), 235, np.uint8)
            image[10 + number : 40, 12:48] = grey
            Image.fromarray(image).save(root / kind / f"clean-{number}.png")
    Image.fromarray(np.full((50, 60), 99, np.uint8)).save(root / "GUN" / "baggage-9.png")
    return root


TIP = ("--paste-only", "clean", "--paste-share", 1, "--min-side", 0.2, "--max-side", 0.4)


@pytest.fixture
def policy():
    """Give Keras its policy back, which belongs to the process."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def test_the_change_and_the_precision_reach_the_fitting(bags, crops, tmp_path, monkeypatch, policy):
    tiny_backbone(monkeypatch)
    seen = {}

    def fit_detector(detector, split, *_others, change, **_options):
        seen.update(detector=detector, split=split, change=change)
        raise RunFailed("That is enough.", "Go on elsewhere.")

    monkeypatch.setattr("tlkit.tasks.detection.fit.fit_detector", fit_detector)
    options = ("--runs", tmp_path, *SMALL, "--paste", crops, *TIP, "--precision", "bfloat16")
    assert run_recipe("detect-yolov8", bags, *options, code=1)["error"]["problem"] == "That is enough."
    assert seen["detector"].compute_dtype == "bfloat16"
    assert {v.dtype for v in seen["detector"].trainable_variables} == {"float32"}
    change = seen["change"]
    assert change.places == {"GUN": seen["split"].images.class_names.index("gun")}
    assert len(change.crops["GUN"]) == 4  # no baggage
    assert change.settings.sides_of("GUN") == (0.2, 0.4)
    assert max(max(large.mask.shape) for large, *_ in change.crops["GUN"]) <= 2 * 0.4 * 64 + 2
    folder = next((tmp_path).glob("*/unfinished-*"))
    assert (folder / "pictures" / "batch.png").stat().st_size > 0
    with (folder / "tip.csv").open(newline="") as stream:
        kept = {row["path"]: row["sha256"] for row in csv.DictReader(stream)}
    assert sorted(kept) == [f"{kind}/clean-{i}.png" for kind in ("GUN", "star") for i in range(4)]
    file = crops / "GUN" / "clean-1.png"
    assert kept["GUN/clean-1.png"] == hashlib.sha256(file.read_bytes()).hexdigest()
    said = (folder / "log.txt").read_text()
    assert "Threats: 4 of GUN from" in said
    assert "1 to 2 of them are pasted into 100% of the training images" in said


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["detect-retinanet", "detect-yolov1", "detect-yolov8"])
def test_a_detector_of_another_precision_keeps_every_promise(
    recipe, bags, crops, tmp_path, monkeypatch, policy
):
    tiny_backbone(monkeypatch)
    options = (
        "--runs",
        tmp_path,
        *SMALL,
        "--epochs",
        0,
        2,
        "--paste",
        crops,
        *TIP,
        "--precision",
        "bfloat16",
    )
    found = run_recipe(recipe, bags, *options)
    check(found)
    folder = Path(found["run"])
    card = json.loads((folder / "card.json").read_text())
    assert card["model"]["precision"] == "mixed_bfloat16"
    assert card["tip"]["crops"] == {"GUN": 4, "star": 0}
    assert card["tip"]["share"] == 1
    again = load_detector(folder / "model.keras")
    assert again.compute_dtype == "bfloat16"
    assert {v.dtype for v in again.trainable_variables} == {"float32"}
    options = ("--runs", tmp_path, *SMALL, "--warm-start", folder, "--epochs", 0, 1, "--name", "next")
    check(run_recipe(recipe, bags, *options))  # float32 goes on from it


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--paste-share", 0.9), 2, "do nothing without --paste"),
        (("--min-threats", 2), 2, "do nothing without --paste"),
        (("--paste", "CROPS", "--paste-only", "(clean"), 2, "'(clean' is no regular expression"),
        (("--paste", "CROPS", "--paste-only", "dirty"), 3, "has 'dirty'"),
        (("--paste", "CROPS", "--paste-only", "star"), 3, "none of these"),
        (("--paste", "nowhere"), 3, "nowhere"),
        (("--paste", "CROPS", "--min-threats", 3), 2, "--min-threats 3 is more than --max-threats 2"),
        (("--paste", "BAGS"), 3, "part of"),
        (("--precision", "float16", "--device", "cpu"), 1, "--precision float16 needs a GPU"),
    ],
)
def test_threats_that_do_not_fit_are_told(options, code, words, bags, crops, tmp_path, monkeypatch):
    tiny_backbone(monkeypatch)
    evaluated = tmp_path / "judged"
    shutil.copytree(crops, evaluated)
    for file in bags.glob("*.png"):
        shutil.copy(file, evaluated / "GUN")
    places = {"CROPS": crops, "BAGS": evaluated}
    options = [places.get(option, option) for option in options]
    refused = run_recipe(
        "detect-yolov8", bags, "--runs", tmp_path / "runs", *SMALL, *options, "--dry-run", code=code
    )
    assert words in refused["error"]["problem"] + refused["error"]["remedy"]


# --- annotations ---


def annotated(root, *rows, side=40):
    """Twelve images with a box each, and more rows."""
    root.mkdir()
    lines = ["image,left,top,right,bottom,class"]
    for number in range(12):
        grey = np.full((64, 96), 40 + 15 * number, np.uint8)
        Image.fromarray(grey).save(root / f"{number}.png")
        lines.append(f"{number}.png,10,12,{10 + side},{12 + side},gun")
    (root / "boxes.csv").write_text("\n".join([*lines, *rows]))
    return root


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("3.png,1,2,NaN,9,gun", "no-number"),
        ("3.png,60,50,20,10,gun", "inverted"),
        ("3.png,5,5,5,9,gun", "zero-size"),
        ("3.png,5,5,9,9,", "unknown-class"),
        ("3.png,90,5,99,9,gun", "out-of-image"),
        ("3.png,10,12,50,52,gun", "duplicate"),
        ("nowhere.png,1,2,5,9,gun", "missing-image"),
    ],
)
def test_check_and_a_run_refuse_the_same_annotations(row, kind, tmp_path, tlkit_command):
    source = annotated(tmp_path / "bags", row)
    said = tlkit_command("check", source, "--json")
    errors = [one for one in json.loads(said.out)["findings"] if one["severity"] == "error"]
    assert (said.code, [one["kind"] for one in errors]) == (3, [kind])
    refused = run_recipe("detect-yolov8", source, "--runs", tmp_path / "runs", *SMALL, "--dry-run", code=3)[
        "error"
    ]
    assert errors[0]["sentence"].removesuffix(".") in refused["problem"]
    assert "--faults clip" in refused["remedy"]


def test_what_is_left_out_and_what_is_too_small_is_said_before_training(tmp_path, monkeypatch, tlkit_command):
    tiny_backbone(monkeypatch)
    source = annotated(tmp_path / "bags", "3.png,1,2,NaN,9,gun", "4.png,90,5,99,9,gun", side=2)
    plan = run_recipe(
        "detect-yolov8", source, "--runs", tmp_path / "runs", *SMALL, "--faults", "clip", "--dry-run"
    )
    left_out, clipped, tiny = plan["warnings"]
    assert left_out == "1 image left out, as its annotation has no one meaning (1 no-number): 3.png."
    assert clipped == "1 out-of-image in 1 image, clipped: 4.png."
    assert sum(plan["pictures"].values()) == 11
    size = plan["model"]["image_size"]
    assert f"are below 2 pixels at --image-size {size} and are ignored: take --image-size 96" in tiny
    found = json.loads(tlkit_command("check", source, "--json").out)["findings"]
    assert "tiny-boxes" not in {one["kind"] for one in found}  # they are 6.7 pixels at 320


def test_as_many_detections_as_a_training_image_has_objects(tmp_path):
    """130 cells on one of the training images: --max-detections is 130 unless a person says otherwise; 90 are fewer than 100."""
    from types import SimpleNamespace

    from tlkit.data.boxes.dataset import read_boxes
    from tlkit.data.boxes.splits import split_boxes
    from tlkit.tasks.detection.evaluate_workflow import enough, say_most
    from tlkit.tasks.detection.settings import UNSET, Detecting

    def dealt(objects, crowd=0):
        rows = [f"{i}.png,{x},{y},{x + 4},{y + 4},cell,train,{crowd}" for i in range(3)
                for x, y in [(5 * (k % 20), 5 * (k // 20)) for k in range(objects if i == 1 else 2)]]  # fmt: skip
        rows += ["3.png,1,1,9,9,cell,validation,0", "4.png,1,1,9,9,cell,test,0"]
        (tmp_path / "boxes.csv").write_text(
            "\n".join(["image,left,top,right,bottom,class,split,crowd", *rows])
        )
        return split_boxes(read_boxes(tmp_path), seed=0)

    for i in range(5):
        Image.fromarray(np.full((60, 100, 3), 10 * i, np.uint8)).save(tmp_path / f"{i}.png")
    unset, said = Detecting(most=UNSET), []
    run, split = SimpleNamespace(say=said.append), dealt(130)
    assert (
        say_most(run, split, unset) == say_most(run, split) == 130
    )  # recipes of earlier releases do not say
    assert (
        said
        == ["Detections an image: 130, as many as 1.png has objects; --max-detections takes another number."]
        * 2
    )
    assert (enough(split, unset).most, enough(split, unset).candidates) == (130, 1300)
    assert say_most(run, split, Detecting(most=200)) == 200
    assert len(said) == 2
    assert say_most(run, split, Detecting(most=20)) == 20
    assert (
        said[-1]
        == "Warning: --max-detections 20 is less than the 130 objects of 1.png; not all can be found."
    )
    for split in (dealt(90), dealt(130, crowd=1)):
        assert say_most(run, split, unset) == 100
    assert len(said) == 3
