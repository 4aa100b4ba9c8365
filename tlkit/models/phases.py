"""The three phases of transfer learning (the course's S11): new layers; new and top layers; all layers.

In the first the backbone is frozen, so it runs once: the head learns on cached features. In the others batches of
pictures go through the whole model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import keras
import tensorflow as tf

from tlkit.data.augment import Augmentation
from tlkit.data.images import Order, fold, plain_batches, training_batches, weighted
from tlkit.data.sources import TRAINING, VALIDATION
from tlkit.data.splits import Split
from tlkit.models.checkpoints import load_variables
from tlkit.models.classifier import feature_model, head_model, thaw
from tlkit.models.features import Extractor
from tlkit.models.training import Best, Fitting, Phase, PhaseResult, Watchers, fit_phase

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
        thaw(model, phase.stage, backbone, batch_norm=batch_norm)
        if phase.stage == "head":
            fitted = head_model(model)
            batches = _feature_batches(model, split, order, phase, augmentation, views, progress)
        else:
            fitted = model
            batches = _image_batches(split, order, phase, augmentation, model.input_shape[1])
        results.append(
            fit_phase(
                fitted,
                phase,
                fitting,
                order,
                *batches,
                folder / phase.name,
                best,
                names=lambda chosen: [paths[i] for i in chosen],
                watchers=watchers,
            )
        )
    return results


def restore_last(model: keras.Model, folder: Path, phase: Phase) -> None:
    """Give the model the weights of a phase's last epoch instead of its best one."""
    fitted = head_model(model) if phase.stage == "head" else model
    load_variables(folder / phase.name / "last.npz", fitted.variables, partial=True)


def _image_batches(
    split: Split, order: Order, phase: Phase, augmentation: Augmentation, image_size: int
) -> tuple[Callable[[int], tf.data.Dataset], tf.data.Dataset]:
    training = split.take(TRAINING)

    def stream(first_epoch: int) -> tf.data.Dataset:
        return training_batches(
            training, order, image_size, phase.epochs, first_epoch=first_epoch, augmentation=augmentation
        )

    return stream, plain_batches(split.take(VALIDATION), image_size, order.batch)


def _feature_batches(
    model: keras.Model,
    split: Split,
    order: Order,
    phase: Phase,
    augmentation: Augmentation,
    views: int,
    progress: Progress,
) -> tuple[Callable[[int], tf.data.Dataset], tf.data.Dataset]:
    """Batches of cached features; each image of a batch is one of its views, drawn anew in each epoch."""
    extract = Extractor(feature_model(model))
    views = views if augmentation.without_mixing.active else 1
    stacks = {}
    for part, count in ((TRAINING, views), (VALIDATION, 1)):
        chosen = split.indices(part)
        files = [str(split.images.file(i)) for i in chosen]
        hashes = [split.sha256[i] for i in chosen]
        with progress(f"features of {part} images", len(files)) as step:
            stacks[part] = extract.views(files, hashes, count, augmentation, order.seed, step)
    classes = len(split.images.class_names)
    features = tf.constant(stacks[TRAINING])  # [views, n, d]
    targets = tf.one_hot(order.labels, classes)

    def gather(epoch: tf.Tensor, step: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = fold(order.step_seed(epoch, step), 1)
        view = tf.random.stateless_uniform(tf.shape(chosen), seed, 0, views, tf.int32)
        return tf.gather_nd(features, tf.stack([view, chosen], -1)), tf.gather(targets, chosen)

    def stream(first_epoch: int) -> tf.data.Dataset:
        data = order.stream(first_epoch, phase.epochs).map(gather)
        return weighted(data, order.labels, classes, order.balance).prefetch(2)

    labels = tf.one_hot(split.take(VALIDATION).labels, classes)
    judged = tf.data.Dataset.from_tensor_slices((stacks[VALIDATION][0], labels)).batch(max(256, order.batch))
    return stream, judged
