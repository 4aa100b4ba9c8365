"""Crops as they are cut out of baggage, made of clean ones: each threat set into clutter, and clutter alone.

A detector that learns threats before an empty background fails on threats inside bags. The remedy is to show it
bags: a clean crop is cut free (`compositing`), posed, and multiplied into clutter, which is made of crops of other
matter, of simulated belongings, or of both. Threat-free images are made of the same clutter, so that clutter
itself says nothing about the class. Every image records which crops it was made of: crops made of the same
threat or the same background belong on the same side of a split.

Source: Bhowmik et al. 2019 (see `compositing`); Dumagpi and Jeong, Evaluating GAN-based image augmentation for threat
detection in large-scale X-ray security images (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tlkit.data.xray import transmittance as compositing
from tlkit.data.xray.physics import add_scatter
from tlkit.data.xray.projection import extent
from tlkit.data.xray.surroundings import centrepiece, framed, surroundings
from tlkit.data.xray.transmittance import Threat
from tlkit.errors import UsageFault
from tlkit.tasks.compositing.composites import POSE, Provenance
from tlkit.tasks.compositing.settings import ClutterSettings

NEGATIVE = "other"
COLUMNS = ("file", "threat", "backgrounds", "simulated", *POSE)  # of composites.csv
SIMULATED, MIXED = 0.85, 0.5  # of "both": share with belongings, and of these the share with other crops too
CENTRED = 0.6  # share of threat-free images that are framed around a simulated thing
LEAST_SEEN = 0.35  # mean transmittance of the clutter over a threat: below it nobody could tell
THREAT_MM = {
    "gun": 200.0,
    "shuriken": 105.0,
    "blade": 43.0,
    "knife": 200.0,
}  # longer side, for the clutter's scale


class InClutter(NamedTuple):
    """Clutter with a threat, or alone.

    Attributes:
        image: float32 `[h, w]` in [0, 1].
        label: Class of the threat; `NEGATIVE` without one.
        threat: What it was made of; of `NEGATIVE` nothing that counts.
        others: Numbers of the crops of other matter in its clutter.
        simulated: Whether simulated belongings lie in it.
    """

    image: np.ndarray
    label: str
    threat: Provenance
    others: tuple[int, ...]
    simulated: bool


def composite_crops(
    images_by_class: Mapping[str, Sequence[np.ndarray]],
    others: Sequence[np.ndarray],
    settings: ClutterSettings,
    seed: int = 0,
) -> list[InClutter]:
    """Set clean threats into clutter, and draw clutter without threats.

    Image i of a class depends only on (seed, class, i), so more copies only add images.

    Args:
        images_by_class: Clean crops by class, float `[h, w]` in [0, 1], bright where the beam is free.
        others: Crops of other matter, the same way; may be empty where the clutter is simulated.
        settings: How many, how large, and what they are set into.
        seed: Another seed is another set.

    Returns:
        The composites of each class in the order of their names, then those without a threat.

    Raises:
        UsageFault: Clutter of others without others.
    """
    if settings.clutter == "others" and not len(others):
        raise UsageFault("Clutter of others needs crops of other matter.", "Take simulated clutter instead.")
    backgrounds = [compositing.transmittance(image) for image in others]
    made: list[InClutter] = []
    for name in sorted(images_by_class):
        for index, image in enumerate(images_by_class[name]):
            threat = compositing.no_larger(compositing.cut_threat(image), 2 * settings.size)
            for copy in range(settings.copies if threat.mask.any() else 0):
                rng = _generator(seed, name, index, copy)
                made.append(_with_threat(rng, threat, (name, index), backgrounds, settings))
    count = round(settings.negatives * (len(others) or len(made)))
    alone = (_generator(seed, NEGATIVE, index, 0) for index in range(count))
    return [*made, *(_without_threat(rng, backgrounds, settings) for rng in alone)]


def _generator(seed: int, name: str, index: int, copy: int) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode(), index, copy])


def _with_threat(
    rng: np.random.Generator,
    threat: Threat,
    which: tuple[str, int],
    backgrounds: Sequence[np.ndarray],
    settings: ClutterSettings,
) -> InClutter:
    flip, turn = bool(rng.random() < 0.5), float(rng.uniform(0, 360))
    thickness = float(rng.uniform(0.75, 1.3))
    small = compositing.no_larger(threat, 64)  # its pose says what shape the crop is to have
    height, width, scale = _canvas(rng, compositing.pose(small, turn=turn, flip=flip).shape, settings.size)
    scale *= max(small.mask.shape) / max(threat.mask.shape)
    posed = compositing.pose(threat, turn=turn, scale=scale, thickness=thickness, flip=flip)
    shift = rng.normal(0, 0.05, 2) * (width, height)
    middle = (width / 2 + float(shift[0]), height / 2 + float(shift[1]))
    per_mm = max(posed.shape) / THREAT_MM.get(which[0], 120.0)
    mask = compositing.lay(posed, np.ones((height, width), np.float32), middle, 1.0).mask
    # dense things may cover little of a translucent threat, which only its pattern tells
    bearable = 0.08 if float(np.median(posed[posed < 1])) > 0.3 else 0.3
    behind, used, simulated = _clutter(
        rng, (height, width), per_mm, backgrounds, settings.clutter, mask, bearable
    )
    behind = _thinned(behind, mask)
    laid = compositing.lay(posed, behind, middle, 1.0)
    made_of = Provenance(*which, turn, scale, thickness, flip, laid.occlusion)
    return InClutter(_seen(rng, laid.image), which[0], made_of, used, simulated)


def _without_threat(
    rng: np.random.Generator, backgrounds: Sequence[np.ndarray], settings: ClutterSettings
) -> InClutter:
    if settings.clutter != "others" and rng.random() < CENTRED:
        return _around_a_thing(rng, backgrounds, settings)
    height, width, _ = _canvas(rng, (1, float(np.exp(rng.normal(0, 0.3)))), settings.size)
    per_mm = settings.size / float(np.exp(rng.uniform(np.log(40), np.log(330))))
    behind, used, simulated = _clutter(rng, (height, width), per_mm, backgrounds, settings.clutter)
    return InClutter(_seen(rng, behind), NEGATIVE, Provenance(), used, simulated)


def _around_a_thing(
    rng: np.random.Generator, backgrounds: Sequence[np.ndarray], settings: ClutterSettings
) -> InClutter:
    """A harmless thing framed as a threat would be: people cut such crops around things, not at random."""
    things = centrepiece(rng)
    sides = np.maximum(np.ptp(extent(things), axis=0)[::-1], 2.0)  # height and width, mm
    height, width, per_mm = _canvas(rng, sides.tolist(), settings.size)
    through = framed(rng, things, per_mm)
    behind, used, _ = _clutter(rng, (height, width), per_mm, backgrounds, settings.clutter)
    image = compositing.lay(through, behind, None, 1.0).image
    return InClutter(_seen(rng, image), NEGATIVE, Provenance(), used, True)


def _canvas(rng: np.random.Generator, shape: Sequence[float], size: int) -> tuple[int, int, float]:
    """Height and width of a crop around a threat of this shape, and the factor that fits the threat in.

    A margin below 0 lets the crop's edge cut through the threat.
    """
    margins = rng.uniform(-0.06, 0.35, 2)
    sides = np.array(shape, float) * (1 + margins)
    sides = np.maximum(sides, 0.45 * sides.max())
    scale = size / float(sides.max())
    height, width = np.maximum(np.rint(sides * scale), 24).astype(int).tolist()
    return height, width, scale


def _thinned(behind: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The clutter made thin enough to leave the threat visible, by a power (less of the same matter)."""
    for _ in range(12):
        if float(behind[mask].mean()) >= LEAST_SEEN:
            break
        behind = np.power(behind, np.float32(0.75))
    return behind


# ---- clutter ----


def _clutter(
    rng: np.random.Generator,
    shape: tuple[int, int],
    per_mm: float,
    backgrounds: Sequence[np.ndarray],
    kind: str,
    keep: np.ndarray | None = None,
    most_hidden: float = 1.0,
) -> tuple[np.ndarray, tuple[int, ...], bool]:
    """Transmittance of clutter float32 `[h, w]`, the numbers of the crops in it, and whether it is simulated too."""
    through = np.ones(shape, np.float32)
    used: list[int] = []
    if kind == "both" and not backgrounds:
        kind = "simulated"
    simulated = kind == "simulated" or (kind == "both" and rng.random() < SIMULATED)
    if kind == "others" or (kind == "both" and (not simulated or rng.random() < MIXED)):
        for _ in range(int(rng.integers(1, 4)) if kind == "others" else 1):
            number = int(rng.integers(len(backgrounds)))
            used.append(number)
            through *= _piece(rng, backgrounds[number], shape)
    if simulated:
        through *= surroundings(rng, shape, per_mm, keep, most_hidden)
    return through, tuple(used), simulated


def _piece(rng: np.random.Generator, through: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A piece of another crop, turned and stretched over the whole canvas, its matter thinned at random."""
    share = rng.uniform(0.4, 1, 2)
    sides = np.maximum((np.array(through.shape) * share).astype(int), 8)
    sides = np.minimum(sides, through.shape)
    top, left = (int(rng.integers(0, full - side + 1)) for full, side in zip(through.shape, sides))
    piece = through[top : top + sides[0], left : left + sides[1]]
    piece = np.rot90(piece, int(rng.integers(4)))
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return np.power(stretched(piece, shape), np.float32(rng.uniform(0.2, 0.9)))


def stretched(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image resampled to another shape, antialiased, float32 `shape`."""
    sigma = [max(0.0, 0.5 * (old / new - 1)) for old, new in zip(image.shape, shape)]
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), sigma) if max(sigma) else image
    zoom = [new / old for new, old in zip(shape, image.shape)]
    return ndimage.zoom(smooth, zoom, order=1, mode="nearest", grid_mode=True).astype(np.float32)


def _seen(rng: np.random.Generator, through: np.ndarray) -> np.ndarray:
    """Transmittance as a detector shows it: I0, scatter, blur, noise; float32 in [0, 1]."""
    signal = add_scatter(np.clip(through, 0, 1), rng.uniform(0.01, 0.05), 0.15)
    signal = ndimage.gaussian_filter(signal, rng.uniform(0.2, 0.7), mode="nearest")
    noise = rng.normal(0, rng.uniform(0.001, 0.006), signal.shape)
    return np.clip(rng.uniform(0.78, 0.98) * signal + noise, 0, 1).astype(np.float32)
