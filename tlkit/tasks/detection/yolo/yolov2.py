"""YOLOv2: one grid of stride 32 with five anchors a cell, classes by softmax, a passthrough, training at many sizes.

Every term is half a square, or a cross-entropy, whose gradient is truth less prediction, as in the released code; its
first 12,800 images, which teach boxes to be their anchors, are not there: here boxes start as their anchors. Of each
image all places are added up; a batch is the mean of its images.

Source: Redmon 2017 (YOLO9000), sections 2 and 3; loss weights: region layer of yolov2-voc.cfg.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tlkit.backbones.darknet import Reorg, darknet_convolution
from tlkit.backbones.pyramids import LEAST, build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.seeds import fold
from tlkit.data.boxes.augment_settings import COARSEST
from tlkit.tasks.detection.assignment import pairwise_iou
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
from tlkit.tasks.detection.yolo.shapes import PAPER_SIZE, Shapes

WIDTH, NARROW = (
    1024,
    256,
)  # channels of the head on Darknet-19 (section 3), and on any other backbone: for a CPU
PASSED = 64  # channels that a 1x1 convolution leaves of the passthrough (yolov2-voc.cfg); 0 in the paper: all
SIDES = (
    320,
    608,
)  # pixels: training sizes by steps of 32, of a network for 416 (section 2, "multi-scale training")
EVERY = 10  # steps that learn at one of them
IGNORED_FROM = 0.6  # IoU
WEIGHTS = {"class": 1.0, "box": 1.0, "object": 5.0, "no_object": 1.0}
PRIOR = 0.1  # the confidence of every place before training: squares of a smaller one have hardly a slope


@keras.saving.register_keras_serializable("tlkit")
class Yolov2Detector(AnchoredDetector):
    """YOLOv2 (Redmon 2017): five anchors on one grid. Made by `build_detector`."""

    kind = "yolov2"
    strides = (COARSEST,)
    usual = ((42.31, 55.41), (102.17, 128.3), (161.79, 259.17), (303.08, 154.9), (359.56, 320.23))

    @classmethod
    def own_settings(
        cls,
        size: int,
        anchors: Shapes | None = None,
        width: int | None = None,
        passed: int = PASSED,
        one_size: bool = False,
    ) -> dict[str, Any]:
        """Anchors, how wide the head is, and whether it learns at several sizes.

        Args:
            size: Side of the square input, pixels.
            anchors: Five widths and heights in its pixels; the paper's if None.
            width: Channels of the head; None: 1,024 on darknet-19 and 256 on others.
            passed: Channels that go through the passthrough; 0: all, as in the paper.
            one_size: Learn at `size` alone.
        """
        own = {"width": width, "passed": passed, "one_size": one_size}
        return {"anchors": cls.smallest(size, anchors), **own}

    @classmethod
    def pyramid(cls, settings: dict[str, Any], weights: str) -> tuple[keras.Model, WeightsOrigin]:
        """The backbone's maps; where the head is narrow, the last one is too."""
        size, width = settings["size"], _width(settings)
        limits: Any = None if width == WIDTH else (None, None, width)
        return build_pyramid(settings["backbone"], size, weights, limits=limits)

    @classmethod
    def heads(cls, maps: dict[int, Any], settings: dict[str, Any], outputs: int) -> dict[str, Any]:
        """Two convolutions, beside them the finer map taken apart (section 2, "fine-grained features"), one on both."""
        (name,), width, fine, x = map(head_name, cls.strides), _width(settings), maps[16], maps[32]
        convolved = partial(darknet_convolution, exact=is_darknet(settings["backbone"]))
        for number in range(2):
            x = convolved(x, width, 3, f"{name}_{number}")
        if settings["passed"]:
            fine = convolved(fine, settings["passed"], 1, "passthrough")
        x = layers.Concatenate(name="mixed")([Reorg(name="reorg")(fine), x])
        x = convolved(x, width, 3, f"{name}_2")
        return {name: prediction(x, cls.strides[0], outputs, len(settings["anchors"]), PRIOR)}

    @classmethod
    def names(cls, settings: dict[str, Any]) -> list[str]:
        """Of the convolutions in the order of yolov2-voc.cfg."""
        name = head_name(cls.strides[0])
        return [f"{name}_0", f"{name}_1", *(["passthrough"] if settings["passed"] else []), f"{name}_2", name]

    def _begin(self, settings: dict[str, Any]) -> None:
        """Let the network take images of any side, whatever it was built for."""
        super()._begin(settings)
        for layer in self._flatten_layers():
            if isinstance(layer, keras.Model):
                layer.input_spec = None
        # steps are timed at `size`; those of all sizes cost by their areas
        self.step_cost = sum((side / self.size) ** 2 for side in self.sides) / len(self.sides)

    def likely(self, logits: tf.Tensor) -> tf.Tensor:
        """One class of all."""
        return tf.nn.softmax(logits)

    # --- training ---

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of images that are learned, pixels: 320 to 608 for 416, and in proportion for others."""
        if self.settings["one_size"]:
            return (self.size,)
        least, most = (round(self.size * side / PAPER_SIZE / COARSEST) * COARSEST for side in SIDES)
        return tuple(range(max(LEAST, least), most + 1, COARSEST))

    def learned(self, x: tf.Tensor, y: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The batch in the size of this step, which follows from (seed, step) and changes every ten steps."""
        if len(self.sides) == 1:
            return x, y
        turn = tf.cast(self.optimizer.iterations, tf.int32) // EVERY
        seed = fold(tf.constant(self.seed, tf.int32), -3, turn)  # -1 and -2 are of the order and of dropout
        chosen = tf.random.stateless_uniform([], seed, 0, len(self.sides), tf.int32)
        side = tf.gather(tf.constant(self.sides), chosen)
        factor = tf.cast(side, tf.float32) / tf.cast(tf.shape(x)[1], tf.float32)
        return tf.image.resize(x, tf.stack([side, side])), {**y, "boxes": y["boxes"] * factor}

    def loss_parts(
        self, raw: dict[str, tf.Tensor], xyxy: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Scalars by name: classes, boxes and confidences, each added up over an image; means over the images.

        A place that answers for an object should be as sure as its box fits (IoU), one of the background not at all.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        grids, flat = self.grids(raw), self.flat(raw)
        places, answers = grids.places(), answer(xyxy, labels, grids)
        own, taught = tf.gather(flat, answers.place, batch_dims=1), answers.taught
        its_places = places.at(answers.place)
        middle, growth = encode(xyxy, its_places)
        off = tf.concat([middle - tf.sigmoid(own[..., :2]), growth - own[..., 2:4]], -1)
        fit = tf.linalg.diag_part(pairwise_iou(decode(own[..., BOX], its_places), xyxy))
        fit = tf.stop_gradient(fit)
        empty = background(decode(flat[..., BOX], places), xyxy, labels, answers, IGNORED_FROM)
        kinds = tf.nn.softmax_cross_entropy_with_logits(
            tf.one_hot(tf.maximum(labels, 0), len(self.class_names)), own[..., CLASSES]
        )
        images = tf.maximum(tf.cast(tf.shape(labels)[0], tf.float32), 1.0)
        sums = {
            "class": tf.reduce_sum(taught * kinds),
            "box": tf.reduce_sum(taught * tf.reduce_sum(tf.square(off), -1)) / 2,
            "object": tf.reduce_sum(taught * tf.square(fit - tf.sigmoid(own[..., OBJECT]))) / 2,
            "no_object": tf.reduce_sum(empty * tf.square(tf.sigmoid(flat[..., OBJECT]))) / 2,
        }
        return {name: WEIGHTS[name] * value / images for name, value in sums.items()}


def _width(settings: dict[str, Any]) -> int:
    """Channels of the head."""
    return settings["width"] or (WIDTH if settings["backbone"] == "darknet-19" else NARROW)
