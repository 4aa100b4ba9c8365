"""A detector that starts from another one's weights: all that both have, and of the classes those with one name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit.core.text import place_of
from tlkit.errors import UsageFault
from tlkit.tasks.detection.build import AnyDetector, load_detector

_ALIKE = (
    "backbone",
    "depth",
    "width",
    "anchors",
)  # settings that decide how many weights there are, and which


@dataclass(frozen=True)
class Start:
    """What came over.

    Attributes:
        kept: Classes whose prediction came over too.
        fresh: Classes that start anew.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]


def start_from(detector: AnyDetector, file: Path) -> Start:
    """Give a detector the weights of a saved one; classes are matched by name, whatever their case.

    Args:
        detector: Of any size and any classes.
        file: `model.keras` of a detector of the same kind, backbone, depth, width and anchors.

    Raises:
        ModelFault: The file is no detector.
        UsageFault: It is of another kind or make; the first difference is named.
    """
    other = load_detector(file)
    _check_alike(detector, other, file)
    predictions = {id(v): w for v, w in zip(class_variables(detector), class_variables(other), strict=True)}
    pairs = [(k, place_of(name, other.class_names)) for k, name in enumerate(detector.class_names)]
    matched = {mine: its for mine, its in pairs if its >= 0}
    for mine, its in zip(detector.weights, other.weights, strict=True):
        source = predictions.get(id(mine))
        mine.assign(its if source is None else _by_class(mine, source, matched, detector, other))
    names = detector.class_names
    return Start(
        tuple(n for k, n in enumerate(names) if k in matched),
        tuple(n for k, n in enumerate(names) if k not in matched),
    )


def class_variables(detector: AnyDetector) -> list[keras.Variable]:
    """Kernels and biases of what predicts classes; the last axis is places times classes."""
    if detector.kind == "retinanet":
        return list(detector.classification_head.prediction.weights)
    heads = (detector.get_layer(f"yolo_v8_head_{number}_class_3_conv") for number in (1, 2, 3))
    return [variable for head in heads for variable in head.weights]


def _by_class(
    mine: keras.Variable,
    its: keras.Variable,
    matched: dict[int, int],
    detector: AnyDetector,
    other: AnyDetector,
) -> np.ndarray:
    """The variable [..., places * k] with the columns of the classes that both know taken over."""
    columns, given = (
        np.array(keras.ops.convert_to_numpy(v)).reshape((*v.shape[:-1], -1, len(d.class_names)))
        for v, d in ((mine, detector), (its, other))
    )
    for here, there in matched.items():
        columns[..., here] = given[..., there]
    return columns.reshape(mine.shape)


def _check_alike(detector: AnyDetector, other: AnyDetector, file: Path) -> None:
    remedy = "Start from a run of the same recipe with the same network, or leave --warm-start out."
    if detector.kind != other.kind:
        raise UsageFault(f"--warm-start {file.parent} is a {other.kind}; this is a {detector.kind}.", remedy)
    for name in _ALIKE:
        mine, its = detector.settings.get(name), other.settings.get(name)
        if mine != its:
            raise UsageFault(f"--warm-start {file.parent} has {name} {its}; this one has {mine}.", remedy)
