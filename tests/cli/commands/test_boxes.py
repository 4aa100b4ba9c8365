"""`tlkit predict`, `evaluate`, `compare --draw` and `export` on a detector that was really trained."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlkit
from tests.cli.conftest import tiny_backbone
from tlkit.core.run_folder import RunFolder, read_card
from tlkit.data.boxes.dataset import read_boxes
from tlkit.tasks.detection.evaluate_workflow import with_classes


@pytest.fixture(autouse=True, scope="module")
def _loaded_once():
    """Every command loads the model for itself; here one load serves them all."""
    from tlkit.tasks.detection import build as detectors
    from tlkit.tasks.detection.serving.saved_model import ServedDetector

    with pytest.MonkeyPatch.context() as patch:
        tiny_backbone(patch)  # it is built again when the Keras model is loaded
        patch.setattr(ServedDetector, "load", functools.cache(ServedDetector.load))
        patch.setattr(detectors, "load_detector", functools.cache(detectors.load_detector))
        yield


@pytest.fixture
def run(finished_detector):
    return Path(finished_detector["run"])


@pytest.fixture
def classifier(kitchen):
    """A folder that says it is a classifier's; it is refused before anything in it is read."""
    return RunFolder.start(kitchen / "saved_models", "photos").finish({"kind": "classifier"})


def opened(file):
    """An image and nothing left open."""
    with Image.open(file) as image:
        return image.copy()


@functools.cache
def saved_model(run):
    """It alone, without any of ours."""
    import tensorflow as tf

    return tf.saved_model.load(str(run))


def answered(run, file):
    """What the SavedModel itself says of a file."""
    import tensorflow as tf

    answer = saved_model(run).signatures["serving_default"](tf.constant([Path(file).read_bytes()]))
    count = int(answer["count"][0])
    return [answer[name].numpy()[0, :count] for name in ("labels", "scores", "boxes")]


# --- predict ---


def test_the_savedmodel_s_boxes_as_csv(run, bags, tlkit_command):
    said = tlkit_command("predict", run, bags / "01.png", bags / "02.png", "--csv", "--threshold", 0.004)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert list(rows[0]) == ["path", "class", "score", "left", "top", "right", "bottom"]
    for name in ("01.png", "02.png"):
        labels, scores, boxes = answered(run, bags / name)
        own = [row for row in rows if row["path"] == (bags / name).as_posix()]
        assert len(own) == len(labels) == 5
        assert [row["class"] for row in own] == [label.decode() for label in labels]
        assert [float(row["score"]) for row in own] == pytest.approx(scores, abs=1e-5)
        corners = [[float(row[key]) for key in ("left", "top", "right", "bottom")] for row in own]
        assert np.array(corners) == pytest.approx(boxes, abs=0.01)


def test_from_a_threshold_on_and_a_image_without_a_box_has_a_line(run, bags, tlkit_command):
    scores = answered(run, bags / "01.png")[1]
    between = float(scores[1] + scores[2]) / 2
    answer = tlkit_command("predict", run, bags / "01.png", "--threshold", between, "--json").json
    assert (answer["threshold"], answer["classes"]) == (between, ["gun", "knife"])
    assert len(answer["predictions"][0]["boxes"]) == 2
    assert set(answer["predictions"][0]["boxes"][0]) == {"class", "score", "left", "top", "right", "bottom"}
    said = tlkit_command("predict", run, bags / "01.png", "--threshold", 1)
    assert [line.split() for line in said.out.splitlines()] == [
        ["path", "class", "score", "left", "top", "right", "bottom"],
        [(bags / "01.png").as_posix(), *["-"] * 6],
    ]
    assert tlkit_command("predict", run, bags / "01.png", "--threshold", 1, "--json").json["predictions"] == [
        {"path": (bags / "01.png").as_posix(), "boxes": []}
    ]


def test_by_itself_it_begins_where_f1_was_best(run, bags, tlkit_command):
    best = read_card(run)["measures"]["test"]["f1"]["threshold"]
    answer = tlkit_command("predict", run, bags, "--json").json
    assert answer["threshold"] == max(best or 0, 0.004)
    assert len(answer["predictions"]) == 30
    said = tlkit_command("predict", run, bags / "01.png")
    assert f"from a score of {answer['threshold']:.2f} on" in said.err


def test_images_of_different_folders_are_drawn_and_read_again(run, bags, tmp_path, tlkit_command):
    for folder, name in (("a", "01.png"), ("b", "02.png")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        shutil.copy(bags / name, tmp_path / "in" / folder / "same.png")
    opened(bags / "03.png").save(tmp_path / "in" / "b" / "grey.jpg")
    before = {file: hashlib.sha256(file.read_bytes()).digest() for file in (tmp_path / "in").rglob("*.*")}
    out = tmp_path / "deep" / "out"
    command = ("predict", run, tmp_path / "in" / "a", tmp_path / "in" / "b", "--draw", out)
    answer = tlkit_command(*command, "--threshold", 0.004, "--json").json
    assert answer["drawn"] == out.as_posix()
    names = ["a/same.png", "b/grey.jpg", "b/same.png"]
    kept = {"boxes.csv", "classes.txt", "detections.json", "images.json"}
    files = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert files == {*names, *kept}
    assert {file: hashlib.sha256(file.read_bytes()).digest() for file in before} == before
    for name in names:
        assert opened(out / name).size == (96, 72)
        assert (np.asarray(opened(out / name)) != np.asarray(opened(tmp_path / "in" / name))).any()
    said = [
        [[box[key] for key in ("left", "top", "right", "bottom")] for box in one["boxes"]]
        for one in answer["predictions"]
    ]
    for source in (out, out / "detections.json"):
        again = read_boxes(source)
        assert (again.paths, again.class_names) == (tuple(names), ("gun", "knife"))
        for boxes, expected in zip(again.xyxy, said, strict=True):
            assert sorted(boxes.tolist()) == pytest.approx(np.array(sorted(expected)), abs=0.011)


def test_the_json_is_what_pycocotools_takes(run, bags, tmp_path, tlkit_command, capsys):
    from pycocotools.coco import COCO

    def drawn(*asked, code=0):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        said = tlkit_command("predict", run, *asked, "--draw", tmp_path / "out", "--threshold", 0.004)
        assert said.code == code, said.err
        return said

    def loaded(file):
        coco = COCO(str(file))
        return coco, coco.loadRes(str(tmp_path / "out" / "detections.json"))

    drawn(bags / "01.png")
    written = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    original = (bags / "01.png").as_posix()
    assert written == [{"id": 1, "file_name": "01.png", "width": 96, "height": 72, "original": original}]
    coco, results = loaded(tmp_path / "out" / "images.json")
    assert [one["score"] for one in results.loadAnns(results.getAnnIds(imgIds=[1]))] == pytest.approx(
        answered(run, bags / "01.png")[1], abs=1e-5
    )
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["gun", "knife"]
    # --- the numbers of one's own file: named by --coco, asked about itself, or alone in the folder asked about
    own = tmp_path / "own"
    own.mkdir()
    for name in ("01.png", "02.png"):
        shutil.copy(bags / name, own / name)
    images = [{"id": 900, "file_name": "02.png"}, {"id": 500, "file_name": "01.png"}]
    categories = [{"id": 7, "name": "Knife"}, {"id": 4, "name": "gun"}]
    truth = own / "truth.json"
    truth.write_text(json.dumps({"images": images, "categories": categories, "annotations": []}))
    for asked in ((bags / "01.png", bags / "02.png", "--coco", truth), (truth,), (own,)):
        said = drawn(*asked)
        assert f"Images and classes have the numbers of {truth} in detections.json." in said.err
        coco, results = loaded(truth)
        assert {row["image_id"] for row in results.anns.values()} == {500, 900}
        assert {row["category_id"] for row in results.anns.values()} <= {4, 7}
        assert {image["id"]: image["file_name"] for image in loaded(tmp_path / "out" / "images.json")[0].imgs.values()} == {
            500: "01.png", 900: "02.png",
        }  # fmt: skip
    shutil.copy(bags / "03.png", own / "03.png")
    assert f"{truth} lacks 1 image; detections.json numbers all from 1" in drawn(own).err
    assert "does not name" in drawn(own, "--coco", truth, code=3).err
    assert not (tmp_path / "out").exists()
    said = tlkit_command("predict", run, own, "--coco", truth)
    assert (said.code, said.err.splitlines()[0]) == (
        2, "Error: --coco gives the numbers in detections.json, which --draw writes.",
    )  # fmt: skip


def test_nothing_is_overwritten(run, bags, tmp_path, tlkit_command):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for folder, problem in (
        (tmp_path / "out", "is there already"),
        (tmp_path / "out" / "mine.txt", "is there already"),
        (bags / "out", f"lies inside {bags}"),
    ):
        said = tlkit_command("predict", run, bags, "--draw", folder)
        assert said.code == 2
        assert problem in said.err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert not (bags / "out").exists()


def test_a_image_that_does_not_open_is_named_or_left_out(run, bags, tmp_path, tlkit_command):
    (tmp_path / "in").mkdir()
    shutil.copy(bags / "01.png", tmp_path / "in" / "good.png")
    (tmp_path / "in" / "torn.png").write_bytes((bags / "01.png").read_bytes()[:200])
    said = tlkit_command("predict", run, tmp_path / "in", "--draw", tmp_path / "out")
    assert said.code == 3
    assert f"Error: {tmp_path.as_posix()}/in/torn.png is truncated." in said.err
    assert not (tmp_path / "out").exists()
    said = tlkit_command("predict", run, tmp_path / "in", "--draw", tmp_path / "out", "--skip-bad", "--json")
    assert said.json["skipped"] == [{"path": f"{tmp_path.as_posix()}/in/torn.png", "reason": "is truncated"}]
    assert read_boxes(tmp_path / "out").paths == ("good.png",)


def test_what_predict_refuses(run, classifier, bags, tlkit_command):
    for option, value in (("--draw", "out"), ("--threshold", "0.5")):
        said = tlkit_command("predict", "photos", bags / "01.png", option, value)
        assert (said.code, said.err.splitlines()[0]) == (
            2,
            f"Error: {option} is for detectors, and saved_models/photos/1 is none.",
        )
    said = tlkit_command("predict", run, bags / "01.png", "--threshold", "0.001")
    assert said.code == 2
    assert "--threshold 0.001 is below 0.004" in said.err


# --- evaluate ---


def test_on_the_run_s_own_source_it_repeats_the_card(run, bags, tlkit_command):
    answer = tlkit_command("evaluate", run, bags, "--json").json
    test = read_card(run)["measures"]["test"]
    assert (answer["n"], answer["excluded"], answer["dropped"]) == (6, 24, 0)
    same = (
        "AP",
        "AP50",
        "AP75",
        "AR",
        "groups",
        "objects",
        "negative",
        "confusion",
        "intervals",
        "per_class",
    )
    assert {name: answer[name] for name in same} == {name: test[name] for name in same}
    assert answer["f1"] == {name: test["f1"][name] for name in answer["f1"]}  # at the threshold of validation


@pytest.fixture
def others(bags, tmp_path):
    """Unseen images (a pixel differs), whose classes stand in another order, with one that the run does not know."""
    root = tmp_path / "others"
    root.mkdir()
    with (bags / "boxes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[:9]
    for row in rows:
        pixels = np.array(opened(bags / row["image"]))
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(root / row["image"])
    rows[1]["class"] = "cup"
    with (root / "boxes.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (root / "classes.txt").write_text("knife\ncup\ngun\n")
    return root


def test_classes_match_by_name_and_unknown_ones_are_refused_or_dropped(run, others, tlkit_command):
    said = tlkit_command("evaluate", run, others)
    assert said.code == 3
    assert f"Class cup of {others} is unknown to {run}." in said.err
    assert "It knows gun, knife" in said.err
    answer = tlkit_command("evaluate", run, others, "--unknown", "drop", "--json").json
    assert (answer["n"], answer["excluded"], answer["dropped"]) == (9, 0, 1)
    assert {name: row["objects"] for name, row in answer["per_class"].items()} == {"gun": 3, "knife": 2}
    said = tlkit_command("evaluate", run, others, "--unknown", "drop")
    lines = said.out.splitlines()
    assert lines[2:5] == [
        "n: 9 in 9 groups (0 excluded)",
        "objects: 5 (4 images without)",
        "dropped: 1 (boxes of classes that the run does not know)",
    ]
    chosen = read_card(run)["measures"]["validation"]["f1"]["threshold"]
    assert lines[lines.index("") - 1] == (
        f"precision and recall from a score of {chosen:.4f}, where F1 of all classes was best on the run's validation part"
    )
    assert answer["f1"]["chosen_on"] == "validation"
    assert {row["threshold"] for row in answer["per_class"].values()} == {chosen}
    table = [line.split() for line in lines[lines.index("") + 1 :]]
    assert [row[:2] for row in table] == [["class", "objects"], ["gun", "3"], ["knife", "2"]]


def test_a_class_that_differs_in_case_alone_is_the_runs_and_is_said(others):
    rows = (others / "boxes.csv").read_text().replace(",knife", ",Knife")
    (others / "boxes.csv").write_text(rows)
    (others / "classes.txt").write_text("Knife\ncup\ngun\n")
    found, dropped = with_classes(read_boxes(others), Path("r/1"), ["gun", "knife"], drop=True)
    assert (found.counts(), dropped) == ({"gun": 3, "knife": 2}, 1)
    assert found.notes == ("Knife is taken for the run's knife.",)
    found, dropped = with_classes(read_boxes(others), Path("r/1"), ["KNIFE", "gun", "knife"], drop=True)
    assert (found.counts()["knife"], dropped, found.notes) == (
        0,
        3,
        (),
    )  # which of the two is not for us to say


def test_what_evaluate_refuses(run, classifier, bags, tmp_path, tlkit_command):
    only = tmp_path / "only"
    only.mkdir()
    with (run / "split.csv").open(newline="") as stream:
        seen = [row["path"] for row in csv.DictReader(stream) if row["part"] == "training"]
    with (bags / "boxes.csv").open() as stream:
        lines = [line for line in stream if line.startswith(("image,", *seen))]
    (only / "boxes.csv").write_text("".join(lines))
    for name in seen:
        shutil.copy(bags / name, only)
    said = tlkit_command("evaluate", run, only)
    assert said.code == 3
    assert f"All {len(seen)} images of {only} are in the training or validation part of {run}." in said.err
    for option in ("--skip-bad", "--download"):
        said = tlkit_command("evaluate", run, bags, option)
        assert (said.code, said.err.splitlines()[0]) == (
            2,
            f"Error: {option} does not apply to images with boxes.",
        )
    said = tlkit_command("evaluate", "photos", bags, "--unknown", "drop")
    assert (said.code, said.err.splitlines()[0]) == (
        2,
        "Error: --unknown is for detectors, and saved_models/photos/1 is none.",
    )


# --- compare and export ---


def test_several_runs_on_the_same_images(run, classifier, bags, tmp_path, tlkit_command, monkeypatch):
    from tlkit.tasks.detection.reporting import plots as detection_images

    asked = []
    real = detection_images.beside_truth

    def watched(truth, detectors, indices):
        asked.append((truth, detectors))
        return real(truth, detectors, indices)

    monkeypatch.setattr(detection_images, "beside_truth", watched)
    shutil.copytree(run, tmp_path / "runs" / "second" / "1")  # two names, one network
    image = tmp_path / "side.png"
    said = tlkit_command("compare", run, tmp_path / "runs/second/1", "--draw", image, "--images", 3)
    assert said.code == 0
    assert opened(image).size[0] == 1200
    (truth, detectors), *_ = asked
    with (run / "split.csv").open(newline="") as stream:
        parts = {row["path"]: row["part"] for row in csv.DictReader(stream)}
    assert {parts[path] for path in truth.paths} == {"test"}
    assert [bool(len(boxes)) for boxes in truth.xyxy] == [True, True, False]
    assert list(detectors) == [f"retinanet {run.parent.name}/1", "retinanet second/1"]
    for found, _threshold in detectors.values():
        for i in range(3):
            labels, scores, boxes = answered(run, truth.file(i))
            assert [truth.class_names[k].encode() for k in found[i].labels] == labels.tolist()
            assert found[i].scores == pytest.approx(scores, abs=1e-5)
            assert found[i].boxes == pytest.approx(boxes, abs=1e-2)
    for arguments, problem in (
        ((run, "--draw", image), "is there already"),
        ((run, "--draw", tmp_path / "side.jpg"), "is no PNG"),
        (
            (run, "photos", "--draw", tmp_path / "new.png"),
            "is for detectors, and saved_models/photos/1 is none",
        ),
        ((run, "--source", bags), "--source says which images --draw takes"),
    ):
        said = tlkit_command("compare", *arguments)
        assert said.code == 2
        assert problem in said.err


def test_a_detector_s_row(run, tlkit_command):
    test = read_card(run)["measures"]["test"]
    row = tlkit_command("compare", run, "--json").json["runs"][0]
    assert (row["AP50"], row["AP"], row["accuracy"]) == (test["AP50"], test["AP"], None)
    assert [row["low"], row["high"]] == (test["intervals"]["AP50"] or [None, None])
    header = tlkit_command("compare", run).out.splitlines()[0].split()
    assert header == ["run", "recipe", "source", "backbone", "n", "seconds", "AP50", "AP"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_a_run_is_exported(form, run, tmp_path, tlkit_command):
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    answer = tlkit_command("export", run, "--format", form, "--output", tmp_path / "model", "--json").json
    assert answer["largest_difference"] <= 1e-3
    assert (tmp_path / "model").stat().st_size == answer["bytes"] > 10_000


def test_python_gets_the_boxes_and_measures_of_predict_and_evaluate(run, bags, tlkit_command):
    detector = tlkit.load(run)
    answers = detector.predict(bags, threshold=0.005)
    said = tlkit_command("predict", run, bags, "--threshold", 0.005, "--json").json
    sides = ("left", "top", "right", "bottom")
    told = [
        {
            "path": one.path,
            "boxes": [
                {
                    "class": label,
                    "score": round(float(score), 6),
                    **{side: round(float(value), 2) for side, value in zip(sides, box, strict=True)},
                }
                for box, score, label in zip(one.boxes, one.scores, one.labels, strict=True)
            ],
        }
        for one in answers
    ]
    assert told == said["predictions"]
    assert sum(len(one.scores) for one in answers) > 0
    assert said["classes"] == list(detector.classes)
    pixels = detector.predict(np.asarray(Image.open(answers[0].path)), threshold=0.005)[0]
    assert np.array_equal(pixels.boxes, answers[0].boxes)
    assert detector.predict([]) == []
    assert detector.evaluate(bags) == tlkit_command("evaluate", run, bags, "--json").json
    with pytest.raises(tlkit.UsageFault, match="--threshold 0.001 is below 0.004"):
        detector.predict(bags, threshold=0.001)
