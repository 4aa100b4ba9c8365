"""Every decompression bomb through every verb that reads images: refused by name, and the sound ones answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tests.data.images.decoding.bombs import corpus
from tlkit.data.images.decoding.decode import native

ROOT = Path(__file__).resolve().parents[2]
BOMBS = dict(corpus())
SERVED = [contents for name, contents in BOMBS.items() if native(Path(name).suffix)]
pytestmark = pytest.mark.slow


@pytest.fixture
def photos(finished, tmp_path):
    shutil.copytree(finished.source, tmp_path / "photos")
    for name, contents in BOMBS.items():
        (tmp_path / "photos" / "bar" / name).write_bytes(contents)
    return tmp_path / "photos"


def left_out(said):
    assert said.code == 0, said.err
    return sum(
        line.startswith("Left out: ") and "more than the limit of" in line for line in said.err.splitlines()
    )


def row(command, files, refused):
    return f"| decompression bombs | `{command}` | {files} | {refused} | {files - refused} |"


def test_the_corpus_is_refused_by_every_verb_as_the_table_says(finished, photos, tmp_path, tlkit_command):
    table = (ROOT / "saved_models" / "README.md").read_text(encoding="utf-8")
    number = len(BOMBS)
    kinds = {one["kind"]: one["count"] for one in tlkit_command("check", photos, "--json").json["kinds"]}
    assert row("tlkit check", number, kinds["decompression-bomb"]) in table
    for verb in ("predict", "evaluate"):
        answer = tlkit_command(verb, finished.run, photos, "--skip-bad", "--json").json
        assert row(f"tlkit {verb}", number, len(answer["skipped"])) in table
        assert verb == "evaluate" or len(answer["predictions"]) == 30
        assert tlkit_command(verb, finished.run, photos).code == 3
    for recipe in ("small-cnn", "fine-tune", "extract-features", "fit-head"):
        said = tlkit_command("run", recipe, photos, "--skip-bad", "--dry-run", "--runs", tmp_path / "runs")
        assert row(f"tlkit run {recipe}", number, left_out(said)) in table
        assert tlkit_command("run", recipe, photos, "--dry-run", "--runs", tmp_path / "runs").code == 3
    inside = [
        tlkit_command(
            "run", "look-inside", photos / "bar" / name, "--dry-run", "--runs", tmp_path / "runs"
        ).code
        for name in BOMBS
    ]
    assert row("tlkit run look-inside", number, inside.count(3)) in table
    answer = tf.saved_model.load(str(finished.run)).signatures["serving_default"]
    refused = 0
    for contents in SERVED:
        try:
            answer(tf.constant([contents]))
        except tf.errors.InvalidArgumentError:
            refused += 1
    assert row("serving_default", len(SERVED), refused) in table


def test_the_corpus_is_refused_by_every_verb_of_boxes(finished_detector, bags, tmp_path, tlkit_command):
    table = (ROOT / "saved_models" / "README.md").read_text(encoding="utf-8")
    whole = shutil.copytree(bags, tmp_path / "whole")
    for name, contents in BOMBS.items():
        (whole / name).write_bytes(contents)
        with (whole / "boxes.csv").open("a") as stream:
            stream.write(f"{name},2,2,20,20,gun\n")
    kinds = {one["kind"]: one["count"] for one in tlkit_command("check", whole, "--json").json["kinds"]}
    assert row("tlkit check BOXES", len(BOMBS), kinds["decompression-bomb"]) in table
    answer = tlkit_command("predict", finished_detector["run"], whole, "--skip-bad", "--json").json
    assert row("tlkit predict DETECTOR", len(BOMBS), len(answer["skipped"])) in table
    one = tmp_path / "one"
    verbs = {
        "tlkit evaluate DETECTOR": ("evaluate", finished_detector["run"], one),
        "tlkit run detect-retinanet": (
            "run",
            "detect-retinanet",
            one,
            "--dry-run",
            "--runs",
            tmp_path / "runs",
        ),
        "tlkit convert": ("convert", one, tmp_path / "converted", "--to", "coco"),
    }
    refused = dict.fromkeys(verbs, 0)
    for name, contents in BOMBS.items():
        shutil.copytree(bags, one, dirs_exist_ok=True)
        (one / name).write_bytes(contents)
        (one / "boxes.csv").write_text((bags / "boxes.csv").read_text() + f"{name},2,2,20,20,gun\n")
        for verb, words in verbs.items():
            said = tlkit_command(*words)
            refused[verb] += said.code == 3 and name in said.err
        (one / name).unlink()
    for verb, number in refused.items():
        assert row(verb, len(BOMBS), number) in table
