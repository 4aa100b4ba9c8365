"""A run goes on with the options and the recipe it was started with, in its own folder."""

import json
import shlex
from pathlib import Path

import pytest

import tlkit
from tlkit.cli.recipe_files import load_recipe, read_recipe
from tlkit.core.device import computes_with_onednn
from tlkit.core.environment import DECODING
from tlkit.core.run_folder import plain


@pytest.fixture
def stopped(kitchen, tlkit_command):
    """An unfinished run that learned one epoch of three."""
    tlkit_command("run", "toy", "photos", "--ending", "late", "--rates", "3", "4", "--group", "(x)")
    return kitchen / "saved_models" / "toy-photos" / "unfinished-1"


@pytest.mark.parametrize(
    "text",
    [
        "toy-photos",
        "toy-photos/unfinished-1",
        "saved_models/toy-photos",
        "saved_models/toy-photos/unfinished-1",
    ],
)
def test_it_goes_on(text, stopped, kitchen, tlkit_command):
    said = tlkit_command("resume", text, "--json")
    assert said.code == 0
    assert said.json["run"] == "saved_models/toy-photos/1"
    assert "Counting photos with (3.0, 4.0), group (x)" in said.err
    assert [line.split()[1] for line in said.err.splitlines() if line.startswith("head")] == ["2/3", "3/3"]
    assert not stopped.exists()
    finished = kitchen / "saved_models" / "toy-photos" / "1"
    log = (finished / "log.txt").read_text()
    assert log.count("Counting photos") == 2
    assert "  resumed\n" in log
    assert (
        json.loads((finished / "card.json").read_text())["seconds"] > 10.0
    )  # the first epoch's ten count too


@pytest.fixture
def computing(kitchen, tlkit_command):
    """As `stopped`, of a recipe that starts TensorFlow; and a way to change the environment it was stopped in."""
    recipe = kitchen / "recipes" / "toy.py"
    recipe.write_text(
        recipe.read_text().replace("    run.say(f", "    run.start_tensorflow()\n    run.say(f", 1)
    )
    tlkit_command("run", "toy", "photos", "--ending", "late")
    options = kitchen / "saved_models" / "toy-photos" / "unfinished-1" / "options.json"

    def change(**facts):
        settings = json.loads(options.read_text())
        settings["environment"].update(facts)
        options.write_text(json.dumps(settings))

    return change


@pytest.mark.onednn
def test_a_machine_that_computes_otherwise_goes_on_and_says_so(computing, kitchen, tlkit_command):
    now = computes_with_onednn()
    computing(onednn=not now, decoding=DECODING)
    said = tlkit_command("resume", "toy-photos")
    assert said.code == 0
    changed = f"onednn was {'off' if now else 'on'} and is {'on' if now else 'off'}."
    assert f"Note: {changed} The run goes on and may differ in its last digits" in said.err
    card = json.loads((kitchen / "saved_models" / "toy-photos" / "1" / "card.json").read_text())
    assert card["environment"]["onednn"] is now
    assert card["environment"]["changes"] == [changed]


def test_the_same_machine_and_an_unknown_setting_are_no_change(computing, kitchen, tlkit_command):
    computing(onednn="default", decoding=DECODING)
    assert "Note: " not in tlkit_command("resume", "toy-photos").err
    card = json.loads((kitchen / "saved_models" / "toy-photos" / "1" / "card.json").read_text())
    assert "changes" not in card["environment"]


def test_a_finished_run_has_nothing_left(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos")
    said = tlkit_command("resume", "toy-photos")
    assert said.code == 0
    assert said.err == "saved_models/toy-photos/1 is finished; there is nothing to do.\n"
    assert tlkit_command("resume", "toy-photos/1", "--json").json["status"] == "finished"


def test_the_source_means_what_it_meant(stopped, kitchen, monkeypatch, tlkit_command):
    """From another folder, relative paths are still those of the first command line."""
    (kitchen / "recipes" / "toy.py").unlink()  # the run has its own copy
    (kitchen / "photos").mkdir()
    (kitchen / "far").mkdir()
    monkeypatch.chdir(kitchen / "far")
    said = tlkit_command("resume", stopped)
    assert said.code == 0
    card = json.loads((kitchen / "saved_models" / "toy-photos" / "1" / "card.json").read_text())
    assert card["seen"]
    assert list((kitchen / "far").iterdir()) == []


def test_other_options_are_refused(stopped, tlkit_command):
    said = tlkit_command("resume", "toy-photos", "--epochs", "5")
    assert said.code == 2
    assert "Error: --epochs: a resumed run keeps the options that it was started with." in said.err


def test_a_changed_recipe_is_refused(stopped, tlkit_command):
    (stopped / "recipe.py").write_text((stopped / "recipe.py").read_text() + "\n# faster\n")
    said = tlkit_command("resume", "toy-photos")
    assert said.code == 2
    assert "unfinished-1/recipe.py is not the recipe that the run was started with." in said.err


def test_another_release_goes_on(stopped, tlkit_command):
    settings = json.loads((stopped / "options.json").read_text())
    del settings["checkpoint_format"]  # as earlier versions wrote it
    (stopped / "options.json").write_text(json.dumps({**settings, "tlkit": "0.0.1"}))
    assert tlkit_command("resume", "toy-photos").code == 0


def test_another_checkpoint_format_is_refused_and_the_line_that_is_named_works(
    stopped, kitchen, tlkit_command, monkeypatch
):
    settings = json.loads((stopped / "options.json").read_text())
    (stopped / "options.json").write_text(json.dumps({**settings, "checkpoint_format": 2}))
    (kitchen / "else where").mkdir()
    monkeypatch.chdir(kitchen / "else where")
    said = tlkit_command("resume", kitchen / "saved_models" / "toy-photos" / "unfinished-1")
    assert said.code == 2
    assert "with checkpoint format 2, which this version (1) cannot go on from." in said.err
    line = said.err.partition("Start it anew: ")[2].strip()
    folder, *words = shlex.split(line.removeprefix("cd ").replace(" && ", " "))
    monkeypatch.chdir(folder)
    assert words[:2] == ["tlkit", "run"]
    assert tlkit_command(*words[1:]).code == 1  # its --ending is a step that is not finite
    again = json.loads(next((kitchen / "saved_models" / "toy-photos").glob("*2/options.json")).read_text())
    assert again["options"] == settings["options"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("does_it_help", "p/ --class gun --numbers 20,50 --arms flips,composites --include a* --include b"),
        (
            "detect_retinanet",
            "p/ --epochs 1 2 --no-turn --propose-anchors --max-detections 7 --min-scale 0.5",
        ),
        ("extract_features", "p/ --backbone lbp --parquet --max-pixels 9 --group '(a b)'"),
        ("synthesize_dcgan", "p/ --class gun --augmentation none --ada --no-conditional"),
    ],
)
def test_a_line_of_stored_options_gives_the_same_options(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = load_recipe(read_recipe(Path(tlkit.__file__).parents[1] / "recipes" / f"{name}.py"))
    stored = command.make_context("x", shlex.split(words)).params
    settings = {"options": plain(stored), "working_folder": str(tmp_path)}
    again = shlex.split(command.line(tmp_path, settings))
    assert again[:3] == ["tlkit", "run", str(tmp_path / "recipe.py")]
    assert len(again) < 20
    assert command.make_context("x", again[3:]).params == stored


@pytest.mark.parametrize("text", ["{", "[]", '{"tlkit": "1"}'])
def test_broken_settings_are_named(text, stopped, tlkit_command):
    (stopped / "options.json").write_text(text)
    said = tlkit_command("resume", "toy-photos")
    assert said.code == 2
    assert "unfinished-1/options.json cannot be read" in said.err


def test_a_run_that_is_still_at_work_is_left_alone(stopped, tlkit_command):
    from tlkit.core.run_folder import RunFolder

    at_work = RunFolder.reopen(stopped)
    at_work.lock()
    said = tlkit_command("resume", "toy-photos")
    at_work.release()
    assert said.code == 2
    assert "unfinished-1 is still being written by another process." in said.err
    assert stopped.exists()


def test_a_resumed_run_that_fails_again_stays(stopped, kitchen, tlkit_command):
    for file in ("metrics.jsonl",):
        (stopped / file).unlink()
    settings = json.loads((stopped / "options.json").read_text())
    settings["options"]["ending"] = "early"
    (stopped / "options.json").write_text(json.dumps(settings))
    said = tlkit_command("resume", "toy-photos")
    assert said.code == 3
    assert stopped.exists()
    assert "The unfinished run stays" in said.err


def test_a_stored_option_that_is_not_known_is_refused(stopped, tlkit_command):
    settings = json.loads((stopped / "options.json").read_text())
    settings["options"]["sparkle"] = True
    (stopped / "options.json").write_text(json.dumps(settings))
    said = tlkit_command("resume", "toy-photos")
    assert said.code == 2
    assert "was started with sparkle, which this version does not have." in said.err
    assert "Start it anew without: tlkit run " in said.err
    assert stopped.is_dir()
