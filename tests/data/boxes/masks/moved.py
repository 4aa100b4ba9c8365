"""Ellipses whose masks are known, and masks drawn again after they were moved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tlkit.data.boxes.affine import Batch
from tlkit.data.boxes.masks import moving, rle

SIZE = 160


def ellipses(random: np.random.Generator, images: int = 3) -> np.ndarray:
    """Two turned ellipses an image, in its halves: bool [b, 2, s, s]."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    masks = np.zeros((images, 2, SIZE, SIZE), bool)
    for i in range(images):
        for j in range(2):
            middle = (40 + 80 * j + random.uniform(-4, 4), random.uniform(60, 100))
            angle, a, b = random.uniform(0, np.pi), random.uniform(20, 34), random.uniform(12, 20)
            along = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
            across = (y - middle[1]) * np.cos(angle) - (x - middle[0]) * np.sin(angle)
            masks[i, j] = (along / a) ** 2 + (across / b) ** 2 <= 1
    return masks


def batch_of(drawn: np.ndarray) -> tuple[tf.Tensor, ...]:
    """Of masks bool [b, m, s, s]: boxes, labels (each object has its own), masks [b, m, 11] and grids of the batch."""
    encoded = tuple(tuple(rle.encode(mask) for mask in row) for row in drawn)
    grids, masks = moving.grids_of(encoded, ((SIZE, SIZE),) * len(encoded), SIZE)
    boxes = np.array([[rle.box(mask) for mask in row] for row in encoded], np.float32)
    labels = np.arange(masks.shape[0] * masks.shape[1], dtype=np.int32).reshape(masks.shape[:2])
    return (
        tf.constant(boxes),
        tf.constant(labels),
        *moving.of_batch(tf.constant(masks), tf.constant(grids)),
    )


def rendered(
    batch: Batch, shown: tf.Tensor, boxes: tf.Tensor, labels: tf.Tensor, label: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Image, box and mask bool [s, s] of each object of a label that is there."""
    maps, side = moving.maps_of(batch.masks), batch.pixels.shape[1]
    whole = tf.constant([[[0.0, 0, side, side]]])
    for image, place in np.argwhere(labels.numpy() == label):
        some, object_ = slice(image, image + 1), tf.constant([[place]], tf.int32)
        mask = moving.cut_by_regions(shown[some], maps[some], whole, object_, side)
        yield image, boxes[image, place].numpy(), mask.numpy()[0, 0] >= 0.5
