"""Shadows of solids: the path length of every ray through every material, seen from any side.

Parts are turned in 3-D and projected with parallel rays, so tilting foreshortens a part and makes it
darker, as in a real machine. All outlines of a scene are filled at once: each short piece of an edge
adds its signed height to the pixels it crosses, and one running sum along the rows turns that into
the covered area of every pixel, times the path length (the way font renderers fill glyphs). This is
exact at the borders, and its cost grows with the length of the outlines, not with their area.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tlkit.data.xray.geometry import Placed, Slab, Wire, in_space

LEAST_COSINE = 0.12  # a plate seen edge-on is cut off here instead of growing without limit
MOST_LAYERS = 10  # a thick slab seen from its side is drawn as so many shifted layers


class View(NamedTuple):
    """The image: `height` x `width` pixels, `scale` pixels per mm, `middle` (x, y in mm) in its centre."""

    height: int
    width: int
    scale: float
    middle: np.ndarray


class Edges(NamedTuple):
    """Edges of closed outlines in pixels: `start` and `end` `[n, 2]`, `value` (mm) and `material` `[n]`."""

    start: np.ndarray
    end: np.ndarray
    value: np.ndarray
    material: np.ndarray


def extent(placed: Iterable[Placed]) -> np.ndarray:
    """The box around the shadow: `[[left, top], [right, bottom]]` in mm."""
    corners = []
    for solid, turn, offset in placed:
        for part in solid:
            points = in_space(part.outlines[0], part.height) if isinstance(part, Slab) else part.path
            half = abs(part.thickness) / 2 * np.abs(turn[:2, 2]) if isinstance(part, Slab) else part.radius
            shadow = points @ turn[:2].T + offset[:2]
            corners += [shadow.min(0) - half, shadow.max(0) + half]
    return np.stack([np.min(corners, 0), np.max(corners, 0)])


def project(placed: Iterable[Placed], view: View) -> dict[str, np.ndarray]:
    """Path length of every ray through every material.

    Args:
        placed: The solids of the scene; outlines may lie partly or wholly outside the image.
        view: The image and its scale.

    Returns:
        One float32 map `[view.height, view.width]` in mm, >= 0, for each material in the scene.
    """
    placed = list(placed)
    names = sorted({part.material for solid, _, _ in placed for part in solid})
    number = {name: index for index, name in enumerate(names)}
    edges = [
        _slab_edges(thing, view, number) for thing in placed if any(isinstance(p, Slab) for p in thing.solid)
    ]
    together = Edges(*(np.concatenate(columns) for columns in zip(*edges))) if edges else None
    maps = _fill(together, len(names), view) if together else np.zeros((len(names), view.height, view.width))
    for solid, turn, offset in placed:
        for part in solid:
            if isinstance(part, Wire):
                _draw_wire(maps[number[part.material]], part, turn, offset, view)
    maps = np.maximum(maps, 0).astype(np.float32)  # a bore cannot take away more than there was
    return {name: maps[index] for name, index in number.items()}


def _slab_edges(thing: Placed, view: View, number: dict[str, int]) -> Edges:
    """The outlines of all slabs of one thing; thick slabs seen from their side become several layers."""
    solid, turn, offset = thing
    slabs = [part for part in solid if isinstance(part, Slab)]
    outlines = [outline for slab in slabs for outline in slab.outlines]
    signs = np.array([1 if first == 0 else -1 for slab in slabs for first in range(len(slab.outlines))])
    owner = np.repeat(np.arange(len(slabs)), [len(slab.outlines) for slab in slabs])
    height = np.array([slab.height for slab in slabs])[owner]
    thickness = np.array([slab.thickness for slab in slabs])[owner]
    lean = turn[:2, 2] * view.scale
    layers = np.clip(np.ceil(np.abs(thickness) * np.hypot(*lean) / 3), 1, MOST_LAYERS).astype(int)
    value = signs * thickness / max(abs(turn[2, 2]), LEAST_COSINE) / layers
    start, end, outline = _closed(outlines, turn[:2, :2].T * view.scale)
    origin = (offset[:2] - view.middle) * view.scale + (view.width / 2, view.height / 2)
    areas = np.bincount(outline, start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0], len(outlines))
    copies = layers[outline]
    layer = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
    of = np.repeat(outline, copies)
    level = height[of] + ((layer + 0.5) / layers[of] - 0.5) * np.abs(thickness[of])
    shift = origin + level[:, None] * lean
    material = np.array([number[slab.material] for slab in slabs])[owner]
    return Edges(
        np.repeat(start, copies, 0) + shift,
        np.repeat(end, copies, 0) + shift,
        (value * np.sign(areas))[of],
        material[of],
    )


def _closed(outlines: list[np.ndarray], matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of all outlines after a linear map: start `[n, 2]`, end `[n, 2]`, number of the outline `[n]`."""
    lengths = np.array([len(outline) for outline in outlines])
    start = np.concatenate(outlines) @ matrix
    following = np.arange(1, len(start) + 1)
    last = np.cumsum(lengths) - 1
    following[last] = last - lengths + 1
    return start, start[following], np.repeat(np.arange(len(outlines)), lengths)


def _fill(edges: Edges, materials: int, view: View) -> np.ndarray:
    """Sum of value x covered share of each pixel, float64 `[materials, h, w]`."""
    x0, y0, x1, y1, value, material = _short_pieces(edges, view)
    wide = view.width + 2  # what lies right of the image falls into two columns that are cut off
    row = np.floor(np.minimum(y0, y1))
    border = np.clip(row + 1, np.minimum(y0, y1), np.maximum(y0, y1))  # a piece touches at most two rows
    upper = np.where(y1 == y0, 0, (border - np.minimum(y0, y1)) * np.sign(y1 - y0))
    index, weight = [], []
    x = np.clip((x0 + x1) / 2, 0, view.width)
    column = np.floor(x)
    right = x - column
    for down, share in ((0, upper), (1, y1 - y0 - upper)):
        place = ((material * view.height + np.clip(row + down, 0, view.height - 1)) * wide + column).astype(
            np.intp
        )
        index += [place, place + 1]
        weight += [-share * value * (1 - right), -share * value * right]
    size = materials * view.height * wide
    sums = np.bincount(np.concatenate(index), np.concatenate(weight), size).astype(
        float
    )  # empty ones are whole
    return np.cumsum(sums.reshape(materials, view.height, wide), axis=2)[:, :, : view.width]


def _short_pieces(edges: Edges, view: View) -> tuple[np.ndarray, ...]:
    """Edges clipped to the image's rows and cut into pieces of at most one pixel each way."""
    (x0, y0), (x1, y1) = edges.start.T, edges.end.T
    keep = (np.maximum(y0, y1) > 0) & (np.minimum(y0, y1) < view.height) & (y0 != y1)
    keep &= np.minimum(x0, x1) < view.width
    x0, y0, x1, y1 = x0[keep], y0[keep], x1[keep], y1[keep]
    slope = (x1 - x0) / (y1 - y0)
    from_y, to_y = np.clip(y0, 0, view.height), np.clip(y1, 0, view.height)
    from_x, to_x = x0 + slope * (from_y - y0), x0 + slope * (to_y - y0)
    count = np.ceil(np.maximum(np.abs(to_y - from_y), np.abs(to_x - from_x)))
    count = np.where(np.maximum(from_x, to_x) < 0, np.ceil(np.abs(to_y - from_y)), count)
    count = np.maximum(count, 1).astype(int)
    of = np.repeat(np.arange(len(count)), count)
    first = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)) / count[of]
    step_x, step_y = (to_x - from_x) / count, (to_y - from_y) / count
    along = first * count[of]
    start_x, start_y = from_x[of] + along * step_x[of], from_y[of] + along * step_y[of]
    return (
        start_x,
        start_y,
        start_x + step_x[of],
        start_y + step_y[of],
        edges.value[keep][of],
        edges.material[keep][of],
    )


def _draw_wire(style: np.ndarray, wire: Wire, turn: np.ndarray, offset: np.ndarray, view: View) -> None:
    """Add a round bar as nested strokes, whose sum is nearly the chord of a circle."""
    middle = (view.width / 2, view.height / 2)
    points = (wire.path @ turn[:2].T + offset[:2] - view.middle) * view.scale + middle
    width = 2 * wire.radius * view.scale
    window = _window(style.shape, points, width)
    if window is None or len(points) < 2:
        return
    left, top, right, bottom = window
    steps = np.diff(wire.path @ turn.T, axis=0)
    flat = max(float(np.linalg.norm(steps[:, :2], axis=1).sum()), 1e-6)
    steepness = min(float(np.linalg.norm(steps, axis=1).sum()) / flat, 3.0)
    strokes = [(1.0, 0.785)] if width < 4 else [(1.0, 0.436), (0.8, 0.341), (0.45, 0.198)]
    line = (points - (left, top)).ravel().tolist()
    for share, chord in strokes:
        drawn = max(1, round(width * share))
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).line(line, fill=1, width=drawn, joint="curve" if drawn > 3 else None)
        value = chord * 2 * wire.radius * steepness * min(1.0, width * share / drawn)
        style[top:bottom, left:right] += value * np.asarray(mask)


def _window(shape: tuple[int, ...], points: np.ndarray, margin: float) -> tuple[int, int, int, int] | None:
    """The part of the canvas that the points can touch (left, top, right, bottom), or None."""
    left, top = np.maximum(np.floor(points.min(0) - margin), 0).astype(int).tolist()
    right, bottom = (np.ceil(points.max(0) + margin) + 1).astype(int).tolist()
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    return (left, top, right, bottom) if left < right and top < bottom else None
