"""Sampling of regions and anchors: which of them a step learns, drawn from a seed, in fixed shapes.

Sources: Girshick 2015 (Fast R-CNN, section 2.3); Ren 2015 (Faster R-CNN, section 3.1.3).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tlkit.data.boxes.affine import real_boxes
from tlkit.tasks.detection.assignment import BACKGROUND, IGNORED, pairwise_iou

SHARE = 0.25  # of the regions that may be of objects (Girshick 2015, section 2.3)
OBJECT, NEAR = 0.5, 0.1  # IoU of a region of an object; least IoU of one of the background


class Sampled(NamedTuple):
    """Regions that a step learns.

    Attributes:
        boxes: float32 [b, n, 4], pixels.
        labels: int32 [b, n]: class, -1 background, -2 where fewer were found than asked: nothing is learned there.
        xyxy: float32 [b, n, 4]: the object's own box; anything where there is none.
        objects: int32 [b, n]: which of the image's boxes that is, likewise.
    """

    boxes: tf.Tensor
    labels: tf.Tensor
    xyxy: tf.Tensor
    objects: tf.Tensor

    @property
    def counted(self) -> tf.Tensor:
        """float32 [b, n]: 1 where a region is learned."""
        return tf.cast(self.labels != IGNORED, tf.float32)


def draw(
    positive: tf.Tensor, negative: tf.Tensor, most: int, number: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw some of both kinds: at most `most` positive ones, and negative ones up to `number` in all.

    Args:
        positive: Bool [b, a].
        negative: Bool [b, a]; none is both.
        most: Positive ones at most.
        number: Of all.
        seed: int32 [2]; the same seed draws the same.

    Returns:
        int32 [b, number], places in a, positive ones first; and bool [b, number]: which of them were found.
    """
    there = tf.shape(positive)[1]
    room = [[0, 0], [0, number]]  # so that there are never fewer than asked
    lots = tf.pad(tf.random.stateless_uniform(tf.shape(positive), seed), room)
    value, first = tf.math.top_k(tf.where(tf.pad(positive, room), lots, -1.0), most)
    found = value >= 0
    rest = number - tf.reduce_sum(tf.cast(found, tf.int32), 1, keepdims=True)
    value, second = tf.math.top_k(tf.where(tf.pad(negative, room), lots, -1.0), number)
    found = tf.concat([found, (value >= 0) & (tf.range(number) < rest)], 1)
    places = tf.minimum(tf.concat([first, second], 1), there - 1)
    order = tf.math.top_k(tf.cast(found, tf.int32), number).indices  # of equals the first
    return tf.gather(places, order, batch_dims=1), tf.gather(found, order, batch_dims=1)


def most_of_objects(number: int) -> int:
    """How many of the regions that an image teaches are of objects, at most; these come first."""
    return max(1, int(SHARE * number))


def sample_regions(
    proposals: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor, number: int, seed: tf.Tensor
) -> Sampled:
    """Regions of objects (IoU 0.5 or more, a quarter at most) and of the background (0.1 to 0.5), which fill up.

    The true boxes are among them. On an image without any object no region comes near one, so that there all are
    background. What overlaps a box that is marked as difficult by 0.5 or more is neither.

    Args:
        proposals: float32 [b, p, 4], pixels; those without an area (padding is -1) are never drawn.
        xyxy: float32 [b, m, 4], m >= 1.
        labels: int32 [b, m]: class, -1 padding, -2 ignored.
        number: Regions an image.
        seed: int32 [2].
    """
    boxes = tf.concat([proposals, tf.where((labels >= 0)[..., None], xyxy, -1.0)], 1)
    boxes = tf.stop_gradient(boxes)
    real = real_boxes(boxes)
    iou = pairwise_iou(boxes, xyxy)
    of_object = tf.where((labels >= 0)[:, None], iou, 0.0)
    best, match = tf.reduce_max(of_object, 2), tf.argmax(of_object, 2, tf.int32)
    beside = tf.reduce_max(tf.where((labels == IGNORED)[:, None], iou, 0.0), 2) >= OBJECT
    empty = tf.reduce_all(labels < 0, 1, keepdims=True)
    positive = real & (best >= OBJECT)
    negative = real & (best < OBJECT) & ((best >= NEAR) | empty) & ~beside
    places, found = draw(positive, negative, most_of_objects(number), number, seed)
    kinds = tf.where(positive, tf.gather(labels, match, batch_dims=1), BACKGROUND)
    drawn = tf.gather(kinds, places, batch_dims=1)
    objects = tf.gather(match, places, batch_dims=1)
    own = tf.gather(xyxy, objects, batch_dims=1)
    return Sampled(tf.gather(boxes, places, batch_dims=1), tf.where(found, drawn, IGNORED), own, objects)
