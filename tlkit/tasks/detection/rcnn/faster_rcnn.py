"""Faster R-CNN: a network proposes regions, and a second one on the same maps says what they are; trained jointly.

    pixels -> maps -> (objectness, deltas) of anchors -> proposals -> ROIAlign -> classes, boxes by class

The second stage runs inside `decode` and `loss_parts`: which regions it is asked for follows from the true boxes.

Sources: Ren 2015 (Faster R-CNN); Lin 2017 (Feature pyramid networks, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.pyramids import FINER_LEVEL, LEVELS, build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.seeds import fold
from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.anchors import Anchors, chosen_anchors, with_levels
from tlkit.tasks.detection.base import Design, Detector
from tlkit.tasks.detection.rcnn.box_head import BoxHead, detected_regions, region_losses
from tlkit.tasks.detection.rcnn.roi import SIDE, roi_align, roi_max_pool
from tlkit.tasks.detection.rcnn.rpn import (
    Amounts,
    PaperAnchors,
    ProposalHead,
    PyramidAnchors,
    match_anchors,
    proposal_losses,
    propose,
)
from tlkit.tasks.detection.rcnn.sampling import sample_regions
from tlkit.tasks.detection.retinanet_layers import FeaturePyramid

LOTS = -4  # of the seed of a step: -1 to -3 are of the order, of dropout and of sizes


class Form(NamedTuple):
    """How a Faster R-CNN is made.

    Attributes:
        anchors: The usual ones.
        strides: Of the maps that regions are pooled from.
        width: Channels of the pyramid and of the proposal head.
        hidden: Units of the box head's two layers.
        amounts: Proposals.
    """

    anchors: Anchors
    strides: tuple[int, ...]
    width: int
    hidden: int
    amounts: Amounts


FORMS = {
    # a quarter of Lin 2017's width, for a CPU, and half as many proposals before duplicates are dropped in training
    "pyramid": Form(PyramidAnchors(), (4, 8, 16, 32), 64, 256, Amounts(1000, 500, 2000, 1000)),
    # sections 3.1.1 and 3.3, on VGG16
    "paper": Form(PaperAnchors(), (16,), 512, 4096, Amounts(12_000, 2000, 6000, 300)),
}
REGIONS = 64  # an image: the paper's 128 are of two images (Girshick 2015, section 2.3)


@keras.saving.register_keras_serializable("tlkit")
class FasterRcnnDetector(Detector, keras.Model):
    """Faster R-CNN (Ren 2015), on a pyramid or on one map. Made by `build_detector`."""

    kind = "faster-rcnn"
    no_litert = "dropping duplicates among proposals and for pooling regions"
    backbone: keras.Model

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        super().__init__(name="faster_rcnn")
        form, width = FORMS[settings["form"]], settings["width"]
        self.strides = form.strides
        self.anchors = type(form.anchors).of(settings["anchors"])
        self.amounts = Amounts(*settings["proposals"])
        self.backbone = pyramid
        channels = pyramid.get_layer("P4").output.shape[-1] if len(self.strides) == 1 else width
        self.neck = None
        if len(self.strides) > 1:
            given = (FINER_LEVEL, *LEVELS)
            self.neck = FeaturePyramid(width, self.anchors.levels, given, name="feature_pyramid")
            self.neck.build(dict(zip(given, pyramid.output_shape, strict=True)))
        self.proposal_head = ProposalHead(self.anchors.each, width, name="proposal_head")
        self.proposal_head.build((None, None, None, channels))
        self.box_head = BoxHead(len(settings["class_names"]), settings["hidden"], name="box_head")
        self.box_head.build((None, None, SIDE, SIDE, channels))
        self._begin(settings)
        self.anchor_boxes = self.anchors.boxes(self.size)
        self.built = True

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[FasterRcnnDetector, WeightsOrigin]:
        """Build from settings."""
        finer = len(FORMS[settings["form"]].strides) > 1
        pyramid, origin = build_pyramid(settings["backbone"], settings["size"], weights, finer=finer)
        return cls(pyramid, settings), origin

    @classmethod
    def own_settings(
        cls,
        size: int,
        anchors: Anchors | None = None,
        form: str = "pyramid",
        width: int | None = None,
        hidden: int | None = None,
        regions: int = REGIONS,
        proposals: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Anchors, and how large both stages are.

        Args:
            size: Side of the square input, pixels.
            anchors: Where it starts from; strides larger than the image are left out.
            form: "pyramid" or "paper".
            width: Channels of pyramid and proposal head; None: 64, and 512 in the paper's form.
            hidden: Units of the box head; None: 256, and 4,096 in the paper's form.
            regions: That an image teaches the box head, at most.
            proposals: See `Amounts`; None: 1,000, 500, 2,000, 1,000, and the paper's 12,000, 2,000, 6,000, 300.
        """
        usual = FORMS[form]
        return {
            "anchors": asdict(with_levels(anchors or usual.anchors, size)),
            "form": form,
            "width": width or usual.width,
            "hidden": hidden or usual.hidden,
            "regions": regions,
            "proposals": list(proposals or usual.amounts),
        }

    @classmethod
    def design(
        cls,
        training: Boxes,
        size: int,
        started: Mapping[str, Any] | None,
        propose: bool | None = None,
        form: str = "pyramid",
        **own: Any,
    ) -> Design:
        """Anchors; see `chosen_anchors`.

        Args:
            training: Images that are learned.
            size: Side of the square input, pixels.
            started: See `Detector.design`.
            propose: Take anchors that fit the training boxes; None: where none are taken over.
            form: "pyramid" or "paper".
            own: Of `own_settings`.

        Raises:
            UsageFault: Other anchors are asked for than the detector has that this one starts from.
        """
        anchors, covered = chosen_anchors(training, size, started, propose, FORMS[form].anchors)
        facts = {"anchors": asdict(anchors), "coverage": covered.summary(), "form": form}
        return Design({"anchors": anchors, "form": form, **own}, facts, tuple(covered.sentences()))

    def call(self, inputs, training=None, mask=None):
        """Pixels [b, s, s, 3] -> raw: maps by stride, logits and deltas of anchors, proposals, lots of this step."""
        images = tf.convert_to_tensor(inputs)
        found = self.backbone(images, training=training)
        named = dict(zip(self.backbone.pyramid_level_inputs, found, strict=True))
        every = [named["P4"]] if self.neck is None else self.neck(named)
        answers = [self.proposal_head(x) for x in every]
        objectness, deltas = (tf.concat(values, 1) for values in zip(*answers, strict=True))
        amounts = self.amounts[:2] if training else self.amounts[2:]
        proposals = propose(objectness, deltas, tf.constant(self.anchor_boxes), self.size, amounts)
        lots = self._lots() if training else tf.zeros([2], tf.int32)
        return {
            **{f"map_{stride}": x for stride, x in zip(self.strides, every, strict=False)},
            "objectness": objectness,
            "deltas": deltas,
            "proposals": proposals,
            "lots": tf.tile(lots[None], [tf.shape(images)[0], 1]),
        }

    def _lots(self) -> tf.Tensor:
        """int32 [2]: the seed of what this step draws, which follows from (seed, step)."""
        optimizer = getattr(self, "optimizer", None)
        step = tf.cast(optimizer.iterations, tf.int32) if optimizer else 0
        return fold(tf.constant(self.seed, tf.int32), LOTS, step)

    def _regions(self, raw: dict[str, tf.Tensor], boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The second stage: logits [b, r, k + 1] and deltas [b, r, k, 4] of boxes float32 [b, r, 4]."""
        maps = [raw[f"map_{stride}"] for stride in self.strides]
        if len(maps) > 1:
            return self.box_head(roi_align(maps, boxes, self.strides))
        return self.box_head(roi_max_pool(maps[0], boxes, self.strides[0]))

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, p x k, 4] and scores float32 [b, p x k, k]: each proposal as each class."""
        return detected_regions(*self._regions(raw, raw["proposals"]), raw["proposals"], self.size)

    def loss_parts(
        self, raw: dict[str, tf.Tensor], xyxy: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Scalars by name: classes and boxes of sampled regions, objectness and boxes of sampled anchors.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        anchors, seed = tf.constant(self.anchor_boxes), tf.reduce_max(raw["lots"], 0)
        matched = match_anchors(anchors, xyxy, labels, self.size)
        first = proposal_losses(raw["objectness"], raw["deltas"], anchors, matched, fold(seed, 0))
        sampled = sample_regions(raw["proposals"], xyxy, labels, self.settings["regions"], fold(seed, 1))
        return {**region_losses(*self._regions(raw, sampled.boxes), sampled), **first}

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the box head: a column of scores and four of boxes a class."""
        return self.box_head.class_columns()
