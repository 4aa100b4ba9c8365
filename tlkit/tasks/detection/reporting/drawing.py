"""Bounding boxes drawn: frames on white lines, and their names where they hide no object; in axes, and into an image."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFont

from tlkit.data.boxes.masks.resampling import cut
from tlkit.data.boxes.masks.rle import Mask, box, decode
from tlkit.engine.reporting import style
from tlkit.engine.reporting.lettering import OWN, Place, font_of, places

ROW_LEAST, ROW_MOST = 0.45, 1.7  # height of a row of images, in widths of one
TINT = 0.4  # of a mask's colour over the image
_NAME_SIZE = 5.5  # points
_PALE = 140  # grey level from which dark letters read better than white ones


class Shape(NamedTuple):
    """Pixels of an object: bool [h, w] over a window, left, top, right, bottom in pixels of the image shown."""

    window: np.ndarray
    pixels: np.ndarray


class Framed(NamedTuple):
    """A box to draw: left, top, right, bottom in pixels of the image shown; no text, no name; perhaps its mask."""

    box: np.ndarray
    colour: str
    style: str
    text: str
    shape: Shape | None = None


def shape_of(mask: Mask | None, scale: np.ndarray | float = 1.0) -> Shape | None:
    """A mask as it is drawn where an image is shown `scale` times as large; None where there is none, or it is empty."""
    window = box(mask) if mask is not None else None
    if mask is None or window is None:
        return None
    return Shape(np.array(window, float) * scale, cut(decode(mask), window))


class Pen(ABC):
    """What draws one frame and one name.

    Attributes:
        size: Width and height of the image, pixels.
        gap: Between a box and a name that touches it, for the frame, pixels.
    """

    size: tuple[int, int]
    gap: float = 0.0

    @abstractmethod
    def frame(self, one: Framed) -> None:
        """Draw a box on a white line."""

    @abstractmethod
    def fill(self, shape: Shape, colour: str) -> None:
        """Tint the pixels of an object, so that they can still be seen."""

    @abstractmethod
    def plate(self, text: str) -> tuple[float, float]:
        """Width and height of a name, pixels."""

    @abstractmethod
    def name(self, one: Framed, place: Place) -> None:
        """Write a name on its plate, with a line to its box where they do not touch."""


def draw_boxes(pen: Pen, framed: Sequence[Framed]) -> None:
    """Draw masks, then boxes on white lines, the last on top, then their names where they hide no box.

    A name may have a line to its box; one for which there is no place is left out.
    """
    for one in framed:
        if one.shape is not None:
            pen.fill(one.shape, one.colour)
    for one in framed:
        pen.frame(one)
    plates = [pen.plate(one.text) if one.text else (0, 0) for one in framed]
    boxes = np.array([one.box for one in framed], float).reshape(-1, 4)
    found = places(boxes[::-1], plates[::-1], pen.size, pen.gap)[::-1]
    for one, place in zip(framed, found, strict=True):
        if place:
            pen.name(one, place)


class OnAxes(Pen):
    """Draws boxes in axes that show an image.

    Args:
        axes: Where pixel i is drawn from i - 0.5 to i + 0.5.
        shape: Of the image, height and width first.
    """

    def __init__(self, axes: Axes, shape: tuple[int, ...]) -> None:
        self._axes, self.size = axes, (shape[1], shape[0])
        # Pixels in a seventy-second of an inch of the report, as far as it is known before the layout.
        figure, grid = axes.get_figure(root=True), axes.get_subplotspec()
        columns = grid.get_gridspec().ncols if grid else 1
        wide = float(figure.get_size_inches()[0]) / columns if figure else style.WIDTH
        self.gap = shape[1] / (72 * wide) * max(1.0, shape[0] / shape[1] / ROW_MOST)

    def frame(self, one: Framed) -> None:
        """Draw a box on a white line."""
        left, top, right, bottom = (float(value) - 0.5 for value in one.box)
        how: dict[str, Any] = {
            "xy": (left, top),
            "width": right - left,
            "height": bottom - top,
            "fill": False,
        }
        self._axes.add_patch(Rectangle(**how, edgecolor="white", linewidth=2.6))
        self._axes.add_patch(Rectangle(**how, edgecolor=one.colour, linewidth=1.6, linestyle=one.style))

    def fill(self, shape: Shape, colour: str) -> None:
        """Lay the colour over the pixels, half transparent."""
        left, top, right, bottom = (float(value) - 0.5 for value in shape.window)
        tint = np.zeros((*shape.pixels.shape, 4))
        tint[..., :3], tint[..., 3] = to_rgb(colour), TINT * shape.pixels
        limits = self._axes.get_xlim(), self._axes.get_ylim()
        self._axes.imshow(tint, extent=(left, right, bottom, top), interpolation="nearest", zorder=1)
        self._axes.set(xlim=limits[0], ylim=limits[1])

    def plate(self, text: str) -> tuple[float, float]:
        """Width and height of a name, about; letters of East Asia are square."""
        letters = [unicodedata.east_asian_width(letter) in "WF" for letter in style.shortened(text, 20)]
        wide = 0.6 + sum(1.0 if square else 0.6 for square in letters)
        return wide * _NAME_SIZE * self.gap, 1.6 * _NAME_SIZE * self.gap

    def name(self, one: Framed, place: Place) -> None:
        """Write a name on its plate, with a line to its box where they do not touch."""
        if place.leader:
            self._axes.plot(*zip(*place.leader, strict=True), color=one.colour, linewidth=0.7)
        _, height = self.plate(one.text)
        self._axes.text(
            place.left + self.gap,
            place.top + height - 0.4 * _NAME_SIZE * self.gap,
            style.shortened(one.text, 20),
            va="baseline",
            fontsize=_NAME_SIZE,
            color="white",
            clip_on=True,
            bbox={"facecolor": one.colour, "edgecolor": "none", "pad": 0.8},
        )


class OnImage(Pen):
    """Draws boxes into an image, at its own size; every line is solid.

    Args:
        image: RGB; is drawn upon.
    """

    def __init__(self, image: Image.Image) -> None:
        self._image, self._pen, self.size = image, ImageDraw.Draw(image), image.size
        self.gap, self._high = max(2, round(min(image.size) / 200)), max(9, round(min(image.size) / 32))

    def frame(self, one: Framed) -> None:
        """Draw around the box's pixels, so that nothing of it is hidden, and inside the image."""
        left, top = int(np.floor(one.box[0])), int(np.floor(one.box[1]))
        right, bottom = int(np.ceil(one.box[2])) - 1, int(np.ceil(one.box[3])) - 1
        wide = int(self.gap)
        for edge, ink in ((wide + 1, "white"), (wide, one.colour)):
            first = max(left - edge, 0), max(top - edge, 0)
            last = min(right + edge, self.size[0] - 1), min(bottom + edge, self.size[1] - 1)
            corner = max(last[0], first[0]), max(last[1], first[1])
            self._pen.rectangle([first, corner], outline=ink, width=edge)

    def fill(self, shape: Shape, colour: str) -> None:
        """Lay the colour over the pixels, half transparent."""
        left, top, right, bottom = (round(float(value)) for value in shape.window)
        tint = Image.fromarray(shape.pixels.astype(np.uint8) * round(255 * TINT))
        tint = tint.resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.NEAREST)
        self._image.paste(colour, (left, top), tint)

    def _letters(self, text: str) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of a text that begins at 0."""
        return self._pen.textbbox((0, 0), text, font=_font(text, self._high))

    def plate(self, text: str) -> tuple[float, float]:
        """Width and height of a name."""
        left, top, right, bottom = self._letters(text)
        return int(right - left) + 4, int(bottom - top) + 4

    def name(self, one: Framed, place: Place) -> None:
        """Write a name on its plate, with a line to its box where they do not touch."""
        if place.leader:
            self._pen.line(place.leader, fill="white", width=3)
            self._pen.line(place.leader, fill=one.colour, width=1)
        x, y = int(place.left), int(place.top)
        (left, top, *_), (wide, high) = self._letters(one.text), self.plate(one.text)
        self._pen.rectangle([x, y, x + wide - 1, y + high - 1], fill=one.colour)
        red, green, blue = (int(one.colour[at : at + 2], 16) for at in (1, 3, 5))
        ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue >= _PALE else "white"
        self._pen.text((x + 2 - left, y + 2 - top), one.text, fill=ink, font=_font(one.text, self._high))


def _font(text: str, height: int) -> ImageFont.FreeTypeFont:
    """One that has the text's letters."""
    found = font_of(text)
    return _opened(found.file if found else OWN, height)


@cache
def _opened(file: Path, height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, height)
