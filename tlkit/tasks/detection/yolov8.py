"""YOLOv8 on KerasCV's graph, with the losses and the start of its published training.

KerasCV leaves out the distribution loss and the prior of few objects, ranks boxes by an even power of a number that
may be negative, and squares a constant in the complete IoU; so targets and losses are ours.

Source: Jocher 2023 (github.com/ultralytics/ultralytics: settings and numbers only, no code).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras_cv import models as keras_cv_models

from tlkit.backbones.pyramids import build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.tasks.detection.assignment import Targets, by_alignment
from tlkit.tasks.detection.base import Detector, counted
from tlkit.tasks.detection.losses import complete_iou, distribution

BINS = 16  # of a distance from the middle to a side, in strides
LIMITS = (64, 128, 256)  # channels that reach the head from a backbone of the table
WEIGHTS = {"box": 7.5, "class": 0.5, "distribution": 1.5}


@keras.saving.register_keras_serializable("tlkit")
class YoloDetector(Detector, keras_cv_models.YOLOV8Detector):
    """YOLOv8 (Jocher 2023): places without anchors, task-aligned assignment. Made by `build_detector`."""

    kind = "yolov8"
    backbone: keras.Model

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        super().__init__(
            backbone=pyramid,
            num_classes=len(settings["class_names"]),
            bounding_box_format="xyxy",
            fpn_depth=settings["depth"],
            name="yolov8",
        )
        self._begin(settings)
        self._start_head()
        self.centres, self.strides = _places(self.size)

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[YoloDetector, WeightsOrigin]:
        """Build from settings."""
        limits = None if settings["backbone"].startswith("yolov8") else LIMITS
        pyramid, origin = build_pyramid(settings["backbone"], settings["size"], weights, limits=limits)
        return cls(pyramid, settings), origin

    @classmethod
    def own_settings(cls, size: int, depth: int = 1) -> dict[str, Any]:  # noqa: ARG003
        """How deep the blocks of the pyramid are: 1 bottleneck for xs and s, 2 for m, 3 for l."""
        return {"depth": depth}

    def _start_head(self) -> None:
        """Let the heads give logits, and start from a prior of few objects, which KerasCV leaves out.

        The prior is 5 objects in an image of 640 pixels, shared by the classes (Jocher 2023).
        """
        for number, stride in enumerate((8, 16, 32), 1):
            self.get_layer(f"yolo_v8_head_{number}_classifier").activation = keras.activations.linear
            last = self.get_layer(f"yolo_v8_head_{number}_class_3_conv")
            prior = np.log(5 / len(self.class_names) / (640 / stride) ** 2)
            last.bias.assign(np.full(last.bias.shape, prior, np.float32))

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, a, 4] and scores float32 [b, a, k], 0..1."""
        return self._boxes(_bins(raw)), tf.sigmoid(tf.cast(raw["classes"], tf.float32))

    def _boxes(self, bins: tf.Tensor) -> tf.Tensor:
        """Boxes float32 [b, a, 4] of logits [b, a, 4, 16]: expected distances of the four sides."""
        distances = tf.linalg.matvec(tf.nn.softmax(bins), tf.range(BINS, dtype=tf.float32))
        signed = distances * tf.constant(self.strides)[:, None] * tf.constant([-1.0, -1.0, 1.0, 1.0])
        return tf.tile(tf.constant(self.centres), [1, 2]) + signed

    def loss_parts(self, raw: dict, xyxy: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scalars by name: cross-entropy of the classes, complete IoU and distributions of the boxes.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        bins, logits = _bins(raw), tf.cast(raw["classes"], tf.float32)
        predicted, centres = self._boxes(bins), tf.constant(self.centres)
        likely, placed = tf.stop_gradient(tf.sigmoid(logits)), tf.stop_gradient(predicted)
        targets = Targets(*map(tf.stop_gradient, by_alignment(likely, placed, centres, xyxy, labels)))
        objects = tf.maximum(tf.reduce_sum(targets.score), 1.0)
        truth = tf.one_hot(targets.labels, logits.shape[-1]) * targets.score[..., None]
        classes = tf.nn.sigmoid_cross_entropy_with_logits(truth, logits) * counted(targets)
        box = tf.where(targets.score[..., None] > 0, targets.xyxy, tf.stop_gradient(predicted))
        sides = tf.stack([-1.0, -1.0, 1.0, 1.0]) * (box - tf.tile(centres, [1, 2]))
        sides /= tf.constant(self.strides)[:, None]
        losses = {
            "class": tf.reduce_sum(classes),
            "box": tf.reduce_sum((1 - complete_iou(predicted, box)) * targets.score),
            "distribution": tf.reduce_sum(tf.reduce_mean(distribution(bins, sides), -1) * targets.score),
        }
        return {name: WEIGHTS[name] * value / objects for name, value in losses.items()}

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the three heads' kernels and biases: a column a class."""
        heads = (self.get_layer(f"yolo_v8_head_{number}_class_3_conv") for number in (1, 2, 3))
        columns = np.arange(len(self.class_names))[None]
        return [(variable, columns) for head in heads for variable in head.weights]


def _bins(raw: dict[str, tf.Tensor]) -> tf.Tensor:
    """float32 [b, a, 4, 16]: logits of the distances."""
    flat = tf.cast(raw["boxes"], tf.float32)
    return tf.reshape(flat, [-1, flat.shape[1], 4, BINS])


def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """YOLOv8's places: middles float32 [a, 2] (x, y) and strides float32 [a], finest first, row by row."""
    middles, strides = [], []
    for stride in (8, 16, 32):
        line = (np.arange(size // stride) + 0.5) * stride
        y, x = np.meshgrid(line, line, indexing="ij")
        middles.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full(len(middles[-1]), stride))
    return np.concatenate(middles).astype(np.float32), np.concatenate(strides).astype(np.float32)
