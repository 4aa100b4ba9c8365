"""Soft surroundings as solids in millimetres: folds of cloth or foil, and the wall of a bag.

They lie behind and before everything in a bag and give it its thin curved lines and grey steps.
"""

from __future__ import annotations

import numpy as np

from tlkit.data.xray.geometry import Slab, Solid, Wire, in_space, moved, rectangle, ribbon, smooth


def cloth(rng: np.random.Generator, size: float) -> Solid:
    """Folds of cloth or foil across about `size` mm: sheets with curved edges, hems and creases."""
    result: Solid = ()
    for _ in range(int(rng.integers(2, 6))):
        angle, reach = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.6, 1.4)
        line = np.stack([np.linspace(-1, 1, 7) * size, rng.normal(0, 0.12 * size, 7)], 1)
        edge = smooth(line + np.array([0, rng.uniform(-0.5, 0.5) * size]), rounds=3)
        material = "cloth" if rng.random() < 0.7 else "polymer"
        thick = rng.uniform(1.5, 9) if material == "cloth" else rng.uniform(0.3, 2.2)
        hem = (ribbon(edge, rng.uniform(0.004, 0.02) * size),)
        fold: Solid = (Slab((ribbon(edge, reach),), material, 0.6 * thick), Slab(hem, material, thick))
        for shift in rng.uniform(-0.2, 0.2, int(rng.integers(0, 4))):
            bent = edge * (1, rng.uniform(0.4, 1.3)) + (0, shift * size)
            fold += (Slab((ribbon(bent, rng.uniform(0.002, 0.04) * size),), material, 0.5 * thick),)
        x, y = rng.normal(0, 0.15 * size, 2)
        result += moved(fold, x, y, angle)
    return result


def bag(rng: np.random.Generator, size: float) -> Solid:
    """The wall of a bag that ends within about `size` mm: lining, a seam and a piped edge."""
    corner = rectangle(-3 * size, -3 * size, 0, 0, rng.uniform(0.2, 1.2) * size)
    wobble = corner + rng.normal(0, 0.01 * size, corner.shape)
    wall: Solid = (
        Slab((wobble,), "polymer", rng.uniform(0.5, 5)),
        Slab((wobble,), "cloth", rng.uniform(2, 25)),
    )
    rim = np.concatenate([wobble, wobble[:1]])
    seam = Wire(in_space(rim), rng.uniform(0.005, 0.02) * size, "polymer")
    inner = Wire(in_space(rim * 0.985), 0.4, "polymer")
    place = size * rng.uniform(0.15, 0.5)
    angle = rng.uniform(0, 2 * np.pi)
    return moved((*wall, seam, inner), place * np.cos(angle), place * np.sin(angle), angle - np.pi / 4)
