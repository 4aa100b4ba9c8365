"""Detectors by name: where the class of each lies. Free of TensorFlow, so that options can name them.

A new detector is a module with a class beside `Detector` of base.py, a row here, and a recipe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.errors import UsageFault

if TYPE_CHECKING:
    from tlkit.tasks.detection.base import Detector


class Row(NamedTuple):
    """Where a detector's class is.

    Attributes:
        module: Below tlkit.tasks.detection.
        name: The class, registered with Keras in that module.
        any_size: Whether the same weights serve images of any side, so that a smaller network can learn crops.
        proposals: Whether it takes proposals beside the image, which need the extra `proposals`.
    """

    module: str
    name: str
    any_size: bool = True
    proposals: bool = False


DETECTORS = {
    "yolov1": Row("yolo.yolov1", "Yolov1Detector", any_size=False),
    "yolov8": Row("yolov8", "YoloDetector"),
    "retinanet": Row("retinanet", "RetinaNetDetector"),
    "yolov2": Row("yolo.yolov2", "Yolov2Detector"),
    "yolov3": Row("yolo.yolov3", "Yolov3Detector"),
    "fast-rcnn": Row("rcnn.fast_rcnn", "FastRcnnDetector", proposals=True),
    "faster-rcnn": Row("rcnn.faster_rcnn", "FasterRcnnDetector"),
    "mask-rcnn": Row("rcnn.mask_rcnn", "MaskRcnnDetector"),
}


def check_crop(kind: str, crop: int) -> None:
    """Raise where a detector cannot learn crops.

    Args:
        kind: A key of `DETECTORS`.
        crop: Their side, pixels; 0: none are asked for.

    Raises:
        UsageFault: Its weights fit images of one size only.
    """
    if crop and not DETECTORS[kind].any_size:
        raise UsageFault(
            f"--crop {crop} does not suit a {kind}, whose weights fit images of one size only.",
            "Leave --crop out.",
        )


def detector_class(kind: str) -> type[Detector]:
    """The class of a detector; it takes TensorFlow and Keras along.

    Args:
        kind: A key of `DETECTORS`.
    """
    row = DETECTORS[kind]
    found: Any = getattr(import_module(f"tlkit.tasks.detection.{row.module}"), row.name)
    return found
