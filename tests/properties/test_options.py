"""Whatever is typed behind an option is a value, or one sentence; and what options.json keeps reads the same."""

from __future__ import annotations

import json
import math
import re
from pathlib import PureWindowsPath

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.windows import reserved
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.groups import BackboneName, ExtractorNames, HeadNames, Numbers, Words
from tlkit.cli.recipe import _checked, default_name
from tlkit.core.run_folder import plain
from tlkit.errors import UsageFault

KINDS = {
    "numbers": Numbers(),
    "words": Words(("shift", "turn", "flip")),
    "heads": HeadNames(),
    "backbone": BackboneName(),
    "extractor": ExtractorNames(),
    "extractors": ExtractorNames(several=True),
}
# Pieces that options are made of, in any order, and anything else.
PIECES = st.lists(
    st.sampled_from(
        [
            *("1", "20", "-3", "0", "1e3", "1_0", "٣", "9" * 5000, "none", "all"),
            *("shift", "turn", "flip", "knn", "svm-rbf", "resnet50", "lbp", "@none", "@", ".onnx", "@x.h5"),
            *(",", ",", ",", " ", "\t", "\n", "\0", "-", "--"),
        ]
    ),
    max_size=6,
).map("".join)
TYPED = PIECES | st.text(max_size=20)


@pytest.mark.parametrize("name", KINDS)
@given(text=TYPED)
@example(text="")
@example(text=",")
def test_a_value_or_one_sentence(name, text):
    try:
        value = KINDS[name].convert(text, None, None)
    except click.BadParameter:
        return
    kept = json.loads(json.dumps(plain(value)))
    assert KINDS[name].convert(kept if isinstance(value, tuple) else value, None, None) == value


@given(
    st.lists(st.integers(-3, 10**6), min_size=1, max_size=5), st.lists(st.sampled_from(["", " "]), min_size=6)
)
def test_numbers_are_what_is_written(numbers, blanks):
    text = ",".join(f"{blank}{number}{blank}" for number, blank in zip(numbers, blanks, strict=False))
    numbers = numbers[: len(blanks)]
    if min(numbers) < 1:
        with pytest.raises(click.BadParameter, match="no list of numbers from 1"):
            Numbers().convert(text, None, None)
    else:
        assert Numbers().convert(text, None, None) == tuple(numbers)


@given(st.lists(st.sampled_from(["shift", "turn", "flip"]), max_size=6))
def test_words_are_each_once_and_in_their_order(words):
    found = KINDS["words"].convert(",".join(words), None, None)
    assert list(found) == sorted(set(words), key=words.index)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_a_run_s_name_is_one_folder(text):
    """Below saved_models/ and nowhere else, on every system."""
    default = default_name("toy", text)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", default)
    assert PureWindowsPath(default).name == default
    assert not reserved(default)
    assert default[-1] != "."  # Windows leaves it out
    try:
        name = _checked(text)
    except UsageFault:
        return
    assert name == text
    assert "/" not in name
    assert name[0] not in "."
    assert not reserved(name)
    assert name[-1] != "."


@pytest.mark.parametrize("name", ["con", "NUL.v2", "COM1", "bags."])
def test_a_name_that_windows_refuses_is_refused_everywhere(name):
    with pytest.raises(UsageFault, match="cannot be the name of a folder on Windows"):
        _checked(name)


@pytest.mark.parametrize(
    ("kind", "inside"),
    [
        (click.IntRange(1), lambda n: n == int(n) and n >= 1),
        (click.FloatRange(0, 1, max_open=True), lambda n: 0 <= n < 1),
        (click.FloatRange(0, min_open=True), lambda n: n > 0),
    ],
    ids=["whole", "share", "rate"],
)
@given(text=st.one_of(st.integers().map(str), st.floats().map(str), st.text(max_size=8)))
@example(text="nan")
@example(text="inf")
def test_ranges_hold_what_they_promise(kind, inside, text):
    command = SectionedCommand("toy", params=[click.Option(["--value"], type=kind)])
    try:
        value = command.make_context("toy", [f"--value={text}"]).params["value"]
    except click.BadParameter:
        return
    assert inside(value)
    assert math.isfinite(value)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "NaN", "1e999"])
def test_a_rate_that_is_no_finite_number_is_refused(text, tmp_path):
    from click.testing import CliRunner

    from tlkit.cli.main import main

    command = ["run", "fine-tune", str(tmp_path), "--learning-rates", "0.1", text, "0.1", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "is no finite number" in json.loads(result.stdout)["error"]["problem"] or text == "-inf"
