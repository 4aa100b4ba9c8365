"""Pictures of images: batches as the network sees them, mistakes, heat maps; and, under one name, the charts.

Every function gives a matplotlib Figure; `save` writes it as PNG, `to_array` makes pixels for TensorBoard.
Images are uint8 RGB `[n, h, w, 3]`, grey in three equal channels where they are X-rays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from tlkit.results import canvas
from tlkit.results.canvas import GREEN, INK, LINE, MUTED, RED, save, styled, to_array
from tlkit.results.charts import (
    class_counts,
    confusion_matrix,
    learning_curves,
    reliability,
    roc_curves,
    three_confusions,
)

__all__ = [
    "class_counts",
    "confusion_matrix",
    "heat_maps",
    "image_grid",
    "learning_curves",
    "mistakes",
    "overlay",
    "reliability",
    "roc_curves",
    "save",
    "three_confusions",
    "to_array",
]


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
        return canvas.note("There is no image to show.")
    columns = max(min(columns, len(images)), 3)
    figure, cells = _cells(len(images), columns, images.shape[1] / images.shape[2], titles)
    for index, axes in enumerate(cells):
        title = titles[index] if len(titles) else ""
        _draw_image(axes, images[index], title, colours[index] if len(colours) else LINE, columns)
    return figure


def _cells(count: int, columns: int, shape: float, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Place `count` axes of height = shape x width in rows, with room for their titles below."""
    side = canvas.WIDTH / columns
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    row = side * shape + (0.06 + lines * 1.45 * _letters(columns) / 72 if lines else 0.0)
    height = math.ceil(count / columns) * row
    figure = canvas.blank(height, layout=None)
    gap = 0.07  # inches around an image
    cells = []
    for index in range(count):
        left, top = index % columns * side, index // columns * row
        bottom = height - top - side * shape
        width, tall = (side - gap) / canvas.WIDTH, (side - gap) * shape / height
        axes = figure.add_axes(
            ((left + gap / 2) / canvas.WIDTH, (bottom + gap / 2 * shape) / height, width, tall)
        )
        canvas.frameless(axes)
        cells.append(axes)
    return figure, cells


def _letters(columns: int) -> float:
    return 8.0 if columns <= 6 else 7.0  # points


def _draw_image(axes: Axes, image: np.ndarray, title: str, colour: str, columns: int) -> None:
    small = image.shape[0] < 64
    axes.imshow(image, interpolation="nearest" if small else "antialiased", aspect="auto")
    axes.spines[:].set(visible=True, color=colour, linewidth=1 if colour == LINE else 2.5)
    letters = _letters(columns)
    most = int(72 * canvas.WIDTH / columns / (0.62 * letters))  # characters that fit under the image
    for number, line in enumerate(title.split("\n") if title else []):
        # Each line on its own baseline, so that names with and without tall letters stand level.
        below = (0, -1.45 * letters * (number + 1) + 1)
        axes.annotate(
            canvas.shortened(line, most),
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
    paths: Sequence[str] = (),
    limit: int = 24,
) -> Figure:
    """Show the wrongly named images, the most confident first.

    Args:
        images: uint8 `[n, h, w, 3]`; those that were named rightly are left out.
        true: Class names, n.
        predicted: Class names, n.
        confidence: Probability of the predicted class, 0..1, n.
        paths: Where the images lie, n; empty: not said.
        limit: At most so many are shown.
    """
    wrong = [index for index in range(len(images)) if true[index] != predicted[index]]
    if not wrong:
        return canvas.note("No mistake among these images.")
    worst = sorted(wrong, key=lambda index: -float(confidence[index]))[:limit]
    titles = []
    for index in worst:
        title = f"says {predicted[index]}, {100 * confidence[index]:.0f} %\nis {true[index]}"
        titles.append(f"{title}\n{paths[index].rsplit('/', 1)[-1]}" if len(paths) else title)
    return image_grid(np.asarray(images)[worst], titles, [RED] * len(worst), columns=6)


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
        return canvas.note("There is no image to show.")
    pairs = 3
    figure, cells = _cells(len(images), pairs, images.shape[1] / (2 * images.shape[2]), titles)
    for index, axes in enumerate(cells):
        gap = np.full((images.shape[1], max(images.shape[2] // 40, 1), 3), 255, np.uint8)
        pair = np.concatenate([images[index], gap, overlay(images[index], heats[index])], axis=1)
        colour = MUTED if not len(right) else GREEN if right[index] else RED
        _draw_image(axes, pair, titles[index] if len(titles) else "", colour, pairs)
    return figure
