"""Larger harmless things as solids in millimetres: boards, phones, bottles, cables, umbrellas, tools, cloth.

They are what a gun or a shuriken is confused with and what lies around it in a bag. Each function
draws one instance; `LARGE_THINGS` names them all.
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
from tlkit.data.xray.objects.hardware import helix, zipper_puller


def circuit_board(rng: np.random.Generator, half: float = 0.0, high: float = 0.0) -> Solid:
    """A board with copper traces, chips, capacitors and solder; half sizes in mm, 0 draws them."""
    half, high = half or rng.uniform(20, 60), high or rng.uniform(14, 35)
    result: Solid = (
        Slab((rectangle(-half, -high, half, high, 2),), "polymer", 1.6),
        Slab((rectangle(-half, -high, half, high, 2),), "copper", 0.03),
    )
    for _ in range(int(rng.integers(4, 10))):
        x, y = rng.uniform(-0.8, 0.8, 2) * (half, high)
        result += moved(_chip(rng), x, y, np.pi / 2 * rng.integers(2))
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.uniform(-0.85, 0.85, 2) * (half, high)
        can = ellipse(x, y, rng.uniform(1.5, 5), points=16)
        result += (Slab((can,), str(rng.choice(["aluminium", "copper"])), rng.uniform(1, 8)),)
    for _ in range(int(rng.integers(3, 9))):
        path = np.cumsum(
            rng.uniform(-0.5, 0.5, (4, 2)) * (half, 0) + rng.uniform(-0.4, 0.4, (4, 2)) * (0, high), 0
        )
        result += (Wire(in_space(np.clip(path, (-half, -high), (half, high))), 0.25, "copper"),)
    return result


def _chip(rng: np.random.Generator) -> Solid:
    """A packaged chip: body, lead frame, two rows of pins."""
    half, high, pins = rng.uniform(3, 10), rng.uniform(2.5, 6), int(rng.integers(4, 10))
    x = np.linspace(-half * 0.9, half * 0.9, pins)
    legs = tuple(Slab((teeth(x, side * high, side * (high + 2), 0.35),), "copper", 0.4) for side in (-1, 1))
    body = rectangle(-half, -high, half, high)
    die = rectangle(-half * 0.5, -high * 0.5, half * 0.5, high * 0.5)
    return (Slab((body,), "polymer", 2.5), Slab((die,), "copper", rng.uniform(0.05, 0.25)), *legs)


def phone(rng: np.random.Generator) -> Solid:
    """A phone or a remote control: casing, board, battery, keys, a loudspeaker."""
    half, high = rng.uniform(50, 80), rng.uniform(20, 36)
    split = rng.uniform(-0.2, 0.3) * half
    result: Solid = (
        Slab((rectangle(-half, -high, half, high, 8),), "polymer", rng.uniform(5, 12)),
        Slab((rectangle(split, -high * 0.8, half * 0.9, high * 0.8, 3),), "aluminium", rng.uniform(3, 12)),
        Slab(
            (rectangle(split + 3, -high * 0.75, half * 0.88, high * 0.75, 3),),
            "copper",
            rng.uniform(0.1, 1.2),
        ),
        Slab((ellipse(-half * 0.85, 0, 5),), "steel", 2.5),
    )
    return result + moved(circuit_board(rng, (split + half) / 2, high * 0.85), (split - half) / 2)


def cables(rng: np.random.Generator) -> Solid:
    """A bundle of cable in loops, sometimes with a plug."""
    size, strands = rng.uniform(18, 60), int(rng.integers(3, 9))
    core, jacket = rng.uniform(0.4, 1.1), rng.uniform(1.2, 2.6)
    flat = rng.uniform(0.25, 0.9)
    result: Solid = ()
    for _ in range(strands):
        angle = np.linspace(0, 2 * np.pi, 11)[:-1] + rng.uniform(0, 1)
        radius = size * rng.uniform(0.75, 1.1, 10)
        loop = np.stack([radius * np.cos(angle), flat * radius * np.sin(angle)], 1) + rng.normal(
            0, size * 0.08, 2
        )
        path = in_space(smooth(loop, closed=True, rounds=2))
        result += (Wire(path, jacket, "polymer"), Wire(path, core, "copper"))
    if rng.random() < 0.6:
        body = rectangle(size - 8, -7, size + 16, 7, 3)
        pins = [Wire(np.array([[size + 10, y, 0], [size + 30, y, 0]]), 2, "copper") for y in (-5, 5)]
        result += (Slab((body,), "polymer", 14), Slab((body,), "copper", 0.3), *pins)
    return result


def thin_wires(rng: np.random.Generator) -> Solid:
    """Ear-phone wire: one long thin winding line, with two capsules at its ends."""
    points = np.cumsum(rng.normal(0, 16, (14, 2)), 0)
    path = smooth(points - points.mean(0), rounds=3)
    ends = tuple(Slab((ellipse(end[0], end[1], 6),), "copper", 1.5) for end in (path[0], path[-1]))
    return (Wire(in_space(path), 0.9, "polymer"), Wire(in_space(path), 0.35, "copper"), *ends)


def pen(rng: np.random.Generator) -> Solid:
    """A ball-point pen: barrel, refill, brass tip, spring and clip."""
    half, radius = rng.uniform(55, 72), rng.uniform(3.8, 6)
    barrel = rod((-half, 0), (half - 12, 0), radius, "polymer")
    barrel += rod((-half, 0), (half - 12, 0), radius * 0.7, "polymer", sign=-1, slices=3)
    tip = rod((half - 12, 0), (half, 0), (radius, 0.6), "copper" if rng.random() < 0.6 else "polymer")
    clip = Slab((rectangle(-half, radius, -half + 38, radius + 1.5),), "steel", 4)
    coil = moved((helix(22, radius * 0.6, 11, 0.3),), half - 28)
    return (*barrel, *tip, *rod((-half * 0.7, 0), (half, 0), 1.2, "copper", slices=3), clip, *coil)


def bottle(rng: np.random.Generator) -> Solid:
    """A small bottle or a tube of cream: wall, liquid to some level, screwed cap."""
    half, radius = rng.uniform(35, 75), rng.uniform(14, 30)
    level = rng.uniform(-0.6, 1) * half
    body = rod((-half, 0), (half, 0), radius, "polymer", slices=8)
    hollow = rod((-half + 1.5, 0), (half, 0), radius - 1.5, "polymer", slices=8, sign=-1)
    liquid = rod((-half + 1.5, 0), (level, 0), radius - 1.5, "water", slices=8)
    cap = rod((half, 0), (half + 18, 0), radius * rng.uniform(0.4, 0.8), "polymer")
    foil = rod((half + 2, 0), (half + 17, 0), radius * 0.35, "aluminium" if rng.random() < 0.4 else "polymer")
    return (*body, *hollow, *liquid, *cap, *foil)


def umbrella(rng: np.random.Generator) -> Solid:
    """A folded umbrella: shaft, ribs that spread a little, a handle."""
    half = rng.uniform(80, 130)
    result = rod((-half, 0), (half, 0), rng.uniform(3, 5), "steel", slices=4)
    result += rod((half, 0), (half + 40, 0), rng.uniform(9, 14), "polymer")
    for angle in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        spread = rng.uniform(4, 16)
        end = [half * 0.8, spread * np.cos(angle), spread * np.sin(angle)]
        path = np.array([[-half, 0, 0], [-half * 0.1, end[1] * 1.3, end[2] * 1.3], end])
        result += (Wire(path, 0.8, "steel"),)
    return result


def spectacles(rng: np.random.Generator) -> Solid:
    """Two rims, a bridge, folded arms with their hinges."""
    wide, high, radius = rng.uniform(20, 27), rng.uniform(13, 22), rng.uniform(0.7, 2)
    material = "steel" if radius < 1.3 else "polymer"
    result: Solid = ()
    for side in (-1, 1):
        rim = smooth(rectangle(-wide, -high, wide, high), closed=True, rounds=3) + np.array(
            [side * (wide + 9), 0]
        )
        result += (
            Wire(in_space(np.concatenate([rim, rim[:1]])), radius, material),
            Slab((rim,), "polymer", 2),
        )
        arm = [[side * (2 * wide + 9), -high * 0.5], [side * 10, high * 0.4], [-side * 45, high * 0.7]]
        result += (Wire(in_space(smooth(np.array(arm))), radius, material),)
        result += moved(rod((-3, 0), (3, 0), 2, "steel", slices=3), side * (2 * wide + 8), -high * 0.5)
    return (*result, Wire(in_space(np.array([[-10, -4], [0, -7], [10, -4]], float)), radius, material))


def watch(rng: np.random.Generator) -> Solid:
    """A wrist watch: case, movement, links of the bracelet."""
    size = rng.uniform(14, 20)
    case = (ellipse(0, 0, size), ellipse(0, 0, size * 0.8))
    result: Solid = (
        Slab(case, "steel", 6),
        Slab((ellipse(0, 0, size * 0.7),), "copper", rng.uniform(0.3, 3)),
    )
    material, bend = str(rng.choice(["steel", "polymer"])), rng.uniform(-0.25, 0.25)
    for side in (-1, 1):
        angle, place = 0.0, np.array([side * size, 0.0])
        for _ in range(int(rng.integers(4, 9))):
            result += moved((Slab((rectangle(-3, -8, 3, 8, 1),), material, 3),), place[0], place[1], angle)
            place, angle = place + 7 * side * np.array([np.cos(angle), np.sin(angle)]), angle + bend
    return result


def belt(rng: np.random.Generator) -> Solid:
    """A belt's buckle, its prong and a piece of strap with eyelets."""
    half, high = rng.uniform(16, 30), rng.uniform(14, 24)
    frame = (rectangle(-half, -high, half, high, 5), rectangle(-half + 5, -high + 5, half - 5, high - 5, 3))
    strap = rectangle(-half - 90, -high + 5, -half + 6, high - 5)
    eyes = [ellipse(x, 0, 2.5, points=12) for x in np.arange(-half - 80, -half - 20, 14)]
    rings = tuple(Slab((ellipse(eye[:, 0].mean(), 0, 4.5, points=14), eye), "copper", 1) for eye in eyes)
    prong = Wire(np.array([[-half, 0, 0], [half, 0, 2.0]]), 2, "steel")
    return (Slab(frame, "steel", rng.uniform(2, 5)), Slab((strap, *eyes), "water", 4), prong, *rings)


def spanner(rng: np.random.Generator) -> Solid:
    """A flat spanner with an open end and a ring end."""
    half, size = rng.uniform(45, 90), rng.uniform(8, 15)
    round_side = ellipse(half, 0, size * 1.3, size)[2:-1]  # from the lower lip round the back to the upper
    mouth = np.array([[half + size * 0.1, -size * 0.45], [half + size * 0.1, size * 0.45]])
    handle = ribbon(np.array([[-half, 0], [0, 0], [half, 0]]), np.array([0.5, 0.42, 0.55]) * size)
    eye = (ellipse(-half, 0, size), ellipse(-half, 0, size * 0.6, points=6))
    thick = rng.uniform(3, 7)
    return (
        Slab((np.concatenate([round_side, mouth]),), "steel", thick),
        Slab((handle,), "steel", thick),
        Slab(eye, "steel", thick),
    )


def dryer(rng: np.random.Generator) -> Solid:
    """A hair dryer or a drill: a polymer pistol with a motor, a coil and a switch in it."""
    long, radius = rng.uniform(50, 80), rng.uniform(20, 30)
    body = rod((-long, 0), (long, 0), (radius * 1.1, radius * 0.8), "polymer", slices=8)
    hollow = rod((-long, 0), (long, 0), (radius, radius * 0.7), "polymer", slices=8, sign=-1)
    grip = ribbon(np.array([[-long * 0.4, radius * 0.8], [-long * 0.5, 60], [-long * 0.6, 105]]), 15)
    motor = rod((-long * 0.7, 0), (-long * 0.1, 0), radius * rng.uniform(0.5, 0.8), "steel", slices=4)
    motor += rod((-long * 0.9, 0), (long * 0.1, 0), 3, "steel", slices=3)
    coil = moved((helix(long * 0.6, radius * 0.5, 8, 0.6, "copper"),), long * 0.55)
    switch = Slab((rectangle(-long * 0.5 - 6, 40, -long * 0.5 + 6, 58),), "copper", rng.uniform(0.5, 3))
    return (*body, *hollow, Slab((grip,), "polymer", 7), *motor, *coil, switch)


def comb(rng: np.random.Generator) -> Solid:
    """A comb or a brush: a back and many teeth, of polymer or metal."""
    half, long, count = rng.uniform(40, 80), rng.uniform(14, 28), int(rng.integers(14, 36))
    material, radius = ("polymer", 1.3) if rng.random() < 0.6 else ("steel", 0.5)
    row = teeth(np.linspace(-half, half, count), 0, long, radius * rng.uniform(0.6, 1))
    back = rectangle(-half - 3, -9, half + 3, 1, 3)
    return (Slab((back,), "polymer", rng.uniform(3, 9)), Slab((row,), material, 2 * radius))


def toy_car(rng: np.random.Generator) -> Solid:
    """A cast toy: a body with windows, axles and wheels."""
    half, high = rng.uniform(26, 45), rng.uniform(9, 14)
    top = np.array(
        [[-half, 0], [-half * 0.6, -high], [half * 0.3, -high], [half * 0.6, -2], [half, 0], [half, high]]
    )
    outline = np.concatenate([top, [[-half, high]]])
    window = rectangle(-half * 0.5, -high * 0.8, half * 0.2, -high * 0.1, 2)
    wheels = tuple(
        Slab(
            (ellipse(side * half * 0.6, high, high * 0.6), ellipse(side * half * 0.6, high, 2.0)),
            "polymer",
            24,
        )
        for side in (-1, 1)
    )
    shell = Slab((outline, window), "aluminium", rng.uniform(8, 30))
    axles = tuple(Slab((ellipse(side * half * 0.6, high, 1.5, points=10),), "steel", 30) for side in (-1, 1))
    return (shell, *wheels, *axles)


def casting(rng: np.random.Generator) -> Solid:
    """A part of an aluminium wheel: rim, hub with bolt holes and spokes with openings between."""
    size, spokes = rng.uniform(50, 90), int(rng.integers(3, 8))
    half = np.pi / spokes
    gaps = []
    for turn in np.arange(spokes) * 2 * half:
        wide = half * rng.uniform(0.5, 0.7)
        angle = np.linspace(turn - wide, turn + wide, 7)
        far = 0.82 * size * np.stack([np.cos(angle), np.sin(angle)], 1)
        near = 0.38 * size * np.stack([np.cos(angle[2:5]), np.sin(angle[2:5])], 1)
        gaps.append(smooth(np.concatenate([far, near[::-1]]), closed=True, rounds=2))
    bolts = [ellipse(0.2 * size * np.cos(a), 0.2 * size * np.sin(a), 4) for a in np.arange(5) * 1.257]
    disc, thick = ellipse(0, 0, size, points=48), rng.uniform(12, 30)
    rim = Slab((disc, ellipse(0, 0, size * 0.86, points=48)), "aluminium", rng.uniform(10, 25))
    return (Slab((disc, *gaps, *bolts), "aluminium", thick), rim)


def housing(rng: np.random.Generator) -> Solid:
    """A close view of a cast aluminium housing: thick rounded walls, a rib, a round boss, a thin floor."""
    half, apart = rng.uniform(35, 60), rng.uniform(25, 55)
    floor = rectangle(-apart - 20, -half, apart + 20, half)
    solid: Solid = (Slab((floor,), "aluminium", rng.uniform(1, 9)),)
    for side in (-1, 1):
        top, low = side * apart + rng.normal(0, 4, 2)
        solid += rod((top, -half), (low, half), rng.uniform(12, 28), "aluminium", slices=10)
    for _ in range(int(rng.integers(1, 4))):
        left, right = rng.uniform(-half, half, 2)
        solid += rod((-apart, left), (apart, right), rng.uniform(3, 10), "aluminium", slices=8)
    x, y, size = rng.uniform(-0.7, 0.7) * apart, rng.uniform(-0.7, 0.7) * half, rng.uniform(6, 16)
    boss = (ellipse(x, y, size), ellipse(x, y, size * rng.uniform(0.3, 0.7)))
    return (*solid, Slab(boss, "aluminium", rng.uniform(3, 20)))


def stacked_rings(rng: np.random.Generator) -> Solid:
    """Something turned of wood or wound of tape: many rings of slightly different density."""
    size, high = rng.uniform(25, 70), rng.uniform(0.25, 1)
    edges = np.sort(rng.uniform(0.08, 1, int(rng.integers(5, 12))))[::-1] * size
    solid: Solid = (Slab((ellipse(0, 0, size, size * high, points=40),), "water", rng.uniform(20, 60)),)
    for outer in edges:
        hole = ellipse(0, 0, outer * 0.93, outer * 0.93 * high, points=40)
        solid += (Slab((ellipse(0, 0, outer, outer * high, points=40), hole), "water", rng.uniform(-12, 25)),)
    return solid


def puller_and_wire(rng: np.random.Generator) -> Solid:
    """A zipper puller on a cord, as they hang on bags."""
    path = smooth(np.cumsum(rng.normal(0, 9, (6, 2)), 0))
    cord = (Wire(in_space(path), 1.6, "polymer"), Wire(in_space(path), 0.4, "steel"))
    return (*cord, *moved(zipper_puller(rng), path[-1, 0], path[-1, 1], rng.uniform(0, 6.28), 1.4))


LARGE_THINGS: dict[str, Callable[[np.random.Generator], Solid]] = {
    "circuit board": circuit_board,
    "phone": phone,
    "cables": cables,
    "thin wires": thin_wires,
    "pen": pen,
    "bottle": bottle,
    "umbrella": umbrella,
    "spectacles": spectacles,
    "watch": watch,
    "belt": belt,
    "spanner": spanner,
    "dryer": dryer,
    "comb": comb,
    "toy car": toy_car,
    "casting": casting,
    "housing": housing,
    "stacked rings": stacked_rings,
    "puller and wire": puller_and_wire,
}
