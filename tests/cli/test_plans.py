"""What a dry run prints: a plan for people, the time that a run will take, and no drawing of built-in bags."""

from __future__ import annotations

import ast
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, run_recipe, tiny_backbone
from tlkit.cli.plans import show_plan
from tlkit.core.console import Console
from tlkit.core.files import cache_folder
from tlkit.data.xray import bags as xray_bags
from tlkit.data.xray.drawing import draw_first
from tlkit.data.xray.source_options import BagSet
from tlkit.engine.training import estimates
from tlkit.engine.training.settings import Phase

ROOT = Path(__file__).resolve().parents[2]
PLAN = {
    "classes": ["gun", "other"],
    "images": {"training": 1400, "validation": 2, "test": 4},
    "model": {
        "backbone": "resnet50",
        "weights": {"kind": "none", "source": "random", "sha256": "ab"},
        "image_size": 224,
        "parameters": 1179,
        "temperature": 1.0,
        "anchors": {"base": 2.5, "propose": False, "ratios": [0.5, 1]},
    },
    "phases": [
        {"name": "head", "stage": "head", "epochs": 3, "learning_rate": 0.001},
        {"name": "all", "stage": "all", "epochs": 0, "learning_rate": 5e-05},
    ],
    "time": "about 5 seconds: so it is.",
    "warnings": ["One is like another.", "Two are few."],
    "tip": None,
    "added": {},
}
SHOWN = """\
classes   gun, other
images    training 1,400, validation 2, test 4
model     resnet50, weights random, 224 pixels, 1,179 parameters, anchors (base 2.5, propose no, ratios 0.5 1)
phases    head: at most 3 epochs, rate 0.001
          all: left out
time      about 5 seconds: so it is.
warnings  One is like another.
          Two are few.
"""


def test_a_plan_is_one_heading_a_line(capsys):
    show_plan(PLAN)
    assert capsys.readouterr().out == SHOWN


@pytest.mark.parametrize(("columns", "longest"), [(80, 80), (200, 100)])
def test_a_plan_is_folded_to_the_terminal(columns, longest, capsys, monkeypatch):
    monkeypatch.setattr(
        "tlkit.cli.plans.shutil.get_terminal_size", lambda: type("", (), {"columns": columns})
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_plan(PLAN)
    lines = capsys.readouterr().out.splitlines()
    assert 60 < max(map(len, lines)) <= longest
    assert " ".join(" ".join(lines).split()) == " ".join(SHOWN.split())
    assert all(
        line[:8].strip() in {"", "classes", "images", "model", "phases", "time", "warnings"} for line in lines
    )


def test_images_are_counted_as_they_go_through_the_network():
    parts = {"training": 10, "validation": 4, "test": 6}
    phases = [Phase("head", "head", 5, 0.1), Phase("top", "top", 0, 0.1), Phase("all", "all", 2, 0.1)]
    # all evaluated, two views of each training image and validation once, twice 10 learned (4 times) and 4 evaluated
    assert estimates.passes(parts, phases, views=2, cached_head=True) == 20 + (2 * 10 + 4) + 2 * (4 * 10 + 4)
    assert estimates.passes(parts, phases) == 20 + (5 + 2) * (4 * 10 + 4)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "1 second"),
        (1.4, "1 second"),
        (89, "89 seconds"),
        (119, "2 minutes"),
        (5399, "90 minutes"),
        (5400, "1.5 hours"),
    ],
)
def test_a_time_is_told_roughly(seconds, told):
    assert estimates.told(seconds, "x.") == f"about {told}: x."


def test_a_time_is_that_of_a_second_call(monkeypatch):
    """The network takes 100 s at first, and 2 s for 8 images then."""
    clock = iter([0.0, 2.0])
    monkeypatch.setattr(estimates, "perf_counter", lambda: next(clock))
    calls = []

    class Featurizer:
        image_size = 4

        def __call__(self, pixels):
            calls.append(pixels.shape)

    said = estimates.feature_time(Featurizer(), 320)
    assert calls == [(32, 4, 4, 3)] * 2
    assert said.startswith("about 20 seconds: 32 images took 2 s through the network, on this machine")


def test_a_dry_run_of_a_classifier_reads_well_and_tells_the_time(make_folder, tmp_path, tlkit_command):
    source = make_folder("photos", bar=6, disc=6)
    said = tlkit_command("run", "small-cnn", source, "--runs", tmp_path / "runs", "--dry-run")
    lines = said.out.splitlines()
    assert lines[:2] == ["classes  bar, disc", "images   training 8, validation 2, test 2"]
    assert "phases   training: at most 100 epochs, rate 0.002" in lines
    assert any(line.startswith("time     about ") for line in lines)
    assert "{" not in said.out
    assert not (tmp_path / "runs").exists()


def test_every_recipe_s_plan_tells_the_time_or_why_not():
    called = set()
    for path in (ROOT / "recipes").glob("[a-z]*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        stops = [call for call in calls if getattr(call.func, "attr", "") == "stop_if_dry"]
        assert len(stops) == 1, path
        called.add(stops[0].args[0].func.attr)
    plans = [
        (path.name, node)
        for path in (ROOT / "tlkit" / "tasks").rglob("*workflow.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.partition("_")[0] == "plan"
    ]
    assert called <= {node.name for _, node in plans} | {"plan"}
    for name, node in plans:
        assert '"time"' in ast.unparse(node).replace("'", '"'), f"{name}: {node.name}"


# --- built-in bags that are not drawn yet ---


@pytest.fixture
def undrawn(tmp_path, monkeypatch):
    """An empty cache, and bags of 96 pixels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw = xray_bags.draw_bag
    monkeypatch.setattr(xray_bags, "draw_bag", lambda index, seed=0, *_: draw(index, seed, 96))
    return cache_folder() / "xray"


def test_a_dry_run_does_not_draw_the_bags_and_counts_all_of_them(
    undrawn, monkeypatch, tmp_path, tlkit_command
):
    tiny_backbone(monkeypatch)
    plan = run_recipe("detect-yolov8", "xray:bags", *SMALL, "--runs", tmp_path / "runs", "--dry-run")
    assert plan["pictures"] == {"training": 1400, "validation": 200, "test": 400}
    assert plan["classes"] == ["blade", "gun", "knife", "shuriken"]
    assert plan["time"].startswith("about ")
    assert not undrawn.exists()
    said = tlkit_command("run", "composite-threats", "nowhere/", "xray:bags", "--dry-run")
    assert said.code == 3  # the crops are read first
    assert not undrawn.exists()


def test_bags_are_drawn_with_a_bar_and_once(undrawn, monkeypatch, capsys):
    bars = []

    class Watched(Console):
        @contextmanager
        def progress(self, text, total):
            bars.append([text, total])
            yield bars[-1].append

    draw_first(Watched(), "photos/")
    assert bars == []
    draw_first(Watched(), "xray:bags:count=2")
    assert bars == [["drawing", 2, 1, 2]]
    said = capsys.readouterr().err
    assert "xray:bags:count=2 is drawn into the cache, once: 2 images, 0 MB, a minute or two." in said
    draw_first(Watched(), "xray:bags:seed=0,count=2")
    assert len(bars) == 1
    draw_first(Watched(), "xray:bags:seed=1,count=2")
    assert len(bars) == 2
    assert [len(list(folder.rglob("*.png"))) for folder in undrawn.iterdir()] == [2, 2]


@pytest.mark.parametrize("chosen", [BagSet(), BagSet(7, 400)])
def test_the_sample_has_every_part_and_class(undrawn, tmp_path, chosen):
    times = xray_bags.write_sample(tmp_path / "sample", chosen)
    rows = (tmp_path / "sample" / "boxes.csv").read_text().splitlines()[1:]
    files = {row.split(",")[0] for row in rows}
    assert times * len(files) == chosen.count
    groups = {row.split(",")[6] for row in rows}
    assert len(groups) == len(xray_bags.PARTS)
    assert all(group.startswith("seed-7-") == bool(chosen.seed) for group in groups)
    assert {row.split(",")[7] for row in rows} == {"training", "validation", "test"}
    assert {number % len(xray_bags.PARTS) for number in xray_bags.SAMPLE} == set(range(len(xray_bags.PARTS)))
    assert len(xray_bags.SAMPLE) == len(xray_bags.PARTS)
    learned = {row.split(",")[5] for row in rows if row.split(",")[7] == "training"}
    assert learned == {"", *xray_bags.CLASSES}


def test_of_a_small_set_the_sample_is_all_of_it_and_faulty_options_have_none(
    undrawn, tmp_path, tlkit_command
):
    assert xray_bags.write_sample(tmp_path / "sample", BagSet(3, 5)) == 1
    assert len(list((tmp_path / "sample").rglob("*.png"))) == 5
    said = tlkit_command("run", "detect-yolov8", "xray:bags:count=0", "--dry-run")
    assert said.code == 2
    assert said.err == "Error: count=0 of xray:bags:count=0 is below 1.\n  Use xray:bags:count=400, say.\n"
    assert not undrawn.exists()


def test_of_many_classes_a_plan_names_a_few(capsys):
    show_plan({"classes": [f"class {k}" for k in range(2000)]})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("class 18, class 19 and 1,980 more")
