"""Claim: the test accuracy that the peer's schedule reaches at best is reached in at most a fifth of its seconds.

    python -m tests.benchmarks.peer

The peer's listing, rebuilt with the preprocessing that its network wants (the listing scales by 1/255): MobileNet
224, pooling, Dense 32 and 16, batch 10, three stages of up to 40 epochs of 10 steps (new layers, last 5 layers,
all), Adam, flips and 0.05 of rotation, shear and zoom, early stopping after 8 epochs. Ours is `fine-tune`'s phases
with the same network and their defaults, from a cold feature cache. Both learn the same training images and select
on the same validation images; after each epoch the clock stops and the test part is evaluated. Both clocks hold
tracing and validation; the peer's stops at the epoch that is its best, ours at the first that is as good.
One pair is the default, since the peer takes many minutes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.head import load_data
from tests.benchmarks.measuring import Comparison, default_weights, main

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from tlkit.data.images.splits import Split

BATCH, STEPS, EPOCHS, PATIENCE = 10, 10, 40, 8
STAGES = ("new layers", "last 5", "all")
RATES = (1e-3, 1e-3, 1e-4)  # Keras' default, and a tenth of it where every weight moves
SHARES = (0.6, 0.2, 0.2)
OUR_PHASES = (("head", 30, 3e-3), ("top", 4, 1e-4), ("all", 3, 5e-5))  # fine-tune's defaults


class Reached(Exception):
    """The accuracy wanted was reached."""


@dataclass
class Clock:
    """Seconds of training at each epoch, and the test accuracy then; evaluating is not counted.

    Attributes:
        judge: Test accuracy of the model as it is.
        wanted: Stop when it is reached.
        history: (seconds, test accuracy) of each epoch.
    """

    judge: Callable[[], float]
    wanted: float = 2.0
    history: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outside, self.began = 0.0, time.perf_counter()

    def epoch(self) -> None:
        """Evaluate with the clock stopped."""
        now = time.perf_counter()
        accuracy = self.judge()
        self.history.append((now - self.began - self.outside, accuracy))
        self.outside += time.perf_counter() - now
        if accuracy >= self.wanted:
            raise Reached

    def best(self) -> tuple[float, float]:
        """Seconds to the best accuracy, and that accuracy."""
        best = max(accuracy for _, accuracy in self.history)
        return next(moment for moment in self.history if moment[1] == best)


def measure(
    source: str, pairs: int = 1, *, image_size: int = 224, epochs: int = EPOCHS, steps: int = STEPS
) -> list[Comparison]:
    """One row; ours is infinitely slow where it never reaches the accuracy."""
    split = load_data(source, SHARES)
    theirs, ours, notes = [], [], []
    for seed in range(pairs):
        peer = run_peer(split, image_size, epochs, steps, seed)
        needed, wanted = peer.best()
        mine = run_ours(split, image_size, wanted, seed)
        took, reached = mine.history[-1]
        theirs.append(needed)
        ours.append(took if reached >= wanted else float("inf"))
        notes.append(
            f"seed {seed}: peer {wanted:.4f} at epoch {peer.history.index((needed, wanted)) + 1} of "
            f"{len(peer.history)} ({peer.history[-1][0]:.0f} s in all); ours {reached:.4f} at epoch {len(mine.history)}"
        )
    counts = ", ".join(f"{len(split.indices(part))} {part}" for part in ("training", "validation", "test"))
    return [
        Comparison(
            "seconds to the peer's best test accuracy",
            "s",
            tuple(theirs),
            tuple(ours),
            0.2,
            note=f"{counts} images; {'; '.join(notes)}.",
        )
    ]


# --- the peer ---


def run_peer(split: Split, image_size: int, epochs: int, steps: int, seed: int) -> Clock:
    """All three stages; each epoch evaluated."""
    import keras

    keras.utils.set_random_seed(seed)
    training, evaluated, test = (
        _pixels(split, part, image_size) for part in ("training", "validation", "test")
    )
    data = _changed(training, seed)
    evaluated = evaluated.batch(32).cache()
    model, base = peer_model(len(split.images.class_names), image_size)
    clock = Clock(lambda: 0.0, wanted=1.0)  # what is perfect cannot get better: no need to go on
    for stage, rate in zip(STAGES, RATES, strict=True):
        base.trainable = stage != "new layers"
        for layer in base.layers if stage == "last 5" else ():
            layer.trainable = layer in base.layers[-5:]
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        clock.judge = _judge(model, test)
        stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
        told = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: clock.epoch())
        try:
            model.fit(
                data,
                epochs=epochs,
                steps_per_epoch=steps,
                validation_data=evaluated,
                callbacks=[told, stop],
                verbose=0,
            )
        except Reached:
            break
    return clock


def peer_model(classes: int, image_size: int) -> tuple[keras.Model, keras.Model]:
    """The peer's network, on float pixels 0..255, and its base."""
    import keras

    from tlkit.backbones.table import build_backbone

    base, _ = build_backbone("mobilenet", image_size, default_weights())
    images = keras.Input((image_size, image_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = keras.layers.GlobalAveragePooling2D()(base(x))
    x = keras.layers.Dense(32, activation="relu")(x)
    x = keras.layers.Dense(16, activation="relu")(x)
    return keras.Model(images, keras.layers.Dense(classes, activation="softmax")(x)), base


def _pixels(split: Split, part: str, image_size: int) -> tf.data.Dataset:
    """(float32 [s, s, 3], label) of a part, decoded once and kept."""
    import tensorflow as tf

    from tlkit.data.images.batches import decoded

    images = split.take(part)
    pairs = tf.data.Dataset.from_tensor_slices((decoded(images, image_size), images.labels))
    return pairs.map(lambda pixels, label: (tf.cast(pixels, tf.float32), label))


def _changed(data: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    """Endless shuffled batches with the peer's random changes."""
    import keras
    import tensorflow as tf

    change = keras.Sequential(
        [
            keras.layers.RandomFlip(seed=seed),
            keras.layers.RandomRotation(0.05, seed=seed),
            keras.layers.RandomShear(0.05, 0.05, seed=seed),
            keras.layers.RandomZoom(0.05, seed=seed),
        ]
    )
    batches = data.shuffle(data.cardinality(), seed=seed).repeat().batch(BATCH)
    return batches.map(lambda x, y: (change(x, training=True), y), tf.data.AUTOTUNE).prefetch(2)


def _judge(model: keras.Model, test: tf.data.Dataset) -> Callable[[], float]:
    """Test accuracy; `predict_on_batch` leaves the state of a running `fit` alone."""
    batches = list(test.batch(64))

    def judge() -> float:
        hits = [np.argmax(model.predict_on_batch(x), -1) == y.numpy() for x, y in batches]
        return float(np.concatenate(hits).mean())

    return judge


# --- ours ---


def run_ours(split: Split, image_size: int, wanted: float, seed: int) -> Clock:
    """fine-tune's phases until the test accuracy is reached; the clock begins before the features."""
    import keras

    from tlkit.engine.training.fit import Watchers
    from tlkit.engine.training.settings import Fitting, Phase
    from tlkit.tasks.classification.classifier import build_classifier
    from tlkit.tasks.classification.phases import Learning, fit_phases

    keras.utils.set_random_seed(seed)
    model, _ = build_classifier("mobilenet", split.images.class_names, image_size, weights=default_weights())
    batches = _pixels(split, "test", image_size)
    clock = Clock(_judge(model, batches))

    def told(_row: dict[str, Any], _confusion: np.ndarray) -> None:
        clock.epoch()

    phases = [Phase(name, name, epochs, rate) for name, epochs, rate in OUR_PHASES]
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = folder
        clock.wanted, clock.began = wanted, time.perf_counter()
        try:
            how = Learning(split, Fitting(), backbone="mobilenet", seed=seed)
            fit_phases(model, how, phases, Path(folder), Watchers(epoch=told))
        except Reached:
            pass
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before
    return clock


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=1)
