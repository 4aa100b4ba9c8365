"""The command-line contract that every verb keeps; conftest's `check_answer` holds each answer against the schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jsonschema
import pytest
from PIL import Image

from tests.cli.conftest import SCHEMA
from tlkit.cli.main import VERBS, main
from tlkit.cli.recipe_files import find_recipes, load_recipe

ALL = [verb for verbs in VERBS.values() for verb in verbs]
# A command line of each verb that must fail, and its exit code.
FAILING = {
    "check": (["nowhere/"], 3),
    "run": (["toy", "photos", "--ending", "early"], 3),
    "copy": (["no-such-recipe", "x.py"], 2),
    "resume": (["nothing"], 2),
    "repeat": (["nothing"], 2),
    "replay": (["nothing"], 2),
    "predict": (["nothing", "x.png"], 2),
    "evaluate": (["nothing", "nowhere/"], 2),
    "compare": (["nothing"], 2),
    "runs": (["--runs", "nowhere"], 2),
    "export": (["nothing", "--format", "onnx"], 2),
    "convert": (["nowhere/", "there", "--to", "coco"], 3),
    "cache": (["--trim", "-1"], 2),
    "recipes": (["--no-such-option"], 2),
}


def options_of(command):
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("verb", [verb for verb in ALL if verb != "run"])
def test_every_verb_takes_json_and_quiet(verb):
    assert {"--json", "--quiet"} <= options_of(main.get_command(None, verb))


def test_every_recipe_takes_json_and_quiet():
    for found in find_recipes().values():
        assert {"--json", "--quiet"} <= options_of(load_recipe(found))


def test_the_schema_is_one_and_knows_every_verb():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(ALL) <= set(SCHEMA["$defs"])


def test_the_schema_refuses_what_it_should():
    wrong = {"schema_version": 1, "error": {"code": 7, "kind": "x", "problem": "y", "remedy": ""}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, {"$ref": "#/$defs/error", "$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize("verb", ALL)
def test_every_failure_is_one_sentence_or_one_object(verb, kitchen, tlkit_command):
    arguments, code = FAILING[verb]
    told = tlkit_command(verb, *arguments)
    assert (told.code, told.out) == (code, "")
    assert "Error: " in told.err
    assert "Traceback" not in told.err
    as_json = tlkit_command(verb, *arguments, "--json")
    assert as_json.code == code
    assert "Error" not in as_json.err


def test_quiet_leaves_only_the_result(kitchen, tlkit_command):
    loud = tlkit_command("run", "toy", "photos")
    assert "Counting photos" in loud.err
    quiet = tlkit_command("run", "toy", "photos", "--quiet")
    assert quiet.err == ""
    assert "accuracy: 0.75" in quiet.out
    log = kitchen / "saved_models" / "toy-photos" / "2" / "log.txt"
    assert "Counting photos" in log.read_text()  # what was not shown is still there


def test_quiet_does_not_silence_faults(kitchen, tlkit_command):
    assert "Error: " in tlkit_command("run", "toy", "photos", "--ending", "early", "--quiet").err


def test_quiet_ends_with_its_command(kitchen, tlkit_command):
    tlkit_command("recipes", "--quiet")
    assert "Counting photos" in tlkit_command("run", "toy", "photos").err


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is asked for")
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)], ids=["colour", "NO_COLOR"])
def test_a_bar_has_colour_on_a_terminal_unless_no_color_is_set(no_color, coloured):
    program = (
        "from tlkit.core.console import Console\n"
        "console = Console()\n"
        "with console.progress('work', 2) as step: step(1); console.rich.print('[red]x[/red]')\n"
    )
    assert ("\x1b[31m" in on_a_terminal(program, NO_COLOR=no_color)) is coloured


def on_a_terminal(program, **variables):
    """What a program writes when stderr is a terminal."""
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", **variables}
    if not environment["NO_COLOR"]:
        del environment["NO_COLOR"]
    process = subprocess.Popen([sys.executable, "-c", program], stderr=follower, env=environment)
    os.close(follower)
    written = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux says so at the end
            break
        if not piece:
            break
        written += piece
    assert process.wait() == 0
    os.close(leader)
    return written.decode()


@pytest.fixture
def spoilt(tmp_path):
    """Two classes of one colour each: errors and warnings for `check`."""
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (40, 40), 99).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def test_a_check_with_errors_is_an_answer_and_an_error(spoilt, tlkit_command):
    said = tlkit_command("check", spoilt, "--json")
    assert said.code == 3
    jsonschema.validate(json.loads(said.out), {"$ref": "#/$defs/check", "$defs": SCHEMA["$defs"]})
