"""Boxes in COCO's JSON: images, categories and annotations, in one file or one for each part.

Source: Lin et al., Microsoft COCO: common objects in context (2014); https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any, NamedTuple

from tlkit.core.text import place_of
from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    files_like,
    number,
    read_json,
    read_text,
    stated_size,
    truth,
)
from tlkit.data.boxes.formats.declared_parts import declare, part_named, part_of_file
from tlkit.data.boxes.formats.image_finder import IMAGE_FOLDERS, Finder, checked_name, is_label_folder, tail
from tlkit.data.boxes.formats.outlines import NO_BOX, Corners, around_coco, from_sides
from tlkit.data.boxes.masks.drawing import has_outline
from tlkit.errors import DataFault

IMAGES_BESIDE = "images.json"  # what resolves the ids of a list of results beside it
MOST_JSON = 2_000_000_000  # bytes


def _is_coco(file: Path) -> bool:
    """Whether a JSON file looks like boxes in COCO's form; a cheap look, for folders may hold any JSON."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.read(4096)
    if not head.lstrip().startswith("{") or re.search(r"^(captions|panoptic|stuff)_", file.name):
        return False
    text = read_text(file, MOST_JSON)
    return all(f'"{key}"' in text for key in ("images", "categories", "annotations"))


PLACES = ("*.json", "annotations/*.json", "*/*.json", "*/annotations/*.json", "*/labels/*.json")


def coco_files(folder: Path) -> list[Path]:
    """The annotation files of a folder: at its top, in annotations/, or one in each of its folders."""
    for pattern in PLACES:
        files = [file for file in files_like(folder, pattern) if _is_coco(file)]
        boxes = [file for file in files if file.name.startswith("instances")] or files
        if boxes:
            return boxes
    return []


def read_coco(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Images, categories and annotations of one file, or of several, whose names say the part.

    Numbers and ids may be written as text. Without a bbox, the box around the segmentation is taken. `iscrowd` makes a
    crowd, `ignore` a difficult object. An area that is not the box's own (COCO measures the object's outline) and
    attributes become box columns.

    Args:
        files: The annotation files.
        folder: The source; of several files all images lie below it.
        whole: Images beside the listed ones that no file lists are unlabelled.

    Raises:
        DataFault: A file is no COCO JSON.
    """
    finder = Finder(found := Annotations("COCO", folder, [], (), written="left,top,width,height"))
    names: list[str] = []
    listed: dict[str, list[str]] = {}
    for file in files:
        data = _loaded(file)
        part = part_of_file(file.name, _folders(file, folder)) if len(files) > 1 else None
        paths, base = _paths(finder, file, data, part)
        categories = _categories(file, data)
        names += [name for name in categories.values() if name not in names]
        images = _images(finder, file, data, paths, part)
        _add_annotations(found, file, data, images, categories)
        beside = finder.below(base) if whole else []
        found.unlabelled += beside
        if part:
            listed.setdefault(part, []).extend(path for path in paths if path)
            found.parts.update(dict.fromkeys(beside, part))
    found.class_names = tuple(names)
    declare(found, f"{folder.name}'s COCO files", listed, twice=False)
    found.images = list(finder.known.values())
    found.unlabelled = sorted({*found.unlabelled} - finder.known.keys() - finder.doubtful)
    finder.tell()
    found.set_root(folder, base if len(files) == 1 else "")
    return found


def _loaded(file: Path) -> dict[str, Any]:
    data = read_json(file, MOST_JSON)
    beside = file.with_name(IMAGES_BESIDE)
    if (
        isinstance(data, list) and file != beside and beside.is_file()
    ):  # results, as `tlkit predict --draw` writes them
        data = {**_loaded(beside), "annotations": data}
    lists = {"images", "annotations", "categories"}
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise DataFault(
            f"{file} is no COCO JSON: it needs the lists images, annotations, categories.", "Add them."
        )
    return data


class CocoIds(NamedTuple):
    """The numbers that a COCO file gives to its images and classes.

    Attributes:
        file: The file.
        root: Folder that the images' paths are relative to.
        images: Path -> number.
        categories: Name -> number.
    """

    file: Path
    root: Path
    images: dict[str, Any]
    categories: dict[str, Any]

    def of_image(self, path: Path) -> Any:
        """The number of an image: by its path below the root, else by its name where only one has it; else None."""
        place, root = path.resolve(), self.root.resolve()
        if place.is_relative_to(root) and (own := place.relative_to(root).as_posix()) in self.images:
            return self.images[own]
        named = [number for known, number in self.images.items() if known.rsplit("/", 1)[-1] == path.name]
        return named[0] if len(named) == 1 else None

    def of_classes(self, names: Sequence[str]) -> tuple[list[Any], list[str]]:
        """The numbers of classes, matched as `tlkit evaluate` does it, and those that the file lacks.

        The latter get numbers beyond its largest.
        """
        known = list(self.categories)
        free = max((number for number in self.categories.values() if isinstance(number, int)), default=0) + 1
        places = [place_of(name, known) for name in names]
        lacking = [name for name, place in zip(names, places, strict=True) if place < 0]
        numbers = [
            self.categories[known[place]] if place >= 0 else free + lacking.index(name)
            for name, place in zip(names, places, strict=True)
        ]
        return numbers, lacking


def read_coco_ids(file: Path) -> CocoIds:
    """The numbers of a COCO file's images and classes, as they stand there.

    Raises:
        DataFault: It is no COCO JSON.
    """
    data, folder = _loaded(file), folder_of(file)
    categories = _categories(file, data)
    paths, _ = _paths(Finder(Annotations("COCO", folder, [])), file, data, None)
    images = {
        path or "/".join(tail(str(_get(entry, "file_name")))): _get(entry, "id")
        for path, entry in zip(paths, data["images"], strict=True)
    }
    numbers = {categories[_identity(entry, "id")]: _get(entry, "id") for entry in data["categories"]}
    return CocoIds(file, folder, images, numbers)


def folder_of(file: Path) -> Path:
    """The source of one annotation file: its folder, or the one above where that is for annotations."""
    return file.parent.parent if is_label_folder(file.resolve().parent.name) else file.parent


def _get(entry: Any, key: str) -> Any:
    """A number or text of an entry; nothing where there is something else, which could not be a key."""
    value = entry.get(key, "") if isinstance(entry, dict) else ""
    return value if isinstance(value, (str, int, float)) else ""


def _folders(file: Path, folder: Path) -> tuple[str, ...]:
    """The folders of a file below the source, outermost first."""
    return file.relative_to(folder).parts[:-1]


def _paths(
    finder: Finder, file: Path, data: dict[str, Any], part: str | None
) -> tuple[list[str | None], str]:
    """The paths of a file's images, None for those that are not there; and the folder that their names are relative to.

    That folder is the one where most of them are, of those that tools use; where names are found elsewhere, it is
    the source.
    """
    rows = [
        (f"{file.name} image {_get(entry, 'id')}", str(_get(entry, "file_name"))) for entry in data["images"]
    ]
    names = [checked_name(row, name) for row, name in rows]
    places = _places(file, finder.folder)
    base = finder.best_place([name.replace("\\", "/") for name in names], places)
    likely = [base, *places] if base is not None else places
    matches = [finder.named(name, likely, part) for name in names]
    every = zip(rows, names, matches, strict=True)
    paths = [finder.take(row, name, match, file.name) for (row, _), name, match in every]
    start = f"{base}/" if base else ""
    return paths, base or "" if all(path.startswith(start) for path in paths if path) else ""


def _places(file: Path, folder: Path) -> list[str]:
    """Folders, relative to the source, that a file's image names can be relative to; the likeliest first.

    Beside the file, and in each folder above it: `<subset>`, `images/<subset>` and the like, where the words of the
    file's name, or of its folders, are the subset.
    """
    inner = _folders(file, folder)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", file.stem)[::-1] if word]
    subsets = dict.fromkeys([*words, file.stem, *(name for name in inner[::-1] if part_named(name))])
    places: list[str] = []
    for depth in range(len(inner), -1, -1):
        above = "/".join(inner[:depth])
        near = [".", *IMAGE_FOLDERS]
        near += [place for s in subsets for place in (s, *(f"{n}/{s}" for n in IMAGE_FOLDERS))]
        near += [f"{s}/{n}" for s in subsets for n in IMAGE_FOLDERS]
        places += [normpath(f"{above}/{place}" if above else place) for place in near]
    return ["" if place == "." else place for place in dict.fromkeys(places)]


def _identity(entry: Any, key: str) -> str:
    """A number or text that names something: 1, 1.0 and "1" are one."""
    value = _get(entry, key)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _categories(file: Path, data: dict[str, Any]) -> dict[str, str]:
    """Names by id, in the order of the ids.

    Raises:
        DataFault: One has no id or no name, or an id has two names.
    """
    categories: dict[str, str] = {}
    for index, entry in enumerate(data["categories"]):
        identity, name = _identity(entry, "id"), str(_get(entry, "name")).strip()
        if not identity or not name:
            raise DataFault(
                f"{file} category {index} has no number or no name.", 'Write {"id": 1, "name": "gun"}.'
            )
        if categories.setdefault(identity, name) != name:
            raise DataFault(
                f"{file} has category {identity} twice, as {categories[identity]} and as {name}.",
                "Give every category a number of its own, and its annotations that number.",
            )
    return dict(sorted(categories.items(), key=lambda item: _in_order(item[0])))


def _in_order(identity: str) -> tuple[int, str]:
    return (int(identity), "") if identity.isdecimal() and len(identity) < 20 else (10**20, identity)


def _images(
    finder: Finder, file: Path, data: dict[str, Any], paths: list[str | None], part: str | None
) -> dict[str, Annotated | None]:
    """The images by their id; None for those whose image is not there."""
    found, known = finder.found, finder.known
    images: dict[str, Annotated | None] = {}
    for entry, path in zip(data["images"], paths, strict=True):
        identity = _identity(entry, "id")
        where = f"{file.name} image {identity}"
        if path is None:
            images.setdefault(identity, None)
            continue
        if path in known:
            found.spoil(
                known[path], "duplicate", where, f"{path} is listed twice, first as {known[path].where}"
            )
        else:
            size = stated_size(_get(entry, "width"), _get(entry, "height"))
            known[path] = Annotated(path, where, size=size, part=part)
        _check_identity(found, where, known[path], identity, images)
        images[identity] = known[path]
    return images


def _check_identity(
    found: Annotations, where: str, image: Annotated, identity: str, images: dict[str, Annotated | None]
) -> None:
    """Two images with one id: nobody can tell whose boxes are whose."""
    if not identity:
        found.spoil(image, "image-id", where, f"{image.path} has no id, so that no box can be its own")
    elif identity in images and images[identity] is not image:
        other = images[identity]
        what = (
            f"{image.path} has the id {identity} of {other.path if other else 'an image that is absent'} too"
        )
        found.spoil(image, "image-id", where, f"{what}, and nobody can tell whose box is whose")
        if other:
            found.spoil(other, "image-id", where, f"{other.path} has the id {identity} of {image.path} too")


def _add_annotations(
    found: Annotations,
    file: Path,
    data: dict[str, Any],
    images: dict[str, Annotated | None],
    categories: dict[str, str],
) -> None:
    named = {name: name for name in categories.values()}  # some write the name for the number
    for index, entry in enumerate(data["annotations"]):
        where = f"{file.name} annotation {_identity(entry, 'id') or index}"
        image_id, category = _identity(entry, "image_id"), _identity(entry, "category_id")
        if image_id not in images:
            found.missing_image(where, f"image {image_id} is not listed" if image_id else "it names no image")
        elif (image := images[image_id]) is None:
            continue
        elif category not in categories and category not in named:
            what = f"category {category} is not among the {len(categories)} categories"
            found.spoil(image, "unknown-class", where, what if category else "it has no category")
        else:
            image.add(_record(where, entry, categories.get(category) or named[category]))


def _record(where: str, entry: dict[str, Any], name: str) -> Record:
    corners, written = _corners(entry)
    attributes = entry.get("attributes")
    facts = attributes.items() if isinstance(attributes, dict) else ()
    extras = {name: str(value).strip() for name, value in facts if not isinstance(value, (list, dict))}
    area = number(entry.get("area"))
    if is_outline_area(area, (corners[2] - corners[0]) * (corners[3] - corners[1])):
        extras.setdefault("area", repr(area))
    difficult, crowd = truth(entry.get("ignore")), truth(entry.get("iscrowd"))
    outline = entry.get("segmentation")
    kept = outline if has_outline(outline) else None
    return Record(where, name, corners, difficult, extras, written, crowd, kept)


def _corners(entry: dict[str, Any]) -> tuple[Corners, str]:
    """Left, top, right, bottom, and how the box was written where that is no four numbers."""
    box = entry.get("bbox")
    if not box and box != 0:  # absent, null or []: some tools write the outline only
        return around_coco(entry.get("segmentation")) or NO_BOX, json.dumps(box)
    if not isinstance(box, list) or len(box) != 4:
        return NO_BOX, json.dumps(box)[:80]
    sides = [number(value) for value in box]
    if math.isnan(sum(sides)):
        return NO_BOX, json.dumps(box)[:80]
    return from_sides(*sides), ""


def is_outline_area(area: float, own: float) -> bool:
    """Whether an annotation's area says more than its box: it is not width x height but for rounding."""
    return area > 0 and abs(area - own) > 0.001 * own
