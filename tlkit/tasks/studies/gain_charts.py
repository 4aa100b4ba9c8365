"""Measures against the number of real images, one line for each thing that was added."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import COLOURS, MUTED, styled
from tlkit.tasks.studies.gains import Cell
from tlkit.tasks.studies.question import NOTHING

MEASURES = ("recall", "precision", "eta")


@styled
def benefit_curves(cells: Sequence[Cell], title: str, measures: Sequence[str] = MEASURES) -> Figure:
    """Draw each arm as a line with its 95 % intervals, a panel a measure; nothing added is grey and dashed."""
    figure = style.blank(3.9)
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    numbers = sorted({cell.number for cell in cells})
    for axes, measure in zip(figure.subplots(1, len(measures), sharey=True), measures, strict=True):
        for place, arm in enumerate(arms):
            own = sorted((cell for cell in cells if cell.arm == arm), key=lambda cell: cell.number)
            shift = (place - (len(arms) - 1) / 2) * min(0.12, 0.6 / len(arms))
            spots = [numbers.index(cell.number) + shift for cell in own]
            values = [cell.measures[measure].value for cell in own]
            bounds = [cell.measures[measure].interval for cell in own]
            errors = [
                [max(0.0, value - low) for value, (low, _) in zip(values, bounds, strict=True)],
                [max(0.0, high - value) for value, (_, high) in zip(values, bounds, strict=True)],
            ]
            plain = arm == NOTHING
            axes.errorbar(
                spots,
                values,
                yerr=errors,
                label=arm,
                color=MUTED if plain else COLOURS[place % len(COLOURS)],
                linestyle="--" if plain else "-",
                marker="o",
                markersize=4,
                linewidth=1.6,
                elinewidth=1.0,
            )
        axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
        axes.set_xlabel("real images")
        axes.set_ylim(0, 1.03)
        axes.grid(axis="y")
        axes.set_title(measure)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(arms), 6), fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure
