"""What a detector is taught by: focal, smooth L1, complete IoU and distribution losses, in float32.

Each is a sum over places; the detector divides by the number of objects, at least 1, so that images without any
object teach too. KerasCV's RetinaNet divides by zero objects and then sets the loss to zero.
"""

from __future__ import annotations

import math

import tensorflow as tf

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0  # Lin 2017, section 4


def focal(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """Focal loss of logits float32 [..., k] and targets 0 or 1, one value a logit (Lin 2017, equation 5)."""
    cross = tf.nn.sigmoid_cross_entropy_with_logits(truth, logits)
    score = tf.sigmoid(logits)
    missing = truth * (1 - score) + (1 - truth) * score  # 1 - p_t (equation 2)
    alpha = truth * FOCAL_ALPHA + (1 - truth) * (1 - FOCAL_ALPHA)  # alpha_t (section 3.1)
    return alpha * tf.square(missing) * cross  # gamma 2


def smooth_l1(found: tf.Tensor, truth: tf.Tensor, beta: float = 1.0) -> tf.Tensor:
    """float32 [...]: mean over the last axis (Girshick 2015, equation 3); squares below a difference of `beta`."""
    difference = tf.abs(found - truth)
    squares = 0.5 * tf.square(difference) / beta
    return tf.reduce_mean(tf.where(difference < beta, squares, difference - 0.5 * beta), -1)


def complete_iou(found: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """float32 [...]: IoU less the distance of middles and the difference in shape, of boxes [..., 4].

    Source: Zheng 2020 (Distance-IoU loss), equations 10 and 11; its weight of the shape has no gradient.
    """
    epsilon = 1e-7
    low, high = tf.maximum(found[..., :2], truth[..., :2]), tf.minimum(found[..., 2:], truth[..., 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    sides, wanted = found[..., 2:] - found[..., :2], truth[..., 2:] - truth[..., :2]
    union = tf.reduce_prod(sides, -1) + tf.reduce_prod(wanted, -1) - shared
    iou = shared / (union + epsilon)  # units of pixels: epsilon is 1e-7 px^2
    around = tf.maximum(found[..., 2:], truth[..., 2:]) - tf.minimum(found[..., :2], truth[..., :2])
    # c^2 of the smallest box around both (equation 7)
    diagonal = tf.reduce_sum(tf.square(around), -1) + epsilon
    # rho: from middle to middle
    between = (found[..., :2] + found[..., 2:] - truth[..., :2] - truth[..., 2:]) / 2
    angles = [tf.atan(side[..., 0] / (side[..., 1] + epsilon)) for side in (wanted, sides)]
    shape = 4 / math.pi**2 * tf.square(angles[0] - angles[1])  # v (equation 9)
    weight = tf.stop_gradient(shape / (shape - iou + 1 + epsilon))  # alpha = v / (1 - IoU + v) (equation 11)
    # 1 less this is the loss (equation 10)
    return iou - tf.reduce_sum(tf.square(between), -1) / diagonal - weight * shape


def distribution(logits: tf.Tensor, distances: tf.Tensor) -> tf.Tensor:
    """Distribution focal loss: cross-entropy with the two whole numbers around each distance.

    Args:
        logits: float32 [..., bins].
        distances: float32 [...], 0 .. bins - 1.

    Returns:
        float32 [...].

    Source: Li 2020 (Generalized focal loss), equation 6.
    """
    bins = logits.shape[-1]
    distances = tf.clip_by_value(distances, 0.0, bins - 1.01)  # the last bin has no right neighbour
    low = tf.floor(distances)
    share = (distances - low)[..., None]
    index = tf.cast(low, tf.int32)
    # weights y_{i+1} - y and y - y_i of its two bins
    truth = tf.one_hot(index, bins) * (1 - share) + tf.one_hot(index + 1, bins) * share
    return tf.nn.softmax_cross_entropy_with_logits(truth, logits)
