"""A detector that starts from another one's weights: all that both have, and of the classes those with one name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit.core.text import place_of
from tlkit.errors import UsageFault
from tlkit.tasks.detection.build import Detector, load_detector
from tlkit.tasks.detection.table import DETECTORS


@dataclass(frozen=True)
class Start:
    """What came over.

    Attributes:
        kept: Classes whose prediction came over too.
        fresh: Classes that start anew.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]


def start_from(detector: Detector, file: Path) -> Start:
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
    pairs = [(k, place_of(name, other.class_names)) for k, name in enumerate(detector.class_names)]
    matched = {mine: its for mine, its in pairs if its >= 0}
    of_classes = {id(variable): columns for variable, columns in detector.class_columns()}
    its_columns = {id(variable): columns for variable, columns in other.class_columns()}
    for mine, its in zip(detector.weights, other.weights, strict=True):
        columns = of_classes.get(id(mine))
        mine.assign(its if columns is None else _by_class(mine, columns, its, its_columns[id(its)], matched))
    names = detector.class_names
    return Start(
        tuple(n for k, n in enumerate(names) if k in matched),
        tuple(n for k, n in enumerate(names) if k not in matched),
    )


def _by_class(
    mine: keras.Variable,
    columns: np.ndarray,
    its: keras.Variable,
    its_columns: np.ndarray,
    matched: dict[int, int],
) -> np.ndarray:
    """The variable with all columns of the other but those of classes that the other does not know."""
    value, given = (np.array(keras.ops.convert_to_numpy(v)) for v in (mine, its))
    value[..., _others(columns, value)] = given[..., _others(its_columns, given)]
    for here, there in matched.items():
        value[..., columns[:, here]] = given[..., its_columns[:, there]]
    return value


def _others(columns: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Which columns of the last axis belong to no class: boxes and objectness, in order."""
    return np.setdiff1d(np.arange(value.shape[-1]), columns)


def _check_alike(detector: Detector, other: Detector, file: Path) -> None:
    remedy = "Start from a run of the same recipe with the same network, or leave --warm-start out."
    if detector.kind != other.kind:
        raise UsageFault(f"--warm-start {file.parent} is a {other.kind}; this is a {detector.kind}.", remedy)
    sizes = () if DETECTORS[detector.kind].any_size else ("size",)
    for name in (*sizes, *(name for name in detector.settings if name not in ("class_names", "size"))):
        mine, its = detector.settings.get(name), other.settings.get(name)
        if mine != its:
            raise UsageFault(f"--warm-start {file.parent} has {name} {its}; this one has {mine}.", remedy)
