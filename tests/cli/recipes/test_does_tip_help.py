"""does-tip-help: which images each training learns from, what is refused, what is kept, and one run in earnest."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import SMALL, grey_bag, run_recipe, tiny_backbone
from tlkit.cli.main import main
from tlkit.core.console import Console
from tlkit.core.run import Run
from tlkit.core.run_folder import RunFolder
from tlkit.data.boxes.dataset import read_boxes
from tlkit.tasks.compositing.settings import CompositeSettings
from tlkit.tasks.studies import composites_workflow as tip_chapters
from tlkit.tasks.studies import gains as benefit
from tlkit.tasks.studies.composites_data import CompositesData, TipQuestion

# Bags of two images each: those with a number in SHOWN show a threat on both. Parts by the bag's number.
BAGS, SHOWN = 20, {0, 1, 2, 3, 4, 5, 12, 13, 16, 17}
PARTS = ["training"] * 12 + ["validation"] * 3 + ["test"] * 5


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """16-bit bags with groups and parts; threats are dark squares of class Gun or Knife."""
    root = tmp_path_factory.mktemp("tip") / "bags"
    root.mkdir()
    rows = []
    for number in range(2 * BAGS):
        one, image, name = number // 2, grey_bag(number, 64, 80, 5), f"{number:02}.png"
        box, kind = ["", "", "", ""], ""
        if one in SHOWN:
            box, kind = [20, 12, 44, 30], ("Gun", "Knife")[one % 2]
            image[12:30, 20:44] = 9000 if one % 2 else 20000
        Image.fromarray(image).save(root / name)
        rows.append([name, *box, kind, f"bag{one}", PARTS[one]])
    write(root / "boxes.csv", ["image", "left", "top", "right", "bottom", "class", "group", "part"], rows)
    return root


def write(file: Path, *rows: list) -> None:
    header, body = rows
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *body])


@pytest.fixture(scope="module")
def crops(bags):
    """Clean crops of GUN and knife, of a class that the bags do not have, and of harmless things."""
    root = bags.parent / "crops"
    for kind, wide in (("GUN", 8), ("knife", 22), ("star", 15), ("other", 30)):
        (root / kind).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(crop(wide, number)).save(root / kind / f"{number}.png")
    return root


def crop(wide: int, number: int) -> np.ndarray:
    image = np.full((60, 60), 235, np.uint8)
    image[26 - number : 34, 30 - wide : 30 + wide] = 30 + number
    image[30 - wide // 2 : 30 + wide // 2, 26:34] = 40
    return image


@pytest.fixture(scope="module")
def runs(bags):
    """Finished runs of synthesis: `gan` made knives, `stars` what no bag shows, `leaky` learned from a test image."""
    root = bags.parent / "runs"
    test = hashlib.sha256((bags / "39.png").read_bytes()).hexdigest()
    (root / "retina" / "1").mkdir(parents=True)
    (root / "retina" / "1" / "card.json").write_text(
        '{"model": {"network": "retinanet", "backbone": "resnet50"}}'
    )
    for name, kind, digest in (("gan", "knife", "abc"), ("stars", "star", "abc"), ("leaky", "knife", test)):
        (root / name / "1" / "synthetic" / kind).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(crop(20, 5 + number)).save(
                root / name / "1" / "synthetic" / kind / f"{number}.png"
            )
        (root / name / "1" / "card.json").write_text("{}")
        text = f"path,sha256,label,group\nknife/9.png,{digest},knife,g\n"
        (root / name / "1" / "trained_on.csv").write_text(text)
    return root


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


# ---- what each training learns from ----


@pytest.fixture
def data(bags, crops, runs, tmp_path):
    folder = RunFolder.start(tmp_path / "own", "tip")
    run = Run("does-tip-help", folder, {"runs": str(runs)}, Console())
    how = CompositeSettings(sides=(0.15, 0.3))
    question = TipQuestion(
        threats=str(crops),
        fakes=("gan",),
        numbers=(2, 3, 6, 90),
        arms=("tip", "fakes+tip"),
        repeats=2,
        composites=9,
        how=how,
    )
    return tip_chapters.load_data(run, str(bags), question)


def test_smaller_draws_lie_in_larger_ones_and_groups_come_whole(data):
    training = [i for i, path in enumerate(data.split.images.paths) if int(path[:2]) < 24]
    assert data.numbers == (2, 3, 6)  # of 12 with a threat; 90 is left out
    draws = []
    for repeat in range(2):
        two, three, six = (set(data.chosen(n, repeat).tolist()) for n in (2, 3, 6))
        assert two < three < six
        assert [len(some) for some in (two, three, six)] == [2, 4, 6]  # 3 are two whole bags
        for some in (two, three, six):
            assert some <= set(training)
            assert {i + 1 if i % 2 == 0 else i - 1 for i in some} == some  # both images of every bag
            assert all(len(data.split.images.xyxy[i]) for i in some)
        draws.append(six)
    assert draws[0] != draws[1]
    assert data.draws == 12 + 6  # what "nothing" has at the largest number: the same for all


def test_composites_use_empty_training_bags_alone_and_their_boxes_are_exact(data, bags):
    plain, tip, both = (data.of_training(arm, 2, 0) for arm in ("nothing", "tip", "fakes+tip"))
    number = len(plain.images)
    assert number == 2 + 12 + 16  # real ones, all empty ones, what is evaluated
    assert (len(tip.images), len(both.images)) == (number + 9, number + 18)
    for split in (tip, both):
        assert split.images.paths[:number] == plain.images.paths
        assert split.parts[:number] == plain.parts
        assert set(split.parts[number:]) == {"training"}
        assert split.images.class_names == ("Gun", "Knife")
    kinds = np.concatenate(both.images.labels[number + 9 :]).tolist()
    assert set(kinds) == {1}  # the generator made knives only
    assert set(np.concatenate(tip.images.labels[number:]).tolist()) == {0, 1}
    for name in ("crops-0", "fakes-1-0"):
        check_composites(data.run.folder.path / "cells" / name, read_boxes(bags))


def check_composites(home: Path, real) -> None:
    """Every pixel that is not the background's lies in a box; every box is of one threat; every bag is empty."""
    made = read_boxes(home / "composites")
    place = {path: i for i, path in enumerate(real.paths)}
    accounts = {row["file"]: row["bag"] for row in rows_of(home / "composites.csv")}
    laid = 0
    for i, path in enumerate(made.paths):
        source = place[accounts[path]]
        assert int(accounts[path][:2]) < 24
        assert not len(real.xyxy[source])
        with Image.open(made.file(i)) as one, Image.open(real.file(source)) as other:
            assert one.mode == "I;16"  # the background's own depth
            new, old = np.asarray(one).astype(int), np.asarray(other).astype(int)
        changed = abs(new - old) > 0.021 * old
        for left, top, right, bottom in made.xyxy[i].astype(int):
            inside = changed[top:bottom, left:right]
            assert inside.any(0)[[0, -1]].all()
            assert inside.any(1)[[0, -1]].all()
        for left, top, right, bottom in made.xyxy[i].astype(int):
            changed[top:bottom, left:right] = False
            laid += 1
        assert not changed.any()
    assert laid >= len(made) / 2


def test_composites_are_made_once_a_repeat_and_differ_between_repeats(data):
    first = data.of_training("tip", 2, 0)
    home = data.run.folder.path / "cells" / "crops-0"
    stamp = (home / "composites.csv").stat().st_mtime_ns
    again, other = data.of_training("tip", 6, 0), data.of_training("tip", 6, 1)
    assert (home / "composites.csv").stat().st_mtime_ns == stamp
    assert first.sha256[-9:] == again.sha256[-9:]
    assert not set(again.sha256[-9:]) & set(other.sha256[-9:])


def test_threats_are_laid_into_any_image_in_the_arm_live_alone(data):
    question = replace(data.question, arms=("live", "tip"), live_share=0.3)
    live = CompositesData(data.run, data.split, question, data.threats)
    assert live.arms(2) == ("nothing", "live", "tip")
    assert live.arms(0) == ("tip",)
    assert live.change("tip", 64) is None
    assert live.change("nothing", 64) is None
    change = live.change("live", 64)
    assert change.settings.share == 0.3
    assert change.places == {"GUN": 0, "knife": 1}  # Gun and Knife of the bags; not the fakes
    assert [len(some) for some in change.crops.values()] == [4, 4]
    assert change.settings.sides_of("GUN") == (0.15, 0.3)
    plain, alive = (live.of_training(arm, 3, 1).sha256 for arm in ("nothing", "live"))
    assert plain == alive  # the same images, and no composites


# ---- the command ----


def test_a_dry_run_says_what_would_be_trained(bags, crops, runs, tmp_path):
    options = ("--threats", crops, "--numbers", "0,3,90", "--arms", "tip,fakes+tip", "--generated", "gan", "--generated",
               runs / "gan" / "1", "--composites", 15, "--epochs", 1, 2, "--batch", 5)  # fmt: skip
    result = CliRunner().invoke(
        main, ["run", "does-tip-help", *map(str, (bags, *options, "--runs", runs, "--dry-run", "--json"))]
    )
    assert result.exit_code == 0, result.stderr
    found, said = json.loads(result.stdout), " ".join(result.stderr.split())
    assert found["arms"] == ["nothing", "tip", "fakes+tip"]
    assert found["real"] == {"0": [0, 0], "3": [4, 4]}
    assert found["composites"] == {"crops": 15, "fakes-1": 7, "fakes-2": 8}
    assert found["trainings"] == 2 * (2 + 3)  # no "nothing" without real images
    assert found["steps"] == 3 * 4  # 12 empty and 4 real images an epoch, 5 at a time
    assert "Left out: 90; training has 12 images with a threat." in said
    assert f"Left out of --threats {crops}: other, star; {bags} has no boxes of that." in said
    assert "by sha256; whether one was cut out of such an image cannot be told" in said
    assert "the test part has objects in 2 groups only; intervals are too narrow" in said
    assert not list(runs.glob("does-tip-help*"))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--threats", "{crops}", "--arms", "fakes+tip"), 2, "--arms fakes+tip has no fakes"),
        (("--threats", "{crops}", "--generated", "gan"), 2, "--generated gan is used by no arm"),
        (("--threats", "{crops}", "--numbers", "0", "--arms", "nothing"), 2, "leave nothing to learn"),
        (("--threats", "{crops}", "--numbers", "0", "--arms", "live"), 2, "leave nothing to learn"),
        (("--threats", "{crops}", "--numbers", "-1"), 2, "-1 is no list of numbers from 0"),
        (("--threats", "{crops}", "--detector", "fast-rcnn"), 2, "'fast-rcnn' is not one of"),
        (("--threats", "{crops}", "--synthetic", "gan"), 2, "--synthetic gan would be in every arm"),
        (("--threats", "{crops}", "--numbers", "2", "--epochs", 0, 0), 2, "--epochs leaves every phase out"),
        (("--threats", "{crops}", "--numbers", "40,50"), 3, "12 images with a threat, fewer than any"),
        (
            ("--threats", "{runs}/stars/1/synthetic"),
            3,
            "has star; {bags} has boxes of Gun, Knife, and none of",
        ),
        (
            ("--threats", "{crops}", "--arms", "fakes+tip", "--generated", "stars"),
            3,
            "--generated stars has star",
        ),
        (
            ("--threats", "{crops}", "--arms", "fakes+tip", "--generated", "leaky"),
            3,
            "--generated leaky/1 learned",
        ),
        (
            ("--threats", "{crops}", "--numbers", "2", "--warm-start", "gan"),
            2,
            "--warm-start gan is no detector",
        ),
        (
            ("--threats", "{crops}", "--numbers", "2", "--warm-start", "retina"),
            2,
            "--warm-start retina is retinanet on resnet50; every arm would",
        ),
        (("--threats", "{crops}", "--arms", "fakes+tip", "--generated", "none"), 2, "There is no run 'none'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(options, code, words, bags, crops, runs):
    places = {"bags": bags, "crops": crops, "runs": runs}
    options = [str(option).format(**places) for option in options]
    refused = run_recipe("does-tip-help", bags, "--runs", runs, "--dry-run", *options, code=code)
    assert words.format(**places) in refused["error"]["problem"]
    assert code == 2 or refused["error"]["remedy"]


def test_a_crop_that_is_judged_is_refused(bags, crops, runs, tmp_path):
    (tmp_path / "threats" / "gun").mkdir(parents=True)
    for name in ("00.png", "33.png"):  # one of the training part, which may be, one of the test part
        (tmp_path / "threats" / "gun" / name).write_bytes((bags / name).read_bytes())
    refused = run_recipe(
        "does-tip-help", bags, "--threats", tmp_path / "threats", "--runs", runs, "--dry-run", code=3
    )
    assert "has gun/33.png, which is in the test part" in refused["error"]["problem"]


def test_bags_of_which_none_is_empty_are_refused(bags, crops, tmp_path):
    rows = [list(row.values()) for row in rows_of(bags / "boxes.csv") if row["class"]]
    for row in rows:
        (tmp_path / row[0]).write_bytes((bags / row[0]).read_bytes())
    write(tmp_path / "boxes.csv", ["image", "left", "top", "right", "bottom", "class", "group", "part"], rows)
    refused = run_recipe("does-tip-help", tmp_path, "--threats", crops, "--dry-run", code=3)
    assert "no empty image in its training part to paste threats into" in refused["error"]["problem"]


@pytest.fixture
def fewer(monkeypatch):
    """A hundred draws tell as much here as a thousand, and sooner."""
    monkeypatch.setattr(benefit, "RESAMPLES", 100)


ASKED = ("--numbers", "0,2", "--arms", "tip", "--repeats", 2, "--composites", 4)


def test_what_an_earlier_attempt_answered_is_read(bags, crops, runs, tmp_path, monkeypatch, fewer):
    asked = []

    def found(study, number, arm, repeat):
        """As if a detector had found every object in the arm, and none without."""
        asked.append((number, arm, repeat))
        if len(asked) == 4:
            raise KeyboardInterrupt
        test = study.test
        rows = [
            [i, *box, 0.9, label]
            for i in range(len(test))
            for box, label in zip(test.xyxy[i], test.labels[i], strict=True)
        ]
        return np.array(rows if arm == "tip" else rows[:0], float).reshape(-1, 7)

    monkeypatch.setattr(tip_chapters.TipStudy, "trained", found)
    own = ("--threats", crops, *ASKED, "--runs", tmp_path)
    CliRunner().invoke(main, ["run", "does-tip-help", *map(str, (bags, *own))])
    resumed = CliRunner().invoke(main, ["resume", "does-tip-help-bags", "--runs", str(tmp_path), "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    cells = [(0, "tip", 0), (0, "tip", 1), (2, "nothing", 0), (2, "nothing", 1), (2, "tip", 0), (2, "tip", 1)]
    assert asked == [*cells[:4], *cells[3:]]  # the one that was broken off again, the three before not
    done = json.loads(resumed.stdout)
    assert done["verdict"] == [
        "tip helps with 2 real images (AP50 +1.000 [+1.000, +1.000]); alone, with 0 real images, reaches AP50 "
        "1.000 [1.000, 1.000] and has nothing to be compared with.",
        "Nothing added and no real image of a threat is nothing to learn from: no such training.",
        "But the test part has objects in 2 groups only; intervals are too narrow with so few.",
    ]
    rows = rows_of(Path(done["run"]) / "benefit.csv")
    assert [(row["number"], row["arm"], row["AP50"], row["gain"]) for row in rows] == [
        ("0", "tip", "1.0", ""),
        ("2", "nothing", "0.0", "0.0"),
        ("2", "tip", "1.0", "1.0"),
    ]
    assert rows[2]["gain class Gun"] == rows[2]["recall@0.1"] == "1.0"


def test_that_nothing_was_found_at_all_is_said(bags, crops, tmp_path, monkeypatch, fewer):
    monkeypatch.setattr(tip_chapters.TipStudy, "trained", lambda *_: np.zeros((0, 7)))
    done = run_recipe("does-tip-help", bags, "--threats", crops, "--runs", tmp_path, "--numbers", "2,4")
    for number in (2, 4):
        assert f"With {number} real images no arm finds anything" in " ".join(done["verdict"])


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yolov8", "retinanet"])
def test_every_arm_is_trained_for_as_many_steps_and_judged_alike(
    detector, bags, crops, runs, tmp_path, monkeypatch
):
    from tlkit.tasks.detection import fit as detector_training

    tiny_backbone(monkeypatch)
    steps, fit = [], detector_training.fit_detector

    def counted(detector, split, *arguments, **options):
        results = fit(detector, split, *arguments, **options)
        steps.append(int(detector.optimizer.iterations.numpy()))
        return results

    monkeypatch.setattr(detector_training, "fit_detector", counted)
    own = ("--threats", crops, "--numbers", "0,2", "--arms", "fakes+tip,live", "--generated", "gan", "--repeats", 1,
           "--composites", 12, "--epochs", 0, 2, "--runs", runs, "--detector", detector, *SMALL)  # fmt: skip
    done = run_recipe("does-tip-help", bags, *own)
    folder = Path(done["run"])
    assert json.loads((folder / "card.json").read_text())["model"]["network"] == detector
    assert steps == [2 * 4] * 4  # 14 images an epoch, 4 at a time, whatever there is to learn from
    for name in ("recipe.py", "card.json", "metrics.jsonl", "report.html", "split.csv", "threats.csv", "fakes-1.csv",
                 "benefit.csv", "pictures/benefit.png", "pictures/crops.png", "pictures/fakes-1.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / "cells").exists()
    rows = rows_of(folder / "benefit.csv")
    assert [(row["number"], row["arm"]) for row in rows] == [
        ("0", "fakes+tip"),
        ("2", "nothing"),
        ("2", "fakes+tip"),
        ("2", "live"),
    ]
    assert all(0 <= float(row["AP50"]) <= 1 for row in rows)
    assert [row["gain"] == "" for row in rows] == [True, False, False, False]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["number"], row["arm"], row["epoch"]) for row in metrics] == [
        (int(row["number"]), row["arm"], epoch) for row in rows for epoch in (1, 2)
    ]
    assert len(done["verdict"]) >= 3
