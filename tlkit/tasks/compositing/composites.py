"""Whole images for a detector: threat crops multiplied into images of bags, with boxes (threat image projection).

Each composite takes one bag and one or more threats, each posed at random (turn, scale, thickness, flip) and laid where
the bag's matter is, as `compositing` says. What a bag holds already is left in sight. What a composite was made of is
recorded: with the crops and the bags split into parts first, no threat and no background crosses a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tlkit.data.xray import transmittance as compositing
from tlkit.data.xray.transmittance import Threat
from tlkit.errors import UsageFault

LARGEST_HELD = 640  # longer side of a threat while it waits, pixels; what is posed smaller need not be larger
LEAST_SHOWN = (
    0.6  # share of a threat's area, and of an object's that is there already, clear of other threats
)
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
Held = tuple[Threat, Threat]  # a threat cut out, at two sizes


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
        image: float32 `[h, w]` in [0, 1], in the bag's grey levels.
        boxes: float32 `[n, 4]`, left, top, right, bottom, pixels; right and bottom exclusive.
        labels: `[n]` class names.
        occlusions: float32 `[n]`, see `transmittance.occlusion`; other threats count as other matter.
        bag: Number of the bag.
        threats: `[n]` provenances.
        through: float32 `[h, w]` in (0, 1], transmittance of all its threats: what the bag was multiplied by.
        i0: Grey level of the bag's free beam, from which the occlusions were reckoned.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: tuple[str, ...]
    occlusions: np.ndarray
    bag: int
    threats: tuple[Provenance, ...]
    through: np.ndarray
    i0: float


class Wish(NamedTuple):
    """What all composites of a set have in common; see `wish_for` and `composite_threats`.

    Attributes:
        held: By class, the threats.
        ranges: By class, least and largest longer side as a share of the bag's.
        per_bag: Least and most threats in one.
        empty: Share of the composites that are left as they are.
        thickness: Least and most k of T**k.
    """

    held: dict[str, list[Held]]
    ranges: dict[str, tuple[float, float]]
    per_bag: tuple[int, int]
    empty: float
    thickness: tuple[float, float]


def sides_of(name: str) -> tuple[float, float]:
    """Least and largest longer side of a class's threats, as a share of the bag's, where nothing else is said."""
    return SIDES.get(name.casefold(), ANY_SIDE)


def wish_for(
    threats: Mapping[str, Sequence[np.ndarray | Held]],
    *,
    per_bag: tuple[int, int] = (1, 2),
    empty: float = 0.0,
    sides: Mapping[str, tuple[float, float]] | None = None,
    thickness: tuple[float, float] = (0.8, 1.25),
) -> Wish:
    """What is wanted, checked; arguments as in `composite_threats`.

    Raises:
        UsageFault: No crops, or ranges that are none.
    """
    empty_classes = [name for name, images in threats.items() if not len(images)]
    if not threats or empty_classes:
        raise UsageFault(
            f"There are no crops of {empty_classes[0] if empty_classes else 'any threat'}.",
            "Give at least one.",
        )
    if not 0 <= per_bag[0] <= per_bag[1]:
        raise UsageFault(f"Composites with {per_bag[0]} to {per_bag[1]} threats each cannot be made.")
    if not 0 < thickness[0] <= thickness[1]:
        raise UsageFault(f"A thickness from {thickness[0]:g} to {thickness[1]:g} is no range above 0.")
    held = {name: [_held(crop) for crop in threats[name]] for name in sorted(threats)}
    ranges = {name: sides[name] if sides else sides_of(name) for name in held}
    return Wish(held, ranges, per_bag, empty, thickness)


def composite_threats(
    threats: Mapping[str, Sequence[np.ndarray | Held]],
    bags: Sequence[np.ndarray],
    *,
    count: int,
    per_bag: tuple[int, int] = (1, 2),
    empty: float = 0.0,
    seed: int = 0,
    sides: Mapping[str, tuple[float, float]] | None = None,
    thickness: tuple[float, float] = (0.8, 1.25),
    i0: float | None = None,
    objects: Sequence[np.ndarray] | None = None,
) -> Iterator[Superimposed]:
    """Paste threats into bags. Composite i depends only on (seed, i), the crops and the bags.

    Args:
        threats: Clean crops by class, float `[h, w]` in [0, 1], bright where the beam is free; or what `hold` makes
            of them.
        bags: Images of bags, the same way; read one at a time, each equally often.
        count: Composites.
        per_bag: Least and most threats in one; 0 gives bags as they are.
        empty: Share of the composites that are left as they are.
        seed: Another seed is another set.
        sides: By class, least and largest longer side as a share of the bag's; None is `SIDES`, upper and lower case
            aside.
        thickness: Least and most k of T**k.
        i0: Grey level of the free beam in every bag; None estimates it in each.
        objects: For each bag, boxes `[m, 4]` of what it holds already and must go on showing.

    Yields:
        The composites. A threat that finds no place where it can be told is left out.

    Raises:
        UsageFault: No crops, no bags, a count below 0, or ranges that are none.
    """
    wish = wish_for(threats, per_bag=per_bag, empty=empty, sides=sides, thickness=thickness)
    if not len(bags):
        raise UsageFault("There are no bags to paste threats into.", "Give at least one image.")
    if count < 0:
        raise UsageFault(f"{count} composites cannot be made.")
    order = np.random.default_rng([seed, 0, 0]).permutation(len(bags)).tolist()

    def each() -> Iterator[Superimposed]:
        levels: dict[int, float] = {}
        for index in range(count):
            number = order[index % len(order)]
            bag = np.asarray(bags[number], np.float32)
            if number not in levels:
                levels[number] = compositing.background_level(bag) if i0 is None else i0
            there = objects[number] if objects is not None else np.zeros((0, 4))
            yield lay_threats(np.random.default_rng([seed, index]), wish, bag, levels[number], there, number)

    return each()


def hold(image: np.ndarray, largest: int = LARGEST_HELD) -> Held | None:
    """Cut a threat out once and keep it at two sizes, so that posing it small costs little.

    Args:
        image: float `[h, w]` in [0, 1].
        largest: Longer side at which it is kept, pixels.

    Returns:
        Both, the larger first; None where the crop shows nothing before its background.
    """
    threat = compositing.cut_threat(image)
    if not threat.mask.any():
        return None
    large = compositing.no_larger(threat, largest)
    return large, compositing.no_larger(large, max(largest // 4, 1))


def _held(crop: np.ndarray | Held) -> Held:
    held = crop if isinstance(crop, tuple) else hold(crop)
    if held is None:
        raise UsageFault("A threat's crop shows nothing before its background.", "Take it out.")
    return held


def lay_threats(
    rng: np.random.Generator, wish: Wish, image: np.ndarray, i0: float, there: np.ndarray, number: int = 0
) -> Superimposed:
    """One composite.

    Args:
        rng: Of everything random in it.
        wish: From `wish_for`.
        image: The bag, float `[h, w]` in [0, 1].
        i0: Grey level of its free beam.
        there: Boxes `[m, 4]` of what it holds already and must go on showing.
        number: Of the bag.
    """
    layers: list[np.ndarray] = []
    made: list[Provenance] = []
    wanted = int(rng.integers(wish.per_bag[0], wish.per_bag[1] + 1))
    if wish.empty and rng.random() < wish.empty:
        wanted = 0
    for _ in range(wanted):
        label = str(rng.choice(list(wish.held)))
        crop = int(rng.integers(len(wish.held[label])))
        pose = Provenance(
            label,
            crop,
            float(rng.uniform(0, 360)),
            float(rng.uniform(*wish.ranges[label])) * max(image.shape),
            float(rng.uniform(*wish.thickness)),
            bool(rng.random() < 0.5),
        )
        through, pose = _posed(wish.held[label][crop], pose)
        layer = _laid(rng, through, image / i0, layers, there)
        if layer is not None:
            layers.append(layer)
            made.append(pose)
    return _measured(image, i0, layers, made, number)


def _posed(sizes: Held, wanted: Provenance) -> tuple[np.ndarray, Provenance]:
    """Pose a threat to the wanted longer side in pixels, which stands in `scale`; the scale becomes a factor."""
    large, small = sizes
    threat = small if wanted.scale < 0.75 * max(small.mask.shape) else large
    factor = wanted.scale / max(threat.mask.shape)
    through = compositing.pose(
        threat, turn=wanted.turn, scale=factor, thickness=wanted.thickness, flip=wanted.flip
    )
    return through, wanted._replace(scale=wanted.scale / max(large.mask.shape))


def _laid(
    rng: np.random.Generator,
    through: np.ndarray,
    behind: np.ndarray,
    layers: Sequence[np.ndarray],
    there: np.ndarray,
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
        free = free and _leaves_in_sight(mask, left, top, there)
        if inside and free and float(under.mean()) >= LEAST_CONTRAST:
            style = np.ones(behind.shape, np.float32)
            style[window] = through
            return style
    return None


def _leaves_in_sight(mask: np.ndarray, left: int, top: int, there: np.ndarray) -> bool:
    """Whether a threat with its corner at (left, top) and the boxes in a bag leave each other clear enough."""
    for box in np.asarray(there, np.float64).reshape(-1, 4):
        first = np.maximum(np.floor(box[:2]).astype(int) - (left, top), 0)
        last = np.maximum(np.ceil(box[2:]).astype(int) - (left, top), 0)
        common = int(mask[first[1] : last[1], first[0] : last[0]].sum())
        least = min(float(np.prod(box[2:] - box[:2])), float(mask.sum()))
        if common > (1 - LEAST_SHOWN) * least:
            return False
    return True


def _measured(
    image: np.ndarray, i0: float, layers: list[np.ndarray], made: list[Provenance], bag: int
) -> Superimposed:
    """Multiply the layers into the image; boxes from each layer's own mask."""
    behind = compositing.transmittance(image, i0)
    boxes, hidden = [], []
    for index, layer in enumerate(layers):
        mask = layer <= 1 - compositing.SEEN
        others = behind
        for other in layers[:index] + layers[index + 1 :]:
            others = others * other
        boxes.append(compositing.box_of(mask))
        hidden.append(compositing.occlusion(mask, others))
    through = np.ones(image.shape, np.float32)
    for layer in layers:
        through = through * layer
    return Superimposed(
        image * through,
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(pose.label for pose in made),
        np.array(hidden, np.float32),
        bag,
        tuple(made),
        through,
        float(i0),
    )
