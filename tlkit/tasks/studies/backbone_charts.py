"""The table of extractors as a picture: bars in order, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import BLUE, INK, MUTED, ORANGE, styled


@styled
def sorted_bars(
    names: Sequence[str],
    values: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    title: str,
    marked: Sequence[bool] | None = None,
) -> Figure:
    """Draw one bar a row, the greatest first, with its 95 % interval.

    Args:
        names: [n] of the rows.
        values: [n], 0..1.
        bounds: [n] low and high.
        title: Above the bars.
        marked: [n], which bars are of another colour (controls, hand-made features).
    """
    order = sorted(range(len(names)), key=lambda i: values[i])
    figure = style.blank(1.2 + 0.32 * len(names))
    axes = figure.subplots()
    colours = [ORANGE if marked and marked[i] else BLUE for i in order]
    axes.barh(range(len(order)), [values[i] for i in order], height=0.62, color=colours)
    for place, i in enumerate(order):
        low, high = bounds[i]
        axes.plot([low, high], [place, place], color=INK, linewidth=1.1, solid_capstyle="butt")
        axes.plot([low, high], [place, place], "|", color=INK, markersize=6)
        axes.text(
            max(high, values[i]) + 0.012, place, f"{values[i]:.3f}", va="center", color=MUTED, fontsize=8.5
        )
    axes.set_yticks(range(len(order)), [style.shortened(names[i], 44) for i in order])
    axes.set_xlim(0, 1.1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.grid(axis="x")
    axes.set_title(title)
    return figure
