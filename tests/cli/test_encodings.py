"""Other names on stdout: every verb prints them in any encoding, escaped where it cannot hold them."""

import csv
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.cli.conftest import TOY
from tlkit.cli.main import main

FANCY = "\u732b\U0001f408"


@pytest.fixture
def cats(kitchen):
    """Class folders with other names, and a recipe that speaks of them and prints with click."""
    for kind in (FANCY, "caf\u00e9"):
        (kitchen / "cats" / kind).mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((16, 16), 50 + number).save(kitchen / "cats" / kind / f"{FANCY}{number}.png")
    own = TOY.replace("Count to a number", f"Count {FANCY}").replace(
        'run.say(f"',
        f'run.record(classes=["{FANCY}"]); ending == "loud" and click.echo("{FANCY}"); run.say(f"{FANCY} ',
    )
    (kitchen / "recipes" / "toy.py").write_text(own, encoding="utf-8")
    return kitchen


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_every_verb_prints_other_names_in_any_encoding(encoding, cats, monkeypatch):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    escaped = "\\u732b\\U0001f408"
    for arguments, code in (
        (["check", "cats"], 0),
        (["check", "cats", "--fix-list", "fix.csv"], 0),
        (["recipes"], 0),
        (["run"], 0),
        (["run", "toy", "--help"], 0),
        (["run", "toy", f"cats/{FANCY}", "--epochs", "1"], 0),
        (["runs"], 0),
        (["compare", "toy"], 0),
        (["compare", "toy", "--csv"], 0),
        (["repeat", "toy"], 0),
        (["run", "toy", f"cats/{FANCY}", "--ending", "loud"], 0),
        (["evaluate", FANCY, "cats"], 2),
        (["predict", "toy", f"--{FANCY}"], 2),
    ):
        result = CliRunner(charset=encoding).invoke(main, arguments)
        assert result.exit_code == code, (arguments, result.output, result.exception)
        assert escaped in result.output, arguments
        assert "?" not in result.output.replace("Did you mean", "").replace("help?", ""), arguments
        assert result.stderr.count("PYTHONUTF8=1 in the environment") == 1, arguments
        if "--help" in arguments or "--csv" in arguments or arguments == ["run"]:
            continue
        answer = CliRunner(charset=encoding).invoke(main, [*arguments, "--json"])
        *_, last = answer.stdout.splitlines()  # before it stands what the recipe prints
        assert last.isascii()
        spoken = json.dumps(json.loads(last), ensure_ascii=False)
        assert FANCY in spoken or arguments[0] in {"run", "repeat"}, arguments
    with (cats / "fix.csv").open(encoding="utf-8") as stream:
        assert any(FANCY in row["path"] for row in csv.DictReader(stream))
    card = (cats / "saved_models").rglob("card.json")
    assert all(FANCY in file.read_text(encoding="utf-8") for file in card)


def test_a_child_with_another_locale(cats):
    """The whole way: the encoding of the process's own stdout, and names that Python takes for ASCII."""
    program = "import sys; from tlkit.cli.main import main; main(sys.argv[1:])"
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHON", "LANG"))
    }
    for extra, without in (
        ({"PYTHONIOENCODING": "cp1252"}, " without PYTHONIOENCODING"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, ""),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, "check", "cats"],
            env={**kept, **extra},
            capture_output=True,
            check=False,
        )
        assert done.stdout.startswith(
            b"cats: 6 images (3 caf\xe9, 3 " if without else b"cats: 6 images (3 caf\\xe9, 3 "
        )
        assert b"3 \\u732b\\U0001f408)" in done.stdout
        assert f"PYTHONUTF8=1{without} in the environment shows it.".encode() in done.stderr
        assert b"Traceback" not in done.stderr
