"""Recipes of an earlier version, unchanged: they load, their calls fit what is there now, they run, resume and repeat.

old_runs/recipes.tar.xz holds the recipes of commit 1c9d721, file by file.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import tarfile
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import tlkit
from tests.old_runs.make import HERE, RUNS, unpack
from tlkit import compat
from tlkit.cli.main import main
from tlkit.cli.recipe_files import load_recipe, read_recipe

ARCHIVE = HERE / "recipes.tar.xz"
with tarfile.open(ARCHIVE) as packed:
    NAMES = sorted(Path(name).stem for name in packed.getnames() if name.endswith(".py") and "__" not in name)
EARLIER = {f"tlkit.cli.{name}" for name in (
    "anatomy_chapters", "benefit_chapters", "choices", "composite_chapters", "detection_chapters", "detection_choices",
    "game_chapters", "game_choices", "generate_chapters", "projection_chapters", "synthesis_chapters",
    "synthesis_results", "threat_chapters", "tip_chapters", "window_chapters")}  # fmt: skip
PUBLIC = {"Phase", "contest", "deal", "extract", "fit", "fit_head", "plan", "prepare_classifier", "prepare_extractor",
          "prepare_small_cnn", "recipe", "serve", "show_contest", "show_layers", "taste", "write_features"}  # fmt: skip


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The folder `recipes` as it was."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as packed:
        unpack(packed, folder)
    return folder / "recipes"


def imported(tree):
    """Alias -> the module that it stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tlkit.cli":
            found |= {alias.asname or alias.name: f"tlkit.cli.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name: alias.name for alias in node.names if alias.name == "tlkit"}
    return found


def used(tree):
    """(module, name, the call or None) of everything of ours that a recipe names."""
    aliases = imported(tree)
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield aliases[node.value.id], node.attr, calls.get(id(node))


def test_the_table_has_all_that_those_recipes_import(earlier):
    trees = [ast.parse((earlier / f"{name}.py").read_text(encoding="utf-8")) for name in NAMES]
    assert len(NAMES) == 16
    named = [(module, name) for tree in trees for module, name, _ in used(tree)]
    assert {module for module, _ in named} - {"tlkit"} == EARLIER
    assert {name for module, name in named if module == "tlkit"} == PUBLIC
    assert set(compat.ROWS) >= EARLIER


@pytest.mark.parametrize("earlier_name", compat.ROWS)
def test_every_row_leads_somewhere(earlier_name):
    place = compat.ROWS[earlier_name].place
    home, _, name = place.rpartition(".")
    if earlier_name in EARLIER:
        assert import_module(place).__name__ == place
        assert "An earlier name" in import_module(earlier_name).__doc__
    else:
        assert hasattr(import_module(home), name)


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_recipe_loads_and_its_calls_fit(name, earlier):
    command = load_recipe(read_recipe(earlier / f"{name}.py"))
    assert command.name == name.replace("_", "-")
    for module, own, call in used(ast.parse((earlier / f"{name}.py").read_text(encoding="utf-8"))):
        thing = getattr(tlkit if module == "tlkit" else import_module(module), own)
        if call is None:
            continue
        spread = any(isinstance(one, ast.Starred) for one in call.args) or None in {
            k.arg for k in call.keywords
        }
        bind = inspect.signature(thing).bind_partial if spread else inspect.signature(thing).bind
        plain = [argument for argument in call.args if not isinstance(argument, ast.Starred)]
        bind(*plain, **{keyword.arg: keyword.value for keyword in call.keywords if keyword.arg})


def test_the_notice_is_one_line_said_once(earlier):
    code = (
        "from pathlib import Path; from tlkit.cli.recipe_files import load_recipe, read_recipe\n"
        f"for name in ('fine_tune', 'detect_yolov8'): load_recipe(read_recipe(Path({str(earlier)!r}) / f'{{name}}.py'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr.splitlines()) == ("", [compat.NOTICE])


def test_a_name_that_never_was_is_no_name():
    with pytest.raises(ModuleNotFoundError, match=r"tlkit\.cli\.chapter"):
        import_module("tlkit.cli.chapter")
    with pytest.raises(AttributeError, match="has no attribute 'receipt'"):
        tlkit.receipt  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'receipt'"):
        import_module("tlkit.cli.choices").receipt  # noqa: B018


def test_earlier_keywords_reach_the_present_ones(monkeypatch):
    table = "tlkit.count_of  tlkit.core.text.count  amount=number\n"
    monkeypatch.setattr(compat, "ROWS", compat.rows(table))
    assert tlkit.count_of(amount=2, noun="image") == "2 images"
    assert tlkit.count_of(1, noun="image") == "1 image"


def call(*words):
    result = CliRunner().invoke(main, [*map(str, words), "--json"])
    assert result.exit_code == 0, f"{words}\n{result.stderr}{result.stdout}"
    return json.loads(result.stdout)


def run_and_repeat(earlier, name, words):
    """Run a recipe's file by its path, and the run once more."""
    made = call("run", f"./{earlier.relative_to(Path.cwd()) / name}.py", *words, "--runs", "runs")
    run = Path(made["run"])
    assert (run / "recipe.py").read_bytes() == (earlier / f"{name}.py").read_bytes()
    assert call("repeat", run, "--runs", "runs", "--discard")["status"] == "same"


def test_an_earlier_recipe_runs_and_repeats(earlier, make_folder, monkeypatch):
    """Resuming with the run's own recipe is tried in test_old_runs.py."""
    source = make_folder("photos", bar=20, disc=20)
    monkeypatch.chdir(earlier.parent)
    _, _, *words = RUNS["does-it-help"].words
    run_and_repeat(earlier, "does_it_help", [source, *words])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fine-tune", "small-cnn", "fit-head", "synthesize-dcgan", "synthesize-stylegan"]
)
def test_every_earlier_recipe_runs_and_repeats(name, earlier, make_folder, monkeypatch):
    monkeypatch.setattr("tlkit.tasks.synthesis.evaluate_workflow.SOUGHT", 2)
    source = make_folder("photos", bar=20, disc=20, frame=20)
    monkeypatch.chdir(earlier.parent)
    _, _, *words = RUNS[name].words
    run_and_repeat(earlier, name.replace("-", "_"), [source, *words])
