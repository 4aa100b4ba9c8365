"""Fonts and labels: an installed font that has a name's letters, and places for names that hide no object.

DejaVu Sans, which comes with matplotlib, knows Latin, Greek and Cyrillic; other letters are looked for in the fonts of
the machine. A name that no font can write is shown by its number among the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

OWN = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_NO_FONT = ("Last Resort", "STIX", "cm")  # a box for every letter; mathematics
_TURNS = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_RINGS = (1.2, 2.2, 3.4, 5.0)  # distances of a name from its box, in heights of the name
_BESIDE, _MANY = (
    7,
    60,
)  # places that touch the box; with more boxes there are only these, for lines would hide them
_HIDDEN = 0.3  # of another box or name that a name may hide; more, and it is left out


class Letters(NamedTuple):
    """A font.

    Attributes:
        file: Where it lies.
        family: Its name, as matplotlib knows it.
    """

    file: Path
    family: str


def font_of(text: str) -> Letters | None:
    """A font that has all letters of a text, DejaVu Sans where it has them; None where none is installed."""
    return _font(frozenset(ord(letter) for letter in text if not letter.isspace()))


@cache
def _font(letters: frozenset[int]) -> Letters | None:
    if letters <= _known(OWN):
        return Letters(OWN, "DejaVu Sans")
    fitting = (entry for entry in _installed() if letters <= _known(Path(entry.fname)))
    entry = next(fitting, None)
    return Letters(Path(entry.fname), entry.name) if entry else None


@cache
def _installed() -> tuple[FontEntry, ...]:
    """One entry a file: upright, regular, without serifs and of free width first."""

    def rank(entry: FontEntry) -> tuple[bool, bool, bool, bool, str]:
        regular = str(entry.weight) in {"400", "normal", "regular"}
        return (
            "Sans" not in entry.name,
            "Mono" in entry.name,
            entry.style != "normal",
            not regular,
            entry.fname,
        )

    entries = [one for one in fontManager.ttflist if not one.name.startswith(_NO_FONT)]
    return tuple({entry.fname: entry for entry in sorted(entries, key=rank, reverse=True)}.values())[::-1]


@cache
def _known(file: Path) -> frozenset[int]:
    """The code points that a font has; none where it cannot be read."""
    try:
        return frozenset(FT2Font(str(file)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def writable(names: Sequence[str]) -> tuple[str, ...]:
    """The names as pictures show them: "#2" for the second where no font has its letters."""
    return tuple(name if font_of(name) else f"#{number}" for number, name in enumerate(names, 1))


def choose_fonts(figure: Figure) -> None:
    """Give every text of a figure a font that has its letters, where DejaVu Sans lacks one."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and not text.get_text().isascii():
            found = font_of(text.get_text())
            if found and found.file != OWN:
                text.set_fontfamily(["DejaVu Sans", found.family])


# --- places ---


class Place(NamedTuple):
    """Where a name stands.

    Attributes:
        left: Of its plate, pixels.
        top: Of its plate, pixels.
        leader: From the plate to the box, (x, y) and (x, y); None where they touch.
    """

    left: float
    top: float
    leader: tuple[tuple[float, float], tuple[float, float]] | None


def places(
    boxes: np.ndarray, plates: Sequence[tuple[float, float]], size: tuple[int, int], gap: float = 0.0
) -> list[Place | None]:
    """Places for the names of boxes, in their order: above a box, else where a name hides least of boxes and names.

    None where there is no place that hides little, and where there is no name.

    Args:
        boxes: float `[m, 4]`, left, top, right, bottom in pixels.
        plates: [m] width and height of each name; no width, no name.
        size: Width and height of the picture, which no name leaves where it can fit.
        gap: Between a box and a name that touches it, for the frame.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    taken = [*boxes]
    found: list[Place | None] = []
    for box, (width, height) in zip(boxes, plates, strict=True):
        if not width:
            found.append(None)
            continue
        corners = np.array(list(_candidates(box, width, height, gap)))
        corners = corners if len(boxes) <= _MANY else corners[:_BESIDE]
        corners = np.clip(corners, 0, np.maximum(np.array(size) - (width, height), 0))
        plate = np.concatenate([corners, corners + np.array([width, height])], axis=1)
        others = np.array(taken)
        common = np.minimum(plate[:, None, 2:], others[None, :, 2:]) - np.maximum(
            plate[:, None, :2], others[None, :, :2]
        )
        share = np.maximum(common, 0).prod(-1) / np.maximum((others[:, 2:] - others[:, :2]).prod(-1), 1e-9)
        hidden = np.round(share.sum(1), 2)
        best = int(np.argmin(hidden))  # the first of equals
        if hidden[best] > _HIDDEN:
            found.append(None)
            continue
        taken.append(plate[best])
        left, top = (float(value) for value in plate[best][:2])
        found.append(Place(left, top, _leader(plate[best], box, gap)))
    return found


def _candidates(box: np.ndarray, width: float, height: float, gap: float) -> Iterator[tuple[float, float]]:
    """Corners to try: above, below, beside, then on rings around the box."""
    left, top, right, bottom = box
    yield from ((left - gap, top - gap - height), (right + gap - width, top - gap - height))
    yield from ((left - gap, bottom + gap), (right + gap - width, bottom + gap))
    yield from ((right + gap, top), (left - gap - width, top), (right + gap, bottom - height))
    middle, half = ((left + right) / 2, (top + bottom) / 2), ((right - left) / 2, (bottom - top) / 2)
    for ring in _RINGS:
        for turn in _TURNS:
            x = middle[0] + np.cos(turn) * (half[0] + ring * height + width / 2)
            y = middle[1] + np.sin(turn) * (half[1] + ring * height + height / 2)
            yield (x - width / 2, y - height / 2)


def _leader(
    plate: np.ndarray, box: np.ndarray, gap: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The shortest line between them, where they are further apart than the frame is wide."""
    start, end = [], []
    for low in (0, 1):
        inner = max(plate[low], box[low]), min(plate[low + 2], box[low + 2])
        if inner[0] <= inner[1]:
            start.append(sum(inner) / 2)
            end.append(sum(inner) / 2)
        else:
            start.append(plate[low + 2] if plate[low + 2] < box[low] else plate[low])
            end.append(box[low] if plate[low + 2] < box[low] else box[low + 2])
    if np.hypot(start[0] - end[0], start[1] - end[1]) <= gap + 1.5:
        return None
    return (float(start[0]), float(start[1])), (float(end[0]), float(end[1]))
