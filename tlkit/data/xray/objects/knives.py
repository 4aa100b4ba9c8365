"""Knives as solids in millimetres: for the kitchen, for the pocket, daggers. One function, one instance a call.

They stand apart from `threats` because only whole bags (`bags`) know this class.
"""

from __future__ import annotations

import numpy as np

from tlkit.data.xray.geometry import Slab, Solid, ellipse, moved, rectangle, ribbon, rod, smooth


def knife(rng: np.random.Generator) -> Solid:
    """A knife, its point to the right, about 140-330 mm long."""
    kind = rng.random()
    if kind < 0.5:
        return _kitchen(rng)
    return _pocket(rng) if kind < 0.8 else _dagger(rng)


def _single_edge(long: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Outline of a blade with a straight back and a belly that rises to the point, `[n, 2]` mm."""
    x = np.linspace(0, 1, 14)
    belly = high * np.minimum(1, ((1 - x) / rng.uniform(0.15, 0.6)) ** rng.uniform(0.4, 0.8))
    drop = rng.uniform(0, 0.35) * high * np.maximum(0, (x - 0.7) / 0.3) ** 2
    edge = np.stack([x * long, np.maximum(belly, drop)], 1)
    back = np.stack([x[::-1] * long, drop[::-1]], 1)
    return np.concatenate([edge, back])


def _kitchen(rng: np.random.Generator) -> Solid:
    """A broad or narrow blade, a handle of wood or polymer with its tang and rivets in it."""
    long, high, thick = rng.uniform(80, 200), rng.uniform(16, 42), rng.uniform(1.2, 2.6)
    grip, deep = rng.uniform(90, 125), rng.uniform(10, 14)
    middle = deep * rng.uniform(0.6, 1.0)
    wood = rectangle(-grip, middle - deep, 2, middle + deep, rng.uniform(3, 9))
    tang = rectangle(-grip * rng.uniform(0.5, 0.98), middle - deep * 0.6, 4, middle + deep * 0.6)
    body = "polymer" if rng.random() < 0.6 else "water"
    solid: Solid = (
        Slab((_single_edge(long, high, rng),), "steel", thick),
        Slab((wood,), body, rng.uniform(13, 20)),
        Slab((tang,), "steel", thick),
    )
    for place in (0.2, 0.5, 0.8)[: int(rng.integers(0, 4))]:
        solid += (Slab((ellipse(-grip * place, middle, 3, points=14),), "copper", 16),)
    return moved(solid, -(long - grip) / 2, -middle)


def _pocket(rng: np.random.Generator) -> Solid:
    """An open folding knife: short blade, two steel liners, a spring, scales, an axle."""
    long, high, thick = rng.uniform(60, 100), rng.uniform(12, 24), rng.uniform(1.5, 3.5)
    grip, deep = long * rng.uniform(1.15, 1.35), rng.uniform(9, 13)
    bend = rng.normal(0, 5, 5)
    spine = smooth(np.stack([np.linspace(-grip, 3, 5), high / 2 + bend - bend[-1]], 1), rounds=2)
    outline = ribbon(spine, deep * rng.uniform(0.85, 1.15, len(spine)))
    spring = ribbon(spine, 2.5) - (0, deep * 0.6)
    solid: Solid = (
        Slab((_single_edge(long, high, rng),), "steel", thick),
        Slab((outline,), "polymer" if rng.random() < 0.7 else "aluminium", rng.uniform(5, 9)),
        Slab((outline,), "steel", rng.uniform(1.5, 3)),
        Slab((spring,), "steel", thick),
        Slab((ellipse(0, high / 2, 3.5, points=16),), "steel", 11),
    )
    return moved(solid, -(long - grip) / 2, -high / 2)


def _dagger(rng: np.random.Generator) -> Solid:
    """A symmetric blade with two edges, a cross-guard, a round grip and a pommel."""
    long, high = rng.uniform(90, 170), rng.uniform(10, 17)
    x = np.linspace(0, 1, 12)
    half = high * np.minimum(1, ((1 - x) / rng.uniform(0.3, 0.9)) ** 0.8) * (1 - 0.15 * np.sin(np.pi * x))
    upper = np.stack([x * long, half], 1)
    outline = np.concatenate([upper, (upper * (1, -1))[::-1]])
    ridge = ribbon(np.array([[0, 0], [long * 0.8, 0]]), np.array([0.5, 0.3]) * high)
    grip, wide = rng.uniform(80, 110), rng.uniform(18, 38)
    solid: Solid = (
        Slab((outline,), "steel", rng.uniform(1.2, 2.4)),
        Slab((ridge,), "steel", rng.uniform(0.8, 2)),
        Slab((rectangle(-7, -wide, 1, wide, 3),), "steel", rng.uniform(5, 9)),
    )
    solid += rod((-grip, 0), (-5, 0), rng.uniform(9, 12), "polymer", slices=5)
    solid += rod((-grip, 0), (-5, 0), rng.uniform(2.5, 4), "steel", slices=3)
    solid += rod((-grip - 10, 0), (-grip, 0), rng.uniform(8, 12), "steel", slices=4)
    return moved(solid, -(long - grip) / 2)
