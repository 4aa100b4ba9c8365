"""Mask head of Mask R-CNN: a small convolutional network on what is pooled from a region, and a mask for each class.

    pooled [n, 14, 14, c] -> four 3x3 convolutions -> a transposed one, 28 x 28 -> logits [n, 28, 28, k]

Classes do not compete: the box head says which class a region is, and only the mask of that class counts.

Source: He 2017 (Mask R-CNN, section 3, and figure 4 on the right).
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.data.boxes.masks.moving import cut_by_regions
from tlkit.tasks.detection.rcnn.sampling import Sampled

POOLED = 14  # cells a side of what is pooled (figure 4)
SIDE = 2 * POOLED  # of a mask: m = 28
CONVOLUTIONS = 4
HALF = 0.5  # of a cell on the mask: then it is part of it; and the probability from which a pixel is


@keras.saving.register_keras_serializable("tlkit")
class MaskHead(layers.Layer):
    """Pooled regions [b, r, 14, 14, c] -> logits [b, r, 28, 28, k], a mask a class.

    Args:
        classes: k.
        width: Channels of its convolutions; the paper's are 256.
    """

    def __init__(self, classes: int, width: int, **options) -> None:
        super().__init__(**options)
        self.classes, self.width = classes, width
        how = {"kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.convolutions = [
            layers.Conv2D(width, 3, padding="same", activation="relu", name=f"convolution_{i}", **how)
            for i in range(CONVOLUTIONS)
        ]
        self.larger = layers.Conv2DTranspose(width, 2, strides=2, activation="relu", name="larger", **how)
        start = keras.initializers.RandomNormal(stddev=0.001)  # so that all begins at 0.5
        self.masks = layers.Conv2D(
            classes, 1, kernel_initializer=start, name="masks", dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple) -> None:
        """Make the weights for regions [b, r, side, side, c]."""
        channels = input_shape[-1]
        for layer in (*self.convolutions, self.larger, self.masks):
            layer.build((None, None, None, channels))
            channels = self.width

    def call(self, pooled):
        """Logits of each region."""
        shape = tf.shape(pooled)
        x = tf.reshape(pooled, [-1, *pooled.shape[2:]])
        for layer in (*self.convolutions, self.larger, self.masks):
            x = layer(x)
        return tf.reshape(x, [shape[0], shape[1], *x.shape[1:]])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shape of the logits."""
        return (*input_shape[:2], 2 * input_shape[2], 2 * input_shape[3], self.classes)

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """See `Detector.class_columns`: a column of the last kernel and bias a class."""
        return [(variable, np.arange(self.classes)[None]) for variable in self.masks.weights]

    def get_config(self) -> dict:
        """What is needed to make the layer again."""
        return {**super().get_config(), "classes": self.classes, "width": self.width}


def mask_loss(logits: tf.Tensor, sampled: Sampled, grids: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Scalar: the mean binary cross-entropy over the cells of the true class's mask, of regions of objects (section 3).

    A region of an object without a mask is passed over; without any region there is nothing to learn, and it is 0.

    Args:
        logits: float [b, n, 28, 28, k].
        sampled: What they are of.
        grids: uint8 [b, m, g, g] of the objects.
        maps: float32 [b, m, 2, 3], of the grids into pixels; 0 for an object without a mask.
    """
    labels = tf.maximum(sampled.labels, 0)
    known = tf.gather(tf.reduce_any(maps != 0, [2, 3]), sampled.objects, batch_dims=1)
    counted = tf.cast(known & (sampled.labels >= 0), tf.float32)
    own = tf.gather(tf.transpose(tf.cast(logits, tf.float32), [0, 1, 4, 2, 3]), labels, batch_dims=2)
    # the target is the intersection of the region and its object's mask
    share = cut_by_regions(grids, maps, sampled.boxes, sampled.objects, SIDE)
    target = tf.cast(share >= HALF, tf.float32)
    cross = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, own), [2, 3])
    return tf.reduce_sum(tf.where(counted > 0, cross, 0.0)) / tf.maximum(tf.reduce_sum(counted), 1.0)


def of_classes(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Probabilities float32 [b, n, 28, 28] of the class of each of logits [b, n, 28, 28, k]; labels int32 [b, n]."""
    logits = tf.transpose(tf.cast(logits, tf.float32), [0, 1, 4, 2, 3])
    return tf.sigmoid(tf.gather(logits, tf.maximum(labels, 0), batch_dims=2))
