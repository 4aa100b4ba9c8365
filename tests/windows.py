"""Names that Windows keeps for itself, as Python knows them: an oracle that is none of ours."""

from __future__ import annotations

import ntpath
import sys
from pathlib import PureWindowsPath


def reserved(name: str) -> bool:
    """Whether Windows refuses one part of a path.

    Python 3.13 asks `ntpath.isreserved`, which knows devices, forbidden characters and a dot or blank at the end; its
    `PurePath.is_reserved` is deprecated. Before, there is only that one, which knows devices.
    """
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()
