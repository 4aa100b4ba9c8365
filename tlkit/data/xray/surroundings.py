"""The contents of a bag around a place of a crop's size: cloth, foil, the bag's wall, harmless things.

What `clutter` sets threats into when the matter is simulated. Soft things lie everywhere; dense ones keep off what
must stay visible.
"""

from __future__ import annotations

import numpy as np

from tlkit.data.xray.geometry import Placed, rotation
from tlkit.data.xray.objects import cloth as xray_soft
from tlkit.data.xray.objects.belongings import LARGE_THINGS
from tlkit.data.xray.objects.hardware import SMALL_THINGS
from tlkit.data.xray.objects.lookalikes import LOOK_ALIKES
from tlkit.data.xray.physics import polychromatic_transmittance
from tlkit.data.xray.projection import View, extent, project

THINGS = {**SMALL_THINGS, **LARGE_THINGS, **LOOK_ALIKES}
DENSE = 0.3  # transmittance below which a thing hides what lies with it
TRIES = 5


def surroundings(
    rng: np.random.Generator,
    shape: tuple[int, int],
    per_mm: float,
    keep: np.ndarray | None = None,
    most_hidden: float = 1.0,
) -> np.ndarray:
    """Simulate what lies in the beam.

    Args:
        rng: Source of the choices.
        shape: Height and width, pixels.
        per_mm: Pixels per mm.
        keep: bool `shape`, what must stay visible.
        most_hidden: Share of `keep` that dense things may cover.

    Returns:
        Transmittance float32 `shape` in (0, 1].
    """
    low = float(rng.uniform(0.38, 0.72))
    view = View(shape[0], shape[1], per_mm, np.zeros(2))
    radius = float(np.hypot(*shape)) / 2 / per_mm
    soft = _through(_soft(rng, radius), view, low)
    for _ in range(TRIES):
        things = _through(_things(rng, radius), view, low)
        if keep is None or not keep.any() or float((things[keep] < DENSE).mean()) <= most_hidden:
            return soft * things
    return soft


def centrepiece(rng: np.random.Generator) -> tuple[Placed, ...]:
    """One to three harmless things that lie on one another; every second is one that is taken for a threat."""
    placed: list[Placed] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))):
        known = LOOK_ALIKES if rng.random() < 0.5 else THINGS
        solid = list(known.values())[int(rng.integers(len(known)))](rng)
        turn = rotation(
            rng.uniform(0, 2 * np.pi), min(abs(rng.normal(0, 0.5)), 1.3), rng.uniform(0, 2 * np.pi)
        )
        place = -extent([Placed(solid, turn, np.zeros(3))]).mean(0)
        if placed:
            place = place + rng.uniform(*extent(placed))
        placed.append(Placed(solid, turn, np.array([*place, 0.0])))
    return tuple(placed)


def framed(rng: np.random.Generator, placed: tuple[Placed, ...], per_mm: float) -> np.ndarray:
    """Transmittance of things float32 `[h, w]` in (0, 1], the image tight around them, `per_mm` pixels a mm."""
    box = extent(placed)
    width, height = np.maximum(np.rint(np.ptp(box, axis=0) * per_mm), 4).astype(int).tolist()
    return _through(list(placed), View(height, width, per_mm, box.mean(0)), float(rng.uniform(0.38, 0.72)))


def _through(placed: list[Placed], view: View, low: float) -> np.ndarray:
    return polychromatic_transmittance(project(placed, view), (low, 1 - low)).astype(np.float32)


def _soft(rng: np.random.Generator, radius: float) -> list[Placed]:
    placed = [
        Placed(xray_soft.cloth(rng, 1.6 * radius), rotation(0), np.zeros(3))
        for _ in range(int(rng.integers(1, 5)))
    ]
    if rng.random() < 0.5:
        placed.append(Placed(xray_soft.bag(rng, 1.6 * radius), rotation(0), np.zeros(3)))
    return placed


def _things(rng: np.random.Generator, radius: float) -> list[Placed]:
    """One to seven harmless things, rather near the border than in the middle."""
    names, placed = list(THINGS), []
    for _ in range(int(rng.integers(1, 8))):
        solid = THINGS[names[int(rng.integers(len(names)))]](rng)
        angle, reach = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.1, 1.1)
        offset = np.array([reach * np.cos(angle), reach * np.sin(angle), 0.0])
        turn = rotation(rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.5)), rng.uniform(0, 2 * np.pi))
        placed.append(Placed(solid, turn, offset))
    return placed
