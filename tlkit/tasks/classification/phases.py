"""The three phases of transfer learning (the course's S11): new layers; new and top layers; all layers.

In the first the backbone is frozen, so it runs once: the head learns on cached features. In the others batches of
images go through the whole model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.feature_model import feature_model, unfreeze
from tlkit.core.seeds import fold
from tlkit.data.images.augment import Augmentation
from tlkit.data.images.batches import Order, plain_batches, training_batches, weighted
from tlkit.data.images.sources import TRAINING, VALIDATION
from tlkit.data.images.splits import Split
from tlkit.engine.training.checkpoints import LAST, load_variables
from tlkit.engine.training.fit import Watchers
from tlkit.engine.training.settings import Fitting, Phase
from tlkit.tasks.classification.classifier import head_model
from tlkit.tasks.classification.fit import Best, PhaseResult, fit_phase
from tlkit.tasks.features.extract import Extractor

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def no_progress(_text: str, _total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Tell nobody."""
    return nullcontext(lambda _done: None)


def fit_phases(
    model: keras.Model,
    split: Split,
    phases: list[Phase],
    fitting: Fitting,
    folder: Path,
    *,
    backbone: str | None = None,
    seed: int = 0,
    augmentation: Augmentation | None = None,
    views: int = 1,
    batch_norm: bool = False,
    watchers: Watchers | None = None,
    progress: Progress = no_progress,
) -> list[PhaseResult]:
    """Fit a classifier phase by phase; each goes on from the best weights so far.

    Args:
        model: A classifier of `build_classifier`; it ends with the best weights known.
        split: Training images are learned, validation images select.
        phases: Phases of 0 epochs are left out.
        fitting: Batch, rates, stopping.
        folder: For checkpoints, a folder a phase; an interrupted call goes on from what it finds there.
        backbone: Name of its backbone; None for a network of one piece.
        seed: Of order, augmentation and dropout.
        augmentation: Random changes of training images.
        views: Views of each training image that the head phase learns from: the plain one and views - 1 changed.
        batch_norm: Let batch normalisation learn: for a backbone that starts from random weights.
        watchers: Who is told of steps and epochs.
        progress: (text, total) -> context with a callable for the number done.

    Returns:
        One result for each phase that ran. The weights of the very last epoch are in `folder/last.npz` of the
        last phase; see `restore_last`.
    """
    best, results = Best(), []
    augmentation, paths = augmentation or Augmentation(), split.take(TRAINING).paths
    for phase in (phase for phase in phases if phase.epochs):
        order = Order(split.take(TRAINING).labels, fitting.batch, seed, phase.name, fitting.balance)
        unfreeze(model, phase.stage, backbone, batch_norm=batch_norm)
        extract = Extractor(feature_model(model)) if phase.stage == "head" else None
        fitted, stream = learner(model, extract, split, order, phase, augmentation, views, progress)
        evaluated = _evaluated(model, extract, split, order, progress)
        results.append(
            fit_phase(
                fitted,
                phase,
                fitting,
                order,
                stream,
                evaluated,
                folder / phase.name,
                best,
                names=paths,
                watchers=watchers,
            )
        )
    return results


def restore_last(model: keras.Model, folder: Path, phase: Phase) -> None:
    """Give the model the weights of a phase's last epoch instead of its best one."""
    fitted = head_model(model) if phase.stage == "head" else model
    load_variables(folder / phase.name / LAST, fitted.variables, partial=True)


def learner(
    model: keras.Model,
    extract: Extractor | None,
    split: Split,
    order: Order,
    phase: Phase,
    augmentation: Augmentation,
    views: int,
    progress: Progress = no_progress,
) -> tuple[keras.Model, Callable[[int], tf.data.Dataset]]:
    """What a phase fits, and first epoch -> batches of the training part: of cached features for a head, else of images.

    Args:
        model: A classifier.
        extract: Of its features, for a head.
        split: Its training part is learned.
        order: Of the training images.
        phase: Stage and epochs.
        augmentation: Random changes.
        views: As for `fit_phases`.
        progress: Told of features.
    """
    if extract:
        views = views if augmentation.without_mixing.active else 1
        stack = _stack(extract, split, TRAINING, order.seed, augmentation, views, progress)
        return head_model(model), feature_stream(stack, order, phase.epochs, len(split.images.class_names))
    training = split.take(TRAINING)

    def stream(first_epoch: int) -> tf.data.Dataset:
        return training_batches(
            training,
            order,
            model.input_shape[1],
            phase.epochs,
            first_epoch=first_epoch,
            augmentation=augmentation,
        )

    return model, stream


def _evaluated(
    model: keras.Model, extract: Extractor | None, split: Split, order: Order, progress: Progress
) -> tf.data.Dataset:
    """Batches of the validation part that select the best epoch of a phase."""
    validation = split.take(VALIDATION)
    if not extract:
        return plain_batches(validation, model.input_shape[1], order.batch)
    stack = _stack(extract, split, VALIDATION, order.seed, Augmentation(), 1, progress)
    return evaluated_features(stack[0], validation.labels, order.batch, len(split.images.class_names))


def _stack(
    extract: Extractor,
    split: Split,
    part: str,
    seed: int,
    augmentation: Augmentation,
    views: int,
    progress: Progress,
) -> np.ndarray:
    """Features float32 [views, n, d] of a part, from the cache where it has them."""
    chosen = split.indices(part)
    files = [str(split.images.file(i)) for i in chosen]
    with progress(f"features of {part} images", len(files)) as step:
        return extract.views(files, [split.sha256[i] for i in chosen], views, augmentation, seed, step)


def feature_stream(
    stack: np.ndarray, order: Order, epochs: int, classes: int
) -> Callable[[int], tf.data.Dataset]:
    """First epoch -> batches of features; each image of a batch is one of its views, drawn anew in each epoch.

    Args:
        stack: float32 [views, n, d] of the training images.
        order: Theirs.
        epochs: Of the phase.
        classes: How many there are.
    """
    views = len(stack)
    features = tf.constant(stack)
    targets = tf.one_hot(order.labels, classes)

    def gather(epoch: tf.Tensor, step: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = fold(order.step_seed(epoch, step), 1)
        view = tf.random.stateless_uniform(tf.shape(chosen), seed, 0, views, tf.int32)
        return tf.gather_nd(features, tf.stack([view, chosen], -1)), tf.gather(targets, chosen)

    def stream(first_epoch: int) -> tf.data.Dataset:
        data = order.stream(first_epoch, epochs).map(gather)
        return weighted(data, order.labels, classes, order.balance).prefetch(2)

    return stream


def evaluated_features(features: np.ndarray, labels: np.ndarray, batch: int, classes: int) -> tf.data.Dataset:
    """Batches of features float32 [n, d] with their int labels [n], as they are, that select the best epoch."""
    targets = tf.one_hot(labels, classes)
    return tf.data.Dataset.from_tensor_slices((features, targets)).batch(max(256, batch))
