"""Boxes in Pascal VOC's XML, one file an image.

Numbers are taken as edges, as today's labelling tools write them (right and bottom exclusive, fractions allowed).
Only the VOC data sets themselves count pixels from 1, both ends included; there 1 is taken off left and top.

Source: Everingham et al., The Pascal visual object classes (VOC) challenge (2010), and its development kit.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tlkit.data.box_records import (
    Annotated,
    Annotations,
    Fault,
    Record,
    is_hidden,
    name_list,
    number,
    pictures_below,
    read_text,
    truth,
)
from tlkit.data.sources import PART_NAMES
from tlkit.errors import DataFault

ANNOTATION_FOLDERS = ("Annotations", "annotations", "xmls", "xml", "labels")
IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "img")
MOST_XML = 16_000_000  # bytes
MOST_LEVELS = 100  # VOC has four
COUNTED_FROM_ONE = re.compile(r"The VOC20\d\d Database")


def parsed_xml(file: Path) -> Element:
    """The root element of an XML file that declares no document type and hence no entities.

    Raises:
        DataFault: It is no XML, too large, too deep, or declares a document type.
    """
    try:
        contents = file.read_bytes()
    except OSError as fault:
        raise DataFault(f"{file} cannot be read ({fault.strerror}).", "Check the path.") from None
    if len(contents) > MOST_XML:
        raise DataFault(f"{file} has more than {MOST_XML // 1_000_000} MB.", "Look at that file.")

    def refuse(*_declaration: object) -> None:
        # Entities can name other files, or grow to gigabytes.
        raise DataFault(f"{file} declares a document type, which an annotation has no use for.", "Remove it.")

    builder, parser, above = TreeBuilder(), expat.ParserCreate(), [0]

    def start(tag: str, attributes: dict[str, str]) -> None:
        above[0] += 1
        if above[0] > MOST_LEVELS:
            raise DataFault(
                f"{file} has more than {MOST_LEVELS} elements in one another.", "Look at that file."
            )
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        above[0] -= 1
        builder.end(tag)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(contents, True)
    except (expat.ExpatError, ValueError, LookupError) as fault:  # the latter two: an encoding that is none
        raise DataFault(f"{file} is no XML: {fault}.", "Write it anew.") from None
    return builder.close()


def voc_files(folder: Path) -> list[Path]:
    """The XML files of a folder: in Annotations/ or its like, else anywhere below."""
    for place in [folder / name for name in ANNOTATION_FOLDERS if (folder / name).is_dir()] + [folder]:
        files = [file for file in sorted(place.rglob("*.xml")) if not is_hidden(file.relative_to(place))]
        if files:
            return files
    return []


def read_voc(files: list[Path], folder: Path, *, whole: bool) -> Annotations:
    """One XML file an image, in Annotations/ with the pictures in JPEGImages/ (or images/), or side by side.

    The picture of an annotation has its name; where there is none, the one that `<filename>` says. ImageSets/Main
    gives parts.

    Args:
        files: The XML files.
        folder: The source.
        whole: Pictures without an XML file are unlabelled.

    Raises:
        DataFault: A file is no XML, or an image name leaves the folder.
    """
    root = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), folder)
    above = next((folder / n for n in ANNOTATION_FOLDERS if files[0].is_relative_to(folder / n)), None)
    above = above or (root if files[0].is_relative_to(root) else folder)
    names = folder / "classes.txt"
    found = Annotations("VOC", root, [], name_list(names) if names.is_file() else None)
    pictures = list(pictures_below(root))
    index = _Pictures(pictures)
    for file in files:
        where = file.relative_to(folder).as_posix()
        element = parsed_xml(file)
        if element.tag != "annotation":
            continue
        path = index.of(where, file.relative_to(above).with_suffix("").as_posix(), element)
        if path is None:
            said = (element.findtext("filename") or file.stem).strip()
            found.missing_image(where, f"its picture {said} does not exist")
        else:
            found.images.append(_image(found, where, path, element))
    _merge_repeated(found)
    known = {image.path for image in found.images}
    found.unlabelled = [path for path in pictures if path not in known] if whole else []
    _add_parts(found, folder)
    return found


class _Pictures:
    """Finds the picture of an annotation among paths relative to the folder of pictures."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = set(paths)
        self.by_stem: dict[str, list[str]] = {}
        self.by_name: dict[str, list[str]] = {}
        for path in paths:
            self.by_stem.setdefault(path.rsplit(".", 1)[0], []).append(path)
            self.by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)

    def of(self, where: str, stem: str, element: Element) -> str | None:
        """Its path, or None.

        Raises:
            DataFault: The name leaves the folder, or several pictures fit.
        """
        said = _file_name(where, element)
        same = self.by_stem.get(stem, [])
        if len(same) > 1:
            same = [path for path in same if path.rsplit("/", 1)[-1] == said] or same
        # The annotation's own name counts first: <filename> is often that of the picture before it was renamed.
        fits = same or self.by_name.get(said, [])
        if len(fits) > 1:
            raise DataFault(f"{where} could belong to {fits[0]} or {fits[1]}.", "Rename one of them.")
        return fits[0] if fits else None


def _file_name(where: str, element: Element) -> str:
    """The last piece of `<filename>`; tools write whole paths of other machines, which are not followed.

    Raises:
        DataFault: It climbs out of its folder.
    """
    said = (element.findtext("filename") or "").strip().replace("\\", "/")
    if ".." in said.split("/"):
        raise DataFault(f"{where}: {said} is no path inside the source.", "Give the picture's name.")
    return said.rsplit("/", 1)[-1]


def _image(found: Annotations, where: str, path: str, element: Element) -> Annotated:
    width, height = (number(element.findtext(f"size/{side}")) for side in ("width", "height"))
    size = (int(width), int(height)) if width > 0 and height > 0 and width + height < 1e9 else None
    image = Annotated(path, where, size=size)
    first = 1.0 if COUNTED_FROM_ONE.fullmatch((element.findtext("source/database") or "").strip()) else 0.0
    for index, entry in enumerate(element.iterfind("object"), 1):
        place = f"{where} object {index}"
        name = (entry.findtext("name") or "").strip()
        if not name or (found.class_names is not None and name not in found.class_names):
            what = f"class {name} is not in classes.txt" if name else "it has no name"
            found.faults.append(Fault("unknown-class", place, what, "dropped"))
            continue
        left, top, right, bottom = (
            number(entry.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")
        )
        corners = (left - first, top - first, right, bottom)
        difficult, crowd = (
            truth(entry.findtext(key)) for key in ("difficult", "crowd")
        )  # the latter is ours
        image.add(Record(place, name, corners, difficult, _attributes(entry), crowd))
    return image


def _attributes(entry: Element) -> dict[str, str]:
    """Further facts, as CVAT writes them: `<attributes><attribute><name/><value/></attribute></attributes>`."""
    rows = entry.iterfind("attributes/attribute")
    return {(row.findtext("name") or "").strip(): (row.findtext("value") or "").strip() for row in rows}


def _merge_repeated(found: Annotations) -> None:
    first: dict[str, Annotated] = {}
    for image in found.images:
        if image.path not in first:
            first[image.path] = image
            continue
        what = f"{image.path} is annotated in {first[image.path].where} too"
        found.faults.append(Fault("duplicate", image.where, what, "their boxes are put together"))
        first[image.path].records += image.records
    found.images = list(first.values())


def _add_parts(found: Annotations, folder: Path) -> None:
    """The parts that ImageSets/Main lists, names without suffix, one a line."""
    part_of: dict[str, str] = {}
    for name in ("train", "val", "test"):
        file = folder / "ImageSets" / "Main" / f"{name}.txt"
        lines = read_text(file).splitlines() if file.is_file() else []
        part_of.update({line.split()[0]: PART_NAMES[name] for line in lines if line.split()})
    for image in found.images:
        image.part = part_of.get(image.path.rsplit(".", 1)[0])
