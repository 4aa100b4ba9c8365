"""What a detector found in files, as files: each image with its boxes drawn, `boxes.csv` and COCO's results.

An image is drawn at its own size, from the pixels that the network saw, so that the numbers beside it are pixels of it
too; the folder can be read again as a source of boxes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from PIL import Image

from tlkit.core.csv_writer import write_csv
from tlkit.core.files import folder_aside
from tlkit.data.boxes.formats.coco import IMAGES_BESIDE
from tlkit.data.images.decoding.decode import decode, read_contents
from tlkit.engine.reporting.lettering import writable
from tlkit.engine.reporting.style import COLOURS, shortened
from tlkit.errors import RunFailed
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.reporting.drawing import Framed, OnImage, draw_boxes, shape_of

HEADER = ("image", "left", "top", "right", "bottom", "class", "score", "original")
_JPEG = {"quality": 95, "subsampling": 0}  # coloured lines stay sharp
KEPT: dict[str, dict[str, Any]] = {
    ".png": {"compress_level": 3},
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}  # others become PNG


class Numbers(NamedTuple):
    """What COCO calls ids.

    Attributes:
        images: [n] of the images.
        classes: [k] of the classes.
    """

    images: Sequence[Any]
    classes: Sequence[int]


def write_found(
    found: Sequence[Detections],
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
    without annotations, says which images and classes the numbers in it are.

    Args:
        found: [n] what was found, with its files, which are only read; no box without area.
        classes: [k] every class name, in order.
        folder: Must not exist, or be empty.
        about: For "info" in images.json.
        told: Is called with the number of images drawn.
        numbers: Of images and classes; None: from 1.
        safe: Of boxes.csv, as in CsvWriter.

    Raises:
        RunFailed: The folder cannot be written.
    """
    names = drawn_names([one.path for one in found])
    folder = folder.absolute()
    try:
        with folder_aside(folder) as aside:
            sizes = [_write_drawn(one, aside / name, classes) for one, name in _counted(found, names, told)]
            _write_table(aside / "boxes.csv", found, names, classes, safe=safe)
            (aside / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
            numbers = numbers or Numbers(range(1, len(found) + 1), range(1, len(classes) + 1))
            images = {"info": about, **_images(found, names, sizes, classes, numbers)}
            _write_json(aside / IMAGES_BESIDE, images)
            _write_json(aside / "detections.json", _results(found, numbers))
    except OSError as fault:
        raise RunFailed(f"{folder} cannot be written: {fault.strerror or fault}.", "Name another.") from fault


def drawn_names(paths: Sequence[str]) -> list[str]:
    """Where each image is drawn: as it lies below the folder that all share, so that no two meet.

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
    found: Sequence[Detections], names: Sequence[str], told: Callable[[int], None]
) -> Iterator[tuple[Detections, str]]:
    for done, pair in enumerate(zip(found, names, strict=True), 1):
        yield pair
        told(done)


# --- images ---


def _write_drawn(one: Detections, file: Path, classes: Sequence[str]) -> tuple[int, int]:
    """Draw one image and give its width and height."""
    image = Image.fromarray(decode(tf.constant(read_contents(Path(one.path)))).numpy())
    draw_boxes(OnImage(image), framed(one, classes))
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **KEPT[file.suffix.lower()])
    return image.size


def framed(found: Detections, classes: Sequence[str]) -> list[Framed]:
    """A frame for each box, in its class's colour, with its name and score; the surest last, which is on top."""
    names, masks = writable(classes), found.masks or (None,) * len(found.labels)
    every = zip(found.boxes, found.scores, found.labels.tolist(), masks, strict=True)
    return [
        Framed(
            box,
            COLOURS[label % len(COLOURS)],
            "-",
            f"{shortened(names[label], 24)} {score:.2f}",
            shape_of(mask),
        )
        for box, score, label, mask in every
    ][::-1]


# --- numbers ---


def _write_table(
    file: Path, found: Sequence[Detections], names: Sequence[str], classes: Sequence[str], *, safe: bool
) -> None:
    """`boxes.csv`; an image without a box has a row of its own."""
    rows: list[Sequence[object]] = [HEADER]
    for one, name in zip(found, names, strict=True):
        for box, score, label in zip(*(values.tolist() for values in one[:3]), strict=True):
            rows.append([name, *box, classes[label], score, one.path])
        if not len(one.labels):
            rows.append([name, *[""] * (len(HEADER) - 2), one.path])
    write_csv(file, rows, safe=safe)


def _write_json(file: Path, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False)
    file.write_text(
        text, encoding="utf-8", errors="backslashreplace"
    )  # JSON's escape of a byte that is no UTF-8


def _images(
    found: Sequence[Detections],
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


def _results(found: Sequence[Detections], numbers: Numbers) -> list[dict[str, Any]]:
    """COCO's form of results: a row for each box, with its mask as run lengths where there is one."""
    rows = []
    for i, one in zip(numbers.images, found, strict=True):
        masks = [{"segmentation": mask.coco} for mask in one.masks or ()] or [{}] * len(one.labels)
        for (left, top, right, bottom), score, label, mask in zip(
            *(values.tolist() for values in one[:3]), masks, strict=True
        ):
            sides = [left, top, round(right - left, 2), round(bottom - top, 2)]
            known = {"image_id": i, "category_id": numbers.classes[label], "bbox": sides, "score": score}
            rows.append({**known, **mask})
    return rows
