"""Names of files in a table, and the files that they mean: the path itself, its end, or its name if one file has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from tlkit.core.paths import inner_path
from tlkit.core.text import listed
from tlkit.data.images.readers.image_files import files_below, is_named_image


class Unusable(Exception):
    """Why a line of a table cannot be used: the end of a sentence, what to do, and the kind of finding it is."""

    def __init__(self, why: str, remedy: str, kind: str = "csv-row") -> None:
        super().__init__(why)
        self.why, self.remedy, self.kind = why, remedy, kind


class NamedFiles:
    """Finds the image that a cell of a table means.

    Args:
        folder: Of the table; paths are relative to it.
        suffix: What the cells lack, such as ".jpg"; None: cells without a suffix mean the one file of that stem.
    """

    def __init__(self, folder: Path, suffix: str | None = None) -> None:
        self._folder, self._suffix = folder, suffix

    def find(self, text: str) -> str:
        """POSIX path relative to the folder.

        It is the path as written; else, where the folder that it names is not here (or it names none), the one image
        below that is called so. An absolute path is read from the table's folder on, else by its longest end that is
        a file here.

        Raises:
            Unusable: There is no such file, several may be meant, or it lies outside of the folder.
        """
        pure = PurePosixPath(text.replace("\\", "/"))
        if pure.is_absolute() or (pure.parts and re.fullmatch("[A-Za-z]:", pure.parts[0])):
            return self._absolute(text, pure)
        inner = inner_path(text)
        if inner is None:
            raise self._outside(text)
        named = inner + (self._suffix or "")
        return named if (self._folder / named).is_file() else self._called(inner, named)

    def finds(self, text: str) -> bool:
        """Whether `find` answers."""
        try:
            self.find(text)
        except Unusable:
            return False
        return True

    def _outside(self, text: str) -> Unusable:
        return Unusable(
            f": {text} is no path inside the folder of the CSV file.",
            f"Give paths relative to {self._folder}/ and below it.",
        )

    def _absolute(self, text: str, pure: PurePosixPath) -> str:
        for start in range(1, len(pure.parts)):  # also what lies in the folder itself, by its full path
            inner = inner_path("/".join(pure.parts[start:]))
            if inner and (self._folder / inner).is_file():
                return inner
        raise self._outside(text)

    def _called(self, inner: str, named: str) -> str:
        """The one image of that name, or of that stem where the name has no suffix."""
        elsewhere = not (self._folder / named).parent.is_dir()
        known = self._names if self._suffix else self._stems
        found = known.get(named, [])
        if not found and (elsewhere or "/" not in named):
            name = PurePosixPath(named).name
            found = self._names.get(name, []) or known.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise Unusable(
                f": {inner} may be {listed(found, most=3)}.",
                "Give the path with its folder and suffix, or what all of them lack: --suffix .jpg.",
            )
        raise Unusable(
            f": {self._folder / inner} does not exist.",
            "Correct the path or delete the line.",
            "missing-file",
        )

    @cached_property
    def _all(self) -> list[str]:
        return [path for path in files_below(self._folder)[0] if is_named_image(path)]

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return _keyed(self._all, lambda path: {path.name})

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        return _keyed(self._all, lambda path: {path.stem, path.with_suffix("").as_posix()})


def _keyed(paths: Sequence[str], keys: Callable[[PurePosixPath], set[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        for key in keys(PurePosixPath(path)):
            found.setdefault(key, []).append(path)
    return found
