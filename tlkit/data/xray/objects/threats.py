"""The three threats as solids in millimetres: guns, shuriken, razor blades.

Each function draws one instance: the same generator state gives the same object. Guns are revolvers
with open grips and pistols with steel or polymer frames; shuriken have three to eight points; blades
are mostly double-edged with the slots that fit a razor.
"""

from __future__ import annotations

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


def gun(rng: np.random.Generator) -> Solid:
    """A revolver or a pistol, muzzle to the right, about 130-290 mm long."""
    solid = revolver(rng) if rng.random() < 0.55 else pistol(rng)
    return moved(solid, scale=rng.uniform(0.8, 1.15))


def revolver(rng: np.random.Generator) -> Solid:
    """Barrel, drum with chambers, frame, trigger guard, hammer and a grip with light windows."""
    length, bore = rng.uniform(45, 135), rng.uniform(3, 4.5)
    drum, axis, barrel = rng.uniform(14, 19), -rng.uniform(6, 12), rng.uniform(7, 10.5)
    end = 24 + length
    solid = rod((22, axis), (end, axis), barrel, "steel")
    solid += rod((22, axis), (end, axis), bore, "steel", sign=-1, slices=3)
    solid += _drum(drum, rng) + _revolver_frame(drum, axis, barrel)
    solid += _grip(np.array([-30.0, -2.0]), rng)
    solid += _guard(np.array([-2.0, drum + 15]), rng)
    under = axis + barrel + rng.uniform(2, 4)
    if rng.random() < 0.75:  # the ejector rod under the barrel
        stop = 24 + length * rng.uniform(0.3, 0.8)
        solid += rod((22, under), (stop, under), rng.uniform(2, 4), "steel", slices=3)
        solid += rod((stop - 9, under), (stop, under), rng.uniform(3.5, 5.5), "steel", slices=3)
    if rng.random() < 0.6:
        solid += rod((end - rng.uniform(5, 14), axis), (end, axis), barrel + rng.uniform(1, 3.5), "steel")
    sight = np.array([[14, 0], [0, 0], [3, -7], [8, -6]]) + np.array([end - 15, axis - barrel + 1])
    hammer = np.array([[-24, -8], [-32, -22], [-45, -31], [-43, -22], [-37, -8], [-30, 4]], float)
    return (*solid, Slab((sight,), "steel", 3), Slab((smooth(hammer, closed=True),), "steel", 8))


def _drum(radius: float, rng: np.random.Generator) -> Solid:
    """A steel cylinder with six chambers, some of them loaded (brass and lead)."""
    solid = rod((-19, 0), (15, 0), radius, "steel", slices=8)
    turn, loaded = rng.uniform(0, np.pi / 3), rng.random() < 0.4
    for angle in turn + np.arange(6) * np.pi / 3:
        y, z = radius * 0.62 * np.sin(angle), radius * 0.62 * np.cos(angle)
        solid += rod((-19, y), (15, y), radius * 0.26, "steel", height=z, slices=3, sign=-1)
        if loaded:
            solid += rod((-19, y), (8, y), radius * 0.24, "copper", height=z, slices=3)
    return solid


def _revolver_frame(drum: float, axis: float, barrel: float) -> Solid:
    """The steel plate around the drum, with the narrow gap that shows around it."""
    top, low = min(axis - barrel, -drum) - 1, drum + 7
    outline = [[30, top], [-28, top], [-36, top + 9], [-40, 10], [-31, low + 3], [22, low], [30, low - 9]]
    gap = rectangle(-20, -drum - 0.8, 16, drum + 1)
    return (Slab((smooth(np.array(outline), closed=True, rounds=1), gap), "steel", 13),)


def _grip(start: np.ndarray, rng: np.random.Generator) -> Solid:
    """A bent grip: a metal edge, one or two windows, panels of polymer, springs or a screw inside."""
    lean, long = rng.uniform(0.15, 0.85), rng.uniform(80, 112)
    share = np.linspace(0, 1, 13)
    angle = np.pi / 2 + lean + rng.uniform(0, 0.9) * (0.35 - share)
    spine = start + np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1) * long / 12, 0)
    widths = np.interp(
        share, [0, 0.3, 0.6, 1], [15, rng.uniform(12, 15), rng.uniform(13, 17), rng.uniform(17, 22)]
    )
    edge, outline = rng.uniform(3, 5.5), ribbon(spine, widths)
    panels: Solid = (Slab((outline,), "polymer", rng.uniform(10, 24)),)
    if rng.random() < 0.2:
        return (*panels, Slab((outline,), "steel", 10))
    bar = int(rng.integers(6, 9))
    cuts = [(3, 12)] if rng.random() < 0.4 else [(3, bar), (bar + 1, 12)]
    holes = [ribbon(spine[first : last + 1], widths[first : last + 1] - edge) for first, last in cuts]
    frame = Slab((outline, *holes), "steel", rng.uniform(8, 14))
    springs: Solid = ()
    for _ in range(int(rng.integers(0, 3))):
        path = spine[2 : int(rng.integers(7, 12))] + rng.uniform(-8, 8, 2)
        path = path + np.linspace(0, 1, len(path))[:, None] ** 2 * rng.normal(0, 8, 2)
        springs += (Wire(in_space(path), rng.uniform(0.6, 2.5), "steel"),)
    screw = rod(spine[6] - (2.5, 0), spine[6] + (2.5, 0), 2.5, "steel", slices=3)
    return (*panels, frame, *springs, *screw)


def _guard(middle: np.ndarray, rng: np.random.Generator) -> Solid:
    """Trigger guard and trigger: a closed loop and a hook."""
    ring = ellipse(middle[0], middle[1], rng.uniform(17, 23), rng.uniform(13, 17))
    ring = np.concatenate([ring, ring[:1]])
    hook = smooth(middle + np.array([[2, -15], [4, -4], [-2, 3], [-5, 10]], float))
    loops = tuple(Wire(in_space(ring, z), rng.uniform(1.6, 2.6), "steel") for z in (-3.5, 0, 3.5))
    return (*loops, Wire(in_space(hook), rng.uniform(1.8, 2.6), "steel"))


def pistol(rng: np.random.Generator) -> Solid:
    """Slide with barrel, frame, slanted grip with its magazine, trigger guard and sights."""
    half, high, wide = rng.uniform(70, 105), rng.uniform(22, 29), rng.uniform(20, 27)
    frame = "polymer" if rng.random() < 0.35 else ("aluminium" if rng.random() < 0.2 else "steel")
    slide = np.array([[-half, 0], [-half + 4, -high], [half - 3, -high], [half, -high + 5], [half, 0]])
    port = rectangle(2, -high * 0.8, 24, -high * 0.35)
    solid: Solid = (
        Slab((slide, port), "steel", wide),
        Slab((rectangle(-half + 8, -high - 3, -half + 15, -high + 1),), "steel", 8),
        Slab((rectangle(half - 11, -high - 3.5, half - 6, -high + 1),), "steel", 3),
        Slab((rectangle(-half + 6, -1, half * rng.uniform(0.6, 0.98), rng.uniform(9, 13)),), frame, wide - 4),
    )
    solid += rod((26, -high / 2), (half, -high / 2), 4.5, "steel", sign=-1, slices=3)
    solid += _magazine_grip(half, wide, frame, rng)
    ring = rectangle(
        -half + 44, 6, -half + 44 + rng.uniform(30, 40), 6 + rng.uniform(22, 30), rng.uniform(6, 14)
    )
    rim = np.concatenate([ring, ring[:1]])
    bow = tuple(Wire(in_space(rim, z), rng.uniform(1.8, 2.6), frame) for z in (-3, 0, 3))
    hook = ring.mean(0) + np.array([[2, -13], [1, -5], [-4, 1], [-3, 7]])
    hammer = np.array([[-half + 2, -2], [-half - 8, -high], [-half - 3, -high - 2], [-half + 5, -8]])
    outside = (Slab((hammer,), "steel", 7),) if rng.random() < 0.5 else ()
    return (*solid, *bow, Wire(in_space(smooth(hook)), 2.5, "steel"), *outside)


def _magazine_grip(half: float, wide: float, frame: str, rng: np.random.Generator) -> Solid:
    """The grip below the rear of the slide and the sheet-steel magazine with its cartridges in it."""
    lean, long, deep = rng.uniform(0.1, 0.4), rng.uniform(75, 100), rng.uniform(38, 50)
    shear = np.array([[1, 0], [-lean, 1]])
    top = np.array([-half + 8, 4])
    outline = smooth(rectangle(0, 0, deep, long), closed=True, rounds=1) @ shear + top
    metal = 5 if frame != "polymer" else 0
    window = rectangle(7, 18, deep - 8, long - 12, 4) @ shear + top
    solid: Solid = (Slab((outline,), "polymer", wide + 2),)
    if metal:
        holes = (window,) if rng.random() < 0.75 else ()
        solid += (Slab((outline, *holes), frame, wide - metal),)
    if rng.random() < 0.8:
        solid += (Slab((rectangle(6, 4, deep - 7, long - 1) @ shear + top,), "steel", 1.8),)
        for row in range(int(rng.integers(0, 8))):
            first, last = np.array([[8, 10 + 9 * row], [deep - 10, 10 + 9 * row]]) @ shear + top
            solid += rod(first, last, 4.3, "copper", slices=3)
    rows = np.linspace(30, long - 6, 14)
    coil = np.stack([np.where(np.arange(14) % 2, 9, deep - 10), rows], 1) @ shear + top
    return (*solid, Wire(in_space(coil), 0.7, "steel"))


def shuriken(rng: np.random.Generator) -> Solid:
    """A throwing star of steel, 60-125 mm wide, with three to eight points."""
    points, reach = (
        int(rng.choice([3, 4, 5, 6, 7, 8], p=[0.08, 0.2, 0.14, 0.24, 0.12, 0.22])),
        rng.uniform(30, 62),
    )
    inner = reach * rng.uniform(0.2, 0.48 if points > 3 else 0.36)
    half = np.pi / points
    kite = rng.random() < 0.6
    waist = inner * np.sin(half) * (rng.uniform(0.6, 0.95) if kite else 1.0)
    arm = [(inner * np.cos(half), waist)]
    if kite:  # the point widens before it narrows
        arm += [
            (
                reach * rng.uniform(0.5, 0.7),
                min(reach * rng.uniform(0.1, 0.19), reach * 0.62 * np.tan(half) * 0.9),
            )
        ]
    side = np.array(arm)
    outline = np.concatenate([side, [[reach, 0]], (side * (1, -1))[::-1]])
    sweep = rng.uniform(-0.7, 0.7) if not kite and rng.random() < 0.5 else 0.0
    radius, angle = np.hypot(*outline.T), np.arctan2(outline[:, 1], outline[:, 0])[::-1]
    angle = angle + sweep * (radius / reach) ** 2
    turns = np.arange(points)[:, None] * 2 * half
    around = np.stack([radius * np.cos(turns + angle), radius * np.sin(turns + angle)], -1).reshape(-1, 2)
    holes = _star_holes(points, inner, rng)
    return (Slab((around, *holes), "steel", rng.uniform(1.2, 3.5)),)


def _star_holes(points: int, inner: float, rng: np.random.Generator) -> list[np.ndarray]:
    """A round hole in the middle, sometimes a square one, sometimes none, sometimes more on a circle."""
    kind, size = rng.random(), inner * rng.uniform(0.14, 0.4)
    if kind < 0.2:
        return []
    if kind < 0.3:
        return [rectangle(-size, -size, size, size)]
    holes = [ellipse(0, 0, size)]
    if kind > 0.85:
        angles = np.arange(points) * 2 * np.pi / points
        holes += [
            ellipse(0.72 * inner * np.cos(a), 0.72 * inner * np.sin(a), inner * 0.1, points=12)
            for a in angles
        ]
    return holes


def blade(rng: np.random.Generator) -> Solid:
    """A razor blade of sheet steel, 37-61 mm long: double-edged, single-edged or a knife's spare blade."""
    kind = rng.random()
    if kind < 0.84:
        return _double_edged(rng)
    return _single_edged(rng) if kind < 0.92 else _trapezoid(rng)


def _double_edged(rng: np.random.Generator) -> Solid:
    """The thin blade with tabs at both ends and one long symmetric slot."""
    half, high, tab = rng.uniform(18, 19), rng.uniform(10.6, 11.2), rng.uniform(6, 8)
    end, notch = half + rng.uniform(2.2, 3.2), rng.uniform(0, 0.9)
    quarter = np.array([[half, high], [half, tab + notch], [half - notch, tab], [end, tab - 0.4]])
    right = np.concatenate([quarter, (quarter * (1, -1))[::-1]])
    slot = _slot(half, rng)
    return (Slab((np.concatenate([right, -right]), slot), "steel", rng.uniform(0.09, 0.14)),)


def _slot(half: float, rng: np.random.Generator) -> np.ndarray:
    """The opening along the middle: a narrow slit with round and lozenge widenings, `[n, 2]` mm."""
    x = np.linspace(0, half * rng.uniform(0.8, 0.87), 60)
    opening = np.full_like(x, rng.uniform(0.35, 0.9))
    middle, bow = rng.uniform(2.0, 3.4), rng.uniform(2.6, 4.4)
    opening = np.maximum(opening, np.sqrt(np.maximum(middle**2 - x**2, 0)))
    for place, size, wide in (
        (half * rng.uniform(0.26, 0.36), rng.uniform(0.8, 2.8), 2.2),
        (half * rng.uniform(0.46, 0.54), rng.uniform(1.2, 3.6), rng.uniform(1.4, 2.6)),
        (half * rng.uniform(0.66, 0.74), bow, rng.uniform(2, 3.4)),
    ):
        opening = np.maximum(opening, size * (1 - np.abs(x - place) / wide))
    opening[-1] = 0.3
    quarter = np.stack([x, opening], 1)
    right = np.concatenate([quarter[::-1] * (1, -1), quarter])
    return np.concatenate([right, -right])


def _single_edged(rng: np.random.Generator) -> Solid:
    """An industrial blade: one edge, a folded aluminium back, two or three notches."""
    half, high = rng.uniform(18, 21), rng.uniform(9, 10)
    side = np.array([[half, -high], [half, -3], [half - 3, -3], [half - 3, 3], [half, 3], [half, high]])
    outline = np.concatenate([side, (side * (-1, 1))[::-1]])
    holes: list[np.ndarray] = []
    if rng.random() < 0.6:
        holes.append(ellipse(0, -2, rng.uniform(1.5, 3)))
    body = Slab((outline, *holes), "steel", rng.uniform(0.2, 0.3))
    return (
        body,
        Slab((rectangle(-half, -high - 1, half, -high + rng.uniform(3, 5)),), "steel", rng.uniform(0.3, 0.8)),
    )


def _trapezoid(rng: np.random.Generator) -> Solid:
    """The spare blade of a craft knife: a trapezoid with notches in its back."""
    half, high = rng.uniform(26, 31), 9.5
    back, notch = half * 0.55, np.array([[7.6, -high], [7.6, -high + 3], [4.4, -high + 3], [4.4, -high]])
    right = np.concatenate([[[half, high], [back, -high]], notch])
    outline = np.concatenate([right, (right * (-1, 1))[::-1]])
    holes: list[np.ndarray] = []
    if rng.random() < 0.5:
        holes.append(ellipse(0, 1, rng.uniform(1.5, 3.5)))
    return (Slab((outline, *holes), "steel", rng.uniform(0.3, 0.6)),)
