"""Event files are mended: each point of metrics.jsonl once whatever was lost, each image that can be read once."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from tests.core.tensorboard_events.boards import check_board, events_of, every_point, images_of_board
from tlkit.core.tensorboard_events.event_files import mend
from tlkit.core.tensorboard_events.records import as_record, crc32c, masked, read_records

CLASSIFIER = [
    {
        "phase": phase,
        "epoch": epoch,
        "training_loss": 1 / n,
        "training_accuracy": 0.1 * n,
        **({"validation_loss": 2 / n, "validation_accuracy": 0.05 * n} if phase != "refit-head" else {}),
        "learning_rate": 0.01,
        "best": n == 2,
        "seconds": 2.5,
    }
    for n, (phase, epoch) in enumerate(
        [("head", 1), ("head", 2), ("fine", 1), ("fine", 2), ("refit-head", 1)], 1
    )
]
ARMS = [
    {
        "number": 50,
        "arm": arm,
        "repeat": 0,
        "phase": "all",
        "epoch": epoch,
        "training_loss": 0.5 / epoch,
        "seconds": 1.0,
    }
    for arm in ("base", "tip")
    for epoch in (1, 2)
]
GAN = [
    {"phase": "game", "step": 20 * n, "kid": 0.3 / n, "critic_loss": None if n == 2 else 0.5}
    for n in (1, 2, 3)
]


def write(run, rows):
    """A finished run's board, as the boards write it."""
    from tlkit.engine.reporting.tensorboard import TensorBoard

    folder = run / "tensorboard"
    folder.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if "kid" in rows[0]:
        tensorboard = TensorBoard(folder, "game")
        for number, row in enumerate(rows, 1):
            tensorboard.add_grid(
                "reals above fakes", np.full((2, 8, 8, 1), number / 5, np.float32), row["step"]
            )
            tensorboard.add(row, number)
        tensorboard.close()
    elif "arm" in rows[0]:
        for number, row in enumerate(rows, 1):
            tensorboard = TensorBoard(folder, "-".join(str(row[key]) for key in ("number", "arm", "repeat")))
            tensorboard.add(row, number)
            tensorboard.close()  # another file each
    else:
        tensorboard = TensorBoard(folder, class_names=["a", "b"])
        for number, row in enumerate(rows, 1):
            tensorboard.add(row, number, np.eye(2, dtype=int))
        tensorboard.close()
    return folder


def files(folder):
    return sorted(folder.rglob("*tfevents*"))


def cut(folder):
    for file in files(folder):
        file.write_bytes(file.read_bytes()[:-200])


def flipped(folder):
    for file in files(folder):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0x10
        file.write_bytes(content)


def emptied(folder):
    for file in files(folder):
        file.write_bytes(b"")


def removed(folder):
    for file in files(folder):
        file.unlink()


def half_removed(folder):
    for file in files(folder)[::2]:
        file.unlink()


def doubled(folder):
    for file in files(folder):
        file.with_name(f"{file.name}.1").write_bytes(file.read_bytes())


def crashed_writer(folder):
    for file in files(folder):
        file.with_name(f".{file.name}.part").write_bytes(file.read_bytes())  # left by an earlier version
        file.with_name("events.out.tfevents.9999999999.x").write_bytes(file.read_bytes()[:40] + b"\xff" * 60)


DAMAGES = [cut, flipped, emptied, removed, half_removed, doubled, crashed_writer]


@pytest.mark.parametrize("rows", [CLASSIFIER, ARMS, GAN], ids=["classifier", "arms", "game"])
def test_whatever_was_lost_is_written_again_and_nothing_stands_twice(rows, tmp_path):
    whole = tmp_path / "whole"
    folder = write(whole, rows)
    mend(folder, rows)
    check_board(whole)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files(folder)}
    times = wall_times(whole)
    mend(folder, rows)
    assert {
        file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files(folder)
    } == before  # untouched
    for damage in DAMAGES:
        damage(folder)
        mend(folder, rows)
        check_board(whole)
        if damage in (cut, flipped, half_removed, doubled, crashed_writer):
            assert wall_times(whole) == pytest.approx(times, abs=60)
        if damage in (doubled, crashed_writer):
            assert {file.parent: file.read_bytes() for file in files(folder)} == at_folders(before)
        for file, (content, _) in before.items():  # as it was, for the next
            removed(file.parent)
            file.write_bytes(content)


def at_folders(before):
    return {file.parent: content for file, (content, _) in before.items()}


def wall_times(run):
    return {
        f"{folder}/{value.tag}/{event.step}": event.wall_time
        for folder, events in events_of(run).items()
        for event in events
        for value in event.summary.value
        if value.tag not in {"confusion", "reals above fakes"}
    }


def test_what_comes_after_the_checkpoint_is_forgotten(tmp_path):
    folder = write(tmp_path, CLASSIFIER)
    for last in (5, 3, 2, 0):
        rows = CLASSIFIER[:last]
        mend(folder, rows, last)
        if last:
            (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            check_board(tmp_path)
            assert images_of_board(tmp_path) == {("validation", "confusion"): [2]}
    assert not files(folder)
    mend(Path(tmp_path / "nowhere"), [], 0)
    assert not (tmp_path / "nowhere").exists()


def test_images_behind_a_broken_record_are_kept(tmp_path):
    folder = write(tmp_path, GAN)
    mend(folder, GAN)
    (file,) = files(folder)
    content = bytearray(file.read_bytes())
    content[content.index(b"\x89PNG") + 20] ^= 1  # within the first image
    file.write_bytes(content)
    mend(folder, GAN)
    check_board(tmp_path)
    assert images_of_board(tmp_path) == {("game", "reals above fakes"): [40, 60]}


def test_scalars_of_a_recipe_of_ones_own_are_kept(tmp_path):
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(tmp_path / "tensorboard" / "mine"))
    for step in (1, 2, 2):
        with writer.as_default(step):
            tf.summary.scalar("beauty", 0.5 * step)
    writer.close()
    mend(tmp_path / "tensorboard", [{"phase": "own", "epoch": 1, "seconds": 1.0}])
    assert every_point(tmp_path) == {("mine", "beauty"): [(1, 0.5), (2, 1.0)]}


class Killed(BaseException):
    """What a kill is to a process that cannot be killed here."""


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
def test_a_kill_while_mending_is_mended(call, tmp_path, monkeypatch):
    folder = write(tmp_path, ARMS)

    def killed(*_arguments, **_options):
        raise Killed

    monkeypatch.setattr(os if call == "fsync" else Path, call, killed)
    with pytest.raises(Killed):
        mend(folder, ARMS)
    monkeypatch.undo()
    mend(folder, ARMS)
    check_board(tmp_path)


def test_records_are_those_of_tensorflow(tmp_path):
    import tensorflow as tf

    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    contents = [np.random.default_rng(n).bytes(n) for n in (0, 1, 2048, 2049, 4096, 70001)]
    assert [masked(one) for one in contents] == [masked_crc32c(one) for one in contents]
    with tf.io.TFRecordWriter(str(tmp_path / "records")) as writer:
        for one in contents:
            writer.write(one)
    whole = (tmp_path / "records").read_bytes()
    assert whole == b"".join(map(as_record, contents))
    assert list(read_records(whole)) == contents
    assert list(read_records(whole[:-1])) == contents[:-1]
    assert list(read_records(struct.pack("<Q", 2**62) + whole)) == []
