"""Threats pasted in while a detector learns: exact boxes, only where the image is, and the same again from a seed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.boxes.test_batches import make_boxes
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.batches import network_boxes, network_frames, training_box_batches
from tlkit.data.images.batches import Order
from tlkit.tasks.compositing.composites import hold
from tlkit.tasks.compositing.online import ThreatProjection
from tlkit.tasks.compositing.settings import CompositeSettings

SIZE = 96
NAMES = ("bar", "Star")


def crop(kind: str) -> np.ndarray:
    """A clean crop: a thin bar, or a plate with a hole; both take much of the beam."""
    image = np.full((40, 60), 0.95, np.float32)
    if kind == "bar":
        image[17:22, 4:56] = 0.3
    else:
        image[6:34, 12:48], image[16:24, 25:35] = 0.4, 0.95
    return image


def projection(share=1.0, **options) -> ThreatProjection:
    """Of one star and one bar, one or two in an image."""
    colours = options.pop("colours", None)
    threats = {"bar": [hold(crop("bar"))], "star": [hold(crop("star"))]}
    settings = CompositeSettings(sides=(0.15, 0.4), empty=0.0, share=share, i0=1.0, **options)
    return ThreatProjection(threats, settings, NAMES, colours)


def batch(count=6, seed=0, *, colour=False):
    """Bags that fill the middle two thirds of the square's height, with one object in each; grey around them."""
    random = np.random.default_rng(seed)
    pixels = np.full((count, SIZE, SIZE, 3), 114, np.uint8)
    smooth = random.integers(140, 220, (count, 8, 12, 3 if colour else 1)).repeat(8, 1).repeat(8, 2)
    pixels[:, 16:80] = smooth
    xyxy = np.full((count, 2, 4), -1, np.float32)
    labels = np.full((count, 2), -1, np.int32)
    xyxy[:, 0], labels[:, 0] = (10, 20, 40, 50), 1
    frames = np.tile(np.array([0, 16, SIZE, 80], np.int32), (count, 1))
    return pixels, xyxy, labels, frames


def seeded(number: int) -> np.ndarray:
    return np.array([-number - 1, 77], np.int32)  # a step's seed may be negative


def test_boxes_are_exact_and_nothing_else_changes():
    bags = batch(40)
    pixels, xyxy, labels = projection(per_bag=(1, 1)).lay(*bags, seeded(0))[:3]
    found = 0
    for before, after, boxes, kinds in zip(bags[0], pixels, xyxy, labels, strict=True):
        assert boxes[0].tolist() == [10, 20, 40, 50]
        new = boxes[2:][kinds[2:] >= 0].astype(int)
        changed = (before != after).any(2)
        assert len(new) == int(changed.any())
        for left, top, right, bottom in new.tolist():
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            assert [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] == [left, top, right, bottom]
            assert (top, bottom) == (max(top, 16), min(bottom, 80))  # never in the grey around the image
            found += 1
    assert found > 25
    assert set(labels[:, 2:].ravel().tolist()) == {0, 1}  # star is Star
    assert pixels.dtype == np.uint8


def test_greys_are_products_of_transmittances():
    bags = batch(12)
    bags[0][:, 16:80] = 200
    bags[2][:] = -1
    pixels, xyxy, labels = projection(per_bag=(1, 1), thickness=(1, 1)).lay(*bags, seeded(3))[:3]
    bars = [
        after[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])]
        for after, boxes, kinds in zip(pixels, xyxy, labels, strict=True)
        for box, kind in zip(boxes, kinds, strict=True)
        if kind == 1
    ]
    darkest = [bar.min() for bar in bars]
    assert len(darkest) >= 3
    # The plate lets 0.4 / 0.95 of the beam through, the bag 200 grey levels.
    assert np.abs(np.array(darkest, float) - 200 * 0.4 / 0.95).max() <= 2


def test_a_seed_and_a_place_give_the_same_whatever_else_is_in_the_batch():
    bags, lay = batch(6), projection(0.5).lay
    found = lay(*bags, seeded(1))
    again = lay(*(part[:3] for part in bags), seeded(1))
    for whole, part in zip(found, again, strict=True):
        assert (whole[:3] == part).all()
    assert (lay(*bags, seeded(2))[0] != found[0]).any()
    many = batch(200, 1)
    share = (projection(0.25).lay(*many, seeded(3))[2][:, 2:] >= 0).any(1).mean()
    assert 0.15 < share < 0.33
    assert (many[0] == batch(200, 1)[0]).all()  # the images that were given are not touched


def test_colours_follow_the_bags_metal_and_grey_images_stay_grey():
    colours = np.array([1.6, 1.0, 0.5], np.float32)
    bags = batch(8, colour=True)
    bags[0][:, 16:80] = (200, 201, 202)
    pixels = projection(colours=colours).lay(*bags, seeded(4))[0].astype(float)
    through = pixels[:, 16:80] / (200, 201, 202)
    dense = through[..., 1] < 0.6
    assert dense.any()
    fitted = np.log(through[dense]) / np.log(through[dense][:, 1:2])
    assert np.abs(np.median(fitted, 0) - colours).max() < 0.05
    plain = projection(colours=colours).lay(*batch(8), seeded(4))[0]
    assert (plain == plain[..., :1]).all()


@pytest.fixture
def boxes(tmp_path):
    found = make_boxes(
        tmp_path, [(128, 64, [(10, 8, 40, 40, 0, False)]), (64, 64, []), (50, 100, []), (96, 96, [])]
    )
    for number, (width, height) in enumerate(found.sizes):
        grey = np.random.default_rng(number).integers(120, 200, (height // 2 + 1, width // 2 + 1))
        image = grey.repeat(2, 0).repeat(2, 1)[:height, :width].astype(np.uint8)
        Image.fromarray(image).save(tmp_path / found.paths[number])
    return found


@pytest.mark.parametrize("augmentation", [None, BoxAugmentation(flip="both", scale=(0.8, 1.2))])
def test_a_training_that_goes_on_sees_the_same_threats(boxes, augmentation):
    order = Order(np.zeros(4, np.int32), 2, 3, "all")

    def batches(first):
        data = training_box_batches(
            boxes, order, SIZE, 4, first_epoch=first, augmentation=augmentation, change=projection()
        )
        return [(p.numpy(), t["boxes"].numpy(), t["classes"].numpy()) for p, t in data]

    whole = batches(0)
    for before, after in zip(whole[4:], batches(2), strict=True):
        assert all((a == b).all() for a, b in zip(before, after, strict=True))
    known = network_boxes(boxes, SIZE)[1]
    assert sum(int((labels >= 0).sum()) for *_, labels in whole) > 4 * int((known >= 0).sum()) + 6
    assert (whole[0][0] != whole[2][0]).any()  # another epoch, other threats


def test_frames_are_where_the_letterbox_puts_images(boxes):
    assert network_frames(boxes, SIZE).tolist() == [
        [0, 24, 96, 72],
        [0, 0, 96, 96],
        [24, 0, 72, 96],
        [0, 0, 96, 96],
    ]


def test_the_graph_knows_the_shapes(boxes):
    order = Order(np.zeros(4, np.int32), 2, 3, "all")
    data = training_box_batches(boxes, order, SIZE, 1, change=projection())
    pixels, truth = data.element_spec
    assert pixels.shape[1:] == (SIZE, SIZE, 3)
    assert truth["boxes"].shape[1:] == (3, 4)
    assert truth["classes"].dtype == tf.int32
