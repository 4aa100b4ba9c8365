"""Box head of Fast and Faster R-CNN: two layers on what is pooled, then classes with a background, and boxes by class.

Source: Girshick 2015 (Fast R-CNN, sections 2.1 and 2.3).
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.data.boxes.affine import real_boxes
from tlkit.tasks.detection.deltas import boxes_of, deltas_of
from tlkit.tasks.detection.losses import smooth_l1
from tlkit.tasks.detection.rcnn.sampling import Sampled

NUMBERS = 4  # of a box


@keras.saving.register_keras_serializable("tlkit")
class BoxHead(layers.Layer):
    """Pooled regions [b, r, side, side, c] -> logits [b, r, k + 1], the background last, and deltas [b, r, k, 4].

    Args:
        classes: k.
        width: Of the two hidden layers.
    """

    def __init__(self, classes: int, width: int, **options) -> None:
        super().__init__(**options)
        self.classes, self.width = classes, width
        policy = self.dtype_policy
        self.hidden = [
            layers.Dense(width, "relu", kernel_initializer="he_normal", name=f"hidden_{i}", dtype=policy)
            for i in range(2)
        ]
        # section 2.3, "SGD hyper-parameters": deviations 0.01 and 0.001
        start = [keras.initializers.RandomNormal(stddev=value) for value in (0.01, 0.001)]
        self.scores = layers.Dense(classes + 1, kernel_initializer=start[0], name="scores", dtype=policy)
        self.boxes = layers.Dense(NUMBERS * classes, kernel_initializer=start[1], name="boxes", dtype=policy)

    def build(self, input_shape: tuple) -> None:
        """Make the weights for regions [b, r, side, side, c]."""
        numbers = int(np.prod(input_shape[2:]))
        for layer in self.hidden:
            layer.build((None, numbers))
            numbers = self.width
        for layer in (self.scores, self.boxes):
            layer.build((None, numbers))

    def call(self, pooled):
        """Logits and deltas of each region."""
        shape = tf.shape(pooled)
        x = tf.reshape(pooled, [-1, int(np.prod(pooled.shape[2:]))])
        for layer in self.hidden:
            x = layer(x)
        logits = tf.reshape(self.scores(x), [shape[0], shape[1], self.classes + 1])
        return logits, tf.reshape(self.boxes(x), [shape[0], shape[1], self.classes, NUMBERS])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shapes of logits and deltas."""
        first = tuple(input_shape[:2])
        return (*first, self.classes + 1), (*first, self.classes, NUMBERS)

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """See `Detector.class_columns`: a column of scores and four of boxes a class; the background's is no class's."""
        one = np.arange(self.classes)[None]
        four = one * NUMBERS + np.arange(NUMBERS)[:, None]
        scores, boxes = self.scores.weights, self.boxes.weights
        return [*((v, one) for v in scores), *((v, four) for v in boxes)]

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "classes": self.classes, "width": self.width}


def region_losses(logits: tf.Tensor, deltas: tf.Tensor, sampled: Sampled) -> dict[str, tf.Tensor]:
    """Scalars "class" and "box", over the regions that are learned (Girshick 2015, equations 1 to 3).

    Args:
        logits: float [b, n, k + 1], the background last.
        deltas: float [b, n, k, 4]; only those of the true class are learned.
        sampled: What they are of.
    """
    logits, deltas = tf.cast(logits, tf.float32), tf.cast(deltas, tf.float32)
    is_object = tf.cast(sampled.labels >= 0, tf.float32)
    kinds = tf.where(sampled.labels >= 0, sampled.labels, logits.shape[-1] - 1)
    cross = tf.nn.sparse_softmax_cross_entropy_with_logits(kinds, logits)
    own = tf.gather(deltas, tf.maximum(sampled.labels, 0), batch_dims=2)
    off = NUMBERS * smooth_l1(own, deltas_of(sampled.boxes, sampled.xyxy))  # a sum over the four
    number = tf.maximum(tf.reduce_sum(sampled.counted), 1.0)
    return {
        "class": tf.reduce_sum(cross * sampled.counted) / number,
        "box": tf.reduce_sum(tf.where(is_object > 0, off, 0.0)) / number,
    }


def detected_regions(
    logits: tf.Tensor, deltas: tf.Tensor, proposals: tf.Tensor, size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """What each proposal is as each class.

    Args:
        logits: float [b, p, k + 1].
        deltas: float [b, p, k, 4].
        proposals: float32 [b, p, 4]; one without an area is nothing.
        size: Side of the square, which cuts boxes off; what is left without an area is nothing.

    Returns:
        Boxes float32 [b, p x k, 4] and scores float32 [b, p x k, k], of which each box has that of its own class alone.
    """
    scores = tf.nn.softmax(tf.cast(logits, tf.float32))[..., :-1]
    boxes = tf.clip_by_value(boxes_of(deltas, proposals[:, :, None]), 0.0, float(size))
    real = real_boxes(proposals)[..., None] & real_boxes(boxes)
    scores = tf.linalg.diag(tf.where(real, scores, 0.0))
    batch, each, classes = tf.shape(boxes)[0], boxes.shape[1], boxes.shape[2]
    each = tf.shape(boxes)[1] if each is None else each
    return tf.reshape(boxes, [batch, each * classes, NUMBERS]), tf.reshape(
        scores, [batch, each * classes, classes]
    )
