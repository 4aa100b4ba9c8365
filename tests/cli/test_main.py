"""The command as a whole: what it shows, how it refuses, and that it is quick."""

import importlib
import json
import statistics
import subprocess
import sys
import time

import click
import pytest

from tests.cli.conftest import modules_after
from tlkit.cli.main import VERBS, main

ALL_VERBS = [(verb, line) for verbs in VERBS.values() for verb, line in verbs.items()]
SLOW = {"tensorflow", "keras", "numpy", "sklearn", "matplotlib", "rich", "PIL", "scipy"}
QUICK = [[], ["--help"], ["--version"], ["run"], ["run", "--help"], ["recipes"], ["run", "toy", "--help"]]


@pytest.mark.parametrize(("verb", "line"), ALL_VERBS)
def test_the_list_says_what_the_verb_says(verb, line):
    command = getattr(importlib.import_module(f"tlkit.cli.commands.{verb}"), verb)
    assert command.help.splitlines()[0] == line
    assert command.name == verb


@pytest.mark.parametrize("verb", [verb for verb, _ in ALL_VERBS])
def test_every_parameter_has_help(verb):
    command = getattr(importlib.import_module(f"tlkit.cli.commands.{verb}"), verb)
    assert [p.name for p in command.params if not p.help] == []


def test_a_verb_is_imported_without_what_takes_long():
    """But for repeat, whose comparison of runs counts with NumPy."""
    verbs = [f"tlkit.cli.commands.{verb}" for verb, _ in ALL_VERBS if verb != "repeat"]
    program = f"import sys; import {', '.join(verbs)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert SLOW & set(done.stdout.split()) == set()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "arguments", [[], ["run"], *([verb, "--help"] for verb, _ in ALL_VERBS if verb != "run")]
)
def test_help_fits_the_terminal(arguments, width, kitchen, monkeypatch, tlkit_command):
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: (width, 24))
    said = tlkit_command(*arguments)
    assert said.code == 0
    assert "Usage: tlkit" in said.out
    assert max(map(len, said.out.splitlines())) <= width


def test_help_without_arguments_is_an_answer_not_an_error(tlkit_command):
    said = tlkit_command()
    assert (said.code, said.err) == (0, "")
    assert [line.split()[0] for line in said.out.splitlines() if line.startswith("  tlkit")] == ["tlkit"] * 4
    for verb, line in ALL_VERBS:
        assert f"  {verb:<8}  {line}" in said.out


def test_version(tlkit_command):
    from importlib.metadata import version

    assert tlkit_command("--version").out == f"tlkit {version('tlkit')}\n"


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_help_and_lists_import_nothing_slow(arguments, kitchen):
    said, modules = modules_after(*arguments)
    assert said
    assert SLOW & modules == set()


def test_help_is_quick(kitchen):
    """At most five times `import click`, medians of five pairs."""

    def seconds(*arguments):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    program = "import sys; from tlkit.cli.main import main; main(sys.argv[1:])"
    pairs = [
        (seconds("-c", "import click"), seconds("-c", program, "--help"), seconds("-c", program, "recipes"))
        for _ in range(5)
    ]
    click_alone, with_help, with_list = map(statistics.median, zip(*pairs))
    assert with_help <= 5 * click_alone
    assert with_list <= 5 * click_alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predit"], "Error: No such command 'predit'. Did you mean 'predict'?"),
        (["run", "toys"], "Error: No such command 'toys'. Did you mean 'toy'?"),
        (["toy"], "Error: toy is a recipe. Did you mean 'tlkit run toy'?"),
        (["copy", "toys", "mine.py"], "Error: No such recipe 'toys'. Did you mean 'toy'?"),
        (["run", "toy", "photos", "--epoch", "3"], "Error: No such option '--epoch'. Did you mean"),
        (
            ["run", "toy", "photos", "--epochs", "0"],
            "Error: Invalid value for '--epochs': 0 is not in the range x>=1.",
        ),
        (
            ["run", "toy", "photos", "--device", "tpu"],
            "Error: Invalid value for '--device': 'tpu' is not one of",
        ),
        (["run", "toy"], "Error: Missing argument 'SOURCE'."),
        (["compare"], "Error: Missing argument 'NAMES...'."),
        (["compare", "a", "--csv", "--json"], "Use just one of --json, --csv and --markdown."),
        (["predict", "a", "b", "--csv", "--json"], "Use just one of --json and --csv."),
        (["predict", "nothing", "b"], "There is no run 'nothing' in saved_models."),
    ],
)
def test_usage_faults_say_what_might_have_been_meant(arguments, message, kitchen, tlkit_command):
    said = tlkit_command(*arguments)
    assert said.code == 2
    assert message in (said.out if "--json" in arguments else said.err)


def test_usage_faults_are_json_where_json_is_wanted(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--epochs", "0", "--json")
    assert said.code == 2
    assert said.json == {
        "schema_version": 1,
        "error": {
            "code": 2,
            "kind": "UsageFault",
            "problem": "Invalid value for '--epochs': 0 is not in the range x>=1.",
            "remedy": "tlkit run toy --help shows what can be.",
        },
    }


def test_ctrl_c_in_a_verb_is_one_line(kitchen, monkeypatch, tlkit_command):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tlkit.cli.commands.compare.find_runs", stop)
    said = tlkit_command("compare", "blades")
    assert (said.code, said.out, said.err.strip()) == (130, "", "Stopped.")
    said = tlkit_command("compare", "blades", "--json")
    assert json.loads(said.out)["error"]["code"] == said.code == 130


def test_a_bug_is_not_dressed_up(kitchen, monkeypatch):
    monkeypatch.setattr("tlkit.cli.commands.compare.find_runs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["compare", "blades"])


def test_the_command_stays_plain_click():
    assert isinstance(main, click.Group)
