"""Pictures of detections: what was found, missed and falsely alarmed; batches with boxes; PR, F1 and FROC curves.

Hits are green, missed objects orange and dashed, false alarms red and dotted: told apart without colours as well.
Every function gives a matplotlib Figure, as in `images`. The confusion matrix with background is drawn by
`plots.confusion_matrix`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, PercentFormatter
from PIL import Image, ImageOps

from tlkit.data.boxes.dataset import Boxes
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.decoding.pixel_limit import TooManyPixels
from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import BLUE, COLOURS, GREEN, INK, LINE, MUTED, ORANGE, RED, styled
from tlkit.errors import DataFault
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.curves import Curve, at_false_alarms, best_f1, curve, voc_ap
from tlkit.tasks.detection.metrics.matching import match_image, ranked
from tlkit.tasks.detection.reporting.drawing import (
    ROW_LEAST,
    ROW_MOST,
    Framed,
    OnAxes,
    Shape,
    draw_boxes,
    shape_of,
)

MOST_PIXELS = 640  # of the longer side of an image that is shown
STYLES = {"hit": (GREEN, "-"), "missed": (ORANGE, "--"), "false alarm": (RED, ":")}
_NAMED = 8  # curves with a colour and a name
_CROWD = 16  # boxes in an image beyond which not each is named


def upright_image(file: str | Path, most: int = MOST_PIXELS) -> np.ndarray:
    """An image for people to look at: upright, uint8 RGB `[h, w, 3]`, shrunk to `most` pixels a side.

    Raises:
        DataFault: It cannot be opened.
    """
    try:
        with warnings.catch_warnings(), open_image(file) as opened:
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata
            opened.draft("RGB", (most, most))
            # Only JPEG is turned by our decoder, and so are boxes.
            image = ImageOps.exif_transpose(opened) if opened.format in {"JPEG", "MPO"} else opened
            if image.mode.startswith(("I", "F")):
                values = np.asarray(image, np.float64)
                scale = 257.0 if values.max(initial=0) > 255 else 1.0
                image = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
            image = image.convert("RGB")
            image.thumbnail((most, most))
            return np.asarray(image)
    except TooManyPixels as fault:
        raise DataFault(f"{file} {fault}.", "Replace the file.") from None
    except OSError as fault:
        raise DataFault(f"{file} cannot be opened ({fault}).", "Replace the file.") from None


def worst(
    truth: Boxes, found: Sequence[Detections], threshold: float, limit: int = 12, iou: float = 0.5
) -> list[int]:
    """The images with the most missed objects and false alarms at a threshold, the surest of equals first.

    Args:
        truth: The objects.
        found: The detections.
        threshold: Detections below it are left out.
        limit: At most so many images; those without a fault are none of them.
        iou: Least overlap of a hit.
    """
    kept = [one.above(threshold) for one in found]
    faults = []
    for i in range(len(truth)):
        hits, ignored, found_at = match_image(truth, kept, i, iou)
        alarms = kept[i].scores[~hits & ~ignored]
        missed = int((np.isneginf(found_at) & ~truth.ignored[i]).sum())
        if missed + len(alarms):
            faults.append((-(missed + len(alarms)), -float(alarms.max(initial=0.0)), i))
    return [i for *_, i in sorted(faults)[:limit]]


def over_classes(truth: Boxes, limit: int, seed: int = 0) -> list[int]:
    """Images with objects, drawn by a seed: one of each class in turn, as far as there are so many.

    Args:
        truth: The objects.
        limit: At most so many images.
        seed: Of the draw.
    """
    order = np.random.default_rng([seed, 6]).permutation(len(truth)).tolist()
    of_class = [[i for i in order if (truth.labels[i] == k).any()] for k in range(len(truth.class_names))]
    chosen: dict[int, None] = {}
    while any(of_class) and len(chosen) < limit:
        for own in of_class:
            fresh = next((i for i in own if i not in chosen), None)
            own[:] = own if fresh is not None else []
            if fresh is not None and len(chosen) < limit:
                chosen[fresh] = None
    return list(chosen)


# --- images with boxes ---


@styled
def labelled_batch(
    images: np.ndarray,
    boxes: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    class_names: Sequence[str],
    columns: int = 4,
    shapes: Sequence[Sequence[Shape | None]] | None = None,
) -> Figure:
    """Show a batch as the network sees it, each class in a colour.

    Args:
        images: uint8 `[n, h, w, 3]`.
        boxes: [n] float `[m, 4]`, left, top, right, bottom in pixels of these images.
        labels: [n] int `[m]`; negative ones are padding and not drawn.
        class_names: k names.
        columns: Images in a row.
        shapes: [n] of [m] masks in pixels of these images; None: without.
    """
    if not len(images):
        return style.note("There is no image to show.")
    figure, grid = _grid([list(images[start : start + columns]) for start in range(0, len(images), columns)])
    drawn = shapes or [[None] * len(kinds) for kinds in labels]
    for axes, image, some, kinds, own in zip(grid, images, boxes, labels, drawn, strict=False):
        _show(axes, image)
        framed = [
            Framed(box, COLOURS[int(label) % len(COLOURS)], "-", class_names[int(label)], shape)
            for box, label, shape in zip(np.asarray(some), np.asarray(kinds), own, strict=True)
            if label >= 0
        ]
        draw_boxes(OnAxes(axes, image.shape), framed)
    return figure


@styled
def beside_truth(
    truth: Boxes,
    detectors: Mapping[str, tuple[Sequence[Detections], float]],
    indices: Sequence[int] = (),
    iou: float = 0.5,
) -> Figure:
    """Show images in rows: the objects, then what each detector says; more than four detectors take several rows.

    Args:
        truth: The objects.
        detectors: Name -> detections of all these images, and the threshold from which they are shown.
        indices: Which images; empty: the first six.
        iou: Least overlap of a hit.
    """
    chosen = list(indices) or list(range(min(len(truth), 6)))
    if not chosen:
        return style.note("There is no image to show.")
    images = [upright_image(truth.file(i)) for i in chosen]
    panels, wide = 1 + len(detectors), _wide(1 + len(detectors))
    rows = [[image] * min(wide, panels - start) for image in images for start in range(0, panels, wide)]
    figure, grid = _grid(rows)
    size = 10.5 if wide < 4 else 8.5 if wide < 5 else 7  # what fits above a narrow image
    for row, (i, image) in enumerate(zip(chosen, images, strict=True)):
        cells = grid[row * panels :]
        _draw_truth(cells[0], truth, i, image)
        for axes, (name, (found, threshold)) in zip(cells[1:], detectors.items(), strict=False):
            _draw_outcome(axes, truth, [one.above(threshold) for one in found], i, image, iou)
            if row == 0 or wide < panels:
                axes.set_title(f"{style.shortened(name, 28)} from {threshold:.2f}", fontsize=size)
        if row == 0 or wide < panels:
            cells[0].set_title("truth", fontsize=size)
    _legend(figure)
    return figure


@styled
def worst_images(
    truth: Boxes, found: Sequence[Detections], threshold: float, limit: int = 12, iou: float = 0.5
) -> Figure:
    """Show the images with the most missed objects and false alarms.

    Args:
        truth: The objects.
        found: The detections.
        threshold: Detections below it are left out.
        limit: At most so many images.
        iou: Least overlap of a hit.
    """
    chosen = worst(truth, found, threshold, limit, iou)
    if not chosen:
        return style.note(f"Nothing is missed and nothing is falsely alarmed from {threshold:.2f}.")
    kept = [one.above(threshold) for one in found]
    images = [upright_image(truth.file(i)) for i in chosen]
    columns = 4
    figure, grid = _grid([images[start : start + columns] for start in range(0, len(images), columns)])
    for axes, i, image in zip(grid, chosen, images, strict=False):
        _draw_outcome(axes, truth, kept, i, image, iou)
        axes.set_xlabel(style.shortened(truth.paths[i].rpartition("/")[2], 26), fontsize=7, color=MUTED)
    _legend(figure)
    return figure


def _wide(panels: int) -> int:
    """How many panels of an image stand in a row: all up to five, else as many as fill few rows best."""
    return panels if panels <= 5 else min((3, 4, 5), key=lambda wide: (-(-panels // wide), -panels % wide))


def _grid(rows: Sequence[Sequence[np.ndarray]]) -> tuple[Figure, list[Axes]]:
    """Axes for rows of images, each row as high as its highest image; few in a row make a narrow figure."""
    columns = max(2, *(len(row) for row in rows))  # two leave room for the legend
    shapes = [max(image.shape[0] / image.shape[1] for image in row) for row in rows]
    ratios = np.clip(shapes, ROW_LEAST, ROW_MOST)
    side = style.WIDTH / max(3, columns)
    figure = style.blank(float(side * ratios.sum() + 0.18 * len(rows) + 0.4), side * columns)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=ratios)
    for axes in grid.ravel():
        style.frameless(axes)
    cells = [axes for row, members in zip(grid, rows, strict=True) for axes in row[: len(members)]]
    for axes in set(grid.ravel()) - set(cells):
        axes.set_axis_off()
    return figure, cells


def _show(axes: Axes, image: np.ndarray) -> None:
    small = max(image.shape[:2]) < 64
    axes.imshow(image, interpolation="nearest" if small else "antialiased")
    axes.spines[:].set(visible=True, color=LINE, linewidth=1)
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))


def _scale(truth: Boxes, index: int, image: np.ndarray) -> np.ndarray:
    """float64 `[4]`: from pixels of the file to pixels of the image shown."""
    width, height = truth.sizes[index]
    return np.array([image.shape[1] / width, image.shape[0] / height] * 2)


def _draw_truth(axes: Axes, truth: Boxes, index: int, image: np.ndarray) -> None:
    _show(axes, image)
    scale = _scale(truth, index, image)
    kinds = (truth.labels[index], truth.difficult[index], truth.crowd[index])
    masks = truth.masks[index] if truth.masks else (None,) * len(truth.labels[index])
    framed = []
    for box, mask, label, difficult, crowd in zip(truth.xyxy[index], masks, *kinds, strict=True):
        more = " (crowd)" if crowd else " (difficult)" if difficult else ""
        colour, text = MUTED if more else BLUE, truth.class_names[label] + more
        framed.append(Framed(box * scale, colour, "-", text, shape_of(mask, scale)))
    draw_boxes(OnAxes(axes, image.shape), framed)


def _draw_outcome(
    axes: Axes, truth: Boxes, kept: Sequence[Detections], index: int, image: np.ndarray, iou: float
) -> None:
    """Missed objects, then detections, the surest on top; those that do not count are grey.

    Where there are many boxes only false alarms are named, for the names would hide the image.
    """
    _show(axes, image)
    scale = _scale(truth, index, image)
    hits, ignored, found_at = match_image(truth, kept, index, iou)
    crowded = len(found_at) + len(hits) > _CROWD
    framed = [
        Framed(
            truth.xyxy[index][j] * scale,
            *STYLES["missed"],
            "" if crowded else truth.class_names[truth.labels[index][j]],
        )
        for j in np.flatnonzero(np.isneginf(found_at) & ~truth.ignored[index])
    ]
    own = kept[index]
    for row in np.argsort(own.scores, kind="stable"):
        colour, style = STYLES["hit" if hits[row] else "false alarm"]
        colour, style = (MUTED, "-") if ignored[row] else (colour, style)
        text = f"{truth.class_names[own.labels[row]]} {own.scores[row]:.2f}"
        text = "" if crowded and (hits[row] or ignored[row]) else text
        shape = shape_of(own.masks[row], scale) if own.masks else None
        framed.append(Framed(own.boxes[row] * scale, colour, style, text, shape))
    draw_boxes(OnAxes(axes, image.shape), framed)


def _legend(figure: Figure) -> None:
    lines = [Line2D([], [], color=colour, ls=style) for colour, style in STYLES.values()]
    figure.legend(lines, list(STYLES), loc="outside upper right", ncols=len(lines), fontsize=8.5)


# --- curves ---


@styled
def pr_curves(truth: Boxes, found: Sequence[Detections], iou: float = 0.5) -> Figure:
    """Draw precision over recall, and F1 over the threshold, of each class, and the best F1 of all together.

    Args:
        truth: The objects.
        found: The detections.
        iou: Least overlap of a hit.
    """
    rows = ranked(truth, found, iou)
    if not len(rows.found_at):
        return style.note("Precision and recall need objects, and there is none.")
    named = []
    for k, name in enumerate(truth.class_names):
        area = voc_ap(rows.of(k))
        if area is not None:
            named.append((area, name, curve(rows.of(k))))
    figure = style.blank(4.3, 9.2)
    left, right = figure.subplots(1, 2)
    _draw_classes(left, right, sorted(named, key=lambda one: one[0]) if len(named) > _NAMED else named)
    every = curve(rows)
    best = best_f1(every)
    right.plot(every.thresholds, every.f1, color=INK, linewidth=2.6, label="all classes")
    if best["threshold"] is not None:
        right.plot(best["threshold"], best["f1"], "o", color=INK, markersize=6)
        title = f"F1 · best {best['f1']:.3f} from score {best['threshold']:.3f}"
        right.set_title(title)
    left.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.015))
    left.set_title(f"Precision and recall at IoU {iou:g}")
    right.set(xlabel="score", ylabel="F1", xlim=(-0.01, 1.01), ylim=(-0.01, 1.015))
    for axes in (left, right):
        axes.grid()
    left.legend(loc="lower left", fontsize=8.5)
    right.legend(loc="lower center", fontsize=8.5)
    return figure


def _draw_classes(left: Axes, right: Axes, named: Sequence[tuple[float, str, Curve]]) -> None:
    """The worst eight with a colour and a name, others grey."""
    for _, _, points in named[_NAMED:]:
        left.plot(points.recall, points.precision, color=LINE, linewidth=1, zorder=1)
        right.plot(points.thresholds, points.f1, color=LINE, linewidth=1, zorder=1)
    for (area, name, points), colour in zip(named, COLOURS, strict=False):
        label = f"{style.shortened(name, 24)}  AP {area:.3f}"
        left.plot(points.recall, points.precision, color=colour, label=label)
        right.plot(points.thresholds, points.f1, color=colour, linewidth=1.4)


@styled
def froc(
    truth: Boxes, found: Sequence[Detections], rates: Sequence[float] = (0.1, 0.5, 1.0), iou: float = 0.5
) -> Figure:
    """Draw recall over false alarms an image, all classes at one threshold, and each class at the same.

    Args:
        truth: The objects.
        found: The detections.
        rates: False alarms an image that are marked on the curve.
        iou: Least overlap of a hit.
    """
    rows = ranked(truth, found, iou)
    if not len(rows.found_at):
        return style.note("Recall needs objects, and there is none.")
    points = curve(rows)
    figure = style.blank(4.3, 6.4)
    axes = figure.subplots()
    least = 1 / max(2 * len(truth), 20)
    alarms = np.maximum(points.false_alarms, least)
    for k, colour in zip(range(min(len(truth.class_names), _NAMED)), COLOURS, strict=False):
        own = np.sort(rows.found_at[rows.object_labels == k])
        if len(own):
            recall = 1 - np.searchsorted(own, points.thresholds) / len(own)
            name = style.shortened(truth.class_names[k], 24)
            axes.plot(alarms, recall, color=colour, linewidth=1.3, label=name, drawstyle="steps-post")
    axes.plot(alarms, points.recall, color=INK, linewidth=2.6, label="all classes", drawstyle="steps-post")
    for rate in rates:
        recall_at = at_false_alarms(points, rate)["recall"] or 0.0
        axes.plot(rate, recall_at, "o", color=INK, markersize=5)
        where = (rate, recall_at)
        axes.annotate(f"{100 * recall_at:.0f} %", where, (7, -11), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlim=(least, max(2.0, alarms.max(initial=0))), ylim=(-0.01, 1.08))
    axes.set(xlabel="false alarms an image", ylabel="objects found (recall)")
    axes.set_title(f"{len(truth):,} images, {len(rows.found_at):,} objects, IoU {iou:g}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %", decimals=0))
    axes.grid()
    axes.legend(loc="upper left", fontsize=8.5)
    return figure
