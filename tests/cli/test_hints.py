"""Options that are not there, and options of several values: one sentence with what may have been meant."""

from __future__ import annotations

import click
import pytest

from tlkit.cli.hints import OTHERS, SENTENCES
from tlkit.cli.main import VERBS, main
from tlkit.cli.recipe_files import find_recipes, load_recipe


def sentence(said):
    assert (said.code, said.out) == (2, "")
    return said.err.splitlines()[-1].removeprefix("Error: ")


@pytest.mark.parametrize(
    ("recipe", "typed", "hint"),
    [
        ("fine-tune", "--lr", "Did you mean --learning-rates?"),
        ("small-cnn", "--lr", "Did you mean --learning-rate?"),
        ("small-cnn", "-lr", "Did you mean --learning-rate?"),
        ("fine-tune", "--model", "Did you mean --backbone?"),
        ("compare-backbones", "--model", "Did you mean --backbones?"),
        ("fine-tune", "--bs", "Did you mean --batch?"),
        ("fine-tune", "--batch_size=4", "Did you mean --batch?"),
        ("detect-yolov8", "--imgsz", "Did you mean --image-size?"),
        ("synthesize-dcgan", "--img-size", "Did you mean --size?"),
        ("synthesize-dcgan", "--epochs", "Did you mean --steps?"),
        ("fine-tune", "--data", "What it names stands without an option: tlkit run fine-tune SOURCE."),
        ("fine-tune", "--gpu", "Use --device gpu."),
        ("fine-tune", "--workers", "Files are read on all processors as it is."),
        ("fine-tune", "--bach", "Did you mean --batch?"),
        ("fine-tune", "--rotate", "Did you mean --rotation?"),
        ("fine-tune", "--smoothing", "Did you mean --label-smoothing?"),
        ("fine-tune", "--hel", ""),
        ("fine-tune", "--zzz", ""),
    ],
)
def test_what_other_tools_call_it_is_known(recipe, typed, hint, tlkit_command):
    said = tlkit_command("run", recipe, "photos", typed, "3")
    assert sentence(said) == f"No such option '{typed.partition('=')[0]}'. {hint}".rstrip()


def test_verbs_and_groups_have_hints_too(tlkit_command):
    assert sentence(tlkit_command("export", "x", "--fmt", "onnx")).endswith("Did you mean --format?")
    assert sentence(tlkit_command("predict", "x", "--gpu")) == "No such option '--gpu'."
    assert sentence(tlkit_command("--model")) == "No such option '--model'."
    assert tlkit_command("run", "fine-tune", "--lr", "3", "--json").json["error"]["problem"] == (
        "No such option '--lr'. Did you mean --learning-rates?"
    )


def test_no_word_stands_twice_and_every_answer_is_an_option_somewhere():
    words = [word for line in (*OTHERS, *SENTENCES) for word in line.split()]
    assert len(words) == len(set(words))
    commands = [main.get_command(None, verb) for verbs in VERBS.values() for verb in verbs]
    commands += [load_recipe(found) for found in find_recipes().values()]
    known = {name for command in commands for one in command.params for name in one.opts}
    named = {f"--{name}" for names in OTHERS.values() for name in names}
    named |= {
        word.strip(",.") for text in SENTENCES.values() for word in text.split() if word.startswith("--")
    }
    assert named <= known, named - known


EPOCHS = "--epochs takes 3 whole numbers from 0 (HEAD TOP ALL), such as --epochs"
RATES = "--learning-rates takes 2 numbers above 0 (HEAD ALL), such as --learning-rates"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("fine-tune", "--epochs", "10", "photos"), f"{EPOCHS} 10 4 3; here stands --epochs 10 photos."),
        (("fine-tune", "photos", "--epochs", "10"), f"{EPOCHS} 10 4 3; here stands --epochs 10."),
        (("fine-tune", "photos", "--epochs=10"), f"{EPOCHS} 10 4 3; here stands --epochs 10."),
        (
            ("fine-tune", "--epochs", "10", "photos", "--seed", "1"),
            f"{EPOCHS} 10 4 3; here stands --epochs 10 photos --seed.",
        ),
        (("fine-tune", "x", "--epochs", "5", "5", "2.5"), f"{EPOCHS} 5 5 3; here stands --epochs 5 5 2.5."),
        (
            ("detect-retinanet", "x", "--learning-rates", "0.01", "-1"),
            f"{RATES} 0.01 0.0005; here stands --learning-rates 0.01 -1.",
        ),
        (
            ("does-tip-help", "x", "--learning-rates", "0", "1"),
            f"{RATES} 0.001 0.001; here stands --learning-rates 0 1.",
        ),
    ],
)
def test_an_option_of_several_values_says_its_form(words, told, tlkit_command):
    assert sentence(tlkit_command("run", *words)) == told


def test_a_person_s_own_option_of_several_values_says_its_form(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "--rates", "0.5", "photos")
    assert (
        sentence(said) == "--rates takes 2 numbers, such as --rates 0.5 0.2; here stands --rates 0.5 photos."
    )
    assert tlkit_command("run", "toy", "photos", "--rates", "0.5", "-1").code == 0  # nothing forbids it


def test_every_option_of_every_recipe_has_a_help():
    for name, found in find_recipes().items():
        command = load_recipe(found)
        bare = [o.opts[0] for o in command.params if isinstance(o, click.Option) and not o.help]
        assert not bare, f"{name}: {bare}"
