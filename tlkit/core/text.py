"""Words for people: names in a row, and what a mistyped name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def listed(names: Sequence[str], most: int = 8) -> str:
    """`a, b and c`; of more than `most`, the first ones and how many there are besides."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def some_of(names: Sequence[str], most: int = 12) -> str:
    """`a, b, c`; of more than `most`, the first ones and how many there are besides."""
    return ", ".join(names) if len(names) <= most else listed(names, most)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`Did you mean gun?`, or nothing where no known name is near."""
    near = difflib.get_close_matches(name, sorted(set(known) - {name}), 1)
    return f"Did you mean {near[0]}?" if near else ""


def count(number: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def place_of(name: str, names: Sequence[str]) -> int:
    """Which of `names` a name means: the same, else the only one that differs in upper and lower case; else -1.

    Two that differ from it in case alone are a tie, and neither is meant.
    """
    if name in names:
        return list(names).index(name)
    alike = [k for k, one in enumerate(names) if one.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else -1
