"""Composites join the training part alone; bags of any depth and colour are what threats are pasted into."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.lazy_images import Backgrounds, read_backgrounds, with_names, without_boxes
from tlkit.data.boxes.splits import split_boxes
from tlkit.data.boxes.synthetic import add_composites, say_composites
from tlkit.errors import DataFault
from tlkit.tasks.compositing.colour import laid_into, palette


def write(root: Path, rows: dict[str, list], groups: dict[str, str] | None = None) -> Path:
    """Images of noise with boxes; image -> [(box, class), ...]."""
    root.mkdir(parents=True)
    lines = [["image", "left", "top", "right", "bottom", "class", "split"]]
    for number, (name, boxes) in enumerate(rows.items()):
        seed = [number, len(str(root))]
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 50)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name)
        part = (groups or {}).get(name, "")
        lines += [[name, *box, label, part] for box, label in boxes] or [[name, *[""] * 5, part]]
    with (root / "boxes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return root


@pytest.fixture
def split(tmp_path):
    rows = {f"{n}.png": [((2, 3, 20, 30), "gun")] if n % 2 else [] for n in range(10)}
    return split_boxes(read_boxes(write(tmp_path / "bags", rows)))


@pytest.fixture
def tip(tmp_path, split):
    """A run of three composites for training and one for test, made of two training images."""
    run = tmp_path / "runs" / "tip" / "1"
    rows = {
        "a.png": [((1, 1, 9, 9), "Gun"), ((5, 5, 30, 20), "Gun")],
        "b.png": [((1, 1, 9, 9), "Gun")],
        "c.png": [],
    }
    parts = dict.fromkeys(rows, "training") | {"d.png": "test"}
    write(run / "composites", {**rows, "d.png": [((0, 0, 5, 5), "Gun")]}, parts)
    learn(run, split, [(i, "training") for i in split.indices("training")[:2]])
    return run


def learn(run: Path, split, rows) -> None:
    lines = [["path", "sha256", "label", "group", "part"]]
    lines += [[split.images.paths[i], split.sha256[i], "gun", "g", part] for i, part in rows]
    with (run / "trained_on.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)


def test_composites_join_the_training_part_and_nothing_else(split, tip):
    joined, added = add_composites(split, [tip])
    assert added == {"tip/1": {"pictures": 3, "empty": 1, "gun": 3}}
    assert say_composites(added) == [
        "Added to training from tip/1: 3 composites, 1 of them empty; boxes: 3 of gun."
    ]
    training = joined.take("training")
    assert len(training) == len(split.take("training")) + 3
    assert training.xyxy[-3].tolist() == [[1, 1, 9, 9], [5, 5, 30, 20]]
    assert [some.tolist() for some in training.labels[-3:]] == [[0, 0], [0], []]
    assert training.class_names == ("gun",)
    for i in range(-3, 0):
        digest = hashlib.sha256(training.file(len(training) + i).read_bytes()).hexdigest()
        assert digest == joined.sha256[i]
    for part in ("validation", "test"):
        assert joined.summary()[part] == split.summary()[part]
    assert joined.manifest.startswith(split.manifest)
    assert joined.manifest.count("synthetic:tip/1") == 3


@pytest.mark.parametrize("part", ["validation", "test"])
def test_what_composites_are_made_of_may_not_be_judged(split, tip, part):
    seen = split.indices(part)[0]
    learn(tip, split, [(seen, "training")])
    with pytest.raises(
        DataFault, match=f"learned from {split.images.paths[seen]}, which is in the {part} part here"
    ):
        add_composites(split, [tip])
    learn(tip, split, [(seen, part)])  # composites of other parts, which are not added
    assert add_composites(split, [tip])[1]["tip/1"]["pictures"] == 3


def test_a_class_that_is_not_there_names_both_lists(split, tip):
    table = tip / "composites" / "boxes.csv"
    table.write_text(table.read_text().replace("1,1,9,9,Gun", "1,1,9,9,knife"))
    with pytest.raises(DataFault, match="boxes of Gun, knife; .* has gun, and no knife"):
        add_composites(split, [tip])


def test_runs_without_composites_for_training_are_refused(split, tip):
    table = tip / "composites" / "boxes.csv"
    table.write_text(table.read_text().replace("training", "validation"))
    with pytest.raises(DataFault, match="tip/1 has no composites for training"):
        add_composites(split, [tip])
    (tip / "trained_on.csv").unlink()
    with pytest.raises(DataFault, match="does not say which images"):
        add_composites(split, [tip])


# ---- backgrounds ----


def test_a_folder_of_images_is_taken_as_empty_bags(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((20, 30), 100 + number, np.uint8)).save(tmp_path / f"{number}.png")
    boxes = read_backgrounds(str(tmp_path))
    assert (len(boxes), boxes.class_names, boxes.sizes[0]) == (3, (), (30, 20))
    assert len(without_boxes(boxes)) == 3
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(DataFault, match=r"3\.png"):
        read_backgrounds(str(tmp_path))


def test_bags_keep_depth_and_give_their_colours(tmp_path):
    exponents = np.array([2.0, 0.8, 0.5])
    depth = np.linspace(0.1, 2, 60 * 80).reshape(60, 80, 1)
    pixels = np.exp(-depth * exponents)
    pixels[:6] = 1.0  # free beam
    Image.fromarray((255 * pixels).astype(np.uint8)).save(tmp_path / "colour.png")
    Image.fromarray(np.full((60, 80), 40_000, np.uint16)).save(tmp_path / "deep.png")
    bags = Backgrounds(read_backgrounds(str(tmp_path)))
    assert [bags.bits(i) for i in range(2)] == [8, 16]
    assert [bags.levels(i).shape[2] for i in range(2)] == [3, 1]
    assert bags[1][0, 0] == pytest.approx(40_000 / 65_535)
    colours = palette(bags)
    assert colours / colours.sum() == pytest.approx(exponents / exponents.sum(), rel=0.05)
    through = np.full((60, 80), 0.5, np.float32)
    np.testing.assert_allclose(
        laid_into(bags.levels(0), through, colours), bags.levels(0) * 0.5**colours, rtol=1e-6
    )
    np.testing.assert_allclose(laid_into(bags.levels(1), through, colours)[..., 0], bags[1] * 0.5)


def test_threats_take_the_colours_of_metal_where_other_matter_is_as_dense(tmp_path):
    metal, organic = np.array([2.1, 0.8, 0.7]), np.array([0.7, 0.9, 2.4])
    depth = np.linspace(0.1, 2, 60 * 80).reshape(60, 80, 1)
    pixels = np.exp(-depth * np.where(np.arange(80)[:, None] % 5 < 2, metal, organic))  # two columns of five
    pixels[:6] = 1.0
    Image.fromarray((255 * pixels).astype(np.uint8)).save(tmp_path / "bag.png")
    colours = palette(Backgrounds(read_backgrounds(str(tmp_path))))
    assert colours / colours.sum() == pytest.approx(metal / metal.sum(), rel=0.05)


def test_names_are_joined_whatever_their_case(split):
    boxes, spelling = with_names(split.images, ("GUN", "star"))
    assert boxes.class_names == ("gun", "star")
    assert spelling == {"GUN": "gun", "star": "star"}
