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
from tlkit.tasks.compositing.settings import CompositeSettings

LARGEST_HELD = 640  # longer side of a threat while it waits, pixels; what is posed smaller need not be larger
LEAST_SHOWN = (
    0.6  # share of a threat's area, and of an object's that is there already, clear of other threats
)
LEAST_CONTRAST = 0.35  # mean transmittance of the bag over a threat; darker places are tried again
INSIDE = 0.97  # transmittance from which a place is outside the bag
PLACES = 12
POSE = ("turn", "scale", "thickness", "flip", "occlusion")  # columns of composites.csv


class ThreatCrop(NamedTuple):
    """A threat cut out, at two sizes, so that posing it small costs little.

    Attributes:
        large: As it is posed large.
        small: The same, at a quarter of the sides.
        number: Of its image in the split that it is of.
    """

    large: Threat
    small: Threat
    number: int = 0


class Provenance(NamedTuple):
    """What one threat of a composite was made of.

    Attributes:
        label: Its class; empty where there is no threat.
        crop: Number of the crop in its class.
        turn: Degrees.
        scale: Factor on the crop's sides.
        thickness: k of T**k.
        flip: Whether it was mirrored.
        occlusion: See `transmittance.occlusion`; other threats count as other matter.
    """

    label: str = ""
    crop: int = 0
    turn: float = 0.0
    scale: float = 1.0
    thickness: float = 1.0
    flip: bool = False
    occlusion: float = 0.0

    @property
    def figures(self) -> tuple[str, str, str]:
        """Turn, scale and thickness, as `composites.csv` has them."""
        return f"{self.turn:.4g}", f"{self.scale:.4g}", f"{self.thickness:.4g}"


class Superimposed(NamedTuple):
    """A bag with threats.

    Attributes:
        image: float32 `[h, w]` in [0, 1], in the bag's grey levels.
        boxes: float32 `[n, 4]`, left, top, right, bottom, pixels; right and bottom exclusive.
        bag: Number of the bag.
        threats: `[n]` provenances.
        through: float32 `[h, w]` in (0, 1], transmittance of all its threats: what the bag was multiplied by.
        i0: Grey level of the bag's free beam, from which the occlusions were reckoned.
        masks: `[n]` bool `[bottom - top, right - left]`: the threat in its box.
    """

    image: np.ndarray
    boxes: np.ndarray
    bag: int
    threats: tuple[Provenance, ...]
    through: np.ndarray
    i0: float
    masks: tuple[np.ndarray, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """`[n]` class names."""
        return tuple(threat.label for threat in self.threats)


def composite_threats(
    threats: Mapping[str, Sequence[np.ndarray | ThreatCrop]],
    bags: Sequence[np.ndarray],
    settings: CompositeSettings,
    *,
    count: int,
    seed: int = 0,
    objects: Sequence[np.ndarray] | None = None,
) -> Iterator[Superimposed]:
    """Paste threats into bags. Composite i depends only on (seed, i), the crops, the bags and the settings.

    Args:
        threats: Clean crops by class, float `[h, w]` in [0, 1], bright where the beam is free; or what `hold` makes
            of them.
        bags: Images of bags, the same way; read one at a time, each equally often.
        settings: Threats in a composite, and their poses.
        count: Composites.
        seed: Another seed is another set.
        objects: For each bag, boxes `[m, 4]` of what it holds already and must go on showing.

    Yields:
        The composites. A threat that finds no place where it can be told is left out.

    Raises:
        UsageFault: No crops, no bags, or a count below 0.
    """
    without = [name for name, images in threats.items() if not len(images)]
    if not threats or without:
        raise UsageFault(
            f"There are no crops of {without[0] if without else 'any threat'}.", "Give at least one."
        )
    crops = {name: [_held(crop) for crop in some] for name, some in threats.items()}
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
                levels[number] = compositing.background_level(bag) if settings.i0 is None else settings.i0
            there = objects[number] if objects is not None else np.zeros((0, 4))
            rng = np.random.default_rng([seed, index])
            yield lay_threats(rng, crops, settings, bag, levels[number], there, number)

    return each()


def hold(image: np.ndarray, largest: int = LARGEST_HELD, number: int = 0) -> ThreatCrop | None:
    """Cut a threat out once, however often it is posed.

    Args:
        image: float `[h, w]` in [0, 1].
        largest: Longer side at which it is kept, pixels.
        number: Of its image in the split that it is of.

    Returns:
        None where the crop shows nothing before its background.
    """
    threat = compositing.cut_threat(image)
    if not threat.mask.any():
        return None
    large = compositing.no_larger(threat, largest)
    return ThreatCrop(large, compositing.no_larger(large, max(largest // 4, 1)), number)


def _held(crop: np.ndarray | ThreatCrop) -> ThreatCrop:
    held = crop if isinstance(crop, tuple) else hold(crop)
    if held is None:
        raise UsageFault("A threat's crop shows nothing before its background.", "Take it out.")
    return held


def lay_threats(
    rng: np.random.Generator,
    crops: Mapping[str, Sequence[ThreatCrop]],
    settings: CompositeSettings,
    image: np.ndarray,
    i0: float,
    there: np.ndarray,
    number: int = 0,
) -> Superimposed:
    """One composite.

    Args:
        rng: Of everything random in it.
        crops: By class, the threats.
        settings: How many of them, and their poses.
        image: The bag, float `[h, w]` in [0, 1].
        i0: Grey level of its free beam.
        there: Boxes `[m, 4]` of what it holds already and must go on showing.
        number: Of the bag.
    """
    layers: list[np.ndarray] = []
    made: list[Provenance] = []
    wanted = int(rng.integers(settings.per_bag[0], settings.per_bag[1] + 1))
    if settings.empty and rng.random() < settings.empty:
        wanted = 0
    for _ in range(wanted):
        label = str(rng.choice(sorted(crops)))
        crop = int(rng.integers(len(crops[label])))
        pose = Provenance(
            label,
            crop,
            float(rng.uniform(0, 360)),  # degrees: a bag has no up
            float(rng.uniform(*settings.sides_of(label))) * max(image.shape),
            float(rng.uniform(*settings.thickness)),  # k of T^k: k times the matter in the beam
            bool(rng.random() < 0.5),
        )
        through, pose = _posed(crops[label][crop], pose)
        layer = _laid(rng, through, image / i0, layers, there)
        if layer is not None:
            layers.append(layer)
            made.append(pose)
    return _measured(image, i0, layers, made, number)


def _posed(crop: ThreatCrop, wanted: Provenance) -> tuple[np.ndarray, Provenance]:
    """Pose a threat to the wanted longer side in pixels, which stands in `scale`; the scale becomes a factor."""
    # the small copy only where it is still shrunk, by 0.75 at least: enlarging would blur the edges
    threat = crop.small if wanted.scale < 0.75 * max(crop.small.mask.shape) else crop.large
    factor = wanted.scale / max(threat.mask.shape)
    through = compositing.pose(
        threat, turn=wanted.turn, scale=factor, thickness=wanted.thickness, flip=wanted.flip
    )
    return through, wanted._replace(scale=wanted.scale / max(crop.large.mask.shape))


def _laid(
    rng: np.random.Generator,
    through: np.ndarray,
    behind: np.ndarray,
    layers: Sequence[np.ndarray],
    there: np.ndarray,
) -> np.ndarray | None:
    """A threat's transmittance in the bag's frame, at the first of some random places where it can be told."""
    height, width = through.shape
    mask = through <= 1 - compositing.SEEN
    if height > behind.shape[0] or width > behind.shape[1]:
        return None
    for _ in range(PLACES):
        top = int(rng.integers(behind.shape[0] - height + 1))
        left = int(rng.integers(behind.shape[1] - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        under = behind[window][mask]  # T = I / I0 of the bag where the threat would lie
        inside = (
            float((under < INSIDE).mean()) > 0.5
        )  # more than half of it on the bag's matter, not beside the bag
        free = all(float((layer[window][mask] < 0.9).mean()) <= 1 - LEAST_SHOWN for layer in layers)
        free = free and _leaves_in_sight(mask, left, top, there)
        if inside and free and float(under.mean()) >= LEAST_CONTRAST:
            layer = np.ones(behind.shape, np.float32)  # T = 1: nothing in the beam
            layer[window] = through
            return layer
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
    boxes, threats, masks = [], [], []
    for index, layer in enumerate(layers):
        mask = layer <= 1 - compositing.SEEN
        others = behind
        for other in layers[:index] + layers[index + 1 :]:
            others = others * other  # Beer-Lambert: what lies one behind the other multiplies
        boxes.append(compositing.box_of(mask))
        left, top, right, bottom = map(int, boxes[-1])
        masks.append(mask[top:bottom, left:right])
        threats.append(made[index]._replace(occlusion=compositing.occlusion(mask, others)))
    through = np.ones(image.shape, np.float32)
    for layer in layers:
        through = through * layer  # I = I0 T_bag T_1 T_2 ... (Bhowmik 2019, section 3.1)
    return Superimposed(
        image * through,
        np.array(boxes, np.float32).reshape(-1, 4),
        bag,
        tuple(threats),
        through,
        float(i0),
        tuple(masks),
    )
