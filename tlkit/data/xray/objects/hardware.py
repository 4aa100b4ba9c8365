"""Small harmless things as solids in millimetres: clips, springs, screws, keys, coins, connectors, zippers.

They are what a razor blade is confused with and what lies around it in a bag. Each function draws one
instance; `SMALL_THINGS` names them all.
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
    teeth,
)


def paper_clip(rng: np.random.Generator) -> Solid:
    """A paper clip of steel wire, 25-50 mm long."""
    half, wide = rng.uniform(12, 24), rng.uniform(3.5, 5)
    corners = [
        [-half * 0.5, -wide],
        [half, -wide],
        [half + 2, 0],
        [half, wide],
        [-half, wide],
        [-half - 2, 0],
        [-half, -wide * 0.55],
        [half * 0.65, -wide * 0.55],
        [half * 0.75, 0],
        [half * 0.65, wide * 0.5],
        [-half * 0.4, wide * 0.5],
    ]
    return (Wire(in_space(smooth(np.array(corners), rounds=2)), rng.uniform(0.4, 0.7), "steel"),)


def safety_pin(rng: np.random.Generator) -> Solid:
    """A safety pin: a long loop of wire with a sheet-metal cap."""
    half, wide = rng.uniform(14, 26), rng.uniform(3, 5)
    coil = ellipse(-half, 0, 2.5, points=10)
    path = np.concatenate(
        [[[half, -wide]], [[-half, -wide * 0.6]], coil, [[-half, wide * 0.6], [half, wide]]]
    )
    cap = rectangle(half - 3, -wide - 1.5, half + 4, wide + 1.5, 2)
    return (Wire(in_space(path), rng.uniform(0.35, 0.6), "steel"), Slab((cap,), "steel", 1.0))


def helix(long: float, radius: float, turns: float, wire: float, material: str = "steel") -> Wire:
    """A coil spring along x, `long` mm, as a wire in space."""
    angle = np.linspace(0, 2 * np.pi * turns, int(turns * 12) + 1)
    path = np.stack(
        [np.linspace(-long / 2, long / 2, len(angle)), radius * np.cos(angle), radius * np.sin(angle)], 1
    )
    return Wire(path, wire, material)


def spring(rng: np.random.Generator) -> Solid:
    """A coil spring, sometimes with the tip of a pen in it."""
    long, radius = rng.uniform(18, 45), rng.uniform(2, 5)
    coil: Solid = (helix(long, radius, rng.uniform(7, 18), rng.uniform(0.3, 0.7)),)
    if rng.random() < 0.5:
        coil += rod((long * 0.1, 0), (long * 0.75, 0), (radius * 0.7, radius * 0.2), "copper", slices=4)
    return coil


def screw(rng: np.random.Generator) -> Solid:
    """A wood screw or a bolt: head, shank and thread."""
    long, radius = rng.uniform(12, 45), rng.uniform(1.5, 3.5)
    point = 0.15 if rng.random() < 0.6 else 1.0
    head = rod((-long / 2 - radius, 0), (-long / 2, 0), (radius * 2, radius * rng.uniform(1, 2)), "steel")
    shank = rod((-long / 2, 0), (long / 2, 0), (radius * 0.85, radius * point), "steel")
    thread = helix(long * 0.7, radius, long * 0.7 / rng.uniform(1.2, 2.2), 0.35)
    return (*head, *shank, *moved((thread,), x=long * 0.08))


def nails(rng: np.random.Generator) -> Solid:
    """A handful of nails or pins, all about the same, lying crosswise."""
    long, radius = rng.uniform(12, 40), rng.uniform(0.5, 1.4)
    one = rod((-long / 2, 0), (long / 2, 0), (radius, radius * 0.8), "steel", slices=3)
    one += rod((-long / 2 - 0.8, 0), (-long / 2, 0), radius * 2.2, "steel", slices=3)
    lean = rng.uniform(0, np.pi)
    result: Solid = ()
    for _ in range(int(rng.integers(4, 13))):
        x, y = rng.uniform(-long * 0.35, long * 0.35, 2)
        result += moved(one, x, y, lean + rng.normal(0, 0.5) + np.pi * (rng.random() < 0.4))
    return result


def coins(rng: np.random.Generator) -> Solid:
    """One to five coins, partly upon each other."""
    result: Solid = ()
    for _ in range(int(rng.integers(1, 6))):
        x, y = rng.uniform(-14, 14, 2)
        size, material = rng.uniform(8, 13), str(rng.choice(["copper", "steel"]))
        disc = Slab((ellipse(x, y, size),), material, rng.uniform(1.2, 2.3))
        result += (disc, Slab((ellipse(x, y, size), ellipse(x, y, size - 1)), material, 0.4))
    return result


def button(rng: np.random.Generator) -> Solid:
    """A button with two or four holes, of polymer or metal."""
    size, count = rng.uniform(5, 12), int(rng.choice([2, 4]))
    angles = np.pi / 4 + np.arange(count) * 2 * np.pi / count
    holes = [
        ellipse(size * 0.25 * np.cos(a), size * 0.25 * np.sin(a), size * 0.11, points=12) for a in angles
    ]
    disc = (ellipse(0, 0, size), *holes)
    if rng.random() < 0.5:
        return (Slab(disc, "steel", rng.uniform(1, 2.5)),)
    return (Slab(disc, "polymer", 4), Slab((disc[0], ellipse(0, 0, size * 0.8)), "polymer", 2))


def ring(rng: np.random.Generator) -> Solid:
    """A washer, a key ring or a cog wheel of metal."""
    size = rng.uniform(6, 22)
    angle = np.linspace(0, 2 * np.pi, 144, endpoint=False)
    teeth = rng.integers(9, 24) * (rng.random() < 0.5)
    radius = size * (1 + 0.08 * np.sign(np.sin(teeth * angle)) * (teeth > 0))
    outer = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    hole = ellipse(0, 0, size * rng.uniform(0.25, 0.85))
    return (Slab((outer, hole), str(rng.choice(["steel", "copper", "aluminium"])), rng.uniform(1, 5)),)


def keys(rng: np.random.Generator) -> Solid:
    """One to four keys on a ring."""
    loop = ellipse(0, 0, rng.uniform(9, 14))
    result: Solid = (Wire(in_space(np.concatenate([loop, loop[:1]])), 1.1, "steel"),)
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 5))):
        angle += rng.uniform(0.2, 0.9)
        result += moved(_key(rng), 11 * np.cos(angle), 11 * np.sin(angle), angle)
    return result


def _key(rng: np.random.Generator) -> Solid:
    long, head = rng.uniform(22, 34), rng.uniform(8, 13)
    teeth = np.stack([np.linspace(2 * head, 2 * head + long, 12), rng.uniform(1, 4, 12)], 1)
    shank = np.concatenate([[[2 * head - 2, -4]], [[2 * head + long, -3]], teeth[::-1]])
    bow = ellipse(head, 0, head, head * rng.uniform(0.7, 1))
    hole = ellipse(head * 0.4, 0, head * 0.25, points=12)
    material, thick = str(rng.choice(["copper", "steel"])), rng.uniform(1.6, 2.6)
    parts = (Slab((bow, hole), material, thick), Slab((shank,), material, thick))
    return (*parts, Slab((bow,), "polymer", 6)) if rng.random() < 0.3 else parts


def battery(rng: np.random.Generator) -> Solid:
    """A round cell: steel can, zinc-like filling, a cap."""
    long, radius = rng.uniform(40, 52), rng.uniform(5, 8)
    can = rod((-long / 2, 0), (long / 2, 0), radius, "steel", slices=8)
    filling = rod((-long / 2 + 1, 0), (long / 2 - 1, 0), radius * 0.93, "steel", slices=8, sign=-0.85)
    return (*can, *filling, *rod((long / 2, 0), (long / 2 + 1.5, 0), radius * 0.35, "steel", slices=3))


def connector(rng: np.random.Generator) -> Solid:
    """A plug: polymer body, metal shell, a comb of pins, a piece of cable."""
    wide, long, pins = rng.uniform(6, 20), rng.uniform(10, 22), int(rng.integers(2, 10))
    cable = np.array([[-long, 0], [-long * 1.6, rng.uniform(-4, 4)], [-long * 2.2, rng.uniform(-14, 14)]])
    path = in_space(smooth(cable))
    result: Solid = (
        Slab((rectangle(-long, -wide, 0, wide, 3),), "polymer", 9),
        Slab((rectangle(-2, -wide * 0.9, long * 0.5, wide * 0.9),), "steel", rng.uniform(0.5, 1.2)),
        Wire(path, 2.4, "polymer"),
        Wire(path, 0.9, "copper"),
    )
    row = teeth(np.linspace(-wide * 0.75, wide * 0.75, pins), -long * 0.7, long * 0.4, wide * 0.35 / pins)
    return (*result, Slab((row[:, ::-1],), "copper", wide * 0.5 / pins))


def zipper(rng: np.random.Generator) -> Solid:
    """Two rows of small teeth with a slider and its puller."""
    count, pitch = int(rng.integers(12, 40)), rng.uniform(1.8, 3.2)
    material = "copper" if rng.random() < 0.6 else "polymer"
    bend = rng.normal(0, 0.015)
    x = np.arange(count) * pitch
    bow = bend * x**2 / 4
    row = teeth(x, -1.8, 1.8, 0.6) + np.repeat(bow, 4)[:, None] * (0, 1)
    tape = ribbon(np.stack([x, bow], 1), 9)
    result: Solid = (Slab((tape,), "cloth", 3), Slab((row,), material, 2))
    return result + moved(zipper_puller(rng), x[-1] * rng.uniform(0, 1), 0, rng.normal(0, 0.6))


def zipper_puller(rng: np.random.Generator) -> Solid:
    """The slider of a zipper with a flat tongue that has an eye."""
    long, wide = rng.uniform(12, 30), rng.uniform(2.5, 5)
    tongue = ribbon(
        np.array([[5, 0], [8, 0], [long, 0], [long + 2, 0]]), np.array([1.5, 2, wide, wide * 0.7])
    )
    holes = [ellipse(long - 2, 0, wide * 0.45, points=12)] if rng.random() < 0.6 else []
    back, front = rng.uniform(2, 5), rng.uniform(1.5, 4)
    sides = np.array([[-6, -back], [2, -front], [6, -1], [6, 1], [2, front], [-6, back], [-3, 0]])
    material = "steel" if rng.random() < 0.7 else "copper"
    body = Slab((smooth(sides, closed=True, rounds=2),), material, rng.uniform(1.5, 5))
    return (Slab((tongue, *holes), material, rng.uniform(0.8, 2)), body)


def bracket(rng: np.random.Generator) -> Solid:
    """A thin metal plate with round and long holes: a hinge, a strap, a label."""
    half, high = rng.uniform(12, 32), rng.uniform(5, 14)
    places = np.linspace(-half * 0.75, half * 0.75, int(rng.integers(1, 5)))
    holes = [ellipse(x, rng.uniform(-0.4, 0.4) * high, high * 0.18, points=14) for x in places]
    if rng.random() < 0.3:
        holes = [rectangle(-half * 0.7, -high * 0.2, half * 0.7, high * 0.2, 2)]
    plate = rectangle(-half, -high, half, high, rng.uniform(0, high))
    material = str(rng.choice(["steel", "aluminium"]))
    return (Slab((plate, *holes), material, rng.uniform(0.2, 1) * (1 if material == "steel" else 4)),)


def rivets(rng: np.random.Generator) -> Solid:
    """A row of metal tips along a seam, as on a belt or a toothbrush-like comb."""
    count, pitch, long = int(rng.integers(4, 9)), rng.uniform(5, 9), rng.uniform(2, 8)
    result: Solid = (Slab((rectangle(-6, -9, count * pitch, 14, 4),), "cloth", rng.uniform(4, 10)),)
    lean = rng.normal(0, 0.2)
    for number in range(count):
        one = rod((0, -long / 2), (0, long / 2), (1.4, 0.9), "copper", slices=3)
        result += moved(one, number * pitch, 0, lean)
    return result


SMALL_THINGS: dict[str, Callable[[np.random.Generator], Solid]] = {
    "paper clip": paper_clip,
    "safety pin": safety_pin,
    "spring": spring,
    "screw": screw,
    "nails": nails,
    "coins": coins,
    "button": button,
    "ring": ring,
    "keys": keys,
    "battery": battery,
    "connector": connector,
    "zipper": zipper,
    "zipper puller": zipper_puller,
    "bracket": bracket,
    "rivets": rivets,
}
