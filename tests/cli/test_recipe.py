"""A run from the command line to each of its ends, with a recipe that needs no TensorFlow."""

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

import tlkit
from tests.cli.conftest import TOY
from tlkit.cli.recipe import RecipeCommand, default_name
from tlkit.errors import UsageFault


def run_folder(kitchen, name="toy-photos"):
    return kitchen / "saved_models" / name


def numbers(kitchen, name="toy-photos"):
    home = run_folder(kitchen, name)
    return sorted(entry.name for entry in home.iterdir()) if home.exists() else []


# --- finished ---


def test_a_finished_run(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--epochs", "2", "--group", "(x)", "--seed", "7")
    assert said.code == 0
    assert said.out == (
        "run: saved_models/toy-photos/1\nreport: saved_models/toy-photos/1/report.html\naccuracy: 0.7500\n"
        "interval: [0.2000, 0.3333]\n"
    )
    assert said.err.splitlines() == [
        "Counting photos with (0.1, 0.2), group (x)",
        "phase      epoch  train-loss  val-loss  val-acc  best  time[s]",
        "head         1/2      1.0000    0.5000        -   *        0.2",
        "head         2/2      0.5000    0.5000        -            0.2",
    ]
    folder = run_folder(kitchen) / "1"
    assert numbers(kitchen) == ["1"]
    assert (folder / "recipe.py").read_text() == TOY
    log = (folder / "log.txt").read_text().splitlines()
    assert log[0].endswith("tlkit run toy photos --epochs 2 --group '(x)' --seed 7")
    assert log[1:] == said.err.splitlines()


def test_the_result_as_json(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--json", "--runs", "elsewhere", "--name", "first.try")
    assert said.json == {
        "schema_version": 1,
        "status": "finished",
        "run": "elsewhere/first.try/1",
        "saved_model": None,
        "report": "elsewhere/first.try/1/report.html",
        "accuracy": 0.75,
        "interval": [0.2, 1 / 3],
    }


def test_the_card_and_the_options(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--rates", "1", "2")
    card = json.loads((run_folder(kitchen) / "1" / "card.json").read_text())
    options = json.loads((run_folder(kitchen) / "1" / "options.json").read_text())
    assert options["recipe_sha256"] == hashlib.sha256(TOY.encode()).hexdigest()
    assert options["working_folder"] == kitchen.as_posix()
    assert options["options"] == {
        "source": "photos",
        "epochs": 3,
        "rates": [1.0, 2.0],
        "batch": 32,
        "csv_safe": False,
        "most_pixels": 100_000_000,
        "ending": "good",
        "group": None,
        "manifest": None,
        "hold_out": None,
        "allow_leak": False,
        "skip_bad": False,
        "download": False,
        "more": [],
        "small_classes": "refuse",
        "include": [],
        "exclude": [],
        "path_column": None,
        "label_column": None,
        "suffix": None,
        "name": "toy-photos",
        "runs": "saved_models",
        "seed": 0,
        "device": "auto",
    }
    assert card.pop("seconds") < 10
    assert card == {
        "schema_version": 1,
        "tlkit": tlkit.__version__,
        "recipe": "toy",
        "name": "toy-photos",
        "number": 1,
        "created": options["created"],
        "source": "photos",
        "options": options["options"],
        "seed": 0,
        "environment": {},
        "seen": False,
        "classes": ["a", "b"],
        "measures": {"test": {"n": 4, "accuracy": 0.75, "auc": None}},
    }


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos", "toy-photos"),
        ("photos/", "toy-photos"),
        ("a/b/my photos.v2", "toy-my-photos.v2"),
        ("crops/list.csv", "toy-list"),
        ("crops/images.csv", "toy-crops"),
        ("crops/labels.csv", "toy-crops"),
        ("xray:crops", "toy-crops"),
        ("tfds:cats_vs_dogs/plain:1.0.0", "toy-cats_vs_dogs-plain-1.0.0"),
        ("Größe", "toy-Gr-e"),
        (None, "toy"),
    ],
)
def test_a_run_is_named_after_recipe_and_source(source, name):
    assert default_name("toy", source) == name


def test_the_current_folder_gives_its_name(kitchen, monkeypatch):
    (kitchen / "holiday").mkdir()
    monkeypatch.chdir(kitchen / "holiday")
    assert default_name("toy", ".") == "toy-holiday"


# --- checked only ---


def test_a_dry_run_leaves_nothing(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--dry-run")
    assert (said.code, said.out) == (0, "images  4\n")
    assert said.err.endswith("Nothing was learned, and nothing is left. Without --dry-run it starts.\n")
    assert tlkit_command("run", "toy", "photos", "--dry-run", "--json").json == {
        "schema_version": 1,
        "status": "dry-run",
        "images": 4,
    }
    assert [entry.name for entry in kitchen.iterdir()] == ["recipes"]


# --- failed ---


def test_a_fault_before_anything_was_learned_leaves_nothing(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--ending", "early")
    assert (said.code, said.out) == (3, "")
    assert said.err.endswith(
        "Error: photos/ has images but no class folders.\n  Put each class in its own folder.\n"
    )
    assert numbers(kitchen) == []
    said = tlkit_command("run", "toy", "photos", "--ending", "early", "--json")
    assert said.json == {
        "schema_version": 1,
        "error": {
            "code": 3,
            "kind": "DataFault",
            "problem": "photos/ has images but no class folders.",
            "remedy": "Put each class in its own folder.",
        },
    }
    assert "Error" not in said.err


def test_a_useless_folder_takes_no_other_run_with_it(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos")
    tlkit_command("run", "toy", "photos", "--ending", "early")
    assert numbers(kitchen) == ["1"]


def test_a_late_fault_keeps_the_folder_and_says_how_to_go_on(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--ending", "late")
    assert said.code == 1
    hint = "The unfinished run stays: tlkit resume saved_models/toy-photos/unfinished-1 goes on."
    assert said.err.endswith(f"Error: The loss became NaN at step 3.\n  Try a smaller --rates. {hint}\n")
    assert numbers(kitchen) == ["unfinished-1"]
    log = (run_folder(kitchen) / "unfinished-1" / "log.txt").read_text()
    assert "Error: The loss became NaN at step 3." in log
    assert not (run_folder(kitchen) / "unfinished-1" / "card.json").exists()


def test_a_bug_shows_its_traceback_and_logs_it(kitchen, tlkit_command):
    with pytest.raises(ZeroDivisionError):
        tlkit_command("run", "toy", "photos", "--ending", "bug")
    log = (run_folder(kitchen) / "unfinished-1" / "log.txt").read_text()
    assert "ZeroDivisionError: division by zero" in log
    assert "tlkit resume saved_models/toy-photos/unfinished-1 goes on." in log


def test_memory_that_ends_is_a_failed_run(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--ending", "memory", "--batch", "512")
    assert said.code == 1
    assert "Error: The memory is used up.\n  Try less than --batch 512." in said.err


def test_tensorflow_s_own_memory_error_counts_too(kitchen, tlkit_command):
    class ResourceExhaustedError(Exception):
        pass

    from tlkit.core.system_faults import as_fault

    fault = as_fault(ResourceExhaustedError(), {"batch_size": 8})
    assert fault.remedy == "Try less than --batch-size 8."
    assert as_fault(OSError(28, "No space left on device"), {}).problem.endswith("the disk is full.")
    assert as_fault(OSError(2, "No such file"), {}) is None
    assert as_fault(ValueError(), {}) is None


def test_a_stop_by_the_person(kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", "--ending", "interrupt")
    assert said.code == 130
    assert numbers(kitchen) == ["unfinished-1"]


# --- usage ---


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "über", "a b", "-x"])
def test_a_name_must_be_a_folder_s(name, kitchen, tlkit_command):
    said = tlkit_command("run", "toy", "photos", f"--name={name}")
    assert said.code == 2
    assert f"--name {name!r} cannot be the name of a folder." in said.err
    assert [entry.name for entry in kitchen.iterdir()] == ["recipes"]


def test_runs_that_cannot_be_written(kitchen, tlkit_command):
    (kitchen / "file").write_text("")
    said = tlkit_command("run", "toy", "photos", "--runs", "file")
    assert said.code == 1
    assert "file/toy-photos cannot be written" in said.err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere TensorFlow has to be asked")
def test_a_gpu_that_is_absent_is_told_before_anything_starts(kitchen, monkeypatch, tlkit_command):
    monkeypatch.setattr("tlkit.core.device._GPU_NODES", ("dev/no-such-device",))
    said = tlkit_command("run", "toy", "photos", "--device", "gpu")
    assert said.code == 1
    assert "--device gpu: this machine shows no GPU" in said.err
    assert numbers(kitchen) == []


def test_options_without_a_split():
    @tlkit.recipe()
    @click.option("--group", help="Its own.")
    def execute(run, group):
        """Do something else."""

    assert isinstance(execute, RecipeCommand)
    assert [p.name for p in execute.params] == [
        "group", "name", "runs", "seed", "device", "most_pixels", "dry_run", "as_json", "csv_safe", "verbose", "quiet",
    ]  # fmt: skip
    with pytest.raises(UsageFault, match="group, which every recipe has already"):
        tlkit.recipe(split=True)(click.option("--group")(lambda run, group: None))


# --- what a recipe is handed ---


def test_warnings_go_to_the_log_only(kitchen, tlkit_command):
    text = TOY.replace("    done =", '    import warnings; warnings.warn("odd", UserWarning)\n    done =')
    (kitchen / "recipes" / "toy.py").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = tlkit_command("run", "toy", "photos")
    assert "odd" not in said.err
    assert "UserWarning: odd (" in (run_folder(kitchen) / "1" / "log.txt").read_text()


def test_split_options_reach_the_recipe(kitchen, tlkit_command):
    text = TOY.replace(
        "    run.record(",
        "    run.result(vars(run.split) | {'reading': vars(run.split.reading), 'dry': run.dry_run})\n    run.record(",
    )
    (kitchen / "recipes" / "toy.py").write_text(text)
    options = ["--group", "(a)", "--split", "x.csv", "--allow-leak", "--skip-bad", "--download", "--json"]
    options += [
        "--exclude",
        "*_mask.png",
        "--exclude",
        "masks/*",
        "--label-column",
        "breed",
        "--suffix",
        ".jpg",
    ]
    answer = tlkit_command("run", "toy", "photos", *options).json
    assert answer["reading"] == {
        "include": [],
        "exclude": ["*_mask.png", "masks/*"],
        "path_column": None,
        "label_column": "breed",
        "suffix": ".jpg",
    }
    given = {key: answer[key] for key in ("group", "manifest", "allow_leak", "skip_bad", "download", "dry")}
    assert given == {
        "group": "(a)",
        "manifest": "x.csv",
        "allow_leak": True,
        "skip_bad": True,
        "download": True,
        "dry": False,
    }


def test_the_package_is_lazy():
    code = "import sys, tlkit; print(tlkit.recipe, dir(tlkit)); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'recipe'" in done.stdout
    assert {"tensorflow", "keras", "numpy"} & set(done.stderr.split()) == set()
    with pytest.raises(AttributeError, match="has no attribute 'receipt'"):
        tlkit.receipt  # noqa: B018


def test_every_public_name_is_there():
    from importlib import import_module
    from importlib.util import find_spec

    for name, module in tlkit._LAZY.items():
        text = Path(find_spec(module).origin).read_text()
        assert f"def {name}(" in text or f"class {name}" in text or hasattr(import_module(module), name), name
