"""The course of a GAN as curves over its steps: KID with its interval, losses, the discriminator's answers, ADA's p."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import BLUE, GREEN, MUTED, ORANGE, PURPLE, SKY, styled

Rows = Sequence[Mapping[str, Any]]
_SMOOTH = 60  # windows along a curve
_LOSSES = {"critic_loss": ("critic", BLUE), "generator_loss": ("generator", ORANGE)}
_SIGNS = {
    "sign_training": ("training", BLUE),
    "sign_real": ("training, augmented", SKY),
    "sign_held_out": ("held-out", GREEN),
    "sign_fake": ("generated", ORANGE),
}


@styled
def gan_curves(rows: Rows) -> Figure:
    """Draw a panel for each thing that was logged; what was not logged has none.

    Args:
        rows: Of metrics.jsonl, each with `step` and any of `kid`, `kid_low`, `kid_high`; `discriminator_loss`,
            `generator_loss`; `sign_training`, `sign_real` (the same images augmented, as in the GAN),
            `sign_held_out`, `sign_fake` (mean sign of the discriminator's answer, -1..1); `p`. A row may hold a part of
            them only; what is not finite is left out.
    """
    panels: list[tuple[Callable[[Axes, Rows], None], Sequence[str]]] = [
        (_draw_kid, ["kid"]),
        (_draw_signs, list(_SIGNS)),
        (_draw_losses, list(_LOSSES)),
        (_draw_p, ["p"]),
    ]
    drawn = [draw for draw, names in panels if any(len(_series(rows, name)[0]) for name in names)]
    if not drawn:
        return style.note("No step has been logged yet.")
    columns = min(len(drawn), 2)
    lines = -(-len(drawn) // columns)
    figure = style.blank(2.7 * lines, style.WIDTH)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, draw in zip(grid, drawn, strict=False):
        draw(axes, rows)
        axes.grid(visible=True, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.set_xlabel("step")
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    return figure


def _series(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, float64 [n] each, of the rows that have a finite one."""
    found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    pairs = np.array([pair for pair in found if np.isfinite(pair[1])], np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _draw_kid(axes: Axes, rows: Rows) -> None:
    steps, values = _series(rows, "kid")
    (low_steps, low), (high_steps, high) = _series(rows, "kid_low"), _series(rows, "kid_high")
    if len(low) and np.array_equal(low_steps, high_steps):
        axes.fill_between(low_steps, low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(steps, values, color=BLUE, marker="o", markersize=3.5)
    best = int(values.argmin())
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.plot(steps[best], values[best], "o", color=GREEN, markersize=6)
    axes.set_title(f"KID, 95 % interval · least {values[best]:.3g} at {steps[best]:,.0f}")


def _draw_signs(axes: Axes, rows: Rows) -> None:
    for name, (label, colour) in _SIGNS.items():
        _draw_noisy(axes, *_series(rows, name), colour, label)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylim(-1.08, 1.08)
    axes.set_yticks([-1, 0, 1], ["fake", "unsure", "real"])
    axes.set_title("What the discriminator says of images")
    axes.legend(ncols=2, fontsize=7, loc="lower center", borderaxespad=0.1, handlelength=1.2)


def _draw_losses(axes: Axes, rows: Rows) -> None:
    for name, (label, colour) in _LOSSES.items():
        _draw_noisy(axes, *_series(rows, name), colour, label)
    axes.set_title("Losses")
    axes.legend(ncols=2, fontsize=7.5)


def _draw_p(axes: Axes, rows: Rows) -> None:
    steps, values = _series(rows, "p")
    axes.plot(steps, values, color=PURPLE)
    axes.set_ylim(-0.03, max(1.03, float(values.max())))
    axes.set_title("p: how often an image is augmented")


def _draw_noisy(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    """Draw the values pale and their running mean over them."""
    if not len(values):
        return
    width = max(1, len(values) // _SMOOTH)
    if width > 1:
        axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.7)
        kernel = np.ones(width) / width
        values, steps = np.convolve(values, kernel, "valid"), np.convolve(steps, kernel, "valid")
    axes.plot(steps, values, color=colour, linewidth=1.6, label=label)
