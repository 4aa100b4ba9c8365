"""Splits that YOLO's data.yaml, Darknet's obj.data and lists of images (train.txt) declare.

An entry is a folder, a list of folders, or a text file with one image a line. Its paths are relative to the file, to
what its `path:` says, or to another computer, of which the tail is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from posixpath import normpath

from tlkit.data.boxes.formats.annotations import files_like, folder_within, read_text
from tlkit.data.boxes.formats.data_yaml import yaml_texts
from tlkit.data.boxes.formats.declared_parts import absent_note, declare
from tlkit.data.boxes.formats.image_finder import Finder, Index, tail
from tlkit.data.images.dataset import PART_NAMES
from tlkit.errors import DataFault

KEYS = ("train", "val", "valid", "validation", "test")
DATA_FILES = ("*.data", "*/*.data")


def declare_parts(finder: Finder, source: Path) -> None:
    """Note the parts that the source's files declare: data.yaml, else obj.data, else train.txt and its like.

    Args:
        finder: Of the source.
        source: The file that names the classes; data.yaml is one.

    Raises:
        DataFault: Two parts share some of their images, or a line of a list could be several.
    """
    file, entries = declared(finder.folder, source)
    if file is None:
        declare_bare_lists(finder)
        return
    inside = file.is_relative_to(finder.folder)
    where = file.relative_to(finder.folder).as_posix() if inside else file.name
    places = places_of(file, finder.folder, entries.get("path", []))
    lists = _Lists(finder, where, places)
    parts: dict[str, list[str]] = {}
    for key in KEYS:
        for entry in entries.get(key, []):
            parts.setdefault(PART_NAMES[key], []).extend(lists.images(key, entry))
    declare(finder.found, where, parts)


def declared(folder: Path, source: Path) -> tuple[Path | None, dict[str, list[str]]]:
    """The file that declares parts, and its entries by key; None where no file does."""
    if source.suffix in {".yaml", ".yml"}:
        text = read_text(source)
        entries = {key: yaml_texts(text, key) for key in (*KEYS, "path")}
        if any(entries[key] for key in KEYS):
            return source, entries
    for pattern in DATA_FILES:
        for file in files_like(folder, pattern):
            rows = dict(re.findall(r"^[ \t]*(\w+)[ \t]*=[ \t]*(.*\S)", read_text(file), re.M))
            if "train" in rows:
                return file, {key: [value] for key, value in rows.items()}
    return None, {}


def source_of(file: Path) -> tuple[Path, str | None]:
    """The folder that a named data.yaml speaks of, and a sentence about a `path:` that is not followed.

    That is what its `path:` points to, from the file or from the current folder, if it lies below one of the two;
    else the file's own folder.

    Raises:
        DataFault: The file cannot be read.
    """
    here = file.parent.resolve()
    said = next(iter(yaml_texts(read_text(file), "path")), "")
    if not said:
        return file.parent, None
    wanted = [place for above in (here, Path.cwd()) if (place := (above / said).resolve()).is_dir()]
    inside = [place for place in wanted if place.is_relative_to(here) or place.is_relative_to(Path.cwd())]
    for place in inside:
        if any(_has_entry(place, entry) for key in KEYS for entry in yaml_texts(read_text(file), key)):
            return (file.parent if place == here else place), None
    if wanted and not inside:
        return file.parent, (
            f"{file.name}: path: {said} lies outside {file.parent} and the current folder, and is not opened."
        )
    return file.parent, None


def _has_entry(folder: Path, entry: str) -> bool:
    """Whether an entry, `../` at its head dropped where it leads nowhere, is there below a folder."""
    inner = "/".join(tail(entry))
    return any(
        (place := folder / name).exists() and place.resolve().is_relative_to(folder)
        for name in (entry, inner)
    )


def places_of(file: Path, folder: Path, path: Sequence[str]) -> list[str]:
    """What entries of a file can be relative to, below the source: its `path:`, its folder, and the source."""
    inside = file.parent.resolve().is_relative_to(folder.resolve())
    own = file.parent.resolve().relative_to(folder.resolve()).as_posix() if inside else "."
    climbed = [normpath(f"{above}/{p}") for p in path for above in (own, ".")]
    places = [place for place in (*climbed, own, ".") if not place.startswith(("..", "/"))]
    return ["" if place == "." else place for place in dict.fromkeys(places)]


def declare_bare_lists(finder: Finder) -> None:
    """Lists called train.txt, val.txt and test.txt at the top of the source, whose lines are images of it.

    Args:
        finder: Of the source.

    Raises:
        DataFault: As for `declare_parts`.
    """
    parts: dict[str, list[str]] = {}
    names = []
    for key in KEYS:
        for file in [
            f for above in ("", "ImageSets/") for f in files_like(finder.folder, f"{above}{key}.txt")
        ]:
            paths, _ = _Lists(finder, file.name, [""]).of_file(file)
            parts.setdefault(PART_NAMES[key], []).extend(paths)
            names += [file.name] if paths else []
    declare(finder.found, " and ".join(names), parts)


class _Lists:
    """The images that entries of one file name."""

    def __init__(self, finder: Finder, where: str, places: list[str]) -> None:
        self.finder, self.where, self.places = finder, where, places
        self.texts = Index(path for path in finder.others if path.lower().endswith(".txt"))

    def images(self, key: str, entry: str) -> list[str]:
        """The images of one entry; a note where it names none."""
        said = f"{self.where}: {key}: {entry}"
        if entry.lower().endswith(".txt"):
            return self._of_list(said, entry)
        folder = re.sub(r"/?\*[^/]*$", "", entry)
        match = self.finder.folders(folder, self.places, PART_NAMES[key])
        if len(match.paths) == 1:
            return self.finder.below(match.paths[0])
        self._lost(said, folder, match.paths)
        return []

    def _of_list(self, said: str, entry: str) -> list[str]:
        files = self.finder.file(self.texts, entry, self.places).paths
        if len(files) != 1:
            self._lost(said, entry, files)
            return []
        paths, lost = self.of_file(self.finder.folder / files[0])
        if lost:
            self.finder.found.notes.append(absent_note(files[0], lost))
        return paths

    def _lost(self, said: str, entry: str, several: Sequence[str]) -> None:
        if several:
            why = f"could be {several[0]} or {several[1]}"
        elif self.finder.lies_elsewhere(entry, self.places):
            why = "lies outside the source and is not opened"
        else:
            why = "has no images in the source"
        self.finder.found.notes.append(f"{said} {why}: it declares no part.")

    def of_file(self, file: Path) -> tuple[list[str], list[str]]:
        """The images that a list names, and the lines that name none.

        Raises:
            DataFault: A line could be several.
        """
        places = list(dict.fromkeys([folder_within(file, self.finder.folder), *self.places]))
        paths: list[str] = []
        lost: list[str] = []
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if not line.strip():
                continue
            fits = self.finder.named(line, places).paths or self.finder.stem(line, places).paths
            if len(fits) > 1:
                raise DataFault(
                    f"{file.name} line {number}: {line.strip()} could be {fits[0]} or {fits[1]}.",
                    "Write its path below the source.",
                )
            paths += fits
            lost += [] if fits else [line.strip()]
        return paths, lost
