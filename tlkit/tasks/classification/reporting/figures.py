"""The pictures of a classifier's run: what it was shown, how it learned, where it errs and where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.images.batches import decoded
from tlkit.data.images.sources import PARTS, TEST
from tlkit.data.images.splits import Split
from tlkit.engine.reporting import charts
from tlkit.engine.reporting.style import save
from tlkit.tasks.classification.metrics import confusion_of
from tlkit.tasks.classification.reporting import plots
from tlkit.tasks.inspection.grad_cam import grad_cam

SHOWN = 24  # images in a grid
EXPLAINED = 8


def draw_batch(folder: Path, images: tf.Tensor, labels: tf.Tensor, class_names: Sequence[str]) -> Path:
    """Draw a training batch as the network sees it: uint8 [b, s, s, 3] after augmentation, mixed labels too."""
    targets = np.asarray(labels)[:SHOWN]
    titles = [
        " + ".join(
            f"{class_names[k]} {row[k]:.0%}" if row.max() < 1 else class_names[k]
            for k in np.flatnonzero(row).tolist()
        )
        for row in targets
    ]
    return save(plots.image_grid(np.asarray(images)[:SHOWN], titles), folder / "batch.png")


def draw_figures(
    folder: Path,
    model: keras.Model,
    split: Split,
    before: np.ndarray | None,
    after: np.ndarray,
    temperature: float,
    rows: Sequence[dict[str, Any]],
    measures: dict[str, Any],
) -> None:
    """Draw every picture of the report but the batch.

    Args:
        folder: `pictures/` of the run.
        model: The finished classifier.
        split: Its data.
        before: float [n, k] probabilities before temperature scaling, of all images; None where calibration is not
            measured.
        after: The same after it.
        temperature: What the logits were divided by.
        rows: Of metrics.jsonl.
        measures: Part -> measures.
    """
    names = split.images.class_names
    test = split.indices(TEST)
    labels = split.images.labels[test]
    counts = {part: summary["per_class"] for part, summary in split.summary().items()}
    matrices = {part: confusion_of(measures[part]) for part in PARTS}
    if rows:  # a classical head has no epochs
        save(charts.learning_curves(rows), folder / "curves.png")
    save(charts.class_counts(counts), folder / "counts.png")
    save(charts.three_confusions(matrices, names), folder / "confusion.png")
    if before is not None:
        save(plots.reliability(labels, before[test], after[test], temperature), folder / "reliability.png")
    save(plots.roc_curves(labels, after[test], names), folder / "roc.png")
    _draw_mistakes(folder, split, after)
    _draw_heat_maps(folder, model, split, after)


def _draw_mistakes(folder: Path, split: Split, probabilities: np.ndarray) -> None:
    """The test images that were named wrongly with most confidence."""
    test, names = split.indices(TEST), split.images.class_names
    wrong = test[probabilities[test].argmax(1) != split.images.labels[test]]
    if not len(wrong):
        return
    worst = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:SHOWN]
    figure = plots.mistakes(
        decoded(split.images.take(worst), 224),
        [names[split.images.labels[i]] for i in worst],
        [names[probabilities[i].argmax()] for i in worst],
        [float(probabilities[i].max()) for i in worst],
        [split.images.paths[i] for i in worst],
    )
    save(figure, folder / "mistakes.png")


def _draw_heat_maps(folder: Path, model: keras.Model, split: Split, probabilities: np.ndarray) -> None:
    """Grad-CAM of the predicted class: the most confident mistakes of the test part, then images of each class."""
    test, names = split.indices(TEST), split.images.class_names
    predicted = probabilities.argmax(1)
    right = predicted == split.images.labels
    wrong = test[~right[test]]
    mistakes = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][: EXPLAINED // 2]
    good = [i for k in range(len(names)) for i in test[right[test] & (split.images.labels[test] == k)][:2]]
    chosen = np.array([*mistakes, *good][:EXPLAINED], int)
    if not len(chosen):
        return
    images = decoded(split.images.take(chosen), model.input_shape[1])
    heats = grad_cam(model, images, predicted[chosen])
    if heats is None:
        return
    titles = [f"{names[predicted[i]]} {probabilities[i].max():.2f}" for i in chosen]
    save(plots.heat_maps(images, heats, titles, [bool(right[i]) for i in chosen]), folder / "heat_maps.png")
