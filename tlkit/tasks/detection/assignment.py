"""Which place of a network answers for which box: RetinaNet's by IoU, YOLOv8's by how well it does already.

Labels: 0 and above a class; -1 background (places) or padding (boxes); -2 ignored, neither object nor background.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

POSITIVE, NEGATIVE = 0.5, 0.4  # IoU (Lin 2017, section 4.1)
TIE = 1e-4  # anchors that are equally near but for rounding
BACKGROUND, IGNORED = -1, -2
CANDIDATES, ALPHA, BETA = 10, 0.5, 6.0  # Jocher 2023 (YOLOv8); Feng 2021 (TOOD), equation 9


class Targets(NamedTuple):
    """What every place should answer.

    Attributes:
        labels: int32 [b, a]: class, -1 background, -2 ignored.
        xyxy: float32 [b, a, 4]: its box; anything where there is none.
        score: float32 [b, a]: what the class's score should be, 0 where there is none.
    """

    labels: tf.Tensor
    xyxy: tf.Tensor
    score: tf.Tensor


def middle_and_sides(xyxy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Middles and sides, float32 [..., 2] each, of corners [..., 4]."""
    return (xyxy[..., :2] + xyxy[..., 2:]) / 2, xyxy[..., 2:] - xyxy[..., :2]


def pairwise_iou(places: tf.Tensor, xyxy: tf.Tensor) -> tf.Tensor:
    """float32 [b, a, m]: IoU of boxes [a, 4] or [b, a, 4] with boxes [b, m, 4]."""
    first, second = places[..., :, None, :], xyxy[:, None, :, :]
    low = tf.maximum(first[..., :2], second[..., :2])
    high = tf.minimum(first[..., 2:], second[..., 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), -1)
    union = _areas(first) + _areas(second) - shared
    return shared / tf.maximum(union, 1e-7)


def _areas(xyxy: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.maximum(xyxy[..., 2:] - xyxy[..., :2], 0.0), -1)


def by_overlap(anchors: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor) -> Targets:
    """RetinaNet: an anchor answers for the box it overlaps most, if the IoU is at least 0.5.

    Between 0.4 and 0.5 it is ignored. The anchor that comes nearest to a box answers for it however little it
    overlaps, so that no object is taught as background (Ren 2015, section 3.1.2).

    Args:
        anchors: float32 [a, 4].
        xyxy: float32 [b, m, 4], m >= 1.
        labels: int32 [b, m].
    """
    iou = pairwise_iou(anchors, xyxy)
    of_object = tf.where((labels >= 0)[:, None], iou, 0.0)  # padding and ignored boxes overlap with nothing
    best = tf.reduce_max(of_object, 2)
    match = tf.argmax(of_object, 2, tf.int32)
    nearest = tf.reduce_max(of_object, 1, keepdims=True)  # of each box the largest IoU of any anchor
    # rule (i) of Ren 2015, section 3.1.2; several anchors may be equally near
    forced = tf.reduce_any((of_object >= nearest * (1 - TIE)) & (of_object > 0), 2)
    positive = forced | (best >= POSITIVE)  # rule (ii), with Lin 2017's 0.5 for Ren's 0.7
    # on what is marked as difficult: neither
    beside = tf.reduce_max(tf.where((labels == IGNORED)[:, None], iou, 0.0), 2)
    unsure = (best >= NEGATIVE) | (beside >= NEGATIVE)  # 0.4 to 0.5 teaches nothing (Lin 2017, section 4.1)
    kinds = tf.gather(labels, match, batch_dims=1)
    found = tf.where(positive, kinds, tf.where(unsure, IGNORED, BACKGROUND))
    return Targets(found, tf.gather(xyxy, match, batch_dims=1), tf.cast(positive, tf.float32))


def by_alignment(
    scores: tf.Tensor, predicted: tf.Tensor, centres: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor
) -> Targets:
    """YOLOv8: the ten places in a box that score and fit best answer for it; the best should score its IoU.

    KerasCV's encoder takes the sixth power of a complete IoU that may be negative, so that a box far away counts
    as a fit; here what does not overlap counts for nothing.

    Args:
        scores: float32 [b, a, k], 0..1.
        predicted: float32 [b, a, 4], the network's boxes.
        centres: float32 [a, 2], the places.
        xyxy: float32 [b, m, 4], m >= 1.
        labels: int32 [b, m].

    Source: Feng 2021 (TOOD), section 3.2.
    """
    is_object = (labels >= 0)[:, None]  # [b, 1, m]
    inside = _inside(centres, xyxy)
    iou = tf.where(inside & is_object, pairwise_iou(predicted, xyxy), 0.0)
    # s: each place's score for each box's class
    own = tf.gather(scores, tf.maximum(labels, 0), axis=2, batch_dims=1)  # [b, a, m]
    fit = tf.pow(own, ALPHA) * tf.pow(iou, BETA)  # t = s^alpha u^beta (Feng 2021, equation 9)
    least = tf.math.top_k(tf.transpose(fit, [0, 2, 1]), min(CANDIDATES, centres.shape[0])).values[..., -1]
    # the ten best of each box; equal ones all, and no place that does not overlap
    chosen = (fit >= least[:, None]) & (fit > 0)
    iou = tf.where(chosen, iou, 0.0)  # a place chosen by two boxes answers for that which it overlaps more
    match = tf.argmax(iou, 2, tf.int32)
    positive = tf.reduce_any(chosen, 2)
    fit = tf.where(tf.one_hot(match, tf.shape(labels)[1], on_value=True, off_value=False) & chosen, fit, 0.0)
    # t / max t of the box: the best place is 1 ...
    share = fit / tf.maximum(tf.reduce_max(fit, 1, keepdims=True), 1e-30)
    # ... times the box's largest IoU: t-hat of Feng 2021, section 3.2.2
    score = tf.reduce_max(share * tf.reduce_max(iou, 1, keepdims=True), 2)
    beside = tf.reduce_any(inside & (labels == IGNORED)[:, None], 2)
    found = tf.where(
        positive,
        tf.gather(labels, match, batch_dims=1),
        tf.where(beside, IGNORED, BACKGROUND),
    )
    return Targets(found, tf.gather(xyxy, match, batch_dims=1), tf.where(positive, score, 0.0))


def _inside(centres: tf.Tensor, xyxy: tf.Tensor) -> tf.Tensor:
    """Bool [b, a, m]: whether points [a, 2] lie in boxes [b, m, 4]."""
    point, box = centres[None, :, None], xyxy[:, None]
    return tf.reduce_all((point > box[..., :2]) & (point < box[..., 2:]), -1)
