"""Solids in millimetres: what the simulated X-ray passes through, built from a few simple parts.

A solid is a tuple of parts. A `Slab` is an outline with thickness (a plate, a grip, or one slice of
a cylinder); a `Wire` is a thin round bar along a path in space. `projection` projects them.
Axes: x to the right, y down, z towards the source; the image shows x and y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Slab:
    """An outline in the x-y plane, `thickness` mm thick around z = `height`.

    Attributes:
        outlines: Polygons `[n, 2]` in mm; the first is filled, the others are holes inside it.
        material: A name of `physics.ATTENUATION`.
        thickness: mm along z; negative takes material away (a bore, a hollow).
        height: z of its middle, mm.
    """

    outlines: tuple[np.ndarray, ...]
    material: str
    thickness: float
    height: float = 0.0


@dataclass(frozen=True)
class Wire:
    """A round bar along a path.

    Attributes:
        path: Points `[n, 3]` in mm.
        radius: mm.
        material: A name of `physics.ATTENUATION`.
    """

    path: np.ndarray
    radius: float
    material: str


Solid = tuple[Slab | Wire, ...]


class Placed(NamedTuple):
    """A solid in a scene: turned by `rotation` `[3, 3]`, then moved by `offset` `[3]` mm."""

    solid: Solid
    rotation: np.ndarray
    offset: np.ndarray


def rotation(spin: float, tilt: float = 0.0, towards: float = 0.0) -> np.ndarray:
    """A turn in the image plane, then a tilt out of it.

    Args:
        spin: Turn about z, radians.
        tilt: Angle between the old and the new z axis, radians.
        towards: Direction in the image plane in which z tilts, radians.

    Returns:
        Rotation matrix `[3, 3]`.
    """
    axis = np.array([-np.sin(towards), np.cos(towards), 0.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    leaning = np.eye(3) + np.sin(tilt) * cross + (1 - np.cos(tilt)) * cross @ cross
    turn = np.array([[np.cos(spin), -np.sin(spin), 0], [np.sin(spin), np.cos(spin), 0], [0, 0, 1.0]])
    return leaning @ turn


# ---- outlines ----


def rectangle(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> np.ndarray:
    """Corner points of a rectangle, float `[n, 2]`, mm; `corner` rounds it by that radius."""
    if corner <= 0:
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    corner = min(corner, (right - left) / 2, (bottom - top) / 2)
    quarter = np.linspace(0, np.pi / 2, 5)
    arc = corner * np.stack([np.cos(quarter), np.sin(quarter)], 1)
    middles = [
        (right - corner, bottom - corner),
        (left + corner, bottom - corner),
        (left + corner, top + corner),
        (right - corner, top + corner),
    ]
    turns = ([[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]])
    return np.concatenate([arc @ np.array(turn) + middle for turn, middle in zip(turns, middles)])


def ellipse(x: float, y: float, wide: float, high: float | None = None, points: int = 28) -> np.ndarray:
    """Points on an ellipse with half axes `wide` and `high` (default a circle), float `[points, 2]`, mm."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + wide * np.cos(angle), y + (high or wide) * np.sin(angle)], 1)


def ribbon(spine: np.ndarray, half_widths: float | np.ndarray) -> np.ndarray:
    """Outline of a band along a line.

    Args:
        spine: Points `[n, 2]` in mm, n >= 2.
        half_widths: mm, one for all or one a point `[n]`.

    Returns:
        Polygon `[2 n, 2]`: one side forth, the other side back.
    """
    along = np.gradient(spine, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
    shift = across * np.broadcast_to(half_widths, len(spine))[:, None]
    return np.concatenate([spine + shift, (spine - shift)[::-1]])


def teeth(places: np.ndarray, base: float, tips: float, half_width: float) -> np.ndarray:
    """Outline of a comb along x: one tooth from `base` to `tips` (y, mm) at each place, float `[4 n, 2]`."""
    x = places[:, None] + np.array([-half_width, -half_width, half_width, half_width])
    y = np.broadcast_to(np.array([base, tips, tips, base]), x.shape)
    return np.stack([x.ravel(), y.ravel()], 1)


def smooth(points: np.ndarray, *, closed: bool = False, rounds: int = 3) -> np.ndarray:
    """Round off a polygon or a line by cutting its corners (Chaikin), float `[m, d]`."""
    for _ in range(rounds):
        following = np.roll(points, -1, 0) if closed else points[1:]
        start = points if closed else points[:-1]
        cut = np.stack([0.75 * start + 0.25 * following, 0.25 * start + 0.75 * following], 1)
        middle = cut.reshape(-1, points.shape[1])
        points = middle if closed else np.concatenate([points[:1], middle, points[-1:]])
    return points


def in_space(path: np.ndarray, z: float = 0.0) -> np.ndarray:
    """Points `[n, 2]` lifted to `[n, 3]` at height `z` mm."""
    return np.concatenate([path, np.full((len(path), 1), z)], 1)


# ---- parts ----


def rod(
    start: Sequence[float],
    end: Sequence[float],
    radius: float | tuple[float, float],
    material: str,
    *,
    height: float = 0.0,
    slices: int = 6,
    sign: float = 1.0,
) -> Solid:
    """A round bar or cone lying in the x-y plane, cut into slices along z.

    Args:
        start: x, y of its first end, mm.
        end: x, y of its other end, mm.
        radius: mm; two numbers make a cone (first and other end).
        material: What it is made of.
        height: z of its axis, mm.
        slices: How many slabs stand for the round section.
        sign: -1 makes a bore of it.

    Returns:
        Slabs whose thicknesses along the axis add up to the diameter.
    """
    first, last = radius if isinstance(radius, tuple) else (radius, radius)
    spine, widest = np.array([start, end], float), max(first, last)
    levels = (np.arange(slices) + 0.5) / slices * 2 - 1
    chords = np.sqrt(1 - levels**2)[:, None] * np.array([first, last])
    return tuple(
        Slab((ribbon(spine, chord),), material, sign * 2 * widest / slices, height + level * widest)
        for level, chord in zip(levels, chords)
    )


def moved(solid: Solid, x: float = 0.0, y: float = 0.0, spin: float = 0.0, scale: float = 1.0) -> Solid:
    """A solid turned about z, scaled in all three directions, and shifted in the x-y plane (mm, radians)."""
    turn = scale * rotation(spin)[:2, :2].T
    result: list[Slab | Wire] = []
    for part in solid:
        if isinstance(part, Slab):
            outlines = tuple(outline @ turn + (x, y) for outline in part.outlines)
            result.append(Slab(outlines, part.material, part.thickness * scale, part.height * scale))
        else:
            path = np.concatenate([part.path[:, :2] @ turn + (x, y), part.path[:, 2:] * scale], 1)
            result.append(Wire(path, part.radius * scale, part.material))
    return tuple(result)
