"""DCGAN: shapes, the enlarging convolution against its plain form, saving, conditioning."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.dcgan import (
    DcganDiscriminator,
    DcganGenerator,
    PixelNorm,
    build_dcgan,
    channels_at,
    sides,
    upsampled_convolution,
)

WIDTH = 4


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3), (128, 1)])
def test_images_in_and_out(size, channels):
    generator, discriminator = build_dcgan(size, channels, latent=8, width=WIDTH)
    images = generator(normal(2, 8))
    assert (images.shape, images.dtype) == ((2, size, size, channels), tf.float32)
    assert np.abs(images).max() <= 1
    assert discriminator(images).shape == (2,)


def test_widths_halve_as_the_side_doubles():
    assert sides(64) == [8, 16, 32, 64]
    assert [channels_at(side, 32) for side in (4, 8, 16, 32, 64)] == [128, 128, 64, 32, 16]


def test_the_enlarging_convolution_is_nearest_neighbour_and_3x3():
    x, kernel = tf.constant(normal(2, 5, 5, 3)), tf.constant(normal(3, 3, 3, 4, seed=1))
    weights = normal(2, 10, 10, 4, seed=2)

    def plain(x, kernel):
        return tf.nn.conv2d(tf.repeat(tf.repeat(x, 2, 1), 2, 2), kernel, 1, "SAME")

    results = []
    for function in (plain, upsampled_convolution):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = function(x, kernel)
            score = tf.reduce_sum(tf.sin(y) * weights)
        results.append([y, *tape.gradient(score, [x, kernel])])
    for expected, actual in zip(*results, strict=True):
        assert np.abs(expected - actual).max() < 2e-4


def test_pixel_norm_by_hand():
    assert PixelNorm()(tf.constant([[3.0, 4.0]])).numpy()[0] == pytest.approx(
        np.array([3.0, 4.0]) / 12.5**0.5, abs=1e-6
    )


def test_the_seed_makes_the_weights_and_serving_is_training():
    one, two, other = (build_dcgan(latent=8, width=WIDTH, seed=seed).generator for seed in (1, 1, 2))
    z = normal(3, 8)
    assert np.array_equal(one(z), two(z))
    assert not np.array_equal(one(z), other(z))
    # no batch norm: the same function in both, and no image depends on its neighbours
    assert np.array_equal(one(z, training=True), one(z, training=False))
    assert np.abs(one(z)[:1] - one(z[:1])).max() < 1e-5
    assert not any(isinstance(p, keras.layers.BatchNormalization) for p in one._flatten_layers())


def test_the_class_changes_image_and_score():
    generator, discriminator = build_dcgan(latent=8, width=WIDTH, classes=3)
    z = np.repeat(normal(1, 8), 3, 0)
    images = generator(z, np.arange(3)).numpy()
    assert np.abs(images[0] - images[1]).max() > 1e-3
    same = np.repeat(images[:1], 3, 0)
    score, features = discriminator.body(same)
    table = discriminator.embedding.embeddings.numpy()
    expected = score.numpy()[:, 0] + (table * features).numpy().sum(-1) / features.shape[1] ** 0.5
    assert discriminator(same, np.arange(3)).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("classes", [0, 2])
def test_both_networks_can_be_saved_and_read(tmp_path, classes):
    networks = build_dcgan(latent=8, width=WIDTH, classes=classes)
    z, labels = normal(2, 8), np.array([0, 1]) if classes else None
    images = networks.generator(z, labels)
    for network, arguments in zip(networks, ((z, labels), (images, labels)), strict=True):
        network.save(tmp_path / "network.keras")
        again = keras.saving.load_model(tmp_path / "network.keras")
        assert type(again) in {DcganGenerator, DcganDiscriminator}
        assert np.array_equal(network(*arguments), again(*arguments))


def test_half_precision_inside_float32_outside():
    generator, discriminator = build_dcgan(latent=8, width=WIDTH, precision="mixed_bfloat16")
    assert generator.body.layers[1].compute_dtype == "bfloat16"
    images = generator(normal(2, 8))
    assert (images.dtype, discriminator(images).dtype) == (tf.float32, tf.float32)


def test_other_sizes_are_refused():
    with pytest.raises(UsageFault, match="--size 48 cannot be made"):
        build_dcgan(48)
