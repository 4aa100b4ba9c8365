"""Find the image that an annotation means, below one folder and nowhere else.

Tools write names relative to their own folder, to another computer's root or to nothing, with either slash and any
case. A name is looked for exactly, in each of the places where such a tool puts images, and then by its tail: the
file below the source whose path ends most like it. Two files that fit equally well are no answer: both are named.
Only files that were seen below the folder can be found, so no name and no link leads out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import NamedTuple

from tlkit.core.paths import is_text
from tlkit.core.text import count
from tlkit.data.boxes.formats.annotations import Annotated, Annotations, is_hidden, safe_path
from tlkit.data.boxes.formats.declared_parts import part_of_path
from tlkit.data.images.readers.image_files import files_below, is_named_image
from tlkit.errors import DataFault

IMAGE_FOLDERS = ("images", "jpegimages", "imgs", "img", "pictures", "data")  # as tools call them, in any case
SAMPLE = 200  # names that tell where all of a file's lie
LABEL_FOLDERS = ("labels", "annotations", "annotation", "annots", "xmls", "xml", "txt")


class Match(NamedTuple):
    """The paths that a name could mean: one where it is clear, several where nothing tells.

    Attributes:
        paths: POSIX, relative to the finder's folder.
        exact: Found where the name says, not by its tail.
    """

    paths: tuple[str, ...] = ()
    exact: bool = True


class Index:
    """Paths by themselves and by their last piece, in any case, with or without suffix."""

    def __init__(self, paths: Iterable[str], *, stems: bool = False) -> None:
        self.stems = stems
        self.paths: dict[str, list[str]] = {}
        self.names: dict[str, list[str]] = {}
        for path in paths:
            key = self.key(path)
            self.paths.setdefault(key, []).append(path)
            self.names.setdefault(key.rpartition("/")[2], []).append(path)

    def key(self, path: str) -> str:
        """What a path is known by."""
        return (without_suffix(path) if self.stems else path).casefold()

    def at(self, path: str) -> tuple[str, ...]:
        """Those of exactly this path; in another case only where none has this one."""
        alike = self.paths.get(path.casefold(), [])
        same = [known for known in alike if (without_suffix(known) if self.stems else known) == path]
        return tuple(same or alike)

    def ending(self, pieces: Sequence[str]) -> tuple[str, ...]:
        """Those with this last piece that share most of the pieces before it."""
        if not pieces:
            return ()
        folded = [piece.casefold() for piece in pieces]
        alike = self.names.get(folded[-1], [])
        shared = [_shared(folded, self.key(path).split("/")) for path in alike]
        most = max(shared, default=0)
        best = [path for path, pieces_shared in zip(alike, shared, strict=True) if pieces_shared == most]
        same = [path for path in best if (without_suffix(path) if self.stems else path).endswith(pieces[-1])]
        return tuple(same or best)


def without_suffix(path: str) -> str:
    """`a/1.b` of `a/1.b.png`."""
    above, slash, name = path.rpartition("/")
    return above + slash + (name.rpartition(".")[0] or name)


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many last pieces two paths have in common."""
    number = 0
    for first, second in zip(reversed(one), reversed(other), strict=False):
        if first != second:
            break
        number += 1
    return number


def _tells(pieces: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether what two folders have in common at their ends is all of one of them, or more than `images`."""
    shared = _shared(pieces, folder)
    last = folder[len(folder) - shared :]
    return shared in {len(pieces), len(folder)} or not all(map(is_image_folder, last))


def tail(name: str) -> tuple[str, ...]:
    """The pieces of a name, without a drive, a leading slash, and `..` at its head."""
    plain = re.sub(r"^(?:file:|[A-Za-z]:)", "", name.strip().replace("\\", "/"))
    kept: list[str] = []
    for piece in plain.split("/"):
        if piece == ".." and kept:
            kept.pop()
        elif piece not in {"", ".", ".."}:
            kept.append(piece)
    return tuple(kept)


def leads_out(name: str) -> bool:
    """Whether a name is absolute, has a drive, or climbs."""
    plain = name.strip().replace("\\", "/")
    return plain.startswith("/") or bool(re.match("[A-Za-z]:", plain)) or ".." in plain.split("/")


class Finder:
    """The images below a source, and how to find one.

    Attributes:
        found: What the source's reader found; it gets the faults and notes.
        folder: Where to look.
        images: Sorted POSIX paths of the images below it, hidden ones and links that lead out of it left out.
        others: Those of other files.
        links: Links, of files or folders, that lead out and are not followed.
        doubtful: Images that an annotation could mean beside another.
        known: The annotated images by path, in the order in which they were met.
    """

    def __init__(self, found: Annotations) -> None:
        self.found = found
        self.folder = folder = found.root
        self._top = folder.resolve().as_posix()
        files, links = files_below(folder)
        self.links = {link for link in links if _leads_out(folder / link, folder.resolve())}
        files = [path for path in files if path not in self.links]
        self.images = [path for path in files if is_named_image(path)]
        self.others = [path for path in files if not is_named_image(path)]
        self.doubtful: set[str] = set()
        self.known: dict[str, Annotated] = {}
        self._files, self._stems = Index(self.images), Index(self.images, stems=True)
        self._folders = Index({above for path in self.images for above in folders_above(path)})
        self._far: dict[str, list[tuple[str, str]]] = {}
        self._near: dict[str, set[str]] = {}

    def named(self, name: str, places: Iterable[str] = ("",), part: str | None = None) -> Match:
        """The images that a name with its suffix could mean.

        Args:
            name: As written; either slash separates.
            places: Folders relative to the finder's that it may be relative to, the likeliest first.
            part: The part that the annotation belongs to: folders that name another are passed over.
        """
        return self._match(self._files, name, places, part)

    def file(self, files: Index, name: str, places: Iterable[str] = ("",)) -> Match:
        """As `named`, among other files of the folder."""
        return self._match(files, name, places, None)

    def stem(self, name: str, places: Iterable[str] = ("",), part: str | None = None) -> Match:
        """As `named`, for a name without suffix."""
        return self._match(self._stems, name, places, part)

    def _match(self, index: Index, name: str, places: Iterable[str], part: str | None) -> Match:
        pieces, places = tail(name), list(places)
        plain = name.strip().replace("\\", "/")
        for place in places:
            path = self.inner(place, plain)
            if found := index.at(path) or (self._by_link(path) if index is self._files else ()):
                return Match(found)
        if self.lies_elsewhere(plain, places) or self._is_gone(plain, places):
            return Match()
        alike = index.ending(pieces)
        if not alike and pieces and index is self._files:  # saved in another format since
            alike = self._stems.ending([*pieces[:-1], without_suffix(pieces[-1])]) or self._stems.ending(
                pieces
            )
        fits = tuple(path for path in alike if not part or part_of_path(path) in {None, part})
        return Match(fits, exact=False)

    def _by_link(self, path: str) -> tuple[str, ...]:
        """The path itself where a link within the folder makes it a file of the folder."""
        if path.startswith(("/", "..")) or not is_text(path) or "\0" in path:
            return ()
        file = self.folder / path
        try:
            inside = file.is_file() and file.resolve().is_relative_to(self.folder.resolve())
        except OSError:  # a name too long, a link to itself
            return ()
        return (path,) if inside and not is_hidden(Path(path)) else ()

    def lies_elsewhere(self, name: str, places: Sequence[str]) -> bool:
        """Whether a name that climbs is that of a file or folder outside, which is not opened."""
        plain = name.strip().replace("\\", "/")
        if not plain.startswith("..") or "\0" in plain or not is_text(plain):
            return False
        try:
            return any((self.folder / place / plain).exists() for place in places)
        except OSError:
            return False

    def _is_gone(self, plain: str, places: Sequence[str]) -> bool:
        """Whether the folder that a name says is there, so that the file is missing and not elsewhere."""
        above = plain.rpartition("/")[0]
        if not above or leads_out(plain):
            return False
        return any(self._folders.at(self.inner(place, above)) for place in places)

    def folders(self, name: str, places: Iterable[str] = ("",), part: str | None = None) -> Match:
        """The folders with images below them that a name could mean; "" is the whole. Arguments as for `named`.

        By its tail a folder is found only where the tail says something: `train/images` is not `valid/images`.
        """
        plain, places = name.strip().replace("\\", "/").rstrip("/"), list(places)
        for place in places:
            path = self.inner(place, plain)
            if path == ".":
                return Match(("",))
            if found := self._folders.at(path):
                return Match(found)
        pieces = [piece.casefold() for piece in tail(plain)]
        if self.lies_elsewhere(plain, places) or not pieces:
            return Match()
        fits = [path for path in self._folders.ending(pieces) if _tells(pieces, path.casefold().split("/"))]
        return Match(tuple(p for p in fits if not part or part_of_path(f"{p}/") in {None, part}), exact=False)

    def inner(self, place: str, name: str) -> str:
        """A name relative to a place, or absolute, as a path relative to the folder; `..` stays where it leads out."""
        path = normpath(f"{place}/{name}" if place and not name.startswith("/") else name)
        if path.startswith(("..", "/")):
            whole = normpath(f"{self._top}/{path}" if path.startswith("..") else path)
            return whole.removeprefix(f"{self._top}/") if whole.startswith(f"{self._top}/") else path
        return path

    def below(self, folder: str) -> list[str]:
        """The images below a folder; "" is the whole."""
        return (
            [path for path in self.images if path.startswith(f"{folder}/")] if folder else list(self.images)
        )

    def best_place(self, names: Sequence[str], places: Sequence[str]) -> str | None:
        """The place where most of some names are images, the first of equals; None where no name is one anywhere."""
        some = names[:: max(1, len(names) // SAMPLE)]
        counts = [sum(bool(self._files.at(self.inner(place, name))) for name in some) for place in places]
        most = max(counts, default=0)
        return places[counts.index(most)] if most else None

    # --- told to a reader ---

    def meant(self, where: str, name: str, file: str, above: str, part: str | None = None) -> str | None:
        """The path of an image that an annotation names, as `take` gives it.

        Args:
            where: Line, row or object of the file.
            name: As written.
            file: The annotation file, for notes.
            above: Its folder below the finder's.
            part: As for `named`.

        Raises:
            DataFault: The name cannot be that of a file.
        """
        return self.take(where, name, self.named(checked_name(where, name), near_to(above), part), file)

    def take(self, where: str, name: str, match: Match, file: str | None = None) -> str | None:
        """The one path of a match; else None, and a fault that says why there is none.

        Args:
            where: The annotation file, or its line, row or object.
            name: As written.
            match: What `named` or `stem` gave.
            file: The annotation file; None: it is all of `where`.
        """
        if len(match.paths) == 1:
            if not match.exact:
                self._far.setdefault(file or where, []).append((name, match.paths[0]))
            self._near.setdefault(match.paths[0], set()).add(name.strip())
            return match.paths[0]
        self.doubtful.update(match.paths)
        self.found.missing_image(where.strip(), self.lost(name, match))
        return None

    def lost(self, name: str, match: Match) -> str:
        """Why a name is not found, as the end of a sentence."""
        said = name.strip() if is_text(name) else ascii(name.strip())
        if match.paths:
            return f"{said} could be {match.paths[0]} or {match.paths[1]}"
        pieces = tail(said)  # a link may be the last of them, or one of the folders
        link = next((link for link in sorted(self.links) if PurePosixPath(link).name in pieces), None)
        if link:
            return f"{said} does not exist: {link} is a link out of the source, which is not followed"
        if leads_out(said):
            return f"{said} is no path inside the source, and no image in it is called so"
        return f"{said} does not exist"

    def close(self, *, whole: bool) -> None:
        """End a reading: the known images are those that were found; and what lies in the folder beside them.

        Args:
            whole: Images that no annotation names are unlabelled.

        Raises:
            DataFault: As for `tell`.
        """
        self.found.images = list(self.known.values())
        named = self.known.keys() | self.doubtful
        self.found.unlabelled = [path for path in self.images if path not in named] if whole else []
        self.tell()

    def tell(self) -> None:
        """Note which names were found elsewhere than they say, one sentence an annotation file.

        Raises:
            DataFault: One image was found so for two names.
        """
        for file, some in self._far.items():
            for _, path in some:
                names = sorted(self._near[path])
                if len(names) > 1:
                    raise DataFault(
                        f"{file}: {names[0]} and {names[1]} both could be {path}, the only image that is called so.",
                        "Write each image's path below the source.",
                    )
        several = len(self._far) > max(
            1, *(len(some) for some in self._far.values()), 0
        )  # a file for each image
        pairs = [pair for some in self._far.values() for pair in some]
        groups = {"annotations": pairs} if several else self._far
        for file, some in groups.items():
            name, path = some[0]
            self.found.notes.append(
                f"{count(len(some), 'image')} of {file} found by name elsewhere below the source: "
                f"{name.strip()} is {path}{', for example' if len(some) > 1 else ''}."
            )


def checked_name(where: str, name: str) -> str:
    """A name that an annotation gives, if it can be that of a file.

    Raises:
        DataFault: It is empty, too long, or has characters that no file's name has.
    """
    safe_path(where, "/".join(tail(name)))
    return name.strip()


def is_image_folder(name: str) -> bool:
    """Whether tools put images into a folder of this name."""
    return name.casefold() in IMAGE_FOLDERS


def is_label_folder(name: str) -> bool:
    """Whether tools put annotations into a folder of this name."""
    return name.casefold() in LABEL_FOLDERS


def neighbours(folder: str) -> Iterator[str]:
    """Where images of the annotations in a folder lie: beside them, or in the folder of images that is its pair.

    For train/labels that is train/labels, train/images (and JPEGImages, imgs ...) and train; for labels/train it is
    images/train, train, and train/images.
    """
    pieces = folder.split("/") if folder else []
    yield folder
    for place in reversed(range(len(pieces))):
        if is_label_folder(pieces[place]):
            for name in IMAGE_FOLDERS:
                yield "/".join([*pieces[:place], name, *pieces[place + 1 :]])
            yield "/".join(pieces[:place] + pieces[place + 1 :])
            for name in IMAGE_FOLDERS:
                yield "/".join([*pieces[:place], *pieces[place + 1 :], name])
    if not any(map(is_label_folder, pieces)):
        for name in IMAGE_FOLDERS:
            yield "/".join([*pieces, name])


def near_to(folder: str) -> list[str]:
    """The folders of `neighbours`, then those of the source's top."""
    return list(dict.fromkeys([*neighbours(folder), *neighbours("")]))


def folders_above(path: str) -> Iterator[str]:
    """`a/b` and `a` of `a/b/c.png`."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _leads_out(link: Path, top: Path) -> bool:
    try:
        return not link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a link to itself
        return False
