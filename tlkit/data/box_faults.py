"""Boxes looked at before anything is learned from them: what cannot be is named, then refused, clipped or dropped.

One zero-size box makes a loss NaN, a normalised one teaches the corner of the picture, a picture without its
annotation teaches that its objects are background. Each fault says where it stands.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tlkit.data.box_records import Annotated, Annotations, Fault
from tlkit.errors import DataFault

SHOWN = 10  # faults that are named in full; the others are counted
NEAR = 2e-6  # of a side: what six decimals of a normalised format may stand outside by rounding
NOTHING = 1e-9  # pixels: what remains of a zero after (centre - width / 2) * side
ORIENTATION = 0x0112
ORDERS = {
    "left,right,top,bottom": lambda b: b[:, [0, 2, 1, 3]],
    "top,left,bottom,right": lambda b: b[:, [1, 0, 3, 2]],
    "left,top,width,height": lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1),
}


def picture_sizes(files: Sequence[Path], workers: int = 4) -> list[tuple[int, int] | str]:
    """Width and height of each picture as it is shown (a turned JPEG is turned), or why it cannot be read."""
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of large pictures
        return list(pool.map(_picture_size, files))


def _picture_size(file: Path) -> tuple[int, int] | str:
    try:
        with Image.open(file) as image:
            width, height = image.size
            # Only JPEG: for PNG Pillow would decode the whole picture, and our decoder does not turn it.
            turned = image.format in {"JPEG", "MPO"} and image.getexif().get(ORIENTATION, 1) in {5, 6, 7, 8}
    except Exception as fault:  # noqa: BLE001 - Pillow's decoders raise what they like on hostile bytes
        return "is no readable picture" if "identify" in str(fault) else f"cannot be opened ({fault})"
    return (height, width) if turned else (width, height)


def pixel_corners(image: Annotated, size: tuple[int, int], *, normalised: bool) -> np.ndarray:
    """The boxes of an image in its pixels, float64 `[m, 4]`.

    Args:
        image: The image.
        size: Its width and height, pixels.
        normalised: Corners are shares of the sides; what stands outside by their rounding only is put on the edge.
    """
    corners = np.array([record.corners for record in image.records], np.float64).reshape(-1, 4)
    if not normalised:
        return corners
    sides = np.array([*size, *size], np.float64)
    with np.errstate(over="ignore"):
        corners = corners * sides
    corners[np.abs(corners) < NOTHING] = 0.0
    near = NEAR * sides
    corners = np.where((corners < 0) & (corners > -near), 0.0, corners)
    return np.where((corners > sides) & (corners < sides + near), sides, corners)


def checked_boxes(
    image: Annotated, corners: np.ndarray, size: tuple[int, int], *, normalised: bool = False
) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """Find what is wrong with the boxes of an image.

    Args:
        image: Its records name the faults.
        corners: Left, top, right, bottom in pixels, float64 `[m, 4]`.
        size: Width and height of the picture.
        normalised: The source is written in shares of the sides, so small numbers are no surprise.

    Returns:
        float32 `[m, 4]` clipped to the image, bool `[m]` of those that are usable after clipping, and the faults.
    """
    with np.errstate(over="ignore"):  # infinity is found below
        boxes = corners.astype(np.float32)
    limits = np.array([*size, *size], np.float32)
    clipped = np.clip(np.nan_to_num(boxes, posinf=0, neginf=0), 0, limits)
    sides, left_over = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    with np.errstate(invalid="ignore"):
        found = {
            "no-number": ~np.isfinite(boxes).all(axis=1),
            "inverted": (sides < 0).any(axis=1),
            "zero-size": (sides == 0).any(axis=1),
            "normalised": _looks_normalised(corners) & (not normalised),
            "outside": (left_over <= 0).any(axis=1),
            "out-of-image": (boxes != clipped).any(axis=1),
            "duplicate": _repeated([record.name for record in image.records], clipped),
        }
    faults, usable = [], np.ones(len(boxes), bool)
    for index in np.flatnonzero(np.any(list(found.values()), axis=0)):
        kind = next(kind for kind, bad in found.items() if bad[index])
        usable[index] = kind == "out-of-image" and not found["duplicate"][index]
        faults.append(_fault(kind, image, int(index), corners[index], size))
    return clipped, usable, faults


def _looks_normalised(corners: np.ndarray) -> np.ndarray:
    """Within the picture's first pixel and not whole numbers: shares of the sides, most likely."""
    return (
        (corners <= 1).all(axis=1) & (corners >= 0).all(axis=1) & (corners != np.floor(corners)).any(axis=1)
    )


def _repeated(names: list[str], boxes: np.ndarray) -> np.ndarray:
    seen: set[tuple[str, bytes]] = set()
    repeated = np.zeros(len(boxes), bool)
    for index, key in enumerate(zip(names, map(np.ndarray.tobytes, boxes), strict=True)):
        repeated[index] = key in seen
        seen.add(key)
    return repeated


def _fault(kind: str, image: Annotated, index: int, corners: np.ndarray, size: tuple[int, int]) -> Fault:
    text = ",".join(f"{value:g}" for value in corners)
    width, height = size
    what = {
        "no-number": f"box {text} is not four numbers",
        "inverted": f"box {text} ends before it begins (left,top,right,bottom)",
        "zero-size": f"box {text} has no {'width' if corners[0] >= corners[2] else 'height'}",
        "normalised": f"box {text} looks normalised; pixels are expected",
        "outside": f"box {text} lies outside its image of {width}x{height}",
        "out-of-image": f"box {text} reaches out of its image of {width}x{height}",
        "duplicate": f"box {text} of {image.records[index].name} stands there twice",
    }[kind]
    done = "clipped" if kind == "out-of-image" else "dropped"
    return Fault("out-of-image" if kind == "outside" else kind, image.records[index].where, what, done)


# --- the whole source ---


def order_hint(corners: np.ndarray, sizes: np.ndarray) -> str:
    """A sentence if all boxes fit in another order of their numbers; empty if they fit as read, or in none.

    Args:
        corners: As read, float64 `[m, 4]`.
        sizes: Width and height of each box's image, `[m, 2]`.
    """

    def fits(boxes: np.ndarray) -> bool:
        with np.errstate(invalid="ignore"):
            inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= sizes).all(axis=1)
            return bool((inside & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)).all())

    shares = len(corners) > 0 and _looks_normalised(corners).any() and bool((corners <= 1).all())
    if shares and fits(corners * np.concatenate([sizes, sizes], axis=1)):
        return "All boxes fit if their numbers are shares of the image's sides. "
    if not len(corners) or fits(corners):
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        order = next((name for name, change in ORDERS.items() if fits(change(corners))), None)
    return f"All boxes fit if their numbers are {order}. " if order else ""


def merged_names(names: Counter[str]) -> tuple[dict[str, str], list[Fault]]:
    """Class names that differ in case or blanks only, and the most frequent spelling of each.

    Args:
        names: Boxes of each name.

    Returns:
        Spelling to use for each name, and a fault for each name with several.
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(
            name
        )
    spelling, faults = {}, []
    for spellings in alike.values():
        best = min(spellings, key=lambda name: (-names[name], name))
        spelling.update(dict.fromkeys(spellings, best))
        if len(spellings) > 1:
            what = f"{' and '.join(sorted(spellings))} are one class in several spellings"
            faults.append(Fault("class-names", "class names", what, f"all called {best}"))
    return spelling, faults


def unlabelled_faults(annotations: Annotations, policy: str) -> list[Fault]:
    """Take the pictures that no annotation names in as negative, leave them out, or name them as faults.

    Args:
        annotations: Changed in place.
        policy: "negative", "skip" or "error".
    """
    if policy == "negative":
        annotations.images += [Annotated(path, path) for path in annotations.unlabelled]
    if policy != "error":
        return []
    what = "has no annotation: is it negative, or forgotten?"
    return [Fault("unlabelled-image", path, what, "left out") for path in annotations.unlabelled]


def refuse(source: str, faults: Sequence[Fault], hint: str = "") -> None:
    """Raise the faults as one.

    Raises:
        DataFault: There is any.
    """
    if not faults:
        return
    counts = Counter(fault.kind for fault in faults)
    total = ", ".join(f"{number} {kind}" for kind, number in counts.most_common())
    lines = [f"  {fault}" for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        lines.append(f"  and {len(faults) - SHOWN} more")
    plural = "s" if len(faults) > 1 else ""
    unlabelled = "unlabelled-image" in counts
    remedy = (
        f"{hint}Mend them, or say --faults clip: boxes are clipped or dropped, and the report lists them."
    )
    if unlabelled and len(counts) == 1:
        remedy = "Say --unlabelled negative if they show none of the classes, or --unlabelled skip."
    elif unlabelled:
        remedy += " For pictures without annotation say --unlabelled negative or skip."
    raise DataFault(f"{source} has {len(faults)} fault{plural} ({total}):\n" + "\n".join(lines), remedy)


def notes(faults: Sequence[Fault]) -> tuple[str, ...]:
    """What was done about each fault, as sentences."""
    return tuple(f"{fault}: {fault.done}." for fault in faults)
