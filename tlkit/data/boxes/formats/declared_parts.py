"""Train, validation and test parts that a source declares: by names of folders and files, or by lists.

What is declared is honoured. Where it cannot be, a sentence says why; nothing is split anew in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tlkit.core.text import count
from tlkit.data.boxes.formats.annotations import Annotations
from tlkit.data.images.dataset import PART_NAMES, PARTS, TRAINING
from tlkit.errors import DataFault

# trainval: training and validation in one list, as VOC and COCO publish it.
BY_WORD = {**PART_NAMES, "trainval": TRAINING}
_KNOWN = "|".join(sorted(BY_WORD, key=len, reverse=True))
_BESIDE = r"(?:obj|images?|imgs?|pictures|labels?|annotations?|jpegimages|data|dataset|set|split|subset)?"
_FOLDER = re.compile(rf"{_BESIDE}[ _-]*({_KNOWN})[ _-]*{_BESIDE}[ _-]*\d{{0,4}}", re.I)


def part_named(folder: str) -> str | None:
    """The part that the name of one folder says: train, val2017, obj_train_data, test_images; None for others."""
    match = _FOLDER.fullmatch(folder)
    return BY_WORD[match[1].lower()] if match else None


def part_said(where: str, text: str | None) -> str | None:
    """The part that a cell of a table names; None for an empty one.

    Raises:
        DataFault: It names none; `where` is the file and the line.
    """
    split = (text or "").lower()
    if split and split not in PART_NAMES:
        raise DataFault(f"{where}: split {split} is unknown.", "Use training, validation or test.")
    return PART_NAMES.get(split)


def part_of_path(path: str) -> str | None:
    """The part that the folders of a POSIX path name, if they name one."""
    named = {part for folder in path.split("/")[:-1] if (part := part_named(folder))}
    return named.pop() if len(named) == 1 else None


def part_of_file(name: str, folders: Iterable[str] = ()) -> str | None:
    """The part that an annotation file's name says (instances_train2017.json), else the nearest of its folders."""
    words = re.findall(r"[a-z]+", name.rpartition(".")[0].lower())
    said = next((part for word in words if (part := BY_WORD.get(word))), None)
    return said or next((part for folder in reversed(list(folders)) if (part := part_named(folder))), None)


def declare(
    found: Annotations, where: str, lists: Mapping[str, Iterable[str]], *, twice: bool = True
) -> None:
    """Note the part of each path that lists declare, and sentences about those that say nothing of their own.

    Args:
        found: Gets the parts and the notes.
        where: What declares them, for messages.
        lists: Part -> paths.
        twice: Two parts of exactly the same images are one, as in examples that evaluate on what they train on.

    Raises:
        DataFault: Two parts share some of their images, or, without `twice`, all.
    """
    given: dict[str, str] = {}
    earlier: dict[str, set[str]] = {}
    notes = []
    for part in PARTS:
        paths = set(lists.get(part, ()))
        same = next((other for other, known in earlier.items() if known == paths), None)
        if paths and same and twice:
            notes.append(f"{where}: {same} and {part} are the same images, which count as {same}.")
            continue
        both = sorted(paths & given.keys())
        if both:
            raise DataFault(
                f"{where}: {count(len(both), 'image')} both in {given[both[0]]} and in {part}, such as {both[0]}.",
                "Take what is in both out of one of them.",
            )
        if paths:
            earlier[part] = paths
        given.update(dict.fromkeys(paths, part))
    if notes and len(earlier) == 1:
        given, notes = {}, [f"{where}: all parts are the same images, which is no split."]
    found.parts.update(given)
    found.notes += notes


def absent_note(file: str, lost: Sequence[str]) -> str:
    """The sentence about lines of a list that name no image of the source."""
    are = "is" if len(lost) == 1 else "are"
    return f"{file} lists {count(len(lost), 'image')} that {are} not there, such as {lost[0]}."


def give_declared_parts(annotations: Annotations) -> None:
    """Give every image the part that the source's lists declare for its path; one that it has of itself stays."""
    for image in annotations.images:
        image.part = image.part or annotations.parts.get(image.path)


def give_parts_of_folders(annotations: Annotations) -> None:
    """Give images without a part the one that the folders of their path name.

    Only where training is among the parts: a folder of nothing but test images is a set like any other, which a
    note says.
    """
    images = annotations.images
    named = [part_of_path(image.path) for image in images]
    if not any(named):
        return
    if TRAINING not in {*named, *(image.part for image in images)}:
        said = " and ".join(part for part in PARTS if part in named)
        if not any(image.part for image in images):
            annotations.notes.append(
                f"Folders name {said}, and no training: their names do not count as parts."
            )
        return
    for image, part in zip(images, named, strict=True):
        image.part = image.part or part
