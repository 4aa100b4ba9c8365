"""Faster R-CNN: a network proposes regions, and a second one on the same maps says what they are; trained jointly.

    pixels -> maps -> (objectness, deltas) of anchors -> proposals -> ROIAlign -> classes, boxes by class

The second stage is `RegionDetector`'s, which Fast R-CNN has too.

Sources: Ren 2015 (Faster R-CNN); Lin 2017 (Feature pyramid networks, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tlkit.backbones.pyramids import FINER_LEVEL, LEVELS, build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.seeds import fold
from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.anchors import Anchors, chosen_anchors, with_levels
from tlkit.tasks.detection.base import Design
from tlkit.tasks.detection.rcnn.rcnn_settings import ALIGN, MAX
from tlkit.tasks.detection.rcnn.region_detector import HIDDEN, REGIONS, WIDTH, RegionDetector
from tlkit.tasks.detection.rcnn.rpn import (
    Amounts,
    PaperAnchors,
    ProposalHead,
    PyramidAnchors,
    match_anchors,
    proposal_losses,
    propose,
)
from tlkit.tasks.detection.retinanet_layers import FeaturePyramid


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
    # half as many proposals as Lin 2017 before duplicates are dropped in training
    "pyramid": Form(PyramidAnchors(), (4, 8, 16, 32), WIDTH, HIDDEN, Amounts(1000, 500, 2000, 1000)),
    # sections 3.1.1 and 3.3, on VGG16
    "paper": Form(PaperAnchors(), (16,), 512, 4096, Amounts(12_000, 2000, 6000, 300)),
}


@keras.saving.register_keras_serializable("tlkit")
class FasterRcnnDetector(RegionDetector, keras.Model):
    """Faster R-CNN (Ren 2015), on a pyramid or on one map. Made by `build_detector`."""

    kind = "faster-rcnn"
    no_litert = "dropping duplicates among proposals and for pooling regions"
    proposes = True
    backbone: keras.Model

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        super().__init__(name=self.kind.replace("-", "_"))
        form, width = FORMS[settings["form"]], settings["width"]
        self.strides, self.pooling = form.strides, ALIGN if len(form.strides) > 1 else MAX
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
        self.box_head = self._new_box_head(settings, channels)
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
        return {**self._raw(every, proposals, training), "objectness": objectness, "deltas": deltas}

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
        return {**super().loss_parts(raw, xyxy, labels), **first}
