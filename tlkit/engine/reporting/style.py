"""One look for every picture: colours, letters, and a canvas that needs no screen and leaves no global state.

Figures are built with matplotlib's objects, never with pyplot, inside `@styled`, which sets the style and
takes it back. Colours are Okabe and Ito's, told apart by colour-blind readers as well.
Source of the palette: Okabe and Ito: Color Universal Design, 2008.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tlkit.engine.reporting.lettering import choose_fonts

INK, MUTED, LINE, SHADE, PAPER = "#1d2733", "#66717e", "#d9dee4", "#f3f5f8", "#ffffff"
BLUE, ORANGE, GREEN, SKY, RED, PURPLE = "#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#cc79a7"
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, INK, "#a38a00")
BLUES = LinearSegmentedColormap.from_list("right", [PAPER, "#cfe3f1", "#5aa1cf", "#0a5c92"])
REDS = LinearSegmentedColormap.from_list("wrong", [PAPER, "#fbe0cc", "#f09a5b", "#b94c00"])
WIDTH = 8.0  # inches; 800 px at 100 dots per inch
SHARP = 150  # dots per inch of a saved PNG

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $x$
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#e8ebef",
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}
Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Run a drawing function in our style, its letters in fonts that have them, and take the style back afterwards."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **options: Arguments.kwargs) -> Figure:
        with rc_context(_STYLE):
            figure = draw(*args, **options)
            choose_fonts(figure)
            return figure

    return drawn


def blank(
    height: float, width: float = WIDTH, layout: Literal["constrained", "compressed"] | None = "constrained"
) -> Figure:
    """Make an empty figure whose parts find their places themselves.

    Args:
        height: Inches.
        width: Inches.
        layout: "compressed" where the shape of the axes is fixed; None where their places are given.
    """
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def note(sentence: str) -> Figure:
    """Make a small figure that only says something, where there is nothing to draw."""
    figure = blank(1.2)
    figure.text(0.5, 0.5, sentence, ha="center", va="center", color=MUTED, fontsize=11)
    return figure


def frameless(axes: Axes) -> None:
    """Take the frame and the ticks away."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def shortened(text: str, most: int) -> str:
    """Cut the middle out of a text that is longer than `most` characters."""
    text = " ".join(str(text).split())
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, about 1,200 pixels wide, and say where.

    Args:
        figure: What a drawing function gave.
        path: Ends in `.png`; its folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet_letters(), rc_context(_STYLE):
        figure.savefig(path, dpi=SHARP, metadata={"Software": None})
    return path


def to_array(figure: Figure) -> np.ndarray:
    """Turn a figure into pixels, uint8 RGB `[h, w, 3]`, about 800 wide: what TensorBoard takes."""
    style = FigureCanvasAgg(figure)
    with _quiet_letters(), rc_context(_STYLE):
        style.draw()
    return np.asarray(style.buffer_rgba())[..., :3].copy()


class _quiet_letters(warnings.catch_warnings):  # noqa: N801, a context that reads like a verb
    """Draw a box for a letter that the font lacks, without a warning for each."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
