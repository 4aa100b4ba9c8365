"""Boxes in labelme's JSON (X-AnyLabeling writes the same): one file an image, a list of shapes.

A rectangle is two opposite corners in any order (or four), a circle its middle and a point on it; of a polygon and
a rotated box the box around it is taken. Points and lines have no box, and spoil their image.

Source: https://github.com/wkentaro/labelme (labelme/_label_file.py)
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    ends_of,
    listed_names,
    number,
    read_json,
    stated_size,
    truth,
)
from tlkit.data.boxes.formats.declared_parts import part_of_path
from tlkit.data.boxes.formats.image_finder import Finder, checked_name, near_to, without_suffix
from tlkit.data.boxes.formats.outlines import NO_BOX, Corners, about, around_pairs, flat_pairs
from tlkit.data.images.readers.image_files import files_below

MOST_JSON = 256_000_000  # bytes; labelme may put the whole image into its file
AROUND = frozenset(("rectangle", "polygon", "rotation"))


def labelme_files(folder: Path) -> list[Path]:
    """Labelme's files below a folder; none where the first JSON files are something else."""
    files = [folder / path for path in files_below(folder)[0] if path.endswith(".json")]
    texts = map(ends_of, files[:3])
    shapes = ('"shapes"' in text and ('"imagePath"' in text or '"imageHeight"' in text) for text in texts)
    return files if any(shapes) else []


def read_labelme(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Every file's image, which lies where `imagePath` says or has the file's own name.

    Args:
        files: JSON files; those without a list of shapes are passed over.
        folder: The source.
        whole: Images that no file names are unlabelled.

    Raises:
        DataFault: A file is no JSON.
    """
    finder = Finder(found := Annotations("labelme", folder, [], listed_names(folder)))
    for file in files:
        data = read_json(file, MOST_JSON)
        if isinstance(data, dict) and isinstance(data.get("shapes"), list):
            _add_image(finder, file.relative_to(folder).as_posix(), data)
    finder.close(whole=whole)
    return found


def _add_image(finder: Finder, where: str, data: dict[str, Any]) -> None:
    found, known, path = finder.found, finder.known, _image(finder, where, data)
    if path is None:
        return
    if path in known:
        found.spoil(known[path], "duplicate", where, f"{path} is annotated in {known[path].where} too")
        return
    size = stated_size(data.get("imageWidth"), data.get("imageHeight"))
    image = known[path] = Annotated(path, where, size=size)
    for index, shape in enumerate(data["shapes"], 1):
        place = f"{where} shape {index}"
        label = shape.get("label") if isinstance(shape, dict) else None
        name = label.strip() if isinstance(label, str) else ""
        if not found.takes(image, place, name, "it has no label"):
            continue
        kind = str(shape.get("shape_type") or "polygon")
        written = f"of a {kind} {json.dumps(shape.get('points'))[:60]}"
        outline = flat_pairs(shape.get("points")) if kind == "polygon" else None
        record = Record(place, name, _corners(kind, shape), truth(shape.get("difficult")), {}, written)
        image.add(record._replace(outline=outline))


def _image(finder: Finder, where: str, data: dict[str, Any]) -> str | None:
    """The path of a file's image; None, and a fault, where there is none or where several fit.

    The file's own name counts first: `imagePath` is often that of the image before it was renamed.
    """
    stem, part = without_suffix(where), part_of_path(where)
    above, _, own = stem.rpartition("/")
    said, places = str(data.get("imagePath") or own), near_to(above)
    match = finder.stem(own, places[:1], part)
    if not (match.exact and len(match.paths) == 1):
        match = finder.named(checked_name(where, said), places, part)
    if not match.paths:
        said, match = own, finder.stem(own, places, part)
    return finder.take(where, said, match)


def _corners(kind: str, shape: dict[str, Any]) -> Corners:
    points = shape.get("points")
    corners = around_pairs(points)
    if not isinstance(points, list) or math.isnan(corners[0]):
        return NO_BOX
    if kind == "circle" and len(points) == 2:
        (x, y), (on_x, on_y) = ([number(value) for value in point] for point in points)
        radius = math.hypot(on_x - x, on_y - y)
        return about(x, y, radius, radius)
    least = 2 if kind == "rectangle" else 3
    return corners if kind in AROUND and len(points) >= least else NO_BOX
