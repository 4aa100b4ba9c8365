"""The cache of features: nothing is computed twice, nothing damaged is believed, nobody is in another's way."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3

import numpy as np
import pytest

from tlkit.tasks.features import cache as feature_cache
from tlkit.tasks.features.cache import FeatureCache, cache_files, trim
from tlkit.tasks.features.extract import Extractor


class Mean:
    """Two numbers an image, and a count of how often it was asked."""

    name, image_size, width, digest = "mean", 8, 2, "abc"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.seen += len(pixels)
        return np.stack([pixels.mean((1, 2, 3)), pixels.std((1, 2, 3))], 1).astype(np.float32)


def extract(folder, files, say=None):
    features = Mean()
    extractor = Extractor(features, folder, say)
    rows = extractor(files, [str(file) for file in files])
    return rows, features.seen, extractor.computed


def test_a_second_run_computes_nothing_and_one_new_image_one(make_folder, tmp_path):
    files = sorted(make_folder(bar=5, disc=5).glob("*/*"))
    first = extract(tmp_path / "c", files[:9])
    second = extract(tmp_path / "c", files[:9])
    third = extract(tmp_path / "c", files)
    assert (first[1], second[1], third[1]) == (9, 0, 1)
    assert (first[2], second[2], third[2]) == (9, 0, 1)
    assert (first[0] == second[0]).all()
    assert (third[0][:9] == first[0]).all()


def test_what_an_interrupted_run_wrote_stays(make_folder, tmp_path):
    files = sorted(make_folder(bar=40, disc=40).glob("*/*"))
    extractor = Extractor(Mean(), tmp_path / "c")

    def stop(done: int) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        extractor(files, [str(file) for file in files], stop)
    assert extract(tmp_path / "c", files)[1] == 80 - 32


class Together(Mean):
    """What an image's features are depends on its batch, as the last bits of a network's do."""

    def __call__(self, pixels):
        return super().__call__(pixels) + pixels.mean()


@pytest.mark.parametrize("batches", [1, 2])
def test_what_is_left_after_a_kill_falls_into_the_same_batches(batches, make_folder, tmp_path, monkeypatch):
    """Even where images come twice, some of them within what was computed and some beyond."""
    monkeypatch.setattr("tlkit.tasks.features.extract.BATCH", 4)
    files = sorted(make_folder(bar=8, disc=8).glob("*/*"))
    files = [*files[:6], files[1], *files[6:], files[0], files[9], files[15]]
    keys = [str(file) for file in files]
    whole = Extractor(Together(), tmp_path / "whole")
    expected = whole(files, keys)
    assert whole.computed == 16

    def stop(done: int) -> None:
        if done >= len(files) - 16 + 4 * batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Extractor(Together(), tmp_path / "cut")(files, keys, stop)
    resumed = Extractor(Together(), tmp_path / "cut")
    assert np.array_equal(resumed(files, keys), expected)
    assert resumed.computed == 16 - 4 * batches


def test_a_damaged_file_is_made_anew_with_one_line(make_folder, tmp_path):
    files = sorted(make_folder(bar=2, disc=2).glob("*/*"))
    extract(tmp_path / "c", files)
    file = next((tmp_path / "c").glob("*.sqlite"))
    file.write_bytes(b"no database at all " * 200)
    said: list[str] = []
    assert extract(tmp_path / "c", files, said.append)[1] == 4
    assert len(said) == 1
    assert "made anew" in said[0]
    assert file.name in said[0]
    assert extract(tmp_path / "c", files)[1] == 0


def test_damage_that_shows_only_while_reading_is_mended_too(tmp_path):
    cache = FeatureCache(tmp_path / "a.sqlite")
    keys = [f"{i:064}" for i in range(200)]
    cache.write(keys, np.ones((200, 50), np.float32))
    contents = bytearray(cache.file.read_bytes())
    contents[4096:] = b"\xff" * (len(contents) - 4096)
    cache.file.write_bytes(contents)
    rows = np.zeros((200, 50), np.float32)
    assert not cache.read(keys, rows).any()
    cache.write(keys, np.ones((200, 50), np.float32))
    assert cache.read(keys, rows).all()


def test_a_file_of_another_version_is_made_anew(tmp_path):
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("CREATE TABLE features (key TEXT PRIMARY KEY, row BLOB NOT NULL)")
        database.execute("INSERT INTO features VALUES ('k', ?)", (np.zeros(2, np.float32).tobytes(),))
    database.close()
    said: list[str] = []
    cache = FeatureCache(tmp_path / "a.sqlite", say=said.append)
    assert "another version" in said[0]
    assert not cache.read(["k"], np.zeros((1, 2), np.float32)).any()


def test_a_full_disk_costs_the_cache_and_not_the_work(tmp_path, monkeypatch):
    said: list[str] = []
    cache = FeatureCache(tmp_path / "a.sqlite", say=said.append)
    real = sqlite3.connect

    def small(*arguments, **options):
        database = real(*arguments, **options)
        database.execute("PRAGMA max_page_count = 8")
        return database

    monkeypatch.setattr(feature_cache.sqlite3, "connect", small)
    cache.write([str(i) for i in range(100)], np.ones((100, 400), np.float32))
    assert len(said) == 1
    assert "Features are not kept" in said[0]
    assert "full" in said[0]
    assert not cache.file.exists()
    cache.write(["a"], np.ones((1, 400), np.float32))  # quietly without
    assert not cache.read(["a"], np.zeros((1, 400), np.float32)).any()


def test_a_read_only_cache_is_read_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, rows, said = feature_cache.feature_folder() / "a.sqlite", np.zeros((2, 3), np.float32), []
    FeatureCache(file).write(["a"], np.ones((1, 3), np.float32))
    before, real = file.read_bytes(), sqlite3.connect

    def read_only(*arguments, **options):
        database = real(*arguments, **options)
        database.execute("PRAGMA query_only = 1")  # what SQLite says is what it says on a read-only disk
        return database

    monkeypatch.setattr(feature_cache.sqlite3, "connect", read_only)
    cache = FeatureCache(file, say=said.append)
    assert cache.read(["a", "b"], rows).tolist() == [True, False]
    assert rows.tolist() == [[1, 1, 1], [0, 0, 0]]
    cache.write(["b"], rows[:1])
    assert said == [
        f"No further features are kept: {file} cannot be written (attempt to write a readonly database). "
        "Let XDG_CACHE_HOME name a folder that can be written to keep them."
    ]
    assert file.read_bytes() == before
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    cache = FeatureCache(feature_cache.feature_folder() / "a.sqlite")
    cache.write(["b"], rows[:1])
    assert cache.read(["b"], rows[:1]).all()


def test_a_file_in_the_place_of_the_cache_costs_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("in the way")
    said: list[str] = []
    cache = FeatureCache(feature_cache.feature_folder() / "a.sqlite", say=said.append)
    cache.write(["a"], np.ones((1, 3), np.float32))
    assert not cache.read(["a"], np.zeros((1, 3), np.float32)).any()
    assert said == [
        f"Features are not kept: {cache.file} cannot be written ([Errno 20] Not a directory: '{cache.file.parent}'). "
        "Let XDG_CACHE_HOME name a folder that can be written to keep them."
    ]


def _write_many(file, start):
    cache = FeatureCache(file)
    for i in range(start, start + 40):
        cache.write([str(i)], np.full((1, 30), i, np.float32))


def test_two_processes_share_a_file(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path / "a.sqlite", start)) for start in (0, 20)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    rows = np.zeros((60, 30), np.float32)
    assert FeatureCache(tmp_path / "a.sqlite").read([str(i) for i in range(60)], rows).all()
    assert (rows[:, 0] == np.arange(60)).all()


def test_trimming_removes_the_longest_unused_first(tmp_path):
    import os

    for number, name in enumerate("abc"):
        cache = FeatureCache(tmp_path / f"{name}.sqlite", {"network": name})
        cache.write([str(i) for i in range(100)], np.ones((100, 100), np.float32))
        os.utime(cache.file, (1000 + number, 1000 + number))
    files = cache_files(tmp_path)
    assert [(f.facts["network"], f.rows) for f in files] == [("a", 100), ("b", 100), ("c", 100)]
    removed = trim(files[0].bytes + 10, tmp_path)
    assert [f.facts["network"] for f in removed] == ["a", "b"]
    assert [f.facts["network"] for f in cache_files(tmp_path)] == ["c"]
