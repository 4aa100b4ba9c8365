"""Stated sizes and EXIF orientation: in whose pixels boxes were drawn, and how they become the image's own.

A camera writes pixels as its sensor lay and, in EXIF, how to turn them. Some tools draw boxes on the image as it is
shown, some on the pixels as they are stored; and images are resized after they were annotated. The size that an
annotation states tells which, where it can be told.

Source: Exif 2.32 (CIPA DC-008-2019), tag 0x0112.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.data.boxes.formats.annotations import WHOLE, Annotated, Fault
from tlkit.data.boxes.masks.drawing import moved_outline
from tlkit.data.images.decoding.formats import orientation_of
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.decoding.pixel_limit import TooManyPixels

SIDEWAYS = frozenset((5, 6, 7, 8))  # width and height change places
# How a point of the stored pixels, of width w and height h, is shown.
TURNS: dict[int, Callable[[float, float, float, float], tuple[float, float]]] = {
    2: lambda x, y, w, _h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, _w, h: (x, h - y),
    5: lambda x, y, _w, _h: (y, x),
    6: lambda x, y, _w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, _h: (y, w - x),
}


class Form(NamedTuple):
    """An image's file: its size in pixels as it is shown (and learned from), and the EXIF orientation that turned it."""

    size: tuple[int, int]
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the pixels in the file."""
        return (self.size[1], self.size[0]) if self.orientation in SIDEWAYS else self.size


def image_forms(files: Sequence[Path]) -> list[Form | str]:
    """The form of each image, or why it cannot be read."""
    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of large images
        return list(pool.map(_image_form, files))


def image_sizes(files: Sequence[Path]) -> list[tuple[int, int] | str]:
    """Width and height of each image as it is shown (a turned JPEG is turned), or why it cannot be read."""
    return [form if isinstance(form, str) else form.size for form in image_forms(files)]


def _image_form(file: Path) -> Form | str:
    try:
        with file.open("rb") as stream, open_image(stream) as image:
            orientation = orientation_of(stream, image)
            size, shown = image.size, image.format == "TIFF"  # Pillow gives a TIFF's size as it is shown
    except TooManyPixels as fault:
        return str(fault)
    except Exception as fault:  # noqa: BLE001 - Pillow's decoders raise what they like on hostile bytes
        return "is no readable image" if "identify" in str(fault) else f"cannot be opened ({fault})"
    if orientation not in TURNS:
        return Form(size)
    return Form(size if shown or orientation not in SIDEWAYS else (size[1], size[0]), orientation)


def into_shown(image: Annotated, form: Form) -> list[Fault]:
    """Put the boxes of an image into the pixels in which it is shown, as the size that its annotation states tells.

    The shown size: they stay. The stored size of an image that EXIF turns: they are turned too. Both sides of either
    changed by one factor: they are scaled. Any other size is that of another image.

    Args:
        image: Its records are changed in place; without a stated size they stay.
        form: Of its file.

    Returns:
        What was done or cannot be, at most one: "image-size" (a fault), "turned-boxes", "scaled-boxes" or "either-form",
        which are worth a word; none for an image without boxes whose size fits.
    """
    stated = image.size if image.size and min(image.size) > 0 else None  # labelling tools write 0 for unknown
    turned = form.orientation != 1
    if stated is None or (stated == form.size and form.stored == form.size):
        why = "states no size" if stated is None else "states a size that fits both"
        what = f"{image.path} is turned by its EXIF entry ({form.orientation}), and its annotation {why}"
        done = "its boxes are taken as drawn on the turned image"
        return _word(image, "either-form", what, done) if turned else []
    if stated == form.size:
        return []
    said = f"says {stated[0]}x{stated[1]} but {image.path} has {form.size[0]}x{form.size[1]} pixels"
    if turned and stated == form.stored:
        _turn(image, form)
        return _word(
            image, "turned-boxes", f"{said} when turned by its EXIF entry", "its boxes are turned too"
        )
    shown = _same_shape(stated, form.size)
    stored = turned and form.stored != form.size and _same_shape(stated, form.stored)
    if image.exact:
        image.spoiled = True
        mask = f"is of {stated[0]}x{stated[1]} pixels, and {image.path} has {form.size[0]}x{form.size[1]}"
        return [Fault("mask-size", image.where, mask, WHOLE, image.path)]
    if shown == stored:  # of neither shape, or of both
        image.spoiled = True
        return [Fault("image-size", image.where, said, WHOLE, image.path)]
    _scale(image, stated, form.size if shown else form.stored)
    if shown:
        done = "its boxes are scaled"
    else:
        _turn(image, form)
        done = "its boxes are scaled and turned"
    return _word(image, "scaled-boxes", said, done)


def _word(image: Annotated, kind: str, what: str, done: str) -> list[Fault]:
    return [Fault(kind, image.where, what, done, image.path)] if image.records else []


def _same_shape(stated: tuple[int, int], real: tuple[int, int]) -> bool:
    """Whether one factor makes both sides of one size those of the other, to a pixel."""
    low = max((side - 1) / said for side, said in zip(real, stated, strict=True))
    high = min((side + 1) / said for side, said in zip(real, stated, strict=True))
    return low <= high


def _scale(image: Annotated, stated: tuple[int, int], real: tuple[int, int]) -> None:
    across, down = real[0] / stated[0], real[1] / stated[1]
    for index, record in enumerate(image.records):
        left, top, right, bottom = record.corners
        corners = (left * across, top * down, right * across, bottom * down)
        outline = _moved(record.outline, lambda x, y: (x * across, y * down), stated, real)
        image.records[index] = record._replace(corners=corners, outline=outline)


def _turn(image: Annotated, form: Form) -> None:
    turn, (width, height) = TURNS[form.orientation], form.stored
    for index, record in enumerate(image.records):
        left, top, right, bottom = record.corners
        ends = turn(left, top, width, height), turn(right, bottom, width, height)
        mirrored_x, mirrored_y = turn(0, 0, 1, 1)  # 1 where that axis runs the other way
        (left, right) = (ends[1][0], ends[0][0]) if mirrored_x else (ends[0][0], ends[1][0])
        (top, bottom) = (ends[1][1], ends[0][1]) if mirrored_y else (ends[0][1], ends[1][1])
        outline = _moved(record.outline, lambda x, y: turn(x, y, width, height), form.stored, form.size)
        image.records[index] = record._replace(corners=(left, top, right, bottom), outline=outline)


def _moved(outline: Any, point: Callable, said: tuple[int, int], now: tuple[int, int]) -> Any:
    """`moved_outline` of what is an outline."""
    return None if outline is None else moved_outline(outline, point, said, now)
