"""R-CNN as a detector: proposals warped to crops, features of each, a linear machine and a regression a class.

    pixels, proposals -> crops -> features -> machines, regressions -> raw -> decode -> boxes, scores

All of it is one graph, and its weights are those of one Keras model; proposals come from outside (Selective Search,
boxes/proposals.py). Machines and regressions are not learned by steps but solved, see `rcnn_learning`.

Source: Girshick 2014 (Rich feature hierarchies for accurate object detection).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.feature_model import build_features
from tlkit.backbones.table import BACKBONES, WeightsOrigin
from tlkit.data.boxes.affine import real_boxes
from tlkit.tasks.detection.base import Detector
from tlkit.tasks.detection.deltas import boxes_of
from tlkit.tasks.detection.rcnn.rcnn_boxes import PLAIN
from tlkit.tasks.detection.rcnn.rcnn_machines import UNKNOWN
from tlkit.tasks.detection.rcnn.rcnn_warp import answers_of_crops, fill_of

SLOPE = 2.0  # a score is the logistic function of so many times the machine's: 0.5 on its boundary, 0.88 on its margin


@keras.saving.register_keras_serializable("tlkit")
class RcnnDetector(Detector, keras.Model):
    """R-CNN (Girshick 2014). Made by `build_rcnn`.

    Attributes:
        proposals: How many an image it takes; further ones are left out.
        machines: Features -> a score a class.
        regression: Features -> shift and growth a class.
    """

    kind = "rcnn"
    any_size = False
    proposals: ClassVar[int] = 300
    backbone: keras.Model

    def __init__(self, features: keras.Model, settings: dict[str, Any]) -> None:
        super().__init__(name=self.kind)
        classes, width = len(settings["class_names"]), int(features.output_shape[-1])
        self.backbone = features
        self.machines = keras.layers.Dense(classes, dtype="float32", name="machines")
        self.regression = keras.layers.Dense(4 * classes, dtype="float32", name="regression")
        for layer in (self.machines, self.regression):
            layer.build((None, width))
        self.side = int(settings["side"])
        self.fill = fill_of(BACKBONES[settings["backbone"]].preprocessing)
        self._begin(settings)
        self.built = True

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[RcnnDetector, WeightsOrigin]:
        """Build from settings."""
        images, features, origin = build_features(settings["backbone"], settings["side"], weights)
        return cls(keras.Model(images, features, name="features_of_crops"), settings), origin

    @classmethod
    def own_settings(cls, _size: int, side: int = 96) -> dict[str, Any]:
        """(side of the square, unused) and side of a crop, pixels; the paper's is 227."""
        return {"side": int(side)}

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Images with proposals -> raw.

        Args:
            inputs: "images": uint8 [b, s, s, 3]; "proposals": float32 [b, p, 4], pixels of the square, -1 where there
                is none.
            training: Nothing in it is.

        Returns:
            "proposals": float32 [b, 300, 4]; "machines": float32 [b, 300, k]; "deltas": float32 [b, 300, 4 k].
        """
        given = tf.cast(inputs["proposals"], tf.float32)[:, : self.proposals]
        missing = self.proposals - tf.shape(given)[1]
        given = tf.pad(given, [[0, 0], [0, missing], [0, 0]], constant_values=-1.0)
        given = tf.ensure_shape(given, [None, self.proposals, 4])
        classes = len(self.class_names)
        images = tf.ensure_shape(inputs["images"], [None, self.size, self.size, 3])
        answers = answers_of_crops(self._answers, 5 * classes, images, given, self.side, self.fill)
        answers = tf.ensure_shape(answers, [None, self.proposals, 5 * classes])
        return {"proposals": given, "machines": answers[..., :classes], "deltas": answers[..., classes:]}

    def _answers(self, crops: tf.Tensor) -> tf.Tensor:
        """uint8 [n, side, side, 3] -> float32 [n, 5 k]."""
        features = self.backbone(crops, training=False)
        return tf.concat([self.machines(features), self.regression(features)], -1)

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """A box for each proposal and class, moved as that class says.

        Returns:
            boxes: float32 [b, 300 k, 4], pixels of the square, cut at its edges. scores: float32 [b, 300 k, k], 0 but
            in the class that the box stands for, and 0 for what is left without an area.
        """
        classes = len(self.class_names)
        deltas = tf.reshape(raw["deltas"], [-1, self.proposals, classes, 4])
        every = boxes_of(deltas, tf.repeat(raw["proposals"][:, :, None], classes, 2), PLAIN)
        boxes = tf.clip_by_value(every, 0.0, float(self.size))
        real = real_boxes(boxes) & real_boxes(raw["proposals"])[:, :, None]
        scores = tf.where(real, tf.sigmoid(SLOPE * raw["machines"]), 0.0)
        own = scores[..., None] * tf.eye(classes)
        places = self.proposals * classes
        return tf.reshape(boxes, [-1, places, 4]), tf.reshape(own, [-1, places, classes])


def build_rcnn(
    class_names: Sequence[str], size: int, backbone: str, weights: str = "imagenet", side: int = 96
) -> tuple[RcnnDetector, WeightsOrigin]:
    """An R-CNN that has not learned: its machines say no to everything.

    Args:
        class_names: [k].
        size: Side of the square into which images are letterboxed, pixels.
        backbone: A name of `BACKBONES`; its pooled features are learned from.
        weights: "imagenet", "none" or a file.
        side: Of a crop, pixels.

    Raises:
        UsageFault, ModelFault: See `build_backbone`.
    """
    settings = {
        "class_names": [str(name) for name in class_names],
        "size": int(size),
        "backbone": backbone,
        **RcnnDetector.own_settings(size, side),
    }
    detector, origin = RcnnDetector.of(settings, weights)
    for layer, bias in ((detector.machines, UNKNOWN), (detector.regression, 0.0)):
        kernel, biases = layer.get_weights()
        layer.set_weights([np.zeros_like(kernel), np.full_like(biases, bias)])
    return detector, origin
