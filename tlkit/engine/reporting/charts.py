"""Numbers as pictures: confusion, learning curves, reliability, ROC, counts of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tlkit.engine.reporting import style
from tlkit.engine.reporting.style import BLUE, COLOURS, INK, MUTED, ORANGE, SHADE, SKY, styled

PARTS = {"training": BLUE, "validation": SKY, "test": ORANGE}
_SIDE_BY_SIDE = 6  # classes; more stand below each other
_NAMED = 60  # classes; more have no room for every name and number
MANY = 100  # classes; of more a picture shows those that matter most
_CONFUSED = 30  # classes in a confusion matrix of more than 100
_SMALLEST = 20  # classes in the counts of more than 100


@styled
def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str], title: str = "") -> Figure:
    """Draw counts and shares of the row: blue where right, red where wrong.

    Args:
        matrix: Counts, int `[k, k]`, rows true, columns predicted.
        class_names: k names; of more than 100 only the most confused are drawn.
        title: Above the matrix; empty: the number of images.
    """
    part = _most_confused(np.asarray(matrix), class_names)
    side = min(style.WIDTH, max(4.8, 1.6 + 0.62 * len(part.names)))
    figure = style.blank(side * 0.92, side, "compressed")
    _draw_confusion(figure.subplots(), part, title or f"{np.sum(matrix):,} images")
    return figure


@styled
def three_confusions(matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draw the confusion matrices of all parts beside each other; with many classes, below each other.

    Args:
        matrices: From the name of the part to its counts, int `[k, k]`.
        class_names: k names; of more than 100 each matrix has those that are confused most in it.
    """
    if not matrices:
        return style.note("No part of the data was measured.")
    beside = len(class_names) <= _SIDE_BY_SIDE
    columns = len(matrices) if beside else 1
    rows = 1 if beside else len(matrices)
    width = 3.6 * max(columns, 2) if beside else style.WIDTH
    figure = style.blank(rows * (3.7 if beside else width * 0.92), width, "compressed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (part, matrix) in zip(grid, matrices.items()):
        title = f"{part} · {np.sum(matrix):,} images"
        _draw_confusion(axes, _most_confused(np.asarray(matrix), class_names), title)
        if beside and axes is not grid[0]:
            axes.set_ylabel("")
    return figure


class _Confused(NamedTuple):
    """The counts that are drawn, int [m, m], how many images each row has in all, int [m, 1], names, and of what."""

    matrix: np.ndarray
    totals: np.ndarray
    names: Sequence[str]
    said: str = ""


def _most_confused(matrix: np.ndarray, class_names: Sequence[str]) -> _Confused:
    """Of more than 100 classes those of the largest cells off the diagonal; else all."""
    totals = matrix.sum(axis=1, keepdims=True)
    if len(class_names) <= MANY:
        return _Confused(matrix, totals, class_names)
    true, predicted = np.nonzero(matrix * ~np.eye(len(matrix), dtype=bool))
    order = np.argsort(-matrix[true, predicted], kind="stable")
    pairs = np.stack([true[order], predicted[order]], axis=1).ravel().tolist()
    rest = np.argsort(-totals[:, 0], kind="stable").tolist()
    chosen = sorted(list(dict.fromkeys([*pairs, *rest]))[:_CONFUSED])
    names = [class_names[k] for k in chosen]
    said = f" · the {len(chosen)} most confused of {len(class_names):,} classes"
    return _Confused(matrix[np.ix_(chosen, chosen)], totals[chosen], names, said)


def _draw_confusion(axes: Axes, part: _Confused, title: str) -> None:
    matrix, totals, class_names, said = part
    classes = len(class_names)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    right = np.eye(classes, dtype=bool)
    axes.imshow(np.where(right[..., None], style.BLUES(shares), style.REDS(np.sqrt(shares))), aspect="equal")
    _write_cells(axes, matrix, shares)
    every = math.ceil(classes / _NAMED)  # beyond 60 classes not each has room for its name
    names = [style.shortened(name, 22 if classes < 12 else 18) for name in class_names[::every]]
    turned = 90 if classes > 12 else 35 if max(map(len, names)) > 6 else 0
    axes.set_xticks(
        range(0, classes, every), names, rotation=turned, ha="right" if turned == 35 else "center"
    )
    axes.set_yticks(range(0, classes, every), names)
    axes.tick_params(length=0, labelsize=min(9.5, max(4.5, 300 / classes)), labelcolor=INK)
    if every == 1:
        _draw_seams(axes, classes)
    axes.spines[:].set_visible(True)
    axes.set(xlabel="predicted", ylabel="true", title=f"{title}{said}")


def _draw_seams(axes: Axes, classes: int) -> None:
    seams = np.arange(classes - 1) + 0.5
    axes.set_xticks(seams, minor=True)
    axes.set_yticks(seams, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5 if classes <= 20 else 0.5)
    axes.tick_params(which="minor", length=0)


def _write_cells(axes: Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    classes = len(matrix)
    if classes > _NAMED:
        return
    letters = min(10.0, max(4.0, 220 / classes) if classes > 12 else 110 / classes)
    for row, column in zip(*np.nonzero(matrix)):
        dark = shares[row, column] if row == column else math.sqrt(shares[row, column])
        text = f"{matrix[row, column]:,}"
        if classes <= 12:
            text += f"\n{100 * shares[row, column]:.{1 if 0.99 <= shares[row, column] < 1 else 0}f} %"
        colour = "white" if dark > 0.6 else INK
        axes.text(
            column, row, text, ha="center", va="center", color=colour, fontsize=letters, linespacing=1.35
        )


@styled
def learning_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss and accuracy over all epochs, phases shaded and named, the best epoch marked.

    Args:
        rows: As in `metrics.jsonl`: `phase`, `epoch`, `training_loss`, `validation_loss`,
            `validation_accuracy`, `best`; what is missing or null is left out. Of an epoch that was
            trained twice (after a resume) the last row counts.
    """
    rows = list({(row.get("phase"), row.get("epoch")): row for row in rows}.values())
    if not rows:
        return style.note("No epoch was finished.")
    figure = style.blank(3.5, 9.5)
    loss, accuracy = figure.subplots(1, 2)
    best = max((index for index, row in enumerate(rows) if row.get("best")), default=None)
    _draw_curves(loss, rows, {"training_loss": BLUE, "validation_loss": ORANGE}, best)
    _draw_curves(accuracy, rows, {"training_accuracy": BLUE, "validation_accuracy": ORANGE}, best)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    loss.set_title("Loss")
    accuracy.set_title("Accuracy")
    loss.set_ylim(bottom=0)
    return figure


def _draw_curves(
    axes: Axes, rows: Sequence[Mapping[str, Any]], curves: Mapping[str, str], best: int | None
) -> None:
    epochs = np.arange(1, len(rows) + 1)
    _shade_phases(axes, [str(row.get("phase", "")) for row in rows])
    for name, colour in curves.items():
        values = np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float64)
        if np.isfinite(values).any():
            marker = "o" if len(rows) < 30 else None
            axes.plot(epochs, values, color=colour, label=name.split("_")[0], marker=marker, markersize=3.5)
    if best is not None:
        axes.axvline(best + 1, color=INK, linewidth=1, linestyle=(0, (2, 3)))
        axes.plot([], [], color=INK, linewidth=1, linestyle=(0, (2, 3)), label=f"best: epoch {best + 1}")
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    axes.set_xlabel("epoch")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", fontsize=8.5)


def _shade_phases(axes: Axes, phases: Sequence[str]) -> None:
    start = 0.5
    for index, (phase, members) in enumerate(groupby(phases)):
        end = start + len(list(members))
        axes.axvspan(start, end, color=SHADE if index % 2 == 0 else "white", zorder=0, linewidth=0)
        name = style.shortened(phase, max(4, int(45 * (end - start) / len(phases))))
        where = axes.get_xaxis_transform()
        axes.text((start + end) / 2, 1.005, name, transform=where, ha="center", color=MUTED, fontsize=8.5)
        start = end


@styled
def class_counts(parts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw how many images of each class lie in each part, as bars one after the other.

    Args:
        parts: From the name of the part to {class name: images}; of more than 100 classes the smallest are drawn.
    """
    names = list(dict.fromkeys(name for counts in parts.values() for name in counts))
    if not names:
        return style.note("There are no images.")
    classes = len(names)
    if classes > MANY:
        names.sort(key=lambda name: sum(counts.get(name, 0) for counts in parts.values()))
        names = names[:_SMALLEST]
    figure = style.blank(1.3 + 0.36 * len(names))
    axes = figure.subplots()
    rows = np.arange(len(names))
    start = np.zeros(len(names))
    for index, (part, counts) in enumerate(parts.items()):
        lengths = np.array([counts.get(name, 0) for name in names], np.float64)
        colour = PARTS.get(part, COLOURS[index % len(COLOURS)])
        axes.barh(rows, lengths, left=start, height=0.62, color=colour, edgecolor="white", label=str(part))
        start += lengths
    for row, total in enumerate(start):
        axes.text(total + start.max() * 0.01, row, f"{total:,.0f}", va="center", color=MUTED, fontsize=8.5)
    axes.set_yticks(rows, [style.shortened(name, 28) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    some = f"images of the {len(names)} smallest of {classes:,} classes" if len(names) < classes else "images"
    axes.set(xlabel=some, xlim=(0, start.max() * 1.09 or 1))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    figure.legend(loc="outside upper right", ncols=max(len(parts), 1), fontsize=8.5)
    return figure
