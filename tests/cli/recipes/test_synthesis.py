"""The recipes that synthesise images, run as a person runs them: small, few steps, pixels as features."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

import tlkit
from tests.conftest import draw
from tlkit.cli.main import main
from tlkit.core.run_folder import read_metrics

TINY = ("--size", 32, "--steps", 4, "--every", 2, "--batch", 8, "--width", 8, "--latent", 8)
EVALUATED = ("--samples", 9, "--metric-extractor", "pixels")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthesis") / "shapes"
    for label, kind in enumerate(("bar", "disc", "other")):
        (root / kind).mkdir(parents=True)
        for number in range(40):
            draw(label, number, 40).convert("L").save(root / kind / f"{number}.png")
    return root


def call(*arguments: object, code: int = 0) -> dict:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.stderr + result.stdout
    return json.loads(result.stdout)


def run(recipe: str, source: object, runs: Path, *options: object, code: int = 0) -> dict:
    return call("run", recipe, source, "--runs", runs, *options, code=code)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def gan(shapes, runs):
    """A finished run of synthesize-dcgan on the discs."""
    return run("synthesize-dcgan", shapes, runs, "--class", "disc", "--name", "gan", *TINY, *EVALUATED)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_finished_gan_keeps_every_promise(gan):
    folder = Path(gan["run"])
    for name in ("saved_model.pb", "model.keras", "recipe.py", "options.json", "card.json", "metrics.jsonl", "log.txt",
                 "report.html", "split.csv", "trained_on.csv", "pictures/grid.png", "pictures/neighbours.png",
                 "pictures/curves.png", "pictures/interpolation.gif"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    assert len(list((folder / "synthetic" / "disc").glob("*.png"))) == 9
    with Image.open(folder / "synthetic" / "disc" / "00001.png") as image:
        assert (image.size, image.mode) == ((32, 32), "L")
    assert not (folder / "checkpoints").exists()
    card = json.loads((folder / "card.json").read_text())
    assert card["kind"] == "generator"
    assert card["measures"]["extractor"] == "pixels"
    assert card["game"]["steps"] == 4
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [
        2,
        4,
    ]


def test_it_learns_from_the_training_part_of_its_class_only(gan):
    folder = Path(gan["run"])
    parts = {row["sha256"]: row for row in rows_of(folder / "split.csv")}
    learned = rows_of(folder / "trained_on.csv")
    assert len(learned) == 24
    assert {(parts[row["sha256"]]["part"], row["label"]) for row in learned} == {("training", "disc")}


def test_the_saved_model_makes_what_generate_writes(gan, runs):
    from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator

    served = ServedGenerator.load(Path(gan["run"]))
    made = served.answer(3, seed=5)["png"].numpy()
    folder = Path(run("generate", "gan", runs, "--samples", 3, "--seed", 5)["run"]) / "synthetic" / "disc"
    for number, contents in enumerate(made, 1):
        shown = tf.io.decode_png(contents, channels=1).numpy()[..., 0]
        with Image.open(folder / f"{number:05}.png") as image:
            assert (np.asarray(image) == shown).all()
    card = json.loads((Path(gan["run"]) / "card.json").read_text())
    assert card["parity"]["largest_difference"] < 1e-5


def test_generate_makes_as_many_as_asked_and_hands_on_what_was_learned_from(gan, runs):
    made = run("generate", "gan", runs, "--samples", 12, "--truncation", 0.5)
    assert made["pictures"] == 12
    folder = Path(made["run"])
    assert len(list((folder / "synthetic" / "disc").glob("*.png"))) == 12
    assert (folder / "trained_on.csv").read_bytes() == (Path(gan["run"]) / "trained_on.csv").read_bytes()
    again = Path(run("generate", "gan", runs, "--samples", 12, "--truncation", 0.5)["run"])
    for file in (folder / "synthetic" / "disc").glob("*.png"):
        assert file.read_bytes() == (again / "synthetic" / "disc" / file.name).read_bytes()
    for source, options, words in (
        ("gan", ("--class", "bar"), "--class bar was not learned by gan"),
        ("generate-gan", (), "has no generator"),
    ):
        refused = run("generate", source, runs, *options, code=2)
        assert words in refused["error"]["problem"]


def test_a_classifier_takes_the_images_and_says_so(gan, shapes, runs):
    options = ("--synthetic", "gan", "--image-size", 32, "--epochs", 1)
    folder = Path(run("small-cnn", shapes, runs, *options)["run"])
    card = json.loads((folder / "card.json").read_text())
    assert card["data"]["added"] == {"gan/1": {"disc": 9}}
    assert card["data"]["parts"]["training"]["per_class"] == {"bar": 24, "disc": 33, "other": 24}
    assert "Added to training: gan/1: disc: 9" in (folder / "report.html").read_text()


def test_a_classifier_that_judges_what_the_gan_saw_is_refused(gan, shapes, runs):
    options = ("--synthetic", "gan", "--image-size", 32, "--epochs", 1, "--seed", 1)
    refused = run("small-cnn", shapes, runs, *options, code=3)
    assert "--synthetic gan/1 learned from disc/" in refused["error"]["problem"]
    assert "--split" in refused["error"]["remedy"]


@pytest.mark.slow  # tests/tasks/synthesis/test_gan.py resumes without the command line
@pytest.mark.parametrize("recipe", ["synthesize-dcgan", "synthesize-stylegan"])
def test_a_stopped_gan_goes_on_to_the_same_end(recipe, shapes, runs, tmp_path, monkeypatch):
    from tlkit.tasks.synthesis import train_workflow as training

    monkeypatch.setattr("tlkit.tasks.synthesis.evaluate_workflow.SOUGHT", 2)
    whole = Path(
        run(recipe, shapes, runs, "--class", "bar", "--name", f"whole-{recipe}", *TINY, *EVALUATED)["run"]
    )
    seen = training._Referee.checkpoint

    def stop(self, step, gan):
        reason = seen(self, step, gan)
        if step == 2:
            raise KeyboardInterrupt
        return reason

    options = ("--class", "bar", "--name", "stopped", *TINY, *EVALUATED)
    with monkeypatch.context() as patch:
        patch.setattr(training._Referee, "checkpoint", stop)
        run(recipe, shapes, tmp_path, *options, code=130)
    resumed = Path(call("resume", tmp_path / "stopped")["run"])
    for number in range(1, 10):
        name = f"synthetic/bar/{number:05}.png"
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    found, wanted = (read_metrics(folder) for folder in (resumed, whole))
    assert [timeless(row) for row in found] == [timeless(row) for row in wanted]


def timeless(row: dict) -> dict:
    return {name: value for name, value in row.items() if "second" not in name}


@pytest.mark.slow
def test_a_style_network_shows_mixing_truncation_and_a_projection(shapes, runs, monkeypatch):
    monkeypatch.setattr("tlkit.tasks.synthesis.evaluate_workflow.SOUGHT", 2)
    options = ("--class", "disc", "--conditional", "--class", "bar", *TINY, *EVALUATED)
    folder = Path(run("synthesize-stylegan", shapes, runs, "--name", "style", *options)["run"])
    drawn = {file.stem for file in (folder / "pictures").glob("*.png")}
    assert {"mixing", "truncation", "projection"} <= drawn
    assert {file.parent.name for file in (folder / "synthetic").glob("*/*.png")} == {"bar", "disc"}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "has 3 classes to imitate: bar, disc, other"),
        (("--class", "dics"), 2, "--class dics is no class"),
        (("--class", "disc", "--synthetic", "gan"), 2, "--synthetic does not apply here"),
        (("--class", "disc", "--size", "48"), 2, "48"),
        (("--class", "disc", "--augmentation", "cutoff"), 2, "cutoff is unknown. Did you mean cutout?"),
    ],
)
def test_what_cannot_be_imitated_is_told(options, code, words, shapes, tmp_path):
    refused = run("synthesize-dcgan", shapes, tmp_path, *options, code=code)
    assert words in refused["error"]["problem"]


def test_too_few_images_are_told_and_loose_images_are_one_class(tmp_path):
    loose = tmp_path / "stars"
    loose.mkdir()
    for number in range(12):
        draw(1, number, 40).save(loose / f"{number}.png")
    refused = run("synthesize-dcgan", loose, tmp_path / "runs", *TINY, *EVALUATED, code=3)
    assert "has 7 training images of stars; a GAN needs 8" in refused["error"]["problem"]
    assert not list((tmp_path / "runs").glob("*/*"))


def test_the_augmentation_can_be_seen_before(shapes, tmp_path):
    file = tmp_path / "preview.png"
    options = ("--class", "disc", "--preview-augment", file)
    assert run("synthesize-dcgan", shapes, tmp_path / "runs", *options)["preview"] == str(file)
    with Image.open(file) as image:
        assert np.asarray(image).std() > 1
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize(
    ("numbers", "arms"),
    [
        (("8", "90"), ("flips",)),
        pytest.param(
            ("8", "12", "90"), ("flips", "dcgan", "composites", "dcgan+composites"), marks=pytest.mark.slow
        ),
    ],
    ids=["flips", "all"],
)
def test_does_it_help_answers_with_a_verdict(numbers, arms, shapes, runs):
    options = ("--class", "disc", "--numbers", ",".join(numbers), "--arms", ",".join(arms), "--repeats", 2)
    more = ("--steps", 2, "--samples", 8, "--backbone", "pixels", "--seed", 0)
    found = run("does-it-help", shapes, runs, "--name", "help", *options, *more)
    folder = Path(found["run"])
    cells = rows_of(folder / "benefit.csv")
    # training has 24 discs, so 90 is left out
    assert [(row["number"], row["arm"]) for row in cells] == [
        (number, arm) for number in numbers[:-1] for arm in ("nothing", *arms)
    ]
    assert len(found["verdict"]) == len(arms)
    assert found["verdict"][0].startswith("flips ")
    assert (folder / "pictures" / "benefit.png").is_file()
    assert not (folder / "cells").exists()


# --- composites ---


@pytest.fixture(scope="module")
def threats(tmp_path_factory):
    """Dark shapes on a bright background, as clean X-ray crops are."""
    root = tmp_path_factory.mktemp("composites") / "threats"
    for label, kind in enumerate(("gun", "blade", "other")):
        (root / kind).mkdir(parents=True)
        for number in range(10):
            grey = np.asarray(draw(label, number, 48).convert("L"))
            Image.fromarray((240 - grey * 0.9).astype(np.uint8)).save(root / kind / f"{number}.png")
    return root


def test_composites_are_made_of_training_only_and_say_of_what(threats, runs):
    found = run("composite-crops", threats, runs, "--copies", 2, "--size", 64, "--name", "comps")
    folder = Path(found["run"])
    made = rows_of(folder / "composites.csv")
    parts = {row["path"]: row["part"] for row in rows_of(folder / "split.csv")}
    assert found["composites"] == len(made) == 2 * 12 + 2 * 6
    assert {row["file"] for row in made} == {
        file.relative_to(folder).as_posix() for file in (folder / "synthetic").rglob("*.png")
    }
    used = [row["threat"] for row in made if row["threat"]]
    used += [path for row in made for path in row["backgrounds"].split()]
    assert {parts[path] for path in used} == {"training"}
    assert all(row["file"].split("/")[1] == row["threat"].split("/")[0] for row in made if row["threat"])
    learned = {row["path"] for row in rows_of(folder / "trained_on.csv")}
    assert set(used) <= learned


def test_a_composite_run_serves_the_same_split_and_no_other(threats, runs):
    head = ("--backbones", "pixels", "--heads", "knn1", "--synthetic", "comps")
    taken = run("compare-backbones", threats, runs, "--select", "validation", *head)
    card = json.loads((Path(taken["run"]) / "card.json").read_text())
    assert card["data"]["added"]["comps/1"] == {"blade": 12, "gun": 12, "other": 12}
    for options, code, words in (
        (("--select", "validation", "--seed", 3), 3, "--synthetic comps/1 learned from"),
        (("--select", "folds"), 2, "--select folds cannot evaluate with --synthetic"),
    ):
        refused = run("compare-backbones", threats, runs, *head, *options, code=code)
        assert words in refused["error"]["problem"]


def test_composites_of_validation_are_chosen_by_and_their_crops_never_judged(threats, runs):
    made = run(
        "composite-crops", threats, runs, "--copies", 1, "--size", 64, "--validation", "--name", "chosen"
    )
    folder = Path(made["run"])
    parts = {row["path"]: row["part"] for row in rows_of(folder / "split.csv")}
    for row in rows_of(folder / "composites.csv"):
        part = "validation" if row["file"].startswith("synthetic-validation/") else "training"
        assert {parts[path] for path in [row["threat"], *row["backgrounds"].split()] if path} <= {part}
    head = ("--backbones", "pixels", "--heads", "knn1", "--synthetic", "chosen", "--select", "validation")
    card = json.loads((Path(run("compare-backbones", threats, runs, *head)["run"]) / "card.json").read_text())
    real = Counter(parts.values())
    assert (
        card["data"]["parts"]["validation"]["n"] == real["validation"] + 4 + 4
    )  # one a threat, two a harmless crop
    assert card["data"]["added"]["chosen/1"]["gun for validation"] == 2
    # A crop that was chosen by may not be evaluated: validation and test change places.
    swapped = {"validation": "test", "test": "validation"}
    manifest = folder.parent / "swapped.csv"
    rows = [f"{path},{swapped.get(part, part)}" for path, part in parts.items()]
    manifest.write_text("\n".join(["path,part", *rows]) + "\n")
    refused = run("compare-backbones", threats, runs, *head, "--split", manifest, code=3)
    assert "which is in the test part here" in refused["error"]["problem"]


def test_composites_need_harmless_things(threats, runs):
    refused = run("composite-crops", threats, runs, "--negative", "harmless", code=3)
    assert "has no class harmless of harmless things" in refused["error"]["problem"]


def test_python_gets_the_images_of_generate(gan, runs):
    generator = tlkit.load(gan["run"])
    made = generator.generate(3, "disc", seed=5)
    again = run("generate", gan["run"], runs, "--samples", 3, "--seed", 5, "--class", "disc")
    for number, image in enumerate(made.images, 1):
        with Image.open(Path(again["run"]) / "synthetic" / "disc" / f"{number:05}.png") as file:
            assert np.array_equal(np.asarray(file), np.round(image[..., 0].astype(np.float64) * 255))
    assert made.labels == ("disc",) * 3
    assert generator.generate(0).images.shape == (0, 32, 32, 1)
    with pytest.raises(tlkit.UsageFault, match="--class gun was not learned"):
        generator.generate(1, "gun")
    with pytest.raises(tlkit.ModelFault, match="holds no SavedModel of a classifier that can be read"):
        generator.predict([])
