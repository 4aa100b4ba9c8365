"""Class names of two sources, brought together: what one calls Gun the other may call gun."""

from __future__ import annotations

from collections.abc import Sequence


def place_of(name: str, names: Sequence[str]) -> int:
    """Which of `names` a name means: the same, else the only one that differs in upper and lower case; else -1.

    Two that differ from it in case alone are a tie, and neither is meant.
    """
    if name in names:
        return list(names).index(name)
    alike = [k for k, one in enumerate(names) if one.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else -1
