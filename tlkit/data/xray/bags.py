"""`xray:bags`: simulated X-ray images of whole bags, with the exact boxes of the threats in them.

A bag holds cloth, belongings, things that look like threats, and in less than half of all cases a gun, a shuriken, a
razor blade or a knife, often among and behind other matter. Path lengths add up material by material
(`projection`), so the image is Beer-Lambert's law of the whole scene; a threat's box is that of its own shadow.
Each bag, with all that is in it, is one group, seen from two sides; its threats and its background are in no other
bag, so parts made of groups share neither. Image i depends only on (seed, i), never on how many are drawn: a smaller
set is the beginning of a larger one, and another seed is other bags.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tlkit.core.csv_writer import CsvWriter
from tlkit.core.files import cache_folder, folder_written_once
from tlkit.data.xray import bag_scenes as xray_bag_scenes
from tlkit.data.xray.bag_scenes import CLASSES, Scene
from tlkit.data.xray.geometry import Placed, rotation
from tlkit.data.xray.mask_table import RLE, Row, mask_rows, write_mask_rows
from tlkit.data.xray.physics import exposed, polychromatic_transmittance
from tlkit.data.xray.projection import View, extent, project
from tlkit.data.xray.source_options import BAGS, COUNT, BagSet, read_bags
from tlkit.data.xray.transmittance import SEEN, box_of, occlusion
from tlkit.errors import UsageFault

SIZE = 416
VIEWS = 2  # images of one bag: the size of a group
PARTS = ("training",) * 7 + ("validation", "test", "test")  # of bag number g, g modulo 10
# Bags that stand for the usual set where it is not drawn: one for each place in PARTS, every class, some empty.
SAMPLE = (1, 3, 6, 14, 20, 25, 28, 39, 42, 47)
SEARCHED = 5  # bags of each place in PARTS that are looked at for a sample of another set
TAKEN = 0.2  # share of the beam that a thing (no cloth, no wall) must take to count as lying over a threat
OVERLAPPED = 0.1  # share of a threat that things must lie over for it to count as overlapped
COLUMNS = ("image", "left", "top", "right", "bottom", "class", "group", "part", "occlusion")


Progress = Callable[[int], None]


class Bag(NamedTuple):
    """One image.

    Attributes:
        image: uint8 or uint16 `[h, w]`, bright where the beam is free.
        boxes: int32 `[n, 4]`, left, top, right, bottom, pixels; right and bottom exclusive.
        labels: `[n]` class names.
        occlusions: float32 `[n]`, see `transmittance.occlusion`; cloth and the bag's wall count too.
        overlaps: float32 `[n]`, share of the threat over or under which a thing takes `TAKEN` or more of the beam;
            cloth and wall do not count.
        group: The bag.
        part: "training", "validation" or "test".
        look_alikes: Names of the harmless things in it that are taken for threats.
        masks: `[n]` bool `[h, w]`: the pixels of each threat's own shadow, whatever lies over it.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: tuple[str, ...]
    occlusions: np.ndarray
    overlaps: np.ndarray
    group: str
    part: str
    look_alikes: tuple[str, ...]
    masks: tuple[np.ndarray, ...] = ()


def draw_bags(count: int = COUNT, seed: int = 0, size: int = SIZE, depth: int = 8) -> Iterator[Bag]:
    """Draw bags one after the other.

    Args:
        count: Images.
        seed: Another seed is another set.
        size: Longer side, pixels.
        depth: Bits of a grey level, 8 or 16.

    Yields:
        Images 0 to count - 1.

    Raises:
        UsageFault: A count or seed below 0, a size below 96 or another depth.
    """
    _check(count, seed, size, depth)
    return (draw_bag(index, seed, size, depth) for index in range(count))


def _check(count: int, seed: int, size: int, depth: int) -> None:
    if count < 0 or seed < 0:
        raise UsageFault(f"{count} bags from seed {seed}: neither may be below 0.")
    if size < 96:
        raise UsageFault(f"Bags of {size} px are too small to show a blade.", "Take 96 px or more.")
    if depth not in (8, 16):
        raise UsageFault(f"Grey levels of {depth} bit cannot be written.", "Take 8 or 16.")


def draw_bag(index: int, seed: int = 0, size: int = SIZE, depth: int = 8) -> Bag:
    """Draw image `index` of a set; arguments as in `draw_bags`."""
    _check(index, seed, size, depth)
    number = index // VIEWS
    scene, rng, turn, view = _seen(index, seed, size)
    maps = [project(_turned([threat], turn), view) for threat in scene.threats]
    things, around = project(_turned(scene.things, turn), view), _soft(scene, turn, view)
    spectrum = scene.detector.spectrum
    masks = _shadows(scene, maps)
    shown = [i for i, mask in enumerate(masks) if mask.any()]
    others = [[things, *maps[:i], *maps[i + 1 :]] for i in shown]
    over = [polychromatic_transmittance(_sum(some), spectrum) for some in others]
    behind = [polychromatic_transmittance(_sum([around, *some]), spectrum) for some in others]
    signal = polychromatic_transmittance(_sum([around, things, *maps]), spectrum)
    levels, most = exposed(signal, scene.detector, rng) / 255, 2**depth - 1
    return Bag(
        image=np.clip(np.rint(levels * most), 0, most).astype(np.uint8 if depth == 8 else np.uint16),
        boxes=np.array([box_of(masks[i]) for i in shown], np.int32).reshape(-1, 4),
        labels=tuple(scene.labels[i] for i in shown),
        occlusions=np.array([occlusion(masks[i], b) for i, b in zip(shown, behind)], np.float32),
        overlaps=np.array([(o[masks[i]] <= 1 - TAKEN).mean() for i, o in zip(shown, over)], np.float32),
        group=_group(number, seed),
        part=PARTS[number % len(PARTS)],
        look_alikes=scene.look_alikes,
        masks=tuple(masks[i] for i in shown),
    )


def draw_masks(index: int, seed: int = 0, size: int = SIZE) -> tuple[np.ndarray, ...]:
    """The masks of `draw_bag`, and nothing else of it, in less than half of its time."""
    scene, _, turn, view = _seen(index, seed, size)
    maps = [project(_turned([threat], turn), view) for threat in scene.threats]
    return tuple(mask for mask in _shadows(scene, maps) if mask.any())


def _seen(index: int, seed: int, size: int) -> tuple[Scene, np.random.Generator, np.ndarray, View]:
    """What image `index` shows, the generator of its noise, from where the bag is seen, and the frame."""
    scene = _scene(index // VIEWS, seed)
    rng = np.random.default_rng([seed, 1, index])
    turn = _side(rng)
    return scene, rng, turn, _view(scene, turn, size)


def _shadows(scene: Scene, maps: Sequence[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """Where each threat by itself takes `SEEN` of the beam or more: bool `[h, w]`."""
    return [polychromatic_transmittance(one, scene.detector.spectrum) <= 1 - SEEN for one in maps]


def _group(number: int, seed: int) -> str:
    """Of a bag; no two seeds have one in common, or what a run learned from one would hide another's images."""
    return f"{f'seed-{seed}-' if seed else ''}bag-{number:04d}"


@lru_cache(maxsize=2)
def _scene(number: int, seed: int) -> Scene:
    return xray_bag_scenes.pack(np.random.default_rng([seed, 0, number]))


def _side(rng: np.random.Generator) -> np.ndarray:
    """From where the bag is seen: either way up, front or back, a little tilted."""
    turn = rotation(
        np.pi * rng.integers(2) + rng.normal(0, 0.08), min(abs(rng.normal(0, 0.15)), 0.4), rng.uniform(0, 6.3)
    )
    return turn @ np.diag([1.0, rng.choice([-1.0, 1.0]), 1.0])


def _turned(placed: Sequence[Placed], turn: np.ndarray) -> list[Placed]:
    return [Placed(p.solid, turn @ p.rotation, turn @ p.offset) for p in placed]


def _view(scene: Scene, turn: np.ndarray, size: int) -> View:
    """The whole bag with a narrow border."""
    box = extent(_turned([scene.wall], turn))
    sides = np.ptp(box, axis=0) * 1.06
    width, height = np.rint(sides / sides.max() * size).astype(int).tolist()
    return View(height, width, size / float(sides.max()), box.mean(0))


def _soft(scene: Scene, turn: np.ndarray, view: View) -> dict[str, np.ndarray]:
    """Path lengths through the wall, and through the cloth inside it."""
    wall = project(_turned([scene.wall], turn), view)
    cloth = project(_turned(scene.soft, turn), view)
    inside = wall["cloth"] > 1.0  # mm; the lining is thicker, what rounding leaves beside it is not
    return _sum([wall, {name: thickness * inside for name, thickness in cloth.items()}])


def _sum(maps: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Path lengths of several things through each material, added."""
    total: dict[str, np.ndarray] = {}
    for one in maps:
        for name, thickness in one.items():
            total[name] = total[name] + thickness if name in total else thickness
    return total


# ---- how hard it is ----


def difficulty(bags: Iterable[Bag]) -> dict[str, Any]:
    """Say how hard a set is.

    Args:
        bags: Images; they are read once and not kept.

    Returns:
        bags, empty (share without a threat), threats, per_class (count), median_size and sizes (10th and 90th
        percentile) of a box's longer side as a share of the image's, overlapped (share of threats with an overlap of
        `OVERLAPPED` or more), look_alikes (kinds), look_alikes_per_bag.
    """
    # of each box the longer side as a share of the image's
    rows = [
        (
            bag.labels,
            (bag.boxes[:, 2:] - bag.boxes[:, :2]).max(1) / max(bag.image.shape),
            bag.overlaps,
            bag.look_alikes,
        )
        for bag in bags
    ]
    if not rows:
        raise UsageFault("No bags: nothing can be said of their difficulty.")
    sizes = np.concatenate([row[1] for row in rows])
    overlaps = np.concatenate([row[2] for row in rows])
    low, middle, high = np.percentile(sizes, [10, 50, 90]).tolist() if sizes.size else (np.nan,) * 3
    return {
        "bags": len(rows),
        "empty": sum(not row[0] for row in rows) / len(rows),
        "threats": len(sizes),
        "per_class": dict(sorted(Counter(label for row in rows for label in row[0]).items())),
        "median_size": middle,
        "sizes": [low, high],
        "overlapped": float((overlaps >= OVERLAPPED).mean()) if overlaps.size else float("nan"),
        "look_alikes": sorted({name for row in rows for name in row[3]}),
        "look_alikes_per_bag": sum(len(row[3]) for row in rows) / len(rows),
    }


# ---- the set ----


def write_bags(
    folder: Path,
    count: int = COUNT,
    seed: int = 0,
    size: int = SIZE,
    depth: int = 8,
    *,
    masks: bool = False,
    progress: Progress = lambda _done: None,
) -> None:
    """Write a folder that appears whole or not at all: `images/*.png`, `boxes.csv`, `difficulty.json`.

    Args:
        folder: Must not exist; an existing one is left as it is.
        count: Images; the others as in `draw_bags`.
        seed: Another seed is another set.
        size: Longer side, pixels.
        depth: 8 or 16 bit.
        masks: Write `rle.csv` too, the masks of the threats.
        progress: Told how many images are drawn.
    """
    _check(count, seed, size, depth)
    bags = draw_bags(count, seed, size, depth)
    folder_written_once(folder, lambda aside: _fill(aside, bags, masks=masks, progress=progress))


def write_sample(folder: Path, chosen: BagSet = BagSet(), *, masks: bool = False) -> float:  # noqa: B008
    """Write a folder like that of a built-in set with a few of its bags; returns how many times it is larger."""
    indices = [index for number in _sample(chosen) for index in range(VIEWS * number, VIEWS * (number + 1))]
    indices = [index for index in indices if index < chosen.count]
    _fill(folder, (draw_bag(index, chosen.seed) for index in indices), masks=masks)
    return chosen.count / len(indices)


def _sample(chosen: BagSet) -> Sequence[int]:
    """Numbers of bags that stand for a set: all of a small one, else one for each place in PARTS with all classes."""
    if chosen == BagSet():
        return SAMPLE
    bags = -(-chosen.count // VIEWS)
    if bags <= VIEWS * len(PARTS):
        return range(bags)
    missing, numbers = set(CLASSES), list[int]()
    for place in range(len(PARTS)):
        number = place
        for tried in range(place, min(bags - 1, SEARCHED * len(PARTS)), len(PARTS)) if missing else ():
            if new := missing & set(_scene(tried, chosen.seed).labels):
                number, missing = tried, missing - new
                break
        numbers.append(number)
    return numbers


def _fill(
    folder: Path, bags: Iterable[Bag], *, masks: bool = False, progress: Progress = lambda _done: None
) -> None:
    rows: list[Row] = []
    (folder / "images").mkdir(parents=True)
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        table = CsvWriter(file)
        table.writerow(COLUMNS)
        found = difficulty(_written(folder, table, bags, progress, rows))
    if masks:
        write_mask_rows(folder / RLE, rows)
    (folder / "difficulty.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _written(
    folder: Path, table: Any, bags: Iterable[Bag], progress: Progress, rows: list[Row]
) -> Iterator[Bag]:
    """Write each bag's PNG and rows as it passes; `rows` gets those of its masks."""
    for index, bag in enumerate(bags):
        path = _path(bag.group, index)
        Image.fromarray(bag.image).save(folder / path, optimize=False)
        table.writerows(_rows(path, bag))
        rows += mask_rows(path, bag.masks)
        progress(index + 1)
        yield bag


def _path(group: str, index: int) -> str:
    return f"images/{group}-{index % VIEWS}.png"


def _rows(path: str, bag: Bag) -> list[tuple[Any, ...]]:
    """One row a threat; a bag without any has one row with an empty box."""
    if not bag.labels:
        return [(path, "", "", "", "", "", bag.group, bag.part, "")]
    return [
        (path, *box, label, bag.group, bag.part, f"{hidden:.4f}")
        for box, label, hidden in zip(bag.boxes.tolist(), bag.labels, bag.occlusions.tolist(), strict=True)
    ]


def bags_to_draw(source: str = BAGS, *, masks: bool = False) -> int:
    """Images that `bags_folder`, or for masks `masks_folder`, would draw first: all, or 0 where the cache has them.

    Raises:
        UsageFault: See `read_bags`.
    """
    chosen = read_bags(source)
    return 0 if _built_in(chosen, masks=masks).is_dir() else chosen.count


def _built_in(chosen: BagSet, *, masks: bool = False) -> Path:
    """Its masks lie apart: sets that were drawn before there were masks stay as they are."""
    return cache_folder() / ("xray-masks" if masks else "xray") / chosen.folder


def bags_folder(source: str = BAGS, *, progress: Progress = lambda _done: None) -> Path:
    """The folder of a built-in set, drawn into the cache on first use; `progress` is told of each image.

    The masks, which fall out of the drawing, go into their own folder, as `masks_folder` would put them there.

    Raises:
        UsageFault: See `read_bags`.
    """
    chosen = read_bags(source)

    def write(aside: Path) -> None:
        _fill(aside, draw_bags(chosen.count, chosen.seed), masks=True, progress=progress)
        folder_written_once(_built_in(chosen, masks=True), lambda other: _moved(aside / RLE, other))
        (aside / RLE).unlink(missing_ok=True)

    return folder_written_once(_built_in(chosen), write)


def _moved(file: Path, folder: Path) -> None:
    file.rename(folder / file.name)


def masks_folder(source: str = BAGS, *, progress: Progress = lambda _done: None) -> Path:
    """The folder with the `rle.csv` of a built-in set's masks; of images drawn before there were masks it is made now.

    The images stay as they are: only threats are projected again, from the same seed.

    Raises:
        UsageFault: See `read_bags`.
    """
    chosen = read_bags(source)

    def write(aside: Path) -> None:
        rows: list[Row] = []
        for index in range(chosen.count):
            path = _path(_group(index // VIEWS, chosen.seed), index)
            rows += mask_rows(path, draw_masks(index, chosen.seed))
            progress(index + 1)
        write_mask_rows(aside / RLE, rows)

    return folder_written_once(_built_in(chosen, masks=True), write)
