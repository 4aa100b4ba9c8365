"""Region proposal network (RPN): anchors of a pyramid or of one map, what they learn, and the boxes proposed from them.

Source: Ren 2015 (Faster R-CNN, sections 3.1 and 3.3); Lin 2017 (Feature pyramid networks, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import keras
import tensorflow as tf
from keras import layers

from tlkit.data.boxes.affine import real_boxes
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.assignment import IGNORED, TIE, pairwise_iou
from tlkit.tasks.detection.deltas import boxes_of, deltas_of
from tlkit.tasks.detection.losses import smooth_l1
from tlkit.tasks.detection.rcnn.sampling import draw

POSITIVE, NEGATIVE = 0.7, 0.3  # IoU (Ren 2015, section 3.1.2)
LEARNED, OBJECTS = 256, 128  # anchors an image, and how many of them may be of objects (section 3.1.3)
OVERLAP = 0.7  # of proposals: NMS (section 3.3)
BETA = 1 / 9  # of smooth L1: sigma 3 in the released code, whose deltas have no variances here
PLAIN = (1.0, 1.0, 1.0, 1.0)
NUMBERS = 4  # of a box


@dataclass(frozen=True)
class PyramidAnchors(Anchors):
    """Two scales at each stride from 4 on: 32^2 at stride 4 to 512^2 at stride 64, and twice these areas.

    Lin 2017, section 4.1, has one; with two, more objects have an anchor of IoU 0.7, which is what learns them.
    """

    finest: ClassVar[int] = 4
    scales: tuple[float, ...] = (1.0, 2**0.5)


@dataclass(frozen=True)
class PaperAnchors(Anchors):
    """Three scales at stride 16 (Ren 2015, section 3.1.1: 128^2, 256^2, 512^2)."""

    finest: ClassVar[int] = 16
    base: float = 128.0
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    levels: int = 1


class Amounts(NamedTuple):
    """How many proposals there are before and after duplicates are dropped, in training and afterwards."""

    learned_before: int
    learned: int
    before: int
    after: int


@keras.saving.register_keras_serializable("tlkit")
class ProposalHead(layers.Layer):
    """A convolution that all levels share, and beside it how sure each anchor is of an object, and its box.

    Args:
        each: Anchors at a place.
        width: Channels of the convolution.
    """

    def __init__(self, each: int, width: int, **options) -> None:
        super().__init__(**options)
        self.each, self.width = each, width
        policy = self.dtype_policy
        start = keras.initializers.RandomNormal(stddev=0.01)  # section 3.1.3
        self.convolution = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name="convolution",
            dtype=policy,
        )
        self.objects = layers.Conv2D(each, 1, kernel_initializer=start, name="objects", dtype=policy)
        self.boxes = layers.Conv2D(NUMBERS * each, 1, kernel_initializer=start, name="boxes", dtype=policy)

    def build(self, input_shape: tuple) -> None:
        """Make the weights for maps [b, h, w, c]."""
        self.convolution.build((None, None, None, input_shape[-1]))
        for layer in (self.objects, self.boxes):
            layer.build((None, None, None, self.width))

    def call(self, x):
        """A map [b, h, w, c] -> logits [b, h x w x each] and deltas [b, h x w x each, 4]."""
        x = self.convolution(x)
        number = x.shape[1] * x.shape[2] * self.each
        return tf.reshape(self.objects(x), [-1, number]), tf.reshape(self.boxes(x), [-1, number, NUMBERS])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shapes of logits and deltas."""
        batch, height, width = input_shape[:3]
        return (batch, height * width * self.each), (batch, height * width * self.each, NUMBERS)

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "each": self.each, "width": self.width}


class Matched(NamedTuple):
    """What anchors may learn.

    Attributes:
        positive: Bool [b, a]: of an object.
        negative: Bool [b, a]: of the background.
        xyxy: float32 [b, a, 4]: the object's box; anything where there is none.
    """

    positive: tf.Tensor
    negative: tf.Tensor
    xyxy: tf.Tensor


def match_anchors(anchors: tf.Tensor, xyxy: tf.Tensor, labels: tf.Tensor, size: int) -> Matched:
    """Anchors of an object (IoU 0.7 or more, or none is nearer to it) and of the background (below 0.3 with all).

    Those that reach over the border of the image are neither, and come nearest to nothing (Ren 2015, sections 3.1.2 and
    3.1.3); so are those that overlap a box marked as difficult by 0.3 or more.

    Args:
        anchors: float32 [a, 4].
        xyxy: float32 [b, m, 4], m >= 1.
        labels: int32 [b, m]: class, -1 padding, -2 ignored.
        size: Side of the square image.
    """
    inside = tf.reduce_all((anchors[:, :2] >= 0) & (anchors[:, 2:] <= size), -1)
    iou = tf.where(inside[:, None], pairwise_iou(anchors, xyxy), 0.0)
    of_object = tf.where((labels >= 0)[:, None], iou, 0.0)
    best, match = tf.reduce_max(of_object, 2), tf.argmax(of_object, 2, tf.int32)
    nearest = tf.reduce_max(of_object, 1, keepdims=True)
    forced = tf.reduce_any((of_object >= nearest * (1 - TIE)) & (of_object > 0), 2)
    positive = forced | (best >= POSITIVE)
    beside = tf.reduce_max(tf.where((labels == IGNORED)[:, None], iou, 0.0), 2)
    negative = inside & ~positive & (best < NEGATIVE) & (beside < NEGATIVE)
    return Matched(positive, negative, tf.gather(xyxy, match, batch_dims=1))


def proposal_losses(
    objectness: tf.Tensor, deltas: tf.Tensor, anchors: tf.Tensor, matched: Matched, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Scalars "objectness" and "proposals" over 256 anchors an image, half of them of objects at most (equation 1).

    Args:
        objectness: float [b, a], logits.
        deltas: float [b, a, 4].
        anchors: float32 [a, 4].
        matched: What they may learn.
        seed: int32 [2], of which of them do.
    """
    places, found = draw(matched.positive, matched.negative, OBJECTS, LEARNED, seed)
    of_object = tf.gather(matched.positive, places, batch_dims=1) & found
    truth = tf.gather(matched.xyxy, places, batch_dims=1)
    own = tf.cast(tf.gather(deltas, places, batch_dims=1), tf.float32)
    logits = tf.cast(tf.gather(objectness, places, batch_dims=1), tf.float32)
    cross = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(of_object, tf.float32), logits)
    off = NUMBERS * smooth_l1(own, deltas_of(tf.gather(anchors, places), truth, PLAIN), BETA)
    number = tf.maximum(tf.reduce_sum(tf.cast(found, tf.float32)), 1.0)
    return {
        "objectness": tf.reduce_sum(tf.where(found, cross, 0.0)) / number,
        "proposals": tf.reduce_sum(tf.where(of_object, off, 0.0)) / number,
    }


def propose(
    objectness: tf.Tensor, deltas: tf.Tensor, anchors: tf.Tensor, size: int, amounts: Sequence[int]
) -> tf.Tensor:
    """The best boxes of all levels together, without duplicates (IoU 0.7), cut off at the border.

    Args:
        objectness: float [b, a], logits.
        deltas: float [b, a, 4].
        anchors: float32 [a, 4].
        size: Side of the square image.
        amounts: Before and after duplicates are dropped.

    Returns:
        float32 [b, amounts[1], 4], the surest first; zeros where there are fewer. No gradient goes through them.
    """
    before, after = amounts
    logits = tf.cast(objectness, tf.float32)
    value, places = tf.math.top_k(logits, min(before, int(logits.shape[1])))
    boxes = boxes_of(tf.gather(deltas, places, batch_dims=1), tf.gather(anchors, places), PLAIN)
    boxes = tf.clip_by_value(boxes, 0.0, float(size))
    scores = tf.where(real_boxes(boxes), tf.sigmoid(value), -1.0)  # nothing may be left of one outside
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None],
        scores[..., None],
        max_output_size_per_class=after,
        max_total_size=after,
        iou_threshold=OVERLAP,
        score_threshold=0.0,
        clip_boxes=False,
    )
    return tf.stop_gradient(tf.reshape(found.nmsed_boxes, [-1, after, NUMBERS]))
