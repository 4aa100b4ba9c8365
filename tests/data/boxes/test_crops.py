"""Crops for a classifier: of objects and of nothing, with the parts of their images."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.crops import NOTHING, Cutting, cut_windows, write_crops
from tlkit.data.boxes.dataset import iou, read_boxes
from tlkit.data.boxes.splits import split_boxes
from tlkit.data.images.inspection import inspect_files
from tlkit.data.images.sources import read_images
from tlkit.data.images.splits import split_images
from tlkit.errors import DataFault, UsageFault

HIGH, WIDE = 90, 120


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """16-bit images of noise, in pairs of one group; guns are wide, knives high, every third has nothing."""
    root = tmp_path_factory.mktemp("crops") / "bags"
    root.mkdir()
    lines = ["image,left,top,right,bottom,class,group"]
    for number in range(24):
        pixels = np.random.default_rng(number).integers(20_000, 60_000, (HIGH, WIDE)).astype(np.uint16)
        Image.fromarray(pixels).save(root / f"{number:02}.png")
        group = f"bag{number // 2}"
        gun, knife = f"{10 + number},5,{50 + number},25,gun", f"80,{30 + number},95,{66 + number},knife"
        boxes = {0: [",,,,"], 1: [gun], 2: [gun, knife]}[number % 3]
        lines += [f"{number:02}.png,{box},{group}" for box in boxes]
    (root / "boxes.csv").write_text("\n".join(lines))
    return split_boxes(read_boxes(root))


def test_objects_are_in_sight_and_nothing_is_nothing(split):
    crops = list(cut_windows(split, Cutting(each=5)))
    kinds = [crop.label for crop in crops]
    assert kinds.count("gun") == 16
    assert kinds.count("knife") == 8
    assert 24 * 4 < kinds.count("other") <= 24 * 5  # a place may not be found
    beside = 0
    for crop in crops:
        left, top, right, bottom = crop.window
        assert 0 <= left < right <= WIDE
        assert 0 <= top < bottom <= HIGH
        assert (crop.window == np.rint(crop.window)).all()
        boxes = split.images.xyxy[crop.image]
        overlap = iou(crop.window[None], boxes)[0]
        if crop.label == "other":
            assert (overlap < NOTHING).all()
            beside += (overlap > 0).any()
        else:
            own = boxes[split.images.labels[crop.image] == split.images.class_names.index(crop.label)]
            assert iou(crop.window[None], own).max() > 0.4
    assert beside > 16  # windows half over an object are learned as nothing too


def test_shapes_are_those_of_windows(split):
    ratios = (0.5, 1.0, 2.0)
    for crop in cut_windows(split, Cutting(each=3, ratios=ratios)):
        sides = crop.window[2:] - crop.window[:2]
        assert min(abs(np.log(sides[0] / sides[1] / r)) for r in ratios) < 0.15, crop
        if crop.label != "other":
            assert (sides[0] > sides[1]) == (crop.label == "gun")


def test_a_image_is_cut_alike_whatever_else_there_is(split):
    some = split.only(np.arange(3))
    few = [c for c in cut_windows(some) if c.label != "other"]
    every = [c for c in cut_windows(split) if c.image < 3 and c.label != "other"]
    assert all((a.window == b.window).all() for a, b in zip(few, every, strict=True))
    again = list(cut_windows(split, seed=1))
    assert any((a.window != b.window).any() for a, b in zip(again, cut_windows(split), strict=False))


def test_a_classifier_deals_the_crops_as_their_images(split, tmp_path):
    found = write_crops(split, tmp_path / "out", Cutting("nichts", 1))
    images = read_images(str(tmp_path / "out" / "labels.csv"))
    assert images.class_names == ("gun", "knife", "nichts")
    assert Counter(images.class_names[k] for k in images.labels) == found
    dealt = split_images(
        images, inspect_files(images.files()), seed=7
    )  # the parts are declared: the seed does not matter
    theirs = dict(zip(split.groups, split.parts, strict=True))
    assert {theirs[group] for group in dealt.groups} == {"training", "validation", "test"}
    assert all(theirs[group] == part for group, part in zip(dealt.groups, dealt.parts, strict=True))
    with (tmp_path / "out" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    first = next(cut_windows(split, Cutting("nichts", 1)))
    left, top, right, bottom = first.window.astype(int)
    image = np.asarray(Image.open(split.images.file(first.image)))
    crop = np.asarray(Image.open(tmp_path / "out" / rows[0]["path"]))
    assert (crop == image[top:bottom, left:right]).all()  # 16 bits, every level


def test_what_cannot_be_cut_is_told(split, tmp_path):
    with pytest.raises(UsageFault, match="--negative GUN is a class of the boxes"):
        write_crops(split, tmp_path / "out", Cutting("GUN"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(UsageFault, match="is there already"):
        write_crops(split, tmp_path / "full")
    with pytest.raises(UsageFault, match="lies inside"):
        write_crops(split, split.images.root / "out")
    empty = split.only(np.flatnonzero([not len(some) for some in split.images.xyxy]))
    with pytest.raises(DataFault, match="has no boxes to cut out"):
        write_crops(empty, tmp_path / "out")
    assert [place.name for place in tmp_path.iterdir()] == ["full"]  # nothing half-written
