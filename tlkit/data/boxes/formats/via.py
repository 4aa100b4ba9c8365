"""Boxes of the VGG Image Annotator (VIA): its project, its JSON or its CSV of regions.

Rectangles, polygons, circles and ellipses become the box around them; points and lines have none, and spoil their
image. The class is the attribute of the regions that is called class, label, name, type, object or category; or,
where there is only one, that.

Source: https://www.robots.ox.ac.uk/~vgg/software/via/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    ends_of,
    folder_within,
    is_hidden,
    numbers,
    read_json,
    rows_of_images,
)
from tlkit.data.boxes.formats.image_finder import Finder
from tlkit.data.boxes.formats.labelme import MOST_JSON
from tlkit.data.boxes.formats.outlines import NO_BOX, Corners, about, around, flat_pairs, from_sides
from tlkit.data.boxes.formats.tables import header_of, table
from tlkit.errors import DataFault

COLUMNS = {"filename", "region_shape_attributes", "region_attributes"}
CLASSES = ("class", "label", "name", "type", "object", "category")


class Region(NamedTuple):
    """One region, or none of an image without: where it stands, its image's name, shape and attributes."""

    where: str
    image: str
    shape: dict[str, Any] | None
    attributes: dict[str, Any]


def via_files(folder: Path) -> list[Path]:
    """VIA's files at the top of a folder, or one below."""
    files = [*sorted(folder.glob("*.json")), *sorted(folder.glob("*.csv"))]
    files = files or [*sorted(folder.glob("*/*.json")), *sorted(folder.glob("*/*.csv"))]
    return [file for file in files if not is_hidden(file.relative_to(folder)) and is_via(file)]


def is_via(file: Path) -> bool:
    """Whether a file is VIA's, by the names in it."""
    if file.suffix.lower() == ".csv":
        return set(header_of(file)) >= COLUMNS
    text = ends_of(file)
    return '"regions"' in text and '"filename"' in text


def read_via(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Every image of VIA's files with its regions.

    Args:
        files: The project, JSON or CSV.
        folder: The source; all images lie below it.
        whole: Images that no file names are unlabelled.

    Raises:
        DataFault: A file is not VIA's, or nothing tells which attribute is the class.
    """
    finder = Finder(found := Annotations("VIA", folder, [], written="left,top,width,height"))
    for file in files:
        regions = list(_table_regions(file) if file.suffix.lower() == ".csv" else _json_regions(file))
        column = _class_attribute(file, regions)
        find = partial(finder.meant, file=file.name, above=folder_within(file, folder))
        rows = ((region.where, region.image, region) for region in regions)
        for image, _, region in rows_of_images(rows, find, finder.known):
            _add(found, image, region, column)
    finder.close(whole=whole)
    return found


def _json_regions(file: Path) -> Iterator[Region]:
    data = read_json(file, MOST_JSON)
    entries = data.get("_via_img_metadata", data) if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        raise DataFault(f"{file} is no JSON of VIA's.", "Export the annotations from VIA as JSON or COCO.")
    for key, entry in entries.items():
        if not isinstance(entry, dict) or "filename" not in entry:
            continue
        name, regions = str(entry["filename"]), entry.get("regions") or []
        listed = list(regions.values()) if isinstance(regions, dict) else regions
        if not listed:
            yield Region(f"{file.name} {key}", name, None, {})
        for index, region in enumerate(listed, 1):
            own = region if isinstance(region, dict) else {}
            where = f"{file.name} {key} region {index}"
            yield Region(
                where, name, _object(own.get("shape_attributes")), _object(own.get("region_attributes"))
            )


def _table_regions(file: Path) -> Iterator[Region]:
    for where, row in table(file):
        try:
            shape = _object(json.loads(row["region_shape_attributes"] or "{}"))
            attributes = _object(json.loads(row["region_attributes"] or "{}"))
        except (ValueError, RecursionError):
            raise DataFault(
                f"{where} has a region that is no JSON.", "Export the CSV from VIA anew."
            ) from None
        empty = not shape and row.get("region_count", "0") == "0"
        yield Region(where, row["filename"], None if empty else shape, attributes)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _class_attribute(file: Path, regions: list[Region]) -> str:
    names = list(dict.fromkeys(name for region in regions for name in region.attributes))
    for known in CLASSES:
        if alike := [name for name in names if name.strip().lower() == known]:
            return alike[0]
    if len(names) > 1:
        raise DataFault(
            f"{file} has the attributes {', '.join(names)}, and nothing tells which is the class.",
            "Call that attribute class.",
        )
    return names[0] if names else "class"


def _add(found: Annotations, image: Annotated, region: Region, column: str) -> None:
    if region.shape is None:
        return
    value = region.attributes.get(column)
    if isinstance(value, dict):  # check boxes: {"gun": true}
        chosen = [str(name) for name, ticked in value.items() if ticked]
        value = chosen[0] if len(chosen) == 1 else ""
    name = str(value).strip() if isinstance(value, (str, int)) else ""
    if not found.takes(image, region.where, name, f"it has no {column}"):
        return
    facts = {
        key: str(fact)
        for key, fact in region.attributes.items()
        if key != column and isinstance(fact, (str, int))
    }
    written = json.dumps(region.shape)[:80]
    outline = _outline(region.shape)
    image.add(Record(region.where, name, _corners(region.shape), False, facts, written, outline=outline))


def _outline(shape: dict[str, Any]) -> list | None:
    """The ring of a polygon; other shapes are boxes only."""
    across, down = shape.get("all_points_x"), shape.get("all_points_y")
    if shape.get("name") != "polygon" or not isinstance(across, list) or not isinstance(down, list):
        return None
    return flat_pairs([list(pair) for pair in zip(across, down, strict=False)])


def _corners(shape: dict[str, Any]) -> Corners:
    kind = shape.get("name")
    if kind == "rect":
        return from_sides(*numbers(shape, "x", "y", "width", "height"))
    if kind == "circle":
        return about(*numbers(shape, "cx", "cy", "r", "r"))
    if kind == "ellipse" and not shape.get("theta"):
        return about(*numbers(shape, "cx", "cy", "rx", "ry"))
    across, down = shape.get("all_points_x"), shape.get("all_points_y")
    if kind == "polygon" and isinstance(across, list) and isinstance(down, list):
        return around(across, down)
    return NO_BOX
