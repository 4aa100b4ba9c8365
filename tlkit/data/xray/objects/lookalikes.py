"""Harmless things that are taken for threats, as solids in millimetres.

Toothed wheels, fans and ornaments for throwing stars; torches, lenses, padlocks, staplers and dense lumps for guns;
spoons, rulers, tweezers and files for knives; tags, card frames and openers for razor blades. Each function draws one
instance; `LOOK_ALIKES` names them all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tlkit.data.xray.geometry import (
    Slab,
    Solid,
    Wire,
    ellipse,
    in_space,
    moved,
    rectangle,
    ribbon,
    rod,
    smooth,
)


def _metal(rng: np.random.Generator, steel: float = 0.6) -> str:
    return "steel" if rng.random() < steel else str(rng.choice(["aluminium", "copper"]))


def _round_comb(points: int, inner: float, outer: float, share: float) -> np.ndarray:
    """Outline of a disc with blunt teeth, `[4 points, 2]` mm; `share` of the rim is teeth."""
    step = 2 * np.pi / points
    angles = np.arange(points)[:, None] * step + step * share * np.array([-0.5, -0.35, 0.35, 0.5])
    radii = np.array([inner, outer, outer, inner])
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], -1).reshape(-1, 2)


def gear(rng: np.random.Generator) -> Solid:
    """A toothed wheel with a bore, of metal or polymer."""
    size, points = rng.uniform(14, 45), int(rng.integers(8, 28))
    outline = _round_comb(points, size * rng.uniform(0.8, 0.9), size, rng.uniform(0.5, 0.8))
    material = _metal(rng) if rng.random() < 0.6 else "polymer"
    holes = [ellipse(0, 0, size * rng.uniform(0.1, 0.3))]
    if rng.random() < 0.4:
        turns = np.arange(4) * np.pi / 2 + 0.4
        holes += [ellipse(0.55 * size * np.cos(a), 0.55 * size * np.sin(a), size * 0.13) for a in turns]
    return (Slab((outline, *holes), material, rng.uniform(1.5, 9)),)


def fan(rng: np.random.Generator) -> Solid:
    """The rotor of a fan: a hub with broad bent wings."""
    size, wings = rng.uniform(22, 55), int(rng.integers(3, 8))
    sweep, material = rng.uniform(-0.9, 0.9), "polymer" if rng.random() < 0.6 else "aluminium"
    radius = np.linspace(0.2, 1, 9) * size
    result: Solid = (Slab((ellipse(0, 0, 0.27 * size),), material, 12), *rod((-2, 0), (2, 0), 2, "steel"))
    for turn in np.arange(wings) * 2 * np.pi / wings:
        angle = turn + sweep * (radius / size) ** 2
        spine = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
        wide = np.sin(np.linspace(0.5, np.pi - 0.4, 9)) * size * 0.7 * np.pi / wings * rng.uniform(0.5, 0.7)
        result += (Slab((ribbon(spine, wide),), material, rng.uniform(1.5, 4)),)
    return result


def ornament(rng: np.random.Generator) -> Solid:
    """A star or a flower without edges: rounded, thick, of polymer, brass wire or thin sheet."""
    size, points = rng.uniform(14, 42), int(rng.integers(4, 10))
    angle = np.arange(2 * points) * np.pi / points
    radius = np.where(np.arange(2 * points) % 2, size * rng.uniform(0.5, 0.75), size)
    outline = smooth(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), closed=True, rounds=3)
    if rng.random() < 0.35:  # a biscuit cutter: only the rim
        rim = np.concatenate([outline, outline[:1]])
        return tuple(Wire(in_space(rim, z), 0.5, "steel") for z in np.linspace(-8, 8, 5))
    material = "polymer" if rng.random() < 0.6 else _metal(rng, 0.3)
    holes = [ellipse(0, size * 0.6, size * 0.1, points=12)] if rng.random() < 0.5 else []
    return (Slab((outline, *holes), material, rng.uniform(4, 14) if material == "polymer" else 0.6),)


def torch(rng: np.random.Generator) -> Solid:
    """A torch: barrel with cells, wider head with a reflector, a switch."""
    long, radius = rng.uniform(40, 85), rng.uniform(8, 16)
    material = "aluminium" if rng.random() < 0.7 else "polymer"
    head = radius * rng.uniform(1.2, 1.9)
    result = rod((-long, 0), (long * 0.5, 0), radius, material, slices=8)
    result += rod((-long, 0), (long * 0.5, 0), radius * 0.85, material, slices=6, sign=-1)
    result += rod((long * 0.5, 0), (long, 0), (radius, head), material, slices=8)
    for cell in range(int(rng.integers(1, 4))):
        first = -long + 4 + cell * 0.5 * long
        result += rod((first, 0), (first + 0.45 * long, 0), radius * 0.75, "steel", slices=6)
    knob = rectangle(-6, -radius - 3, 8, -radius + 1)
    return (*result, Slab((knob,), "polymer", 8), Slab((rectangle(long - 5, -head, long, head),), "steel", 1))


def lens(rng: np.random.Generator) -> Solid:
    """A camera with its lens from the side: a dense box, stacked rings, glass."""
    wide, high = rng.uniform(25, 45), rng.uniform(30, 50)
    result: Solid = (
        Slab((rectangle(-wide, -high, 0, high, 6),), "aluminium", rng.uniform(20, 45)),
        Slab((rectangle(-wide * 0.8, -high * 0.7, -4, high * 0.3),), "copper", rng.uniform(0.5, 4)),
        Slab((rectangle(-wide, high * 0.45, -2, high * 0.95, 3),), "steel", rng.uniform(3, 15)),
    )
    place, radius = 0.0, high * rng.uniform(0.5, 0.85)
    for _ in range(int(rng.integers(2, 5))):
        long = rng.uniform(8, 22)
        result += rod((place, 0), (place + long, 0), radius, _metal(rng, 0.4), slices=6)
        result += rod((place, 0), (place + long, 0), radius * 0.8, "aluminium", slices=4, sign=-0.8)
        place, radius = place + long, radius * rng.uniform(0.8, 1.1)
    return moved(result, -place / 3)


def padlock(rng: np.random.Generator) -> Solid:
    """A padlock: a brass or steel body and a shackle."""
    half, high = rng.uniform(10, 24), rng.uniform(10, 22)
    body = Slab((rectangle(-half, 0, half, 2 * high, 3),), _metal(rng, 0.4), rng.uniform(8, 16))
    bow = np.array(
        [
            [-half * 0.7, 4],
            [-half * 0.7, -high],
            [0, -high * rng.uniform(1.6, 2.6)],
            [half * 0.7, -high],
            [half * 0.7, 4],
        ]
    )
    return (body, Wire(in_space(smooth(bow)), rng.uniform(1.8, 4.5), "steel"))


def stapler(rng: np.random.Generator) -> Solid:
    """A stapler or a pair of pliers: two dense arms that meet at a pivot."""
    long, open_by = rng.uniform(45, 85), rng.uniform(0.05, 0.5)
    result = rod((-long, 0), (-long + 10, 0), rng.uniform(4, 7), "steel", slices=4)
    for side in (-1, 1):
        end = np.array([np.cos(side * open_by / 2), np.sin(side * open_by / 2)]) * 2 * long - (long, 0)
        middle = np.array([(end[0] - long) / 2, end[1] / 2 + side * rng.uniform(0, 14)])
        spine = smooth(np.stack([[-long, 0], middle, end]))
        widths = np.linspace(rng.uniform(4, 8), rng.uniform(3, 10), len(spine))
        result += (Slab((ribbon(spine, widths),), "steel", rng.uniform(2, 10)),)
        if rng.random() < 0.5:
            result += (Slab((ribbon(spine[3:], widths[3:] * 1.6),), "polymer", 10),)
    return result


def lump(rng: np.random.Generator) -> Solid:
    """A dense thing of no clear use: rods, cones, rings and rounded plates grown together."""
    size = rng.uniform(25, 75)
    result: Solid = ()
    place = np.zeros(2)
    for _ in range(int(rng.integers(2, 6))):
        angle, long, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1) * size, rng.uniform(0.08, 0.3)
        end = place + long * np.array([np.cos(angle), np.sin(angle)])
        kind, material = int(rng.integers(4)), _metal(rng, 0.8)
        if kind == 0:
            result += rod(
                place.tolist(), end.tolist(), (radius * size, rng.uniform(0.05, 0.3) * size), material
            )
        elif kind == 1:
            ring = ellipse(0, 0, 0.45 * size, 0.3 * size) + end
            inside = rng.uniform(0.3, 0.8, 2) * (0.45 * size, 0.3 * size)
            hole = ellipse(0, 0, inside[0], inside[1]) + end
            result += (Slab((ring, hole), material, rng.uniform(5, 25)),)
        else:
            corners = rng.normal(0, 0.4 * size, (int(rng.integers(4, 8)), 2))
            order = np.argsort(np.arctan2(*(corners - corners.mean(0)).T))
            outline = smooth(corners[order], closed=True, rounds=int(rng.integers(1, 4))) + end
            result += (Slab((outline,), material, rng.uniform(4, 25)),)
        place = end if rng.random() < 0.7 else place
    return moved(result, *(-place / 2))


def chain(rng: np.random.Generator) -> Solid:
    """A chain or a strap with rings: links along a winding line."""
    count, wide = int(rng.integers(5, 16)), rng.uniform(4, 14)
    result: Solid = ()
    place, angle = np.zeros(2), rng.uniform(0, 6.28)
    material, wire = _metal(rng, 0.7), wide * rng.uniform(0.1, 0.28)
    for number in range(count):
        link = ellipse(0, 0, wide, wide * (0.65 if number % 2 else 0.3), points=16)
        path = in_space(np.concatenate([link, link[:1]]))
        result += moved((Wire(path, wire, material),), place[0], place[1], angle)
        angle += rng.normal(0, 0.35)
        place = place + 1.6 * wide * np.array([np.cos(angle), np.sin(angle)])
    return moved(result, *(-place / 2))


def sticks(rng: np.random.Generator) -> Solid:
    """A bundle of thin bars spread like a fan: hair pins, chop sticks, screw bits."""
    long, spread = rng.uniform(25, 80), rng.uniform(0.05, 0.6)
    radius, material = rng.uniform(0.8, 2.6), str(rng.choice(["steel", "copper", "water"]))
    result: Solid = ()
    for _ in range(int(rng.integers(4, 16))):
        angle, shift = rng.normal(0, spread), rng.normal(0, 6, 2)
        end = np.array([np.cos(angle), np.sin(angle)]) * long * rng.uniform(0.6, 1)
        result += rod((shift - 0.4 * end).tolist(), (shift + 0.6 * end).tolist(), radius, material, slices=3)
    return result


def spoon(rng: np.random.Generator) -> Solid:
    """A spoon or a fork of sheet steel."""
    long, thick = rng.uniform(55, 95), rng.uniform(1.2, 2.6)
    x = np.array([-long, -long * 0.6, 0, long * 0.5, long * 0.6])
    handle = ribbon(np.stack([x, np.zeros(5)], 1), np.array([8, 6, 3.2, 3, 5]))
    bowl, material = ellipse(long * 0.8, 0, long * 0.3, rng.uniform(13, 22)), _metal(rng, 0.8)
    slits = []
    if rng.random() < 0.5:
        rows = np.linspace(-8, 8, 4)[:3] + 2.5
        slits = [rectangle(long * 0.78, y - 1.4, long * 1.12, y + 1.4) for y in rows]
    return (Slab((handle,), material, thick), Slab((bowl, *slits), material, thick))


def ruler(rng: np.random.Generator) -> Solid:
    """A steel ruler, a file or a flat bar: long, straight, blunt, with an eye."""
    half, high = rng.uniform(55, 125), rng.uniform(5, 15)
    eye = ellipse(half - high, 0, high * 0.35, points=12)
    plate = Slab(
        (rectangle(-half, -high, half, high, rng.uniform(0, high)), eye),
        _metal(rng, 0.7),
        rng.uniform(0.4, 3),
    )
    if rng.random() < 0.4:
        return (plate, *rod((-half, 0), (-half - 60, 0), high, "polymer"))
    return (plate,)


def tweezers(rng: np.random.Generator) -> Solid:
    """Tweezers or small blunt scissors: two legs, sometimes with finger rings."""
    long, spread = rng.uniform(35, 70), rng.uniform(0.04, 0.35)
    rings, thick = rng.random() < 0.5, rng.uniform(0.8, 2.5)
    result: Solid = ()
    for side in (-1, 1):
        leg = ribbon(
            np.array([[-long * 0.9, 0], [0, 0], [long, 0]]), np.array([2.5, rng.uniform(2.5, 5), 1.0])
        )
        result += moved((Slab((leg,), "steel", thick),), spin=side * spread / 2)
        if rings:
            middle = np.array([-long * 1.1, -side * long * spread * 0.5 - side * 4])
            ring = ellipse(0, 0, long * 0.28, long * 0.2) + middle
            result += (Wire(in_space(np.concatenate([ring, ring[:1]])), rng.uniform(1.5, 3.5), "polymer"),)
    return result


def tag(rng: np.random.Generator) -> Solid:
    """A thin metal tag, a card frame or an opener: the size of a razor blade, with another opening."""
    half, high = rng.uniform(14, 27), rng.uniform(8, 15)
    outline = rectangle(-half, -high, half, high, rng.uniform(0.5, high))
    kind, holes = int(rng.integers(4)), []
    if kind == 0:
        holes = [ellipse(half * 0.75, 0, high * 0.2, points=14)]
    elif kind == 1:
        holes = [rectangle(-half * 0.75, -high * 0.6, half * 0.75, high * 0.6, 2)]
    elif kind == 2:
        holes = [
            rectangle(x, -high * 0.6, x + half * 0.22, high * 0.6) for x in half * np.array([-0.7, -0.1, 0.5])
        ]
    material = "steel" if rng.random() < 0.5 else "aluminium"
    thick = rng.uniform(0.08, 0.25) if material == "steel" else rng.uniform(0.8, 2.5)
    return (Slab((outline, *holes), material, thick),)


LOOK_ALIKES: dict[str, Callable[[np.random.Generator], Solid]] = {
    "gear": gear,
    "fan": fan,
    "ornament": ornament,
    "torch": torch,
    "lens": lens,
    "padlock": padlock,
    "stapler": stapler,
    "lump": lump,
    "chain": chain,
    "sticks": sticks,
    "spoon": spoon,
    "ruler": ruler,
    "tweezers": tweezers,
    "tag": tag,
}
