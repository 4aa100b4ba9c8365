"""Images, boxes and masks under affine maps: what flip, turn, scale, stretch, shift, crop and mosaic have in common.

Pixels are read once, and boxes follow by the same numbers. Keras's and KerasCV's layers are not used: their seeds have
a state, some return ragged tensors, and core Keras's RandomCrop puts boxes elsewhere.

Coordinates are continuous: the pixel in column 3 covers 3 to 4, its middle is 3.5.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tlkit.data.boxes.masks import moving
from tlkit.data.boxes.sizes import LEAST_SIDE

GREY = 114  # what fills the frame around an image (Redmon's and Jocher's detectors)
IGNORED, PADDING = -2, -1  # labels: neither object nor background; no box
PROPOSAL = -3  # while an image is changed: a region that may hold an object, moved as boxes are


class Batch(NamedTuple):
    """Images and their boxes.

    Attributes:
        pixels: uint8 [b, s, s, 3].
        xyxy: float32 [b, m, 4]: left, top, right, bottom; -1 where there is no box.
        labels: int32 [b, m]: class, -1 padding, -2 ignored.
        masks: float32 [b, m, 11] of `masks.moving`: where the mask of each box lies; None: without masks.
    """

    pixels: tf.Tensor
    xyxy: tf.Tensor
    labels: tf.Tensor
    masks: tf.Tensor | None = None

    @property
    def parts(self) -> tuple[tf.Tensor, ...]:
        """What there is, one after the other."""
        return self if self.masks is not None else self[:3]


def real_boxes(xyxy: tf.Tensor) -> tf.Tensor:
    """Which boxes float32 [..., 4] have an area, bool [...]; padding has none."""
    return tf.reduce_all(xyxy[..., 2:] > xyxy[..., :2], -1)


def centred_map(orientation: tf.Tensor, factors: tf.Tensor, away: tf.Tensor, size: int) -> tf.Tensor:
    """Turn about the middle of the frame, scale, and put the middle `away` from where it was.

    Args:
        orientation: float32 [b, 2, 2].
        factors: float32 [b, 2], of width and height after the turn.
        away: float32 [b, 2], pixels.
        size: Side of the frame.

    Returns:
        float32 [b, 2, 3].
    """
    linear = factors[..., None] * orientation
    middle = tf.constant([size / 2, size / 2], tf.float32)
    shift = middle + away - tf.linalg.matvec(linear, middle)
    return tf.concat([linear, shift[..., None]], 2)


def moved(batch: Batch, maps: tf.Tensor, least_visible: float, size: int | None = None) -> Batch:
    """Images and boxes under affine maps float32 [b, 2, 3], whose linear part turns by quarters only.

    Args:
        batch: Of images [b, s, s, 3].
        maps: Old pixels to new ones.
        least_visible: See `BoxAugmentation`.
        size: Side of the new frame; s if None.
    """
    size = size or batch.pixels.shape[1]
    frame = tf.constant([0, 0, size, size], tf.float32)
    there = move_objects(batch, maps, frame, least_visible)
    return there._replace(pixels=move_pixels(batch.pixels, maps, size))


def move_objects(batch: Batch, maps: tf.Tensor, frame: tf.Tensor, least_visible: float) -> Batch:
    """Boxes, labels and masks of a batch under maps float32 [b, 2, 3], clipped to a frame; its pixels as they were."""
    xyxy, labels = move_boxes(batch.xyxy, batch.labels, maps, frame, least_visible)
    return Batch(batch.pixels, xyxy, labels, moving.moved(batch.masks, maps, frame))


def move_pixels(pixels: tf.Tensor, maps: tf.Tensor, size: int | None = None) -> tf.Tensor:
    """uint8 [b, s, s, 3] -> [b, size, size, 3] under maps float32 [b, 2, 3], interpolated linearly; grey fills it up."""
    size = size or pixels.shape[1]
    linear = tf.linalg.inv(maps[..., :2])
    half = tf.constant([0.5, 0.5], tf.float32)
    # the operation wants: old index = A new index + c, and a pixel's index is its middle less a half
    shift = tf.linalg.matvec(linear, half - maps[..., 2]) - half
    rows = tf.concat([linear, shift[..., None]], 2)
    transforms = tf.concat([tf.reshape(rows, [-1, 6]), tf.zeros([tf.shape(rows)[0], 2])], 1)
    found = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=transforms,
        output_shape=[size, size],
        fill_value=float(GREY),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(tf.cast(found + 0.5, tf.uint8), [pixels.shape[0], size, size, 3])


def move_boxes(
    xyxy: tf.Tensor, labels: tf.Tensor, maps: tf.Tensor, frame: tf.Tensor, least_visible: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes float32 [b, m, 4] and labels [b, m] under maps float32 [b, 2, 3], clipped to a frame."""
    return clipped(moving.moved_corners(xyxy, maps), labels, frame, least_visible)


def clipped(
    whole: tf.Tensor, labels: tf.Tensor, frame: tf.Tensor, least_visible: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cut boxes at a frame: what is too small is dropped, what is mostly outside is ignored.

    Args:
        whole: float32 [b, m, 4].
        labels: int32 [b, m].
        frame: float32, broadcast to [b, m, 4].
        least_visible: Share of the area that must be left.

    Returns:
        Boxes (-1 where dropped) and labels (-1 where dropped, -2 where ignored).
    """
    frame = tf.broadcast_to(frame, tf.shape(whole))
    low, high = frame[..., :2], frame[..., 2:]
    cut = tf.concat([tf.clip_by_value(whole[..., i : i + 2], low, high) for i in (0, 2)], -1)
    sides, old = cut[..., 2:] - cut[..., :2], whole[..., 2:] - whole[..., :2]
    share = tf.reduce_prod(sides, -1) / tf.maximum(tf.reduce_prod(old, -1), 1e-6)
    kept = (labels != PADDING) & tf.reduce_all(sides >= LEAST_SIDE, -1)
    hidden = (share < least_visible) & (labels != PROPOSAL)  # a proposal is a region, whatever it shows
    labels = tf.where(kept, tf.where(hidden, IGNORED, labels), PADDING)
    return tf.where(kept[..., None], cut, float(PADDING)), labels
