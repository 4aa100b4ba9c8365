"""composite-threats and slide-window, run as a person runs them, and detectors that take composites."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import grey_bag
from tests.conftest import draw
from tlkit.cli.main import main
from tlkit.data.boxes.dataset import read_boxes

BAGS, CROPS = 15, 6


def call(*arguments: object, code: int = 0) -> dict:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.stderr + result.stdout
    return {**json.loads(result.stdout), "said": result.stderr}


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def pixels_of(file: Path) -> tuple[np.ndarray, str]:
    with Image.open(file) as image:
        return np.asarray(image).astype(int), image.mode


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """16-bit bags; in every third one a real dark square of class Gun."""
    root = tmp_path_factory.mktemp("tip") / "bags"
    root.mkdir()
    rows = []
    for number in range(BAGS):
        image, name = grey_bag(number, 96, 128, 6), f"{number:02}.png"
        if number % 3:
            rows.append([name, "", "", "", "", ""])
        else:
            image[20:44, 30:60] = 9000
            rows.append([name, 30, 20, 60, 44, "Gun"])
        Image.fromarray(image).save(root / name)
    with (root / "boxes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image", "left", "top", "right", "bottom", "class"], *rows])
    return root


@pytest.fixture(scope="module")
def crops(bags):
    """Clean crops of gun (a bar) and star (a cross), and harmless ones."""
    root = bags.parent / "threats"
    for kind, wide in (("gun", 8), ("star", 22), ("other", 30)):
        (root / kind).mkdir(parents=True)
        for number in range(CROPS):
            image = np.full((60, 60), 235, np.uint8)
            image[26 - number : 34, 30 - wide : 30 + wide] = 30 + number
            image[30 - wide // 2 : 30 + wide // 2, 26:34] = 40
            Image.fromarray(image).save(root / kind / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def runs(bags):
    return bags.parent / "runs"


@pytest.fixture(scope="module")
def made(crops, bags, runs):
    return call("run", "composite-threats", crops, bags, "--runs", runs, "--name", "tip", "--copies", 2,
                "--empty", 0.25, "--min-side", 0.15, "--max-side", 0.3)  # fmt: skip


def test_composites_are_a_source_of_boxes_and_an_account(made, bags, crops):
    folder = Path(made["run"])
    for name in ("recipe.py", "options.json", "card.json", "log.txt", "report.html", "split.csv", "bag_split.csv",
                 "pictures/composites.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    found, real = read_boxes(folder / "composites"), read_boxes(bags)
    assert found.class_names == ("Gun", "star")
    parts = {row["path"]: row["part"] for row in rows_of(folder / "bag_split.csv")}
    assert len(found) == made["composites"] == 2 * sum(part == "training" for part in parts.values())
    by_file: dict[str, list] = {}
    for row in rows_of(folder / "composites.csv"):
        by_file.setdefault(row["file"], []).append(row)
    assert set(by_file) == set(found.paths)
    place = {path: i for i, path in enumerate(real.paths)}
    for i, path in enumerate(found.paths):
        rows = by_file[path]
        source = place[rows[0]["bag"]]
        assert parts[rows[0]["bag"]] == found.parts[i] == "training"
        kept = len(real.xyxy[source])
        np.testing.assert_array_equal(found.xyxy[i][:kept], real.xyxy[source])
        laid = [[float(row[s]) for s in ("left", "top", "right", "bottom")] for row in rows if row["threat"]]
        np.testing.assert_array_equal(found.xyxy[i][kept:], np.array(laid).reshape(-1, 4))
        (new, mode), (old, _) = pixels_of(found.file(i)), pixels_of(real.file(source))
        assert mode == "I;16"
        changed = abs(new - old) > 0.021 * old
        for left, top, right, bottom in np.array(laid, int).reshape(-1, 4):
            assert changed[top:bottom, left:right].any()
            changed[top:bottom, left:right] = False
        assert not changed.any()
    assert made["empty"] == sum(not len(some) for some in found.xyxy) > 0


def test_what_they_are_made_of_is_written_with_its_part(made):
    folder = Path(made["run"])
    threats = {row["sha256"]: row for row in rows_of(folder / "split.csv")}
    bag_rows = {row["sha256"]: row for row in rows_of(folder / "bag_split.csv")}
    used = rows_of(folder / "trained_on.csv")
    assert {row["kind"] for row in used} == {"threat", "bag"}
    for row in used:
        parts = threats if row["kind"] == "threat" else bag_rows
        assert parts[row["sha256"]]["part"] == row["part"] == "training"
        assert row["label"] != "other"
    in_table = {row["threat"] for row in rows_of(folder / "composites.csv")} - {""}
    assert {row["path"] for row in used if row["kind"] == "threat"} == in_table


def test_all_parts_share_neither_threats_nor_bags(crops, bags, runs):
    options = ("--part", "all", "--only-empty-bags", "--class", "star", "--count", 8, "--seed", 1)
    folder = Path(
        call("run", "composite-threats", crops, bags, "--runs", runs, "--name", "all", *options)["run"]
    )
    found = read_boxes(folder / "composites")
    assert len(found) == 8
    assert found.counts()["Gun"] == 0
    for column in ("threat", "bag"):
        seen: dict[str, set] = {}
        for row in rows_of(folder / "composites.csv"):
            seen.setdefault(row["part"], set()).add(row[column])
        parts = list(seen.values())
        assert len(parts) == 3
        assert not any((one & other) - {""} for i, one in enumerate(parts) for other in parts[i + 1 :])


def test_a_folder_of_images_is_taken_as_empty_and_a_run_as_its_images(bags, crops, runs, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for number in range(6):
        tinted = np.stack([grey_bag(number, 96, 128, 6) // 257] * 3, -1).astype(np.float32) * (0.7, 0.9, 1.0)
        Image.fromarray(tinted.astype(np.uint8)).save(plain / f"{number}.png")
    gan = runs / "gan" / "1"
    (gan / "synthetic" / "gun").mkdir(parents=True)
    for file in (crops / "gun").iterdir():
        (gan / "synthetic" / "gun" / file.name).write_bytes(file.read_bytes())
    (gan / "card.json").write_text("{}")
    (gan / "trained_on.csv").write_text("path,sha256,label,group\ngun/9.png,abc,gun,g\n")
    done = call("run", "composite-threats", "gan", plain, "--runs", runs, "--empty", 0, "--copies", 3)
    found = read_boxes(Path(done["run"]) / "composites")
    assert found.class_names == ("gun",)
    assert pixels_of(found.file(0))[1] == "RGB"
    learned = rows_of(Path(done["run"]) / "trained_on.csv")
    assert learned[0] == {"path": "gun/9.png", "sha256": "abc", "label": "gun", "group": "g", "part": "training",
                          "kind": "learned from"}  # fmt: skip
    refused = call("run", "composite-threats", "gan", plain, "--runs", runs, "--part", "test", code=2)
    assert "--part test cannot be made of gan" in refused["error"]["problem"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--class", "knife"), 2, "--class knife is no class"),
        (("--min-side", 0.3), 2, "--min-side and --max-side go together"),
        (("--min-threats", 3), 2, "--min-threats 3 is more than --max-threats 2"),
        (("--bag-split", "none.csv"), 3, "none.csv does not exist"),
    ],
)
def test_composites_that_cannot_be_are_refused(options, code, words, crops, bags, tmp_path):
    refused = call("run", "composite-threats", crops, bags, "--runs", tmp_path, *options, code=code)
    assert words in refused["error"]["problem"]


# ---- --synthetic ----

SMALL = ("--image-size", 64, "--backbone", "mobilenet-v2-0.35", "--weights", "none", "--dry-run")


@pytest.mark.slow  # tests/data/boxes/test_synthetic.py joins them without a network
def test_a_detector_takes_the_composites_into_training_only(made, bags, runs, tmp_path):
    star = tmp_path / "bags"
    star.mkdir()
    rows = rows_of(bags / "boxes.csv")
    for row in rows:
        (star / row["image"]).write_bytes((bags / row["image"]).read_bytes())
    rows[1].update(left="70", top="50", right="90", bottom="80", **{"class": "STAR"})
    with (star / "boxes.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    manifest = Path(made["run"]) / "bag_split.csv"
    split = ("--split", manifest, "--runs", runs, *SMALL)
    without = call("run", "detect-yolov8", star, *split)
    done = call("run", "detect-yolov8", star, *split, "--synthetic", "tip")
    assert done["pictures"]["training"] == without["pictures"]["training"] + made["composites"]
    for part in ("validation", "test"):
        assert done["pictures"][part] == without["pictures"][part]
    assert f"Added to training from tip/1: {made['composites']} composites" in " ".join(done["said"].split())


def test_a_class_that_the_source_lacks_is_refused_with_both_lists(made, bags, runs):
    split = ("--split", Path(made["run"]) / "bag_split.csv", "--runs", runs, *SMALL)
    refused = call("run", "detect-yolov8", bags, *split, "--synthetic", "tip", code=3)
    assert f"has boxes of Gun, star; {bags} has Gun, and no star" in refused["error"]["problem"]


def test_a_detector_that_judges_what_composites_are_made_of_is_refused(made, bags, runs):
    refused = call(
        "run", "detect-yolov8", bags, "--seed", 1, "--runs", runs, "--synthetic", "tip", *SMALL, code=3
    )
    assert "--synthetic tip/1 learned from" in refused["error"]["problem"]
    assert "bag_split.csv" in refused["error"]["remedy"]


def test_a_run_without_composites_is_no_more(bags, runs, made):
    (runs / "bare" / "1").mkdir(parents=True)
    (runs / "bare" / "1" / "card.json").write_text("{}")
    refused = call("run", "detect-yolov8", bags, "--runs", runs, "--synthetic", "bare", *SMALL, code=3)
    assert "--synthetic bare/1 has no composites/" in refused["error"]["problem"]


# ---- slide-window ----


@pytest.fixture(scope="module")
def classifier(runs, tmp_path_factory):
    """A finished run of small-cnn that tells discs from noise."""
    root = tmp_path_factory.mktemp("window") / "crops"
    for label, kind in ((0, "disc"), (None, "other")):
        (root / kind).mkdir(parents=True)
        for number in range(12):
            image = draw(label or 0, number, 40) if label == 0 else _noise(number)
            image.save(root / kind / f"{number}.png")
    options = ("--epochs", 8, "--runs", runs, "--name", "crops", "--batch", 8)
    return call("run", "small-cnn", root, *options)


def _noise(number: int, size: int = 40) -> Image.Image:
    pixels = np.random.default_rng([9, number]).integers(0, 90, (size, size, 3))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def discs(runs, tmp_path_factory):
    """Dark noise with a disc at a random place; every third image is empty."""
    root = tmp_path_factory.mktemp("discs")
    rows = [["image", "left", "top", "right", "bottom", "class"]]
    for number in range(12):
        image, name = np.asarray(_noise(number, 96)).copy(), f"{number}.png"
        if number % 3:
            left, top = np.random.default_rng(number).integers(4, 52, 2)
            image[top : top + 40, left : left + 40] = np.asarray(draw(0, 50 + number, 40))
            rows.append([name, left, top, left + 40, top + 40, "disc"])
        else:
            rows.append([name, "", "", "", "", ""])
        Image.fromarray(image).save(root / name)
    with (root / "boxes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


WINDOWS = ("--size", 96, "--scales", 1, "--ratio", 1, "--step", 0.2)


@pytest.mark.slow
def test_a_window_run_keeps_every_promise(classifier, discs, runs):
    done = call("run", "slide-window", discs, "--classifier", "crops", "--runs", runs, *WINDOWS)
    folder = Path(done["run"])
    for name in ("saved_model.pb", "model.keras", "recipe.py", "options.json", "card.json", "log.txt", "report.html",
                 "split.csv", "detections.csv", "pictures/found.png", "pictures/froc.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    card = json.loads((folder / "card.json").read_text())
    assert card["kind"] == "detector"
    assert card["model"]["windows"]["convolutional"]  # the course's network does not pad
    assert card["parity"]["largest_difference"] <= card["parity"]["tolerance"]
    chosen = card["measures"]["validation"]["f1"]["threshold"]
    measures = card["measures"]["test"]
    assert card["detecting"]["threshold"] == measures["f1"]["threshold"] == done["threshold"] == chosen
    assert measures["confusion"]["score_threshold"] == chosen
    detections = rows_of(folder / "detections.csv")
    tests = {row["path"] for row in rows_of(folder / "split.csv") if row["part"] == "test"}
    assert {row["image"] for row in detections} <= tests
    assert all(float(row["score"]) >= 0.01 for row in detections)
    evaluated = call("evaluate", folder, discs)
    assert evaluated["AP50"] == pytest.approx(
        measures["AP50"], abs=1e-6
    )  # the same test part, the same evaluator


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--classifier", "nothing"), 2, "no run 'nothing'"),
        (("--classifier", "crops", "--negative", "nil"), 3, "no class nil"),
        (("--classifier", "gone"), 4, "gone has no model.keras"),
    ],
)
def test_a_classifier_that_does_not_fit_is_told(options, code, words, classifier, discs, runs):
    (runs / "gone" / "1").mkdir(parents=True, exist_ok=True)
    (runs / "gone" / "1" / "card.json").write_text("{}")
    refused = call("run", "slide-window", discs, "--runs", runs, *WINDOWS, *options, code=code)
    assert words in refused["error"]["problem"]


def test_a_classifier_that_saw_what_is_judged_is_refused(classifier, discs, runs):
    import hashlib

    folder = runs / "seen" / "1"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    dry = call("run", "slide-window", discs, "--runs", runs, *WINDOWS, "--classifier", "crops", "--dry-run")
    assert dry["pictures"]["test"] > 0
    rows = [
        f"{file.name},{hashlib.sha256(file.read_bytes()).hexdigest()},disc,g,training"
        for file in discs.glob("*.png")
    ]
    (folder / "split.csv").write_text("\n".join(["path,sha256,label,group,part", *rows]) + "\n")
    refused = call("run", "slide-window", discs, "--runs", runs, *WINDOWS, "--classifier", "seen", code=3)
    assert "--classifier seen learned from" in refused["error"]["problem"]
