"""Names that will hurt: two labels that a person reads as one, files that another system cannot hold.

A data set travels: from Linux to a Windows desktop, through a ZIP file, into a CSV file. What survives everywhere
is letters a to z, digits, hyphen and underscore.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from tlkit.data.findings import Finding, finding

# Source: Microsoft, "Naming Files, Paths, and Namespaces".
RESERVED = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³"))
)
HOSTILE = frozenset('<>:"|?*\\') | frozenset(map(chr, range(32)))
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
