"""RetinaNet on KerasCV's graph, with a pyramid and heads of a chosen width and losses that empty images have too.

Source: Lin 2017 (Focal loss for dense object detection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras_cv import models as keras_cv_models

from tlkit.backbones.pyramids import build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.anchors import Anchors, chosen_anchors, with_levels
from tlkit.tasks.detection.assignment import by_overlap
from tlkit.tasks.detection.base import Design, Detector, counted
from tlkit.tasks.detection.deltas import boxes_of, deltas_of
from tlkit.tasks.detection.losses import focal, smooth_l1
from tlkit.tasks.detection.retinanet_layers import PRIOR, FeaturePyramid, Tower


@keras.saving.register_keras_serializable("tlkit")
class RetinaNetDetector(Detector, keras_cv_models.RetinaNet):
    """RetinaNet (Lin 2017): anchors at five strides, focal loss. Made by `build_detector`."""

    kind = "retinanet"
    backbone: keras.Model

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

    @classmethod
    def own_settings(
        cls, size: int, anchors: Anchors | None = None, width: int = 96, depth: int = 3
    ) -> dict[str, Any]:
        """Anchors, and how large pyramid and heads are.

        Args:
            size: Side of the square input, pixels.
            anchors: Where it starts from; strides larger than the image are left out.
            width: Channels of the pyramid and the heads; 256 in the paper, which on a CPU takes four times as long.
            depth: Convolutions in a head before its prediction; 4 in the paper, 3 in KerasCV.
        """
        return {"anchors": asdict(with_levels(anchors or Anchors(), size)), "width": width, "depth": depth}

    @classmethod
    def design(
        cls, training: Boxes, size: int, started: Mapping[str, Any] | None, propose: bool | None = False
    ) -> Design:
        """Anchors: those of the detector that this one starts from, the usual ones, or such as fit the boxes.

        Args:
            training: Images that are learned.
            size: Side of the square input, pixels.
            started: See `Detector.design`.
            propose: Take anchors that fit the training boxes; None: where none are taken over.

        Raises:
            UsageFault: Other anchors are asked for than the detector has that this one starts from.
        """
        anchors, covered = chosen_anchors(training, size, started, propose, Anchors())
        facts = {"anchors": asdict(anchors), "coverage": covered.summary()}
        return Design({"anchors": anchors}, facts, tuple(covered.sentences()))

    def call(self, inputs, training=None, mask=None):
        """Pixels [b, s, s, 3] -> raw; KerasCV wants them under a name."""
        named = inputs if isinstance(inputs, dict) else {"images": inputs}
        return super().call(named, training=training, mask=mask)

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, a, 4] and scores float32 [b, a, k], 0..1."""
        xyxy = boxes_of(raw["box"], tf.constant(self.anchor_boxes))
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

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the prediction's kernel and bias: anchors times classes."""
        columns = np.arange(self.anchors.each * len(self.class_names)).reshape(self.anchors.each, -1)
        return [(variable, columns) for variable in self.classification_head.prediction.weights]


class _NoEncoder:
    """What KerasCV's RetinaNet asks a label encoder for; ours is `by_overlap`."""

    anchor_generator = None
