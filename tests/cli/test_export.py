"""`tlkit export`: checks before the slow import; the conversion itself is tested in tests/results."""

import pytest

from tlkit.results.run_folder import RunFolder


@pytest.fixture
def run(kitchen):
    return RunFolder.start(kitchen / "saved_models", "guns").finish({})


@pytest.fixture
def converted(monkeypatch):
    """Stand in for results.conversion: what it was asked, with an answer."""
    import sys
    import types

    asked = []

    def convert(kind):
        def to(path, output):
            asked.append((kind, path.as_posix(), output.as_posix()))
            output.write_text(kind)
            return {"largest_difference": 1e-7}

        return to

    module = types.SimpleNamespace(to_onnx=convert("onnx"), to_litert=convert("litert"))
    monkeypatch.setitem(sys.modules, "tlkit.results.conversion", module)
    monkeypatch.setattr("tlkit.cli.export.import_tensorflow", lambda: None)
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
    assert converted == [(target, "saved_models/guns/1", f"saved_models/guns/1/{file}")]
    said = tlkit_command("export", "guns", "--format", target)
    assert said.code == 2
    assert f"saved_models/guns/1/{file} is there already." in said.err


@pytest.mark.parametrize("target", ["onnx", "litert"])
def test_a_detector_goes_another_way(target, converted, kitchen, monkeypatch, tlkit_command):
    import sys
    import types

    from tlkit.models.detector_settings import Detecting

    asked = []

    def write(detector, output, detecting):
        asked.append((detector, output.as_posix(), detecting))
        return {"largest_difference": 1e-5}

    how = {"threshold": 0.25, "overlap": 0.5, "most": 7, "candidates": 50}
    RunFolder.start(kitchen / "saved_models", "bags").finish({"kind": "detector", "detecting": how})
    loaded = types.SimpleNamespace(load_detector=lambda file: file.as_posix())
    other = types.SimpleNamespace(**{f"detector_to_{target}": write})
    setattr(other, f"detector_to_{'litert' if target == 'onnx' else 'onnx'}", None)
    monkeypatch.setitem(sys.modules, "tlkit.models.detectors", loaded)
    monkeypatch.setitem(sys.modules, "tlkit.results.detector_conversion", other)
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
