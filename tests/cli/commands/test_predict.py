"""`tlkit predict` and `tlkit evaluate` on a run that was really trained."""

import csv
import functools
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import draw
from tests.data.images.decoding import bombs
from tlkit.cli.inference import find_images
from tlkit.core.run_folder import RunFolder, read_card
from tlkit.data.images.readers.folders import images_below, read_class_folders
from tlkit.errors import DataFault


@pytest.fixture(autouse=True, scope="module")
def _loaded_once():
    """Every command loads the SavedModel for itself; here one load serves them all."""
    from tlkit.tasks.classification.serving.saved_model import Served

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Served, "load", functools.cache(Served.load))
        yield


def manifest(run):
    with (run / "split.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def predictions(run):
    with (run / "predictions.csv").open(newline="") as stream:
        return {row["path"]: row for row in csv.DictReader(stream)}


# --- predict ---


def test_a_file_gets_the_answer_it_got_in_training(finished, tlkit_command):
    path, row = next(iter(predictions(finished.run).items()))
    said = tlkit_command("predict", finished.run, finished.source / path)
    where, label, confidence = said.out.splitlines()[1].split()
    assert (where, label) == ((finished.source / path).as_posix(), row["predicted"])
    assert float(confidence) == pytest.approx(max(float(row[c]) for c in ("bar", "disc", "frame")), abs=1e-4)


def test_a_folder_is_all_images_below(finished, tlkit_command):
    answer = tlkit_command("predict", finished.run, finished.source, "--json", "--batch", "7").json
    assert answer["classes"] == ["bar", "disc", "frame"]
    assert len(answer["predictions"]) == 30
    known = predictions(finished.run)
    for one in answer["predictions"]:
        row = known[Path(one["path"]).relative_to(finished.source).as_posix()]
        assert one["label"] == row["predicted"]
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["confidence"] == max(one["probabilities"].values())
        assert all(
            one["probabilities"][c] == pytest.approx(float(row[c]), abs=1e-5) for c in answer["classes"]
        )


def test_as_csv(finished, tlkit_command):
    said = tlkit_command("predict", finished.run, finished.source / "disc", "--csv")
    table = list(csv.DictReader(io.StringIO(said.out)))
    assert list(table[0]) == ["path", "label", "confidence", "bar", "disc", "frame"]
    assert len(table) == 10


def test_names_that_a_spreadsheet_runs_or_a_stream_cannot_hold(
    finished, tmp_path, monkeypatch, tlkit_command
):
    from click.testing import CliRunner

    from tlkit.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    names = ["=1+1.png", "caf\u00e9.png", "\U0001f408.png", os.fsdecode(b"\xff.png")]
    for name in names:
        shutil.copy(next((finished.source / "disc").glob("*.png")), name)
    runs = ("predict", finished.run)
    assert tlkit_command(*runs, names[0], "--csv").out.splitlines()[1].startswith("=1+1.png,")
    assert tlkit_command(*runs, names[0], "--csv", "--csv-safe").out.splitlines()[1].startswith("'=1+1.png,")
    said = tlkit_command(*runs, names[0], "--csv-safe")
    assert (said.code, said.err.splitlines()[0]) == (2, "Error: --csv-safe is for --csv and for --draw.")
    for encoding, cafe in (("cp1252", b"\xe9"), ("ascii", b"\\xe9")):
        for form in ((), ("--csv",), ("--json",)):
            result = CliRunner(charset=encoding).invoke(main, [*map(str, runs), *names, *form])
            assert result.exit_code == 0, result.output
            if "--json" in form:
                assert [row["path"] for row in json.loads(result.stdout)["predictions"]] == names
                assert result.stdout_bytes.isascii()
                continue
            starts = [line.split(b".png")[0] for line in result.stdout_bytes.splitlines()[1:]]
            assert starts == [b"=1+1", b"caf" + cafe, b"\\U0001f408", b"\\udcff"]
            assert result.stderr.count("PYTHONUTF8=1 in the environment shows it.") == 1


def test_a_image_that_does_not_open_is_named_or_left_out(finished, tmp_path, tlkit_command):
    draw(0, 1).save(tmp_path / "good.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    said = tlkit_command("predict", finished.run, tmp_path)
    assert said.code == 3
    assert f"Error: {tmp_path.as_posix()}/torn.png is truncated." in said.err
    said = tlkit_command("predict", finished.run, tmp_path, "--skip-bad", "--json")
    assert [one["path"] for one in said.json["predictions"]] == [f"{tmp_path.as_posix()}/good.png"]
    assert said.json["skipped"] == [{"path": f"{tmp_path.as_posix()}/torn.png", "reason": "is truncated"}]


def test_which_files_are_meant(tmp_path):
    for name in ("b.png", "a.JPG", "deep/c.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = [tmp_path / "b.png", tmp_path / "a.JPG", tmp_path / "deep" / "c.tif"]
    assert find_images((tmp_path / "b.png", tmp_path))[0] == expected
    assert find_images((tmp_path / "notes.txt",))[0] == [
        tmp_path / "notes.txt"
    ]  # a file that is named is tried
    (tmp_path / "empty").mkdir()
    for wrong, message in (("nowhere.png", "nowhere.png does not exist"), ("empty", "empty has no images")):
        with pytest.raises(DataFault, match=message):
            find_images((tmp_path / wrong,))


def test_a_folder_is_read_by_the_rule_of_a_source_and_the_rest_is_counted(finished, tmp_path, tlkit_command):
    for name in ("a.png", "_neg/b.png", "deep/plain"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        draw(0, 1).save(tmp_path / name, format="PNG")
    for name in ("._a.png", "deep/._c.jpg", ".hidden/d.png", "notes.txt", "deep/e.tga"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    expected = [
        f"{tmp_path}: Files that are not read: 1 .txt and 1 .tga (the first: notes.txt).",
        f"{tmp_path}: Cannot be read, or links to nothing or back: gone.png.",
        f"{tmp_path}: Hidden files are passed over: 2 images (the first: ._a.png).",
    ]
    answer = tlkit_command("predict", finished.run, tmp_path, "--json").json
    asked = [Path(one["path"]).relative_to(tmp_path).as_posix() for one in answer["predictions"]]
    assert asked == ["_neg/b.png", "a.png", "deep/plain"]
    assert answer["remarks"] == expected
    assert tlkit_command("predict", finished.run, tmp_path).err.splitlines() == expected
    assert asked == images_below(tmp_path).paths  # what a detector's check lists
    classes = read_class_folders("photos", tmp_path)
    assert [row.path for row in classes.rows] == [
        "deep/plain"
    ]  # where a folder that begins with _ is no class
    assert classes.remarks == [
        *(sentence.removeprefix(f"{tmp_path}: ") for sentence in expected),
        "Folders that begin with _ are no classes and are passed over: _neg (1 image).",
    ]


def test_a_bomb_is_refused_before_the_model_sees_it(finished, tmp_path, tlkit_command):
    assert read_card(finished.run)["most_pixels"] == 100_000_000
    draw(0, 1).save(tmp_path / "good.png")
    (tmp_path / "bomb.png").write_bytes(bombs.png(30_000, 30_000))
    why = "has 30,000 x 30,000 pixels, more than the limit of 100,000,000, which --max-pixels raises"
    said = tlkit_command("predict", finished.run, tmp_path)
    assert (said.code, said.err.splitlines()[0]) == (3, f"Error: {tmp_path}/bomb.png {why}.")
    said = tlkit_command("predict", finished.run, tmp_path, "--skip-bad", "--json")
    assert [Path(one["path"]).name for one in said.json["predictions"]] == ["good.png"]
    assert said.json["skipped"] == [{"path": f"{tmp_path}/bomb.png", "reason": why}]
    said = tlkit_command("predict", finished.run, tmp_path / "good.png", "--max-pixels", 1599)
    assert (said.code, "40 x 40 pixels, more than the limit of 1,599" in said.err) == (3, True)
    for words in (("predict", finished.run, tmp_path), ("evaluate", finished.run, finished.source)):
        said = tlkit_command(*words, "--max-pixels", 100_000_001)
        assert (said.code, "the most that the model of" in said.err) == (2, True)
    answer = tf.saved_model.load(str(finished.run)).signatures["serving_default"]
    contents = [(tmp_path / name).read_bytes() for name in ("good.png", "bomb.png")]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="declares 30000 x 30000 pixels, .*the limit of 100000000"
    ):
        answer(tf.constant(contents))


def test_a_run_without_a_model_cannot_predict(kitchen, tlkit_command):
    RunFolder.start(kitchen / "saved_models", "table").finish({})
    draw(0, 1).save("one.png")
    said = tlkit_command("predict", "table", "one.png")
    assert said.code == 2
    assert "saved_models/table/1 has no SavedModel." in said.err


# --- evaluate ---


def test_on_the_run_s_own_source_what_remains_is_its_test_part(finished, tlkit_command):
    answer = tlkit_command("evaluate", finished.run, finished.source, "--json").json
    card = read_card(finished.run)
    test = card["measures"]["test"]
    assert answer["excluded"] == sum(row["part"] != "test" for row in manifest(finished.run)) > 0
    assert answer["n"] == test["n"] == 30 - answer["excluded"]
    assert set(answer) > {
        "accuracy",
        "eta",
        "n",
        "excluded",
        "per_class",
        "confusion",
        "intervals",
        "auc",
        "ece",
    }
    assert answer["confusion"] == test["confusion"]
    assert answer["accuracy"] == test["accuracy"]
    assert answer["groups"] == test["groups"]
    assert answer["intervals"]["accuracy"] == test["intervals"]["accuracy"]
    assert answer["log_loss"] == pytest.approx(test["log_loss"], abs=1e-4)


@pytest.fixture
def others(tmp_path):
    """Images that the run has not seen, of two of its three classes."""
    root = tmp_path / "others"
    for label, kind in ((1, "disc"), (2, "frame")):
        (root / kind).mkdir(parents=True)
        for number in range(100, 104):
            draw(label, number, 64).save(root / kind / f"{number}.png")
    return root


def test_labels_match_by_name(finished, others, tlkit_command):
    """disc and frame are 0 and 1 in the source, 1 and 2 in the run."""
    answer = tlkit_command("evaluate", finished.run, others, "--json").json
    assert (answer["n"], answer["excluded"]) == (8, 0)
    assert {name: row["support"] for name, row in answer["per_class"].items()} == {
        "bar": 0,
        "disc": 4,
        "frame": 4,
    }
    by_file = tlkit_command("predict", finished.run, others, "--json").json["predictions"]
    right = np.mean([Path(one["path"]).parent.name == one["label"] for one in by_file])
    assert answer["accuracy"] == right


def test_copies_of_training_images_are_left_out_under_any_name(finished, others, tlkit_command):
    seen = [row for row in manifest(finished.run) if row["part"] == "training" and row["label"] == "disc"]
    shutil.copy(finished.source / seen[0]["path"], others / "frame" / "innocent.png")
    assert tlkit_command("evaluate", finished.run, others, "--json").json["excluded"] == 1


def test_groups_that_were_learned_from_are_left_out_and_counted(finished, others, tlkit_command, tmp_path):
    run = shutil.copytree(finished.run, tmp_path / "grouped")
    rows = manifest(run)
    groups = {
        row["path"]: "100" if row["part"] == "training" else "7"
        for row in rows
        if row["part"] != "validation"
    }
    with (run / "split.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(row | {"group": groups.get(row["path"], row["group"])} for row in rows)
    answer = tlkit_command("evaluate", run, others, "--group", r"(\d+)\.png", "--json").json
    assert (answer["n"], answer["excluded"], answer["excluded_groups"]) == (6, 2, 1)
    said = tlkit_command("evaluate", run, others, "--group", r"(\d+)\.png").out
    assert "n: 6 in 3 groups (2 excluded, some of 1 learned group)" in said
    assert tlkit_command("evaluate", run, others, "--json").json["excluded"] == 0
    none = tlkit_command("evaluate", run, others, "--group", "(100)|(1)")
    assert none.code == 0


def test_as_text(finished, others, tlkit_command):
    (others / "disc" / "torn.png").write_bytes(b"")
    said = tlkit_command("evaluate", finished.run, others, "--group", r"(\d)\.png", "--skip-bad")
    lines = said.out.splitlines()
    assert lines[0] == f"run: {finished.run}"
    assert lines[2] == "n: 8 in 4 groups (0 excluded)"
    assert lines[3] == "left out: disc/torn.png is empty (0 bytes)"
    assert any(line.startswith("accuracy: ") and line.endswith("]") for line in lines)
    table = [line.split() for line in lines[lines.index("") + 1 :]]
    assert table[0] == ["class", "support", "precision", "recall", "f1", "eta", "auc"]
    assert [row[:2] for row in table[1:]] == [["bar", "0"], ["disc", "4"], ["frame", "4"]]


def test_refusals(finished, others, tmp_path, tlkit_command):
    said = tlkit_command("evaluate", finished.run, tmp_path / "nowhere", "--json")
    assert (said.code, json.loads(said.out)["error"]["kind"]) == (3, "DataFault")
    (others / "disc").rename(others / "disk")
    said = tlkit_command("evaluate", finished.run, others)
    assert said.code == 3
    assert f"Class disk of {others} is unknown to {finished.run}." in said.err
    assert "Did you mean disc? It knows bar, disc, frame" in said.err
    only = tmp_path / "only"
    for row in manifest(finished.run):
        if row["part"] == "training":
            (only / row["label"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(finished.source / row["path"], only / row["label"])
    said = tlkit_command("evaluate", finished.run, only)
    assert said.code == 3
    assert f"All 18 images of {only} are in the training or validation part of {finished.run}." in said.err
