"""`tlkit replay`: the step that was not finite, once more, from what lies in the unfinished run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.test_kill_points import RECIPES, shapes  # noqa: F401 (a fixture)


@pytest.mark.onednn
def test_a_rate_beyond_all_bounds_is_caught_named_and_replayed(shapes, tmp_path, tlkit_command):  # noqa: F811
    """The first step throws the weights to 1e38, which add up to infinity; what they make of a batch, the processor
    decides: with oneDNN a fused relu of NaN is 0."""
    words = ["--learning-rate", 1e38, "--warmup", 0, "--epochs", 3, "--batch", 6, "--runs", tmp_path]
    said = tlkit_command("run", "small-cnn", shapes, *words)
    assert said.code == 1
    folder = tmp_path / "small-cnn-shapes" / "unfinished-1"
    replay = folder / "checkpoints" / "training" / "replay"
    cause = "Weights were NaN, infinite or too large to be added up before phase training, epoch 1, step 2: "
    assert f"{cause}convolution_1/kernel, " in said.err
    assert f"tlkit replay {replay} repeats the step and says more. The unfinished run stays." in said.err
    assert "tlkit resume" not in said.err
    (shapes / "bar").rename(shapes / "moved")  # neither recipe nor images are needed
    try:
        said = tlkit_command("replay", "small-cnn-shapes", "--runs", tmp_path, "--json")
    finally:
        (shapes / "moved").rename(shapes / "bar")
    assert said.code == 0, said.err
    found = said.json
    assert (found["status"], found["phase"], found["epoch"], found["step"]) == (
        "not finite",
        "training",
        1,
        2,
    )
    assert len(found["files"]) == 6
    assert found["files"][0].split("/")[0] in {"bar", "disc"}
    assert found["gradients"]["of"] == 6
    assert {"convolution_1/kernel", "convolution_2/kernel"} <= set(found["weights"])
    assert found["inputs"] == []
    text = tlkit_command("replay", replay)
    assert (
        text.out.splitlines()[0] == "phase training, epoch 1, step 2, learning rate 1e+38: not finite again."
    )
    assert "  weights before the step: convolution_1/kernel, " in text.out
    with np.load(replay / "variables.npz") as stored:
        arrays = {name: np.where(np.abs(stored[name]) > 1e30, 0, stored[name]) for name in stored.files}
    np.savez(replay / "variables.npz", **arrays)
    said = tlkit_command("replay", folder)
    assert said.code == 1
    assert "is finite when it is repeated here" in said.err


def test_a_run_without_a_replay_is_told(kitchen, tlkit_command):
    tlkit_command("run", "toy", "photos", "--ending", "late")
    said = tlkit_command("replay", "toy-photos", "--json")
    assert said.code == 2
    assert said.json["error"]["problem"] == "saved_models/toy-photos/unfinished-1 holds no replay."
    assert tlkit_command("replay", "nothing").code == 2


@pytest.mark.slow
@pytest.mark.parametrize("stage", [("all", (0, 0, 2)), ("top", (0, 2, 0)), ("head", (2, 0, 0))])
def test_each_stage_of_fine_tuning_is_replayed(stage, shapes, tmp_path, tlkit_command):  # noqa: F811
    name, epochs = stage
    _, _, _, _, _, *rest = RECIPES["head"]
    rates = ("--learning-rates", 1e38, 1e38, 1e38, "--warmup", 0, "--runs", tmp_path)
    said = tlkit_command("run", "fine-tune", shapes, "--epochs", *epochs, *rest, *rates)
    assert said.code == 1, said.err
    assert f"in phase {name}, epoch 1, step 2" in said.err
    said = tlkit_command("replay", "fine-tune-shapes", "--runs", tmp_path, "--json")
    assert said.code == 0, said.err
    assert "logits/kernel" in said.json["weights"]
    assert said.json["phase"] == name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["retinanet", "yolov2", "faster-rcnn", "fast-rcnn"])
def test_a_detector_is_replayed(kind, bags, tmp_path, tlkit_command):
    if kind == "fast-rcnn":
        pytest.importorskip("cv2", reason="Selective Search needs the extra proposals")
    _, *options = RECIPES["detector"]
    rates = ("--learning-rates", 1e38, 1e38, "--runs", tmp_path)
    said = tlkit_command("run", f"detect-{kind}", bags, *options, *rates, "--seed", 3)
    assert said.code == 1, said.err
    said = tlkit_command("replay", f"detect-{kind}-bags", "--runs", tmp_path, "--json")
    with np.load(next(tmp_path.rglob("batch.npz"))) as batch:  # as large as it was learned
        images = batch["batch#0.images" if kind == "fast-rcnn" else "batch#0"]
        assert images.shape[1] == (96 if kind == "yolov2" else 64)
    facts = json.loads(next(tmp_path.rglob("replay.json")).read_text())["network"]
    assert facts["drawn"]["seed"] != [0, 0]
    assert facts["drawn"]["step"] == said.json["step"] - 1
    assert said.code == 0, said.err
    assert said.json["weights"]
    assert 2 <= len(said.json["files"]) <= 4
