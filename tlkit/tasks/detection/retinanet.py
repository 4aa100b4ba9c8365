"""RetinaNet on KerasCV's graph, with a pyramid and heads of a chosen width and losses that empty images have too.

Source: Lin 2017 (Focal loss for dense object detection).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras_cv import models as keras_cv_models

from tlkit.backbones.pyramids import build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.assignment import by_overlap
from tlkit.tasks.detection.base import Detector, counted
from tlkit.tasks.detection.losses import focal, smooth_l1
from tlkit.tasks.detection.retinanet_layers import PRIOR, FeaturePyramid, Tower

VARIANCE = (0.1, 0.1, 0.2, 0.2)  # of middle and log side, so that deltas are about 1 (Liu 2016, SSD)
LARGEST_DELTA = 4.0  # of log side: a box is at most e^4 times its anchor, so that exp() stays finite


@keras.saving.register_keras_serializable("tlkit")
class RetinaNetDetector(Detector, keras_cv_models.RetinaNet):
    """RetinaNet (Lin 2017): anchors at five strides, focal loss. Made by `build_retinanet`."""

    kind = "retinanet"

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        anchors = Anchors.of(settings["anchors"])
        classes, width, depth = len(settings["class_names"]), settings["width"], settings["depth"]
        super().__init__(
            backbone=pyramid,
            num_classes=classes,
            bounding_box_format="xyxy",
            label_encoder=_NoEncoder(),
            feature_pyramid=FeaturePyramid(width, anchors.levels, name="feature_pyramid"),
            classification_head=Tower(anchors.each * classes, width, depth, PRIOR, name="class_head"),
            box_head=Tower(anchors.each * 4, width, depth, name="box_head"),
            name="retinanet",
        )
        self._begin(settings)
        self.anchors = anchors
        self.anchor_boxes = anchors.boxes(self.size)

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[RetinaNetDetector, WeightsOrigin]:
        """Build from settings."""
        pyramid, origin = build_pyramid(settings["backbone"], settings["size"], weights)
        return cls(pyramid, settings), origin

    def call(self, inputs, training=None, mask=None):
        """Pixels [b, s, s, 3] -> raw; KerasCV wants them under a name."""
        named = inputs if isinstance(inputs, dict) else {"images": inputs}
        return super().call(named, training=training, mask=mask)

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, a, 4] and scores float32 [b, a, k], 0..1."""
        deltas = tf.cast(raw["box"], tf.float32) * tf.constant(VARIANCE)
        middle, sides = _middle_and_sides(tf.constant(self.anchor_boxes))
        middle = middle + deltas[..., :2] * sides
        half = tf.exp(tf.clip_by_value(deltas[..., 2:], -LARGEST_DELTA, LARGEST_DELTA)) * sides / 2
        xyxy = tf.concat([middle - half, middle + half], -1)
        return xyxy, tf.sigmoid(tf.cast(raw["classification"], tf.float32))

    def loss_parts(self, raw: dict, xyxy: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scalars by name: focal loss of the classes, smooth L1 loss of the boxes, per object.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        anchors = tf.constant(self.anchor_boxes)
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        targets = by_overlap(anchors, xyxy, labels)
        logits = tf.cast(raw["classification"], tf.float32)
        objects = tf.maximum(tf.reduce_sum(targets.score), 1.0)  # KerasCV divides by 0 and gives 0
        classes = focal(logits, tf.one_hot(targets.labels, logits.shape[-1])) * counted(targets)
        boxes = smooth_l1(tf.cast(raw["box"], tf.float32), deltas_of(anchors, targets.xyxy)) * targets.score
        return {"class": tf.reduce_sum(classes) / objects, "box": tf.reduce_sum(boxes) / objects}


class _NoEncoder:
    """What KerasCV's RetinaNet asks a label encoder for; ours is `by_overlap`."""

    anchor_generator = None


def _middle_and_sides(xyxy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return (xyxy[..., :2] + xyxy[..., 2:]) / 2, xyxy[..., 2:] - xyxy[..., :2]


def deltas_of(anchors: tf.Tensor, xyxy: tf.Tensor) -> tf.Tensor:
    """What a box [..., 4] is to its anchor: shift of the middle and log of the sides, over the variances."""
    (middle, sides), (wanted, extent) = _middle_and_sides(anchors), _middle_and_sides(xyxy)
    shift = (wanted - middle) / sides
    growth = tf.math.log(tf.maximum(extent, 1e-3) / sides)
    return tf.concat([shift, growth], -1) / tf.constant(VARIANCE)
