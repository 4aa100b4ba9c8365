"""Moving average (EMA) of a model's weights: smoother than the weights themselves, and better on new images.

Averaged are all weights, the statistics of batch normalisation among them, as in Jocher's detectors; Keras's
optimisers average trainable weights only, which then meet statistics of other weights.

Source: Polyak 1992; Tarvainen 2017 (mean teacher); the growing share is tf.train.ExponentialMovingAverage's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf


class Average:
    """The averaged weights of a model.

    Args:
        model: What is averaged; built.
        keep: Share of the average that a step keeps, once the first steps are over; 0 follows at once.
    """

    def __init__(self, model: keras.Model, keep: float) -> None:
        self.keep = keep
        self.live = [weight.value for weight in model.weights if weight.dtype.startswith(("float", "bfloat"))]
        self.variables = [tf.Variable(value, trainable=False) for value in self.live]

    def follow(self, step: tf.Tensor) -> None:
        """Move towards the weights after step number `step`, 1 for the first."""
        done = tf.cast(step, tf.float32)
        follow(self.variables, self.live, 1 - tf.minimum(self.keep, (1 + done) / (10 + done)))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights inside the `with`, its own after it."""
        own = [tf.identity(value) for value in self.live]
        self.give(self.variables)
        try:
            yield
        finally:
            self.give(own)

    def give(self, values: list) -> None:
        """Assign values to the model's weights."""
        for live, value in zip(self.live, values, strict=True):
            live.assign(value)


def follow(kept: Sequence[tf.Variable], live: Sequence[tf.Variable], part: tf.Tensor) -> None:
    """Move averaged variables by a share, a scalar 0..1, of the way towards those that learn."""
    for average, new in zip(kept, live, strict=True):
        average.assign_add(tf.cast(part, average.dtype) * (new - average))
