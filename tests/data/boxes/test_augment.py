"""Changed images: boxes stay on their objects, the same seed gives the same, and nothing is moved in place."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tlkit.core.seeds import fold
from tlkit.data.boxes.affine import (
    GREY,
    Batch,
    centred_map,
    clipped,
    move_boxes,
    move_pixels,
    moved,
)
from tlkit.data.boxes.augment import SEEK, augment_boxes, crop_corners, crop_maps, placements
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.errors import UsageFault

SIZE, COLOURS = 64, (50, 170, 210, 250)
FRAME = tf.constant([0, 0, SIZE, SIZE], tf.float32)


def drawn(count=4, seed=0):
    """Each image has one bright rectangle of its own grey level on black; label = its number."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    xyxy = np.full((count, 2, 4), -1, np.float32)
    labels = np.full((count, 2), -1, np.int32)
    for i in range(count):
        left, top = random.integers(6, 26, 2)
        right, bottom = left + random.integers(16, 30), top + random.integers(16, 30)
        pixels[i, top:bottom, left:right] = COLOURS[i]
        xyxy[i, 0], labels[i, 0] = (left, top, right, bottom), i
    return tf.constant(pixels), tf.constant(xyxy), tf.constant(labels)


def box_on(image, level, box):
    """How far `box` is from the bounding box of the nearest connected area of about this grey level, pixels."""
    areas, count = ndimage.label(np.abs(image[..., 0].astype(int) - level) <= 12)
    bounds = [np.array([x.start, y.start, x.stop, y.stop]) for y, x in ndimage.find_objects(areas)]
    assert count
    return min(np.abs(one - box).max() for one in bounds)


EVERY = {
    "flip": BoxAugmentation(flip="both"),
    "turn": BoxAugmentation(turn=True),
    "scale": BoxAugmentation(scale=(0.6, 1.5), stretch=0.2, shift=0.1),
    "all": BoxAugmentation(flip="both", turn=True, scale=(0.7, 1.3), shift=0.05),
    "mosaic": BoxAugmentation(mosaic=1.0, least_visible=0.0),
    "half mosaic": BoxAugmentation(mosaic=0.5, flip="horizontal", scale=(0.8, 1.6), least_visible=0.0),
}


@pytest.mark.parametrize("name", EVERY)
def test_boxes_stay_on_their_objects(name):
    pixels, xyxy, labels = drawn()
    checked, moved = 0, 0
    for number in range(6):
        found = augment_boxes(pixels, xyxy, labels, tf.constant([number, 5]), EVERY[name])
        for image, boxes, kinds in zip(*(np.asarray(v) for v in found.parts), strict=True):
            for box, kind in zip(boxes, kinds, strict=True):
                if kind < 0:
                    continue
                assert box_on(image, COLOURS[kind], box) <= 1.5  # the edge is blurred
                checked += 1
                moved += int((box != xyxy[kind, 0].numpy()).any())
    assert checked >= 20
    assert moved >= checked / 2


def test_the_same_seed_gives_the_same_and_another_gives_another():
    pixels, xyxy, labels = drawn()
    how = BoxAugmentation(
        flip="both", scale=(0.7, 1.4), mosaic=0.5, mixup=0.5, brightness=0.3, contrast=0.3, shift=0.1
    )
    first, again, other = (
        augment_boxes(pixels, xyxy, labels, tf.constant(s), how) for s in ([1, 2], [1, 2], [1, 3])
    )
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(first, again, strict=True))
    assert (np.asarray(first.pixels) != np.asarray(other.pixels)).any()


def test_nothing_wanted_changes_nothing():
    pixels, xyxy, labels = drawn()
    found = augment_boxes(pixels, xyxy, labels, tf.constant([0, 0]), BoxAugmentation())
    assert (np.asarray(found.pixels) == pixels.numpy()).all()
    assert (np.asarray(found.labels) == labels.numpy()).all()
    assert not BoxAugmentation().active
    assert all(how.active for how in EVERY.values())


def test_quarter_turns_and_mirrors_are_exact():
    random = np.random.default_rng(1)
    pixels = random.integers(0, 255, (1, SIZE, SIZE, 3)).astype(np.uint8)
    box = np.array([[[10, 20, 30, 50]]], np.float32)
    cases = {
        "mirror": ([[-1, 0], [0, 1]], pixels[0, :, ::-1], [34, 20, 54, 50]),
        "upside down": ([[1, 0], [0, -1]], pixels[0, ::-1], [10, 14, 30, 44]),
        "quarter": ([[0, -1], [1, 0]], np.rot90(pixels[0], -1), [14, 10, 44, 30]),  # clockwise
    }
    for orientation, expected, wanted in cases.values():
        maps = centred_map(tf.constant([orientation], tf.float32), tf.ones([1, 2]), tf.zeros([1, 2]), SIZE)
        assert (move_pixels(tf.constant(pixels), maps)[0].numpy() == expected).all()
        found, _ = move_boxes(tf.constant(box), tf.constant([[0]]), maps, FRAME, 0.25)
        assert found.numpy()[0, 0] == pytest.approx(wanted, abs=1e-3)


def test_boxes_are_cut_ignored_or_dropped_at_the_edge():
    whole = tf.constant(
        [[[-10, 0, 10, 10], [-90, 0, 10, 10], [-9, 0, 1, 10], [80, 80, 90, 90], [-1, -1, -1, -1]]], tf.float32
    )
    labels = tf.constant([[0, 1, 2, 3, -1]])
    xyxy, kinds = clipped(whole, labels, FRAME, 0.25)
    assert kinds.numpy().tolist() == [[0, -2, -1, -1, -1]]  # half left; a tenth; one pixel; none; no box
    assert xyxy.numpy()[0, 0].tolist() == [0, 0, 10, 10]
    assert xyxy.numpy()[0, 1].tolist() == [0, 0, 10, 10]
    assert (xyxy.numpy()[0, 2:] == -1).all()


def test_ignored_boxes_stay_ignored_and_padding_stays_padding():
    pixels, xyxy, labels = drawn()
    labels = tf.where(labels == 1, -2, labels)
    found = augment_boxes(pixels, xyxy, labels, tf.constant([0, 1]), BoxAugmentation(flip="both", turn=True))
    assert sorted(np.asarray(found.labels)[1].tolist()) == [-2, -1]
    assert np.asarray(found.xyxy)[np.asarray(found.labels) == -1].tolist() == [[-1] * 4] * 4


def test_a_mosaic_has_four_images_that_meet_in_one_point():
    pixels = tf.constant(np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for level in COLOURS]))
    xyxy = tf.constant(np.tile(np.array([8, 8, 56, 56], np.float32), (4, 1, 1)))
    labels = tf.constant(np.arange(4, dtype=np.int32)[:, None])
    found = augment_boxes(pixels, xyxy, labels, tf.constant([4, 4]), BoxAugmentation(mosaic=1.0))
    for image in np.asarray(found.pixels):
        corners = {int(image[y, x, 0]) for y in (0, -1) for x in (0, -1)}
        inner = set(np.unique(image).tolist()) - {GREY}
        assert inner <= set(COLOURS)
        assert len(inner) >= 2
        assert corners <= inner | {GREY}
    assert (np.asarray(found.labels) >= 0).sum(1).max() >= 3


def test_mixup_keeps_the_boxes_of_both():
    pixels, xyxy, labels = drawn()
    found = augment_boxes(pixels, xyxy, labels, tf.constant([4, 4]), BoxAugmentation(mixup=1.0))
    for i, (image, kinds) in enumerate(zip(np.asarray(found.pixels), np.asarray(found.labels), strict=True)):
        both = {k for k in kinds.tolist() if k >= 0}
        assert len(both) == 2
        assert i in both
        other = (both - {i}).pop()
        first, second = pixels[i].numpy().astype(float), pixels[other].numpy().astype(float)
        inside = first != second
        weight = np.median((image - second)[inside] / (first - second)[inside])
        assert 0.25 < weight < 0.75  # Beta(32, 32)
        assert np.abs(image - (first * weight + second * (1 - weight))).max() < 4


def test_a_batch_of_one_survives_mosaic_and_mixup():
    pixels, xyxy, labels = drawn(1)
    found = augment_boxes(pixels, xyxy, labels, tf.constant([4, 4]), BoxAugmentation(mosaic=1.0, mixup=1.0))
    assert found.pixels.shape == (1, SIZE, SIZE, 3)
    assert set(np.asarray(found.labels)[0].tolist()) <= {-2, -1, 0}


def test_gamma_is_a_power_of_what_gets_through():
    pixels = tf.constant(np.tile(np.arange(256, dtype=np.uint8)[None, :, None, None], (8, 1, 1, 3)))
    pixels = tf.reshape(pixels, [8, 16, 16, 3])
    xyxy, labels = tf.fill([8, 1, 4], -1.0), tf.fill([8, 1], -1)
    changed = augment_boxes(
        pixels, xyxy, labels, tf.constant([1, 1]), BoxAugmentation(gamma=0.5)
    ).pixels.numpy()
    powers = np.log(changed[:, 8, 0, 0] / 255) / np.log(pixels.numpy()[:, 8, 0, 0] / 255)
    assert powers.min() < 0.9 < 1.1 < powers.max()
    assert (powers > 1 / 1.5 - 0.02).all()
    assert (powers < 1.52).all()
    for one, before, power in zip(changed, pixels.numpy(), powers, strict=True):
        np.testing.assert_allclose(one, 255 * (before / 255) ** power, atol=2)
        assert one.min() == 0
        assert one.max() == 255


def test_brightness_multiplies_and_contrast_keeps_the_mean():
    pixels = tf.constant(np.random.default_rng(0).integers(60, 140, (8, SIZE, SIZE, 3)).astype(np.uint8))
    xyxy, labels = tf.fill([8, 1, 4], -1.0), tf.fill([8, 1], -1)
    bright = np.asarray(
        augment_boxes(pixels, xyxy, labels, tf.constant([1, 1]), BoxAugmentation(brightness=0.5)).pixels
    )
    ratio = bright.mean((1, 2, 3)) / pixels.numpy().mean((1, 2, 3))
    assert ratio.min() >= 1 / 1.51
    assert ratio.max() <= 1.51
    assert np.ptp(ratio) > 0.2
    bent = np.asarray(
        augment_boxes(pixels, xyxy, labels, tf.constant([1, 1]), BoxAugmentation(contrast=0.5)).pixels
    )
    assert bent.mean((1, 2, 3)) == pytest.approx(pixels.numpy().mean((1, 2, 3)), abs=0.6)
    spread = bent.std((1, 2, 3)) / pixels.numpy().std((1, 2, 3))
    assert np.ptp(spread) > 0.2


def many(count, size=256):
    """Images whose pixels say where they were, with an object or two each; every fourth is empty."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:size, :size]
    pixels = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    low = random.integers(0, size - 40, (count, 2, 2))
    xyxy = np.concatenate([low, low + random.integers(8, 40, (count, 2, 2))], -1).astype(np.float32)
    labels = np.tile(np.array([0, 1], np.int32), (count, 1))
    labels[::2, 1], labels[::4, 0] = -1, -1
    xyxy[labels == -1] = -1
    return Batch(tf.constant(np.tile(pixels, (count, 1, 1, 1))), tf.constant(xyxy), tf.constant(labels))


def test_a_crop_takes_whole_pixels_and_its_boxes_along():
    batch = many(32)
    cut = Batch(
        *map(np.asarray, augment_boxes(*batch.parts, tf.constant([1, 2]), BoxAugmentation(crop=128)).parts)
    )
    assert cut.pixels.shape == (32, 128, 128, 3)
    corners = cut.pixels[:, 0, 0, 1::-1].astype(int)  # left, top, as the pixels say
    whole = np.asarray(batch.pixels[0])
    assert len(np.unique(corners, axis=0)) > 20
    for pixels, (left, top), xyxy, labels, was, kinds in zip(
        cut.pixels, corners, *cut.parts[1:], *map(np.asarray, batch.parts[1:]), strict=True
    ):
        assert (pixels == whole[top : top + 128, left : left + 128]).all()
        moved = was[kinds >= 0] - [left, top, left, top]
        seen = [box for box in np.clip(moved, 0, 128) if (box[2:] - box[:2] >= 2).all()]
        assert sorted(map(tuple, xyxy[labels != -1])) == sorted(map(tuple, seen))


def test_crops_seek_objects_and_go_everywhere():
    batch = many(800)
    corners = np.asarray(crop_corners(batch, tf.constant([5, 6]), 128))
    assert (corners == np.round(corners)).all()
    assert corners.min() == 0
    assert corners.max() == 128
    xyxy, labels = (np.asarray(one) for one in batch.parts[1:])
    inside = (xyxy[..., :2] >= corners[:, None]).all(-1) & (xyxy[..., 2:] <= corners[:, None] + 128).all(-1)
    one = (labels[:, 0] == 0) & (labels[:, 1] == -1)
    by_chance = np.mean([128 / 256] * 2) ** 2
    assert SEEK - 0.08 < inside[one, 0].mean() < SEEK + (1 - SEEK) * by_chance * 2 + 0.08
    two = labels[:, 1] == 1
    both = [inside[two & (labels[:, 0] == 0), column].mean() for column in (0, 1)]
    assert abs(both[0] - both[1]) < 0.12  # either object is as likely
    empty = (labels == -1).all(1)
    assert corners[empty].mean() == pytest.approx(64, abs=6)
    assert np.percentile(corners[empty], [10, 90]) == pytest.approx([12.8, 115.2], abs=8)


def test_an_ignored_object_is_not_sought_and_one_too_large_stays_in_the_middle():
    batch = many(400)
    ignored = batch._replace(labels=tf.where(batch.labels >= 0, -2, -1))
    free, bound = (np.asarray(crop_corners(one, tf.constant([7, 8]), 128)) for one in (ignored, batch))
    assert free.mean() == pytest.approx(64, abs=5)
    assert (free != bound).any()
    large = Batch(batch.pixels[:9], tf.constant([[[20.0, 30, 200, 240]]] * 9), tf.zeros([9, 1], tf.int32))
    corners = np.asarray(crop_corners(large, tf.constant([9, 9]), 128))
    assert ((corners >= [20, 30]) & (corners <= [72, 112])).all(1).sum() >= 4  # cut within it, not beside it


def test_impossible_values_are_refused():
    with pytest.raises(UsageFault, match="--crop 100 does not suit"):
        BoxAugmentation(crop=100)
    with pytest.raises(UsageFault, match="--crop 96 does not suit"):
        BoxAugmentation(crop=96)
    with pytest.raises(UsageFault, match="--crop 256 is more than the image's 128"):
        BoxAugmentation(crop=256).check(128)
    with pytest.raises(UsageFault, match="--flip sideways"):
        BoxAugmentation(flip="sideways")
    with pytest.raises(UsageFault, match="scale from 2 to 1"):
        BoxAugmentation(scale=(2.0, 1.0))


def test_moving_and_cropping_in_one_gives_what_both_give_in_turn():
    random = np.random.default_rng(0)
    pixels = tf.constant(
        ndimage.zoom(random.integers(0, 255, (4, 16, 16, 3)), (1, 16, 16, 1), order=1), tf.uint8
    )
    _, xyxy, labels = drawn()
    batch = Batch(pixels, tf.where(xyxy >= 0, xyxy * 4, xyxy), labels)
    how = BoxAugmentation(flip="both", turn=True, scale=(0.7, 1.4), stretch=0.1, shift=0.1, crop=128)
    cut = 0
    for number in range(5):
        seed = tf.constant([number, 2])
        found = augment_boxes(*batch.parts, seed, how)
        whole = moved(batch, placements(fold(seed, 0), 4, 256, how), how.least_visible)
        turned = moved(whole, crop_maps(whole, fold(seed, 3), 128), how.least_visible, 128)
        difference = np.abs(found.pixels.numpy().astype(int) - turned.pixels.numpy())
        assert difference.max() <= 1  # rounded once instead of twice
        assert (found.labels.numpy() == turned.labels.numpy()).all()
        assert np.abs(found.xyxy.numpy() - turned.xyxy.numpy()).max() < 1e-3
        cut += int((found.labels.numpy() >= 0).sum())
    assert cut >= 8
