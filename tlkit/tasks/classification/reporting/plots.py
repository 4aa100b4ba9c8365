"""Pictures of images: batches as the network sees them, mistakes, heat maps; and the curves of a classifier.

Every function gives a matplotlib Figure for `style.save`.
Images are uint8 RGB `[n, h, w, 3]`, grey in three equal channels where they are X-rays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter
from PIL import Image

from tlkit.engine.reporting import style
from tlkit.engine.reporting.charts import MANY
from tlkit.engine.reporting.style import BLUE, COLOURS, GREEN, INK, LINE, MUTED, RED, styled
from tlkit.tasks.classification.calibration import expected_calibration_error, reliability_bins
from tlkit.tasks.classification.metrics import roc_points

_OVER, _UNDER = "#f3c3a3", "#a9d3ec"
_CURVES = 8  # ROC curves with a colour and a name


@styled
def image_grid(
    images: np.ndarray,
    titles: Sequence[str] = (),
    colours: Sequence[str] = (),
    columns: int = 8,
) -> Figure:
    """Lay images out in rows, each with a title below and a frame.

    Args:
        images: uint8 `[n, h, w, 3]`.
        titles: One for each image, lines separated by newlines; empty: none.
        colours: Of the frames, one for each image; empty: grey.
        columns: Images in a row; fewer images than that are drawn no larger than a third of the width.
    """
    images = np.asarray(images)
    if not len(images):
        return style.note("There is no image to show.")
    columns = max(min(columns, len(images)), 3)
    figure, cells = _cells(len(images), columns, images.shape[1] / images.shape[2], titles)
    for index, axes in enumerate(cells):
        title = titles[index] if len(titles) else ""
        _draw_image(axes, images[index], title, colours[index] if len(colours) else LINE, columns)
    return figure


def _cells(count: int, columns: int, shape: float, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Place `count` axes of height = shape x width in rows, with room for their titles below."""
    side = style.WIDTH / columns
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    row = side * shape + (0.06 + lines * 1.45 * _letters(columns) / 72 if lines else 0.0)
    height = math.ceil(count / columns) * row
    figure = style.blank(height, layout=None)
    gap = 0.07  # inches around an image
    cells = []
    for index in range(count):
        left, top = index % columns * side, index // columns * row
        bottom = height - top - side * shape
        width, tall = (side - gap) / style.WIDTH, (side - gap) * shape / height
        axes = figure.add_axes(
            ((left + gap / 2) / style.WIDTH, (bottom + gap / 2 * shape) / height, width, tall)
        )
        style.frameless(axes)
        cells.append(axes)
    return figure, cells


def _letters(columns: int) -> float:
    return 8.0 if columns <= 6 else 7.0  # points


def _draw_image(axes: Axes, image: np.ndarray, title: str, colour: str, columns: int) -> None:
    small = image.shape[0] < 64
    axes.imshow(image, interpolation="nearest" if small else "antialiased", aspect="auto")
    axes.spines[:].set(visible=True, color=colour, linewidth=1 if colour == LINE else 2.5)
    letters = _letters(columns)
    most = int(72 * style.WIDTH / columns / (0.62 * letters))  # characters that fit under the image
    for number, line in enumerate(title.split("\n") if title else []):
        # Each line on its own baseline, so that names with and without tall letters stand level.
        below = (0, -1.45 * letters * (number + 1) + 1)
        axes.annotate(
            style.shortened(line, most),
            (0.5, 0),
            below,
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            fontsize=letters,
            color=INK if number == 0 else MUTED,
        )


@styled
def mistakes(
    images: np.ndarray,
    true: Sequence[str],
    predicted: Sequence[str],
    confidence: Sequence[float],
    paths: Sequence[str],
) -> Figure:
    """Show wrongly named images, in their order.

    Args:
        images: uint8 `[n, h, w, 3]`.
        true: Class names, n.
        predicted: Class names, n.
        confidence: Probability of the predicted class, 0..1, n.
        paths: Where the images lie, n.
    """
    titles = [
        f"says {said}, {100 * share:.0f} %\nis {name}\n{path.rsplit('/', 1)[-1]}"
        for said, share, name, path in zip(predicted, confidence, true, paths, strict=True)
    ]
    return image_grid(images, titles, [RED] * len(titles), columns=6)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over an image: the hotter, the more of it covers the grey image below.

    Args:
        image: uint8 `[h, w, 3]`.
        heat: Float `[a, b]`, 0..1, any size; enlarged bilinearly.

    Returns:
        uint8 `[h, w, 3]`.
    """
    height, width = image.shape[:2]
    small = Image.fromarray(np.clip(np.nan_to_num(heat), 0, 1).astype(np.float32))
    large = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))[..., None]
    grey = np.asarray(image, np.float64).mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.85 + 38
    colour = colormaps["inferno"](0.25 + 0.7 * large[..., 0])[..., :3] * 255
    covering = 0.8 * large
    return np.round(grey * (1 - covering) + colour * covering).astype(np.uint8)


@styled
def heat_maps(
    images: np.ndarray, heats: np.ndarray, titles: Sequence[str] = (), right: Sequence[bool] = ()
) -> Figure:
    """Show pairs: the image, and where the network looked (Grad-CAM) laid over it.

    Args:
        images: uint8 `[n, h, w, 3]`.
        heats: Float `[n, a, b]`, 0..1.
        titles: One for each pair; empty: none.
        right: Whether each answer was right (green frame) or wrong (red); empty: grey.

    Source of Grad-CAM: Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """
    images = np.asarray(images)
    if not len(images):
        return style.note("There is no image to show.")
    pairs = 3
    figure, cells = _cells(len(images), pairs, images.shape[1] / (2 * images.shape[2]), titles)
    for index, axes in enumerate(cells):
        gap = np.full((images.shape[1], max(images.shape[2] // 40, 1), 3), 255, np.uint8)
        pair = np.concatenate([images[index], gap, overlay(images[index], heats[index])], axis=1)
        colour = MUTED if not len(right) else GREEN if right[index] else RED
        _draw_image(axes, pair, titles[index] if len(titles) else "", colour, pairs)
    return figure


@styled
def reliability(labels: np.ndarray, before: np.ndarray, after: np.ndarray, temperature: float) -> Figure:
    """Draw how often the model is right at each confidence, before and after the temperature.

    Args:
        labels: True class indices, int `[n]`.
        before: Probabilities at temperature 1, float `[n, k]`.
        after: Probabilities at the temperature, float `[n, k]`.
        temperature: Named in the title of the second panel.
    """
    figure = style.blank(4.4, 9.2)
    grid = figure.subplots(2, 2, sharex=True, height_ratios=[4, 1])
    panels = {"As trained": before, f"With temperature {temperature:.2f}": after}
    for column, (title, probabilities) in enumerate(panels.items()):
        _draw_reliability(grid[0, column], grid[1, column], np.asarray(labels), np.asarray(probabilities))
        error = expected_calibration_error(labels, probabilities)
        grid[0, column].set_title(f"{title} · ECE {100 * error:.1f} points")
    return figure


def _draw_reliability(axes: Axes, below: Axes, labels: np.ndarray, probabilities: np.ndarray) -> None:
    table = reliability_bins(labels, probabilities)
    left, width = table.edges[:-1], np.diff(table.edges)
    filled = table.counts > 0
    kept = np.fmin(table.accuracy, table.confidence)
    over, under = (np.maximum(gap, 0) for gap in (table.confidence - kept, table.accuracy - kept))
    for heights, bottom, colour, label in (
        (kept, 0.0, BLUE, "share right"),
        (over, kept, _OVER, "promised, not kept"),
        (under, kept, _UNDER, "better than promised"),
    ):
        axes.bar(
            left, heights, width, bottom=bottom, align="edge", color=colour, edgecolor="white", label=label
        )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(table.confidence[filled], table.accuracy[filled], "o", color=INK, markersize=3)
    axes.set(ylim=(0, 1.02), xlim=(0, 1), ylabel="share right")
    axes.grid(axis="y")
    axes.legend(loc="upper left", fontsize=8.5)
    below.bar(
        left, table.counts / max(table.counts.sum(), 1), width, align="edge", color=LINE, edgecolor="white"
    )
    below.set(xlabel="confidence of the answer", ylabel="images")
    below.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %", decimals=0))
    for each in (axes, below):
        each.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %", decimals=0))


@styled
def roc_curves(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw each class against the rest, on a plain axis and on a logarithmic one for few false alarms.

    With more than 8 classes only the 8 worst have a colour and a name; the others are grey, and of more than 100 classes
    the 100 worst are drawn.

    Args:
        labels: True class indices, int `[n]`.
        probabilities: Float `[n, k]`.
        class_names: k names.
    """
    found = []
    for index, name in enumerate(class_names):
        points = roc_points(labels, probabilities, index)
        if points is not None:
            found.append((float(np.trapezoid(points[1], points[0])), str(name), points[0], points[1]))
    if not found:
        return style.note("A ROC curve needs images of at least two classes.")
    if len(found) > _CURVES:
        found.sort(key=lambda curve: curve[0])
    found = found[:MANY]
    figure = style.blank(4.3, 9.2)
    plain, rare = figure.subplots(1, 2, sharey=True)
    least = 1 / max(len(labels), 10)
    for axes in (plain, rare):
        _draw_roc(axes, found, least if axes is rare else 0.0)
    plain.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for axis in (plain.xaxis, plain.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %", decimals=0))
    plain.set(
        xlim=(-0.01, 1.01), ylabel="found (true-positive rate)", title="ROC, one class against the rest"
    )
    rare.set(xscale="log", xlim=(least, 1), title="The same at few false alarms")
    rare.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    rare.xaxis.set_minor_formatter(NullFormatter())
    plain.legend(loc="lower right", fontsize=8.5)
    return figure


def _draw_roc(axes: Axes, curves: list[tuple[float, str, np.ndarray, np.ndarray]], least: float) -> None:
    for _, _, false, true in curves[_CURVES:]:
        axes.plot(np.maximum(false, least), true, color=LINE, linewidth=1, zorder=1)
    for (area, name, false, true), colour in zip(curves, COLOURS):
        label = f"{style.shortened(name, 24)}  AUC {area:.3f}"
        axes.plot(np.maximum(false, least), true, color=colour, label=label, drawstyle="steps-post")
    axes.set(xlabel="false alarms (false-positive rate)", ylim=(-0.01, 1.015))
    axes.grid()
