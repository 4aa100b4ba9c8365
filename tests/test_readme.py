"""What the README says is so: its two commands, every `tlkit` line in it, its Python, its tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tlkit.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line.split("  #")[0].strip().removeprefix("$ ")
        for line in README.splitlines()
        if re.match(r"\s*(\$ )?tlkit \w", line)
    }
    | set(re.findall(r"`(tlkit [a-z][^`]*)`", README))
)


def chapter(title):
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "runs"), [("Run it", "tlkit run fine-tune xray:crops"), ("Test it", "-m tests")]
)
def test_the_two_headings_hold_one_block_of_one_line(title, runs):
    blocks = re.findall(r"^```\w*\n(.*?)^```$", chapter(title), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert len(blocks[0].strip().splitlines()) == 1
    assert blocks[0].strip().endswith(runs)
    assert "venv" in blocks[0]
    assert "pip install" in blocks[0]


def test_ci_runs_the_test_command_and_then_the_other_onednn_setting():
    script = (ROOT / ".ci" / "run").read_text()
    assert "## Test it" in script
    assert "README.md" in script
    environment = re.search(r"\S+/bin/python -m tests$", chapter("Test it"), re.MULTILINE)[0]
    assert f'"$command" "{environment} --other-onednn"' in script


def parse(words, group):
    """Resolve and parse a command line as click would, without running it."""
    context = click.Context(group, info_name="tlkit")
    while isinstance(group, click.Group) and words:
        while words[0].startswith("--"):  # an option of the group itself
            assert words.pop(0) in {
                name for parameter in group.get_params(context) for name in parameter.opts
            }
        name, command, words = group.resolve_command(context, words)
        context, group = click.Context(command, parent=context, info_name=name), command
    known = {
        option
        for parameter in group.get_params(context)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{sorted(used - known)} unknown"
    return group.name


@pytest.mark.parametrize("line", COMMANDS)
def test_every_tlkit_command_in_the_readme_exists_with_its_options(line):
    words = shlex.split(line)[1:]
    if "RECIPE" in words:
        words[words.index("RECIPE")] = "fine-tune"
    if words[:2] == ["run", "./mine.py"]:
        words[1] = "fine-tune"  # the copy of it
    assert parse(words, main)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 8


def test_the_python_in_the_readme_runs(finished, monkeypatch, capsys):
    codes = [text for language, text in BLOCKS if language == "python"]
    assert len(codes) == 3
    image = next((finished.source / "bar").glob("*.png"))
    for code in codes:
        mended = code.replace("saved_models/fine-tune-crops/1", str(finished.run)).replace(
            "x.png", str(image)
        )
        exec(compile(mended, "README.md", "exec"), {})  # noqa: S102 - that is the point
    assert "b'disc'" in capsys.readouterr().out


def test_every_recipe_stands_in_the_table_and_nothing_is_left_to_fill_in():
    for path in (ROOT / "recipes").glob("[a-z]*.py"):
        assert f"| `{path.stem.replace('_', '-')}` |" in README
    assert not re.findall(r"@[A-Z]+@|TODO|TBD", README)


def test_the_kinds_of_faults_are_counted_from_their_table():
    from tlkit.data.images.findings import KINDS

    changelog = (ROOT / "CHANGELOG.md").read_text()
    told = re.findall(r"(\d+) kinds", README + changelog)
    assert len(told) == 3
    assert set(told) == {str(len(KINDS))}


def test_exit_codes_are_those_of_the_errors():
    from tlkit import errors

    codes = {
        fault.exit_code
        for fault in (
            errors.RunFailed,
            errors.UsageFault,
            errors.DataFault,
            errors.ModelFault,
            errors.ExportFault,
        )
    }
    assert codes == {1, 2, 3, 4, 5}
    assert "Exit codes: 0 good, 1 the run failed, 2 usage, 3 data, 4 model or weights, 5 export" in README
