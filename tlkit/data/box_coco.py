"""Boxes in COCO's JSON: images, categories and annotations, in one file or one for each part.

Source: Lin et al., Microsoft COCO: common objects in context (2014); https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import normpath
from typing import Any

from tlkit.data.box_finder import IMAGE_FOLDERS, Finder, checked_name, files_like, set_root
from tlkit.data.box_parts import part_named, part_of_file, settled
from tlkit.data.box_records import (
    Annotated,
    Annotations,
    Fault,
    Record,
    is_hidden,
    number,
    read_text,
    truth,
)
from tlkit.errors import DataFault

MOST_JSON = 2_000_000_000  # bytes


def is_coco(file: Path) -> bool:
    """Whether a JSON file's first lines look like boxes in COCO's form: it is an object that has images."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.read(4096)
    return head.lstrip().startswith("{") and not re.search(r"^(captions|panoptic|stuff)_", file.name)


PLACES = ("*.json", "annotations/*.json", "*/*.json", "*/annotations/*.json", "*/labels/*.json")


def coco_files(folder: Path) -> list[Path]:
    """The annotation files of a folder: at its top, in annotations/, or one in each of its folders."""
    for pattern in PLACES:
        seen = [file for file in files_like(folder, pattern) if not is_hidden(file.relative_to(folder))]
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

    Crowds count as difficult. An area that is not the box's own (COCO measures the object's outline) and attributes
    become box columns.

    Args:
        files: The annotation files.
        folder: The source; of several files all pictures lie below it.
        whole: Pictures beside the listed ones that no file lists are unlabelled.

    Raises:
        DataFault: A file is no COCO JSON.
    """
    found, finder = Annotations("COCO", folder, [], ()), Finder(folder)
    names: list[str] = []
    bases: dict[str, None] = {}
    listed: dict[str, list[str]] = {}
    for file in files:
        data = _loaded(file)
        part = part_of_file(file.name, _folders(file, folder)) if len(files) > 1 else None
        paths, base = _paths(found, finder, file, data, part)
        bases[base] = None
        categories = _categories(file, data)
        names += [name for _, name in sorted(categories.items()) if name not in names]
        images = _images(found, file, data, paths, part)
        _add_annotations(found, file, data, images, categories)
        beside = finder.below(base) if whole else []
        found.unlabelled += beside
        if part:
            listed.setdefault(part, []).extend(path for path in paths if path)
            found.parts.update(dict.fromkeys(beside, part))
    found.class_names = tuple(names)
    found.parts.update(settled(f"{folder.name}'s COCO files", listed, twice=False)[0])
    known = {image.path for image in found.images} | finder.doubtful
    found.unlabelled = sorted({path for path in found.unlabelled if path not in known})
    finder.tell(found)
    set_root(found, folder, next(iter(bases)) if len(files) == 1 else "")
    return found


def _loaded(file: Path) -> dict[str, Any]:
    try:
        text = read_text(file, MOST_JSON)
        data = json.loads(text)
        if "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode("utf-8")  # half of a pair of surrogates is no text
    except (ValueError, RecursionError) as fault:  # ValueError: also a whole number of more than 4,300 digits
        raise DataFault(f"{file} is no JSON: {fault}.", "Write it anew.") from None
    lists = {"images", "annotations", "categories"}
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise DataFault(
            f"{file} is no COCO JSON: it needs the lists images, annotations, categories.", "Add them."
        )
    return data


def _get(entry: Any, key: str) -> Any:
    """A number or text of an entry; nothing where there is something else, which could not be a key."""
    value = entry.get(key, "") if isinstance(entry, dict) else ""
    return value if isinstance(value, (str, int, float)) else ""


def _folders(file: Path, folder: Path) -> tuple[str, ...]:
    """The folders of a file below the source, outermost first."""
    return file.relative_to(folder).parts[:-1]


def _paths(
    found: Annotations, finder: Finder, file: Path, data: dict[str, Any], part: str | None
) -> tuple[list[str | None], str]:
    """The paths of a file's images, None for those that are not there; and the folder that their names are relative to.

    That folder is the one where most of them are, of those that tools use; where names are found elsewhere, it is
    the source.
    """
    rows = [(f"image {_get(entry, 'id')}", str(_get(entry, "file_name"))) for entry in data["images"]]
    names = [checked_name(f"{file.name} {row}", name) for row, name in rows]
    places = _places(file, finder.folder)
    base = finder.best_place([name.replace("\\", "/") for name in names], places)
    likely = [base, *places] if base is not None else places
    matches = [finder.named(name, likely, part) for name in names]
    every = zip(rows, names, matches, strict=True)
    paths = [finder.take(found, file.name, row, name, match) for (row, _), name, match in every]
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
    found: Annotations, file: Path, data: dict[str, Any], paths: list[str | None], part: str | None
) -> dict[Any, Annotated | None]:
    """The images by their number; None for those whose picture is not there."""
    known = {image.path: image for image in found.images}
    images: dict[Any, Annotated | None] = {}
    for entry, path in zip(data["images"], paths, strict=True):
        where = f"{file.name} image {_get(entry, 'id')}"
        if path is None:
            images[_get(entry, "id")] = None
        elif path in known:
            found.faults.append(
                Fault("duplicate", where, f"{path} is listed twice", "its boxes are put together")
            )
            images[_get(entry, "id")] = known[path]
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
    ignored = truth(entry.get("iscrowd")) or truth(entry.get("ignore"))
    return Record(where, name, (left, top, left + width, top + height), ignored, extras)


def is_outline_area(area: float, own: float) -> bool:
    """Whether an annotation's area says more than its box: it is not width x height but for rounding."""
    return area > 0 and abs(area - own) > 0.001 * own
