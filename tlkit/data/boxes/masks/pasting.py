"""Masks pasted: probabilities over boxes become pixels of the image, exactly as large as it is.

A pixel is on the mask where the probability at its middle, linear between the middles of the cells, is 0.5 or more; what
lies outside of the box is not. Pasting is separable (rows times probabilities times columns), so it needs no gathering.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.masks.rle import Mask, encode

HALF = 0.5
AT_ONCE = 16  # masks of one image that are pasted at a time: memory is that many images


def pasted(probabilities: tf.Tensor, xyxy: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Masks bool [m, height, width] of probabilities float32 [m, side, side] over boxes float32 [m, 4], pixels."""
    side = probabilities.shape[-1]
    rows = _weights(xyxy[:, 1], xyxy[:, 3], height, side)
    columns = _weights(xyxy[:, 0], xyxy[:, 2], width, side)
    return tf.matmul(tf.matmul(rows, probabilities), columns, transpose_b=True) >= HALF


def _weights(low: tf.Tensor, high: tf.Tensor, count: tf.Tensor, side: int) -> tf.Tensor:
    """How much of each cell between low and high is in each of `count` pixels: float32 [m, count, side]."""
    middles = tf.range(tf.cast(count, tf.float32), dtype=tf.float32)[None] + 0.5
    long = tf.maximum(high - low, 1e-6)[:, None]
    places = (middles - low[:, None]) / long * side - 0.5
    inside = tf.cast((middles >= low[:, None]) & (middles <= high[:, None]), tf.float32)
    places = tf.clip_by_value(places, 0.0, side - 1.0)[..., None]
    return tf.maximum(1 - tf.abs(places - tf.range(side, dtype=tf.float32)), 0.0) * inside[..., None]


def pasted_masks(probabilities: np.ndarray, xyxy: np.ndarray, sides: Sequence[float]) -> tuple[Mask, ...]:
    """The masks [m] of one image of (width, height); arguments as of `pasted`."""
    width, height = (round(float(side)) for side in sides)
    found: list[Mask] = []
    for start in range(0, len(xyxy), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        shares, boxes = (tf.constant(values[some], tf.float32) for values in (probabilities, xyxy))
        found += map(encode, pasted(shares, boxes, tf.constant(height), tf.constant(width)).numpy())
    return tuple(found)
