"""Rows of features on disk: one SQLite file a network, rows by the content of the image.

SQLite makes it safe to share between processes and to interrupt: what was written stays, what was not is
computed the next time. It is a cache: where it is damaged or the disk is full, the file goes and work goes on; where
it cannot be written, what it knows is read.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.core.files import cache_folder, in_cache

FORMAT = "2"  # of the tables below; a file of another format is made anew
PATIENCE = 60.0  # seconds to wait for another process's transaction


def feature_folder() -> Path:
    """Where the files lie: `$XDG_CACHE_HOME/tlkit/features`."""
    return cache_folder() / "features"


class FeatureCache:
    """Rows of float32 features by key, in one SQLite file.

    Args:
        file: Where it lies; made where it is missing, and made anew where it is damaged or of another format.
        facts: What `tlkit cache` shows of it, such as the network's name.
        say: Told in one line when the file had to be made anew or given up.
    """

    def __init__(
        self, file: Path, facts: Mapping[str, str] | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self.file, self.facts = file, {"format": FORMAT, **(facts or {})}
        self._say, self._given_up, self._only_read = say or (lambda _text: None), False, False
        with self._mended():
            self._prepare()

    def _prepare(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with _open(self.file) as database:
            if not _is_ours(database) and _tables(database):
                raise sqlite3.DatabaseError("another version of tlkit wrote it")
            database.execute("CREATE TABLE IF NOT EXISTS features (key TEXT PRIMARY KEY, row BLOB NOT NULL)")
            database.execute("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", self.facts.items())

    @contextlib.contextmanager
    def _mended(self) -> Iterator[None]:
        """Make the file anew where it cannot be read, and do without where it cannot be written."""
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as fault:
            reason = str(fault).strip().rstrip(".")
            if isinstance(fault, OSError) or _cannot_write(fault):
                self._give_up(reason)
                return
            self._say(f"The feature cache {self.file.name} is made anew: {reason}.")
            with contextlib.suppress(OSError):
                _remove(self.file)
            try:
                self._prepare()
            except (sqlite3.DatabaseError, OSError) as again:
                self._give_up(str(again))

    def _give_up(self, reason: str) -> None:
        """Keep nothing from here on; a file that a full disk left half-grown goes."""
        if "full" in reason or "space" in reason:
            with contextlib.suppress(OSError):
                _remove(self.file)
        self._only_read = not self._only_read and self._can_be_read()
        self._given_up = not self._only_read
        kept = "No further features are kept" if self._only_read else "Features are not kept"
        where = (
            " Let XDG_CACHE_HOME name a folder that can be written to keep them."
            if in_cache(self.file)
            else ""
        )
        self._say(f"{kept}: {self.file} cannot be written ({reason}).{where}")

    def _can_be_read(self) -> bool:
        """Whether the file is there and ours; asked where it cannot be written, as a shared cache may be."""
        try:
            with _open(self.file, only_read=True) as database:
                return _is_ours(database)
        except (sqlite3.DatabaseError, OSError):
            return False

    def read(self, keys: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Fill float32 [n, d] `rows` in place; returns bool [n], which were there."""
        found = np.zeros(len(keys), bool)
        if self._given_up:
            return found
        with self._mended(), _open(self.file, only_read=self._only_read) as database:
            for index, key in enumerate(keys):
                hit = database.execute("SELECT row FROM features WHERE key = ?", (key,)).fetchone()
                if hit and len(hit[0]) == rows.shape[1] * 4:
                    rows[index] = np.frombuffer(hit[0], np.float32)
                    found[index] = True
        return found

    def write(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Store float32 [n, d] rows in one transaction."""
        if self._given_up or self._only_read:
            return
        values = [(key, row.tobytes()) for key, row in zip(keys, rows, strict=True)]
        with self._mended(), _open(self.file) as database:
            database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", values)


class CacheFile(NamedTuple):
    """What `tlkit cache` shows of one file.

    Attributes:
        path: Where it lies.
        facts: What its writer said: "network", "layer", "size"; empty where it cannot be read.
        rows: Features in it; None where it cannot be read.
        bytes: Of the file and its journal.
        used: When it was last written, UTC.
    """

    path: Path
    facts: dict[str, str]
    rows: int | None
    bytes: int
    used: datetime


def cache_files(folder: Path | None = None) -> list[CacheFile]:
    """Every file of the cache, the one longest unused first."""
    files = sorted((folder or feature_folder()).glob("*.sqlite"), key=lambda file: file.stat().st_mtime)
    return [_describe(file) for file in files]


def trim(most_bytes: int, folder: Path | None = None) -> list[CacheFile]:
    """Remove whole files, the one longest unused first, until the rest has at most so many bytes.

    Returns:
        What was removed.
    """
    files, removed = cache_files(folder), []
    while files and sum(file.bytes for file in files) > most_bytes:
        removed.append(files.pop(0))
        _remove(removed[-1].path)
    return removed


def _describe(file: Path) -> CacheFile:
    stat = file.stat()
    facts: dict[str, str] = {}
    rows = None
    with contextlib.suppress(sqlite3.DatabaseError), _open(file) as database:
        rows = database.execute("SELECT COUNT(*) FROM features").fetchone()[0]
        facts = _facts(database)
    size = sum(part.stat().st_size for part in _parts(file))
    return CacheFile(file, facts, rows, size, datetime.fromtimestamp(stat.st_mtime, UTC))


@contextlib.contextmanager
def _open(file: Path, *, only_read: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are one transaction: all kept, or none where the block raises."""
    name = f"{file.resolve().as_uri()}?mode=ro" if only_read else file
    with contextlib.closing(sqlite3.connect(name, timeout=PATIENCE, uri=only_read)) as database, database:
        yield database


def _tables(database: sqlite3.Connection) -> set[str]:
    return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _is_ours(database: sqlite3.Connection) -> bool:
    """Whether the tables are those of this version."""
    return _tables(database) == {"features", "facts"} and _facts(database).get("format") == FORMAT


def _facts(database: sqlite3.Connection) -> dict[str, str]:
    return dict(database.execute("SELECT name, value FROM facts"))


def _cannot_write(fault: Exception) -> bool:
    """Whether the place, not the file's content, is what is wrong: full, read-only, locked."""
    words = ("full", "readonly", "unable to open", "locked", "disk i/o")
    return isinstance(fault, sqlite3.OperationalError) and any(word in str(fault) for word in words)


def _parts(file: Path) -> list[Path]:
    return [
        path
        for path in (file, *(file.with_name(file.name + end) for end in ("-journal", "-wal", "-shm")))
        if path.exists()
    ]


def _remove(file: Path) -> None:
    for part in _parts(file):
        part.unlink(missing_ok=True)
