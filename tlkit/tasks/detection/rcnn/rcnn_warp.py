"""Warping of R-CNN: every proposal with its surroundings, as a square of one size, whatever its aspect.

The context is measured in the warped square: of 227 pixels 16 on each side are surroundings, so that the box is grown
by 227 / (227 - 32) before it is warped. What lies beyond the image has the mean that the network subtracts. Nothing is
smoothed where a box shrinks, as in the released code.

Source: Girshick 2014, section 2.1 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tlkit.backbones.preprocessing import scaling
from tlkit.data.boxes.affine import real_boxes

PAPER_SIDE, PAPER_CONTEXT = 227, 16  # pixels of the warped square, and of its surroundings on each side
CHUNK = 50  # crops that are cut and answered at a time
IMAGENET = (
    123.675,
    116.28,
    103.53,
)  # RGB; of networks whose scaling is inside, and need not be a subtraction


def fill_of(mode: str) -> tuple[float, float, float]:
    """The mean that a preprocessing subtracts: red, green and blue, 0..255.

    Args:
        mode: A key of `SCALINGS`; of "inside", where nothing is subtracted before the network, ImageNet's mean.
    """
    if mode == "inside":
        return IMAGENET
    first, second, third = scaling(mode).mean
    return (third, second, first) if scaling(mode).bgr else (first, second, third)


def grown(boxes: tf.Tensor, side: int) -> tf.Tensor:
    """Boxes float32 [..., 4] about their middles, so large that the context is the paper's once they are warped.

    Args:
        boxes: left, top, right, bottom.
        side: Of the warped square, pixels.
    """
    context = PAPER_CONTEXT * side / PAPER_SIDE
    factor = side / (side - 2 * context)
    middle, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    return tf.concat([middle - factor * half, middle + factor * half], -1)


def warp(
    images: tf.Tensor, boxes: tf.Tensor, owners: tf.Tensor, side: int, fill: tuple[float, float, float]
) -> tf.Tensor:
    """Cut boxes out of images and stretch each to a square.

    Args:
        images: uint8 [b, h, w, 3].
        boxes: float32 [n, 4]: left, top, right, bottom in their pixels, right and bottom exclusive.
        owners: int32 [n]: of which image each is.
        side: Of the square, pixels.
        fill: What lies beyond the image: red, green, blue, 0..255.

    Returns:
        uint8 [n, side, side, 3].
    """
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    extent = tf.cast(tf.stack([width, height]), tf.float32)
    framed = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")  # its outermost half pixels too
    around = grown(boxes, side)
    step = (around[:, 2:] - around[:, :2]) / side
    first = around[:, :2] + step / 2  # the middle of the first pixel of the square, and of the last
    last = around[:, 2:] - step / 2
    # pixel i of the image has its middle at i + 0.5; once framed it has the index i + 1
    places = tf.concat([first, last], -1) + 0.5
    shares = tf.gather(places / tf.tile(extent + 1, [2]), [1, 0, 3, 2], axis=1)
    crops = tf.image.crop_and_resize(tf.cast(framed, tf.float32), shares, owners, [side, side])
    along = tf.range(side, dtype=tf.float32)[None, :, None]
    middles = first[:, None] + along * step[:, None]  # [n, side, 2]
    inside = (middles >= 0) & (middles <= extent)
    there = inside[:, None, :, 0] & inside[:, :, None, 1]
    return tf.cast(tf.where(there[..., None], crops, tf.constant(fill, tf.float32)) + 0.5, tf.uint8)


def answers_of_crops(
    network: Callable[[tf.Tensor], tf.Tensor],
    width: int,
    images: tf.Tensor,
    boxes: tf.Tensor,
    side: int,
    fill: tuple[float, float, float],
) -> tf.Tensor:
    """What a network says of the warped boxes of some images, a fixed number of crops at a time.

    Args:
        network: uint8 [n, side, side, 3] -> [n, width].
        width: Of its answer.
        images: uint8 [b, h, w, 3].
        boxes: float32 [b, p, 4]; those without an area are padding, and none of them is cut out.
        side: Of the square, pixels.
        fill: See `warp`.

    Returns:
        float32 [b, p, width]: 0 for padding.
    """
    count, each = tf.shape(boxes)[0], tf.shape(boxes)[1]
    flat = tf.reshape(boxes, [-1, 4])
    chosen = tf.cast(tf.where(real_boxes(flat))[:, 0], tf.int32)
    real = tf.shape(chosen)[0]
    chunks = (real + CHUNK - 1) // CHUNK
    padded = tf.pad(chosen, [[0, chunks * CHUNK - real]])

    def answer(number: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        some = padded[number * CHUNK : (number + 1) * CHUNK]
        crops = warp(images, tf.gather(flat, some), some // each, side, fill)
        answers = tf.cast(network(tf.ensure_shape(crops, [None, side, side, 3])), tf.float32)
        return number + 1, found.write(number + 1, tf.ensure_shape(answers, [None, width]))

    pieces = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, width])
    pieces = pieces.write(0, tf.zeros([0, width]))  # so that there is one piece at least
    _, pieces = tf.while_loop(
        lambda number, _: number < chunks, answer, (tf.constant(0), pieces), parallel_iterations=1
    )
    every = tf.scatter_nd(chosen[:, None], pieces.concat()[:real], [count * each, width])
    return tf.reshape(every, [count, each, width])


def norm_scale(features: np.ndarray, wanted: float = 20.0) -> float:
    """What features float32 [n, d] are multiplied by so that their mean length is that of the released code."""
    mean = float(np.linalg.norm(features.astype(np.float64), axis=1).mean()) if len(features) else 0.0
    return wanted / mean if mean > 0 else 1.0
