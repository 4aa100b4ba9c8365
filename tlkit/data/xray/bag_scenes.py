"""What lies in a simulated bag: its wall, cloth, belongings, look-alikes, and sometimes threats.

Threats are laid among the other things at random and every third is covered on purpose, but never so
that nobody could tell what it is: of several places the first is taken where dense matter leaves enough of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlkit.data.xray.geometry import (
    Placed,
    Slab,
    Solid,
    Wire,
    in_space,
    moved,
    rectangle,
    rod,
    rotation,
    teeth,
)
from tlkit.data.xray.objects import cloth as xray_soft
from tlkit.data.xray.objects import threats as xray_threats
from tlkit.data.xray.objects.belongings import LARGE_THINGS
from tlkit.data.xray.objects.hardware import SMALL_THINGS
from tlkit.data.xray.objects.knives import knife
from tlkit.data.xray.objects.lookalikes import LOOK_ALIKES
from tlkit.data.xray.physics import Detector, draw_detector, polychromatic_transmittance
from tlkit.data.xray.projection import View, extent, project

CLASSES = ("blade", "gun", "knife", "shuriken")
THREATS = {
    "blade": xray_threats.blade,
    "gun": xray_threats.gun,
    "knife": knife,
    "shuriken": xray_threats.shuriken,
}
CHANCES = (0.27, 0.23, 0.23, 0.27)  # of the classes; the long ones are the fewer
HARMLESS = {**SMALL_THINGS, **LARGE_THINGS}
EMPTY, ONE = 0.55, 0.3  # shares of bags without a threat and with one; the others hold two
COVERED = 0.35  # share of threats that a thing is laid upon; others are covered by chance
DENSE = 0.15  # transmittance below which matter hides what lies with it
MOST_HIDDEN = {
    "blade": 0.12,
    "gun": 0.3,
    "knife": 0.25,
    "shuriken": 0.25,
}  # share of a threat behind dense matter
PLACES = 6


@dataclass(frozen=True)
class Scene:
    """A packed bag.

    Attributes:
        wall: Of the bag; its extent is the image's.
        soft: Cloth, which ends at the wall.
        things: Everything else that is no threat.
        threats: What is to be found, `[n]`.
        labels: Their classes, `[n]`.
        look_alikes: Names of the harmless things that are taken for threats.
        detector: The machine.
    """

    wall: Placed
    soft: tuple[Placed, ...]
    things: tuple[Placed, ...]
    threats: tuple[Placed, ...]
    labels: tuple[str, ...]
    look_alikes: tuple[str, ...]
    detector: Detector


def pack(rng: np.random.Generator) -> Scene:
    """Pack a bag 540-820 mm long, as suitcases are."""
    half = np.array([rng.uniform(270, 410), 0.0])
    half[1] = half[0] * rng.uniform(0.6, 0.85)
    wall = _lying(_wall(rng, half))
    names = [str(name) for name in rng.choice(list(LOOK_ALIKES), int(rng.integers(3, 8)))]
    things = [_laid(rng, LOOK_ALIKES[name](rng), half) for name in names]
    things += [_laid(rng, _any(rng), half) for _ in range(int(rng.integers(12, 30)))]
    soft = tuple(_lying(xray_soft.cloth(rng, 0.9 * half[0])) for _ in range(int(rng.integers(2, 6))))
    draw = rng.random()
    labels = [str(rng.choice(CLASSES, p=CHANCES)) for least in (EMPTY, EMPTY + ONE) if draw >= least]
    threats: list[Placed] = []
    for label in labels:
        threat, cover = _hide(rng, label, half, [*things, *threats])
        threats.append(threat)
        things += cover
    detector = draw_detector(rng, gain=((140, 215), (218, 250)), blur=((0.5, 0.9), (0.3, 0.6)))
    return Scene(wall, soft, tuple(things), tuple(threats), tuple(labels), tuple(sorted(names)), detector)


def _any(rng: np.random.Generator) -> Solid:
    return HARMLESS[list(HARMLESS)[int(rng.integers(len(HARMLESS)))]](rng)


def _lying(solid: Solid) -> Placed:
    return Placed(solid, rotation(0), np.zeros(3))


def _laid(rng: np.random.Generator, solid: Solid, half: np.ndarray) -> Placed:
    """A thing somewhere in the bag, turned at random and mostly lying flat."""
    turn = rotation(rng.uniform(0, 2 * np.pi), min(abs(rng.normal(0, 0.4)), 1.1), rng.uniform(0, 2 * np.pi))
    centred = Placed(solid, turn, np.zeros(3))
    box = extent([centred])
    reach = np.maximum(half * 0.96 - np.ptp(box, axis=0) / 2, 0.0)
    place = rng.uniform(-reach, reach) - box.mean(0)
    return Placed(solid, turn, np.array([*place, rng.normal(0, 30)]))


def _hide(
    rng: np.random.Generator, label: str, half: np.ndarray, around: list[Placed]
) -> tuple[Placed, list[Placed]]:
    """A threat in a place where it can be told, and what is laid upon it."""
    view = View(120, 160, 80 / float(half[0]), np.zeros(2))
    others = polychromatic_transmittance(project(around, view))
    covered, solid = rng.random() < COVERED, THREATS[label](rng)
    tried: list[tuple[float, Placed, list[Placed]]] = []
    while len(tried) < PLACES and (not tried or tried[-1][0] > MOST_HIDDEN[label]):
        threat = _laid(rng, solid, half)
        cover = [_upon(rng, threat) for _ in range(int(rng.integers(1, 3)))] if covered else []
        tried.append((_hidden(threat, cover, others, view), threat, cover))
    return min(tried, key=lambda attempt: attempt[0])[1:]


def _hidden(threat: Placed, cover: list[Placed], others: np.ndarray, view: View) -> float:
    """Share of a threat's shadow that dense matter covers; 1 where it has no shadow."""
    mask = polychromatic_transmittance(project([threat], view)) < 0.9
    if cover:
        others = others * polychromatic_transmittance(project(cover, view))
    return float((others[mask] < DENSE).mean()) if mask.any() else 1.0


def _upon(rng: np.random.Generator, threat: Placed) -> Placed:
    """A harmless thing or a fold of cloth over some part of a threat."""
    box = extent([threat])
    place = rng.uniform(*box)
    size = float(np.ptp(box, axis=0).max())
    solid = xray_soft.cloth(rng, 0.6 * size) if rng.random() < 0.3 else _any(rng)
    turn = rotation(rng.uniform(0, 2 * np.pi), min(abs(rng.normal(0, 0.4)), 1.1), rng.uniform(0, 2 * np.pi))
    middle = extent([Placed(solid, turn, np.zeros(3))]).mean(0)
    return Placed(solid, turn, np.array([*(place - middle), rng.normal(0, 30)]))


def _wall(rng: np.random.Generator, half: np.ndarray) -> Solid:
    """Lining and shell of a bag with its rim; some have a zip around, some two bars of a pulled handle."""
    x, y = half.tolist()
    outline = rectangle(-x, -y, x, y, rng.uniform(0.08, 0.45) * y)
    inner = outline * rng.uniform(0.93, 0.98)
    solid: Solid = (
        Slab((outline,), "polymer", rng.uniform(1, 4)),
        Slab((outline,), "cloth", rng.uniform(2, 14)),
        Slab((outline, inner), "polymer", rng.uniform(4, 30)),
    )
    for ring in (outline, inner):
        path = in_space(np.concatenate([ring, ring[:1]]))
        solid += (Wire(path, rng.uniform(0.8, 3), "polymer" if rng.random() < 0.8 else "steel"),)
    if rng.random() < 0.4:
        solid += _handle_bars(rng, x, y)
    if rng.random() < 0.5:
        row = teeth(np.arange(-0.85 * x, 0.85 * x, 3.0), -1.8, 1.8, 0.7)
        solid += moved(
            (Slab((row,), "copper" if rng.random() < 0.5 else "polymer", 2.5),), 0, rng.uniform(-0.9, 0.9) * y
        )
    return solid


def _handle_bars(rng: np.random.Generator, x: float, y: float) -> Solid:
    """The two tubes that run through a bag on wheels, and its wheels."""
    apart, radius = rng.uniform(0.25, 0.45) * y, rng.uniform(4, 8)
    material = "steel" if rng.random() < 0.4 else "aluminium"
    solid: Solid = ()
    for side in (-apart, apart):
        solid += rod((-0.95 * x, side), (0.95 * x, side), radius, material)
        solid += rod((-0.95 * x, side), (0.95 * x, side), radius - 1, material, sign=-1)
    for side in (-0.8 * y, 0.8 * y):
        solid += rod((-x, side - 8), (-x, side + 8), 20, "polymer") + rod(
            (-x, side - 10), (-x, side + 10), 3, "steel"
        )
    return solid
