"""Recipes are files: found, read without being run, copied, loaded."""

from pathlib import Path

import pytest

from tests.cli.conftest import TOY, modules_after
from tlkit.cli.recipe_files import find_recipes, load_recipe, read_recipe
from tlkit.errors import UsageFault

SHIPPED = Path(__file__).resolve().parents[2] / "recipes"

ROOT = Path(__file__).resolve().parents[2]


def test_one_s_own_recipes_come_first_and_are_marked(kitchen, tlkit_command):
    (kitchen / "recipes" / "fine_tune.py").write_text(TOY)
    found = find_recipes()
    assert found["toy"].yours
    assert found["toy"].summary == "Count to a number, slowly."
    assert found["fine-tune"].yours
    assert found["fine-tune"].path == Path("recipes/fine_tune.py")
    assert not found["small-cnn"].yours
    lines = tlkit_command("recipes").out.splitlines()
    assert "toy Count to a number, slowly. (yours)" in [" ".join(line.split()) for line in lines]
    assert [line.split()[0] for line in lines if line[0] != " "] == sorted(found)
    assert "Count to a number, slowly. (yours)" in tlkit_command("run").out


def test_in_a_clone_the_shipped_recipes_are_not_called_yours(monkeypatch, tmp_path):
    monkeypatch.chdir(SHIPPED.parent)
    assert {recipe.yours for recipe in find_recipes().values()} == {False}
    monkeypatch.chdir(tmp_path)  # a clone beside an installed tlkit: other folder, same text
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "fine_tune.py").write_bytes((SHIPPED / "fine_tune.py").read_bytes())
    recipe = find_recipes()["fine-tune"]
    assert (recipe.yours, recipe.path) == (False, Path("recipes/fine_tune.py"))


def test_listing_runs_nothing(kitchen, tlkit_command):
    (kitchen / "recipes" / "trap.py").write_text(f"{TOY}\nopen('sprung', 'w')")
    (kitchen / "recipes" / "cake.py").write_text("'''A cake of another kind.'''\nopen('sprung', 'w')")
    (kitchen / "recipes" / "_draft.py").write_text(TOY)
    (kitchen / "recipes" / "torn.py").write_text("def torn(:\n")
    said = tlkit_command("recipes", "--json")
    rows = {row["name"]: row for row in said.json["recipes"]}
    shipped = {p.stem.replace("_", "-") for p in (ROOT / "recipes").glob("[a-z]*.py")}
    assert set(rows) == {*shipped, "torn", "toy", "trap"}
    assert rows["torn"]["summary"].startswith("Cannot be read: line 1, ")
    assert rows["trap"] == {
        "name": "trap",
        "summary": "Count to a number, slowly.",
        "path": "recipes/trap.py",
        "yours": True,
    }
    assert not (kitchen / "sprung").exists()


def test_a_recipe_is_copied_once_and_runs(kitchen, tlkit_command):
    said = tlkit_command("copy", "toy", "mine.py")
    assert (said.code, said.err) == (0, "mine.py is yours now: tlkit run ./mine.py --help\n")
    assert (kitchen / "mine.py").read_text() == TOY
    (kitchen / "mine.py").write_text(TOY.replace("Count to", "Count down from"))
    said = tlkit_command("copy", "toy", "mine.py")
    assert (said.code, said.err.splitlines()[0]) == (2, "Error: mine.py is there already.")
    assert "Count down from a number, slowly." in tlkit_command("run", "./mine.py", "--help").out
    assert tlkit_command("run", "./mine.py", "photos").out.startswith("run: saved_models/mine-photos/1\n")


@pytest.mark.parametrize(
    ("target", "problem"),
    [("mine", "mine does not end in .py."), ("nowhere/mine.py", "nowhere/mine.py cannot be written: ")],
)
def test_a_copy_that_cannot_be(target, problem, kitchen, tlkit_command):
    said = tlkit_command("copy", "toy", target)
    assert said.code == 2
    assert problem in said.err


def test_a_copy_into_a_folder_keeps_its_name(kitchen, tlkit_command):
    (kitchen / "mine").mkdir()
    assert tlkit_command("copy", "fine-tune", "mine").code == 0
    assert (kitchen / "mine" / "fine_tune.py").read_bytes() == (SHIPPED / "fine_tune.py").read_bytes()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "There is no file mine.py."),
        ("import tlkit", "mine.py has no recipe."),
        ("import nonsense\n" + TOY, "mine.py cannot be loaded: No module named 'nonsense'."),
        (TOY + TOY.replace("def toy", "def toy2"), "mine.py has 2 recipes."),
        (TOY.replace('"--ending"', '"--seed"'), "The recipe defines seed, which every recipe has already."),
        ("def (", "mine.py cannot be loaded: invalid syntax"),
    ],
)
def test_a_file_that_is_no_recipe(text, problem, kitchen, tlkit_command):
    if text:
        (kitchen / "mine.py").write_text(text)
    said = tlkit_command("run", "mine.py", "photos")
    assert said.code == 2
    assert problem in said.err


@pytest.mark.parametrize(
    "name", ["fine-tune", "small-cnn", "extract-features", "compare-backbones", "look-inside"]
)
def test_the_help_of_a_shipped_recipe_needs_no_tensorflow(name):
    said, modules = modules_after("run", name, "--help")
    assert f"Usage: tlkit run {name} [OPTIONS]" in said
    assert {"tensorflow", "keras"} & modules == set()


def test_a_source_that_is_not_there_is_told_before_tensorflow_loads(kitchen):
    said, modules = modules_after("run", "fine-tune", "nowhere", "--json")
    assert '"kind": "DataFault"' in said
    assert {"tensorflow", "keras"} & modules == set()
    assert not (kitchen / "saved_models" / "fine-tune-nowhere").exists()


def test_loading_names_the_command_after_its_file(kitchen):
    (kitchen / "my_own_way.py").write_text(TOY)
    command = load_recipe(read_recipe(Path("my_own_way.py")))
    assert command.name == "my-own-way"
    assert command.help.startswith("Count to a number")
    with pytest.raises(UsageFault):
        read_recipe(Path("my_own_wax.py"))
