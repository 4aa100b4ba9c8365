"""Class folders as people have them: wrapped, split under other names, with runs, masks and links among them."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.conftest import draw
from tlkit.core.reading import Reading
from tlkit.data.checks.listing import list_source
from tlkit.data.images.readers.folders import part_folders
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault


@pytest.fixture
def place(tmp_path):
    """place("train/cat/0.png", ...) puts images there; other names get text."""

    def put(*paths):
        for number, path in enumerate(paths):
            file = tmp_path / "photos" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            draw(number % 3, number, 16).save(file, format="PNG")
        return tmp_path / "photos"

    return put


def cats_and_dogs(*tops):
    return [f"{top}/{kind}/{n}.png" for top in tops for kind in ("cat", "dog") for n in range(2)]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("training_set", "test_set"), ("training", "test")),
        (("seg_train", "seg_test"), ("training", "test")),
        (("Train", "Valid"), ("training", "validation")),
        (("train-images", "val images", "Testing Data"), ("training", "validation", "test")),
        (("imagenet_train_x", "imagenet_val_x"), ("training", "validation")),
        (("bus", "train_station"), ()),
        (("gold_train", "model_train"), ()),
        (("test_tube", "train_wagon"), ()),
    ],
)
def test_which_names_are_parts(names, parts):
    assert tuple(part_folders(names).values()) == parts


@pytest.mark.parametrize(
    "names", [("training_set", "test_set"), ("seg_train", "seg_test"), ("Train", "Valid")]
)
def test_split_folders_by_other_names_are_parts(place, names):
    images = read_images(str(place(*cats_and_dogs(*names))))
    assert images.class_names == ("cat", "dog")
    assert {path.split("/")[0]: part for path, part in zip(images.paths, images.parts)} == part_folders(names)


@pytest.mark.parametrize("top", ["PetImages", "archive/PetImages"])
def test_a_folder_that_only_wraps_the_classes_is_looked_through_and_said(place, top):
    root = place(*cats_and_dogs(top))
    images = read_images(str(root))
    assert images.class_names == ("cat", "dog")
    assert images.paths[0] == f"{top}/cat/0.png"
    assert images.remarks == (f"The classes are the folders in {top}/, which wraps them.",)
    assert list_source(str(root)).images.paths == images.paths


def test_a_wrapped_split_is_a_split(place):
    images = read_images(str(place(*cats_and_dogs("data/train", "data/test"))))
    assert set(images.parts) == {"training", "test"}


def test_loose_images_of_a_test_folder_are_not_used_and_said(place):
    root = place(*cats_and_dogs("train"), "test/1.png", "test/2.png")
    images = read_images(str(root))
    assert set(images.parts) == {"training"}
    assert any("2 images in test/ lie in no class folder" in remark for remark in images.remarks)


def test_loose_images_of_the_training_folder_are_refused(place):
    with pytest.raises(DataFault, match="train/ has images but no class folders"):
        read_images(str(place("train/1.png", "train/2.png", *cats_and_dogs("test"))))


def test_a_class_named_train_is_asked_about(place):
    root = place("bus/0.png", "bus/1.png", "train/0.png", "train/1.png")
    with pytest.raises(
        DataFault, match="a folder train/ of images beside bus: a class, or the training part"
    ) as caught:
        read_images(str(root))
    assert "Rename it if it is a class (trains/)" in caught.value.remedy
    (root / "train").rename(root / "trains")
    assert read_images(str(root)).class_names == ("bus", "trains")


def run_in(folder):
    (folder / "pictures").mkdir(parents=True)
    draw(0, 0, 16).save(folder / "pictures" / "roc.png")
    (folder / "options.json").write_text(json.dumps({"recipe": "fine-tune"}))
    (folder / "recipe.py").write_text("")


@pytest.mark.parametrize(
    "runs", ["saved_models/photos/1", "saved_models/photos/unfinished-1", "mine/a/3", "old/1", "1"]
)
def test_a_folder_of_runs_is_never_a_class(place, runs):
    root = place("cat/0.png", "dog/0.png")
    run_in(root / runs)
    images = read_images(str(root))
    assert images.paths == ("cat/0.png", "dog/0.png")
    top = runs.split("/")[0]
    assert images.remarks == (f"{top} holds runs of tlkit and is no class.",)
    assert [f.kind for f in list_source(str(root)).findings] == ["run-folder"]


def test_the_empty_folder_of_runs_is_no_class_either(place):
    root = place("cat/0.png", "dog/0.png")
    (root / "saved_models" / "fine-tune-photos").mkdir(parents=True)
    assert read_images(str(root)).class_names == ("cat", "dog")


def test_a_run_within_a_class_is_passed_over(place):
    root = place("cat/0.png", "dog/0.png")
    run_in(root / "cat" / "runs" / "x" / "1")
    assert read_images(str(root)).paths == ("cat/0.png", "dog/0.png")


def test_include_and_exclude_choose_images(place):
    root = place("cat/0.png", "cat/0_mask.png", "dog/0.png", "dog/0_mask.png", "masks/0.png")
    left = read_images(str(root), reading=Reading(exclude=("*_mask.png", "masks/*")))
    assert (left.paths, left.class_names) == (("cat/0.png", "dog/0.png"), ("cat", "dog"))
    assert left.remarks == ("Left out by --include or --exclude: 3 images.",)
    some = read_images(str(root), reading=Reading(include=("*_mask.png",)))
    assert some.paths == ("cat/0_mask.png", "dog/0_mask.png")


def test_files_that_are_not_read_are_counted_and_named(place):
    root = place("cat/0.png", "dog/0.png")
    for name in ("cat/1.dcm", "cat/2.DCM", "dog/notes.txt"):
        (root / name).write_bytes(b"x")
    (remark,) = read_images(str(root)).remarks
    assert remark == "Files that are not read: 2 .dcm and 1 .txt (the first: cat/1.dcm)."


def test_a_file_without_suffix_that_begins_like_an_image_is_read(place):
    root = place("cat/0.png", "cat/a", "dog/0.png")
    (root / "dog" / "README").write_text("about dogs")
    assert read_images(str(root)).paths == ("cat/0.png", "cat/a", "dog/0.png")


def test_linked_folders_within_a_class_are_said(place):
    root = place("cat/0.png", "dog/0.png")
    other = place("../other/9.png").parent / "other"
    (root / "cat" / "more").symlink_to(other)
    assert read_images(str(root)).remarks == ("Linked folders that are not followed: cat/more.",)


def test_two_spellings_of_an_accent_are_one_class(place):
    root = place("caf\u00e9/0.png", "cafe\u0301/1.png", "tea/0.png")
    images = read_images(str(root))
    assert images.class_names == ("caf\u00e9", "tea")
    assert len(images) == 3
    assert images.remarks == ("2 folders are named caf\u00e9, stored in two ways: one class.",)


def test_classes_that_differ_in_case_only_are_refused_as_check_says(place):
    root = place("Cat/0.png", "cat/0.png", "dog/0.png")
    with pytest.raises(DataFault, match="'Cat' and 'cat' are read as one class but count as several"):
        read_images(str(root))


def test_parts_that_spell_an_accent_in_two_ways_are_of_one_class(place):
    root = place("train/caf\u00e9/0.png", "train/tea/0.png", "test/cafe\u0301/1.png", "test/tea/1.png")
    assert read_images(str(root)).class_names == ("caf\u00e9", "tea")


def test_running_inside_the_source_twice(place, monkeypatch):
    from click.testing import CliRunner

    from tlkit.cli.main import main

    root = place(*[f"{kind}/{n}.png" for kind in ("bar", "disc") for n in range(8)])
    monkeypatch.chdir(root)
    command = ["run", "small-cnn", ".", "--image-size", "32", "--dry-run", "--json"]
    for number in (1, 2):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["classes"] == ["bar", "disc"]
        run_in(root / "saved_models" / "small-cnn-photos" / str(number))
    shutil.rmtree(root / "saved_models")


@pytest.mark.parametrize(
    ("ending", "pattern"),
    [
        ("_mask.png", "*_mask*.png"),
        (".jpg", "*.png"),
        ("-thumb.png", "*-thumb*.png"),
        ("_flip2.png", "*_flip*.png"),
    ],
)
def test_masks_and_copies_beside_their_images_are_a_finding(place, ending, pattern):
    names = [f"{kind}/{n}" for kind in ("cat", "dog") for n in range(4)]
    root = place(*[f"{name}.png" for name in names], *[f"{name}{ending}" for name in names])
    images = read_images(str(root))
    (remark,) = images.remarks
    assert "8 of 16 images lie beside one of the same name but for its ending" in remark
    assert f"--exclude '{pattern}'" in remark
    assert [f.kind for f in list_source(str(root)).findings] == ["twin-names"]
    left = read_images(str(root), reading=Reading(exclude=(pattern,)))
    assert len(left) == 8


@pytest.mark.parametrize("names", [("1", "10", "100"), ("gun", "gun2", "gun3"), ("a", "ab", "abc")])
def test_numbers_are_no_endings_and_few_are_no_finding(place, names):
    root = place(*[f"{kind}/{name}.png" for kind in ("cat", "dog") for name in names], *cats_and_dogs("."))
    assert all("ending" not in remark for remark in read_images(str(root)).remarks)


def test_the_page_of_sources_lists_what_is_read():
    from pathlib import Path

    from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES

    text = (Path(__file__).resolve().parents[4] / "tlkit" / "data" / "README.md").read_text(encoding="utf-8")
    listed = text.partition("<!-- suffixes -->`")[2].partition("`<!-- end -->")[0].split()
    optional = {".avif", ".heic", ".heif", ".j2k", ".jp2"}  # as this Pillow was built and what is installed
    assert set(listed) - optional == IMAGE_SUFFIXES - optional
    assert set(listed) >= IMAGE_SUFFIXES
    assert listed == sorted(listed)
