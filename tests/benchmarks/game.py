"""The GAN between generator and discriminator against the peer's loop, on the same images and the same machine.

    python -m tests.benchmarks.GAN [--pairs 3] [--seconds 90]

The rival is written after the peer's listing (latent 100; generator 3 x (upsample, convolution 128/64/32, batch norm,
ReLU); discriminator 4 strided convolutions 32-256 with LeakyReLU and dropout; Adam 2e-4): a `predict`, two `train_on_batch` on
the discriminator and one on both a step. First the speed with the same networks, then KID after equal wall time with ours.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.benchmarks import measuring
from tlkit.tasks.synthesis.gan import Gan
from tlkit.tasks.synthesis.settings import DCGAN_PLAY, Play

BATCH, LATENT, SIZE = 32, 100, 32
STEPS = 60  # of one timing


def peer_networks(seed: int) -> tuple[keras.Model, keras.Model]:
    """Generator z [n, 100] -> [n, 32, 32, 1], -1..1, and discriminator -> [n, 1] logits."""
    keras.utils.set_random_seed(seed)
    x = z = keras.Input((LATENT,))
    x = layers.Reshape((4, 4, 128))(layers.Dense(4 * 4 * 128, activation="relu")(x))
    for filters in (128, 64, 32):
        x = layers.Conv2D(filters, 3, padding="same")(layers.UpSampling2D()(x))
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    generator = keras.Model(z, layers.Conv2D(1, 3, padding="same", activation="tanh")(x))
    x = images = keras.Input((SIZE, SIZE, 1))
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, 2, padding="same")(x)
        x = layers.Dropout(0.25)(layers.LeakyReLU(0.2)(x))
    return generator, keras.Model(images, layers.Dense(1)(layers.Flatten()(x)))


class PeerLoop:
    """The peer's training, step by step."""

    def __init__(self, images: np.ndarray, seed: int) -> None:
        self.images = images * 2 - 1
        self.generator, self.discriminator = peer_networks(seed)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self.discriminator.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), loss)
        self.random = np.random.default_rng(seed)
        self._discriminator_step()  # traced while the discriminator may learn
        self.discriminator.trainable = False
        z = keras.Input((LATENT,))
        self.both = keras.Model(z, self.discriminator(self.generator(z)))
        self.both.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), loss)
        self.step()

    def _discriminator_step(self) -> None:
        reals = self.images[self.random.integers(0, len(self.images), BATCH)]
        fakes = self.generator.predict(self.random.normal(size=(BATCH, LATENT)), verbose=0)
        self.discriminator.train_on_batch(reals, np.ones((BATCH, 1)))
        self.discriminator.train_on_batch(fakes, np.zeros((BATCH, 1)))

    def step(self) -> None:
        self._discriminator_step()
        self.both.train_on_batch(self.random.normal(size=(BATCH, LATENT)), np.ones((BATCH, 1)))

    def sample(self, number: int) -> np.ndarray:
        made = self.generator.predict(self.random.normal(size=(number, LATENT)), verbose=0)
        return (made + 1) / 2


@keras.saving.register_keras_serializable("tests")
class PeerGenerator(keras.Model):
    """The peer's generator in our GAN."""

    latent = LATENT

    def __init__(self, seed: int = 0, **options) -> None:
        super().__init__(**options)
        self.seed, self.body = seed, peer_networks(seed)[0]
        self.built = True

    def get_config(self) -> dict:
        return {**super().get_config(), "seed": self.seed}

    def call(self, latents, labels=None, seed=None, truncation=1.0, training=False):
        return self.body(latents, training=training)

    def paint(self, latents, labels, seed, mixing):
        return self.body(latents, training=True)


class PeerDiscriminator(keras.Model):
    """The peer's discriminator in our GAN."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.body = peer_networks(seed)[1]
        self.built = True

    def call(self, images, labels=None, training=False):
        return tf.squeeze(self.body(images, training=training), -1)


def stream(images: np.ndarray, batch: int, seed: int) -> tf.data.Dataset:
    """Batches of images -1..1 and labels, for ever."""
    data = tf.data.Dataset.from_tensor_slices((images * 2 - 1, np.zeros(len(images), np.int32)))
    return data.shuffle(len(images), seed=seed).repeat().batch(batch, drop_remainder=True).prefetch(2)


def speed(images: np.ndarray, pairs: int) -> measuring.Comparison:
    """Images a second of the peer's loop and of our compiled step, with the same networks and no extras."""
    from tlkit.tasks.synthesis.dcgan import Networks

    loop = PeerLoop(images, 0)
    plain = Play(
        batch=BATCH, learning_rate=2e-4, critic_rate=2e-4, beta_1=0.5, beta_2=0.999, r1=0.0, augmentation=()
    )
    gan = Gan(Networks(PeerGenerator(0), PeerDiscriminator(0)), plain, 0)
    batches = stream(images, BATCH, 0)
    gan.fit(batches, steps_per_epoch=5, verbose=0)
    traced = gan.traces

    def theirs() -> float:
        return BATCH * STEPS / measuring.seconds(lambda: [loop.step() for _ in range(STEPS)])

    def ours() -> float:
        return BATCH * STEPS / measuring.seconds(lambda: gan.fit(batches, steps_per_epoch=STEPS, verbose=0))

    found = measuring.in_turn({"peer": theirs, "tlkit": ours}, pairs)
    return measuring.Comparison(
        "one step, the same networks, 32 x 32, batch 32",
        "images/s",
        found["peer"],
        found["tlkit"],
        1.5,
        least=True,
        note=f"Traces after the first steps: {gan.traces - traced}.",
    )


def quality(training: np.ndarray, held_out: np.ndarray, seeds: int, budget: float) -> measuring.Comparison:
    """KID against held-out images after `budget` seconds each, construction and tracing included."""
    from tlkit.tasks.features.extract import features_of_images
    from tlkit.tasks.features.extractors import build_extractor
    from tlkit.tasks.synthesis.dcgan import build_dcgan
    from tlkit.tasks.synthesis.latents import random_latents, sample
    from tlkit.tasks.synthesis.metrics.kid import kid

    featurizer, _ = build_extractor("efficientnet-lite0")
    real = features_of_images(featurizer, held_out)
    rows: dict[str, list] = {"peer": [], "tlkit": []}
    for seed in range(seeds):
        end, loop = time.monotonic() + budget, PeerLoop(training, seed)
        steps = 0
        while time.monotonic() < end:
            loop.step()
            steps += 1
        rows["peer"].append((kid(real, features_of_images(featurizer, loop.sample(200))), steps))
        end, gan = time.monotonic() + budget, Gan(build_dcgan(SIZE, 1, seed=seed), DCGAN_PLAY, seed)
        batches = stream(training, DCGAN_PLAY.batch, seed)
        while time.monotonic() < end:
            gan.fit(batches, steps_per_epoch=20, verbose=0)
        fakes = sample(gan, random_latents(gan, 200, seed))
        rows["tlkit"].append((kid(real, features_of_images(featurizer, fakes)), int(gan.step)))
    notes = [
        f"{name}: "
        + "; ".join(f"KID {k.value:+.4f} ({k.low:+.4f} to {k.high:+.4f}) after {n} steps" for k, n in found)
        for name, found in rows.items()
    ]
    return measuring.Comparison(
        f"KID against {len(held_out)} held-out images after {budget:g} s, our networks, one seed a pair",
        "",
        *(tuple(k.value for k, _ in rows[name]) for name in ("peer", "tlkit")),
        1.0,
        note="\n  ".join(notes),
    )


def images(source: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out images float32 [n, 32, 32, 1] of a class."""
    from tlkit.data.images.decoding.depth import read_images
    from tlkit.data.images.load import load_split

    group = measuring.GROUP if source == str(measuring.THREATS) else None
    split = load_split(source, group=group).split
    label = split.images.class_names.index(name)
    found = []
    for parts in (("training",), ("validation", "test")):
        chosen = [i for part in parts for i in split.indices(part) if split.images.labels[i] == label]
        found.append(read_images([split.images.file(i) for i in chosen], SIZE, 1))
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=measuring.default_source())
    parser.add_argument("--class", dest="name", default="shuriken")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    training, held_out = images(chosen.data, chosen.name)
    rows = [speed(training, chosen.pairs)]
    if chosen.seconds:
        rows.append(quality(training, held_out, chosen.pairs, chosen.seconds))
    measuring.show(rows, as_json=chosen.json)


if __name__ == "__main__":
    main()
