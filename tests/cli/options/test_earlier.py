"""Earlier names of options: each is still taken, with one line that says the present one, and stands in no help."""

import importlib
from pathlib import Path

import click
import pytest

from tlkit.cli.help import SectionedCommand
from tlkit.cli.keywords import context_of
from tlkit.cli.main import VERBS
from tlkit.cli.options.earlier import EARLIER, present_names, stored_key
from tlkit.cli.recipe_files import load_recipe, read_recipe
from tlkit.compat import ROWS

RECIPES = sorted(Path(__file__).parents[3].glob("recipes/[a-z]*.py"))


@pytest.fixture(scope="module")
def commands():
    """Every recipe and every verb, by name."""
    found = {file.stem: load_recipe(read_recipe(file)) for file in RECIPES}
    for verb in [verb for section in VERBS.values() for verb in section]:
        command = getattr(importlib.import_module(f"tlkit.cli.commands.{verb}"), verb)
        if not isinstance(command, click.Group):
            found[verb] = command
    return found


def flags(command):
    return {flag.removeprefix("--") for parameter in command.params for flag in parameter.opts}


def test_each_present_name_is_an_option_and_no_earlier_one_is_a_second(commands):
    everywhere = set().union(*map(flags, commands.values()))
    assert set(EARLIER) <= everywhere
    for name, command in commands.items():
        assert not {old for new, old in EARLIER.items() if {new, old} <= flags(command)}, name


def test_values_keep_the_names_under_which_runs_stored_them(commands):
    for command in commands.values():
        for parameter in command.params:
            for flag in parameter.opts:
                new = flag.removeprefix("--")
                if new in EARLIER and isinstance(command, SectionedCommand) and parameter.expose_value:
                    assert parameter.name in {stored_key(new), new.replace("-", "_")}, (command.name, flag)
    detector = {parameter.name for parameter in commands["detect_retinanet"].params}
    assert {
        "more",
        "tip",
        "tip_share",
        "most",
        "judge_every",
        "start",
        "least_scale",
        "most_pixels",
    } <= detector
    assert "tlkit.cli.choices" in ROWS  # whose recipes take them as arguments


def test_words_of_a_command_line(commands, capsys):
    detect, tune = commands["detect_retinanet"], commands["fine_tune"]
    words = ["bags", "--most=9", "--more", "a", "--more", "b", "--name", "x", "--", "--tip"]
    assert present_names(detect, words) == [
        "bags", "--max-detections=9", "--synthetic", "a", "--synthetic", "b", "--name", "x", "--", "--tip"
    ]  # fmt: skip
    assert capsys.readouterr().err.splitlines() == [
        "Note: --more is called --synthetic now.",
        "Note: --most is called --max-detections now.",
    ]
    assert present_names(tune, ["--most", "9", "--moreover"]) == ["--most", "9", "--moreover"]  # it has none
    assert capsys.readouterr().err == ""


def test_a_keyword_by_the_earlier_name_is_the_option(commands, capsys):
    detect = commands["detect_retinanet"]
    with context_of(detect, "x", ["bags"], {"more": ("a", "b"), "most": 9, "tip_share": 0.5}) as context:
        assert (context.params["more"], context.params["most"]) == (("a", "b"), 9)
        assert context.params["source"] == "bags"
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_recipe_runs_by_the_earlier_name(tlkit_command, make_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_folder(disc=6, bar=6)
    said = tlkit_command("run", "small-cnn", folder, "--most-pixels", 100, "--dry-run")
    assert said.code == 3
    assert "--max-pixels" in said.err
    assert said.err.splitlines()[0] == "Note: --most-pixels is called --max-pixels now."
