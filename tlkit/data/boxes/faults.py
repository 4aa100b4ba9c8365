"""Boxes looked at before anything is learned from them: what cannot be is named, then refused or mended.

One zero-size box makes a loss NaN, a normalised one teaches the corner of the image, an object whose box is left out
is learned as background. So only what keeps one meaning is mended: a box that lies a little over the edge is cut
there, the second of two equal ones is dropped. Where a box has none, its image is left out as a whole. Each fault
says where it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tlkit.data.boxes.formats.annotations import WHOLE, Annotated, Annotations, Fault, Record
from tlkit.data.boxes.masks.rle import Mask
from tlkit.errors import DataFault

SHOWN = 10  # faults that are named in full; the others are counted
OF_ALL = "Write them as this format has them; --faults clip does not mend what holds for all."
NAMED = 3  # images of a sentence; the report lists all
NEAR = 2e-6  # of a side: what six decimals of a normalised format may stand outside by rounding
NOTHING = 1e-9  # pixels: what remains of a zero after (centre - width / 2) * side
HUNDREDTH = 0.01  # pixels; likewise of a format that writes pixels with two decimals
INSIDE = 0.25  # of a box's area must lie in the image, else cutting it at the edge makes another box of it


# Corners from four numbers, by what the numbers are; how a format writes them comes first.
ORDERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "left,top,right,bottom": lambda n: n,
    "left,top,width,height": lambda n: np.concatenate([n[:, :2], n[:, :2] + n[:, 2:]], axis=1),
    "centre x,centre y,width,height": lambda n: np.concatenate(
        [n[:, :2] - n[:, 2:] / 2, n[:, :2] + n[:, 2:] / 2], axis=1
    ),
    "left,right,top,bottom": lambda n: n[:, [0, 2, 1, 3]],
    "top,left,bottom,right": lambda n: n[:, [1, 0, 3, 2]],
}
WRITTEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "left,top,right,bottom": lambda b: b,
    "left,top,width,height": lambda b: np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1),
    "centre x,centre y,width,height": lambda b: np.concatenate(
        [(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], axis=1
    ),
}


def pixel_corners(image: Annotated, size: tuple[int, int], *, normalised: bool) -> np.ndarray:
    """The boxes of an image in its pixels, float64 `[m, 4]`; what stands outside by rounding only is put on the edge.

    Args:
        image: The image.
        size: Its width and height, pixels.
        normalised: Corners are shares of the sides.
    """
    corners = np.array([record.corners for record in image.records], np.float64).reshape(-1, 4)
    sides = np.array([*size, *size], np.float64)
    if normalised:
        with np.errstate(over="ignore"):
            corners = corners * sides
        corners[np.abs(corners) < NOTHING] = 0.0
    near = np.maximum(NEAR * sides, HUNDREDTH)
    corners = np.where((corners < 0) & (corners > -near), 0.0, corners)
    return np.where((corners > sides) & (corners < sides + near), sides, corners)


def checked_boxes(
    image: Annotated, corners: np.ndarray, size: tuple[int, int], *, normalised: bool = False
) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """Find what is wrong with the boxes of an image.

    Args:
        image: Its records name the faults.
        corners: Left, top, right, bottom in pixels, float64 `[m, 4]`.
        size: Width and height of the image.
        normalised: The source is written in shares of the sides, so small numbers are no surprise.

    Returns:
        float32 `[m, 4]` clipped to the image, bool `[m]` of those that are usable after clipping, and the faults.
    """
    with np.errstate(over="ignore"):  # infinity is found below
        boxes = corners.astype(np.float32)
    limits = np.array([*size, *size], np.float32)
    clipped = np.clip(np.nan_to_num(boxes, posinf=0, neginf=0), 0, limits)
    sides, left_over = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.prod(left_over, axis=1, dtype=np.float64) < INSIDE * np.prod(sides, axis=1, dtype=np.float64)
        found = {
            "no-number": ~np.isfinite(boxes).all(axis=1),
            "inverted": (sides < 0).any(axis=1),
            "zero-size": (sides == 0).any(axis=1),
            "normalised": _looks_normalised(corners) & (not normalised),
            "outside": (left_over <= 0).any(axis=1),
            "far": far,
            "out-of-image": (boxes != clipped).any(axis=1),
            "duplicate": _repeated(list(map(_identity, image.records)), clipped),
        }
    faults, usable = [], np.ones(len(boxes), bool)
    for index in np.flatnonzero(np.any(list(found.values()), axis=0)):
        kind = next(kind for kind, bad in found.items() if bad[index])
        usable[index] = kind == "out-of-image" and not found["duplicate"][index]
        faults.append(_fault(kind, image, int(index), corners[index], size))
    return clipped, usable, faults


def unclipped(
    boxes: np.ndarray, usable: np.ndarray, faults: list[Fault]
) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """What `checked_boxes` returned, with images of clipped boxes left out."""
    whole = [fault._replace(done=WHOLE) if fault.kind == "out-of-image" else fault for fault in faults]
    return boxes, usable, whole


def _looks_normalised(corners: np.ndarray) -> np.ndarray:
    """Within the image's first pixel and not whole numbers: shares of the sides, most likely."""
    return (
        (corners <= 1).all(axis=1) & (corners >= 0).all(axis=1) & (corners != np.floor(corners)).any(axis=1)
    )


def _identity(record: Record) -> str:
    """What two equal boxes have in common if they are one object; of mask images the mask too."""
    return f"{record.name} {record.outline.counts!r}" if isinstance(record.outline, Mask) else record.name


def _repeated(names: list[str], boxes: np.ndarray) -> np.ndarray:
    seen: set[tuple[str, bytes]] = set()
    repeated = np.zeros(len(boxes), bool)
    for index, key in enumerate(zip(names, map(np.ndarray.tobytes, boxes), strict=True)):
        repeated[index] = key in seen
        seen.add(key)
    return repeated


def _fault(kind: str, image: Annotated, index: int, corners: np.ndarray, size: tuple[int, int]) -> Fault:
    record = image.records[index]
    text = record.written or ",".join(f"{value:g}" for value in corners)
    width, height = size
    what = {
        "no-number": f"box {text} is not four numbers",
        "inverted": f"box {text} ends before it begins (left,top,right,bottom): its corners are swapped, or "
        "its last numbers are width and height",
        "zero-size": f"box {text} has no {'width' if corners[0] >= corners[2] else 'height'}",
        "normalised": f"box {text} looks normalised; pixels are expected",
        "outside": f"box {text} lies outside its image of {width}x{height}",
        "far": f"box {text} reaches out of its image of {width}x{height} with more than three quarters of its area",
        "out-of-image": f"box {text} reaches out of its image of {width}x{height}",
        "duplicate": f"box {text} of {record.name} stands there twice",
    }[kind]
    done = {"out-of-image": "clipped", "duplicate": "dropped"}.get(kind, WHOLE)
    named = "out-of-image" if kind in {"outside", "far"} else kind
    return Fault(named, record.where, what, done, image.path)


# --- the whole source ---


def order_hint(
    corners: np.ndarray,
    sizes: np.ndarray,
    written: str = "left,top,right,bottom",
    *,
    normalised: bool = False,
) -> str:
    """A sentence if all boxes fit in another order of their numbers; empty if they fit as read, or in none.

    Args:
        corners: As read, float64 `[m, 4]`, pixels.
        sizes: Width and height of each box's image, `[m, 2]`.
        written: What the format's four numbers are, a key of `WRITTEN`.
        normalised: They are shares of the image's sides.
    """
    sides = np.concatenate([sizes, sizes], axis=1)
    shares = len(corners) > 0 and _looks_normalised(corners).any() and bool((corners <= 1).all())
    if shares and not normalised and _fit(corners * sides, sizes).all():
        return "All boxes fit if their numbers are shares of the image's sides. "
    if not len(corners) or _fit(corners, sizes).all():
        return ""
    with np.errstate(invalid="ignore", over="ignore"):
        if normalised and _fit(corners / sides, sizes).all():
            return (
                "All boxes fit if their numbers are pixels, where shares of the image's sides are expected. "
            )
        numbers = WRITTEN[written](corners)
        others = (name for name in ORDERS if name != written)
        order = next((name for name in others if _fit(ORDERS[name](numbers), sizes).all()), None)
        pairs = corners.reshape(-1, 2, 2)
        swapped = _fit(np.concatenate([pairs.min(1), pairs.max(1)], axis=1), sizes).all()
    ways = [f"their numbers are {order}"] if order else []
    if swapped and not most_misfit(corners, sizes):
        ways.insert(0, "corners are swapped where a box ends before it begins")
    return f"All boxes fit if {', or if '.join(ways)}. " if ways else ""


def most_misfit(corners: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether more than half of the boxes are none as they are read, which is then no slip but another form."""
    return 2 * int(_fit(corners, sizes).sum()) < len(corners)


def _fit(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Bool `[m]`: boxes with two sides, inside their images."""
    with np.errstate(invalid="ignore"):
        inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= sizes).all(axis=1)
        return np.asarray(inside & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))


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
    """Take the images that no annotation names in as negative, leave them out, or name them as faults.

    Args:
        annotations: Changed in place.
        policy: "negative", "skip" or "error".
    """
    if policy == "negative":
        annotations.images += [Annotated(path, path) for path in annotations.unlabelled]
    if policy != "error":
        return []
    what = "has no annotation: is it negative, or forgotten?"
    return [Fault("unlabelled-image", path, what, "left out", path) for path in annotations.unlabelled]


def refuse(source: str, faults: Sequence[Fault], hint: str = "", *, doubt: bool = False) -> None:
    """Raise the faults as one.

    Args:
        source: As typed.
        faults: What is wrong.
        hint: A guess at their common cause, as a sentence.
        doubt: No box of the source can be trusted, so that `--faults clip` is no way out.

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
        f"{hint}Mend them, or say --faults clip: boxes over the edge are clipped, double ones dropped, and images "
        "whose boxes cannot be read are left out, which the report lists."
    )
    if any(kind.startswith("mask-") for kind in counts):
        remedy += " Of a mask that cannot be drawn the box stays."
    if doubt:
        remedy = f"{hint}{OF_ALL}"
    elif unlabelled and len(counts) == 1:
        remedy = "Say --unlabelled negative if they show none of the classes, or --unlabelled skip."
    elif unlabelled:
        remedy += " For images without annotation say --unlabelled negative or skip."
    raise DataFault(f"{source} has {len(faults)} fault{plural} ({total}):\n" + "\n".join(lines), remedy)


def notes(faults: Sequence[Fault]) -> tuple[str, ...]:
    """What was done about each fault, as sentences."""
    return tuple(f"{fault}: {fault.done}." for fault in faults)


def summary(faults: Sequence[Fault]) -> tuple[str, ...]:
    """What was done about all of them, counted, in a sentence for each thing done; images left out come first."""
    groups: dict[str, list[Fault]] = {}
    for fault in sorted(faults, key=lambda fault: fault.done != WHOLE):
        groups.setdefault(fault.done, []).append(fault)
    return tuple(_counted(done, some) for done, some in groups.items())


def _counted(done: str, some: list[Fault]) -> str:
    kinds = Counter(fault.kind for fault in some)
    of = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    paths = list(dict.fromkeys(fault.path for fault in some if fault.path))
    if not paths:
        return f"{of}: {done}, such as {some[0]}."
    shown = ", ".join(paths[:NAMED]) + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
    images = f"{len(paths)} image{'s' if len(paths) > 1 else ''}"
    if done == WHOLE:
        why = "annotations of them have" if len(paths) > 1 else "its annotation has"
        return f"{images} left out, as {why} no one meaning ({of}): {shown}."
    return f"{of} in {images}, {done}: {shown}."
