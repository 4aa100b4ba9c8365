"""Which windows are laid over an image, as plain values and plain geometry: options become them without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tlkit.errors import UsageFault

WAYS = ("auto", "pooled", "convolutional", "crops")
RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Windows:
    """How a classifier is moved over an image.

    Attributes:
        size: Side of the square that images are letterboxed to, pixels; a multiple of nothing.
        sides: Least and largest side of a window (of the square with its area), as a share of `size`; None: from the
            training boxes.
        scales: Sides from the least to the largest, in equal ratios.
        ratios: Width over height of the windows; the classifier sees each stretched to its square.
        step: From one window to the next, as a share of the window.
        way: "crops": every window is cut out and classified, in batches; "convolutional": the backbone sees the whole
            image once a scale and windows are cut out of its maps, which the borders of padded convolutions change
            a little; "pooled": no classifier, but a head that learns from windows pooled from the maps of a backbone;
            "auto": pooled without a classifier, else convolutional where that gives the same numbers.
        overlap: Of two detections of a class that overlap more, the weaker goes.
        soft: Above 0, no detection goes; each loses the share 1 - exp(-IoU^2 / soft) of its score to every stronger
            one (Bodla 2017, equation 3).
        most: Detections an image.
        chunk: Windows that are classified at a time.
    """

    size: int = 416
    sides: tuple[float, float] | None = None
    scales: int = 4
    ratios: tuple[float, ...] = RATIOS
    step: float = 0.25
    way: str = "auto"
    overlap: float = 0.3
    soft: float = 0.0
    most: int = 50
    chunk: int = 64

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise UsageFault(f"--way {self.way} is unknown.", f"Use one of {', '.join(WAYS)}.")
        if self.sides is not None and not 0 < self.sides[0] <= self.sides[1] <= 1:
            raise UsageFault(
                f"Sides from {self.sides[0]:g} to {self.sides[1]:g} cannot be.",
                "Give shares of the image's side, --min-side before --max-side.",
            )
        if not self.ratios or min(self.ratios) <= 0:
            raise UsageFault("--ratio must be above 0.", "Give width over height, such as 0.5, 1 and 2.")


class Level(NamedTuple):
    """An image at one scale and aspect, in which every window has the classifier's size.

    Attributes:
        width: Of the image, pixels.
        height: Likewise.
        columns: Windows beside one another; the last may reach beyond the image by less than a step.
        rows: Windows below one another.
        step: Pixels from one window to the next.
        side: Of a window, pixels.
    """

    width: int
    height: int
    columns: int
    rows: int
    step: int
    side: int

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width that hold all windows."""
        return self.side + (self.rows - 1) * self.step, self.side + (self.columns - 1) * self.step

    def corners(self) -> np.ndarray:
        """int32 [n, 2]: top and left of every window, row by row."""
        rows, columns = np.mgrid[: self.rows, : self.columns]
        return (np.stack([rows.ravel(), columns.ravel()], 1) * self.step).astype(np.int32)


def levels(windows: Windows, sides: tuple[float, float], side: int, stride: int = 1) -> list[Level]:
    """All scales and aspects, the smallest windows first.

    Args:
        windows: What is wanted.
        sides: Least and largest window, as a share of the square.
        side: Of the classifier's input, pixels.
        stride: Steps are a multiple of this, pixels of the level.
    """
    every = np.geomspace(*sides, windows.scales) if windows.scales > 1 else np.array([sides[1]])
    step = max(1, round(windows.step * side / stride)) * stride
    found = []
    for share in every:
        for ratio in windows.ratios:
            lengths = [min(share * root, 1.0) for root in (ratio**0.5, ratio**-0.5)]  # width, height
            width, height = (max(side, round(side / length)) for length in lengths)
            columns, rows = (1 + -(-(length - side) // step) for length in (width, height))
            found.append(Level(width, height, columns, rows, step, side))
    return list(dict.fromkeys(found))


def boxes_of(every: Sequence[Level], size: int) -> np.ndarray:
    """float32 [a, 4]: left, top, right, bottom of all windows in pixels of the square, cut at its edges."""
    found = []
    for level in every:
        top, left = level.corners().astype(np.float64).T
        x, y = size / level.width, size / level.height
        found.append(np.stack([left * x, top * y, (left + level.side) * x, (top + level.side) * y], 1))
    return np.clip(np.concatenate(found), 0, size).astype(np.float32)


def sides_of(boxes: np.ndarray, size: int) -> tuple[float, float]:
    """The 10th and 90th percentile of sqrt(area) of boxes [m, 4] in pixels of the square, as shares of its side.

    Raises:
        UsageFault: There is no box to learn from.
    """
    if not len(boxes):
        raise UsageFault("No training box says how large objects are.", "Give --min-side and --max-side.")
    roots = np.sqrt(np.prod(np.asarray(boxes, np.float64)[:, 2:] - boxes[:, :2], axis=1)) / size
    low, high = (float(np.clip(value, 0.01, 1.0)) for value in np.percentile(roots, [10, 90]))
    return low, high
