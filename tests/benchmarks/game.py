"""The game between generator and critic against the peer's loop, on the same pictures and the same machine.

    python -m tests.benchmarks.game [--pairs 3] [--seconds 90]

The rival is written after the peer's listing (latent 100; generator 3 x (upsample, convolution 128/64/32, batch norm,
ReLU); critic 4 strided convolutions 32-256 with LeakyReLU and dropout; Adam 2e-4): a `predict`, two `train_on_batch` on
the critic and one on both a step. First the speed with the same networks, then KID after equal wall time with ours.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.benchmarks import measuring
from tlkit.tasks.synthesis.gan import Game
from tlkit.tasks.synthesis.settings import DCGAN_PLAY, Play

BATCH, LATENT, SIZE = 32, 100, 32
STEPS = 60  # of one timing


def peer_networks(seed: int) -> tuple[keras.Model, keras.Model]:
    """Generator z [n, 100] -> [n, 32, 32, 1], -1..1, and critic -> [n, 1] logits."""
    keras.utils.set_random_seed(seed)
    x = z = keras.Input((LATENT,))
    x = layers.Reshape((4, 4, 128))(layers.Dense(4 * 4 * 128, activation="relu")(x))
    for filters in (128, 64, 32):
        x = layers.Conv2D(filters, 3, padding="same")(layers.UpSampling2D()(x))
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    generator = keras.Model(z, layers.Conv2D(1, 3, padding="same", activation="tanh")(x))
    x = pictures = keras.Input((SIZE, SIZE, 1))
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, 2, padding="same")(x)
        x = layers.Dropout(0.25)(layers.LeakyReLU(0.2)(x))
    return generator, keras.Model(pictures, layers.Dense(1)(layers.Flatten()(x)))


class PeerLoop:
    """The peer's training, step by step."""

    def __init__(self, pictures: np.ndarray, seed: int) -> None:
        self.pictures = pictures * 2 - 1
        self.generator, self.critic = peer_networks(seed)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self.critic.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), loss)
        self.random = np.random.default_rng(seed)
        self._critic_step()  # traced while the critic may learn
        self.critic.trainable = False
        z = keras.Input((LATENT,))
        self.both = keras.Model(z, self.critic(self.generator(z)))
        self.both.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), loss)
        self.step()

    def _critic_step(self) -> None:
        reals = self.pictures[self.random.integers(0, len(self.pictures), BATCH)]
        fakes = self.generator.predict(self.random.normal(size=(BATCH, LATENT)), verbose=0)
        self.critic.train_on_batch(reals, np.ones((BATCH, 1)))
        self.critic.train_on_batch(fakes, np.zeros((BATCH, 1)))

    def step(self) -> None:
        self._critic_step()
        self.both.train_on_batch(self.random.normal(size=(BATCH, LATENT)), np.ones((BATCH, 1)))

    def sample(self, number: int) -> np.ndarray:
        made = self.generator.predict(self.random.normal(size=(number, LATENT)), verbose=0)
        return (made + 1) / 2


@keras.saving.register_keras_serializable("tests")
class PeerGenerator(keras.Model):
    """The peer's generator in our game."""

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


class PeerCritic(keras.Model):
    """The peer's critic in our game."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.body = peer_networks(seed)[1]
        self.built = True

    def call(self, pictures, labels=None, training=False):
        return tf.squeeze(self.body(pictures, training=training), -1)


def stream(pictures: np.ndarray, batch: int, seed: int) -> tf.data.Dataset:
    """Batches of pictures -1..1 and labels, for ever."""
    data = tf.data.Dataset.from_tensor_slices((pictures * 2 - 1, np.zeros(len(pictures), np.int32)))
    return data.shuffle(len(pictures), seed=seed).repeat().batch(batch, drop_remainder=True).prefetch(2)


def speed(pictures: np.ndarray, pairs: int) -> measuring.Comparison:
    """Images a second of the peer's loop and of our compiled step, with the same networks and no extras."""
    from tlkit.tasks.synthesis.dcgan import Networks

    loop = PeerLoop(pictures, 0)
    plain = Play(
        batch=BATCH, learning_rate=2e-4, critic_rate=2e-4, beta_1=0.5, beta_2=0.999, r1=0.0, augmentation=()
    )
    game = Game(Networks(PeerGenerator(0), PeerCritic(0)), plain, 0)
    batches = stream(pictures, BATCH, 0)
    game.fit(batches, steps_per_epoch=5, verbose=0)
    traced = game.traces

    def theirs() -> float:
        return BATCH * STEPS / measuring.seconds(lambda: [loop.step() for _ in range(STEPS)])

    def ours() -> float:
        return BATCH * STEPS / measuring.seconds(lambda: game.fit(batches, steps_per_epoch=STEPS, verbose=0))

    found = measuring.in_turn({"peer": theirs, "tlkit": ours}, pairs)
    return measuring.Comparison(
        "one step, the same networks, 32 x 32, batch 32",
        "images/s",
        found["peer"],
        found["tlkit"],
        1.5,
        least=True,
        note=f"Traces after the first steps: {game.traces - traced}.",
    )


def quality(training: np.ndarray, held_out: np.ndarray, seeds: int, budget: float) -> measuring.Comparison:
    """KID against held-out pictures after `budget` seconds each, construction and tracing included."""
    from tlkit.tasks.features.extract import features_of_pictures
    from tlkit.tasks.features.extractors import build_extractor
    from tlkit.tasks.synthesis.dcgan import build_dcgan
    from tlkit.tasks.synthesis.latents import random_latents, sample
    from tlkit.tasks.synthesis.metrics.summary import kid

    featurizer, _ = build_extractor("efficientnet-lite0")
    real = features_of_pictures(featurizer, held_out)
    rows: dict[str, list] = {"peer": [], "tlkit": []}
    for seed in range(seeds):
        end, loop = time.monotonic() + budget, PeerLoop(training, seed)
        steps = 0
        while time.monotonic() < end:
            loop.step()
            steps += 1
        rows["peer"].append((kid(real, features_of_pictures(featurizer, loop.sample(200))), steps))
        end, game = time.monotonic() + budget, Game(build_dcgan(SIZE, 1, seed=seed), DCGAN_PLAY, seed)
        batches = stream(training, DCGAN_PLAY.batch, seed)
        while time.monotonic() < end:
            game.fit(batches, steps_per_epoch=20, verbose=0)
        fakes = sample(game, random_latents(game, 200, seed))
        rows["tlkit"].append((kid(real, features_of_pictures(featurizer, fakes)), int(game.step)))
    notes = [
        f"{name}: "
        + "; ".join(f"KID {k.value:+.4f} ({k.low:+.4f} to {k.high:+.4f}) after {n} steps" for k, n in found)
        for name, found in rows.items()
    ]
    return measuring.Comparison(
        f"KID against {len(held_out)} held-out pictures after {budget:g} s, our networks, one seed a pair",
        "",
        *(tuple(k.value for k, _ in rows[name]) for name in ("peer", "tlkit")),
        1.0,
        note="\n  ".join(notes),
    )


def pictures(source: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out pictures float32 [n, 32, 32, 1] of a class."""
    from tlkit.data.images.decoding.depth import read_pictures
    from tlkit.data.images.load import read_ingredients

    group = measuring.GROUP if source == str(measuring.THREATS) else None
    split = read_ingredients(source, group=group).split
    label = split.images.class_names.index(name)
    found = []
    for parts in (("training",), ("validation", "test")):
        chosen = [i for part in parts for i in split.indices(part) if split.images.labels[i] == label]
        found.append(read_pictures([split.images.file(i) for i in chosen], SIZE, 1))
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
    training, held_out = pictures(chosen.data, chosen.name)
    rows = [speed(training, chosen.pairs)]
    if chosen.seconds:
        rows.append(quality(training, held_out, chosen.pairs, chosen.seconds))
    measuring.show(rows, as_json=chosen.json)


if __name__ == "__main__":
    main()
