"""The GAN: losses by hand, R1, ADA, the average, determinism, exact resume, rollback, refusals."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.engine.training.adam import FusedAdam
from tlkit.errors import DataFault, RunFailed, UsageFault
from tlkit.tasks.synthesis.dcgan import Networks, build_dcgan
from tlkit.tasks.synthesis.fit import GanWatchers, check_images, fit_gan, image_stream
from tlkit.tasks.synthesis.gan import Gan, losses
from tlkit.tasks.synthesis.settings import Play
from tlkit.tasks.synthesis.stylegan import build_stylegan

SIZE = 32
PLAY = Play(batch=4, r1_every=3, ada=0.6, ada_images=100, ada_every=2, p=0.2, ema=50)


def images(count=12, size=SIZE):
    """Bright squares of several places on a dark ground."""
    made = np.full((count, size, size, 1), 0.2, np.float32)
    for number in range(count):
        made[number, number : number + 8, 2 * number % 20 : 2 * number % 20 + 8] = 0.9
    return made


def make(kind="dcgan", play=PLAY, classes=0, seed=0):
    build = {"dcgan": build_dcgan, "stylegan": build_stylegan}[kind]
    return Gan(build(SIZE, latent=8, width=4, classes=classes, seed=seed), play, seed)


def values(gan):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in gan.state]


def rewound(gan, start):
    """The same GAN at its beginning: tracing a new one takes seconds."""
    for variable, value in zip(gan.state, start, strict=True):
        variable.assign(value)
    return gan


@pytest.fixture(scope="module")
def started():
    """A GAN that several tests play, with the values it began with."""
    gan = make()
    return gan, values(gan)


@pytest.fixture
def gan(started):
    return rewound(*started)


def batches(gan, count, first=0):
    stream = image_stream(images(), None, gan.play.batch, gan.seed, first)
    return list(stream.take(count))


def test_losses_by_hand():
    real, fake = tf.constant([2.0, -1.0]), tf.constant([0.5, -3.0])

    def soft(x):
        return np.log1p(np.exp(x))

    discriminator, generator = losses(real, fake, "non-saturating")
    assert float(discriminator) == pytest.approx((soft(-2) + soft(1) + soft(0.5) + soft(-3)) / 2, abs=1e-6)
    assert float(generator) == pytest.approx((soft(-0.5) + soft(3)) / 2, abs=1e-6)
    discriminator, generator = losses(real, fake, "hinge")
    assert (float(discriminator), float(generator)) == ((0 + 2 + 1.5 + 0) / 2, 1.25)


def test_the_fused_adam_is_adam():
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, 4)).astype(np.float32)
    gradients = [rng.standard_normal((3, 4)).astype(np.float32) for _ in range(5)]
    results = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        variable = keras.Variable(start)
        optimizer = kind(0.01, 0.5, 0.99, epsilon=1e-8)
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient)], [variable])
        results.append([variable, *optimizer.variables])
    for fused, plain in zip(*results, strict=True):
        assert fused.numpy() == pytest.approx(plain.numpy(), abs=2e-6)


class LinearDiscriminator(keras.Model):
    """score = sum(a * image); the slope is a, so R1 is |a|^2 and its gradient gamma * a."""

    def __init__(self) -> None:
        super().__init__()
        self.size, self.channels, self.classes = SIZE, 1, 0
        self.a = self.add_weight(shape=(SIZE, SIZE, 1), initializer="ones", name="a")
        self.built = True

    def call(self, x, labels=None, training=False):
        return tf.reduce_sum(x * tf.convert_to_tensor(self.a), [1, 2, 3])


def test_r1_and_its_weight_by_hand():
    play = Play(batch=4, r1=0.5, r1_every=3, augmentation=())
    gan = Gan(Networks(build_dcgan(latent=8, width=4).generator, LinearDiscriminator()), play)
    seen = []
    gan.discriminator_optimizer.apply = lambda gradients, _: seen.append([g.numpy() for g in gradients])
    for batch in batches(gan, 4):
        gan.train_step(batch)
    plain = Gan(
        Networks(build_dcgan(latent=8, width=4).generator, LinearDiscriminator()),
        dataclasses.replace(play, r1=0.0),
    )
    plain.discriminator_optimizer.apply = lambda gradients, _: seen.append([g.numpy() for g in gradients])
    plain.train_step(batches(gan, 1)[0])
    # half gamma times |a|^2 has the gradient gamma * a; lazily it weighs three times as much
    assert seen[0][0] - seen[4][0] == pytest.approx(np.full((SIZE, SIZE, 1), 0.5 * 3), abs=1e-4)
    assert float(gan.last_r1) == SIZE * SIZE
    assert np.abs(seen[1][0]).max() < np.abs(seen[0][0]).max()


def test_ada_moves_p_by_the_sign_of_the_discriminator():
    gan = make()
    for signs, p in (((1.0, 0.8), 0.28), ((1.0, 0.3), 0.36), ((-1.0, 1.0), 0.28)):
        for sign in signs:
            gan._steer(tf.constant(sign))
            gan.step.assign_add(1)
        assert float(gan.p) == pytest.approx(p, abs=1e-6)  # 4 images x 2 steps of 100 images
    gan.p.assign(0.89)
    for _ in range(2):
        gan._steer(tf.constant(1.0))
        gan.step.assign_add(1)
    assert float(gan.p) == pytest.approx(0.9)
    fixed = make(play=dataclasses.replace(PLAY, ada=None))
    fixed._steer(tf.constant(1.0))
    assert float(fixed.p) == pytest.approx(0.2)


def test_the_average_has_the_half_life_it_says():
    gan = make(play=dataclasses.replace(PLAY, ema=8, ema_rampup=1e9))
    kept = gan.average.variables[0].numpy()
    gan.generator.variables[0].assign(kept + 1)
    gan._remember()
    gan._remember()  # 8 images: half way
    assert gan.average.variables[0].numpy() - kept == pytest.approx(np.full(kept.shape, 0.5), abs=1e-5)


def test_both_players_learn_and_the_discriminator_beats_the_fakes(tmp_path, gan):
    before = values(gan)
    rows = []
    result = fit_gan(
        gan,
        images(),
        steps=30,
        folder=tmp_path,
        watchers=GanWatchers(step=lambda done, total, logs: rows.append((done, total, logs))),
    )
    assert (result.steps, result.images, result.stopped) == (30, 120, "all steps done")
    assert [row[0] for row in rows] == list(range(1, 31))
    assert set(rows[-1][2]) == {
        "critic_loss",
        "generator_loss",
        "sign_real",
        "sign_fake",
        "p",
        "r1",
        "images_per_second",
    }
    assert gan.traces == 1  # nothing is traced again: not by R1, not by ADA
    moved = [np.abs(a - b).max() > 0 for a, b in zip(before, values(gan), strict=True)]
    assert np.mean(moved) > 0.9
    scores = gan.discriminator_scores(images())
    assert scores.shape == (12,)
    assert (
        scores.mean()
        > gan.discriminator_scores(gan.average(np.zeros((5, 8), np.float32)).numpy() / 2 + 0.5).mean()
    )


class Stop(Exception):
    pass


def kill_at(step):
    def killed(done, *_):
        if done == step:
            raise Stop

    return GanWatchers(step=killed)


# Tracing a StyleGAN's step twice takes longer than all else here.
@pytest.mark.parametrize(
    ("kind", "classes"), [("dcgan", 2), pytest.param("stylegan", 0, marks=pytest.mark.slow)]
)
def test_a_killed_gan_goes_on_bit_for_bit(tmp_path, kind, classes):
    labels = np.arange(12) % 2 if classes else None
    first = make(kind, classes=classes)
    start = values(first)
    with pytest.raises(Stop):
        fit_gan(first, images(), labels, steps=12, folder=tmp_path / "cut", every=5, watchers=kill_at(7))
    again = make(kind, classes=classes)
    again.generator.variables[0].assign(
        again.generator.variables[0] + 1
    )  # whatever it was, the checkpoint counts
    fit_gan(again, images(), labels, steps=12, folder=tmp_path / "cut", every=5)
    whole = rewound(first, start)
    fit_gan(whole, images(), labels, steps=12, folder=tmp_path / "whole", every=5)
    assert int(again.step) == 12
    assert float(again.p) != pytest.approx(0.2)  # ADA moved
    for one, other in zip(values(whole), values(again), strict=True):
        assert np.array_equal(one, other)


def test_the_seed_decides():
    ends = []
    for seed in (1, 1, 2):
        gan = make(play=PLAY)
        gan.seed = seed
        for batch in batches(gan, 2):
            gan.train_step(batch)
        ends.append(values(gan))
    assert all(np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))


def test_every_image_comes_once_a_round():
    made = images(10)
    stream = image_stream(made, np.arange(10), 4, 3, 0)
    order = np.concatenate([labels.numpy() for _, labels in stream.take(15)])  # six rounds
    rounds = order.reshape(6, 10)
    assert (np.sort(rounds, 1) == np.arange(10)).all()
    assert len({tuple(r) for r in rounds}) == 6
    later = np.concatenate(
        [labels.numpy() for _, labels in image_stream(made, np.arange(10), 4, 3, 7).take(2)]
    )
    assert np.array_equal(later, order[28:36])
    batch, labels = next(iter(stream))
    assert np.array_equal(batch, made[labels.numpy()] * 2 - 1)
    many = next(iter(image_stream(made, np.arange(10), 24, 3, 0)))[1].numpy()  # more than a round in a batch
    assert np.bincount(many).min() >= 2


def test_minutes_end_a_gan_and_count_over_interruptions(tmp_path, started):
    gan = rewound(*started)
    result = fit_gan(gan, images(), steps=10_000, minutes=0.01, folder=tmp_path)
    assert result.stopped == "0.01 minutes are over"
    assert 0 < result.steps < 10_000
    ended = values(gan)
    again = rewound(*started)
    more = fit_gan(again, images(), steps=10_000, minutes=0.01, folder=tmp_path)
    assert (more.steps, more.seconds) == (result.steps, result.seconds)
    assert all(np.array_equal(a, b) for a, b in zip(values(again), ended, strict=True))
    repeated = rewound(*started)
    fit_gan(repeated, images(), steps=result.steps, folder=tmp_path / "by_steps")
    assert all(np.array_equal(a, b) for a, b in zip(values(repeated), ended, strict=True))


def test_a_watcher_can_stop_the_gan(tmp_path, gan):
    watchers = GanWatchers(checkpoint=lambda step, gan: f"collapsed at {step}" if step >= 4 else None)
    result = fit_gan(gan, images(), steps=20, folder=tmp_path, every=2, watchers=watchers)
    assert (result.steps, result.stopped) == (4, "collapsed at 4")
    again = fit_gan(gan, images(), steps=20, folder=tmp_path, every=2)
    assert (again.steps, again.stopped) == (4, "collapsed at 4")


def poison(gan, at, times):
    """Make the generator's weights NaN when a step is done, so many times."""
    left = [times]

    def step(done, *_):
        if done == at and left[0]:
            left[0] -= 1
            gan.generator.variables[0].assign(gan.generator.variables[0] * np.nan)

    return step


def test_nan_rolls_back_once_and_says_so(tmp_path, gan):
    said = []
    rate = float(gan.generator_optimizer.learning_rate)
    watchers = GanWatchers(step=poison(gan, 7, 1), note=said.append)
    result = fit_gan(gan, images(), steps=12, folder=tmp_path, every=5, watchers=watchers)
    assert result.steps == 12
    assert (
        list(result.notes)
        == said
        == ["A loss or weight was not a number at step 8: back to step 5 with halved learning rates."]
    )
    assert float(gan.generator_optimizer.learning_rate) == pytest.approx(rate / 2)
    assert all(np.isfinite(v).all() for v in values(gan))


def test_nan_is_never_written_to_a_checkpoint(tmp_path, gan):
    said = []
    watchers = GanWatchers(step=poison(gan, 5, 1), note=said.append)
    fit_gan(gan, images(), steps=6, folder=tmp_path, every=5, watchers=watchers)
    assert "back to step 0" in said[0]


@pytest.mark.slow
def test_nan_a_second_time_fails_with_its_step(tmp_path, gan):
    watchers = GanWatchers(step=poison(gan, 7, 2))
    with pytest.raises(RunFailed, match="not a number at step 8, again"):
        fit_gan(gan, images(), steps=12, folder=tmp_path, every=5, watchers=watchers)


def test_unsuitable_images_are_refused(tmp_path):
    good = images()
    with pytest.raises(DataFault, match="at least 8 images; here are 7"):
        check_images(good[:7], SIZE, 1)
    with pytest.raises(DataFault, match="All images are the same"):
        check_images(np.repeat(good[:1], 9, 0), SIZE, 1)
    with pytest.raises(DataFault, match=r"networks take \(32, 32, 3\)"):
        check_images(good, SIZE, 3)
    with pytest.raises(DataFault, match="not 0 and 1"):
        check_images(good * 255, SIZE, 1)
    with pytest.raises(UsageFault, match="--size 40"):
        check_images(images(12, 40), 40, 1)
    bad = good.copy()
    bad[5, 3, 3] = np.nan
    with pytest.raises(DataFault, match="Image 5 holds values that are not numbers"):
        fit_gan(make(), bad, steps=1, folder=tmp_path)
    with pytest.raises(DataFault, match="a label from 0 to 1 for each image"):
        fit_gan(make(classes=2), good, np.full(12, 2), steps=1, folder=tmp_path)


def test_unknown_words_and_foreign_checkpoints_are_refused(tmp_path, gan):
    with pytest.raises(UsageFault, match="--loss wasserstein is not known"):
        make(play=dataclasses.replace(PLAY, loss="wasserstein"))
    fit_gan(gan, images(), steps=1, folder=tmp_path)
    with pytest.raises(RunFailed, match="belongs to another model"):
        fit_gan(Gan(build_dcgan(latent=8, width=8), PLAY), images(), steps=1, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dcgan", "stylegan"])
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_plays_and_resumes(tmp_path, kind, precision):
    build = {"dcgan": build_dcgan, "stylegan": build_stylegan}[kind]
    ends = []
    for name, steps in (("whole", (6,)), ("cut", (4, 6))):
        for until in steps:
            gan = Gan(build(SIZE, latent=8, width=4, precision=precision), PLAY)
            fit_gan(gan, images(), steps=until, folder=tmp_path / name, every=2)
        ends.append(values(gan))
    scaled = hasattr(gan.discriminator_optimizer, "inner_optimizer")
    assert scaled == (precision == "mixed_float16")
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
