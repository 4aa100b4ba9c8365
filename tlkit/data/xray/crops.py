"""The built-in images: a simulated X-ray of threats and harmless things, drawn from a seed.

Four classes (gun, shuriken, blade, other) in two series: `clean`, one thing before a nearly empty
background, and `baggage`, the same kinds of things among the contents of a bag. Every group is one
object (and one bag), taken from several sides, as real captures are. Image i of a class and series
depends only on (seed, class, series, i), never on how many are drawn. The method is Beer-Lambert on
exact path lengths (`geometry`, `physics`); sizes, poses and grey levels follow the look of
public X-ray crops (Mery et al. 2015, GDXray), of which no pixel is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.core.csv_writer import CsvWriter
from tlkit.data.xray.geometry import Placed, Solid, moved, rotation
from tlkit.data.xray.objects import belongings as xray_belongings
from tlkit.data.xray.objects import cloth as xray_soft
from tlkit.data.xray.objects import hardware as xray_hardware
from tlkit.data.xray.objects import threats as xray_threats
from tlkit.data.xray.physics import Detector, draw_detector, expose, polychromatic_transmittance
from tlkit.data.xray.projection import View, extent, project
from tlkit.errors import UsageFault

VERSION = "3"  # changes whenever a seed draws other images; names the cache folder
CLASSES = ("blade", "gun", "other", "shuriken")
SERIES = ("clean", "baggage")
IMAGES = {"blade": 120, "gun": 120, "other": 240, "shuriken": 120}  # harmless things are of many kinds
VIEWS = 2  # images of one object: the size of a group
MOST_HIDDEN = 0.06  # share of a threat that dense things may cover
SUPERSAMPLING = 2
HARMLESS = {**xray_hardware.SMALL_THINGS, **xray_belongings.LARGE_THINGS}
THREATS = {"gun": xray_threats.gun, "shuriken": xray_threats.shuriken, "blade": xray_threats.blade}


@dataclass(frozen=True)
class Scene:
    """One object and what lies around it.

    Attributes:
        subject: The object that the image is of.
        surroundings: Cloth, bag and other things.
        radius: mm from the subject's middle to its farthest corner.
        detector: The machine that all views of the scene are taken with.
    """

    subject: Placed
    surroundings: tuple[Placed, ...]
    radius: float
    detector: Detector


def write_crops(
    folder: Path,
    *,
    seed: int = 0,
    images_per_class: int | Mapping[str, int] = IMAGES,
    least_size: int = 120,
    largest_size: int = 208,
) -> None:
    """Draw the built-in set: class folders of grey PNGs and `images.csv` (path,label,group,series).

    Args:
        folder: Where to write; made if it is missing.
        seed: Another seed is another set.
        images_per_class: Images of each class, half of them clean (the odd one too); a mapping may
            name classes and leaves the others out.
        least_size: Least longer side, pixels.
        largest_size: Largest longer side, pixels.

    Raises:
        UsageFault: An unknown class, a count or seed below 0, or sizes that do not fit each other.
    """
    wanted = (
        dict.fromkeys(CLASSES, images_per_class) if isinstance(images_per_class, int) else images_per_class
    )
    for label, count in wanted.items():
        _check(label, "clean", count, seed, least_size, largest_size)
    rows = []
    for label in sorted(wanted):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for series, count in zip(SERIES, ((wanted[label] + 1) // 2, wanted[label] // 2)):
            for index in range(count):
                group = f"{series}-{index // VIEWS:03d}"
                path = f"{label}/{group}-{index % VIEWS}.png"
                image = render_crop(label, index, seed, series, least_size, largest_size)
                Image.fromarray(image).save(folder / path, optimize=False)
                rows.append((path, label, f"{label}-{group}", series))
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        CsvWriter(file).writerows([("path", "label", "group", "series"), *rows])


def render_crop(
    label: str,
    index: int,
    seed: int = 0,
    series: str = "clean",
    least_size: int = 120,
    largest_size: int = 208,
) -> np.ndarray:
    """One simulated X-ray crop.

    Args:
        label: One of `CLASSES`.
        index: Which image, from 0; images 3 g to 3 g + 2 show object g.
        seed: Seed of the set.
        series: `clean` or `baggage`.
        least_size: Least longer side, pixels.
        largest_size: Largest longer side, pixels.

    Returns:
        uint8 `[h, w]`; bright where nothing lies in the beam.

    Raises:
        UsageFault: An unknown class or series, an index or seed below 0, or sizes that do not fit each other.
    """
    _check(label, series, index, seed, least_size, largest_size)
    scene = _scene(label, index // VIEWS, seed, series)
    rng = _generator(seed, label, series, 1, index)
    placed = _seen_from(rng, scene, series)
    view = _window(rng, placed[0], label, series, int(rng.integers(least_size, largest_size + 1)))
    signal = polychromatic_transmittance(project(placed, view), scene.detector.spectrum)
    signal = signal.reshape(view.height // SUPERSAMPLING, SUPERSAMPLING, -1, SUPERSAMPLING).mean((1, 3))
    return expose(signal * _shading(rng, signal.shape), scene.detector, rng)


def _check(label: str, series: str, count: int, seed: int, least_size: int, largest_size: int) -> None:
    if label not in CLASSES:
        raise UsageFault(f"{label} is no class of the X-ray simulator.", f"There are: {', '.join(CLASSES)}.")
    if series not in SERIES:
        raise UsageFault(f"{series} is no series of the X-ray simulator.", f"There are: {', '.join(SERIES)}.")
    if count < 0:
        raise UsageFault(f"{count} is below 0; images of {label} are counted from 0 up.")
    if seed < 0:
        raise UsageFault(f"The seed {seed} is below 0.", "Give a whole number from 0 up.")
    if not 16 <= least_size <= largest_size:
        raise UsageFault(
            f"Crop sizes from {least_size} to {largest_size} px are no range.",
            "The least must be 16 px or more and the largest no smaller than the least.",
        )


def _generator(seed: int, label: str, series: str, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, CLASSES.index(label), SERIES.index(series), purpose, number])


# ---- scenes ----


@lru_cache(maxsize=4)
def _scene(label: str, number: int, seed: int, series: str) -> Scene:
    """Object `number` of a class and series, with its bag."""
    rng = _generator(seed, label, series, 0, number)
    if label == "other":
        solid = xray_soft.cloth(rng, 60.0) if rng.random() < 0.15 else _harmless(rng, list(HARMLESS))
    else:
        solid = THREATS[label](rng)
    middle = extent([Placed(solid, np.eye(3), np.zeros(3))]).mean(0)
    subject = Placed(moved(solid, *-middle), rotation(0), np.zeros(3))
    radius = float(np.linalg.norm(extent([subject])[1]))
    if series == "clean":
        around = _cloth_around(rng, radius) if label == "other" and rng.random() < 0.5 else ()
    else:
        around = bag_contents(rng, subject, radius)
    brighter = 8.0 * (series == "baggage")
    detector = draw_detector(rng, ((130, 215), (218, 242)), ((0.8, 1.6), (0.3, 0.7)), brighter)
    return Scene(subject, around, radius, detector)


def _harmless(rng: np.random.Generator, names: Sequence[str]) -> Solid:
    return HARMLESS[names[int(rng.integers(len(names)))]](rng)


def bag_contents(rng: np.random.Generator, subject: Placed, radius: float) -> tuple[Placed, ...]:
    """Cloth, a bag's edge and harmless things around a subject, none of which hides it.

    Args:
        rng: Source of the choices.
        subject: What must stay visible.
        radius: How far around the subject's middle things lie, mm.

    Returns:
        What surrounds it, in no order of depth (transmittances multiply).
    """
    around = list(_cloth_around(rng, 1.3 * radius))
    if rng.random() < 0.5:
        around.append(Placed(xray_soft.bag(rng, 2 * radius), rotation(0), np.zeros(3)))
    view = View(48, 48, 24 / radius, np.zeros(2))
    shape = _depth([subject], view) > 0.05
    wanted, covered = len(around) + int(rng.integers(3, 10)), np.zeros(shape.shape)
    for _ in range(3 * wanted):
        thing = _thing_of_size(rng, radius)
        depth = _depth([thing], view)
        hidden = float(((covered + depth > 0.8) & shape).sum()) / max(int(shape.sum()), 1)
        if hidden < MOST_HIDDEN:
            around.append(thing)
            covered += depth
        if len(around) >= wanted:
            break
    return tuple(around)


def _thing_of_size(rng: np.random.Generator, radius: float) -> Placed:
    """A harmless thing that is neither a speck nor a wall at this scale, somewhere within the radius."""
    fitting = [name for name in HARMLESS if 0.25 * radius < _typical_size(name) < 2 * radius]
    solid = _harmless(rng, fitting or list(HARMLESS))
    angle, reach = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.25, 1.15)
    offset = np.array([reach * np.cos(angle), reach * np.sin(angle), rng.normal(0, 0.2 * radius)])
    turn = rotation(rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.5)), rng.uniform(0, 2 * np.pi))
    return Placed(solid, turn, offset)


@cache
def _typical_size(name: str) -> float:
    """The longer side in mm of one example of a harmless thing."""
    solid = HARMLESS[name](np.random.default_rng(0))
    return float(np.ptp(extent([Placed(solid, np.eye(3), np.zeros(3))]), axis=0).max())


def _cloth_around(rng: np.random.Generator, radius: float) -> tuple[Placed, ...]:
    count = int(rng.integers(1, 4))
    return tuple(Placed(xray_soft.cloth(rng, 2 * radius), rotation(0), np.zeros(3)) for _ in range(count))


def _depth(placed: list[Placed], view: View) -> np.ndarray:
    """Optical depth -log(transmittance), float `[h, w]`."""
    return -np.log(np.maximum(polychromatic_transmittance(project(placed, view)), 1e-6))


# ---- views ----


def _seen_from(rng: np.random.Generator, scene: Scene, series: str) -> list[Placed]:
    """The whole scene turned at random; the subject first. Loose objects are tilted further than bags."""
    wide = series == "clean" and rng.random() < 0.2
    tilt = rng.uniform(0.4, 1.15) if wide else min(abs(rng.normal(0, 0.3)), 1.0)
    spin = rng.integers(4) * np.pi / 2 + (rng.uniform(-0.8, 0.8) if wide else rng.normal(0, 0.1))
    turn = rotation(spin, tilt, rng.uniform(0, 2 * np.pi))
    turn = turn @ np.diag([1, rng.choice([-1, 1]), 1])  # seen from the front or the back
    return [Placed(p.solid, turn @ p.rotation, turn @ p.offset) for p in (scene.subject, *scene.surroundings)]


def _window(rng: np.random.Generator, subject: Placed, label: str, series: str, longer: int) -> View:
    """The crop: tight around the subject or square, seldom cutting into harmless things."""
    box = extent([subject])
    sides = np.maximum(np.ptp(box, axis=0), 3.0)
    margin = rng.uniform(0.03, 0.2)
    if label == "other" and rng.random() < (0.4 if series == "baggage" else 0.1):
        margin = rng.uniform(-0.5, 0.1)
    if rng.random() < (0.3 if series == "clean" else 0.1):
        sides = np.full(2, sides.max())
    sides = np.maximum(sides * (1 + margin), 0.25 * sides.max())
    middle = box.mean(0) + rng.uniform(-0.3, 0.3, 2) * abs(margin) * sides
    width, height = np.maximum(np.rint(sides / sides.max() * longer), 16).astype(int) * SUPERSAMPLING
    return View(int(height), int(width), longer * SUPERSAMPLING / float(sides.max()), middle)


def _shading(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uneven illumination: a smooth factor around 1, float `[h, w]`."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    slope_x, slope_y, bowl = rng.normal(0, 0.015, 3)
    return 1 + slope_x * x + slope_y * y - abs(bowl) * (x**2 + y**2)
