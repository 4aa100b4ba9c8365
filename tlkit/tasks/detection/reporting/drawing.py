"""Bounding boxes drawn in axes: frames on white lines, and their names where they hide no object."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tlkit.engine.reporting import style
from tlkit.engine.reporting.lettering import places

ROW_LEAST, ROW_MOST = 0.45, 1.7  # height of a row of pictures, in widths of one
_NAME_SIZE = 5.5  # points


class Framed(NamedTuple):
    """A box to draw: left, top, right, bottom in pixels of the picture shown; no text, no name."""

    box: np.ndarray
    colour: str
    style: str
    text: str


def draw_boxes(axes: Axes, shape: tuple[int, ...], framed: Sequence[Framed]) -> None:
    """Draw boxes on white lines, the last on top, then their names where they hide no box, if need be with a line.

    A name for which there is no such place is left out.
    """
    for one in framed:
        # Pixel i is drawn from i - 0.5 to i + 0.5.
        left, top, right, bottom = (float(value) - 0.5 for value in one.box)
        how: dict[str, Any] = {
            "xy": (left, top),
            "width": right - left,
            "height": bottom - top,
            "fill": False,
        }
        axes.add_patch(Rectangle(**how, edgecolor="white", linewidth=2.6))
        axes.add_patch(Rectangle(**how, edgecolor=one.colour, linewidth=1.6, linestyle=one.style))
    texts = [style.shortened(one.text, 20) for one in framed]
    pixels = _pixels_a_point(axes, shape)
    plates = [
        (_width(text) * _NAME_SIZE * pixels, 1.6 * _NAME_SIZE * pixels) if text else (0, 0) for text in texts
    ]
    boxes = np.array([one.box for one in framed], float).reshape(-1, 4)
    found = places(boxes[::-1], plates[::-1], (shape[1], shape[0]), pixels)[::-1]
    for one, text, place, (_, height) in zip(framed, texts, found, plates, strict=True):
        if place is None:
            continue
        if place.leader:
            axes.plot(*zip(*place.leader, strict=True), color=one.colour, linewidth=0.7)
        axes.text(
            place.left + pixels,
            place.top + height - 0.4 * _NAME_SIZE * pixels,
            text,
            va="baseline",
            fontsize=_NAME_SIZE,
            color="white",
            clip_on=True,
            bbox={"facecolor": one.colour, "edgecolor": "none", "pad": 0.8},
        )


def _pixels_a_point(axes: Axes, shape: tuple[int, ...]) -> float:
    """Pixels of the picture in a seventy-second of an inch of the report, as far as it is known before the layout."""
    figure, grid = axes.get_figure(root=True), axes.get_subplotspec()
    columns = grid.get_gridspec().ncols if grid else 1
    wide = float(figure.get_size_inches()[0]) / columns if figure else style.WIDTH
    return shape[1] / (72 * wide) * max(1.0, shape[0] / shape[1] / ROW_MOST)


def _width(text: str) -> float:
    """Of a text with its plate, about, in sizes of its letters; those of East Asia are square."""
    return 0.6 + sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text)
