"""What can be made again: the cache folder, and files that are either whole or absent in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Where tlkit keeps what can be made again: `$XDG_CACHE_HOME/tlkit`, by default `~/.cache/tlkit`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tlkit"


def folder_written_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder aside, then rename it, so that nobody ever reads a half-written one.

    Two processes may do so at once: the first rename wins, the second sees that the folder is there.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(aside)
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder
