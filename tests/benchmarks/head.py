"""Claims: the head phase is 5 times as fast as the Keras guide's frozen-backbone `fit` from a cold cache, 50 from a warm one.

    python -m tests.benchmarks.head

10 epochs, MobileNet 224, the default head (dropout and one dense layer), batch 32, augmentation off, the same images
and the same learning rate. Keras' side is its transfer learning guide: `base.trainable = False`, pooling, dropout,
dense, Adam, `fit` with validation; its decoded images are cached in memory, so it decodes once. Building the networks
is timed on neither side; tracing, checkpoints and reading the best weights back are timed on ours.
One pair is the default, since Keras' side takes minutes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.measuring import GROUP, Comparison, default_weights, link, main, seconds

if TYPE_CHECKING:
    import keras

    from tlkit.data.images.splits import Split

BATCH, RATE = 32, 3e-3
SHARES = (0.7, 0.25, 0.05)  # more than 1,000 of 1,150 images are learned or select


def measure(source: str, pairs: int = 1, *, image_size: int = 224, epochs: int = 10) -> list[Comparison]:
    """One row for the cold cache, one for the warm."""
    split = load_data(source, SHARES)
    took: dict[str, list[float]] = {"keras": [], "cold": [], "warm": []}
    accuracies: dict[str, list[float]] = {"keras": [], "ours": []}
    for pair in range(pairs):
        for side in ("ours", "keras") if pair % 2 == 0 else ("keras", "ours"):
            if side == "keras":
                passed, accuracy = time_keras(split, image_size, epochs, pair)
                took["keras"].append(passed)
            else:
                cold, warm, accuracy = time_ours(split, image_size, epochs, pair)
                took["cold"].append(cold)
                took["warm"].append(warm)
            accuracies[side].append(accuracy)
    counts = {part: len(split.indices(part)) for part in ("training", "validation")}
    found = {side: ", ".join(f"{value:.4f}" for value in values) for side, values in accuracies.items()}
    share = float(np.mean(accuracies["keras"]))
    error = 1.96 * (share * (1 - share) / counts["validation"]) ** 0.5
    note = (
        f"{counts['training']} training, {counts['validation']} validation images, {epochs} epochs; best validation "
        f"accuracy: Keras {found['keras']} (95 %: +-{error:.4f}), ours {found['ours']}."
    )
    rival = tuple(took["keras"])
    return [
        Comparison(
            "head phase, cold cache", "s", rival, tuple(took["cold"]), 5, least=True, inverse=True, note=note
        ),
        Comparison("head phase, warm cache", "s", rival, tuple(took["warm"]), 50, least=True, inverse=True),
    ]


def load_data(source: str, shares: tuple[float, float, float]) -> Split:
    """A split by content or, for the real crops, by image."""
    from tlkit.data.images.inspection import inspect_files
    from tlkit.data.images.sources import read_images
    from tlkit.data.images.splits import split_images

    images = read_images(source)
    group = GROUP if all("B00" in path for path in images.paths) else None
    return split_images(images, inspect_files(images.files()), group=group, shares=shares)


def time_ours(split: Split, image_size: int, epochs: int, seed: int) -> tuple[float, float, float]:
    """Seconds from a cold and from a warm feature cache, and the best validation accuracy."""
    import keras

    from tlkit.engine.training.settings import Fitting, Phase
    from tlkit.tasks.classification.classifier import build_classifier
    from tlkit.tasks.classification.phases import Learning, fit_phases

    phases = [Phase("head", "head", epochs, RATE)]
    took, accuracy = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = folder
        for run in ("cold", "warm"):
            keras.utils.set_random_seed(seed)
            names = split.images.class_names
            model, _ = build_classifier("mobilenet", names, image_size, weights=default_weights())
            results: list = []

            def fit(run: str = run, model: keras.Model = model, results: list = results) -> None:
                fitting = Fitting(batch=BATCH, patience=epochs)
                checkpoints = Path(folder) / run
                how = Learning(split, fitting, backbone="mobilenet", seed=seed)
                results += fit_phases(model, how, phases, checkpoints)

            took.append(seconds(fit))
            accuracy = results[0].best_accuracy
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    return took[0], took[1], accuracy


def time_keras(split: Split, image_size: int, epochs: int, seed: int) -> tuple[float, float]:
    """Seconds of the guide's `fit`, reading the folders included, and the best validation accuracy."""
    import keras

    keras.utils.set_random_seed(seed)
    model = guide_model(len(split.images.class_names), image_size)
    with tempfile.TemporaryDirectory() as folder:
        roots = [link(split.images, split.indices(p), Path(folder) / p) for p in ("training", "validation")]
        histories: list = []

        def fit() -> None:
            data = [
                keras.utils.image_dataset_from_directory(
                    root, image_size=(image_size, image_size), batch_size=None, shuffle=False, verbose=False
                ).cache()
                for root in roots
            ]
            training = data[0].shuffle(len(split.images), seed=seed).batch(BATCH).prefetch(2)
            evaluated = data[1].batch(BATCH).prefetch(2)
            histories.append(model.fit(training, epochs=epochs, validation_data=evaluated, verbose=0))

        took = seconds(fit)
    return took, max(histories[0].history["val_accuracy"])


def guide_model(classes: int, image_size: int) -> keras.Model:
    """The Keras guide's model: frozen base, pooling, dropout, dense; Adam."""
    import keras

    from tlkit.backbones.table import build_backbone

    base, _ = build_backbone("mobilenet", image_size, default_weights())
    base.trainable = False
    images = keras.Input((image_size, image_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(images, keras.layers.Dense(classes, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=1)
