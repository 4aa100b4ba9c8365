"""Whole pictures for a detector: threat crops multiplied into pictures of bags, with boxes (threat image projection).

Each composite takes one bag and one or more threats, each posed at random (turn, scale, thickness, flip) and laid where
the bag's matter is, as `compositing` says. What it was made of is recorded: with the crops and the bags dealt out to
parts first, no threat and no background crosses a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tlkit.data import compositing
from tlkit.data.compositing import Threat
from tlkit.errors import UsageFault

LARGEST_HELD = 640  # longer side of a threat while it waits, pixels; what is posed smaller need not be larger
LEAST_SHOWN = 0.6  # share of a threat's area that must lie inside the picture and before no other threat
LEAST_CONTRAST = 0.35  # mean transmittance of the bag over a threat; darker places are tried again
INSIDE = 0.97  # transmittance from which a place is outside the bag
PLACES = 12
SIDES: dict[str, tuple[float, float]] = {  # longer side as a share of the bag's, where nothing else is said
    "blade": (0.06, 0.14),
    "gun": (0.18, 0.4),
    "knife": (0.18, 0.45),
    "shuriken": (0.1, 0.22),
}
ANY_SIDE = (0.08, 0.3)


class Provenance(NamedTuple):
    """What one threat of a composite was made of: class, number of the crop, and its pose."""

    label: str
    crop: int
    turn: float
    scale: float
    thickness: float
    flip: bool


class Superimposed(NamedTuple):
    """A bag with threats.

    Attributes:
        picture: float32 `[h, w]` in [0, 1], in the bag's grey levels.
        boxes: float32 `[n, 4]`, left, top, right, bottom, pixels; right and bottom exclusive.
        labels: `[n]` class names.
        occlusions: float32 `[n]`, see `compositing.occlusion`; other threats count as other matter.
        bag: Number of the bag.
        threats: `[n]` provenances.
    """

    picture: np.ndarray
    boxes: np.ndarray
    labels: tuple[str, ...]
    occlusions: np.ndarray
    bag: int
    threats: tuple[Provenance, ...]


def composite_threats(
    threats: Mapping[str, Sequence[np.ndarray]],
    bags: Sequence[np.ndarray],
    *,
    count: int,
    per_bag: tuple[int, int] = (1, 2),
    seed: int = 0,
    sides: Mapping[str, tuple[float, float]] | None = None,
    thickness: tuple[float, float] = (0.8, 1.25),
) -> Iterator[Superimposed]:
    """Lay threats into bags. Composite i depends only on (seed, i), the crops and the bags.

    Args:
        threats: Clean crops by class, float `[h, w]` in [0, 1], bright where the beam is free.
        bags: Pictures of bags, the same way.
        count: Composites.
        per_bag: Least and most threats in one; 0 gives bags as they are.
        seed: Another seed is another set.
        sides: By class, least and largest longer side as a share of the bag's; None is `SIDES`.
        thickness: Least and most k of T**k.

    Yields:
        The composites. A threat that finds no place where it can be told is left out.

    Raises:
        UsageFault: No crops, no bags, a count below 0, or ranges that are none.
    """
    _check(threats, bags, count, per_bag, thickness)
    held = {name: [_held(picture) for picture in threats[name]] for name in sorted(threats)}
    ranges = {name: (sides or SIDES).get(name, ANY_SIDE) for name in held}
    levels = [compositing.background_level(bag) for bag in bags]
    return (
        _one(np.random.default_rng([seed, index]), held, ranges, bags, levels, per_bag, thickness)
        for index in range(count)
    )


def _check(
    threats: Mapping[str, Sequence[np.ndarray]],
    bags: Sequence[np.ndarray],
    count: int,
    per_bag: tuple[int, int],
    thickness: tuple[float, float],
) -> None:
    empty = [name for name, pictures in threats.items() if not len(pictures)]
    if not threats or empty:
        raise UsageFault(
            f"There are no crops of {empty[0] if empty else 'any threat'}.", "Give at least one."
        )
    if not len(bags):
        raise UsageFault("There are no bags to lay threats into.", "Give at least one picture.")
    if count < 0 or not 0 <= per_bag[0] <= per_bag[1]:
        raise UsageFault(f"{count} composites with {per_bag[0]} to {per_bag[1]} threats each cannot be made.")
    if not 0 < thickness[0] <= thickness[1]:
        raise UsageFault(f"A thickness from {thickness[0]:g} to {thickness[1]:g} is no range above 0.")


def _held(picture: np.ndarray) -> tuple[Threat, Threat]:
    """A threat cut out once and kept at two sizes, so that posing it small costs little."""
    threat = compositing.cut_threat(picture)
    if not threat.mask.any():
        raise UsageFault("A threat's crop shows nothing before its background.", "Take it out.")
    large = compositing.no_larger(threat, LARGEST_HELD)
    return large, compositing.no_larger(large, LARGEST_HELD // 4)


def _one(
    rng: np.random.Generator,
    held: Mapping[str, Sequence[tuple[Threat, Threat]]],
    ranges: Mapping[str, tuple[float, float]],
    bags: Sequence[np.ndarray],
    levels: Sequence[float],
    per_bag: tuple[int, int],
    thickness: tuple[float, float],
) -> Superimposed:
    number = int(rng.integers(len(bags)))
    picture, i0 = np.asarray(bags[number], np.float32), levels[number]
    layers: list[np.ndarray] = []
    made: list[Provenance] = []
    for _ in range(int(rng.integers(per_bag[0], per_bag[1] + 1))):
        label = str(rng.choice(list(held)))
        crop = int(rng.integers(len(held[label])))
        pose = Provenance(
            label,
            crop,
            float(rng.uniform(0, 360)),
            float(rng.uniform(*ranges[label])) * max(picture.shape),
            float(rng.uniform(*thickness)),
            bool(rng.random() < 0.5),
        )
        through, pose = _posed(held[label][crop], pose)
        layer = _laid(rng, through, picture / i0, layers)
        if layer is not None:
            layers.append(layer)
            made.append(pose)
    return _measured(picture, i0, layers, made, number)


def _posed(sizes: tuple[Threat, Threat], wanted: Provenance) -> tuple[np.ndarray, Provenance]:
    """Pose a threat to the wanted longer side in pixels, which stands in `scale`; the scale becomes a factor."""
    large, small = sizes
    threat = small if wanted.scale < 0.75 * max(small.mask.shape) else large
    factor = wanted.scale / max(threat.mask.shape)
    through = compositing.pose(
        threat, turn=wanted.turn, scale=factor, thickness=wanted.thickness, flip=wanted.flip
    )
    return through, wanted._replace(scale=wanted.scale / max(large.mask.shape))


def _laid(
    rng: np.random.Generator, through: np.ndarray, behind: np.ndarray, layers: Sequence[np.ndarray]
) -> np.ndarray | None:
    """A threat's transmittance on the bag's canvas, at the first of some random places where it can be told."""
    height, width = through.shape
    mask = through <= 1 - compositing.SEEN
    if height > behind.shape[0] or width > behind.shape[1]:
        return None
    for _ in range(PLACES):
        top = int(rng.integers(behind.shape[0] - height + 1))
        left = int(rng.integers(behind.shape[1] - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        under = behind[window][mask]
        inside = float((under < INSIDE).mean()) > 0.5
        free = all(float((layer[window][mask] < 0.9).mean()) <= 1 - LEAST_SHOWN for layer in layers)
        if inside and free and float(under.mean()) >= LEAST_CONTRAST:
            canvas = np.ones(behind.shape, np.float32)
            canvas[window] = through
            return canvas
    return None


def _measured(
    picture: np.ndarray, i0: float, layers: list[np.ndarray], made: list[Provenance], bag: int
) -> Superimposed:
    """Multiply the layers into the picture; boxes from each layer's own mask."""
    behind = compositing.transmittance(picture, i0)
    boxes, hidden = [], []
    for index, layer in enumerate(layers):
        mask = layer <= 1 - compositing.SEEN
        others = behind
        for other in layers[:index] + layers[index + 1 :]:
            others = others * other
        boxes.append(compositing.box_of(mask))
        hidden.append(compositing.occlusion(mask, others))
    for layer in layers:
        picture = picture * layer
    return Superimposed(
        picture,
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(pose.label for pose in made),
        np.array(hidden, np.float32),
        bag,
        tuple(made),
    )
