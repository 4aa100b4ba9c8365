"""Claim: the guard against NaN and infinity costs at most 2 % of a training step.

    python -m tests.benchmarks.guard [--pairs 21]

Each pair times the same number of steps of the same network on the same batch with the guard and without, in turn and
in an order that alternates; the networks are traced before. TensorFlow has one thread: what counts is the processor
time of the work, which other work on the machine hardly moves, and idle threads that spin would count too. The time on
the wall is shown beside it. The rows are a small CNN (where a step is shortest and the guard weighs most), a backbone
that learns altogether, the head on features, and the GAN of a DCGAN.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks.measuring import Comparison, in_turn, main, seconds
from tlkit.engine.training.nan_guard import Guard
from tlkit.tasks.synthesis import gan as gans

GREATEST = 1.02
CLASSES = 4


def measure(source: str, pairs: int = 21, *, steps: int = 6, image_size: int = 96) -> list[Comparison]:
    """Two rows for each kind of trainer; the source is not used."""
    del source
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    kinds: list[tuple[str, Callable[[], keras.Model], tuple[int, ...], int]] = [
        ("small CNN, 32 pixels, batch 32", small, (32, 32, 32, 3), 4 * steps),
        (
            f"MobileNetV2, all layers, {image_size} pixels, batch 8",
            whole,
            (8, image_size, image_size, 3),
            steps,
        ),
        ("head on 1,280 features, batch 32", head, (32, 1280), 50 * steps),
    ]
    rows = [row for name, make, shape, n in kinds for row in pair(name, *trainer(make, shape), n, pairs)]
    return [*rows, *pair("DCGAN, 32 pixels, batch 16", *players(), steps, pairs)]


def pair(name: str, plain: Callable, guarded: Callable, steps: int, pairs: int) -> list[Comparison]:
    """Seconds for `steps` steps without and with the guard: of the processor, and on the wall."""
    walls: dict[str, list[float]] = {"plain": [], "guarded": []}

    def timed(way: str, action: Callable) -> float:
        began = time.process_time()
        walls[way].append(seconds(lambda: action(steps)))
        return time.process_time() - began  # of all threads: Python's, and TensorFlow's one

    ways = {"plain": lambda: timed("plain", plain), "guarded": lambda: timed("guarded", guarded)}
    found = in_turn(ways, pairs)
    claim = f"guard, {name}, {steps} steps"
    wall = (tuple(walls[way]) for way in ("plain", "guarded"))
    return [
        Comparison(f"{claim}, processor", "s", found["plain"], found["guarded"], GREATEST),
        Comparison(f"{claim}, wall", "s", *wall),
    ]


def small() -> keras.Model:
    from tlkit.tasks.classification.small_cnn import build_small_cnn

    return build_small_cnn(tuple("abcd"), 32)


def whole() -> keras.Model:
    from tlkit.backbones.feature_model import unfreeze
    from tlkit.tasks.classification.classifier import build_classifier

    model, _ = build_classifier("mobilenet-v2-0.35", tuple("abcd"), 96, weights="none")
    unfreeze(model, "all", "mobilenet-v2-0.35", batch_norm=True)
    return model


def head() -> keras.Model:
    x = features = keras.Input((1280,))
    return keras.Model(
        features, keras.layers.Dense(CLASSES, activation="softmax")(keras.layers.Dropout(0.2)(x))
    )


def trainer(make: Callable[[], keras.Model], shape: tuple[int, ...]) -> tuple[Callable, Callable]:
    """Two functions that fit a network of one make for a number of steps, without and with the guard."""
    random = np.random.default_rng(0)
    x = random.integers(0, 255, shape).astype(np.uint8 if len(shape) == 4 else np.float32)
    y = tf.one_hot(random.integers(0, CLASSES, shape[0]), CLASSES)
    batches = tf.data.Dataset.from_tensors((x, y)).cache().repeat().prefetch(2)
    return _fitting(make(), batches), _fitting(make(), batches, guarded=True)


def _fitting(model: keras.Model, batches: tf.data.Dataset, *, guarded: bool = False) -> Callable[[int], None]:
    model.compile(
        keras.optimizers.Adam(1e-4, global_clipnorm=1.0), "categorical_crossentropy", jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)

    def fit(steps: int) -> None:
        model.fit(batches, steps_per_epoch=steps, verbose=0)

    if guarded:
        with Guard(model):
            fit(3)  # what is traced here stays
    else:
        fit(3)
    return fit


def players() -> tuple[Callable, Callable]:
    """The same for two GANs; in the plain one the question is answered with a constant when the step is traced."""
    from tlkit.tasks.synthesis.dcgan import build_dcgan
    from tlkit.tasks.synthesis.fit import image_stream
    from tlkit.tasks.synthesis.settings import DCGAN_PLAY

    images = np.random.default_rng(0).random((32, 32, 32, 1)).astype(np.float32)
    made = []
    for question in (lambda _: tf.constant(True), gans.finite):
        gan = gans.Gan(build_dcgan(32, 1), DCGAN_PLAY)
        batches = image_stream(images, None, DCGAN_PLAY.batch, 0, 0)

        def fit(steps: int, gan: gans.Gan = gan, batches: tf.data.Dataset = batches) -> None:
            gan.fit(batches, steps_per_epoch=steps, verbose=0)

        with mock.patch.object(gans, "finite", question), _unconditional(question is not gans.finite):
            fit(3)
        made.append(fit)
    return made[0], made[1]


def _unconditional(plain: bool):
    """While the plain GAN is traced, what depends on the answer is done without asking."""
    return mock.patch.object(gans, "only_if", (lambda _, action: action()) if plain else gans.only_if)


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=21)
