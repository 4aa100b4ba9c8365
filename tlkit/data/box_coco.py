"""Boxes in COCO's JSON: images, categories and annotations, in one file or one for each part.

Source: Lin et al., Microsoft COCO: common objects in context (2014); https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.data.box_records import (
    Annotated,
    Annotations,
    Fault,
    Record,
    is_hidden,
    number,
    pictures_below,
    read_text,
    safe_path,
    truth,
)
from tlkit.data.class_names import place_of
from tlkit.data.sources import PART_NAMES
from tlkit.errors import DataFault

IMAGES_BESIDE = "images.json"  # what resolves the ids of a list of results beside it
MOST_JSON = 2_000_000_000  # bytes


def is_coco(file: Path) -> bool:
    """Whether a JSON file's first lines look like boxes in COCO's form: it is an object that has images."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.read(4096)
    return head.lstrip().startswith("{") and not re.search(r"^(captions|panoptic|stuff)_", file.name)


def coco_files(folder: Path) -> list[Path]:
    """The annotation files of a folder: at its top, in annotations/, or one in each of its folders."""
    for pattern in ("*.json", "annotations/*.json", "Annotations/*.json", "*/*.json"):
        seen = [file for file in sorted(folder.glob(pattern)) if not is_hidden(file.relative_to(folder))]
        files = [file for file in seen if is_coco(file) and _complete(file)]
        boxes = [file for file in files if file.name.startswith("instances")] or files
        if boxes:
            return boxes
    return []


def _complete(file: Path) -> bool:
    """Whether the keys stand there; a cheap look, for folders may hold any JSON."""
    text = read_text(file, MOST_JSON)
    return all(f'"{key}"' in text for key in ("images", "categories", "annotations"))


def read_coco(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """Images, categories and annotations of one file, or of several, whose names say the part.

    `iscrowd` makes a crowd, `ignore` a difficult object. An area that is not the box's own (COCO measures the
    object's outline) and attributes become box columns.

    Args:
        files: The annotation files.
        folder: The source; of several files all pictures lie below it.
        whole: Pictures beside the listed ones that no file lists are unlabelled.

    Raises:
        DataFault: A file is no COCO JSON.
    """
    several = len(files) > 1
    found = Annotations("COCO", folder, [], ())
    names: list[str] = []
    for file in files:
        data = _loaded(file)
        listed = _listed(file, data)
        base = _base(file, listed)
        found.root = folder if several else base
        prefix = _prefix(base, folder) if several else ""
        categories = _categories(file, data)
        names += [name for _, name in sorted(categories.items()) if name not in names]
        images = _images(found, file, data, [prefix + path for path in listed], _part(file, folder, several))
        _add_annotations(found, file, data, images, categories)
        known = {image.path for image in found.images}
        if whole:
            found.unlabelled += [prefix + p for p in pictures_below(base) if prefix + p not in known]
    found.class_names = tuple(names)
    known = {image.path for image in found.images}
    found.unlabelled = sorted({path for path in found.unlabelled if path not in known})
    return found


def _loaded(file: Path) -> dict[str, Any]:
    try:
        text = read_text(file, MOST_JSON)
        data = json.loads(text)
        if "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode("utf-8")  # half of a pair of surrogates is no text
    except (ValueError, RecursionError) as fault:  # ValueError: also a whole number of more than 4,300 digits
        raise DataFault(f"{file} is no JSON: {fault}.", "Write it anew.") from None
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
    categories: dict[str, int]

    def of_image(self, path: Path) -> Any:
        """The number of a picture: by its path below the root, else by its name where only one has it; else None."""
        place, root = path.resolve(), self.root.resolve()
        if place.is_relative_to(root) and (own := place.relative_to(root).as_posix()) in self.images:
            return self.images[own]
        named = [number for known, number in self.images.items() if known.rsplit("/", 1)[-1] == path.name]
        return named[0] if len(named) == 1 else None

    def of_classes(self, names: Sequence[str]) -> tuple[list[int], list[str]]:
        """The numbers of classes, matched as `tlkit evaluate` does it, and those that the file lacks.

        The latter get numbers beyond its largest.
        """
        known, free = list(self.categories), max(self.categories.values(), default=0) + 1
        places = [place_of(name, known) for name in names]
        lacking = [name for name, place in zip(names, places, strict=True) if place < 0]
        numbers = [
            self.categories[known[place]] if place >= 0 else free + lacking.index(name)
            for name, place in zip(names, places, strict=True)
        ]
        return numbers, lacking


def read_coco_ids(file: Path) -> CocoIds:
    """The numbers of a COCO file's images and classes.

    Raises:
        DataFault: It is no COCO JSON.
    """
    data = _loaded(file)
    listed = _listed(file, data)
    numbers = dict(zip(listed, (_get(entry, "id") for entry in data["images"]), strict=True))
    categories = {name: number for number, name in _categories(file, data).items()}
    return CocoIds(file, _base(file, listed), numbers, categories)


def _listed(file: Path, data: dict[str, Any]) -> list[str]:
    """The safe paths of its images."""
    rows = enumerate(data["images"])
    return [safe_path(f"{file.name} image {index}", str(_get(entry, "file_name"))) for index, entry in rows]


def _get(entry: Any, key: str) -> Any:
    """A number or text of an entry; nothing where there is something else, which could not be a key."""
    value = entry.get(key, "") if isinstance(entry, dict) else ""
    return value if isinstance(value, (str, int, float)) else ""


def _base(file: Path, listed: list[str]) -> Path:
    """The folder that the file's image names are relative to: where most of the first hundred are."""
    tokens = re.split(r"[^A-Za-z0-9]+", file.stem)
    above = [file.parent] + ([file.parent.parent] if file.parent.name.lower() == "annotations" else [])
    near = [place / name for place in above for name in (".", "images", "JPEGImages", *tokens[::-1], "data")]
    places = [Path(place) for place in near if place.is_dir()]
    return max(places, key=lambda place: sum((place / path).is_file() for path in listed[:100]))


def _prefix(base: Path, folder: Path) -> str:
    relative = base.relative_to(folder).as_posix()
    return "" if relative == "." else f"{relative}/"


def _part(file: Path, folder: Path, several: bool) -> str | None:
    """The part that a file's name or folder says, when there are several files."""
    if not several:
        return None
    words = re.findall(r"[a-z]+", file.stem.lower())
    words += [file.parent.name.lower()] if file.parent != folder else []
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), None)


def _categories(file: Path, data: dict[str, Any]) -> dict[int, str]:
    categories = {}
    for index, entry in enumerate(data["categories"]):
        identity, name = _get(entry, "id"), str(_get(entry, "name")).strip()
        if not isinstance(identity, int) or not name:
            raise DataFault(
                f"{file} category {index} has no number or no name.", 'Write {"id": 1, "name": "gun"}.'
            )
        categories[identity] = name
    return categories


def _images(
    found: Annotations, file: Path, data: dict[str, Any], paths: list[str], part: str | None
) -> dict[Any, Annotated | None]:
    """The images by their number; None for those whose picture is not there."""
    known = {image.path: image for image in found.images}
    images: dict[Any, Annotated | None] = {}
    for entry, path in zip(data["images"], paths, strict=True):
        where = f"{file.name} image {_get(entry, 'id')}"
        if path in known:
            found.faults.append(
                Fault("duplicate", where, f"{path} is listed twice", "its boxes are put together")
            )
            images[_get(entry, "id")] = known[path]
        elif not (found.root / path).is_file():
            found.missing_image(where, f"{path} does not exist")
            images[_get(entry, "id")] = None
        else:
            size = (_whole(_get(entry, "width")), _whole(_get(entry, "height")))
            known[path] = images[_get(entry, "id")] = Annotated(path, where, size=size, part=part)
            found.images.append(known[path])
    return images


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and 0 < value < 1e9 else 0


def _add_annotations(
    found: Annotations,
    file: Path,
    data: dict[str, Any],
    images: dict[Any, Annotated | None],
    categories: dict[int, str],
) -> None:
    for index, entry in enumerate(data["annotations"]):
        where = f"{file.name} annotation {_get(entry, 'id') or index}"
        image_id, category = _get(entry, "image_id"), _get(entry, "category_id")
        if image_id not in images:
            found.missing_image(where, f"image {image_id} is not listed")
        elif category not in categories:
            what = f"category {category} is not among the {len(categories)} categories"
            found.faults.append(Fault("unknown-class", where, what, "dropped"))
        elif (image := images[image_id]) is not None:
            image.add(_record(where, entry, categories[category]))


def _record(where: str, entry: dict[str, Any], name: str) -> Record:
    box = entry.get("bbox")
    left, top, width, height = map(number, box if isinstance(box, list) and len(box) == 4 else [None] * 4)
    attributes = entry.get("attributes")
    facts = attributes.items() if isinstance(attributes, dict) else ()
    extras = {name: str(value).strip() for name, value in facts if not isinstance(value, (list, dict))}
    area = number(entry.get("area"))
    if is_outline_area(area, width * height):
        extras.setdefault("area", repr(area))
    corners = (left, top, left + width, top + height)
    return Record(where, name, corners, truth(entry.get("ignore")), extras, truth(entry.get("iscrowd")))


def is_outline_area(area: float, own: float) -> bool:
    """Whether an annotation's area says more than its box: it is not width x height but for rounding."""
    return area > 0 and abs(area - own) > 0.001 * own
