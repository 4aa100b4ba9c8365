"""Box regression: a box as four numbers beside the one that it starts from, and back (Girshick 2014, appendix C).

shift of the middle / sides, log(sides / sides), each over its variance
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tlkit.tasks.detection.assignment import middle_and_sides

VARIANCE = (0.1, 0.1, 0.2, 0.2)  # of middle and log side, so that deltas are about 1 (Liu 2016, SSD)
LARGEST_DELTA = 4.0  # of log side: a box is at most e^4 times its anchor, so that exp() stays finite
LEAST_SIDE = 1e-3  # pixels


def deltas_of(anchors: tf.Tensor, xyxy: tf.Tensor, variance: Sequence[float] = VARIANCE) -> tf.Tensor:
    """What a box [..., 4] is to its anchor: shift of the middle and log of the sides, over the variances."""
    (middle, sides), (wanted, extent) = middle_and_sides(anchors), middle_and_sides(xyxy)
    sides = tf.maximum(sides, LEAST_SIDE)  # of a proposal: none may be left after clipping
    shift = (wanted - middle) / sides
    growth = tf.math.log(tf.maximum(extent, LEAST_SIDE) / sides)
    return tf.concat([shift, growth], -1) / tf.constant(variance)


def boxes_of(deltas: tf.Tensor, anchors: tf.Tensor, variance: Sequence[float] = VARIANCE) -> tf.Tensor:
    """The boxes float32 [..., 4] that these deltas of any float dtype make of anchors [..., 4]."""
    deltas = tf.cast(deltas, tf.float32) * tf.constant(variance)
    middle, sides = middle_and_sides(anchors)
    middle = middle + deltas[..., :2] * sides
    half = tf.exp(tf.clip_by_value(deltas[..., 2:], -LARGEST_DELTA, LARGEST_DELTA)) * sides / 2
    return tf.concat([middle - half, middle + half], -1)
