"""Detectors: KerasCV's RetinaNet and YOLOv8 with what they get wrong put right.

    pixels uint8 [b, s, s, 3] -> preprocessing -> backbone -> maps -> heads -> raw -> decode -> boxes, scores

The graphs are KerasCV's (retinanet.py, yolov8.py); targets, losses and decoding are ours (assignment.py,
losses.py). Boxes are left, top, right, bottom in pixels of the square input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlkit.backbones.pyramids import check_side, unfreeze_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.safe_loading.keras_models import read_model
from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.detection.anchors import Anchors, with_levels
from tlkit.tasks.detection.retinanet import RetinaNetDetector
from tlkit.tasks.detection.sliding_window.detector import WindowDetector
from tlkit.tasks.detection.yolov8 import YoloDetector

AnyDetector = RetinaNetDetector | YoloDetector


# --- building ---------------------------------------------------------------------------------------


def build_retinanet(
    class_names: Sequence[str],
    size: int,
    backbone: str = "efficientnet-lite0",
    weights: str = "imagenet",
    *,
    anchors: Anchors | None = None,
    width: int = 96,
    depth: int = 3,
) -> tuple[RetinaNetDetector, WeightsOrigin]:
    """A RetinaNet on any backbone that has a pyramid.

    Args:
        class_names: [k].
        size: Side of the square input, pixels, a multiple of 32.
        backbone: A name of `pyramid_names`.
        weights: Of the backbone: "imagenet", "none" or a file.
        anchors: Where it starts from; strides larger than the image are left out.
        width: Channels of the pyramid and the heads; 256 in the paper, which on a CPU takes four times as long.
        depth: Convolutions in a head before its prediction; 4 in the paper, 3 in KerasCV.

    Returns:
        The detector and where the backbone's weights come from.

    Raises:
        UsageFault, ModelFault: See `build_pyramid`.
    """
    check_side(size)
    settings = {
        "class_names": _checked(class_names),
        "size": int(size),
        "backbone": backbone,
        "anchors": asdict(with_levels(anchors or Anchors(), size)),
        "width": int(width),
        "depth": int(depth),
    }
    return RetinaNetDetector.of(json.loads(json.dumps(settings)), weights)


def build_yolov8(
    class_names: Sequence[str],
    size: int,
    backbone: str = "yolov8-xs",
    weights: str = "none",
    *,
    depth: int = 1,
) -> tuple[YoloDetector, WeightsOrigin]:
    """A YOLOv8 on its own CSPDarkNet or on any backbone that has a pyramid.

    Args:
        class_names: [k].
        size: Side of the square input, pixels, a multiple of 32.
        backbone: A name of `pyramid_names`; "yolov8-xs" to "yolov8-l" have random weights only.
        weights: Of the backbone: "imagenet", "none" or a file.
        depth: Bottlenecks in each block of the pyramid: 1 for xs and s, 2 for m, 3 for l.

    Returns:
        The detector and where the backbone's weights come from.

    Raises:
        UsageFault, ModelFault: See `build_pyramid`.
    """
    names = _checked(class_names)
    settings = {"class_names": names, "size": int(size), "backbone": backbone, "depth": int(depth)}
    return YoloDetector.of(settings, weights)


def _checked(class_names: Sequence[str]) -> list[str]:
    names = [str(name) for name in class_names]
    if not names or len(set(names)) < len(names):
        raise UsageFault(f"A detector needs different class names, not {names}.", "Name each class once.")
    return names


def load_detector(file: Path | str) -> AnyDetector:
    """Load what `detector.save(...)` wrote.

    Raises:
        ModelFault: The file cannot be read or is no detector.
    """
    try:
        model: Any = read_model(file)
    except ValueError as fault:
        raise ModelFault(
            f"{file} cannot be read as a detector: {fault}.", "Name a finished run of a detector."
        ) from fault
    if not isinstance(model, RetinaNetDetector | YoloDetector | WindowDetector):
        raise ModelFault(f"{file} holds a model that is no detector.", "Name a finished run of a detector.")
    return model


def resized_detector(detector: AnyDetector, size: int) -> AnyDetector:
    """The same network for images of another side, with a copy of the weights, which do not depend on it.

    Raises:
        UsageFault: The side is no multiple of 32, or too small.
    """
    check_side(size)
    other, _ = type(detector).of({**detector.settings, "size": int(size)})
    copy_weights(detector, other)
    return other


def copy_weights(source: AnyDetector, target: AnyDetector) -> None:
    """Give a detector the weights of another of the same settings but for the size."""
    for new, old in zip(target.weights, source.weights, strict=True):
        new.assign(old)


def unfreeze_detector(detector: AnyDetector, stage: str, *, batch_norm: bool = False) -> None:
    """Choose which layers of the backbone learn ("head": none; "top"; "all"); pyramid and heads always do.

    Args:
        detector: What to change; compile it again afterwards.
        stage: See `classifier.unfreeze`.
        batch_norm: Let the backbone's batch normalisation learn: for random weights.
    """
    unfreeze_pyramid(detector.backbone, stage, detector.settings["backbone"], batch_norm=batch_norm)
