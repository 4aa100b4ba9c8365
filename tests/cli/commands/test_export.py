"""`tlkit export`: checks before the slow import; the conversion itself is tested in tests/tasks."""

import pytest

from tlkit.core.run_folder import RunFolder


@pytest.fixture
def run(kitchen):
    return finish(kitchen, "guns", {"recipe": "fine-tune"})


def finish(kitchen, name, card, model=True):
    started = RunFolder.start(kitchen / "saved_models", name)
    if model:
        (started.path / "model.keras").touch()
    return started.finish(card)


@pytest.fixture
def converted(monkeypatch):
    """Stand in for results.conversion: what it was asked, with an answer."""
    import sys
    import types

    asked = []

    def convert(kind):
        def to(path, output, *, resizes):
            asked.append((kind, path.as_posix(), output.as_posix(), resizes))
            output.write_text(kind)
            return {"largest_difference": 1e-7}

        return to

    module = types.SimpleNamespace(to_onnx=convert("onnx"), to_litert=convert("litert"))
    monkeypatch.setitem(sys.modules, "tlkit.tasks.classification.serving.export", module)
    monkeypatch.setattr("tlkit.cli.commands.export.import_tensorflow", lambda: None)
    return asked


@pytest.mark.parametrize(("target", "file"), [("onnx", "model.onnx"), ("litert", "model.tflite")])
def test_into_the_run_s_folder(target, file, run, converted, tlkit_command):
    said = tlkit_command("export", "guns", "--format", target, "--json")
    assert said.json == {
        "schema_version": 1,
        "status": "written",
        "format": target,
        "file": f"saved_models/guns/1/{file}",
        "largest_difference": 1e-7,
    }
    assert converted == [(target, "saved_models/guns/1", f"saved_models/guns/1/{file}", False)]
    said = tlkit_command("export", "guns", "--format", target)
    assert said.code == 2
    assert f"saved_models/guns/1/{file} is there already." in said.err


@pytest.mark.parametrize("target", ["onnx", "litert"])
def test_a_detector_goes_another_way(target, converted, kitchen, monkeypatch, tlkit_command):
    import sys
    import types

    from tlkit.tasks.detection.settings import Detecting

    asked = []

    def write(detector, output, detecting):
        asked.append((detector, output.as_posix(), detecting))
        return {"largest_difference": 1e-5}

    how = {"threshold": 0.25, "overlap": 0.5, "most": 7, "candidates": 50}
    finish(kitchen, "bags", {"kind": "detector", "detecting": how})
    loaded = types.SimpleNamespace(load_detector=lambda file: file.as_posix())
    other = types.SimpleNamespace(**{f"detector_to_{target}": write})
    setattr(other, f"detector_to_{'litert' if target == 'onnx' else 'onnx'}", None)
    monkeypatch.setitem(sys.modules, "tlkit.tasks.detection.build", loaded)
    monkeypatch.setitem(sys.modules, "tlkit.tasks.detection.serving.export", other)
    said = tlkit_command("export", "bags", "--format", target, "--output", "mine")
    assert said.code == 0
    assert asked == [("saved_models/bags/1/model.keras", "mine", Detecting(**how))]
    assert converted == []
    said = tlkit_command("export", "bags", "--format", "litert", "--nms", "--output", "other")
    assert (said.code, said.err.splitlines()[0]) == (
        2, "Error: --nms is for detectors as ONNX, and --format is litert.",
    )  # fmt: skip


def test_where_one_wants_it(run, converted, kitchen, tlkit_command):
    assert tlkit_command("export", "guns/1", "--format", "onnx", "--output", "mine.onnx").code == 0
    assert (kitchen / "mine.onnx").read_text() == "onnx"
    said = tlkit_command("export", "guns", "--format", "onnx", "--output", "no/where.onnx")
    assert (said.code, said.err.splitlines()[0]) == (2, "Error: There is no folder no.")


def test_small_figures_are_not_rounded_away(run, converted, tlkit_command):
    assert "largest_difference: 1e-07" in tlkit_command("export", "guns", "--format", "onnx").out


def test_a_format_must_be_named(run, tlkit_command):
    assert "Missing option '--format'" in tlkit_command("export", "guns").err
    said = tlkit_command("export", "guns", "--format", "onyx")
    assert said.code == 2
    assert "'onyx' is not one of 'onnx', 'litert'" in said.err


@pytest.mark.parametrize("word", ["tflite", "LiteRT", "TFLite"])
def test_litert_by_its_older_name_and_in_any_case(word, run, converted, tlkit_command):
    said = tlkit_command("export", "guns", "--format", word, "--json")
    assert (said.json["format"], said.json["file"]) == ("litert", "saved_models/guns/1/model.tflite")
    assert converted[0][0] == "litert"


@pytest.mark.parametrize(
    ("word", "file", "remedy"),
    [
        ("litert", "x.onnx", "Name it x.tflite, or take --format onnx."),
        ("tflite", "x.ONNX", "Name it x.tflite, or take --format onnx."),
        ("onnx", "a.b.tflite", "Name it a.b.onnx, or take --format litert."),
        ("onnx", "x.litert", "Name it x.onnx, or take --format litert."),
        ("onnx", "x.keras", "Name it x.onnx."),
    ],
)
def test_a_file_that_ends_like_another_format_is_refused(
    word, file, remedy, run, converted, kitchen, tlkit_command
):
    said = tlkit_command("export", "guns", "--format", word, "--output", file)
    target = "onnx" if word == "onnx" else "litert"
    assert said.code == 2
    assert said.err.splitlines() == [
        f"Error: --output {file} does not end like a file of --format {target}.",
        f"  {remedy}",
    ]
    assert converted == []


@pytest.mark.parametrize("file", ["x.litert", "x.tflite", "x.TFLITE", "x", "blades.v2"])
def test_any_other_name_is_the_person_s_own(file, run, converted, kitchen, tlkit_command):
    assert tlkit_command("export", "guns", "--format", "litert", "--output", file).code == 0
    assert (kitchen / file).is_file()


@pytest.mark.parametrize(
    ("card", "problem", "remedy"),
    [
        (
            {"recipe": "extract-features"},
            "is a run of extract-features and holds features, no model.",
            "Fit a head on such features with tlkit run fit-head, and export that run.",
        ),
        (
            {"recipe": "look-inside"},
            "is a run of look-inside and holds images of a network, no model.",
            "Name a run of",
        ),
        (
            {"recipe": "mine"},
            "has no model.keras, so there is no model to export.",
            "Name a run of fine-tune",
        ),
        ({}, "has no model.keras, so there is no model to export.", "Name a run of fine-tune"),
        (
            {"recipe": "synthesize-dcgan", "kind": "generator"},
            "is a run of synthesize-dcgan and holds a generator, which is not exported to other runtimes.",
            "Serve the SavedModel in saved_models/other/1.",
        ),
    ],
)
def test_a_run_that_holds_no_such_model_says_what_it_holds(
    card, problem, remedy, converted, kitchen, tlkit_command
):
    finish(kitchen, "other", card, model=card.get("kind") == "generator")
    said = tlkit_command("export", "other", "--format", "onnx")
    assert said.code == 2
    first, second = said.err.splitlines()
    assert first == f"Error: saved_models/other/1 {problem}"
    assert second.strip().startswith(remedy)
    assert converted == []


def test_every_recipe_without_a_model_is_known():
    """A recipe's runs hold a model, or the table says what they hold instead."""
    from pathlib import Path

    import tlkit
    from tlkit.cli.commands.export import NO_MODEL

    recipes = {
        path.stem.replace("_", "-")
        for path in (Path(tlkit.__file__).parents[1] / "recipes").glob("[a-z]*.py")
    }
    models = {"fine-tune", "small-cnn", "fit-head", "slide-window"}
    models |= {"detect-retinanet", "detect-yolov1", "detect-yolov2", "detect-yolov3", "detect-yolov8"}
    models |= {"detect-rcnn", "detect-fast-rcnn", "detect-faster-rcnn", "detect-mask-rcnn"}
    models |= {"synthesize-dcgan", "synthesize-stylegan"}
    assert recipes == models | set(NO_MODEL)


def test_the_resize_goes_inside_where_one_wants_it_but_not_of_a_detector(
    run, converted, kitchen, tlkit_command
):
    assert tlkit_command("export", "guns", "--format", "onnx", "--with-resize").code == 0
    assert converted[0][3] is True
    finish(kitchen, "bags", {"kind": "detector"})
    said = tlkit_command("export", "bags", "--format", "onnx", "--with-resize")
    assert said.code == 2
    assert said.err.startswith(
        "Error: --with-resize is for classifiers, and saved_models/bags/1 is a detector"
    )
