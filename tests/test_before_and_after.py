"""The comparison of two versions sees what differs, and nothing where nothing does."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.before_and_after.__main__ import differences, main, renamed
from tests.before_and_after.cases import CASES, RECIPES, VERBS
from tests.before_and_after.sides import earlier_options
from tests.before_and_after.texts import Plain, as_text, page

ROOT = Path(__file__).resolve().parents[1]
PLAIN = Plain({"/somewhere/work/x": "WORK"}, spaces=False)


def test_every_recipe_and_every_verb_is_among_the_cases():
    from tlkit.cli.main import main as tlkit

    assert {path.stem.replace("_", "-") for path in (ROOT / "recipes").glob("[a-z]*.py")} == set(RECIPES)
    words = [[str(word) for word in step.words] for steps in CASES.values() for step in steps]
    assert {line[1] for line in words if line[0] == "run" and "--help" not in line} == set(RECIPES)
    listed = CliRunner().invoke(tlkit, ["--help"]).output
    assert all(f"\n  {verb} " in listed for verb in VERBS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Played 6 steps in 3 s, 40 images/s; done", "Played 6 steps in 12 s, 4 images/s; done"),
        ("2026-11-28T01:41:04+00:00  tlkit run", "2027-01-01T00:00:00+00:00  tlkit run"),
        (
            "head         1/1      1.1023    1.0990        3.3",
            "head         1/1      1.1023    1.0990       13.3",
        ),
    ],
)
def test_times_are_no_difference_and_numbers_are(one, other):
    assert PLAIN.text(one) == PLAIN.text(other)
    assert PLAIN.text(one) != PLAIN.text(
        other.replace("6 steps", "7 steps").replace("1.0990", "1.0991").replace("run", "r")
    )


def test_what_is_no_time_stays_in_json():
    content = {"seconds": 3.2, "path": "/somewhere/work/x/runs/1", "accuracy": 0.5, "lines": ["took 3 s"]}
    assert PLAIN.json(content) == {
        "seconds": "TIME",
        "path": "WORK/runs/1",
        "accuracy": 0.5,
        "lines": ["took DURATION"],
    }


def test_a_pixel_a_weight_and_a_word_of_a_page_are_seen(tmp_path):
    grey = np.zeros((4, 4), np.uint8)
    texts = []
    for value in (0, 1):
        grey[2, 2] = value
        Image.fromarray(grey).save(tmp_path / "a.png", compress_level=9 - value)
        np.savez(tmp_path / "a.npz", w=grey)
        texts.append([as_text(tmp_path / name, PLAIN) for name in ("a.png", "a.npz")])
    assert all(a != b for a, b in zip(*texts, strict=True))
    Image.fromarray(grey).save(tmp_path / "a.png", compress_level=1)
    assert as_text(tmp_path / "a.png", PLAIN) == texts[1][0], "the same pixels, stored in another way"
    assert page("<style>p {}</style><p>Test: <b>0.5</b></p><script>1</script>") == "Test:\n0.5"


def test_columns_of_times_are_no_difference(tmp_path):
    pages = []
    for value in ("1.905", "12.1"):
        (tmp_path / "a.csv").write_text(f"eta,ms/image,n\n0.5,{value},3\n")
        (tmp_path / "a.md").write_text(f"| eta | ms/image | n |\n|---|---|---|\n| 0.5 | {value} | 3 |\n")
        (tmp_path / "a.html").write_text(
            f"<table><tr><th>eta</th><th>ms/image</th></tr><tr><td>0.5</td><td>{value}</td></tr></table>"
        )
        pages.append([as_text(tmp_path / f"a.{kind}", PLAIN) for kind in ("csv", "md", "html")])
    assert pages[0] == pages[1]
    assert all("0.5" in text and "TIME" in text for text in pages[0])


def test_events_are_told_by_tag_step_and_value(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    def text(value, wall):
        event = Event(
            wall_time=wall, step=3, summary=Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        )
        content = event.SerializeToString()
        stream = io.BytesIO()
        stream.write(len(content).to_bytes(8, "little") + b"\0" * 4 + content + b"\0" * 4)
        file = tmp_path / f"events.out.tfevents.{wall}"
        file.write_bytes(stream.getvalue())
        return as_text(file, PLAIN)

    assert text(0.5, 1) == text(0.5, 2) == "loss 3 0.5"
    assert text(0.25, 3) != text(0.5, 1)


def test_differences_are_named_but_for_what_is_renamed(monkeypatch):
    monkeypatch.setattr("tests.before_and_after.__main__.RENAMED", {})
    before, after = {"1 run": "a game\nof 3", "gone": "x"}, {"1 run": "a GAN\nof 3", "new": "y"}
    found = differences(before, after, 9)
    assert found == [
        "1 run\n      @@ -1 +1 @@\n      -a game\n      +a GAN",
        "gone: BEFORE only",
        "new: AFTER only",
    ]
    monkeypatch.setattr("tests.before_and_after.__main__.RENAMED", {"game": "GAN", "^gone$": "new"})
    assert differences(before, {**after, "new": "x"}, 9) == []
    assert renamed("a game", {}) == "a game"


def test_a_version_is_asked_by_the_names_of_options_that_it_has(tmp_path):
    file = tmp_path / "code" / "tlkit" / "cli" / "options" / "earlier.py"
    assert earlier_options(tmp_path) == {}
    file.parent.mkdir(parents=True)
    file.write_text('EARLIER = {"present": "before"}  # present name -> earlier one\n')
    assert earlier_options(tmp_path) == {"--present": "--before"}
    said = "Note: --before is called --present now.\nData: 3 images.\n"
    assert PLAIN.answer(said) == "Data: 3 images."


@pytest.mark.slow
def test_this_version_is_as_itself_and_a_planted_difference_is_seen(tmp_path, capsys):
    out = ("--out", str(tmp_path / "out"), "--only")
    assert main([str(ROOT), str(ROOT), *out, "composite-threats", "--afresh"]) == 0
    assert "composite-threats: equal" in capsys.readouterr().out
    other = tmp_path / "other"
    for name in ("tlkit", "recipes"):
        shutil.copytree(ROOT / name, other / name)
    file = other / "tlkit" / "core" / "bootstrap.py"
    file.write_text(file.read_text().replace("CONFIDENCE = 0.95", "CONFIDENCE = 0.94"))
    assert main([str(ROOT), str(other), *out, "compare-backbones"]) == 1
    said = capsys.readouterr().out
    assert "compare-backbones: " in said
    assert "DIFFER" in said
    assert "card.json" in said
