"""Classes with too few groups: refused with a way out, left out, or folded; said, recorded, and the same for check."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from tlkit.data.checks.check import check_source
from tlkit.data.images.load import load_split
from tlkit.data.images.small_classes import settle_as_learned
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault, UsageFault


def split_of(source, choice="refuse", **options):
    return load_split(str(source), small_classes=choice, **options).split


def write_noise(root, **counts):
    """Class folders of patches of noise, 8 pixels wide, each another."""
    generator = np.random.default_rng(0)
    for name, number in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(number):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def photos(tmp_path):
    """Two classes that can be split, two that cannot."""
    return write_noise(tmp_path / "photos", bar=9, disc=6, frame=2, nail=1)


def labels_of(split):
    return {
        path: split.images.class_names[k]
        for path, k in zip(split.images.paths, split.images.labels, strict=True)
    }


def test_small_classes_are_refused_in_one_sentence_that_names_the_option(photos):
    with pytest.raises(DataFault) as raised:
        split_of(photos)
    assert raised.value.problem == (
        "2 classes have too few groups of images for training, validation and test: frame (2) and nail (1)."
    )
    assert raised.value.remedy.endswith("--small-classes leave-out or --small-classes fold.")


def test_of_many_small_classes_five_are_named(tmp_path):
    names = {f"c{k:02d}": 1 for k in range(30)}
    with pytest.raises(
        DataFault, match=r"^30 classes .*: c00 \(1\), c01 \(1\), .*c04 \(1\) and 25 more\."
    ) as raised:
        split_of(write_noise(tmp_path / "many", **names))
    assert len(str(raised.value)) < 400


def test_left_out_classes_are_gone_said_and_recorded(photos):
    split = split_of(photos, "leave-out")
    assert split.images.class_names == ("bar", "disc")
    assert {path.split("/")[0] for path in split.images.paths} == {"bar", "disc"}
    assert labels_of(split) == {path: path.split("/")[0] for path in split.images.paths}
    assert split.small_classes == {
        "how": "leave-out",
        "into": None,
        "classes": {"frame": {"images": 2, "groups": 2}, "nail": {"images": 1, "groups": 1}},
    }
    assert split.warnings[0] == (
        "3 images of 2 classes with too few groups of images were left out (--small-classes leave-out): "
        "frame (2) and nail (1)."
    )


def test_folded_classes_are_one_that_is_dealt_out_like_any(photos):
    split = split_of(photos, "fold")
    assert split.images.class_names == ("bar", "disc", "other")
    assert len(split.images) == 18
    assert {split.parts[i] for i, p in enumerate(split.images.paths) if p.startswith(("frame", "nail"))} == {
        "training", "validation", "test"
    }  # fmt: skip
    wanted = {
        p: {"frame": "other", "nail": "other"}.get(p.split("/")[0], p.split("/")[0])
        for p in split.images.paths
    }
    assert labels_of(split) == wanted
    assert "are now of class other (--small-classes fold): frame (2) and nail (1)." in split.warnings[0]
    assert split.small_classes["into"] == "other"


def test_what_is_not_small_is_left_alone(make_folder):
    root = make_folder(bar=5, disc=5)
    plain, folded = split_of(root), split_of(root, "fold")
    assert (folded.manifest, folded.small_classes, folded.warnings) == (plain.manifest, {}, plain.warnings)


def test_a_folded_class_never_joins_one_that_is_there(photos):
    (photos / "disc").rename(photos / "Other")
    with pytest.raises(UsageFault, match="has a class Other already") as raised:
        split_of(photos, "fold")
    assert "fold:small" in raised.value.remedy
    assert split_of(photos, "fold:small").images.class_names == ("Other", "bar", "small")


@pytest.mark.parametrize("choice", ["drop", "refuse:x", "fold:", "fold:a/b"])
def test_an_unknown_choice_is_refused(photos, choice):
    with pytest.raises(UsageFault, match="--small-classes .* is unknown"):
        split_of(photos, choice)


def test_what_is_left_must_be_enough(make_folder):
    root = make_folder(bar=5, frame=2)
    with pytest.raises(DataFault, match="leaves 1 class of .*, where 2 are needed"):
        split_of(root, "leave-out")
    with pytest.raises(DataFault, match="Folded from 1 small class: Class other has 2 groups"):
        split_of(root, "fold")


def test_groups_and_not_images_are_counted(make_folder):
    root = make_folder(bar=9, disc=9)
    for name in ("bar", "disc"):
        for number in range(9):
            group = number % 2 if name == "disc" else number % 3
            (root / name / f"{number}.png").rename(root / name / f"{name}{group}_{number}.png")
    with pytest.raises(DataFault, match="Class disc has 2 groups of images"):
        split_of(root, group=r"/(\w+\d)_")
    assert split_of(root).images.class_names == ("bar", "disc")
    split = split_of(make_second(root), "leave-out", group=r"/(\w+\d)_")
    assert split.images.class_names == ("bar", "nail")
    assert split.small_classes["classes"] == {"disc": {"images": 9, "groups": 2}}


def make_second(root):
    """The folder with a third class in three groups."""
    (root / "nail").mkdir()
    for number in range(3):
        shutil.copy(root / "bar" / f"bar{number}_{number}.png", root / "nail" / f"nail{number}_0.png")
        with (root / "nail" / f"nail{number}_0.png").open("ab") as stream:
            stream.write(bytes([number]))  # another content
    return root


def test_of_declared_parts_only_what_is_dealt_out_counts(make_folder, tmp_path):
    for part, frames in (("train", 1), ("test", 4)):
        make_folder(f"parted/{part}", bar=6, disc=6, frame=frames)
    root = tmp_path / "parted"
    with pytest.raises(
        DataFault, match="Class frame has 1 group of images, too few for training and validation"
    ):
        split_of(root, allow_leak=True)
    split = split_of(root, "leave-out", allow_leak=True)
    assert split.images.class_names == ("bar", "disc")
    assert split.small_classes["classes"] == {"frame": {"images": 5, "groups": 1}}  # of the test part too
    shutil.copytree(root / "test", root / "valid")
    assert split_of(root, "fold", allow_leak=True).small_classes == {}  # nothing is split


def test_a_table_may_leave_out_too(photos):
    lines = [f"{path.relative_to(photos)},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    (photos / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    assert split_of(photos / "labels.csv", "leave-out").manifest == split_of(photos, "leave-out").manifest


@pytest.mark.parametrize("choice", ["leave-out", "fold"])
def test_a_manifest_gives_the_same_classes_again(photos, tmp_path, choice):
    split = split_of(photos, choice)
    file = tmp_path / "split.csv"
    file.write_text(split.manifest)
    again = split_of(photos, choice, manifest=file)
    assert again.manifest == split.manifest
    assert again.images.class_names == split.images.class_names


@pytest.mark.parametrize("group", [None, r"([a-z]+/\d)"])
def test_check_says_what_training_says(photos, group):
    found = [one for one in check_source(str(photos), group=group).findings if one.kind == "tiny-class"]
    assert [(one.paths, one.severity) for one in found] == [
        (("frame",), "error"), (("nail",), "error"), (("bar",), "warning"), (("disc",), "warning")
    ]  # fmt: skip
    for one in found[:2]:
        for other in {"frame", "nail"} - set(one.paths):
            shutil.move(photos / other, photos.parent / other)
        with pytest.raises(DataFault) as raised:
            split_of(photos, group=group)
        assert (one.sentence, one.remedy) == (raised.value.problem, raised.value.remedy)
        for other in {"frame", "nail"} - set(one.paths):
            shutil.move(photos.parent / other, photos / other)


def test_a_run_is_judged_by_the_classes_that_it_has(photos):
    images = read_images(str(photos))
    for choice, names in (("leave-out", ("bar", "disc")), ("fold", ("bar", "disc", "other"))):
        card = split_of(photos, choice).small_classes
        settled = settle_as_learned(images, card)
        assert settled.images.class_names == names
        assert settled.images.paths == split_of(photos, choice).images.paths
        assert settled.notes == split_of(photos, choice).warnings[:1]
        assert len(settled.kept) == len(settled.images)
    assert np.array_equal(settle_as_learned(images, {}).images.labels, images.labels)


def test_a_class_that_a_run_left_out_is_absent_from_none_of_its_parts(photos):
    split = split_of(photos, "leave-out")
    parts = dict(zip(split.sha256, split.parts, strict=True))
    found = check_source(str(photos), parts=parts).findings
    assert "tiny-class" in {one.kind for one in found}
    assert "missing-in-part" not in {one.kind for one in found}
