"""Fast R-CNN: proposals of Selective Search, all pooled from one map of the image, a softmax and boxes by class.

    pixels -> map; map, proposals -> ROI max pooling (or ROIAlign) -> classes, boxes by class

Proposals come from outside (boxes/proposals.py) and go with the images of a batch; the rest is one network that is
trained jointly, as Faster R-CNN's second stage is.

Sources: Girshick 2015 (Fast R-CNN); Lin 2017 (Feature pyramid networks, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tlkit.backbones.pyramids import FINER, FINER_LEVEL, LEVELS, STRIDES, build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.tasks.detection.base import Design
from tlkit.tasks.detection.rcnn.rcnn_settings import MAX, STRIDE
from tlkit.tasks.detection.rcnn.region_detector import HIDDEN, REGIONS, WIDTH, RegionDetector
from tlkit.tasks.detection.retinanet_layers import FeaturePyramid

LEVEL_AT = dict(zip((FINER, *STRIDES), (FINER_LEVEL, *LEVELS), strict=True))


@keras.saving.register_keras_serializable("tlkit")
class FastRcnnDetector(RegionDetector, keras.Model):
    """Fast R-CNN (Girshick 2015) on one map, into which the coarser ones are merged. Made by `build_detector`.

    Attributes:
        proposals: How many an image it takes; further ones are left out.
        neck: Maps of the backbone -> the shared one.
    """

    kind = "fast-rcnn"
    proposals: ClassVar[int] = 1000
    backbone: keras.Model

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        # half precision has steps of two pixels from 256 on: proposals are float32 in every policy
        super().__init__(name="fast_rcnn", autocast=False)
        width = settings["width"]
        self.strides, self.pooling = (settings["stride"],), settings["pooling"]
        self.backbone = pyramid
        self.given = tuple(level for stride, level in LEVEL_AT.items() if stride >= settings["stride"])
        self.neck = FeaturePyramid(width, 1, self.given, name="feature_pyramid")
        self.neck.build(dict(zip(pyramid.pyramid_level_inputs, pyramid.output_shape, strict=True)))
        self.box_head = self._new_box_head(settings, width)
        self._begin(settings)
        self.built = True

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[FastRcnnDetector, WeightsOrigin]:
        """Build from settings."""
        finer = settings["stride"] == FINER
        pyramid, origin = build_pyramid(settings["backbone"], settings["size"], weights, finer=finer)
        return cls(pyramid, settings), origin

    @classmethod
    def own_settings(
        cls,
        _size: int,
        stride: int = STRIDE,
        pooling: str = MAX,
        width: int = WIDTH,
        hidden: int = HIDDEN,
        regions: int = REGIONS,
    ) -> dict[str, Any]:
        """How the map is made and pooled.

        Args:
            _size: Side of the square input, unused.
            stride: Pixels a cell of the shared map: 4, 8 or 16, which is the paper's.
            pooling: "max", as the paper, or "align".
            width: Channels of the map.
            hidden: Units of the box head's two layers; the paper's are 4,096.
            regions: That an image teaches, at most.
        """
        return {"stride": stride, "pooling": pooling, "width": width, "hidden": hidden, "regions": regions}

    @classmethod
    def design(cls, _training: Any, _size: int, _started: Mapping[str, Any] | None, **own: Any) -> Design:
        """Nothing of the training images; what the card says of the map."""
        usual = cls.own_settings(_size, **own)
        return Design(own, {name: usual[name] for name in ("stride", "pooling", "regions")})

    def call(self, inputs, training=None, mask=None):
        """Images with proposals -> raw: the map, proposals, lots of this step.

        Args:
            inputs: "images": uint8 [b, s, s, 3]; "proposals": float32 [b, p, 4], pixels of the square, -1 where there
                is none.
            training: Whether a step learns.
            mask: Nothing.
        """
        proposals = tf.cast(inputs["proposals"], tf.float32)[:, : self.proposals]
        # no box head is called without a region
        lacking = tf.maximum(1 - tf.shape(proposals)[1], 0)
        proposals = tf.pad(proposals, [[0, 0], [0, lacking], [0, 0]], constant_values=-1.0)
        found = self.backbone(tf.convert_to_tensor(inputs["images"]), training=training)
        named = dict(zip(self.backbone.pyramid_level_inputs, found, strict=True))
        return self._raw(self.neck(named), proposals, training)
