"""Mask R-CNN: a Faster R-CNN that also says which pixels of each box are the object; all is trained jointly.

    pixels -> maps -> proposals -> ROIAlign 7 x 7 -> classes, boxes by class
                                   ROIAlign 14 x 14 -> masks by class, 28 x 28

In training masks are learned where regions are of objects (L = L_class + L_box + L_mask); at serving they are asked for
once duplicates are dropped, over the boxes that are left, so that they cost nothing where nothing is.

Source: He 2017 (Mask R-CNN).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.tasks.detection.base import Design
from tlkit.tasks.detection.rcnn.faster_rcnn import FasterRcnnDetector
from tlkit.tasks.detection.rcnn.mask_head import POOLED, MaskHead, mask_loss, of_classes
from tlkit.tasks.detection.rcnn.roi import roi_align
from tlkit.tasks.detection.rcnn.sampling import Sampled, most_of_objects

MASK_WIDTH = 64  # channels of the mask head, a quarter of the paper's, as the pyramid has


@keras.saving.register_keras_serializable("tlkit")
class MaskRcnnDetector(FasterRcnnDetector):
    """Mask R-CNN (He 2017), on the pyramid. Made by `build_detector`."""

    kind = "mask-rcnn"
    no_onnx = "its masks"
    has_masks = True
    told_apart = ("class", "mask")

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        super().__init__(pyramid, settings)
        classes, channels = len(self.class_names), settings["width"]
        self.mask_head = MaskHead(classes, settings["mask_width"], name="mask_head")
        self.mask_head.build((None, None, POOLED, POOLED, channels))
        self.built = True

    @classmethod
    def own_settings(cls, size: int, mask_width: int = MASK_WIDTH, **own: Any) -> dict[str, Any]:  # type: ignore[override]
        """As of a Faster R-CNN, and the channels of the mask head."""
        return {**super().own_settings(size, **own), "mask_width": mask_width}

    @classmethod
    def design(cls, *given: Any, **options: Any) -> Design:
        """As of a Faster R-CNN; the card says that it has masks."""
        design = super().design(*given, **options)
        return design._replace(facts={**design.facts, "masks": True})

    def _mask_logits(self, raw: dict[str, tf.Tensor], boxes: tf.Tensor) -> tf.Tensor:
        """Float [b, r, 28, 28, k] of boxes float32 [b, r, 4]."""
        maps = [raw[f"map_{stride}"] for stride in self.strides]
        return self.mask_head(roi_align(maps, boxes, self.strides, POOLED))

    def losses(self, raw: dict[str, tf.Tensor], truth: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """As of a Faster R-CNN, and that of the masks of its regions of objects."""
        xyxy, labels = truth["boxes"], truth["classes"]
        parts = self.loss_parts(raw, xyxy, labels)
        most = most_of_objects(self.settings["regions"])  # regions of objects come first
        few = Sampled(*(value[:, :most] for value in self._sampled(raw, xyxy, labels)))
        logits = self._mask_logits(raw, few.boxes)
        return {**parts, "mask": mask_loss(logits, few, truth["masks"], truth["mask_maps"])}

    def masks(self, raw: dict[str, tf.Tensor], xyxy: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 [b, n, 28, 28] over boxes float32 [b, n, 4], of their classes int32 [b, n]."""
        return of_classes(self._mask_logits(raw, xyxy), labels)

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the box head and of the mask head."""
        return [*super().class_columns(), *self.mask_head.class_columns()]
