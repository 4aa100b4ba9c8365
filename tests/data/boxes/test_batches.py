"""Images in the network's square: boxes go there and back, and no image is placed in two ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.batches import (
    letterbox,
    network_boxes,
    placement,
    plain_box_batches,
    read_letterboxed,
    to_network,
    to_original,
    training_box_batches,
)
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.images.batches import Order

SIZE = 64


def image(width, height, box, colour=(255, 0, 0)):
    pixels = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = colour
    return pixels


def make_boxes(folder: Path, specs) -> Boxes:
    """specs: (width, height, [(left, top, right, bottom, label, difficult), ...]); every box is painted red."""
    paths = []
    for number, (width, height, found) in enumerate(specs):
        pixels = np.full((height, width, 3), 20 + number, np.uint8)
        for left, top, right, bottom, *_ in found:
            pixels[top:bottom, left:right] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        paths.append(f"{number}.png")
    arrays = [np.array([b[:4] for b in found], np.float32).reshape(-1, 4) for _, _, found in specs]
    return Boxes(
        source=str(folder),
        root=folder,
        class_names=("a", "b"),
        paths=tuple(paths),
        xyxy=tuple(arrays),
        labels=tuple(np.array([b[4] for b in found], np.int32) for _, _, found in specs),
        difficult=tuple(np.array([b[5] for b in found], bool) for _, _, found in specs),
        sizes=tuple((width, height) for width, height, _ in specs),
        groups=(None,) * len(specs),
        parts=(None,) * len(specs),
    )


@pytest.fixture
def boxes(tmp_path):
    specs = [
        (128, 64, [(16, 8, 80, 40, 0, False), (100, 10, 120, 50, 1, True)]),
        (64, 64, []),
        (50, 100, [(10, 20, 30, 60, 1, False)]),
        (256, 256, [(0, 0, 256, 256, 0, False), (9, 9, 14, 200, 1, False)]),
        (64, 48, [(1, 2, 30, 40, 1, False)]),
    ]
    return make_boxes(tmp_path, specs)


@pytest.mark.parametrize(
    "sides", [(128, 64), (64, 128), (33, 100), (64, 64), (20, 31), (1000, 3), (301, 299)]
)
def test_the_square_is_filled_as_a_plain_calculation_says(sides):
    width, height = sides
    found = letterbox(tf.fill([height, width, 3], tf.constant(200, tf.uint8)), SIZE)
    longest = max(sides)
    new = [max(1, int(side * SIZE / longest + 0.5)) for side in sides]
    left, top = (SIZE - new[0]) // 2, (SIZE - new[1]) // 2
    expected = np.full((SIZE, SIZE, 3), 114, np.uint8)
    expected[top : top + new[1], left : left + new[0]] = 200
    assert (found.pixels.numpy() == expected).all()
    scale, offset = placement(np.array(sides), SIZE)
    assert found.scale.numpy() == pytest.approx(scale, rel=1e-6)
    assert found.offset.numpy().tolist() == offset.tolist() == [left, top]
    assert found.sides.numpy().tolist() == list(sides)


def test_boxes_lie_on_their_objects_in_the_square():
    box = (40, 20, 100, 50)
    found = letterbox(tf.constant(image(160, 80, box)), SIZE).pixels.numpy()
    left, top, right, bottom = to_network(np.array([box], np.float32), (160, 80), SIZE)[0]
    assert [left, top, right, bottom] == [16, 24, 40, 36]  # 0.4 of the size, 16 rows of grey above
    red = found[..., 0] > 200
    assert red[24:36, 16:40].all()
    assert red.sum() == 24 * 12


def test_boxes_go_there_and_back():
    random = np.random.default_rng(0)
    for _ in range(50):
        sides = tuple(random.integers(5, 400, 2).tolist())
        corners = np.sort(random.uniform(0, 1, (7, 2, 2)), axis=1).reshape(7, 4) * np.tile(sides, 2)
        there = to_network(corners.astype(np.float32), sides, SIZE)
        assert there.min() >= 0
        assert there.max() <= SIZE
        scale, offset = placement(np.array(sides), SIZE)
        back = to_original(there, scale, offset, np.array(sides, np.float32)).numpy()
        assert back == pytest.approx(corners, abs=2e-3)
    outside = to_original(
        np.array([[-50.0, -50, 500, 500]], np.float32), scale, offset, np.array(sides, np.float32)
    )
    assert outside.numpy().tolist() == [[0, 0, *sides]]


def test_a_turned_and_reduced_jpeg_has_its_upright_sides(tmp_path):
    pixels = np.zeros((300, 900, 3), np.uint8)
    pixels[:, :450] = 250  # the left half as stored
    turned = Image.Exif()
    turned[0x0112] = 6  # stored left is up
    Image.fromarray(pixels).save(tmp_path / "t.jpg", exif=turned, quality=95)
    found = read_letterboxed(tf.constant((tmp_path / "t.jpg").read_bytes()), SIZE)  # decoded at 1/2 or less
    assert found.sides.numpy().tolist() == [300, 900]
    column = found.pixels.numpy()[:, SIZE // 2, 0].astype(int)
    assert (column[:30] > 200).all()
    assert (column[34:] < 50).all()
    assert found.offset.numpy().tolist() == [21, 0]


def test_padding_difficult_and_tiny_boxes_are_told_apart(boxes):
    xyxy, labels = network_boxes(boxes, SIZE)
    assert labels.tolist() == [[0, -2], [-1, -1], [1, -1], [0, -2], [1, -1]]  # 5 px of 256 are 1.25 of 64
    assert xyxy[0, 0].tolist() == [8, 20, 40, 36]
    assert (xyxy[1] == -1).all()
    assert (xyxy[2, 1] == -1).all()


def test_plain_batches_are_the_images_in_order(boxes):
    every = list(plain_box_batches(boxes, SIZE, batch=2))
    assert [len(pixels) for pixels, _ in every] == [2, 2, 1]
    pixels = np.concatenate([p.numpy() for p, _ in every])
    for number, file in enumerate(boxes.files()):
        expected = read_letterboxed(tf.constant(Path(file).read_bytes()), SIZE).pixels
        assert (pixels[number] == expected.numpy()).all()
    labels = np.concatenate([truth["classes"].numpy() for _, truth in every])
    assert (labels == network_boxes(boxes, SIZE)[1]).all()


@pytest.mark.parametrize("memory", [0, 10**9])
def test_order_follows_from_seed_phase_and_epoch(boxes, memory):
    order = Order(np.zeros(5, np.int32), 2, 3, "all")

    def batches(first):
        data = training_box_batches(boxes, order, SIZE, 3, first_epoch=first, memory=memory)
        return [(p.numpy(), t["boxes"].numpy(), t["classes"].numpy()) for p, t in data]

    whole = batches(0)
    assert len(whole) == 9
    plain = network_boxes(boxes, SIZE)[1]
    for epoch in range(3):
        chosen = np.concatenate([order.of_step(epoch, step) for step in range(3)])
        assert sorted(chosen.tolist()) == [0, 1, 2, 3, 4]
        labels = np.concatenate([labels for _, _, labels in whole[epoch * 3 : epoch * 3 + 3]])
        assert (labels == plain[chosen]).all()
    for before, after in zip(whole[6:], batches(2), strict=True):
        assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_change_comes_before_augmentation_and_any_step_can_be_replayed(boxes):
    order = Order(np.zeros(5, np.int32), 5, 3, "all")
    seeds = []

    def change(pixels, xyxy, labels, _frames, seed):
        tf.py_function(lambda s: seeds.append(s.numpy().tolist()), [seed], [])
        return tf.zeros_like(pixels) + 77, xyxy, tf.where(labels >= 0, 1, labels)

    augmentation = BoxAugmentation(flip="horizontal", scale=(0.5, 0.6))
    data = training_box_batches(boxes, order, SIZE, 2, augmentation=augmentation, change=change)
    found = [(p.numpy(), t) for p, t in data]
    again = [(p.numpy(), t) for p, t in data]
    assert set(np.unique(found[0][0]).tolist()) >= {
        77,
        114,
    }  # the change, then grey around the shrunk image
    assert set(np.unique(found[0][1]["classes"]).tolist()) <= {-2, -1, 1}
    assert (found[0][0] != found[1][0]).any()
    assert all((a[0] == b[0]).all() for a, b in zip(found, again, strict=True))
    assert seeds[0] != seeds[1]
    assert sorted(seeds[:2]) == sorted(seeds[2:])  # two steps are made side by side
