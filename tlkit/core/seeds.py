"""Seeds: every random choice is a function of a seed and of numbers that say which choice it is."""

from __future__ import annotations

import tensorflow as tf


def fold(seed: tf.Tensor, *numbers: tf.Tensor | int) -> tf.Tensor:
    """A new seed, int32 [2], for each sequence of numbers."""
    for number in numbers:
        seed = tf.random.experimental.stateless_fold_in(seed, number)
    return seed
