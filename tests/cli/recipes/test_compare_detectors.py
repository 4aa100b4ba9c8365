"""compare-detectors: what is left out before anything is trained, what a stop keeps, what joins, and one in earnest."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import run_recipe
from tests.tasks.studies.test_detector_table import card
from tlkit.cli import own_process
from tlkit.cli.main import main
from tlkit.cli.options.comparison import read_own
from tlkit.cli.own_process import call_command, detector_recipes, outcome, wait_until_free
from tlkit.cli.recipe_files import find_recipes
from tlkit.core.run_folder import RunFolder
from tlkit.errors import UsageFault
from tlkit.tasks.detection.table import DETECTORS
from tlkit.tasks.studies.comparison import Outcome


class StandIn:
    """Answers in place of processes: runs are cards, images are grey.

    Attributes:
        asked: [n] words of each command.
        faults: Detector -> what its training ends with.
        refusals: Detector -> what its dry run ends with.
        stop: The detector at which the person stops everything.
    """

    def __init__(self) -> None:
        self.asked, self.faults, self.refusals, self.stop = [], {}, {}, ""

    def __call__(self, words, _said=None, environment=None):
        self.asked.append(list(words))
        verb, *rest = words
        if verb == "predict":
            assert Path(environment["XDG_CACHE_HOME"]).is_dir()
            assert (
                len({word for word in rest if word.endswith(".png")}) == 16
            )  # one twice would be asked about once
            return Outcome({"milliseconds": 12.5})
        if verb == "compare":
            Image.new("L", (300, 200), 200).save(rest[rest.index("--draw") + 1])
            return Outcome({"runs": []})
        if verb == "resume":
            return self._end(Path(rest[0]))
        recipe, runs = rest[0], Path(rest[rest.index("--runs") + 1])
        detector = recipe.removeprefix("detect-")
        if "--dry-run" in words:
            why = self.refusals.get(detector, "")
            return Outcome({} if why else {"status": "dry-run"}, why)
        folder = RunFolder.start(runs, rest[rest.index("--name") + 1])
        (folder.path / "options.json").write_text(json.dumps({"recipe": recipe}))
        if detector == self.stop:
            raise KeyboardInterrupt
        if why := self.faults.get(detector):
            return Outcome({}, why)
        return self._end(folder.path)

    def _end(self, path: Path) -> Outcome:
        study = max(
            path.parents[1].glob("compare-detectors-*/*/split.csv"), key=lambda file: file.stat().st_mtime
        )
        recipe = json.loads((path / "options.json").read_text())["recipe"]
        data = {
            "split_sha256": hashlib.sha256(study.read_bytes()).hexdigest(),
            "parts": {"training": {"n": 18}},
        }
        made = card(recipe, {"detect-yolov1": 0.1}.get(recipe, 0.6), data=data)
        (path / "card.json").write_text(json.dumps(made))
        return Outcome({"run": str(path.rename(path.with_name(path.name.removeprefix("unfinished-"))))})

    def trained(self):
        return [words[1] for words in self.asked if words[0] == "run" and "--dry-run" not in words]


@pytest.fixture
def standing(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr(own_process, "call_command", stand_in)
    return stand_in


def compare(bags, runs, *options, code=0):
    return run_recipe("compare-detectors", bags, "--runs", runs, *options, code=code)


def test_every_recipe_of_a_detector_can_be_compared_and_no_list_is_kept():
    found = detector_recipes()
    assert set(DETECTORS) | {"rcnn", "slide-window"} <= set(found)
    assert set(found.values()) == {name for name in find_recipes() if name.startswith("detect-")} | {
        "slide-window"
    }


def test_rows_pictures_and_a_sentence_for_each_that_has_none(standing, bags, tmp_path):
    standing.refusals["rcnn"] = "Selective Search needs OpenCV. pip install tlkit[proposals]"
    standing.faults["retinanet"] = "Training diverged."
    names = "yolov1,rcnn,retinanet,yolov8"
    done = compare(
        bags,
        tmp_path / "runs",
        "--detectors",
        names,
        "--minutes",
        15,
        "--seed",
        3,
        "--own",
        "yolov1: --cells 4",
    )
    assert (done["best"], done["AP50"], done["n"]) == ("yolov8", 0.6, 400)
    assert [row["detector"] for row in done["rows"]] == ["yolov8", "yolov1"]
    why = {one["detector"]: one["why"] for one in done["without"]}
    assert list(why) == ["rcnn", "retinanet"]
    assert "tlkit[proposals]" in why["rcnn"]
    assert why["retinanet"] == "Training diverged."
    folder = Path(done["run"])
    for name in ("table.csv", "table.md", "table.json", "report.html", "card.json", "split.csv", "pictures/found.png",
                 "pictures/ap50.png", "pictures/time.png"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / "checkpoints").exists()
    with (folder / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["detector"], row["milliseconds"]) for row in rows[:2]] == [
        ("yolov8", "12.5"),
        ("yolov1", "12.5"),
    ]
    page = (folder / "report.html").read_text()
    assert "What it costs" in page
    assert "Training diverged." in page
    told = json.loads((folder / "card.json").read_text())
    assert [Path(run).parent.name for run in told["runs"]] == [
        f"compare-detectors-bags-1-{n}" for n in ("yolov8", "yolov1")
    ]
    checks = [number for number, words in enumerate(standing.asked) if "--dry-run" in words]
    assert checks == list(range(4))  # before anything is trained
    first = standing.asked[4]
    assert first[:3] == ["run", "detect-yolov1", str(bags)]
    for pair in (("--cells", "4"), ("--minutes", "15.0"), ("--seed", "3")):
        assert pair == tuple(first[first.index(pair[0]) :][:2])


def test_a_comparison_that_is_stopped_goes_on_with_what_it_had_begun(standing, bags, tmp_path):
    standing.stop = "yolov2"
    options = ("--detectors", "yolov1,yolov2,yolov3", "--minutes", 15, "--runs", tmp_path)
    stopped = CliRunner().invoke(main, ["run", "compare-detectors", str(bags), *map(str, options)])
    assert stopped.exit_code == 130
    assert standing.trained() == ["detect-yolov1", "detect-yolov2"]
    standing.asked.clear()
    folder = next(tmp_path.glob("compare-detectors-bags/unfinished-1"))
    resumed = CliRunner().invoke(main, ["resume", str(folder), "--json"])
    assert resumed.exit_code == 0, resumed.stderr + resumed.stdout
    assert standing.trained() == ["detect-yolov3"]
    assert [words[0] for words in standing.asked[:1]] == ["resume"]
    assert len([words for words in standing.asked if words[0] == "predict"]) == 2
    assert [row["detector"] for row in json.loads(resumed.stdout)["rows"]] == ["yolov2", "yolov3", "yolov1"]


def test_runs_join_without_being_trained_and_others_have_no_row(standing, bags, tmp_path):
    first = compare(bags, tmp_path, "--detectors", "yolov1,yolov8", "--minutes", 15)
    strange = Path(
        compare(bags, tmp_path, "--detectors", "yolov3", "--minutes", 15, "--seed", 5)["rows"][0]["run"]
    )
    standing.asked.clear()
    options = ("--detectors", "retinanet", "--minutes", 8, "--add", first["run"], "--add", strange)
    done = compare(bags, tmp_path, *options)
    assert standing.trained() == ["detect-retinanet"]
    assert {row["detector"]: row["differs"] for row in done["rows"]} == {
        "yolov8": "15 minutes",
        "yolov1": "15 minutes",
        "retinanet": "15 minutes",  # the stand-in's card says so of each
    }
    assert [one["detector"] for one in done["without"]] == [str(strange)]
    assert "other parts" in done["without"][0]["why"]
    standing.asked.clear()
    table = compare(bags, tmp_path, "--detectors", "none", "--add", first["run"])
    assert [row["differs"] for row in table["rows"]] == ["", ""]  # marked is what differs from the most
    assert standing.trained() == []


def test_a_recipe_of_one_s_own_without_minutes_is_told(standing, bags, tmp_path, monkeypatch):
    own = tmp_path / "recipes" / "detect_mine.py"
    own.parent.mkdir()
    own.write_text(
        '"""Find nothing.\n\n    tlkit run detect-mine bags/\n\nResult: none."""\n'
        "import click\nimport tlkit\n\n\n"
        "@tlkit.recipe(split=True)\n@click.argument('source')\ndef detect_mine(run, source):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    refused = compare(bags, tmp_path, "--detectors", "mine", code=2)
    assert "mine has no --minutes" in refused["error"]["problem"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--detectors", "yolo8"), "yolo8 is no detector of a recipe. Did you mean yolov8"),
        (("--detectors", "none"), "There is nothing to compare."),
        (("--add", "nobody"), "There is no run 'nobody'"),
        (("--own", "yolo8: --cells 3"), "is no detector with options"),
        (("--minutes", 0), "--minutes"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_trained(standing, options, words, bags, tmp_path):
    refused = compare(bags, tmp_path, *options, code=2)["error"]
    assert words in f"{refused['problem']} {refused['remedy']}"
    assert standing.trained() == []


def test_a_dry_run_names_what_would_be_trained(standing, bags, tmp_path):
    standing.refusals["yolov1"] = "No such option '--cels'."
    planned = compare(bags, tmp_path / "runs", "--detectors", "yolov1,yolov8", "--minutes", 7, "--dry-run")
    assert planned["detectors"] == ["yolov8"]
    assert planned["left out"] == {"yolov1": "No such option '--cels'."}
    assert planned["time"].startswith("7 minutes of learning")
    assert not (tmp_path / "runs").exists()


def test_own_options_are_words_of_one_recipe():
    assert read_own(("yolov1: --cells 4", "yolov1: --form paper")) == {
        "yolov1": ("--cells", "4", "--form", "paper")
    }
    with pytest.raises(UsageFault, match="no detector with options"):
        read_own(("yolov1",))


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        ((0, '{"a": 1}\n', ""), ""),
        ((2, '{"error": {"problem": "No.", "remedy": "Yes."}}\n', "Error: No."), "No. Yes."),
        ((1, "", "ValueError: x"), "Its process ended with code 1: ValueError: x"),
        ((-9, "", ""), "Its process was ended by signal 9, as for want of memory."),
        ((0, "", ""), "Its process ended with code 0."),
    ],
)
def test_however_a_process_ends_there_is_an_answer_or_a_sentence(ended, fault):
    said = outcome(*ended)
    assert said.fault == fault
    assert bool(said.answer) != bool(fault)


def test_a_process_of_its_own_answers_and_refuses(tmp_path):
    said = []
    found = call_command(["runs", "--runs", str(tmp_path)], said.append)
    assert found.answer["runs"] == []
    refused = call_command(["predict", "nobody", "x.png", "--runs", str(tmp_path)])
    assert "There is no run 'nobody'" in refused.fault


def test_a_process_ends_when_the_one_that_began_it_is_killed(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "toy.py").write_text(
        '"""Sleep.\n\n    tlkit run toy\n"""\nimport os\nimport time\n\nimport tlkit\n\n\n@tlkit.recipe()\ndef toy(run):\n'
        '    (run.folder.path / "pid").write_text(str(os.getpid()))\n    time.sleep(60)\n'
    )
    program = "from tlkit.cli.own_process import call_command; call_command(['run', 'toy'])"
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    file = tmp_path / "saved_models" / "toy" / "unfinished-1" / "pid"
    wait_for(lambda: file.is_file() and file.read_text())
    parent.kill()
    parent.wait()
    wait_until_free(file.parent, 20)
    folder = RunFolder.reopen(file.parent)
    folder.lock()  # nobody is at work in it
    folder.release()
    assert "Stopped." in (file.parent / "log.txt").read_text()


def wait_for(true, patience=120.0):
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- in earnest ---


@pytest.mark.slow
def test_two_detectors_killed_between_them_gone_on_with_and_joined(bags, tmp_path):
    """The whole of it through the command line; SIGKILL comes while the second one learns."""
    runs = tmp_path / "runs"
    own = "--batch 4 --backbone mobilenet-v2-0.35 --crop 0"
    words = ["run", "compare-detectors", str(bags), "--runs", str(runs), "--detectors", "yolov8,retinanet", "--minutes",
             "0.02", "--image-size", "96", "--weights", "none", "--backbone", "mobilenet-v2-0.35", "--draw", "2",
             "--own", f"yolov8: {own}", "--own", f"retinanet: {own}", "--json"]  # fmt: skip
    program = "import sys; from tlkit.cli.main import main; main(sys.argv[1:])"
    study = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    second = runs / "compare-detectors-bags-1-retinanet" / "unfinished-1"
    wait_for(lambda: (second / "checkpoints").is_dir() or study.poll() is not None, 1500)
    os.kill(study.pid, signal.SIGKILL)
    study.communicate()
    first = runs / "compare-detectors-bags-1-yolov8" / "1"
    made = (first / "model.keras").stat().st_mtime_ns
    assert second.is_dir()
    resumed = CliRunner().invoke(main, ["resume", "compare-detectors-bags", "--runs", str(runs), "--json"])
    assert resumed.exit_code == 0, resumed.stderr + resumed.stdout
    done = json.loads(resumed.stdout)
    assert {row["detector"] for row in done["rows"]} == {"yolov8", "retinanet"}
    assert done["without"] == []
    assert (first / "model.keras").stat().st_mtime_ns == made
    assert second.with_name("1").is_dir()
    folder = Path(done["run"])
    with Image.open(folder / "pictures" / "found.png") as image:
        assert image.size[0] > 1000
    rows = json.loads((folder / "table.json").read_text())["rows"]
    for row in rows:
        assert row["milliseconds"] > 0
        assert row["seconds_a_step"] > 0
        assert (row["minutes"], row["differs"]) == (0.02, "")
    joined = run_recipe(
        "compare-detectors", *words[2:-1], "--detectors", "none", "--add", "compare-detectors-bags"
    )
    assert [row["AP50"] for row in joined["rows"]] == [row["AP50"] for row in done["rows"]]
    assert len(list(runs.glob("compare-detectors-bags-*"))) == 2  # nothing was trained
