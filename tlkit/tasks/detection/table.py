"""Detectors by name: where the class of each lies. Free of TensorFlow, so that options can name them.

A new detector is a module with a class beside `Detector` of base.py, a row here, and a recipe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tlkit.tasks.detection.base import Detector


class Row(NamedTuple):
    """Where a detector's class is.

    Attributes:
        module: Below tlkit.tasks.detection.
        name: The class, registered with Keras in that module.
        any_size: What the class says, for options: whether it can learn crops.
    """

    module: str
    name: str
    any_size: bool = True


DETECTORS = {
    "yolov1": Row("yolo.yolov1", "Yolov1Detector", any_size=False),
    "yolov8": Row("yolov8", "YoloDetector"),
    "retinanet": Row("retinanet", "RetinaNetDetector"),
    "yolov2": Row("yolo.yolov2", "Yolov2Detector"),
    "yolov3": Row("yolo.yolov3", "Yolov3Detector"),
}


def detector_class(kind: str) -> type[Detector]:
    """The class of a detector; it takes TensorFlow and Keras along.

    Args:
        kind: A key of `DETECTORS`.
    """
    row = DETECTORS[kind]
    found: Any = getattr(import_module(f"tlkit.tasks.detection.{row.module}"), row.name)
    return found
