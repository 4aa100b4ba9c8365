"""Pictures of a network's inside: its first filters, the maps of a layer, and a walk of one image through it.

Every function gives a matplotlib Figure, as in reporting/plots.py. White is zero, blue above it, red below, and each map
or filter has its own scale: what is compared is where, not how much.
"""

from __future__ import annotations

import math
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import BLUE, INK, LINE, MUTED, PAPER, RED, styled
from tlkit.tasks.inspection.layer_table import strongest
from tlkit.tasks.inspection.trace import Step

SHOWN_MAPS, SHOWN_FILTERS = 32, 64
MOST_WEIGHTS = 48  # of a dense layer that are drawn, each way
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#7a3200", "#d55e00", "#f6b98d", PAPER, "#8fc1e3", "#0072b2", "#08304f"]
)

_SAYS = {
    "convolution": "A window slides over the input; at each place its pixels, times the kernel, are added up.",
    "depthwise convolution": "Each channel has a kernel of its own and does not mix with the others.",
    "pooling": "Each square becomes one number, so that a find may lie a little elsewhere.",
    "global pooling": "The mean of each map is one feature. Where it was is forgotten.",
    "fully connected": "Each output adds up all features, each times a weight of its own.",
}
_BENDS = {
    "relu": "What is negative becomes 0, the rest stays.",
    "relu6": "What is negative becomes 0, what is above 6 becomes 6.",
}


# --- filters and maps --------------------------------------------------------------------------------------


@styled
def filters(kernels: np.ndarray, layer: str, *, bgr: bool = False) -> Figure:
    """Draw the kernels of a first convolution.

    Args:
        kernels: Float [h, w, channels, n]. Three channels are drawn in colour, grey where the weight is 0; of other
            numbers of channels the one with the largest weights.
        layer: Its name.
        bgr: Whether the channels are blue, green, red.
    """
    height, width, channels, count = kernels.shape
    shown = min(count, SHOWN_FILTERS)
    note = f"{width} × {height} × {channels}, {_of(shown, count, 'filters')}, each on its own scale"
    note += "; grey is 0" if channels == 3 else ""
    figure, cells = _grid(shown, 8, height / width, f"What {layer} looks for", note, label=0.0)
    for index, axes in enumerate(cells):
        _show(axes, _filter(kernels[..., index], bgr=bgr))
    return figure


def _filter(kernel: np.ndarray, *, bgr: bool) -> np.ndarray:
    """[h, w, channels] as what `_show` takes: colours 0..1, or [h, w]."""
    if kernel.shape[2] != 3:
        return kernel[..., int(abs(kernel).sum(axis=(0, 1)).argmax())]
    colours = kernel[..., ::-1] if bgr else kernel
    return 0.5 + 0.5 * colours / max(float(abs(colours).max()), 1e-12)


@styled
def maps(values: np.ndarray, layer: str, kind: str) -> Figure:
    """Draw what a layer answers to one image, the channels that vary most first.

    Args:
        values: Float [h, w, c]; or [d] or [1, 1, d], drawn as bars.
        layer: Its name.
        kind: Its class.
    """
    size = " × ".join(map(str, values.shape))
    if values.ndim != 3 or values.shape[:2] == (1, 1):
        figure = style.blank(2.6, layout=None)
        _title(figure, layer, f"{kind}, {size}")
        _stems(figure.add_axes((0.06, 0.1, 0.92, 0.6)), values.ravel())
        return figure
    chosen = strongest(values, SHOWN_MAPS)
    count = _of(len(chosen), values.shape[2], "channels")
    note = (
        f"{kind}, {size}; {count}, by how much they vary; below each its number and its value farthest from 0"
    )
    figure, cells = _grid(len(chosen), 8, values.shape[0] / values.shape[1], layer, note, label=0.17)
    dead = 1e-6 * float(abs(values).max())  # a filter that never learned: its rounding errors are no picture
    for axes, channel in zip(cells, chosen, strict=True):
        part = np.where(abs(values[..., channel]) > dead, values[..., channel], 0)
        _show(axes, part)
        _below(axes, f"{channel} · {part.flat[abs(part).argmax()]:.2g}")
    return figure


def _of(shown: int, count: int, what: str) -> str:
    return f"all {count} {what}" if shown == count else f"{shown} of {count} {what}"


# --- the walk ----------------------------------------------------------------------------------------------

ROW, IMAGE, KERNEL = 1.95, 1.62, 0.95  # inches
TEXT_LEFT, BEFORE, MIDDLE, AFTER = 0.08, 2.55, 4.95, 6.3  # inches from the left; MIDDLE is a centre


@styled
def walk(steps: list[Step], *, bgr: bool = False) -> Figure:
    """Draw one row for each kind of operation: what enters, the kernel where there is one, what leaves.

    Args:
        steps: Of `trace`.
        bgr: Whether the channels of the image that enters are blue, green, red.
    """
    figure = style.blank(ROW * len(steps), layout=None)
    for number, step in enumerate(steps):
        top = ROW * (len(steps) - number)  # inches from below
        _explain(figure, step, top)
        _draw(_box(figure, BEFORE, top, IMAGE), step.before, bgr=bgr)
        if step.kernel is not None:
            _draw_kernel(_box(figure, MIDDLE - KERNEL / 2, top, KERNEL), step.kernel, bgr=bgr)
        _arrow(figure, step, top)
        _draw(_box(figure, AFTER, top, IMAGE), step.after, bgr=bgr)
    return figure


def _explain(figure: Figure, step: Step, top: float) -> None:
    before, after = (" × ".join(map(str, shape)) for shape in step.shapes)
    says = _BENDS.get(step.detail) if step.kind == "activation" else _SAYS[step.kind]
    lines = [
        (step.kind.capitalize(), 11, INK, "bold"),
        (
            style.shortened(f"{step.layer}, {step.detail}" if step.detail else step.layer, 34),
            8.5,
            MUTED,
            "normal",
        ),
        (f"{before}  →  {after}", 8.5, BLUE, "normal"),
    ]
    lines += [
        (line, 8.5, INK, "normal") for line in textwrap.wrap(says or "Each number is bent by itself.", 36)
    ]
    y = top - 0.3
    for text, letters, colour, weight in lines:
        figure.text(
            *_place(figure, TEXT_LEFT, y),
            text,
            fontsize=letters,
            color=colour,
            fontweight=weight,
            va="baseline",
        )
        y -= 0.235 if weight == "bold" else 0.19


def _arrow(figure: Figure, step: Step, top: float) -> None:
    """A star between input and kernel, and an arrow to the output."""
    y = top - ROW / 2
    half = KERNEL / 2 + 0.13
    star = (BEFORE + IMAGE + MIDDLE - KERNEL / 2) / 2
    if step.kernel is not None:
        figure.text(*_place(figure, star, y), "∗", ha="center", va="center", fontsize=15, color=MUTED)
    start = MIDDLE + half if step.kernel is not None else BEFORE + IMAGE + 0.25
    ends = _place(figure, start, y), _place(figure, AFTER - 0.12, y)
    figure.add_artist(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=11, color=MUTED, linewidth=1.1))


def _box(figure: Figure, left: float, top: float, side: float) -> Axes:
    """A square in the middle of the row that begins at `top`, inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, (top - ROW / 2 - side / 2) / height, side / width, side / height))


def _place(figure: Figure, x: float, y: float) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return x / width, y / height


def _draw(axes: Axes, values: np.ndarray, *, bgr: bool) -> None:
    if values.ndim == 1:
        _stems(axes, values)
    elif values.ndim == 3:
        colours = values[..., ::-1] if bgr else values
        low, high = float(colours.min()), float(colours.max())
        _show(axes, (colours - low) / max(high - low, 1e-12))
    else:
        _show(axes, values)


def _draw_kernel(axes: Axes, kernel: np.ndarray, *, bgr: bool) -> None:
    if kernel.ndim == 3:
        _show(axes, _filter(kernel, bgr=bgr))
        return
    dense = kernel.shape[0] > 16
    if dense:  # [d, k], of which a part is shown, outputs downwards
        kernel = kernel[:MOST_WEIGHTS, :MOST_WEIGHTS].T
    _show(axes, kernel)
    if not dense and kernel.size <= 9:
        most = abs(kernel).max()
        for (row, column), weight in np.ndenumerate(kernel):
            colour = PAPER if abs(weight) > 0.6 * most else INK
            axes.text(column, row, f"{weight:.1f}", ha="center", va="center", fontsize=7, color=colour)


# --- parts -------------------------------------------------------------------------------------------------


def _show(axes: Axes, values: np.ndarray) -> None:
    """Draw [h, w] about white as zero, or colours [h, w, 3], 0..1."""
    style.frameless(axes)
    axes.spines[:].set(visible=True, color=LINE, linewidth=0.8)
    most = max(float(abs(values).max()), 1e-12)
    smooth = "nearest" if max(values.shape[:2]) < 64 else "antialiased"
    # matplotlib leaves colours as they are: map and limits concern [h, w] only
    axes.imshow(values, interpolation=smooth, aspect="auto", cmap=SIGNED, vmin=-most, vmax=most)


def _stems(axes: Axes, values: np.ndarray) -> None:
    """Draw numbers as bars in their order, blue above zero, red below."""
    style.frameless(axes)
    colours = [BLUE if value >= 0 else RED for value in values.tolist()]
    if len(values) <= 32:
        axes.bar(range(len(values)), values, color=colours, width=0.7)
    else:
        axes.vlines(range(len(values)), 0, values, colors=colours, linewidth=0.7)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.margins(x=0.01, y=0.08)


def _below(axes: Axes, text: str) -> None:
    axes.annotate(
        text,
        (0.5, 0),
        (0, -8.5),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        fontsize=6.5,
        color=MUTED,
    )


def _title(figure: Figure, title: str, note: str) -> None:
    height = figure.get_size_inches()[1]
    left = 0.04 / style.WIDTH
    figure.text(
        left, 1 - 0.2 / height, style.shortened(title, 90), fontsize=10.5, fontweight="bold", color=INK
    )
    figure.text(left, 1 - 0.39 / height, note, fontsize=8.5, color=MUTED)


def _grid(
    count: int, columns: int, shape: float, title: str, note: str, *, label: float
) -> tuple[Figure, list[Axes]]:
    """Place `count` axes of height = shape × width below a title, with `label` inches below each.

    Few of them are drawn as small as many: a channel alone is no poster.
    """
    side, gap, head = style.WIDTH / columns, 0.07, 0.5  # inches
    row = side * shape + label
    height = head + math.ceil(count / columns) * row
    figure = style.blank(height, layout=None)
    _title(figure, title, note)
    cells = []
    for index in range(count):
        left, bottom = index % columns * side, height - head - index // columns * row - side * shape
        width, tall = side - gap, (side - gap) * shape
        box = ((left + gap / 2) / style.WIDTH, bottom / height, width / style.WIDTH, tall / height)
        cells.append(figure.add_axes(box))
    return figure, cells
