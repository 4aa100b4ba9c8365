"""Bad input gets one sentence that names the thing, a remedy, the documented exit code, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
from click.testing import CliRunner

from tlkit.cli.main import main


def photos(make, _tmp):
    return make("photos", bar=6, disc=6)


def missing(make, tmp):
    return tmp / "nowhere"


def no_classes(make, tmp):
    root = photos(make, tmp)
    for kind in ("bar", "disc"):
        for number, file in enumerate(sorted((root / kind).iterdir())):
            file.rename(root / f"{kind}{number}.png")
        (root / kind).rmdir()
    return root


def one_class(make, tmp):
    root = photos(make, tmp)
    shutil.rmtree(root / "disc")
    return root


def empty_class(make, tmp):
    root = photos(make, tmp)
    (root / "empty").mkdir()
    return root


def truncated(make, tmp):
    root = make("photos", size=64, bar=6, disc=6)
    file = root / "bar" / "0.png"
    file.write_bytes(file.read_bytes()[:300])
    return root


def zero_bytes(make, tmp):
    root = photos(make, tmp)
    (root / "bar" / "0.png").write_bytes(b"")
    return root


def unknown_in_test(make, tmp):
    shutil.copytree(photos(make, tmp), tmp / "split" / "train")
    shutil.copytree(make("more", bar=2, cube=2), tmp / "split" / "test")
    return tmp / "split"


def shared_image(make, tmp):
    shutil.copytree(photos(make, tmp), tmp / "split" / "train")
    shutil.copytree(tmp / "split" / "train", tmp / "split" / "test")
    return tmp / "split"


FAULTS = {
    "missing folder": (missing, [], 3, ("nowhere", "does not exist", "SOURCE")),
    "no class folders": (no_classes, [], 3, ("photos", "no class folders", "Put each class in its own folder")),
    "one class": (one_class, [], 3, ("one class only (bar)", "at least two", "Add a folder")),
    "empty class": (empty_class, [], 3, ("Class empty", "no images", "remove the folder")),
    "truncated image": (truncated, [], 3, ("bar/0.png", "truncated", "--skip-bad")),
    "zero-byte image": (zero_bytes, [], 3, ("bar/0.png", "0 bytes", "--skip-bad")),
    "class in test only": (unknown_in_test, [], 3, ("Class cube", "test but none for training")),
    "image in two parts": (shared_image, [], 3, ("are the same file", "--allow-leak")),
    "no such group": (photos, ["--group", r"B\d+"], 3, ("--group", "does not match bar/0.png")),
    "image size": (photos, ["--backbone", "xception", "--image-size", "20"], 2, ("--image-size 20", "xception", "at least 71")),
    "backbone": (photos, ["--backbone", "resnet5"], 2, ("resnet5", "Did you mean resnet50")),
    "weights file": (photos, ["--weights", "no.h5"], 4, ("no.h5", "--weights")),
    "tfds unprepared": ("tfds:no_such_set", [], 3, ("tfds:no_such_set", "not prepared", "--download")),
    "no phase": (photos, ["--epochs", "0", "0", "0", "--image-size", "32"], 2, ("--epochs", "at least one phase")),
    "float16 on a CPU": (photos, ["--precision", "float16", "--device", "cpu"], 1, ("--precision float16", "GPU", "bfloat16")),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
def test_a_fault_is_one_sentence_a_remedy_a_code_and_nothing_left(
    name, as_json, make_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    prepare, options, code, words = FAULTS[name]
    source = prepare if isinstance(prepare, str) else str(prepare(make_folder, tmp_path))
    runs = tmp_path / "runs"
    command = ["run", "fine-tune", source, *options, "--runs", str(runs), *(["--json"] if as_json else [])]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if as_json:
        found = json.loads(result.stdout)
        assert found["schema_version"] == 1
        assert found["error"]["code"] == code
        text = f"{found['error']['problem']} {found['error']['remedy']}"
    else:
        assert result.stdout == ""
        text = result.stderr
    assert all(word in text for word in words), text
    assert not [p for p in runs.rglob("*") if p.is_file() and "/unfinished-" not in str(p)]


def test_imagenet_without_a_network_names_the_file_and_a_way_out(make_folder, tmp_path, monkeypatch):
    def offline(*_arguments, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    source = make_folder("photos", bar=6, disc=6)
    options = ["--backbone", "resnet50", "--image-size", "32", "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, ["run", "fine-tune", str(source), *options])
    assert result.exit_code == 4, result.output
    assert "resnet50" in result.stderr
    assert "--weights" in result.stderr
    assert "Traceback" not in result.output


def test_skip_bad_leaves_the_file_out_and_lists_it(make_folder, tmp_path):
    source = zero_bytes(make_folder, tmp_path)
    options = ["--skip-bad", "--dry-run", "--runs", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, ["run", "small-cnn", str(source), *options])
    assert result.exit_code == 0, result.output
    assert "Left out: bar/0.png is empty (0 bytes)." in result.stderr
