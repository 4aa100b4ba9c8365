"""StyleGAN-lite: modulation against per-image kernels, equalised rates, noise, deviation, truncation, saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.tasks.synthesis.stylegan import StyleDiscriminator, StyleGenerator, build_stylegan
from tlkit.tasks.synthesis.stylegan_layers import (
    EqualisedConvolution,
    EqualisedDense,
    MinibatchDeviation,
    ModulatedConvolution,
    blurred,
    enlarged,
    noise,
)

WIDTH, LATENT = 4, 8


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def networks():
    return build_stylegan(32, 1, latent=LATENT, width=WIDTH)


@pytest.mark.parametrize("up", [False, True])
def test_modulation_is_that_of_the_paper(up):
    """Karras 2020, equations 1 and 3: a kernel for each image, scaled and divided by its norm."""
    layer = ModulatedConvolution(5, up=up)
    layer.build((None, 6, 6, 3), (None, LATENT))
    x, w = normal(4, 6, 6, 3), normal(4, LATENT, seed=1)
    actual = layer(x, w).numpy()
    styles = w @ layer.affine.kernel.numpy() / LATENT**0.5 + 1
    for one, style, found in zip(x, styles, actual, strict=True):
        kernel = layer.kernel.numpy() / 27**0.5 * style[None, None, :, None]
        kernel /= np.sqrt((kernel**2).sum((0, 1, 2)) + 1e-8)
        image = np.repeat(np.repeat(one, 2, 0), 2, 1) if up else one
        expected = tf.nn.conv2d(image[None], kernel, 1, "SAME")
        expected = blurred(expected) if up else expected
        assert np.abs(expected[0] - found).max() < 1e-4


def test_equalised_layers_store_unit_weights_and_use_scaled_ones():
    dense = EqualisedDense(300, rate=0.01)
    dense.build((None, 400))
    assert np.std(dense.kernel.numpy()) == pytest.approx(100, rel=0.02)
    x = normal(5, 400)
    assert dense(x).numpy() == pytest.approx(x @ dense.kernel.numpy() * 0.01 / 20, abs=1e-3)
    assert np.std(dense(normal(500, 400)).numpy()) == pytest.approx(1, rel=0.05)  # the variance is kept
    convolution = EqualisedConvolution(16, 3)
    convolution.build((None, 8, 8, 32))
    assert np.std(convolution(normal(8, 8, 8, 32))[:, 1:-1, 1:-1]) == pytest.approx(1, rel=0.1)


def test_a_mapping_layer_learns_a_hundred_times_slower():
    """An Adam step of r moves a used weight by r / sqrt(i) for others, by 0.01 r / sqrt(i) for the mapping."""
    moves = []
    for rate in (1.0, 0.01):
        dense = EqualisedDense(1, rate=rate, bias=None)
        dense.build((None, 4))
        before = dense.scaled_kernel().numpy()
        optimizer = keras.optimizers.Adam(0.002)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(dense(np.ones((1, 4), np.float32)))
        optimizer.apply(tape.gradient(loss, dense.trainable_variables), dense.trainable_variables)
        moves.append(np.abs(dense.scaled_kernel().numpy() - before).mean())
    assert moves == pytest.approx([0.001, 0.00001], rel=0.02)


def test_blur_and_enlarging_by_hand():
    dot = np.zeros((1, 5, 5, 2), np.float32)
    dot[0, 2, 2, 1] = 16
    assert blurred(dot).numpy()[0, 1:4, 1:4, 1].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert blurred(dot).numpy()[0, :, :, 0].max() == 0
    line = enlarged(tf.constant([[[[0.0], [4.0]], [[0.0], [4.0]]]])).numpy()[0, 0, :, 0]
    assert line.tolist() == [0, 1, 3, 4]


def test_noise_by_seed():
    each = noise(3, 4, tf.constant([1, 2]), 0).numpy()
    assert (each.shape, len(np.unique(each))) == ((3, 4, 4, 1), 48)
    assert not np.array_equal(each, noise(3, 4, tf.constant([1, 2]), 1))
    fixed = noise(3, 4, None, 0)
    assert fixed.shape == (1, 4, 4, 1)
    assert np.array_equal(fixed, noise(7, 4, None, 0))
    own = noise(3, 4, tf.constant([[1, 2], [1, 3], [1, 4]]), 0).numpy()
    alone = noise(1, 4, tf.constant([[1, 3]]), 0).numpy()
    assert np.array_equal(own[1:2], alone)


def test_minibatch_deviation_by_a_plain_loop():
    x = normal(8, 4, 4, 3)
    found = MinibatchDeviation(group=4)(x).numpy()
    assert np.array_equal(found[..., :3], x)
    for number in range(8):
        group = x[number % 2 :: 2]  # images 0, 2, 4, 6 and 1, 3, 5, 7
        expected = np.sqrt(group.var(0) + 1e-8).mean()
        assert found[number, ..., 3] == pytest.approx(np.full((4, 4), expected), abs=1e-5)
    alike = MinibatchDeviation()(np.repeat(x[:1], 6, 0)).numpy()[..., 3]
    assert alike.max() < 1e-3


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3), (128, 1)])
def test_images_in_and_out(size, channels):
    generator, discriminator = build_stylegan(size, channels, latent=LATENT, width=WIDTH)
    images = generator(normal(4, LATENT))
    assert (images.shape, images.dtype) == ((4, size, size, channels), tf.float32)
    assert discriminator(images).shape == (4,)
    assert generator.layers_in_all == sum(map(len, generator.synthesis.levels))


def test_each_layer_follows_its_own_w(networks):
    generator = networks.generator
    w = np.repeat(normal(1, generator.layers_in_all, LATENT), 2, 0)
    for number in range(generator.layers_in_all):
        changed = w.copy()
        changed[1, number] += 1
        images = generator.synthesis(changed).numpy()
        assert np.abs(images[0] - images[1]).max() > 1e-4, number


def test_noise_shows_once_it_has_strength(networks):
    z = normal(2, LATENT)
    generator = StyleGenerator.from_config(networks.generator.get_config())
    assert np.array_equal(generator(z, seed=tf.constant([0, 1])), generator(z, seed=tf.constant([0, 2])))
    generator.synthesis.levels[1][0].strength.assign(0.5)
    assert not np.array_equal(generator(z, seed=tf.constant([0, 1])), generator(z, seed=tf.constant([0, 2])))
    assert np.array_equal(generator(z), generator(z))  # the fixed noise


def test_truncation_goes_to_the_mean_of_w():
    generator = build_stylegan(32, classes=2, latent=LATENT, width=WIDTH).generator
    generator.mean_w.assign(normal(2, LATENT, seed=5))
    z, labels = normal(3, LATENT), np.array([0, 1, 1])
    w, half, none = (generator.styles(z, labels, t).numpy() for t in (1.0, 0.5, 0.0))
    assert np.array_equal(none, generator.mean_w.numpy()[labels])
    assert half == pytest.approx((w + none) / 2, abs=1e-6)


@pytest.mark.parametrize("classes", [0, 2])
def test_the_mean_of_w_follows_the_gan(classes):
    generator = build_stylegan(32, classes=classes, latent=LATENT, width=WIDTH).generator
    z, labels = normal(6, LATENT), np.array([0, 0, 0, 0, 1, 1])
    generator.sample(z, labels, tf.constant([0, 0]), 0.9)
    w = generator.mapping(z, labels).numpy()
    expected = [w[:4].mean(0), w[4:].mean(0)] if classes else [w.mean(0)]
    assert generator.mean_w.numpy() == pytest.approx(0.005 * np.stack(expected), rel=1e-3, abs=1e-7)


def test_style_mixing_happens_with_its_probability(networks):
    """With mixing an image's first layer follows z alone; later ones may follow another."""
    generator, seen = networks.generator, []
    synthesis = generator.synthesis

    class Spy:
        count = synthesis.count

        def sample(self, w, seed):
            seen.append(w.numpy())
            return synthesis.sample(w, seed)

    z = normal(200, LATENT)
    own = generator.mapping(z).numpy()
    generator.synthesis = Spy()
    try:
        for mixing in (0.0, 0.9):
            generator.sample(z, None, tf.constant([1, 2]), mixing)
    finally:
        generator.synthesis = synthesis
    assert (seen[0] == own[:, None]).all()
    same = (seen[1] == own[:, None]).all(-1)  # [n, layers]
    assert same[:, 0].all()
    assert (np.diff(same.astype(int), axis=1) <= 0).all()  # one crossing, no return
    assert (~same[:, -1]).mean() == pytest.approx(0.9, abs=0.065)
    assert len(set(same.sum(1))) == generator.layers_in_all


@pytest.mark.parametrize("classes", [0, 2])
def test_both_networks_can_be_saved_and_read(tmp_path, classes):
    networks = build_stylegan(32, latent=LATENT, width=WIDTH, classes=classes)
    networks.generator.mean_w.assign(normal(max(1, classes), LATENT))
    z, labels = normal(2, LATENT), np.array([0, 1]) if classes else None
    images = networks.generator(z, labels, truncation=0.7)
    networks.generator.save(tmp_path / "generator.keras")
    again = keras.saving.load_model(tmp_path / "generator.keras")
    assert np.array_equal(images, again(z, labels, truncation=0.7))
    networks.discriminator.save(tmp_path / "critic.keras")
    again = keras.saving.load_model(tmp_path / "critic.keras")
    assert isinstance(again, StyleDiscriminator)
    assert np.array_equal(networks.discriminator(images, labels), again(images, labels))


def test_half_precision_inside_float32_outside():
    generator, discriminator = build_stylegan(32, latent=LATENT, width=WIDTH, precision="mixed_bfloat16")
    images = generator(normal(2, LATENT))
    assert (images.dtype, discriminator(images).dtype) == (tf.float32, tf.float32)
    assert generator.synthesis.levels[0][0].compute_dtype == "bfloat16"
