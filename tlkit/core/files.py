"""What can be made again: the cache folder, and files that are either whole or absent in it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tlkit.errors import RunFailed, UsageFault

FULL = {errno.ENOSPC, errno.EDQUOT}
UNWRITABLE = {*FULL, errno.EROFS, errno.EFBIG}  # what only writing meets, whatever file it was


def cache_folder() -> Path:
    """Where tlkit keeps what can be made again: `$XDG_CACHE_HOME/tlkit`, by default `~/.cache/tlkit`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tlkit"


def in_cache(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the cache folder or lies in it."""
    home = cache_folder()
    return Path(path) == home or home in Path(path).parents


def cache_fault(error: OSError) -> RunFailed:
    """What is to be said where the cache folder cannot be written: full, read-only, a file in its place."""
    reason = error.strerror or str(error)
    room = (
        "Make room there (tlkit cache --trim 0 removes cached features), or let"
        if error.errno in FULL
        else "Let"
    )
    return RunFailed(
        f"The cache folder {cache_folder()} cannot be written: {reason}.",
        f"{room} XDG_CACHE_HOME name a folder that can be written.",
    )


def check_new_folder(folder: Path, sources: Iterable[Path], option: str = "", outside: str = "") -> None:
    """Before the slow part: nothing is overwritten, and nothing is written into what is read.

    Args:
        folder: To be made; may be there if it is empty.
        sources: Folders that are read.
        option: By which it was named, for the message: "--draw ".
        outside: Of what a better one lies outside, for the remedy: " the source".

    Raises:
        UsageFault: The folder is in use, or lies inside a source.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageFault(f"{option}{folder} is there already.", "Name a new folder.")
    for source in sources:
        if folder.resolve().is_relative_to(source.resolve()):
            raise UsageFault(f"{option}{folder} lies inside {source}.", f"Name a folder outside{outside}.")


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into; it gets that name when all went well and is gone otherwise.

    Raises:
        OSError: It cannot be made, or `folder` is there by then and not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o755)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def folder_written_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder aside, then rename it, so that nobody ever reads a half-written one.

    Two processes may do so at once: the first rename wins, the second sees that the folder is there.

    Raises:
        RunFailed: The folder is one of the cache, and that cannot be written.
    """
    if folder.is_dir():
        return folder
    aside: Path | None = None
    try:
        with folder_aside(folder) as aside:
            write(aside)
    except OSError as error:
        if aside and folder.is_dir():
            return folder
        if in_cache(folder) and (aside is None or _meets(error, aside)):
            raise cache_fault(error) from error
        raise
    return folder


def _meets(error: OSError, folder: Path) -> bool:
    """Whether an error is of writing below a folder; reading what is to be written there can fail too."""
    if isinstance(error.filename, str | os.PathLike):
        return folder in (Path(error.filename), *Path(error.filename).parents)
    return error.errno in UNWRITABLE


def hashes_of(files: Sequence[str | Path]) -> list[str]:
    """sha256 in hex of every file, in parallel; "" for one that cannot be read."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(_hash, files))


def _hash(file: str | Path) -> str:
    try:
        with Path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
