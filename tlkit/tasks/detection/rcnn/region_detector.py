"""Region-based detectors: maps that all regions of an image share, and a box head that judges each region.

    maps, regions -> ROIAlign or ROI max pooling -> box head -> classes, boxes by class

What Fast and Faster R-CNN share; where their regions come from is their own. The box head runs inside `decode` and
`loss_parts`: which regions it is asked for follows from the true boxes.

Source: Girshick 2015 (Fast R-CNN).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.tasks.detection.base import Detector
from tlkit.tasks.detection.rcnn.box_head import BoxHead, detected_regions, region_losses
from tlkit.tasks.detection.rcnn.rcnn_settings import ALIGN
from tlkit.tasks.detection.rcnn.roi import SIDE, roi_align, roi_max_pool
from tlkit.tasks.detection.rcnn.sampling import Sampled, sample_regions

LOTS = -4  # of the seed of a step: -1 to -3 are of the order, of dropout and of sizes
REGIONS = 64  # an image: the paper's 128 are of two images (Girshick 2015, section 2.3)
WIDTH, HIDDEN = 64, 256  # channels of the maps, units of the box head: a quarter of Lin 2017's, for a CPU


class RegionDetector(Detector):
    """What they share; a mixin before `keras.Model`.

    Attributes:
        strides: Of the maps that regions are pooled from, pixels a cell, finest first.
        pooling: "align" (He 2017), or "max" (Girshick 2015), of one map.
        box_head: Judges a region.
    """

    strides: tuple[int, ...]
    pooling: str
    box_head: BoxHead

    def _new_box_head(self, settings: dict[str, Any], channels: int) -> BoxHead:
        """A box head for maps of so many channels."""
        head = BoxHead(len(settings["class_names"]), settings["hidden"], name="box_head")
        head.build((None, None, SIDE, SIDE, channels))
        return head

    def _raw(
        self, maps: Sequence[tf.Tensor], proposals: tf.Tensor, training: bool | None
    ) -> dict[str, tf.Tensor]:
        """Maps by stride, proposals float32 [b, p, 4], and "lots" int32 [b, 2]: the seed of what this step draws."""
        lots = self._lots() if training else tf.zeros([2], tf.int32)
        named = {f"map_{stride}": x for stride, x in zip(self.strides, maps, strict=False)}
        return {
            **named,
            "proposals": proposals,
            "lots": tf.tile(lots[None], [tf.shape(proposals)[0], 1]),
        }

    def _lots(self) -> tf.Tensor:
        """int32 [2]: follows from (seed, step)."""
        optimizer = getattr(self, "optimizer", None)
        step = tf.cast(optimizer.iterations, tf.int32) if optimizer else 0
        return fold(tf.constant(self.seed, tf.int32), LOTS, step)

    def _regions(self, raw: dict[str, tf.Tensor], boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What the box head says: logits [b, r, k + 1] and deltas [b, r, k, 4] of boxes float32 [b, r, 4]."""
        maps = [raw[f"map_{stride}"] for stride in self.strides]
        if self.pooling == ALIGN:
            return self.box_head(roi_align(maps, boxes, self.strides))
        return self.box_head(roi_max_pool(maps[0], boxes, self.strides[0]))

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, p x k, 4] and scores float32 [b, p x k, k]: each proposal as each class."""
        return detected_regions(*self._regions(raw, raw["proposals"]), raw["proposals"], self.size)

    def loss_parts(
        self, raw: dict[str, tf.Tensor], xyxy: tf.Tensor, labels: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Scalars "class" and "box" of sampled regions.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        sampled = self._sampled(raw, xyxy, labels)
        return region_losses(*self._regions(raw, sampled.boxes), sampled)

    def _sampled(self, raw: dict[str, tf.Tensor], xyxy: tf.Tensor, labels: tf.Tensor) -> Sampled:
        """The regions that a step learns; the same step draws the same."""
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        seed = fold(tf.reduce_max(raw["lots"], 0), 1)
        return sample_regions(raw["proposals"], xyxy, labels, self.settings["regions"], seed)

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the box head: a column of scores and four of boxes a class."""
        return self.box_head.class_columns()
