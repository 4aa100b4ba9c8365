"""Batches are a function of (seed, phase, epoch, step): any step can be replayed, any epoch begun with."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkit.data.images.augment import Augmentation, Augmenter
from tlkit.data.images.batches import (
    Order,
    class_weights,
    decoded,
    pixel_batches,
    plain_batches,
    training_batches,
    weighted,
)
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault

LABELS = np.array([0] * 30 + [1] * 10, np.int32)
MUCH = Augmentation("both", 30.0, 0.2, 0.2, 1, "mixup")


def test_every_image_comes_once_an_epoch_in_another_order_each_time():
    order = Order(LABELS, 8, seed=0, phase="head")
    first, second = order.indices(0).numpy(), order.indices(1).numpy()
    assert sorted(first) == sorted(second) == list(range(40))
    assert first.tolist() != second.tolist()
    assert order.steps == 5


def test_seed_and_phase_change_the_order():
    orders = [
        Order(LABELS, 8, seed, phase).indices(0).numpy().tolist()
        for seed, phase in ((0, "a"), (1, "a"), (0, "b"))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_the_files_of_a_step_are_those_of_the_stream():
    order = Order(LABELS, 16, 5, "top")
    steps = [(int(e), int(s), chosen.tolist()) for e, s, chosen in order.stream(1, 3).as_numpy_iterator()]
    assert [(e, s) for e, s, _ in steps] == [(e, s) for e in (1, 2) for s in range(3)]
    assert all(chosen == order.of_step(e, s).tolist() for e, s, chosen in steps)
    assert [len(chosen) for _, _, chosen in steps] == [16, 16, 8, 16, 16, 8]


def test_resampling_draws_classes_alike():
    order = Order(LABELS, 8, 0, "head", "resample")
    drawn = np.concatenate([LABELS[order.indices(epoch).numpy()] for epoch in range(50)])
    assert len(drawn) == 2000
    assert 0.45 < drawn.mean() < 0.55  # binomial, n = 2000: three standard deviations are 0.034


@pytest.mark.parametrize("draws", [16, 40, 100])
def test_an_epoch_of_another_length_takes_the_images_in_turn(draws):
    order = Order(LABELS, 8, 0, "head", draws=draws)
    every = np.concatenate([order.indices(epoch).numpy() for epoch in range(5)])
    assert len(every) == 5 * draws
    assert order.steps == -(-draws // 8)
    whole = every[: len(every) // 40 * 40].reshape(-1, 40)
    assert all(sorted(turn) == list(range(40)) for turn in whole.tolist())
    assert len({tuple(turn) for turn in whole.tolist()}) == len(whole)
    assert len(set(every[whole.size :].tolist())) == len(every) - whole.size
    streamed = [chosen for _, _, chosen in order.stream(1, 3).as_numpy_iterator()]
    assert np.concatenate(streamed).tolist() == every[draws : 3 * draws].tolist()


def test_as_many_draws_as_images_are_an_epoch_as_it_always_was():
    same, plain = (Order(LABELS, 8, 0, "head", draws=draws) for draws in (40, None))
    assert same.indices(3).numpy().tolist() == plain.indices(3).numpy().tolist()
    assert len(Order(LABELS, 8, 0, "head", "resample", 25).indices(1)) == 25


def test_class_weights_by_hand():
    assert class_weights(LABELS, 2).tolist() == pytest.approx([40 / 60, 40 / 20])


def test_weights_follow_the_labels_mixed_ones_too():
    data = tf.data.Dataset.from_tensors((tf.zeros([3, 1]), tf.constant([[1.0, 0], [0, 1.0], [0.5, 0.5]])))
    _, _, weights = next(iter(weighted(data, LABELS, 2, "weights")))
    assert weights.numpy().tolist() == pytest.approx([2 / 3, 2, 4 / 3])


@pytest.fixture
def images(make_folder):
    return read_images(str(make_folder(bar=7, disc=7)))


def collect(images, epochs, first=0, augmentation=None, seed=0, **options):
    order = Order(images.labels, 4, seed, "all")
    return list(
        training_batches(
            images, order, 32, epochs, first_epoch=first, augmentation=augmentation, **options
        ).as_numpy_iterator()
    )


def test_training_batches_hold_uint8_pixels_and_one_hot_labels(images):
    batches = collect(images, 1)
    assert [x.shape for x, _ in batches] == [(4, 32, 32, 3)] * 3 + [(2, 32, 32, 3)]
    assert batches[0][0].dtype == np.uint8
    assert np.concatenate([y for _, y in batches]).sum(0).tolist() == [7, 7]


@pytest.mark.parametrize("augmentation", [None, MUCH])
def test_a_later_epoch_is_the_same_begun_late(images, augmentation):
    whole = collect(images, 3, augmentation=augmentation)
    late = collect(images, 3, first=2, augmentation=augmentation)
    for (x, y), (again_x, again_y) in zip(whole[8:], late, strict=True):
        assert (x == again_x).all()
        assert (y == again_y).all()


def test_images_that_do_not_fit_into_memory_are_read_alike(images):
    for (x, y), (streamed_x, streamed_y) in zip(
        collect(images, 2), collect(images, 2, memory=0), strict=True
    ):
        assert (x == streamed_x).all()
        assert (y == streamed_y).all()
    both = zip(plain_batches(images, 24, 5), plain_batches(images, 24, 5, memory=0), strict=True)
    assert all((a[0].numpy() == b[0].numpy()).all() for a, b in both)


def test_another_seed_changes_the_images(images):
    assert any(
        (a[0] != b[0]).any() for a, b in zip(collect(images, 1), collect(images, 1, seed=1), strict=True)
    )


def test_plain_batches_keep_the_order_of_the_paths(images):
    pixels = np.concatenate([x for x, _ in plain_batches(images, 40).as_numpy_iterator()])
    expected = np.stack([np.asarray(Image.open(file)) for file in images.files()])
    assert (pixels == expected).all()


def test_every_batch_has_one_static_shape_so_nothing_is_traced_twice(images):
    assert pixel_batches(images.files(), 32, 4).element_spec.shape.as_list() == [None, 32, 32, 3]


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(flip="vertical"),
        Augmentation(rotation=40),
        Augmentation(zoom=0.4),
        Augmentation(contrast=0.5),
        Augmentation(rand_augment=2),
    ],
)
def test_each_change_changes_pixels_keeps_labels_and_follows_its_seed(augmentation):
    generator = np.random.default_rng(0)
    pixels = tf.constant(generator.integers(0, 255, (8, 32, 32, 3)).astype(np.uint8))
    labels = tf.one_hot([0, 1] * 4, 2)
    augment = Augmenter(augmentation, 32)
    one, same_labels = augment(pixels, labels, tf.constant([1, 2]))
    two, _ = augment(pixels, labels, tf.constant([1, 2]))
    other = [augment(pixels, labels, tf.constant([1, k]))[0].numpy() for k in range(3, 9)]
    assert one.dtype == tf.uint8
    assert (one.numpy() == two.numpy()).all()
    assert any((one.numpy() != o).any() for o in other)
    assert (same_labels.numpy() == labels.numpy()).all()


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_mixes_labels_that_still_sum_to_one(mix):
    pixels = tf.constant(
        np.repeat([[0], [255]], 8, 1).reshape(16, 1, 1, 1) * np.ones((1, 16, 16, 3), int), tf.uint8
    )
    labels = tf.one_hot([0] * 8 + [1] * 8, 2)
    mixed, targets = Augmenter(Augmentation(mix=mix), 16)(pixels, labels, tf.constant([3, 4]))
    assert targets.numpy().sum(1) == pytest.approx(np.ones(16))
    assert ((targets.numpy() > 0) & (targets.numpy() < 1)).any()
    light = mixed.numpy().mean((1, 2, 3)) / 255  # the share of white pixels is the share of class 1
    off = 0.02 if mix == "mixup" else 0.2  # CutMix's box is cut off at the border, its label is not
    assert light == pytest.approx(targets.numpy()[:, 1], abs=off)


def test_a_file_that_does_not_decode_after_all_is_named(make_folder):
    images = read_images(str(make_folder(bar=2, disc=2)))
    (images.root / "disc" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n torn since the look")
    with pytest.raises(DataFault, match=r"disc/0\.png cannot be decoded"):
        decoded(images, 16)
