"""YOLOv3: three grids with three anchors a cell, independent logistic classes, a pyramid that mixes by concatenation.

Losses are those whose gradients the paper and its released code name: truth less prediction. So the middles' are
cross-entropies, and the sides' half squares. Of each image all places are added up; a batch is the mean of its images.

Source: Redmon 2018 (YOLOv3), sections 2.1 to 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tlkit.backbones.darknet import darknet_convolution
from tlkit.backbones.pyramids import build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.tasks.detection.yolo.anchored import (
    BOX,
    CLASSES,
    OBJECT,
    AnchoredDetector,
    head_name,
    is_darknet,
    prediction,
)
from tlkit.tasks.detection.yolo.grids import answer, background, decode, encode
from tlkit.tasks.detection.yolo.shapes import Shapes

WIDTHS = (
    128,
    256,
    512,
)  # channels of the heads' narrow convolutions at strides 8, 16, 32 (section 2.3, on Darknet-53)
NARROW = (32, 64, 128)  # on any other backbone: for a CPU
IGNORED_FROM = 0.5  # IoU (section 2.1)
PRIOR = 0.01  # the score of every place before training
CROSS = tf.nn.sigmoid_cross_entropy_with_logits


@keras.saving.register_keras_serializable("tlkit")
class Yolov3Detector(AnchoredDetector):
    """YOLOv3 (Redmon 2018): nine anchors on three grids. Made by `build_detector`."""

    kind = "yolov3"
    strides = (8, 16, 32)
    usual = (
        *((10, 13), (16, 30), (33, 23)),
        *((30, 61), (62, 45), (59, 119)),
        *((116, 90), (156, 198), (373, 326)),
    )

    @classmethod
    def own_settings(
        cls, size: int, anchors: Shapes | None = None, widths: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Anchors, and how wide the heads are.

        Args:
            size: Side of the square input, pixels.
            anchors: Nine widths and heights in its pixels; the paper's if None.
            widths: Channels at strides 8, 16, 32; None: 128, 256, 512 on darknet-53 and a quarter on others.
        """
        return {"anchors": cls.smallest(size, anchors), "widths": widths}

    @classmethod
    def pyramid(cls, settings: dict[str, Any], weights: str) -> tuple[keras.Model, WeightsOrigin]:
        """The backbone's maps."""
        return build_pyramid(settings["backbone"], settings["size"], weights)

    @classmethod
    def heads(cls, maps: dict[int, Any], settings: dict[str, Any], outputs: int) -> dict[str, Any]:
        """From coarse to fine: five convolutions, from which one branch predicts and one goes on, twice as large."""
        usual = WIDTHS if settings["backbone"] == "darknet-53" else NARROW
        widths = dict(zip(cls.strides, settings["widths"] or usual, strict=True))
        convolved = partial(darknet_convolution, exact=is_darknet(settings["backbone"]))
        found, x = {}, None
        for stride in reversed(cls.strides):
            width, name = widths[stride], head_name(stride)
            if x is None:
                x = maps[stride]
            else:
                x = convolved(x, width, 1, f"{name}_lateral")
                x = layers.UpSampling2D(2, name=f"{name}_double")(x)
                x = layers.Concatenate(name=f"{name}_mixed")([x, maps[stride]])
            for number in range(5):
                x = convolved(x, width * (1 + number % 2), 1 + 2 * (number % 2), f"{name}_{number}")
            branch = convolved(x, 2 * width, 3, f"{name}_5")
            found[name] = prediction(branch, stride, outputs, len(settings["anchors"]) // 3, PRIOR)
        return {head_name(stride): found[head_name(stride)] for stride in cls.strides}

    @classmethod
    def names(cls, settings: dict[str, Any]) -> list[str]:  # noqa: ARG003
        """Of the convolutions in the order of yolov3.cfg: from coarse to fine."""
        found = []
        for stride in reversed(cls.strides):
            name = head_name(stride)
            first = [] if stride == cls.strides[-1] else [f"{name}_lateral"]
            found += [*first, *(f"{name}_{number}" for number in range(6)), name]
        return found

    def likely(self, logits: tf.Tensor) -> tf.Tensor:
        """Each class by itself: an object may be of several (section 2.2)."""
        return tf.sigmoid(logits)

    def loss_parts(
        self, raw: dict[str, tf.Tensor], xyxy: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Scalars by name: classes, boxes and objectness, each added up over an image; means over the images.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        grids, flat = self.grids(raw), self.flat(raw)
        places, answers = grids.places(), answer(xyxy, labels, grids)
        own, taught = tf.gather(flat, answers.place, batch_dims=1), answers.taught
        middle, growth = encode(xyxy, places.at(answers.place))
        sides = tf.maximum(xyxy[..., 2:] - xyxy[..., :2], 0.0) / tf.cast(grids.size, tf.float32)
        weight = taught * (
            2 - tf.reduce_prod(sides, -1)
        )  # small boxes count up to twice, as in the released code
        off = tf.reduce_sum(CROSS(middle, own[..., :2]) + tf.square(growth - own[..., 2:4]) / 2, -1)
        empty = background(decode(flat[..., BOX], places), xyxy, labels, answers, IGNORED_FROM)
        logits = flat[..., OBJECT]
        kinds = CROSS(tf.one_hot(labels, len(self.class_names)), own[..., CLASSES])
        there = own[..., OBJECT]
        images = tf.maximum(tf.cast(tf.shape(labels)[0], tf.float32), 1.0)
        sums = {
            "class": tf.reduce_sum(taught * tf.reduce_sum(kinds, -1)),
            "box": tf.reduce_sum(weight * off),
            "object": tf.reduce_sum(taught * CROSS(tf.ones_like(there), there)),
            "no_object": tf.reduce_sum(empty * CROSS(tf.zeros_like(logits), logits)),
        }
        return {name: value / images for name, value in sums.items()}
