"""`python -m tests` runs what it says."""

from __future__ import annotations

import subprocess

import pytest

from tests.__main__ import ASK, ROOT, other_settings, steps
from tests.conftest import LONG, pytest_collection_modifyitems


@pytest.mark.parametrize(("told", "wanted"), [("1\n", ["0"]), ("0\n", ["1"]), ("", ["0", "1"])])
def test_the_other_setting_of_onednn_is_the_one_that_is_not_in_force(told, wanted, monkeypatch):
    asked = []

    def answer(command, **_):
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 0, told, "")

    monkeypatch.setattr(subprocess, "run", answer)
    assert other_settings() == wanted
    commands = steps(["--other-onednn", "-x"])
    assert [changed for _, changed in commands] == [{"TF_ENABLE_ONEDNN_OPTS": w} for w in wanted]
    for command, _ in commands:
        assert command[0] == "pytest"
        assert command[-2:] == ["-m", "onednn and not slow and not gpu and not network"]
        assert "-x" in command
    assert set(asked) == {ASK}


@pytest.mark.parametrize("setting", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_tensorflow_says_which_setting_is_in_force(setting, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", setting)
    assert set(other_settings()) & {"0", "1"} == {"0", "1"} - {setting}


def test_each_switch_chooses_its_steps():
    def names(*arguments):
        return [command[0] for command, _ in steps(list(arguments))]

    assert names() == ["ruff", "ruff", "mypy", "pytest"]
    assert names("--fix") == ["ruff", "ruff"]
    slow, usual = steps(["--slow"])[-1][0], steps([])[-1][0]
    assert "not gpu and not network" in slow
    assert "-m" not in usual, "setup.cfg says what is usual"


def test_long_files_come_first_and_all_others_keep_their_order():
    class Item:
        def __init__(self, nodeid):
            self.nodeid = nodeid

    items = [Item(f"{name}::test") for name in ("tests/b.py", LONG[1], "tests/a.py", LONG[0], "tests/b.py")]
    pytest_collection_modifyitems(items)
    names = [item.nodeid.partition("::")[0] for item in items]
    assert names == [LONG[0], LONG[1], "tests/b.py", "tests/a.py", "tests/b.py"]
    assert [name for name in LONG if not (ROOT / name).is_file()] == []
