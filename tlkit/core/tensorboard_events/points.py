"""Scalars of TensorBoard: which points (folder, tag, step, value) a row of metrics.jsonl stands for.

The boards write by this rule and mended event files are written again by it, so that both hold the same points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One point of one curve.

    Attributes:
        folder: Below `tensorboard/`.
        tag: The curve's name; with a slash, its step counts within a phase.
        step: Where on the horizontal axis, from 0.
        value: Finite.
    """

    folder: str
    tag: str
    step: int
    value: float


def points_of(row: Mapping[str, Any], number: int) -> list[Point]:
    """The points of one row of metrics.jsonl, in the order in which they are written.

    Args:
        row: Of a classifier, a detector or a GAN between generator and discriminator; others have no points.
        number: Its line in metrics.jsonl, from 1.

    Returns:
        Points with finite values only, for metrics.jsonl holds null instead of the others.
    """
    found = _of_classifier(row, number) if "training_accuracy" in row else _of_others(row, number)
    return [point for point in found if isinstance(point.value, float) and math.isfinite(point.value)]


def place_of(row: Mapping[str, Any], number: int) -> int:
    """The step of a row that counts over all phases."""
    return row.get("step", number)


def _of_classifier(row: Mapping[str, Any], number: int) -> Iterator[Point]:
    for part in ("training", "validation"):
        for measure in ("loss", "accuracy"):
            value = row.get(f"{part}_{measure}", math.nan)  # a refit has no validation part
            yield Point(part, measure, number, value)
            yield Point(part, f"{row['phase']}/{measure}", row["epoch"], value)
        if part == "training":
            yield Point(part, "learning_rate", number, row.get("learning_rate", math.nan))


def _of_others(row: Mapping[str, Any], number: int) -> Iterator[Point]:
    """All floats of a row; a training among several is named by what stands before its phase."""
    if "kid" in row and "step" in row:
        folder = "game"
    elif "training_loss" in row:
        folder = (
            "-".join(str(row[name]) for name in takewhile(lambda name: name != "phase", row)) or "detector"
        )
    else:
        return
    for name, value in row.items():
        yield Point(folder, name, place_of(row, number), value)
