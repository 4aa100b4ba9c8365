"""Recipes are files: found, read without being run, copied, loaded."""

from pathlib import Path

import pytest

from tests.cli.conftest import TOY, modules_after
from tlkit.cli.recipe_files import find_recipes, load_recipe, read_recipe
from tlkit.errors import UsageFault

SHIPPED = Path(__file__).resolve().parents[2] / "recipes"

ROOT = Path(__file__).resolve().parents[2]


TRAP = f"{TOY}\nPath('sprung').touch()\n"


def test_one_s_own_recipes_are_marked_and_hide_none(kitchen, tlkit_command):
    (kitchen / "recipes" / "fine_tune.py").write_text(TRAP)
    found = find_recipes()
    assert (found["toy"].yours, found["toy"].summary) == (True, "Count to a number, slowly.")
    assert (found["fine-tune"].yours, found["fine-tune"].path) == (False, SHIPPED / "fine_tune.py")
    assert found["fine-tune"].rival.path == Path("recipes/fine_tune.py")
    assert not found["small-cnn"].yours
    for said in (tlkit_command("recipes"), tlkit_command("run")):
        text = " ".join(said.out.split())
        assert "toy Count to a number, slowly. (yours)" in text
        assert (
            "./recipes/fine_tune.py Count to a number, slowly. (yours: tlkit run --yours fine-tune; fine-tune alone "
            "is refused)"
        ) in text
    rows = [row for row in tlkit_command("recipes", "--json").json["recipes"] if row["name"] == "fine-tune"]
    assert [(row["yours"], Path(row["path"]).is_absolute()) for row in rows] == [(False, True), (True, False)]
    assert not (kitchen / "sprung").exists()


@pytest.mark.parametrize("file", ["fine_tune.py", "fine-tune.py"])
def test_a_name_that_two_recipes_have_is_refused_until_one_is_meant(file, kitchen, tlkit_command):
    (kitchen / "recipes" / file).write_text(TRAP)
    for ending in (["photos"], ["--help"]):
        said = tlkit_command("run", "fine-tune", *ending)
        assert (said.code, said.out) == (2, "")
        assert said.err == (
            f"Error: There are two recipes fine-tune: ./recipes/{file} is not the one that tlkit ships.\n"
            f"  tlkit run --yours fine-tune or tlkit run ./recipes/{file} runs that file, tlkit run --shipped fine-tune "
            "runs tlkit's.\n"
        )
    shipped = tlkit_command("run", "--shipped", "fine-tune", "--help")
    assert (shipped.code, "--backbone" in shipped.out) == (0, True)
    assert not (kitchen / "sprung").exists()
    assert tlkit_command("run", "--yours", "fine-tune", "photos").out.startswith(
        "run: saved_models/fine-tune-photos/1\n"
    )
    assert (kitchen / "sprung").exists()
    assert tlkit_command("run", f"./recipes/{file}", "photos").out.startswith(
        "run: saved_models/fine-tune-photos/2\n"
    )
    log = (kitchen / "saved_models" / "fine-tune-photos" / "1" / "log.txt").read_text()
    assert log.partition("\n")[0].endswith("tlkit run --yours fine-tune photos")
    said = tlkit_command("repeat", "fine-tune-photos/1")
    assert (said.code, said.err.count("Note:")) == (0, 0)
    (kitchen / "recipes" / file).write_text(TRAP + "# changed\n")
    assert "Note: the recipe fine-tune has changed since; the run's own copy is used." in (
        tlkit_command("repeat", "fine-tune-photos/1").err
    )


def test_a_run_of_one_s_own_goes_on_with_its_copy(kitchen, tlkit_command):
    (kitchen / "recipes" / "fine_tune.py").write_text(TOY)
    said = tlkit_command("run", "--yours", "fine-tune", "photos", "--ending", "late")
    assert said.code == 1
    (kitchen / "recipes" / "fine_tune.py").write_text("raise SystemExit(9)")
    assert tlkit_command("resume", "fine-tune-photos").out.startswith(
        "run: saved_models/fine-tune-photos/1\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--yours", "--shipped", "toy"], "Use just one of --yours and --shipped."),
        (["--yours", "fine-tune"], "--yours: ./recipes has no fine-tune."),
        (["--shipped", "toy"], "--shipped: tlkit ships no toy."),
        (["--shipped", "./recipes/toy.py"], "--shipped takes a name, and ./recipes/toy.py is a file."),
        (["--yours", "no-such"], "No such command 'no-such'."),
    ],
)
def test_a_choice_that_cannot_be(arguments, problem, kitchen, tlkit_command):
    said = tlkit_command("run", *arguments, "photos")
    assert said.code == 2
    assert problem in said.err


def test_in_a_clone_the_shipped_recipes_are_not_called_yours(monkeypatch, tmp_path, tlkit_command):
    monkeypatch.chdir(SHIPPED.parent)
    assert {(recipe.yours, recipe.rival) for recipe in find_recipes().values()} == {(False, None)}
    monkeypatch.chdir(tmp_path)  # a clone beside an installed tlkit: other folder, same text
    (tmp_path / "recipes").mkdir()
    assert tlkit_command("copy", "fine-tune", "recipes").err == (
        "recipes/fine_tune.py is yours now: tlkit run ./recipes/fine_tune.py --help\n"
    )
    recipe = find_recipes()["fine-tune"]
    assert (recipe.yours, recipe.rival, recipe.path) == (False, None, SHIPPED / "fine_tune.py")
    for words in (["fine-tune"], ["--yours", "fine-tune"], ["./recipes/fine_tune.py"]):  # all the same text
        assert tlkit_command("run", *words, "--help").code == 0


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
