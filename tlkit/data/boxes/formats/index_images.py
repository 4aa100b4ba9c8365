"""Mask images: masks/STEM.png, an index image of one value an object, or masks/STEM/*.png, one image an object.

An index image has 8 or 16 bits or a palette; 0 is background, and 255 (65535 in 16 bits) is void, which belongs to
nothing. Boxes are those around the masks. Classes come from a CSV beside: of all images in `masks.csv` (or any other
name) at the top, beside masks/ or in it, with columns image, value and class, or of one image in masks/STEM.csv. Without
any, all are one class, `object`, or the only one of classes.txt. A table's column box (left top right bottom, with
blanks) is for boxes that are not those around their masks.

Source of the void: the PASCAL VOC challenge's SegmentationObject, Everingham et al. (2010).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    files_like,
    listed_names,
    number,
    truth,
)
from tlkit.data.boxes.formats.coco import is_outline_area
from tlkit.data.boxes.formats.declared_parts import part_named
from tlkit.data.boxes.formats.image_finder import (
    IMAGE_FOLDERS,
    Finder,
    Index,
    is_image_folder,
    without_suffix,
)
from tlkit.data.boxes.formats.outlines import NO_BOX
from tlkit.data.boxes.formats.tables import SPELLINGS, header_of, table
from tlkit.data.boxes.masks.drawing import UndrawnMask
from tlkit.data.boxes.masks.images import objects_in
from tlkit.data.boxes.masks.rle import Mask, area, box
from tlkit.data.images.readers.image_files import files_below, is_named_image
from tlkit.errors import DataFault

MASKS, TABLE, ONLY = "masks", "masks.csv", "object"
VALUES = ("value", "instance", "instance_id", "index", "object", "object_id", "id", "mask")
FILES = (*SPELLINGS["image"], "file", "stem", "image_id")
FLAGS = {"difficult", "crowd"}


class MaskFiles(NamedTuple):
    """The mask images of one image.

    Attributes:
        stem: Path of the image below its folder, without suffix.
        files: Paths below the source; one, or one an object.
        each: One an object.
    """

    stem: str
    files: list[str]
    each: bool


# --- which files are masks ---


def mask_folders(folder: Path) -> list[str]:
    """The folders of mask images, POSIX, relative to a source: masks/, or one in each folder that names a part.

    One counts where an image of a mask's name lies beside it or in a folder of images beside it, so that a class
    called masks stays one.
    """
    places = [""] + [f"{one.name}/" for one in _folders(folder) if part_named(one.name)]
    found = [
        f"{place}{one.name}"
        for place in places
        for one in _folders(folder / place)
        if one.name.casefold() == MASKS
    ]
    return [one for one in found if _has_its_images(folder, one)]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return []


def _has_its_images(folder: Path, masks: str) -> bool:
    above = (folder / masks).parent
    beside = [above, *(one for one in _folders(above) if is_image_folder(one.name))]
    stems = {
        without_suffix(path).casefold()
        for place in beside
        for path in (files_below(place)[0] if place != above else (file.name for file in place.glob("*")))
        if is_named_image(path)
    }
    own = [path for path in files_below(folder / masks)[0] if is_named_image(path)]
    return any(not stems.isdisjoint(_stems_of(path)) for path in own)


def _stems_of(path: str) -> tuple[str, str]:
    """The stems of the images that a mask file below masks/ can be of: its own, or its folder."""
    return without_suffix(path).casefold(), path.rpartition("/")[0].casefold()


def mask_paths(folder: Path) -> set[str]:
    """The files of a source, POSIX, relative to it, that are mask images and no images to learn from."""
    return {f"{one}/{path}" for one in mask_folders(folder) for path in files_below(folder / one)[0]}


# --- reading ---


def read_mask_images(folder: Path) -> Annotations:
    """Every image that has mask images; others are unlabelled.

    Raises:
        DataFault: A CSV beside them cannot be read.
    """
    folders = mask_folders(folder)
    finder = Finder(found := Annotations(MASKS, folder, [], listed_names(folder)))
    masks = tuple(f"{one}/" for one in folders)
    finder.images = [path for path in finder.images if not path.startswith(masks)]
    images = Index(finder.images, stems=True)
    for one in folders:
        above = one.rpartition("/")[0]
        places = [above, *(f"{above}/{name}".lstrip("/") for name in IMAGE_FOLDERS)]
        classes = Classes(folder, above, one, found.class_names)
        for files in _grouped(finder, one, images, places):
            where = files.files[0] if not files.each else files.files[0].rpartition("/")[0]
            path = finder.take(where, files.stem, finder.file(images, files.stem, places))
            if path is not None:
                _add_image(finder, folder, path, where, files, classes)
    finder.close(whole=True)
    tops = {path.split("/")[0] for path in finder.images if "/" in path}
    inner = len(tops) == 1 and all("/" in path for path in finder.images)
    found.set_root(folder, tops.pop() if inner and is_image_folder(next(iter(tops))) else "")
    return found


def _grouped(finder: Finder, masks: str, images: Index, places: list[str]) -> Iterator[MaskFiles]:
    """The mask files of each image: a folder is one of objects where an image has its name, none the file."""
    each: dict[str, list[str]] = {}
    below = [path for path in files_below(finder.folder / masks)[0] if is_named_image(path)]
    for path in below:
        stem, above = without_suffix(path), path.rpartition("/")[0]
        known = [any(images.at(finder.inner(place, name)) for place in places) for name in (stem, above)]
        if known[1] and not known[0]:
            each.setdefault(above, []).append(f"{masks}/{path}")
        else:
            yield MaskFiles(stem, [f"{masks}/{path}"], each=False)
    for stem, files in each.items():
        yield MaskFiles(stem, sorted(files, key=_natural), each=True)


def _natural(path: str) -> tuple[int, str]:
    """The order of objects: 2 before 10."""
    stem = without_suffix(path).rpartition("/")[2]
    return (int(stem), path) if stem.isdecimal() and len(stem) < 20 else (10**20, path)


def _add_image(
    finder: Finder, folder: Path, path: str, where: str, files: MaskFiles, classes: Classes
) -> None:
    found, known = finder.found, finder.known
    if path in known:
        found.spoil(known[path], "duplicate", where, f"{path} has masks in {known[path].where} too")
        return
    image = known[path] = Annotated(path, where, exact=True)
    for file in files.files:
        try:
            objects, size = objects_in(folder / file, each=files.each)
        except UndrawnMask as fault:
            found.spoil(image, fault.kind, file, fault.what)
            continue
        if image.size is not None and size != image.size:
            what = f"is of {size[0]}x{size[1]} pixels, and {image.size[0]}x{image.size[1]} has another mask of {path}"
            found.spoil(image, "mask-size", file, what)
            continue
        image.size = size
        for value, mask in objects.items():
            _add_object(found, image, file, value, mask, classes.of(files, file, value))
    if not files.each and not image.spoiled:
        _check_listed(found, image, where, classes.values_of(files), len(image.records))


def _add_object(
    found: Annotations, image: Annotated, file: str, value: int, mask: Mask, row: dict[str, str] | None
) -> None:
    where = f"{file} object {value}" if value else file
    if row is None:
        found.spoil(image, "unknown-class", where, "it has no row in the CSV of classes beside the masks")
        return
    if not found.takes(image, where, row["class"], "its row in the CSV of classes has no class"):
        return
    left, top, right, bottom = box(mask) or (0, 0, 0, 0)
    corners = (float(left), float(top), float(right), float(bottom))
    written = row.get("box", "").split()
    if written:  # another than the mask's own
        said = [*map(number, written), *NO_BOX][:4]
        corners = said[0], said[1], said[2], said[3]
    extras = {key: text for key, text in row.items() if key not in {"class", "box", *FLAGS}}
    pixels, around = float(area(mask)), (right - left) * (bottom - top)
    if not extras.get("area"):
        extras.pop("area", None)  # a table with that column has it blank where a box had none
        if "area" not in row and is_outline_area(pixels, around):  # as of COCO's outlines
            extras["area"] = repr(pixels)
    flags = truth(row.get("difficult")), truth(row.get("crowd"))
    image.add(Record(where, row["class"], corners, flags[0], extras, "", flags[1], mask))


def _check_listed(found: Annotations, image: Annotated, where: str, listed: set[int], number: int) -> None:
    """Values that the CSV names and the image does not have: 8 bits hold 254 objects, and more become others."""
    lost = sorted(listed - {int(record.where.rpartition(" ")[2]) for record in image.records})
    if lost:
        what = f"has {number} objects, and the CSV of classes names object {lost[0]} too, which no pixel has"
        found.spoil(image, "mask-values", where, what)


# --- classes ---


class Classes:
    """What CSV files beside mask images say of their objects.

    Args:
        folder: The source.
        above: The folder of `masks`, relative to it.
        masks: The folder of mask images, relative to it.
        names: The classes of classes.txt, or None.
    """

    def __init__(self, folder: Path, above: str, masks: str, names: tuple[str, ...] | None) -> None:
        self.folder, self.above, self.masks = folder, above, masks
        self.only = names[0] if names and len(names) == 1 else ONLY
        # Stem of an image -> value -> row; as written, and by other names of the same image.
        self.rows: dict[str, dict[str, dict[str, str]]] = {}
        self.alike: dict[str, dict[str, dict[str, str]]] = {}
        self._owning: dict[str, bool] = {}
        tables = [
            file
            for place in dict.fromkeys(("", above, masks))
            for file in files_like(folder / place, "*.csv")
        ]
        taken = [self._take(file) for file in tables]
        self.all = any(taken)

    def _take(self, file: Path, stem: str | None = None) -> bool:
        """Add the rows of a table, if it is one of objects; those without an image are those of `stem`.

        Raises:
            DataFault: An object has two classes.
        """
        columns = _columns(header_of(file), of_one=stem is not None)
        if not {"class", "value"} <= columns.keys() or (stem is None and "image" not in columns):
            return False
        for where, row in table(file):
            said = {key: text for key, text in row.items() if key not in {*columns.values()}}
            image = row[columns["image"]] if "image" in columns else stem or ""
            value, entry = _plain(row[columns["value"]]), {**said, "class": row[columns["class"]]}
            first, *others = _stems(image, self.above)
            if self.rows.setdefault(first, {}).setdefault(value, entry)["class"] != entry["class"]:
                raise DataFault(
                    f"{where}: object {value} of {image or stem} has another class above.",
                    "Keep one of both lines.",
                )
            for other in others:
                self.alike.setdefault(other, {}).setdefault(value, entry)
        return True

    def of(self, files: MaskFiles, file: str, value: int) -> dict[str, str] | None:
        """The row of an object; that of the only class where no table is for its image; None where it has none."""
        if not (self._own(files) or self.all):
            return {"class": self.only}
        name = str(value) if value else without_suffix(file).rpartition("/")[2]
        return self._rows(files).get(_plain(name))

    def values_of(self, files: MaskFiles) -> set[int]:
        """The values that tables name of an image's objects."""
        self._own(files)
        return {int(value) for value in self._rows(files) if value.isdecimal()}

    def _rows(self, files: MaskFiles) -> dict[str, dict[str, str]]:
        stem = files.stem.casefold()
        return self.rows.get(stem) or self.alike.get(stem) or {}

    def _own(self, files: MaskFiles) -> bool:
        """Take a table of one image, masks/STEM.csv or any in masks/STEM/, once; whether there is one."""
        if files.stem not in self._owning:
            base = self.folder / self.masks / files.stem
            tables = [base.with_name(f"{base.name}.csv"), *(files_like(base, "*.csv") if files.each else [])]
            taken = [self._take(file, files.stem) for file in tables if file.is_file()]
            self._owning[files.stem] = any(taken)
        return self._owning[files.stem]


def _columns(header: list[str], *, of_one: bool) -> dict[str, str]:
    """What each column of a table of objects is -> its name; of one image's, a file is that of an object."""
    known = {name.casefold(): name for name in reversed(header)}
    wanted = {"class": SPELLINGS["class"], "value": VALUES, "image": FILES}
    found = {
        what: known[one]
        for what, names in wanted.items()
        if (one := next((n for n in names if n in known), ""))
    }
    if of_one and "value" not in found and "image" in found:
        found["value"] = found.pop("image")
    return found


def _stems(image: str, above: str) -> list[str]:
    """What an image may be called below its folder, likeliest first: images/1, 1 of images/1.png.

    Args:
        image: As written; with or without suffix.
        above: The folder of masks/, which a name may begin with.
    """
    plain = image.replace("\\", "/").removeprefix("./")
    plain = (without_suffix(plain) if is_named_image(plain) else plain).casefold()
    inner = plain.removeprefix(f"{above}/".casefold()) if above else plain
    first, _, rest = inner.partition("/")
    last = rest if rest and (is_image_folder(first) or first == MASKS) else inner
    return list(dict.fromkeys((plain, inner, last)))


def _plain(value: str) -> str:
    """The value of an object, or the name of its file, as it is looked for: 7 of 07, 7.0 and 7.png."""
    name = (without_suffix(value) if is_named_image(value) else value).strip()
    whole = re.fullmatch(r"0*(\d+)(\.0+)?", name)
    return whole[1] if whole else name.casefold()
