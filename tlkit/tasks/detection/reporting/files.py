"""What a detector found in files, as files: each picture with its boxes drawn, `boxes.csv` and COCO's results.

A picture is drawn at its own size, from the pixels that the network saw, so that the numbers beside it are pixels of it
too; the folder can be read again as a source of boxes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from tlkit.core.csv_writer import CsvWriter
from tlkit.data.boxes.formats.coco import IMAGES_BESIDE
from tlkit.data.images.decoding.decode import decode, read_contents
from tlkit.engine.reporting.lettering import OWN, Place, font_of, places, writable
from tlkit.engine.reporting.style import COLOURS, shortened
from tlkit.errors import RunFailed

HEADER = ("image", "left", "top", "right", "bottom", "class", "score", "original")
_JPEG = {"quality": 95, "subsampling": 0}  # coloured lines stay sharp
KEPT: dict[str, dict[str, Any]] = {
    ".png": {"compress_level": 3},
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}  # others become PNG
_PALE = 140  # grey level from which dark letters read better than white ones


class Drawn(NamedTuple):
    """A file and what was found in it.

    Attributes:
        path: The file, as given.
        boxes: [m, 4] left, top, right, bottom in its pixels, right and bottom exclusive; none without area.
        scores: [m], 0..1, falling.
        labels: [m] class names.
    """

    path: str
    boxes: Sequence[Sequence[float]]
    scores: Sequence[float]
    labels: Sequence[str]


class Numbers(NamedTuple):
    """What COCO calls ids.

    Attributes:
        images: [n] of the pictures.
        classes: [k] of the classes.
    """

    images: Sequence[Any]
    classes: Sequence[int]


def write_found(
    found: Sequence[Drawn],
    classes: Sequence[str],
    folder: Path,
    about: dict[str, Any],
    told: Callable[[int], None] = lambda _done: None,
    numbers: Numbers | None = None,
    *,
    safe: bool = False,
) -> None:
    """Write a folder that appears whole or not at all.

    Its `detections.json` is what pycocotools' loadRes takes, a plain list; `images.json` beside it, in COCO's form
    without annotations, says which pictures and classes the numbers in it are.

    Args:
        found: [n] what was found; the files are only read.
        classes: [k] every class name, in order.
        folder: Must not exist, or be empty.
        about: For "info" in images.json.
        told: Is called with the number of pictures drawn.
        numbers: Of pictures and classes; None: from 1.
        safe: Of boxes.csv, as in CsvWriter.

    Raises:
        RunFailed: The folder cannot be written.
    """
    names = drawn_names([one.path for one in found])
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            sizes = [_write_drawn(one, aside / name, classes) for one, name in _counted(found, names, told)]
            _write_table(aside / "boxes.csv", found, names, safe=safe)
            (aside / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
            numbers = numbers or Numbers(range(1, len(found) + 1), range(1, len(classes) + 1))
            images = {"info": about, **_images(found, names, sizes, classes, numbers)}
            _write_json(aside / IMAGES_BESIDE, images)
            _write_json(aside / "detections.json", _results(found, classes, numbers))
            aside.chmod(0o755)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as fault:
        raise RunFailed(f"{folder} cannot be written: {fault.strerror or fault}.", "Name another.") from fault


def drawn_names(paths: Sequence[str]) -> list[str]:
    """Where each picture is drawn: as it lies below the folder that all share, so that no two meet.

    Args:
        paths: [n] files.

    Returns:
        [n] POSIX paths; what is not JPEG or PNG has ".png" added.
    """
    # Not resolved: a link keeps the name that the person gave it.
    places = [Path(os.path.normpath(Path(path).absolute())) for path in paths]
    shared = Path(os.path.commonpath([place.parent for place in places])) if places else Path()
    taken: set[str] = set()
    names = []
    for place in places:
        own = place.relative_to(shared)
        name = own if own.suffix.lower() in KEPT else own.with_name(f"{own.name}.png")
        number = 1
        while name.as_posix().casefold() in taken:
            number += 1
            name = name.with_name(f"{own.stem}-{number}{name.suffix}")
        taken.add(name.as_posix().casefold())
        names.append(name.as_posix())
    return names


def _counted(
    found: Sequence[Drawn], names: Sequence[str], told: Callable[[int], None]
) -> Iterator[tuple[Drawn, str]]:
    for done, pair in enumerate(zip(found, names, strict=True), 1):
        yield pair
        told(done)


# --- pictures ---


def _write_drawn(one: Drawn, file: Path, classes: Sequence[str]) -> tuple[int, int]:
    """Draw one picture and give its width and height."""
    pixels = decode(tf.constant(read_contents(Path(one.path)))).numpy()
    image = draw_boxes(pixels, one, classes)
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **KEPT[file.suffix.lower()])
    return image.size


def draw_boxes(pixels: np.ndarray, one: Drawn, classes: Sequence[str]) -> Image.Image:
    """A picture with a frame around each box, in its class's colour, and its name and score; the surest on top.

    A name stands above its box, or where it hides no other object, with a line to its box; where there is no such
    place it is left out, for the numbers stand in boxes.csv.

    Args:
        pixels: uint8 RGB `[h, w, 3]`.
        one: What was found in it.
        classes: [k] names, for the colours.
    """
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    side = min(image.size)
    width, high = max(2, round(side / 200)), max(9, round(side / 32))
    names = dict(zip(classes, writable(classes), strict=True))
    texts = [
        f"{shortened(names[label], 24)} {score:.2f}"
        for label, score in zip(one.labels, one.scores, strict=True)
    ]
    fonts = [_font(text, high) for text in texts]
    colours = [COLOURS[classes.index(label) % len(COLOURS)] for label in one.labels]
    plates = [_plate(pen, text, font) for text, font in zip(texts, fonts, strict=True)]
    found = places(np.array(one.boxes), [plate[2:] for plate in plates], image.size, width)
    drawn = list(zip(one.boxes, colours, found, texts, fonts, plates, strict=True))[::-1]
    for box, colour, *_ in drawn:
        _frame(pen, box, colour, width, image.size)
    for _, colour, place, text, font, plate in drawn:
        if place:
            _write_name(pen, place, text, colour, font, plate)
    return image


def _frame(
    pen: ImageDraw.ImageDraw, box: Sequence[float], colour: str, width: int, size: tuple[int, int]
) -> None:
    """A frame around the box's pixels, so that nothing of it is hidden, on a white line; kept inside the picture."""
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    right, bottom = int(np.ceil(box[2])) - 1, int(np.ceil(box[3])) - 1
    for edge, thickness, ink in ((width + 1, width + 1, "white"), (width, width, colour)):
        first = max(left - edge, 0), max(top - edge, 0)
        last = min(right + edge, size[0] - 1), min(bottom + edge, size[1] - 1)
        pen.rectangle([first, (max(last[0], first[0]), max(last[1], first[1]))], outline=ink, width=thickness)


def _plate(
    pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont
) -> tuple[float, float, float, float]:
    """Where a text begins in its plate, and the plate's width and height."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    return 2 - left, 2 - top, int(right - left) + 4, int(bottom - top) + 4


def _write_name(
    pen: ImageDraw.ImageDraw,
    place: Place,
    text: str,
    colour: str,
    font: ImageFont.FreeTypeFont,
    plate: tuple[float, float, float, float],
) -> None:
    """The name on a plate, with a line to its box where they do not touch."""
    if place.leader:
        pen.line(place.leader, fill="white", width=3)
        pen.line(place.leader, fill=colour, width=1)
    x, y = int(place.left), int(place.top)
    right, down, wide, high = plate
    pen.rectangle([x, y, x + wide - 1, y + high - 1], fill=colour)
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue >= _PALE
    pen.text((x + right, y + down), text, fill="black" if dark else "white", font=font)


def _font(text: str, height: int) -> ImageFont.FreeTypeFont:
    """One that has the text's letters."""
    found = font_of(text)
    return _opened(found.file if found else OWN, height)


@cache
def _opened(file: Path, height: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, height)


# --- numbers ---


def _write_table(file: Path, found: Sequence[Drawn], names: Sequence[str], *, safe: bool) -> None:
    """`boxes.csv`; a picture without a box has a row of its own."""
    with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        table = CsvWriter(stream, safe=safe)
        table.writerow(HEADER)
        for one, name in zip(found, names, strict=True):
            for box, score, label in zip(one.boxes, one.scores, one.labels, strict=True):
                table.writerow([name, *box, label, score, one.path])
            if not one.labels:
                table.writerow([name, *[""] * (len(HEADER) - 2), one.path])


def _write_json(file: Path, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False)
    file.write_text(
        text, encoding="utf-8", errors="backslashreplace"
    )  # JSON's escape of a byte that is no UTF-8


def _images(
    found: Sequence[Drawn],
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    classes: Sequence[str],
    numbers: Numbers,
) -> dict[str, Any]:
    """COCO's lists of images and categories; the third, of annotations, is empty."""
    images = [
        {"id": i, "file_name": name, "width": width, "height": height, "original": one.path}
        for i, one, name, (width, height) in zip(numbers.images, found, names, sizes, strict=True)
    ]
    categories = [{"id": k, "name": name} for k, name in zip(numbers.classes, classes, strict=True)]
    return {"images": images, "categories": categories, "annotations": []}


def _results(found: Sequence[Drawn], classes: Sequence[str], numbers: Numbers) -> list[dict[str, Any]]:
    """COCO's form of results: a row for each box."""
    number_of = dict(zip(classes, numbers.classes, strict=True))
    return [
        {"image_id": i, "category_id": number_of[label], "bbox": _sides(box), "score": score}
        for i, one in zip(numbers.images, found, strict=True)
        for box, score, label in zip(one.boxes, one.scores, one.labels, strict=True)
    ]


def _sides(box: Sequence[float]) -> list[float]:
    """Left, top, width, height."""
    left, top, right, bottom = box
    return [left, top, round(right - left, 2), round(bottom - top, 2)]
