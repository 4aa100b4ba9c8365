"""Parts share nothing: no image, no group; and a split is a function of seed and content."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.data.images.inspection import inspect_files
from tlkit.data.images.load import load_split
from tlkit.data.images.sources import Images, read_images
from tlkit.data.images.splits import split_images
from tlkit.errors import DataFault, UsageFault


def split_of(root, **options):
    return load_split(str(root), **options).split


def parts_by_group(split):
    found = {}
    for group, part in zip(split.groups, split.parts, strict=True):
        found.setdefault(group, set()).add(part)
    return found


def test_shares_are_stratified_and_every_part_is_there(make_folder):
    summary = split_of(make_folder(bar=10, disc=20)).summary()
    assert {part: summary[part]["per_class"] for part in summary} == {
        "training": {"bar": 6, "disc": 12},
        "validation": {"bar": 2, "disc": 4},
        "test": {"bar": 2, "disc": 4},
    }


def test_same_seed_same_split_other_seed_other_split(make_folder):
    root = make_folder(bar=12, disc=12)
    assert split_of(root, seed=1).manifest == split_of(root, seed=1).manifest
    assert split_of(root, seed=1).parts != split_of(root, seed=2).parts


def test_equal_files_never_cross_even_under_other_names_and_groups(make_folder):
    root = make_folder(bar=8, disc=8)
    for number in range(4):
        shutil.copy(root / "bar" / "0.png", root / "bar" / f"copy_{number}.png")
    for seed in range(10):
        split = split_of(root, seed=seed)
        same = {split.parts[i] for i, p in enumerate(split.images.paths) if "copy" in p or p == "bar/0.png"}
        assert len(same) == 1
    grouped = split_of(root, group=r"(\w+/\w+)\.png")  # declared apart, yet the same content
    same = {grouped.parts[i] for i, p in enumerate(grouped.images.paths) if "copy" in p or p == "bar/0.png"}
    assert len(same) == 1


def test_a_regular_expression_keeps_its_groups_together(make_folder):
    root = make_folder(bar=12, disc=12)
    split = split_of(root, group=r"/(\d)")  # 1, 10 and 11 belong together, across classes too
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())
    assert split.groups[split.images.paths.index("bar/10.png")] == "1"


def test_a_csv_column_can_be_the_group(make_folder):
    root = make_folder(bar=6, disc=6)
    rows = [(f"{kind}/{i}.png", kind, f"patient{i // 2}") for kind in ("bar", "disc") for i in range(6)]
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "patient"), *rows])
    split = split_of(root / "labels.csv", group="patient")
    assert set(split.groups) == {"patient0", "patient1", "patient2"}
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())


def random_images(seed):
    """Images that need no files: random labels and random declared groups."""
    generator = np.random.default_rng(seed)
    count, classes = int(generator.integers(30, 120)), int(generator.integers(2, 5))
    labels = np.concatenate([np.repeat(np.arange(classes), 4), generator.integers(0, classes, count)])
    groups = [f"g{g}" for g in generator.integers(0, count // 2, len(labels))]
    groups[: classes * 4] = [f"own{i}" for i in range(classes * 4)]
    n = len(labels)
    return Images(
        source="random",
        root=Path(),
        class_names=tuple(f"c{k}" for k in range(classes)),
        paths=tuple(f"{i:04d}.png" for i in range(n)),
        labels=labels.astype(np.int32),
        groups=tuple(groups),
        parts=(None,) * n,
    )


def inspected(images):
    from tlkit.data.images.inspection import Inspection

    generator = np.random.default_rng(0)
    return [
        Inspection(f"{p}", None, generator.integers(0, 255, (32, 32)).astype(np.uint8)) for p in images.paths
    ]


@pytest.mark.parametrize("seed", range(20))
def test_random_group_layouts_stay_disjoint_and_complete(seed):
    images = random_images(seed)
    split = split_images(images, inspected(images), seed=seed)
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())
    assert set(split.parts) == {"training", "validation", "test"}
    share = len(split.indices("training")) / len(images)
    assert 0.45 < share < 0.75


def test_a_new_file_moves_no_other_groups_order():
    images = random_images(3)
    new = replace(
        images.take([int(np.flatnonzero(images.labels == 0)[0])]), paths=("new.png",), groups=("new",)
    )
    more = images.followed_by(new)
    before = split_images(images, inspected(images))
    after = split_images(more, inspected(more))
    moved = sum(a != b for a, b in zip(before.parts, after.parts, strict=False))
    assert moved <= 4  # only groups at an edge of the shares can move


def test_too_few_groups_for_a_class_are_refused_by_name(make_folder):
    with pytest.raises(
        DataFault, match="Class disc has 2 groups of images, too few for training, validation"
    ):
        split_of(make_folder(bar=6, disc=2))


def test_group_that_matches_nothing_names_the_path(make_folder):
    with pytest.raises(DataFault, match=r"--group \(B\\d\+\) does not match bar/0.png"):
        split_of(make_folder(), group=r"(B\d+)")


def test_group_that_is_no_expression_is_a_usage_fault(make_folder):
    with pytest.raises(UsageFault, match=r"--group \( is no regular expression"):
        split_of(make_folder(), group="(")


def test_hold_out_by_path_makes_the_test_part(make_folder):
    split = split_of(make_folder(bar=10, disc=10), hold_out=r"/[89]\.png")
    held = [split.images.paths[i] for i in split.indices("test")]
    assert held == ["bar/8.png", "bar/9.png", "disc/8.png", "disc/9.png"]
    assert [len(split.indices(p)) for p in ("training", "validation")] == [12, 4]


def test_hold_out_by_column_and_its_faults(make_folder):
    root = make_folder(bar=6, disc=6)
    rows = [(f"{k}/{i}.png", k, "clean" if i < 4 else "baggage") for k in ("bar", "disc") for i in range(6)]
    with (root / "images.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "series"), *rows])
    split = split_of(root / "images.csv", hold_out="series=baggage")
    series = split.images.columns["series"]
    assert {series[i] for i in split.indices("test")} == {"baggage"}
    assert {series[i] for part in ("training", "validation") for i in split.indices(part)} == {"clean"}
    with pytest.raises(DataFault, match="--hold-out series=dirty fits no image of") as caught:
        split_of(root / "images.csv", hold_out="series=dirty")
    assert caught.value.remedy == "Values of series: baggage, clean."


@pytest.fixture
def split_folder(make_folder, tmp_path):
    made = make_folder("all", bar=6, disc=6)
    for number in range(6):
        part = ("train", "train", "train", "train", "val", "test")[number]
        for kind in ("bar", "disc"):
            target = tmp_path / "split" / part / kind
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(made / kind / f"{number}.png", target)
    return tmp_path / "split"


def test_own_parts_are_honoured(split_folder):
    split = split_of(split_folder)
    assert split.images.paths[split.indices("test")[0]] == "test/bar/5.png"
    assert [len(split.indices(p)) for p in ("training", "validation", "test")] == [8, 2, 2]


def test_a_missing_validation_part_comes_out_of_training_only(split_folder):
    shutil.rmtree(split_folder / "val")
    split = split_of(split_folder)
    assert all(split.images.paths[i].startswith("train/") for i in split.indices("validation"))
    assert all(split.images.paths[i].startswith("test/") for i in split.indices("test"))


def test_a_shared_image_refuses_the_run_unless_allowed(split_folder):
    shutil.copy(split_folder / "train/bar/0.png", split_folder / "test/bar/again.png")
    with pytest.raises(
        DataFault, match="test/bar/again.png .test. and train/bar/0.png .training. are the same file"
    ):
        split_of(split_folder)
    split = split_of(split_folder, allow_leak=True)
    assert split.warnings[0].startswith("Leak allowed by --allow-leak: 1 image")


def test_a_shared_group_refuses_the_run(split_folder):
    with pytest.raises(DataFault, match="cross.* parts: .* are both of group bar"):
        split_of(split_folder, group=r"(bar|disc)")


def test_near_copies_across_parts_warn_and_name_group(split_folder):
    with Image.open(split_folder / "train/disc/1.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(split_folder / "test/disc/turned.jpg", quality=95)
    warning = " ".join(split_of(split_folder).warnings)
    assert "1 image of validation or test look" in warning
    assert "test/disc/turned.jpg of train/disc/1.png" in warning
    assert "--group" in warning


def test_different_images_are_no_near_copies(split_folder):
    assert split_of(split_folder).warnings == ()


def test_one_file_under_two_labels_is_said(make_folder):
    root = make_folder(bar=6, disc=6)
    shutil.copy(root / "bar/0.png", root / "disc/odd.png")
    assert "1 image with two different labels: bar/0.png and disc/odd.png" in split_of(root).warnings[0]


def test_a_manifest_gives_the_same_parts_again_whatever_the_seed(make_folder, tmp_path):
    root = make_folder(bar=8, disc=8)
    first = split_of(root, seed=3)
    manifest = tmp_path / "split.csv"
    manifest.write_text(first.manifest)
    again = split_of(root, seed=99, manifest=manifest)
    assert again.manifest == first.manifest
    assert again.digest == first.digest


def test_a_manifest_notices_changed_and_missing_files(make_folder, tmp_path):
    root = make_folder(bar=8, disc=8)
    manifest = tmp_path / "split.csv"
    manifest.write_text(split_of(root).manifest)
    shutil.copy(root / "bar/1.png", root / "bar/0.png")
    with pytest.raises(DataFault, match="bar/0.png has changed since"):
        split_of(root, manifest=manifest)
    (root / "bar/0.png").unlink()
    with pytest.raises(DataFault, match="lists bar/0.png, which"):
        split_of(root, manifest=manifest)


def test_images_that_a_manifest_does_not_list_are_left_out(make_folder, tmp_path):
    root = make_folder(bar=8, disc=8)
    manifest = tmp_path / "split.csv"
    lines = split_of(root).manifest.splitlines()
    manifest.write_text("\n".join(lines[:1] + lines[3:]) + "\n")
    split = split_of(root, manifest=manifest)
    assert len(split.images) == 14
    assert split.warnings[0] == "2 images not listed in split.csv left out."


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(b"", "is empty"), (b"hello", "is not an image"), (None, "is truncated")],
)
def test_files_that_do_not_open_are_named_or_left_out_as_asked(make_folder, contents, reason):
    root = make_folder(bar=8, disc=8, size=64)
    bad = root / "bar" / "bad.jpg"
    if contents is None:
        with Image.open(root / "bar" / "0.png") as image:
            image.save(bad)
        contents = bad.read_bytes()[:900]
    bad.write_bytes(contents)
    with pytest.raises(DataFault, match=f"bar/bad.jpg {reason}.*") as caught:
        load_split(str(root))
    assert "--skip-bad" in caught.value.remedy
    load = load_split(str(root), skip_bad=True)
    assert load.skipped[0]["path"] == "bar/bad.jpg"
    assert len(load.split.images) == 16


def test_inspection_of_sixteen_bits_and_turned_files(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    upright = Image.fromarray((ramp // 257).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    deep, turned = inspect_files([tmp_path / "deep.png", tmp_path / "turned.jpg"])
    assert (
        abs(
            deep.thumbnail.astype(int) - np.asarray(upright.resize((32, 32), Image.Resampling.BILINEAR))
        ).max()
        <= 1
    )
    expected = np.rot90(deep.thumbnail, -1).astype(int)
    assert abs(turned.thumbnail - expected).mean() < 3


@pytest.mark.real
def test_the_real_threats_keep_mirrored_copies_together(real_data):
    images = read_images(str(real_data / "threats"))
    split = split_images(images, inspect_files(images.files()), group=r"[ULA]?(B\d+_\d+)")
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())
    assert "UB0078" not in "".join(split.groups)
