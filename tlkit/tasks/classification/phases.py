"""The three phases of transfer learning (the course's S11): new layers; new and top layers; all layers.

In the first the backbone is frozen, so it runs once: the head learns on cached features. In the others batches of
images go through the whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Learning:
    """What a classifier learns from and how, whatever the phase.

    Attributes:
        split: Training images are learned, validation images select.
        fitting: Batch, rates, stopping.
        backbone: Name of its backbone; None for a network of one piece.
        seed: Of order, augmentation and dropout.
        augmentation: Random changes of training images.
        views: Views of each training image that the head phase learns from: the plain one and views - 1 changed.
        batch_norm: Let batch normalisation learn: for a backbone that starts from random weights.
        progress: (text, total) -> context with a callable for the number done.
    """

    split: Split
    fitting: Fitting
    backbone: str | None = None
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = 1
    batch_norm: bool = False
    progress: Progress = no_progress


def fit_phases(
    model: keras.Model,
    learning: Learning,
    phases: Sequence[Phase],
    folder: Path,
    watchers: Watchers | None = None,
) -> list[PhaseResult]:
    """Fit a classifier phase by phase; each goes on from the best weights so far.

    Args:
        model: A classifier of `build_classifier`; it ends with the best weights known.
        learning: From what and how.
        phases: Phases of 0 epochs are left out.
        folder: For checkpoints, a folder a phase; an interrupted call goes on from what it finds there.
        watchers: Who is told of steps and epochs.

    Returns:
        One result for each phase that ran. The weights of the very last epoch are in `folder/last.npz` of the
        last phase; see `restore_last`.
    """
    best, results = Best(), []
    names = learning.split.take(TRAINING).paths
    for phase in (phase for phase in phases if phase.epochs):
        fitted, order, stream, extract = learner(model, learning, phase)
        evaluated = _evaluated(model, extract, learning)
        place = folder / phase.name
        results.append(
            fit_phase(
                fitted,
                phase,
                learning.fitting,
                order,
                stream,
                evaluated,
                place,
                best,
                names=names,
                watchers=watchers,
            )
        )
    return results


def restore_last(model: keras.Model, folder: Path, phase: Phase) -> None:
    """Give the model the weights of a phase's last epoch instead of its best one."""
    fitted = head_model(model) if phase.stage == "head" else model
    load_variables(folder / phase.name / LAST, fitted.variables, partial=True)


def learner(
    model: keras.Model, learning: Learning, phase: Phase
) -> tuple[keras.Model, Order, Callable[[int], tf.data.Dataset], Extractor | None]:
    """Make a classifier ready for a phase.

    Returns:
        What is fitted: the head on cached features, or all of it; the order of the training images; first epoch ->
        their batches; and what extracts the features, for a head.
    """
    split, fitting, augmentation = learning.split, learning.fitting, learning.augmentation
    training = split.take(TRAINING)
    order = Order(training.labels, fitting.batch, learning.seed, phase.name, fitting.balance)
    unfreeze(model, phase.stage, learning.backbone, batch_norm=learning.batch_norm)
    if phase.stage == "head":
        extract = Extractor(feature_model(model))
        views = learning.views if augmentation.without_mixing.active else 1
        stack = _stack(extract, learning, TRAINING, augmentation, views)
        stream = feature_stream(stack, order, phase.epochs, len(split.images.class_names))
        return head_model(model), order, stream, extract

    def batches(first_epoch: int) -> tf.data.Dataset:
        size = model.input_shape[1]
        return training_batches(
            training, order, size, phase.epochs, first_epoch=first_epoch, augmentation=augmentation
        )

    return model, order, batches, None


def _evaluated(model: keras.Model, extract: Extractor | None, learning: Learning) -> tf.data.Dataset:
    """Batches of the validation part that select the best epoch of a phase."""
    validation, batch = learning.split.take(VALIDATION), learning.fitting.batch
    if not extract:
        return plain_batches(validation, model.input_shape[1], batch)
    stack = _stack(extract, learning, VALIDATION, Augmentation(), 1)
    return evaluated_features(stack[0], validation.labels, batch, len(validation.class_names))


def _stack(
    extract: Extractor, learning: Learning, part: str, augmentation: Augmentation, views: int
) -> np.ndarray:
    """Features float32 [views, n, d] of a part, from the cache where it has them."""
    split = learning.split
    chosen = split.indices(part)
    files = [str(split.images.file(i)) for i in chosen]
    with learning.progress(f"features of {part} images", len(files)) as step:
        return extract.views(
            files, [split.sha256[i] for i in chosen], views, augmentation, learning.seed, step
        )


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
