"""A finished detector on images with known boxes: the detections that its measures are taken from.

Training, `tlkit evaluate` and the report all ask here. An average precision needs the low scores too, which a
SavedModel does not answer with, so it is the Keras model of the run that is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.build import Detector
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.settings import LEAST_SCORE, Detecting

_AT_ONCE = 256  # images between two moves of a progress bar


def found_on(
    detector: Detector,
    boxes: Boxes,
    detecting: Detecting | None = None,
    batch: int = 8,
    told: Callable[[int], None] = lambda _done: None,
) -> list[Detections]:
    """All that a detector says about the images of a data set, down to low scores.

    Args:
        detector: Its weights are used as they are.
        boxes: The images, [n].
        detecting: As it is served, but for the threshold.
        batch: Images a step.
        told: Is called with the number of images done.
    """
    finder = Finder(detector, replace(detecting or Detecting(), threshold=LEAST_SCORE))
    step = max(_AT_ONCE // batch, 1) * batch
    found: list[Detections] = []
    for start in range(0, len(boxes), step):
        found += finder.in_boxes(boxes.take(range(start, min(start + step, len(boxes)))), batch)
        told(len(found))
    return found
