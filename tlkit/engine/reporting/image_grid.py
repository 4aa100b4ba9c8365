"""A sheet of small pictures in rows and columns, laid out in pixels of the saved PNG.

Pictures of 32 or 64 pixels are evaluated pixel by pixel: each is enlarged by a whole number, so that every pixel of it
is a square of the sheet and none is wider than its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import INK, MUTED

WIDEST = round(style.WIDTH * style.SHARP)
NARROWEST = 800  # room for title and note
MARGIN, GAP, HEAD = 8, 6, 84  # around the sheet, between pictures, for title and note
_POINT = style.SHARP / 72  # pixels
_TITLE_LETTER, _NOTE_LETTER = 13.5, 9.2  # usual width


@dataclass(frozen=True)
class ImageGrid:
    """Where the pictures of a sheet lie, all lengths in pixels.

    Attributes:
        rows: Of pictures.
        columns: Of pictures.
        size: Side of a picture in its own pixels.
        label: Room below each picture for a line of text.
        left: Room for the names of the rows.
        right: Room for what else is drawn beside the pictures.
        top: Room for the names of the columns.
        largest: A picture is never drawn larger than this.
        column_breaks: By column, extra room before it.
        row_breaks: By row, extra room before it.
    """

    rows: int
    columns: int
    size: int
    label: int = 0
    left: int = 0
    right: int = 0
    top: int = 0
    largest: int = 192
    column_breaks: Mapping[int, int] = field(default_factory=dict)
    row_breaks: Mapping[int, int] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Of a picture as drawn: a whole multiple of its size; less only where that does not fit."""
        room = WIDEST - 2 * MARGIN - self.left - self.right - sum(self.column_breaks.values())
        fitting = min(room // self.columns - GAP, self.largest)
        return fitting // self.size * self.size if fitting >= self.size else fitting

    @property
    def width(self) -> int:
        """Of the sheet."""
        wide = self.columns * (self.side + GAP) - GAP + sum(self.column_breaks.values())
        return max(2 * MARGIN + self.left + wide + self.right, NARROWEST)

    @property
    def height(self) -> int:
        """Of the sheet."""
        tall = self.rows * (self.side + GAP + self.label) + sum(self.row_breaks.values())
        return HEAD + self.top + tall + MARGIN

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """(left, top) of a picture."""
        left = sum(extra for place, extra in self.column_breaks.items() if place <= column)
        top = sum(extra for place, extra in self.row_breaks.items() if place <= row)
        across = MARGIN + self.left + left + column * (self.side + GAP)
        return across, HEAD + self.top + top + row * (self.side + GAP + self.label)

    def figure(self, title: str, note: str) -> Figure:
        """Make the empty sheet with its title and a note below it."""
        figure = style.blank(self.height / style.SHARP, self.width / style.SHARP, layout=None)
        figure.set_dpi(style.SHARP)  # a picture for TensorBoard, too, has whole pixels
        room = self.width - 2 * MARGIN
        title, note = (
            style.shortened(text, int(room / letter))
            for text, letter in ((title, _TITLE_LETTER), (note, _NOTE_LETTER))
        )
        self.write(figure, MARGIN, 30, title, fontsize=10.5, fontweight="bold")
        self.write(figure, MARGIN, 60, note, fontsize=8.5, color=MUTED)
        return figure

    def axes(self, figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
        """Make axes at a place given in pixels from the left and top."""
        bottom = self.height - top - height
        shares = left / self.width, bottom / self.height, width / self.width, height / self.height
        return figure.add_axes(shares)

    def write(self, figure: Figure, left: float, base: float, text: str, **style: Any) -> None:
        """Write a line of text; `left` and `base` are pixels from the left and top."""
        options = {"color": INK, "fontsize": 8.0, **style}
        figure.text(left / self.width, 1 - base / self.height, text, **options)

    def draw(
        self, figure: Figure, row: int, column: int, image: np.ndarray, label: str = "", frame: str = ""
    ) -> Axes:
        """Draw a picture, float [s, s, c], 0..1, with a line below it and a coloured frame where wanted."""
        left, top = self.corner(row, column)
        axes = self.axes(figure, left, top, self.side, self.side)
        shown = np.clip(image, 0, 1)
        whole = self.side % self.size == 0
        axes.imshow(
            shown[..., 0] if shown.shape[2] == 1 else shown,
            cmap="gray",
            vmin=0,
            vmax=1,
            interpolation="nearest" if whole else "antialiased",
            aspect="auto",
        )
        style.frameless(axes)
        if frame:
            axes.spines[:].set(visible=True, color=frame, linewidth=2)
        if label:
            middle, base = left + self.side / 2, top + self.side + 9 * _POINT
            self.write(figure, middle, base, label, ha="center", fontsize=7, color=frame or MUTED)
        return axes

    def name_row(self, figure: Figure, row: int, text: str) -> None:
        """Write the name of a row to the left of it."""
        left, top = self.corner(row, 0)
        self.write(figure, left - 10, top + self.side / 2, text, ha="right", va="center")

    def name_column(self, figure: Figure, column: int, text: str, *, columns: int = 1) -> None:
        """Write the name of a column (or of several) above it."""
        left, top = self.corner(0, column)
        self.write(figure, left, top - 10, text, fontweight="bold" if columns > 1 else "normal")
