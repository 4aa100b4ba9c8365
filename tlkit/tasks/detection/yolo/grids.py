"""Grid cells of YOLO v2 and v3: which place answers for which box, and what its numbers mean as a box.

    raw (x, y, w, h) of the anchor (a_w, a_h) in a cell at (c_x, c_y) of a grid of stride s
    middle = (c_x + sigmoid(x)) s, (c_y + sigmoid(y)) s        sides = a_w e^w, a_h e^h

A place is an anchor in a cell; places run through grids, rows, columns and anchors of a cell. All boxes here are
corners in pixels of the square, so that no IoU mixes them with middles and sides.

Source: Redmon 2017 (YOLO9000, section 2, "direct location prediction"); Redmon 2018 (YOLOv3, section 2.1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.tasks.detection.assignment import IGNORED, middle_and_sides, pairwise_iou

LARGEST_GROWTH = 8.0  # of log side: a box is at most e^8 times its anchor, so that exp() stays finite


class Grids(NamedTuple):
    """The grids of one or more strides with the anchors of each, finest first.

    Attributes:
        sides: Cells a side of each, int or int32 scalar.
        strides: Pixels a cell of each.
        shapes: float32 [grids, each, 2]: widths and heights of anchors, pixels.
    """

    sides: tuple[Any, ...]
    strides: tuple[int, ...]
    shapes: np.ndarray

    @property
    def each(self) -> int:
        """Anchors of a cell."""
        return self.shapes.shape[1]

    @property
    def size(self) -> Any:
        """Side of the square, pixels: int or int32 scalar."""
        return self.sides[-1] * self.strides[-1]

    def starts(self) -> list[Any]:
        """The first place of each grid."""
        counts = [side * side * self.each for side in self.sides]
        return [sum(counts[:number]) for number in range(len(counts))]

    def places(self) -> Places:
        """All places, [p]."""
        found = []
        for side, stride, shapes in zip(self.sides, self.strides, self.shapes, strict=True):
            line = tf.cast(tf.range(side) * stride, tf.float32)
            left, top = tf.meshgrid(line, line)
            corner = tf.reshape(tf.stack([left, top], -1), [-1, 1, 2])
            cells = tf.shape(corner)[0]
            corner = tf.tile(corner, [1, self.each, 1])
            shape = tf.tile(tf.constant(shapes)[None], [cells, 1, 1])
            found.append((corner, tf.fill([cells, self.each, 1], float(stride)), shape))
        flat = (
            tf.concat([tf.reshape(x, [-1, x.shape[-1]]) for x in one], 0) for one in zip(*found, strict=True)
        )
        return Places(*flat)


class Places(NamedTuple):
    """Where places lie: of all [p], or of those of boxes [b, m].

    Attributes:
        corner: float32 [..., 2]: left and top of the cell, pixels.
        stride: float32 [..., 1]: its side, pixels.
        shape: float32 [..., 2]: width and height of the anchor, pixels.
    """

    corner: tf.Tensor
    stride: tf.Tensor
    shape: tf.Tensor

    def at(self, index: tf.Tensor) -> Places:
        """Those at int32 [b, m]."""
        return Places(*(tf.gather(values, index) for values in self))


def decode(raw: tf.Tensor, places: Places) -> tf.Tensor:
    """Boxes float32 [..., 4], corners in pixels, of raw numbers float32 [..., 4]."""
    middle = places.corner + tf.sigmoid(raw[..., :2]) * places.stride
    growth = tf.clip_by_value(raw[..., 2:], -LARGEST_GROWTH, LARGEST_GROWTH)
    half = places.shape * tf.exp(growth) / 2
    return tf.concat([middle - half, middle + half], -1)


def encode(xyxy: tf.Tensor, places: Places) -> tuple[tf.Tensor, tf.Tensor]:
    """What places should say of their boxes.

    Args:
        xyxy: float32 [..., 4].
        places: Of each box its own.

    Returns:
        What sigmoid(x), sigmoid(y) should be, 0..1, and what w and h should be; float32 [..., 2] each.
    """
    middle, sides = middle_and_sides(xyxy)
    inside = tf.clip_by_value((middle - places.corner) / places.stride, 0.0, 1.0)
    return inside, tf.math.log(tf.maximum(sides, 1e-3) / places.shape)


class Answers(NamedTuple):
    """Which place answers for which box.

    Attributes:
        place: int32 [b, m]: of each box, padding included.
        taught: float32 [b, m]: 1 for objects that are learned there; a place learns one object.
    """

    place: tf.Tensor
    taught: tf.Tensor


def answer(xyxy: tf.Tensor, labels: tf.Tensor, grids: Grids) -> Answers:
    """The place of each box: in the cell that its middle lies in, of the anchor whose shape fits best of all grids'.

    Of objects that meet at one place the best fitting one is learned, the first of equals.

    Args:
        xyxy: float32 [b, m, 4].
        labels: int32 [b, m].
        grids: With their anchors.
    """
    middle, sides = middle_and_sides(xyxy)
    fits = _shape_ious(sides, tf.constant(grids.shapes.reshape(-1, 2)))
    best = tf.argmax(fits, -1, tf.int32)
    grid, anchor = best // grids.each, best % grids.each
    cells = tf.gather(tf.stack([tf.convert_to_tensor(side) for side in grids.sides]), grid)
    strides = tf.gather(tf.constant(grids.strides, tf.float32), grid)
    inside = tf.cast(tf.floor(middle / strides[..., None]), tf.int32)
    column, row = tf.unstack(tf.clip_by_value(inside, 0, cells[..., None] - 1), axis=-1)
    first = tf.gather(tf.stack([tf.convert_to_tensor(start) for start in grids.starts()]), grid)
    place = first + (row * cells + column) * grids.each + anchor
    return Answers(place, tf.cast(_chosen(place, labels >= 0, tf.reduce_max(fits, -1)), tf.float32))


def _shape_ious(sides: tf.Tensor, shapes: tf.Tensor) -> tf.Tensor:
    """float32 [b, m, n]: IoU of boxes about one middle, of sides [b, m, 2] and [n, 2]."""
    shared = tf.reduce_prod(tf.minimum(sides[..., None, :], shapes), -1)
    return shared / (tf.reduce_prod(sides, -1)[..., None] + tf.reduce_prod(shapes, -1) - shared)


def _chosen(place: tf.Tensor, is_object: tf.Tensor, fit: tf.Tensor) -> tf.Tensor:
    """Bool [b, m]: objects that no better one shares the place with."""
    order = tf.range(tf.shape(place)[1])
    better = (fit[:, None] > fit[..., None]) | ((fit[:, None] == fit[..., None]) & (order < order[:, None]))
    same = (place[:, None] == place[..., None]) & is_object[:, None]
    return is_object & ~tf.reduce_any(same & better, -1)


def background(
    predicted: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor, answers: Answers, largest: float
) -> tf.Tensor:
    """float32 [b, p]: 1 where a place should say that there is no object, 0 where it answers for one or is ignored.

    Ignored are places whose box overlaps a known one by more than `largest` (the paper of v3 asks its anchor, the
    released code the predicted box, and so is it here), and those that would answer for a difficult box.

    Args:
        predicted: float32 [b, p, 4].
        xyxy: float32 [b, m, 4].
        labels: int32 [b, m].
        answers: Of these boxes.
        largest: IoU.
    """
    known = (labels >= 0) | (labels == IGNORED)
    iou = tf.where(known[:, None], pairwise_iou(tf.stop_gradient(predicted), xyxy), 0.0)
    free = tf.cast(tf.reduce_max(iou, 2) <= largest, tf.float32)
    images = tf.broadcast_to(tf.range(tf.shape(labels)[0])[:, None], tf.shape(labels))
    index = tf.stack([images, answers.place], -1)
    return tf.tensor_scatter_nd_min(free, index, tf.cast(~known, tf.float32))
