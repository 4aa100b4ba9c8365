"""Every form of a SOURCE becomes the same description, and every way to get it wrong has its sentence."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import time

import numpy as np
import pytest

from tlkit.core.files import folder_written_once
from tlkit.core.reading import Reading
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault, RunFailed, UsageFault


def write_csv(file, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return str(file)


def test_folder_gives_sorted_classes_and_relative_posix_paths(make_folder):
    images = read_images(str(make_folder(disc=2, bar=3)))
    assert images.class_names == ("bar", "disc")
    assert images.paths == ("bar/0.png", "bar/1.png", "bar/2.png", "disc/0.png", "disc/1.png")
    assert images.labels.tolist() == [0, 0, 0, 1, 1]
    assert images.labels.dtype == np.int32
    assert set(images.parts) == {None}


def test_class_names_sort_as_text_not_by_the_order_of_the_disk(make_folder):
    images = read_images(str(make_folder(**{"10": 1, "2": 1, "1": 1})))
    assert images.class_names == ("1", "10", "2")


def test_split_folders_are_the_sources_own_parts(make_folder, tmp_path):
    made = make_folder("all", bar=2, disc=2)
    for part in ("train", "Validation", "test"):
        shutil.copytree(made, tmp_path / "split" / part)
    images = read_images(str(tmp_path / "split"))
    assert images.parts == ("validation",) * 4 + ("test",) * 4 + ("training",) * 4
    assert images.paths[0] == "Validation/bar/0.png"


def test_csv_gives_label_part_group_and_further_columns(make_folder):
    root = make_folder(bar=2, disc=1)
    rows = [
        ("path", "label", "split", "group", "series"),
        ("bar/0.png", "b", "train", "p1", "clean"),
        ("bar/1.png", "b", "val", "p2", "baggage"),
        ("disc/0.png", "d", "train", "", "clean"),
    ]
    images = read_images(write_csv(root / "labels.csv", rows))
    assert images.class_names == ("b", "d")
    assert images.parts == ("training", "validation", "training")
    assert images.groups == ("p1", "p2", None)
    assert images.columns == {"series": ("clean", "baggage", "clean")}


def test_take_keeps_everything_together(make_folder):
    images = read_images(str(make_folder(bar=2, disc=2))).take([3, 0])
    assert images.paths == ("disc/1.png", "bar/0.png")
    assert images.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: shutil.rmtree(root), ("does not exist",)),
        (lambda root: [shutil.rmtree(f) for f in list(root.iterdir())], ("no class folders",)),
        (lambda root: shutil.rmtree(root / "disc"), ("one class only (bar)", "at least two")),
        (lambda root: [f.unlink() for f in (root / "disc").iterdir()], ("Class disc", "has no images")),
    ],
)
def test_unusable_folders_are_refused_with_a_remedy(make_folder, prepare, words):
    root = make_folder(bar=2, disc=2)
    prepare(root)
    with pytest.raises(DataFault) as caught:
        read_images(str(root))
    assert all(word in str(caught.value) for word in words)
    assert caught.value.remedy


def test_images_without_class_folders_show_how_to_place_them(make_folder, tmp_path):
    root = make_folder(bar=1, disc=1)
    loose = tmp_path / "loose"
    loose.mkdir()
    shutil.copy(root / "bar" / "0.png", loose / "a.png")
    with pytest.raises(DataFault, match="has images but no class folders") as caught:
        read_images(str(loose))
    assert "loose/gun/a.png" in caught.value.remedy


def test_a_mistyped_folder_gets_a_suggestion(make_folder):
    root = make_folder("photos", bar=1, disc=1)
    with pytest.raises(DataFault) as caught:
        read_images(str(root.parent / "fotos"))
    assert f"Did you mean {root}?" in caught.value.remedy


def test_a_class_that_is_only_judged_is_refused(make_folder, tmp_path):
    shutil.copytree(make_folder("a", bar=2, disc=2), tmp_path / "s" / "train")
    shutil.copytree(make_folder("b", bar=2, disks=2), tmp_path / "s" / "test")
    with pytest.raises(DataFault, match="Class disks .* test but none for training. Did you mean disc"):
        read_images(str(tmp_path / "s"))


def test_split_folders_beside_class_folders_are_refused(make_folder):
    root = make_folder(bar=1, disc=1)
    shutil.copytree(root / "bar", root / "train" / "bar")
    with pytest.raises(DataFault, match="mixes split folders .train. and class folders"):
        read_images(str(root))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("bar/9.png", "b"), "line 2: .*bar/9.png does not exist"),
        (("", "b"), "line 2 lacks a path"),
        (("bar/0.png", ""), "line 2 lacks a label"),
        (("../secret.png", "b"), "no path inside the folder"),
        (("/etc/passwd", "b"), "no path inside the folder"),
    ],
)
def test_bad_csv_rows_are_named_by_line(make_folder, row, message):
    root = make_folder(bar=1, disc=1)
    file = write_csv(root / "labels.csv", [("path", "label"), row, ("disc/0.png", "d")])
    with pytest.raises(DataFault, match=message):
        read_images(file)


def test_csv_without_label_column_names_the_columns_it_has(make_folder):
    rows = [("place", "kind", "note"), ("bar/0.png", "b", "x"), ("disc/0.png", "d", "y")]
    file = write_csv(make_folder() / "labels.csv", rows)
    with pytest.raises(DataFault, match=r"no column label \(columns: place, kind and note\)") as caught:
        read_images(file)
    assert "--label-column NAME" in caught.value.remedy
    read = read_images(file, reading=Reading(label_column="kind"))
    assert (read.class_names, set(read.columns)) == (("b", "d"), {"note"})
    with pytest.raises(DataFault, match=r"(?s)--label-column kin: .*Did you mean kind"):
        read_images(file, reading=Reading(label_column="kin"))


def test_unknown_built_in_source_names_the_known_one():
    with pytest.raises(UsageFault, match="xray:bagz") as caught:
        read_images("xray:bagz")
    assert "xray:crops" in caught.value.remedy


def test_unprepared_tfds_fails_at_once_and_names_download(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    begin = time.monotonic()
    with pytest.raises(DataFault, match="tfds:mnist is not prepared") as caught:
        read_images("tfds:mnist")
    assert "--download" in caught.value.remedy
    assert time.monotonic() - begin < 1


@pytest.fixture
def few_crops(monkeypatch):
    """The built-in set is a few files that are no images; how often it was written."""
    from tlkit.data.xray import crops as xray

    written = []

    def few(folder):
        written.append(folder)
        for label in ("gun", "other"):
            (folder / label).mkdir(parents=True)
            (folder / label / "0.png").write_bytes(b"x")
        rows = [
            ("path", "label", "group", "series"),
            ("gun/0.png", "gun", "g0", "clean"),
            ("other/0.png", "other", "o0", "baggage"),
        ]
        write_csv(folder / "images.csv", rows)

    monkeypatch.setattr(xray, "write_crops", few)
    return written


def test_built_in_set_is_written_once_into_the_cache(few_crops, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = read_images("xray:crops"), read_images("xray:crops")
    assert len(few_crops) == 1
    assert first.paths == second.paths == ("gun/0.png", "other/0.png")
    assert first.columns["series"] == ("clean", "baggage")
    assert first.source == "xray:crops"


def fail_with(number):
    def failing(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize("what", ["a file", "read-only", "full", "full while writing"])
def test_a_cache_that_cannot_be_written_is_named_and_the_remedy_works(what, few_crops, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    number = errno.EROFS if what == "read-only" else errno.ENOSPC
    with monkeypatch.context() as patch:
        if what == "a file":
            number = errno.ENOTDIR
            (tmp_path / "cache").write_text("in the way")
        elif what == "full while writing":
            patch.setattr("tlkit.data.xray.crops.write_crops", fail_with(number))
        else:
            patch.setattr("tempfile.mkdtemp", fail_with(number))
        with pytest.raises(RunFailed) as caught:
            read_images("xray:crops")
    reason = os.strerror(number)
    assert caught.value.problem == f"The cache folder {tmp_path}/cache/tlkit cannot be written: {reason}."
    assert caught.value.remedy.endswith("et XDG_CACHE_HOME name a folder that can be written.")
    assert ("tlkit cache --trim 0" in caught.value.remedy) == what.startswith("full")
    assert not list(tmp_path.glob("cache/tlkit/xray/.*"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert read_images("xray:crops").paths == ("gun/0.png", "other/0.png")


def test_what_cannot_be_read_while_the_cache_is_filled_is_not_called_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def unreadable(_folder):
        raise PermissionError(errno.EACCES, "Permission denied", "/prepared/x.tfrecord")

    with pytest.raises(PermissionError):
        folder_written_once(tmp_path / "tlkit" / "tfds" / "x", unreadable)
    with pytest.raises(OSError, match="No space") as caught:  # a folder that a person named is not the cache
        folder_written_once(tmp_path / "bags", fail_with(errno.ENOSPC))
    assert type(caught.value) is OSError
