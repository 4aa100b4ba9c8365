"""Boxes in CVAT's own XML: one file for all images, "CVAT for images 1.1" in its export dialogue.

A box may be rotated, an object may be a polygon, an ellipse, a mask or a cuboid: the box around it is taken.
Points and lines have none, and spoil their image.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element

from tlkit.data.boxes.formats.annotations import Annotated, Annotations, Record, number, numbers, stated_size
from tlkit.data.boxes.formats.image_finder import Finder
from tlkit.data.boxes.formats.outlines import (
    NO_BOX,
    Corners,
    about,
    around,
    around_pairs,
    around_turned,
    from_sides,
)
from tlkit.data.boxes.formats.voc import parsed_xml
from tlkit.data.images.dataset import PART_NAMES
from tlkit.errors import DataFault

MOST_CVAT = 512_000_000  # bytes
OBJECTS = ("box", "polygon", "ellipse", "mask", "cuboid", "polyline", "points", "skeleton")


def is_cvat(file: Path) -> bool:
    """Whether an XML file begins like CVAT's: its root is `annotations`."""
    try:
        with file.open("rb") as stream:
            return b"<annotations" in stream.read(2000)
    except OSError:
        return False


def cvat_files(folder: Path) -> list[Path]:
    """CVAT's XML files of a folder, at its top or one folder below, such as annotations.xml."""
    return [
        file
        for file in (*sorted(folder.glob("*.xml")), *sorted(folder.glob("*/annotations.xml")))
        if is_cvat(file)
    ]


def read_cvat(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Every image of CVAT's files with its boxes; `subset` gives parts, attributes and `occluded` facts of the boxes.

    Args:
        files: The XML files.
        folder: The source; all images lie below it.
        whole: Images that no file names are unlabelled.

    Raises:
        DataFault: A file is no XML of CVAT's, or one of a video.
    """
    finder = Finder(found := Annotations("CVAT", folder, []))
    names: list[str] = []
    for file in files:
        root = parsed_xml(file, MOST_CVAT)
        if root.find("track") is not None:
            raise DataFault(
                f"{file} is CVAT's XML of a video, whose boxes belong to frames and not to files.",
                'Export the task as "CVAT for images 1.1", COCO or VOC, with its images.',
            )
        names += [(label.text or "").strip() for label in root.iterfind("meta//label/name")]
        where = file.relative_to(folder).as_posix()
        for element in root.iterfind("image"):
            _add_image(finder, where, element)
    finder.close(whole=whole)
    used = {record.name for image in found.images for record in image.records}
    found.class_names = tuple(dict.fromkeys(names)) if used <= set(names) and names else None
    return found


def _add_image(finder: Finder, file: str, element: Element) -> None:
    found, known, said = finder.found, finder.known, element.get("name", "")
    where, part = f"{file} image {element.get('id', said)}", PART_NAMES.get(element.get("subset", "").lower())
    path = finder.meant(where, said, file, file.rpartition("/")[0], part)
    if path is None:
        return
    if path in known:
        found.spoil(known[path], "duplicate", where, f"{path} is listed twice, first as {known[path].where}")
        return
    size = stated_size(element.get("width"), element.get("height"))
    image = known[path] = Annotated(path, where, size=size, part=part)
    objects = [child for child in element if child.tag in OBJECTS]
    for index, child in enumerate(objects, 1):
        place, name = f"{where} {child.tag} {index}", child.get("label", "").strip()
        if found.takes(image, place, name, "it has no label"):
            corners = SHAPES.get(child.tag, lambda _: NO_BOX)(child)
            sides = ",".join(child.get(key, "-") for key in ("xtl", "ytl", "xbr", "ybr"))
            written = sides if child.tag == "box" else f"of a {child.tag}"
            facts = {"occluded": "1"} if child.get("occluded") == "1" else {}
            facts |= {one.get("name", ""): (one.text or "").strip() for one in child.iterfind("attribute")}
            image.add(Record(place, name, corners, False, facts, written))


def _of_box(child: Element) -> Corners:
    left, top, right, bottom = numbers(child, "xtl", "ytl", "xbr", "ybr")
    angle = number(child.get("rotation", "0"))
    if angle == 0:
        return left, top, right, bottom
    sides = right - left, bottom - top
    return around_turned((left + right) / 2, (top + bottom) / 2, *sides, math.radians(angle))


def _of_ellipse(child: Element) -> Corners:
    x, y, across, down = numbers(child, "cx", "cy", "rx", "ry")
    angle = math.radians(number(child.get("rotation", "0")))
    half_x = math.hypot(across * math.cos(angle), down * math.sin(angle))
    half_y = math.hypot(across * math.sin(angle), down * math.cos(angle))
    return about(x, y, half_x, half_y)


def _of_cuboid(child: Element) -> Corners:
    keys = [
        key for key in child.attrib if key[:1] in {"x", "y"} and key[1:2] in {"t", "b"}
    ]  # xtl1, ybr2, ...
    across, down = ([key for key in keys if key[0] == axis] for axis in "xy")
    return around(map(child.get, across), map(child.get, down))


SHAPES: dict[str, Callable[[Element], Corners]] = {
    "box": _of_box,
    "ellipse": _of_ellipse,
    "mask": lambda child: from_sides(*numbers(child, "left", "top", "width", "height")),
    "cuboid": _of_cuboid,
    "polygon": lambda child: around_pairs([p.split(",") for p in child.get("points", "").split(";")]),
}
