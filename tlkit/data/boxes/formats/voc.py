"""Boxes in Pascal VOC's XML, one file an image.

Numbers are taken as edges, as today's labelling tools write them (right and bottom exclusive, fractions allowed).
Only the VOC data sets themselves count pixels from 1, both ends included; there 1 is taken off left and top.
Of a rotated box (roLabelImg's `<robndbox>`) or a polygon the box around it is taken.

Source: Everingham et al., The Pascal visual object classes (VOC) challenge (2010), and its development kit.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tlkit.data.boxes.formats.annotations import (
    Annotated,
    Annotations,
    Record,
    folder_within,
    listed_names,
    number,
    read_text,
    stated_size,
    truth,
)
from tlkit.data.boxes.formats.declared_parts import absent_note, declare, part_of_path
from tlkit.data.boxes.formats.image_finder import (
    Finder,
    Index,
    Match,
    is_image_folder,
    is_label_folder,
    neighbours,
    tail,
    without_suffix,
)
from tlkit.data.boxes.formats.image_lists import declare_bare_lists
from tlkit.data.boxes.formats.outlines import NO_BOX, Corners, around, around_turned
from tlkit.data.images.dataset import PART_NAMES
from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES
from tlkit.data.images.readers.image_files import files_below
from tlkit.errors import DataFault

MASKS = ("SegmentationClass", "SegmentationObject")  # images of VOC's data sets that are no images
LISTS = ("train", "val", "trainval", "test")  # of ImageSets/Main
MOST_XML = 16_000_000  # bytes
MOST_LEVELS = 100  # VOC has four
# Encodings of more than a byte a letter, which expat leaves to its caller; none of them can hide a declaration.
TEXT_ENCODINGS = frozenset(
    "gbk gb2312 gb18030 cp936 big5 cp950 shift_jis cp932 euc-jp euc-kr cp949".split()  # noqa: SIM905
)
COUNTED_FROM_ONE = re.compile(r"The VOC20\d\d Database")


def parsed_xml(file: Path, most: int = MOST_XML) -> Element:
    """The root element of an XML file that declares no document type and hence no entities.

    Args:
        file: What to read, in the encoding that it declares.
        most: Bytes that such a file can have.

    Raises:
        DataFault: It is no XML, too large, too deep, or declares a document type.
    """
    try:
        contents = file.read_bytes()
    except OSError as fault:
        raise DataFault(f"{file} cannot be read ({fault.strerror}).", "Check the path.") from None
    if len(contents) > most:
        raise DataFault(f"{file} has more than {most // 1_000_000} MB.", "Look at that file.")
    contents, encoding = _decoded(file, contents)

    def refuse(*_declaration: object) -> None:
        # Entities can name other files, or grow to gigabytes.
        raise DataFault(f"{file} declares a document type, which an annotation has no use for.", "Remove it.")

    builder, parser, above = TreeBuilder(), expat.ParserCreate(encoding), [0]

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
        said = ": write it anew, and see that it is saved in the encoding that its first line says"
        raise DataFault(f"{file} is no XML: {fault}.", f"Look at the place{said}.") from None
    return builder.close()


def _decoded(file: Path, contents: bytes) -> tuple[bytes, str | None]:
    """The contents, and the encoding to read them in whatever they declare; None: as they declare."""
    declared = re.match(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""", contents)
    name = declared[1].decode("ascii") if declared else ""
    if name.lower() not in TEXT_ENCODINGS:
        return contents, None
    try:
        return contents.decode(name).encode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        raise DataFault(f"{file} says that it is {name}, and is not.", "Save it as UTF-8.") from None


def voc_files(folder: Path) -> list[Path]:
    """The XML files below a folder: those in Annotations/ or its like at its top, else all."""
    tops = sorted(place for place in folder.iterdir() if place.is_dir() and is_label_folder(place.name))
    for place in [*tops, folder]:
        if paths := [path for path in files_below(place)[0] if path.lower().endswith(".xml")]:
            return [place / path for path in paths]
    return []


def read_voc(files: list[Path], folder: Path) -> Annotations:
    """One XML file an image, in Annotations/ with the images in JPEGImages/ (or images/), or side by side.

    The image of an annotation has its name, or the one that `<filename>` says: beside it, in the folder of images
    that belongs to its own, or, where only one is called so, anywhere below. ImageSets/Main gives parts.

    Args:
        files: The XML files.
        folder: The source; its images without an XML file are unlabelled.

    Raises:
        DataFault: A file is no XML, or an image name leaves the folder.
    """
    finder = Finder(found := Annotations("VOC", folder, [], listed_names(folder)))
    images: list[Annotated] = []
    for file in files:
        where = file.relative_to(folder).as_posix()
        element = parsed_xml(file)
        if element.tag != "annotation":
            continue
        path = _image_path(finder, where, element)
        if path is not None:
            images.append(_image(found, where, path, element))
    _merge_repeated(finder, images)
    finder.close(whole=True)
    found.unlabelled = [path for path in found.unlabelled if not set(MASKS) & set(path.split("/"))]
    _declare_lists(finder)
    tops = {image.path.partition("/")[0] for image in found.images}
    top = tops.pop() if len(tops) == 1 else ""
    found.set_root(folder, top if is_image_folder(top) else "")
    return found


def _image_path(finder: Finder, where: str, element: Element) -> str | None:
    """The path of an annotation's image; None, and a fault, where there is none or where several fit.

    Its own name counts first: `<filename>` is often that of the image before it was renamed.

    Raises:
        DataFault: `<filename>` climbs out of its folder.
    """
    stem, said, part = without_suffix(where), _file_name(where, element), part_of_path(where)
    own = stem.rpartition("/")[2]
    places = list(dict.fromkeys(neighbours(stem.rpartition("/")[0])))
    match = finder.stem(own, places, part)
    if said and not (match.exact and match.paths):
        match = finder.named(said, places, part)
    if not (match.exact and match.paths):
        match = finder.stem(stem, (), part)
    if not match.paths and said:
        match = finder.named(said, places, part)
    if not match.paths and said:
        suffix = PurePosixPath(said).suffix.lower()
        match = finder.stem(without_suffix(said) if suffix in IMAGE_SUFFIXES else said, places, part)
    if len(match.paths) > 1:
        match = _told_apart(match, said, element)
    if len(match.paths) == 1:
        path = match.paths[0]
        stem_fits = without_suffix(path).rpartition("/")[2].casefold() == own.casefold()
        return finder.take(where, where if stem_fits else said, match)
    return finder.take(where, "its image" if match.paths else said or own, match)


def _told_apart(match: Match, said: str, element: Element) -> Match:
    """Of several images the one whose name, or path on another computer, the annotation gives."""
    named = tuple(path for path in match.paths if path.rpartition("/")[2] == said)
    if len(named) == 1:
        return Match(named, match.exact)
    whole = element.findtext("path") or f"{element.findtext('folder') or ''}/{said}"
    return Match(Index(named or match.paths).ending(tail(whole)) or match.paths, match.exact)


def _file_name(where: str, element: Element) -> str:
    """The last piece of `<filename>`; tools write whole paths of other machines, which are not followed.

    Raises:
        DataFault: It climbs out of its folder.
    """
    said = (element.findtext("filename") or "").strip().replace("\\", "/")
    if ".." in said.split("/"):
        raise DataFault(f"{where}: {said} is no path inside the source.", "Give the image's name.")
    return said.rsplit("/", 1)[-1]


def _image(found: Annotations, where: str, path: str, element: Element) -> Annotated:
    size = stated_size(element.findtext("size/width"), element.findtext("size/height"))
    image = Annotated(path, where, size=size)
    first = 1.0 if COUNTED_FROM_ONE.fullmatch((element.findtext("source/database") or "").strip()) else 0.0
    for index, entry in enumerate(element.iterfind("object"), 1):
        place = f"{where} object {index}"
        names = list(dict.fromkeys((name.text or "").strip() for name in entry.iterfind("name")))
        name = names[0] if names else ""
        if len(names) > 1:
            found.spoil(image, "unknown-class", place, f"it has the names {' and '.join(names)}")
        elif found.takes(image, place, name, "it has no name"):
            corners, written = _corners(entry, first)
            # crowd is ours; further facts are as CVAT writes them: attributes/attribute with name and value
            difficult, crowd = (truth(entry.findtext(key)) for key in ("difficult", "crowd"))
            facts = {
                (row.findtext("name") or "").strip(): (row.findtext("value") or "").strip()
                for row in entry.iterfind("attributes/attribute")
            }
            image.add(Record(place, name, corners, difficult, facts, written, crowd))
    return image


def _corners(entry: Element, first: float) -> tuple[Corners, str]:
    """Left, top, right, bottom of an object, and what stands there where that is no box."""
    boxes = {_texts(box, ("xmin", "ymin", "xmax", "ymax")) for box in entry.iterfind("bndbox")}
    turned = {_texts(box, ("cx", "cy", "w", "h", "angle")) for box in entry.iterfind("robndbox")}
    if len(boxes) > 1 or len(turned) > 1:
        return NO_BOX, " and ".join(",".join(texts) for texts in sorted(boxes or turned))
    if boxes:
        texts = boxes.pop()
        left, top, right, bottom = map(number, texts)
        return (left - first, top - first, right, bottom), ",".join(text or "-" for text in texts)
    if turned:
        texts = turned.pop()
        middle_x, middle_y, width, height, angle = map(number, texts)
        return around_turned(middle_x, middle_y, width, height, angle), ",".join(texts)
    points = [point for ring in entry.iterfind("polygon") for point in ring.iter()]
    across, down = ([p.text for p in points if re.fullmatch(rf"{axis}\d*", p.tag)] for axis in "xy")
    return around(across, down), "of no bndbox"


def _texts(box: Element, keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple((box.findtext(key) or "").strip() for key in keys)


def _merge_repeated(finder: Finder, images: list[Annotated]) -> None:
    for image in images:
        first = finder.known.setdefault(image.path, image)
        if first is not image:
            what = f"{image.path} is annotated in {first.where} too"
            finder.found.spoil(first, "duplicate", image.where, what)
            first.records += image.records


def _declare_lists(finder: Finder) -> None:
    """Declare the parts that ImageSets/Main lists, names without suffix, one a line; of each devkit below.

    trainval.txt is for training, but for what val.txt lists, or, where only train.txt is beside it, what that does
    not.

    Raises:
        DataFault: An image is listed in two parts.
    """
    lists_of = re.compile(r"((?:.*/)?ImageSets/Main)/[^/]*\.txt", re.I)
    mains = {finder.folder / match[1] for path in finder.others if (match := lists_of.fullmatch(path))}
    for main in sorted(mains):
        base = folder_within(main.parent, finder.folder)
        lists = {name: _listed(finder, main / f"{name}.txt", base) for name in LISTS}
        both = lists.pop("trainval")
        if lists["train"] and not lists["val"]:
            lists["val"] = [path for path in both if path not in set(lists["train"])]
        taken = {*lists["train"], *lists["val"]}
        lists["train"] += [path for path in both if path not in taken]
        where = main.relative_to(finder.folder).as_posix()
        declare(finder.found, where, {PART_NAMES[name]: paths for name, paths in lists.items()})
    if not finder.found.parts:
        declare_bare_lists(finder)


def _listed(finder: Finder, file: Path, base: str) -> list[str]:
    """The images that a list names; those that are not there are counted in a note."""
    lines = [line.strip() for line in read_text(file).splitlines()] if file.is_file() else []
    places = list(neighbours(f"{base}/Annotations".lstrip("/")))
    paths: list[str] = []
    lost: list[str] = []
    for line in filter(None, lines):
        names = dict.fromkeys([line.strip('"'), re.sub(r"\s+-?[01]$", "", line).strip('"')])
        fits = [match.paths for name in names if (match := finder.stem(name, places)).exact and match.paths]
        fits += [match.paths for name in names if (match := finder.named(name, places)).exact and match.paths]
        paths += fits[0] if fits else ()
        lost += [] if fits else [line]
    if lost:
        where = file.relative_to(finder.folder).as_posix()
        finder.found.notes.append(absent_note(where, lost))
    return paths
