"""Images with boxes are split like images with labels: by rarest class, by group, and again from the manifest."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.splits import split_boxes, strata
from tlkit.data.images.sources import PARTS
from tlkit.errors import DataFault


def bags(root, count=60, groups=None):
    """Every image has bottles, every fourth a knife, every tenth a gun, every third nothing."""
    generator = np.random.default_rng(0)
    root.mkdir()
    lines = ["image,left,top,right,bottom,class,group"]
    for number in range(count):
        name = f"{number:02d}.png"
        Image.fromarray(generator.integers(0, 255, (20, 20), np.uint8)).save(root / name)
        group = groups(number) if groups else ""
        if number % 3 == 0:
            lines.append(f"{name},,,,,,{group}")
            continue
        lines += [f"{name},1,1,{5 + k},9,bottle,{group}" for k in range(3)]
        lines += [f"{name},2,2,9,9,knife,{group}"] if number % 4 == 0 else []
        lines += [f"{name},3,3,9,9,gun,{group}"] if number % 10 == 0 else []
    (root / "boxes.csv").write_text("\n".join(lines))
    return read_boxes(root)


def test_an_image_stands_for_its_rarest_class(tmp_path):
    boxes = bags(tmp_path / "s")
    assert boxes.class_names == ("bottle", "gun", "knife")
    found = strata(boxes)
    for number in range(60):
        expected = 3 if number % 3 == 0 else 1 if number % 10 == 0 else 2 if number % 4 == 0 else 0
        assert found[number] == expected
    assert np.bincount(found).tolist() == [28, 4, 8, 20]


def test_a_small_stratum_joins_its_next_class_and_then_the_largest(tmp_path):
    boxes = bags(tmp_path / "s")
    assert np.bincount(strata(boxes, least=5), minlength=4).tolist() == [
        30,
        0,
        10,
        20,
    ]  # 20 and 40 have knives too
    assert np.bincount(strata(boxes, least=11), minlength=4).tolist() == [40, 0, 0, 20]
    assert np.bincount(strata(boxes, least=25), minlength=4).tolist() == [60, 0, 0, 0]


def test_parts_share_no_group_and_hold_every_stratum(tmp_path):
    boxes = bags(tmp_path / "s", groups=lambda number: f"bag{number // 2}")
    split = split_boxes(boxes, seed=3)
    assert sorted(path for part in PARTS for path in split.take(part).paths) == list(boxes.paths)
    members = [set(split.groups_in(part)) for part in PARTS]
    assert not set.intersection(*members[:2]) | set.intersection(*members[1:]) | (members[0] & members[2])
    summary = split.summary()
    assert sum(summary[part]["n"] for part in PARTS) == 60
    assert 30 <= summary["training"]["n"] <= 42
    for part in PARTS:
        assert summary[part]["per_class"]["knife"] > 0
        assert summary[part]["negative"] > 0
        assert summary[part]["boxes"] == sum(map(len, split.take(part).xyxy))


def test_rare_classes_are_shared_out(tmp_path):
    split = split_boxes(bags(tmp_path / "s"), seed=0)
    assert [split.summary()[part]["per_class"]["gun"] for part in PARTS] == [2, 1, 1]


def test_the_same_seed_the_same_split_and_its_manifest_again(tmp_path):
    boxes = bags(tmp_path / "s")
    one, same, other = (split_boxes(boxes, seed=seed) for seed in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    assert one.manifest.splitlines()[0] == "path,sha256,label,group,part"
    lines = one.manifest.splitlines()
    file = tmp_path / "split.csv"
    file.write_text("\n".join(lines[:41]) + "\n")
    again = split_boxes(boxes, manifest=file)
    assert again.images.paths == boxes.paths[:40]
    assert [list(again.indices(part)) for part in PARTS] == [
        [i for i in one.indices(p) if i < 40] for p in PARTS
    ]
    assert [b.tolist() for b in again.take("test").xyxy] == [
        boxes.xyxy[i].tolist() for i in one.indices("test") if i < 40
    ]
    assert "20 images not listed" in again.warnings[0]


def test_group_and_hold_out_by_expression(tmp_path):
    boxes = bags(tmp_path / "s")
    split = split_boxes(boxes, hold_out=r"^5", group=r"^(\d)")
    assert split.take("test").paths == tuple(f"5{i}.png" for i in range(10))
    assert not {p[0] for p in split.take("training").paths} & {p[0] for p in split.take("validation").paths}


def test_a_file_that_does_not_open_is_refused(tmp_path):
    boxes = bags(tmp_path / "s")
    boxes.file(7).write_bytes(boxes.file(7).read_bytes()[:60])
    with pytest.raises(DataFault, match=r"07.png"):
        split_boxes(boxes)


@pytest.mark.real
def test_real_bags_of_one_passenger_stay_together(real_data):
    split = split_boxes(read_boxes(real_data / "sixray"), seed=0)
    members = [set(split.groups_in(part)) for part in PARTS]
    assert not set.intersection(*members[:2]) | set.intersection(*members[1:]) | (members[0] & members[2])
    for part in PARTS:
        assert min(split.summary()[part]["per_class"].values()) >= 12
