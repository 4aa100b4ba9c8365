"""Detectors against each other as a picture: what each finds, over the time that an image takes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import BLUE, INK, ORANGE, styled


@styled
def against_time(
    names: Sequence[str],
    values: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    milliseconds: Sequence[float],
    marked: Sequence[bool],
) -> Figure:
    """Draw AP50 with its 95 % interval over the time that an image takes, on a logarithmic axis.

    Args:
        names: [n] of the detectors.
        values: [n], 0..1.
        bounds: [n] low and high.
        milliseconds: [n], above 0.
        marked: [n], which points are of another colour (learned otherwise).
    """
    if not names:
        return style.note("Of no detector is it known how long an image takes.")
    figure = style.blank(4.2)
    axes = figure.subplots()
    for name, value, (low, high), took, other in zip(
        names, values, bounds, milliseconds, marked, strict=True
    ):
        axes.plot([took, took], [low, high], color=INK, linewidth=1.1, solid_capstyle="butt")
        axes.plot([took], [value], "o", color=ORANGE if other else BLUE, markersize=7)
        axes.annotate(
            style.shortened(name, 24),
            (took, value),
            (7, 4),
            textcoords="offset points",
            color=INK,
            fontsize=8.5,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(milliseconds) / 1.6, max(milliseconds) * 2.6)  # room for the last name
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # a narrow range may hold no power of ten
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,g}"))
    axes.minorticks_off()
    axes.grid()
    axes.set_xlabel("milliseconds an image")
    axes.set_title("AP50 and the time that an image takes, 95 % intervals over groups")
    return figure
