"""Asking a generator: samples by seed, mixed styles, walks, truncation, projection, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.core.safe_loading.keras_models import read_model
from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.dcgan import build_dcgan
from tlkit.tasks.synthesis.gan import Gan
from tlkit.tasks.synthesis.latents import (
    interpolate,
    level_layers,
    mix_styles,
    project,
    pyramid_distance,
    random_labels,
    random_latents,
    sample,
    slerp,
    truncation_sweep,
)
from tlkit.tasks.synthesis.settings import Play
from tlkit.tasks.synthesis.stylegan import build_stylegan

LATENT = 8


@pytest.fixture(scope="module")
def style():
    generator = build_stylegan(32, latent=LATENT, width=4).generator
    for level in generator.synthesis.levels:
        for layer in level:
            layer.strength.assign(0.3)
    return generator


@pytest.fixture(scope="module")
def plain():
    return build_dcgan(latent=LATENT, width=4, classes=3).generator


def test_a_image_of_a_seed_does_not_depend_on_its_neighbours(style, plain):
    for generator in (style, plain):
        many = sample(generator, 7, 40)  # more than a batch
        assert (many.shape, many.dtype) == ((40, 32, 32, 1), np.float32)
        assert 0 <= many.min() < many.max() <= 1
        assert np.abs(sample(generator, 7, 3) - many[:3]).max() < 1e-5
        assert np.array_equal(sample(generator, 7, 40), many)
        assert not np.array_equal(sample(generator, 8, 40), many)
        assert len(np.unique(many.reshape(40, -1), axis=0)) == 40


def test_latents_and_labels_of_a_seed(plain):
    latents = random_latents(plain, 2000, 3)
    assert np.array_equal(latents[:5], random_latents(plain, 5, 3))
    assert (latents.mean(), latents.std()) == pytest.approx((0, 1), abs=0.03)
    labels = random_labels(plain, 600, 3)
    assert np.bincount(labels).min() > 150


def test_given_latents_and_labels_are_used(plain):
    latents = random_latents(plain, 3, 0)
    expected = plain(latents, np.array([2, 0, 1])).numpy() / 2 + 0.5
    assert sample(plain, latents, labels=[2, 0, 1]) == pytest.approx(expected, abs=1e-6)


def test_a_gan_samples_from_its_average():
    gan = Gan(build_dcgan(latent=LATENT, width=4), Play())
    for variable in gan.generator.trainable_variables:
        variable.assign(variable * 0)
    assert sample(gan, 1, 2).std() > 0
    assert np.array_equal(sample(gan, 1, 2), sample(gan.average, 1, 2))


def test_mixing_takes_each_level_from_its_source(style):
    levels = {level: level_layers(style, level) for level in ("coarse", "middle", "fine")}
    assert sorted(n for numbers in levels.values() for n in numbers) == list(range(style.layers_in_all))
    assert levels["coarse"] == [0, 1, 2]  # 4 px, and two at 8 px
    a, b = random_latents(style, 2, 1), random_latents(style, 3, 2)
    for level, numbers in levels.items():
        mixed = mix_styles(style, a, b, level)
        assert (mixed.rows.shape[0], mixed.columns.shape[0], mixed.grid.shape[:2]) == (2, 3, (2, 3))
        for i in range(2):
            for j in range(3):
                w = np.repeat(style.mapping(a[i : i + 1]).numpy()[:, None], style.layers_in_all, 1)
                w[:, numbers] = style.mapping(b[j : j + 1]).numpy()
                expected = np.clip(style.synthesis(w).numpy()[0] / 2 + 0.5, 0, 1)
                assert np.abs(mixed.grid[i, j] - expected).max() < 1e-4
    same = mix_styles(style, [5, 6], [5, 6], "middle")  # seeds; a source mixed with itself is itself
    assert np.abs(same.grid[0, 0] - same.rows[0]).max() < 1e-5
    assert np.abs(same.grid[1, 1] - same.columns[1]).max() < 1e-5


def test_walks_pass_their_stations(style, plain):
    stations = random_latents(style, 3, 0)
    painted = sample(style, stations)
    loop = interpolate(style, stations, 4)
    assert loop.shape[0] == 12
    assert np.abs(loop[::4] - painted).max() < 1e-4
    line = interpolate(style, stations, 4, loop=False)
    assert line.shape[0] == 9
    assert np.abs(line[8] - painted[2]).max() < 1e-4
    w = [style.mapping(s[None]).numpy() for s in stations[:2]]
    half = style.synthesis(style.spread((w[0] + w[1]) / 2)).numpy()[0] / 2 + 0.5
    assert np.abs(loop[2] - np.clip(half, 0, 1)).max() < 1e-4
    z = interpolate(plain, stations, 2, space="z", labels=[0, 1, 2])
    assert np.abs(z[::2] - sample(plain, stations, labels=[0, 1, 2])).max() < 1e-5


def test_slerp_keeps_to_the_circle():
    a, b = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    third = slerp(a, b, 1 / 3)
    assert third == pytest.approx([2 * np.cos(np.pi / 6), 2 * np.sin(np.pi / 6)])
    assert slerp(a, a, 0.5) == pytest.approx(a)
    assert slerp(a, b, 1.0) == pytest.approx(b, abs=1e-12)


def test_truncation_makes_images_alike(style, plain):
    for generator in (style, plain):
        sweep = truncation_sweep(generator, random_latents(generator, 6, 0), [0.0, 0.5, 1.0])
        assert sweep.shape == (3, 6, 32, 32, 1)
        spread = sweep.std(1).mean((1, 2, 3))
        assert spread[0] < 1e-6 < spread[1]
        # pixel norm undoes most of what shrinking a DCGAN's latents does
        assert spread[1] < 0.9 * spread[2] or generator is plain


def test_pyramid_distance_by_hand():
    a = np.zeros((1, 8, 8, 1), np.float32)
    b = a.copy()
    b[0, 0, 0] = 4  # squared: 16 / 64; averaged once: 1 in one of 16 cells
    assert float(pyramid_distance(tf.constant(a), tf.constant(b))[0]) == pytest.approx(16 / 64 + 1 / 16)


@pytest.mark.parametrize("kind", ["style", "plain"])
def test_projection_finds_a_image_of_its_own(kind, request):
    generator = request.getfixturevalue(kind)
    goal = sample(generator, random_latents(generator, 1, 99), labels=[1] if generator.classes else None)[0]
    found = project(generator, goal, steps=60, label=1 if generator.classes else 0, rate=0.1, starts=16)
    assert (found.code.shape, found.image.shape, found.errors.shape) == ((LATENT,), (32, 32, 1), (60,))
    assert found.errors.min() < 0.7 * found.errors[0]  # and that was the best of 16
    again = float(
        pyramid_distance(tf.constant(found.image[None] * 2 - 1), tf.constant(goal[None] * 2 - 1))[0]
    )
    assert again <= found.errors.min() * 1.001 + 1e-6  # clipping to 0..1 brings it no further away


def test_what_does_not_fit_is_refused(style, plain):
    with pytest.raises(
        UsageFault, match=r"Latents of shape \[2, 5\] do not fit; the generator takes \[n, 8\]"
    ):
        sample(style, np.zeros((2, 5)))
    with pytest.raises(UsageFault, match="2 labels do not fit 2 images of 3 classes"):
        sample(plain, np.zeros((2, 8)), labels=[0, 3])
    with pytest.raises(UsageFault, match="--number 0"):
        sample(style, 1, 0)
    with pytest.raises(UsageFault, match="Only a StyleGAN's styles"):
        mix_styles(plain, [1], [2])
    with pytest.raises(UsageFault, match="--level huge"):
        mix_styles(style, [1], [2], "huge")
    with pytest.raises(UsageFault, match=r"shape \(16, 16, 1\) cannot be projected"):
        project(style, np.zeros((16, 16, 1)))


def test_a_generator_that_was_saved_makes_the_same_images(style, tmp_path):
    style.save(tmp_path / "generator.keras")
    assert np.array_equal(sample(read_model(tmp_path / "generator.keras"), 1, 2), sample(style, 1, 2))
