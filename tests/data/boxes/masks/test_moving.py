"""Masks go where their boxes go, whatever happens to the image, and a region cuts out of them what it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.data.boxes.masks.moved import SIZE, batch_of, ellipses, rendered
from tlkit.data.boxes.affine import PADDING
from tlkit.data.boxes.augment import augment_boxes
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.batches import plain_box_batches, training_box_batches
from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.masks import moving, rle
from tlkit.data.images.batches import Order
from tlkit.data.xray.bags import write_bags


def test_grids_are_as_fine_as_the_largest_mask_and_fit_into_memory():
    assert moving.grid_side(10, 5) == 28
    assert moving.grid_side(100, 5) == 112
    assert moving.grid_side(400, 5) == 224
    assert moving.grid_side(400, 100_000) == 84  # 2**30 / 100,000 = 103.6^2
    assert moving.grid_side(400, 10**9) == 28


def test_a_grid_touches_every_cell_that_the_mask_touches():
    shown = np.zeros((100, 100), bool)
    shown[0, 99] = shown[50, 0] = shown[99, 50] = True
    grid = moving.as_grid(shown, 28)
    assert (grid > 0).sum() == 3
    assert (moving.as_grid(np.ones((3, 5), bool), 28) == 255).all()


def test_a_region_cuts_out_of_a_mask_what_it_shows():
    grid = np.zeros((1, 1, 28, 28), np.uint8)
    grid[..., :14] = 255  # the left half
    maps = tf.constant([[[[56.0, 0, 10], [0, 28, 20]]]])  # a window from (10, 20) to (66, 48)
    regions = tf.constant([[[10.0, 20, 66, 48], [38, 20, 66, 48], [10, 20, 38, 34], [-18, 20, 38, 48]]])
    found = moving.cut_by_regions(grid, maps, regions, tf.zeros([1, 4], tf.int32), 14).numpy()[0]
    assert found[0, :, :7].min() == 1
    assert found[0, :, 7:].max() == 0
    assert found[1].max() <= 0.5
    assert found[2].min() >= 0.5
    assert found[3, :, :7].max() == 0  # beside the window there is nothing
    assert found[3, :, 7:13].min() == 1


def test_a_mask_without_a_window_is_nothing_and_does_not_divide_by_zero():
    maps = tf.zeros([1, 1, 2, 3])
    grid = tf.zeros([1, 1, 28, 28], tf.uint8)
    found = moving.cut_by_regions(grid, maps, tf.constant([[[0.0, 0, 9, 9]]]), tf.zeros([1, 1], tf.int32), 28)
    assert not found.numpy().any()


@pytest.mark.parametrize(
    "how",
    [
        BoxAugmentation(flip="both", turn=True),
        BoxAugmentation(turn=True, scale=(0.6, 1.6), stretch=0.2, shift=0.2),
        BoxAugmentation(flip="both", turn=True, crop=128),
        BoxAugmentation(crop=128),
        BoxAugmentation(mosaic=1.0, turn=True),
        BoxAugmentation(mosaic=0.5, crop=128),
    ],
)
def test_a_mask_lies_where_its_pixels_are(how):
    """One object after the other is drawn white on black, and moved with the same seed."""
    drawn = ellipses(np.random.default_rng(4))
    xyxy, labels, masks, grids = batch_of(drawn)
    seen, seed = 0, tf.constant([7, 3])
    for label, own in enumerate(drawn.reshape(-1, SIZE, SIZE)):
        pixels = np.zeros((len(drawn), SIZE, SIZE, 3), np.uint8)
        pixels[label // drawn.shape[1]][own] = 255
        batch = augment_boxes(pixels, xyxy, labels, seed, how, masks)
        shown, boxes, kinds = moving.shown(grids, batch.masks, batch.xyxy, batch.labels, PADDING)
        for image, box, mask in rendered(batch, shown, boxes, kinds, label):
            white = batch.pixels[image, ..., 0].numpy() > 127  # the frame has 114
            rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
            places = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            if np.ptp(places[::2]) < 12 or np.ptp(places[1::2]) < 12 or how.mosaic:
                assert (white & mask).sum() >= 0.9 * mask.sum()  # a mosaic may show two parts of it
                continue
            assert np.abs(places - box).max() <= 1
            assert (white & mask).sum() >= 0.95 * (white | mask).sum()
            seen += 1
    assert how.mosaic or seen > 3


def test_a_cut_off_mask_has_the_box_of_what_is_left_of_it():
    grid = np.triu(np.full((112, 112), 255, np.uint8))[None]  # the hypotenuse falls, what is left is above it
    masks = tf.constant([[[0.0, 112, 0, 0, 0, 112, 0, 0, 0, 112, 112]]])
    frame = tf.constant([0.0, 56, 40, 112])
    cut = moving.moved(masks, tf.constant([[[1.0, 0, 0], [0, 1, 0]]]), frame)
    box = tf.constant([[[0.0, 56, 40, 112]]])
    shown, boxes, labels = moving.shown(tf.constant(grid), cut, box, tf.constant([[2]]), PADDING)
    assert not shown.numpy().any()  # all of the window below the diagonal
    assert labels.numpy().tolist() == [[PADDING]]
    wide = moving.moved(masks, tf.constant([[[1.0, 0, 0], [0, 1, 0]]]), tf.constant([0.0, 56, 112, 112]))
    _, boxes, labels = moving.shown(
        tf.constant(grid), wide, tf.constant([[[0.0, 56, 112, 112]]]), tf.constant([[2]]), PADDING
    )
    assert np.abs(boxes.numpy()[0, 0] - [56, 56, 112, 112]).max() <= 1
    assert labels.numpy().tolist() == [[2]]


def test_batches_of_bags_bring_their_masks(tmp_path):
    write_bags(tmp_path / "bags", 8, seed=2, masks=True)
    boxes = read_boxes(tmp_path / "bags", masks=True)
    assert boxes.masks is not None
    order = Order(np.zeros(len(boxes), np.int32), 4, 0, "all")
    plain = [truth for _, truth in plain_box_batches(boxes, SIZE, 4)]
    assert sum(int((truth["classes"] >= 0).numpy().sum()) for truth in plain) == sum(map(len, boxes.xyxy))
    for truth in plain:
        names = ("boxes", "classes", "masks")
        for box, label, grid in zip(*(np.concatenate(truth[name]) for name in names), strict=True):
            assert (label >= 0) == bool(grid.any())
            assert label < 0 or (box[2:] > box[:2]).all()
    x, truth = next(
        iter(training_box_batches(boxes, order, SIZE, 1, augmentation=BoxAugmentation(flip="both", crop=128)))
    )
    assert x.shape == (4, 128, 128, 3)
    assert truth["masks"].dtype == tf.uint8
    assert truth["mask_maps"].shape[2:] == (2, 3)
    lost = replace(boxes, masks=tuple((None,) * len(row) for row in boxes.masks))
    _, truth = next(iter(plain_box_batches(lost, SIZE, 4)))
    assert not truth["masks"].numpy().any()
    assert not truth["mask_maps"].numpy().any()
    assert sum(rle.area(mask) for row in boxes.masks for mask in row if mask) > 0
