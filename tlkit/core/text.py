"""Words for people: names in a row, and what a mistyped name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence


def listed(names: Sequence[str], most: int = 8) -> str:
    """`a, b and c`; of more than `most`, the first ones and how many there are besides."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def some_of(names: Sequence[str], most: int = 12) -> str:
    """`a, b, c`; of more than `most`, the first ones and how many there are besides."""
    return ", ".join(names) if len(names) <= most else listed(names, most)


def did_you_mean(
    name: str,
    known: Iterable[str],
    most: int = 1,
    *,
    cutoff: float = 0.6,
    otherwise: str = "",
    shown: Callable[[str], object] = str,
) -> str:
    """Ask "Did you mean gun or knife?" of a name that is not known.

    Args:
        name: As typed.
        known: What could have been meant.
        most: How many of them are offered, the nearest first.
        cutoff: How alike they must be, 0..1.
        otherwise: What is said where none is near.
        shown: How each of them is written.
    """
    near = difflib.get_close_matches(name, list(known), most, cutoff)
    return f"Did you mean {' or '.join(str(shown(one)) for one in near)}?" if near else otherwise


def end_of(text: str, most: int) -> str:
    """A text, or `...` and its end where it has more than `most` characters."""
    return text if len(text) <= most else f"...{text[3 - most :]}"


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
