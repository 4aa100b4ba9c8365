"""Changes inside the GAN: each against a plain loop, each differentiable, each by its own probability."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.diffaugment import augment, check_policy
from tlkit.tasks.synthesis.settings import AUGMENTATIONS

SIDE = 16
SEED = tf.constant([3, 4], tf.int32)


def images(count=64, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, SIDE, SIDE, channels)).astype(np.float32)


def shifted(image, down, right):
    """Move by whole pixels, the edge goes on."""
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="edge")
    return padded[4 - down : 4 - down + SIDE, 4 - right : 4 - right + SIDE]


def explained(before, after, candidates):
    """Which candidate (name -> function) makes each image; every image must have exactly one."""
    names = []
    for one, other in zip(before, after, strict=True):
        fitting = [name for name, change in candidates.items() if np.array_equal(change(one), other)]
        assert len(fitting) == 1, fitting
        names.append(fitting[0])
    return names


def test_a_translation_moves_by_whole_pixels_and_goes_on_at_the_edge():
    before = images(300)
    moves = {
        (d, r): lambda x, d=d, r=r: shifted(x, d, r) for d in range(-2, 3) for r in range(-2, 3)
    }  # 1/8 of 16
    found = explained(before, augment(before, SEED, 1.0, ["translation"]).numpy(), moves)
    assert set(found) == set(moves)  # up to 1/8 of the side, both ways, and no more
    assert max(found.count(m) for m in moves) < 4 * 300 / 25


def test_flips_and_turns_are_those_of_numpy():
    before = images(80)
    turns = {k: lambda x, k=k: np.rot90(x, k) for k in range(4)}
    found = explained(before, augment(before, SEED, 1.0, ["turn"]).numpy(), turns)
    assert min(found.count(k) for k in turns) > 8
    flips = {"none": lambda x: x, "flipped": lambda x: x[:, ::-1]}
    found = explained(before, augment(before, SEED, 1.0, ["flip"]).numpy(), flips)
    assert 25 < found.count("flipped") < 55


def test_a_hole_is_a_square_of_half_the_side():
    before = images(200)
    after = augment(before, SEED, 1.0, ["cutout"]).numpy()
    whole = 0
    for one, other in zip(before, after, strict=True):
        gone = (other == 0)[..., 0]
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone[np.ix_(rows, columns)].all()  # a full rectangle
        assert (gone.sum(), np.ptp(rows) + 1) == (len(rows) * len(columns), len(rows))
        assert max(len(rows), len(columns)) <= SIDE // 2
        assert np.array_equal(one[~gone], other[~gone])
        whole += len(rows) == len(columns) == SIDE // 2
    assert whole > 20


def test_colour_changes_brightness_saturation_and_contrast_only():
    before = images(50, 3)
    after = augment(before, SEED, 1.0, ["colour"]).numpy()
    for one, other in zip(before, after, strict=True):
        # grey values follow one straight line: contrast is its slope, brightness its height
        slope, height = np.polyfit(one.mean(-1).ravel(), other.mean(-1).ravel(), 1)
        assert np.abs(other.mean(-1) - slope * one.mean(-1) - height).max() < 1e-4
        assert 0.49 < slope < 1.51
        assert abs(other.mean() - one.mean()) < 0.501
        tint, changed = one - one.mean(-1, keepdims=True), other - other.mean(-1, keepdims=True)
        saturation = (tint * changed).sum() / (tint**2).sum()
        assert np.abs(changed - saturation * tint).max() < 1e-4
        assert -1e-4 < saturation < 3.01  # up to 2, times contrast


@pytest.mark.parametrize("word", AUGMENTATIONS)
def test_each_change_has_the_gradient_of_finite_differences(word):
    rng = np.random.default_rng(5)
    x = tf.constant(rng.uniform(-1, 1, (3, 8, 8, 3)), tf.float64)
    weights = tf.constant(rng.standard_normal((3, 8, 8, 3)))

    def score(values):
        return tf.reduce_sum(weights * tf.sin(augment(values, SEED, 1.0, [word])))

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = score(x)
    gradient = tape.gradient(value, x).numpy()
    assert np.abs(gradient).sum() > 1
    for place in rng.integers(0, [3, 8, 8, 3], (25, 4)):
        step = np.zeros(x.shape)
        step[tuple(place)] = 1e-6
        numeric = (score(x + step) - score(x - step)).numpy() / 2e-6
        assert gradient[tuple(place)] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("word", ["translation", "cutout", "colour"])
def test_p_is_the_share_of_changed_images(word):
    before = images(1000)
    after = augment(before, SEED, 0.3, [word]).numpy()
    changed = np.mean([not np.array_equal(a, b) for a, b in zip(before, after, strict=True)])
    # a shift of zero is one of 25
    expected = 0.3 if word != "translation" else 0.3 * 24 / 25
    assert changed == pytest.approx(expected, abs=0.045)  # three standard deviations
    assert np.array_equal(augment(before, SEED, 0.0, AUGMENTATIONS), before)


def test_the_seed_decides_and_images_draw_for_themselves():
    before = images(8)
    same = np.repeat(before[:1], 8, 0)
    once, again = (augment(before, SEED, 1.0, AUGMENTATIONS).numpy() for _ in range(2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, augment(before, SEED + 1, 1.0, AUGMENTATIONS))
    assert len(np.unique(augment(same, SEED, 1.0, AUGMENTATIONS).numpy().reshape(8, -1), axis=0)) == 8


def test_an_unknown_word_is_refused():
    check_policy(AUGMENTATIONS)
    with pytest.raises(UsageFault, match="--augmentation blur is not known"):
        check_policy(["flip", "blur"])
