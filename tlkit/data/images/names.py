"""Names that will hurt: two labels that a person reads as one, files that another system cannot hold.

A data set travels: from Linux to a Windows desktop, through a ZIP file, into a CSV file. What survives everywhere
is letters a to z, digits, hyphen and underscore.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from tlkit.data.images.findings import Finding, finding

# Source: Microsoft, "Naming Files, Paths, and Namespaces".
RESERVED = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³"))
)
HOSTILE = frozenset('<>:"|?*\\') | frozenset(map(chr, range(32)))
_ENDING = re.compile(
    r"([_\-. ]?[A-Za-z]+)[_\-]?\d*$"
)  # behind the name of another image: _mask, -thumb, _flip2
LEAST_TWINS, TWINS = 3, 0.1  # how many, as a number and as a share of all
LONGEST_PATH = 240  # of Windows' 260, some for the folder above
INVISIBLE = frozenset(("Cc", "Cf"))  # control, and format such as zero-width or right-to-left marks


def label_faults(names: Iterable[str]) -> Iterator[Finding]:
    """Labels that differ in nothing but case, blanks, underscores or the way that an accent is stored."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(_as_read(name), []).append(name)
    for spellings in alike.values():
        if len(spellings) > 1:
            shown = " and ".join(map(repr, spellings))
            yield finding("label-spelling", spellings, f"{shown} are read as one class but count as several.")


def name_faults(paths: Sequence[str]) -> Iterator[Finding]:
    """What is wrong with the names in paths; a folder is named once, not for each of its files."""
    seen: set[str] = set()
    for path in paths:
        pure = PurePosixPath(path)
        for part in (*reversed(pure.parents), pure):
            place = part.as_posix()
            if place not in seen and part.name:
                seen.add(place)
                yield from _one_name(place, part.name)
        if len(path) > LONGEST_PATH:
            yield finding("windows-name", path, f"the path has {len(path)} characters, more than 240")
    yield from _collisions(seen)


def twin_names(paths: Sequence[str]) -> Finding | None:
    """Images that lie beside another of the same name but for an ending (1.jpg and 1_mask.png, 1.jpg and 1.png).

    Masks, thumbnails and changed copies are named so, and a classifier would learn them as images of their own.
    """
    known = {PurePosixPath(path).with_suffix("").as_posix() for path in paths}
    twins: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for path in paths:
        stem = PurePosixPath(path).with_suffix("").as_posix()
        if stem in first and PurePosixPath(path).suffix != PurePosixPath(first[stem]).suffix:
            twins.setdefault(f"*{PurePosixPath(path).suffix}", []).append(path)
        first.setdefault(stem, path)
        ending = _ENDING.search(stem)
        if ending and stem[: ending.start()] in known:
            pattern = f"*{ending[1]}*{PurePosixPath(path).suffix}".replace("**", "*")
            twins.setdefault(pattern, []).append(path)
    pattern, some = max(twins.items(), key=lambda one: len(one[1]), default=("", []))
    if len(some) < max(LEAST_TWINS, TWINS * len(paths)):
        return None
    why = (
        f"{len(some)} of {len(paths)} images lie beside one of the same name but for its ending ({some[0]}); they may "
        "be masks, thumbnails or changed copies."
    )
    return finding(
        "twin-names",
        some,
        why,
        remedy=f"If they are no images to learn, leave them out: --exclude '{pattern}'.",
    )


def _as_read(label: str) -> str:
    visible = "".join(c for c in label if unicodedata.category(c) != "Cf")
    words = unicodedata.normalize("NFC", visible).casefold().replace("_", " ").split()
    # "1 1" is not "11", while "shot gun" is "shotgun".
    return (" " if any(c.isdigit() for c in label) else "").join(words)


def _one_name(place: str, name: str) -> Iterator[Finding]:
    if any(0xD800 <= ord(c) <= 0xDFFF for c in name):  # how Python keeps bytes that are no UTF-8
        yield finding("undecodable-name", place)
        return
    if detail := _beyond_ascii(name):
        yield finding("unicode-name", place, detail)
    if any(c.isspace() for c in name):
        outside = name != name.strip() or PurePosixPath(name).stem != PurePosixPath(name).stem.strip()
        yield finding("blank-name", place, "at its start or end" if outside else "")
    if detail := refused_by_windows(name):
        yield finding("windows-name", place, detail)


def _beyond_ascii(name: str) -> str:
    if any(unicodedata.category(c) in INVISIBLE for c in name):
        return "with characters that cannot be seen"
    if name != unicodedata.normalize("NFC", name):
        return "with accents stored apart from their letters, which macOS and Linux write differently"
    return "" if name.isascii() else ", ".join(sorted({c for c in name if not c.isascii()})[:5])


def refused_by_windows(name: str) -> str:
    """Why Windows has no file or folder of that name (one part of a path, not empty); "" where it may have one."""
    stem = name.partition(".")[0].rstrip(" ").upper()
    if stem in RESERVED:
        return f"{stem} is a device there"
    if bad := sorted(HOSTILE & set(name)):
        return f"it holds {' '.join(map(ascii, bad))}"
    return "it ends with a dot or a blank" if name[-1] in ". " else ""


def _collisions(places: Iterable[str]) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for place in sorted(places):
        alike.setdefault(unicodedata.normalize("NFC", place).casefold(), []).append(place)
    for names in alike.values():
        if len({PurePosixPath(name).name for name in names}) > 1:  # else only a folder above differs
            yield finding("name-collision", names)
