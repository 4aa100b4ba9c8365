"""How a person wants a source of images read: which of them, and which columns of a table say what."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Reading:
    """How a person wants a source of labelled images read.

    Attributes:
        include: Patterns (`*`, `?`, `[ab]`) on the path or the file's name: only images that one fits are read.
        exclude: Images that one fits are not read.
        path_column: The column of a table that names the files; None: told by its name.
        label_column: The column of the class.
        suffix: What the names of a table lack, such as ".jpg".
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    path_column: str | None = None
    label_column: str | None = None
    suffix: str | None = None

    def wants(self, path: str) -> bool:
        """Whether a POSIX path relative to the source is read."""
        name = PurePosixPath(path).name

        def fits(patterns: tuple[str, ...]) -> bool:
            return any(fnmatchcase(path, one) or fnmatchcase(name, one) for one in patterns)

        return (not self.include or fits(self.include)) and not fits(self.exclude)


PLAIN = Reading()
