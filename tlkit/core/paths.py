"""Paths that tables and annotations give: only what lies in their own folder is one."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

LONGEST_NAME, LONGEST_PATH = 255, 2000  # bytes; no system takes more in a name, few in a path


def inner_path(text: str) -> str | None:
    """A path that a file gives, in POSIX form; None for what cannot be the path of a file below a folder.

    Either slash separates. Absolute paths, drives, "..", NUL, what is no UTF-8 and what is too long for a name are
    none, so that no table or annotation leads out of its folder. Links in the folder are the person's own, and
    followed.
    """
    pure = PurePosixPath(text.strip().replace("\\", "/"))
    outside = pure.is_absolute() or ".." in pure.parts or re.match("[A-Za-z]:", pure.as_posix())
    if not pure.parts or outside or "\0" in text or not is_text(text):
        return None
    sizes = [len(part.encode()) for part in pure.parts]
    return pure.as_posix() if max(sizes) <= LONGEST_NAME and sum(sizes) <= LONGEST_PATH else None


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold it; JSON's escapes and names of files can be what it cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
