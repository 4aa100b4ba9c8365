"""Detectors of every kind: built by name, loaded, resized, and thawed by phases.

    pixels uint8 [b, s, s, 3] -> preprocessing -> backbone -> maps -> heads -> raw -> decode -> boxes, scores

The graphs of RetinaNet and YOLOv8 are KerasCV's, with what they get wrong put right; targets, losses and decoding are
ours (assignment.py, losses.py). Boxes are left, top, right, bottom in pixels of the square input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlkit.backbones.pyramids import unfreeze_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.safe_loading.keras_models import read_model
from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.detection.base import Detector
from tlkit.tasks.detection.rcnn.rcnn import RcnnDetector
from tlkit.tasks.detection.sliding_window.detector import WindowDetector
from tlkit.tasks.detection.sliding_window.pooled import PooledDetector
from tlkit.tasks.detection.table import DETECTORS, check_crop, detector_class

# --- building ---------------------------------------------------------------------------------------


def build_detector(
    kind: str,
    class_names: Sequence[str],
    size: int,
    backbone: str = "efficientnet-lite0",
    weights: str = "imagenet",
    **own: Any,
) -> tuple[Detector, WeightsOrigin]:
    """A detector on its own network or on any backbone that has a pyramid.

    Args:
        kind: A key of `table.DETECTORS`.
        class_names: [k].
        size: Side of the square input, pixels, a multiple of 32.
        backbone: A name of `pyramid_names`; "yolov8-xs" to "yolov8-l" have random weights only.
        weights: Of the backbone: "imagenet", "none" or a file.
        own: Arguments of the kind's `own_settings`, such as the anchors of a RetinaNet.

    Returns:
        The detector and where the backbone's weights come from.

    Raises:
        UsageFault, ModelFault: See `build_pyramid`.
    """
    names = [str(name) for name in class_names]
    if not names or len(set(names)) < len(names):
        raise UsageFault(f"A detector needs different class names, not {names}.", "Name each class once.")
    detector = detector_class(kind)
    detector.check_side(size)
    settings = {
        "class_names": names,
        "size": int(size),
        "backbone": backbone,
        **detector.own_settings(size, **own),
    }
    return detector.of(json.loads(json.dumps(settings)), weights)


def load_detector(file: Path | str) -> Detector:
    """Load what `detector.save(...)` wrote.

    Raises:
        ModelFault: The file cannot be read or is no detector.
    """
    for kind in DETECTORS:  # so that Keras knows its layers
        detector_class(kind)
    try:
        model: Any = read_model(file)
    except ValueError as fault:
        raise ModelFault(
            f"{file} cannot be read as a detector: {fault}.", "Name a finished run of a detector."
        ) from fault
    if not isinstance(
        model, Detector | RcnnDetector | WindowDetector | PooledDetector
    ):  # the last three are in no table: none is fitted by steps
        raise ModelFault(f"{file} holds a model that is no detector.", "Name a finished run of a detector.")
    return model


def resized_detector(detector: Detector, size: int) -> Detector:
    """The same network for images of another side, with a copy of the weights, which do not depend on it.

    Raises:
        UsageFault: The side is no multiple of 32, or too small; or the detector fits one size only.
    """
    check_crop(detector.kind, size)
    detector.check_side(size)
    other, _ = type(detector).of({**detector.settings, "size": int(size)})
    copy_weights(detector, other)
    return other


def copy_weights(source: Detector, target: Detector) -> None:
    """Give a detector the weights of another of the same settings but for the size."""
    for new, old in zip(target.weights, source.weights, strict=True):
        new.assign(old)


def unfreeze_detector(detector: Detector, stage: str, *, batch_norm: bool = False) -> None:
    """Choose which layers of the backbone learn ("head": none; "top"; "all"); pyramid and heads always do.

    Args:
        detector: What to change; compile it again afterwards.
        stage: See `classifier.unfreeze`.
        batch_norm: Let the backbone's batch normalisation learn: for random weights.
    """
    unfreeze_pyramid(detector.backbone, stage, detector.settings["backbone"], batch_norm=batch_norm)
