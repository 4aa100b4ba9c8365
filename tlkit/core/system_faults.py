"""System faults: memory, disk or open files ended, or a permission is lacking, said as a person can mend it."""

from __future__ import annotations

import errno
import sys
from typing import Any

from tlkit.core.files import UNWRITABLE, cache_fault, in_cache
from tlkit.errors import RunFailed, TlkitError

# What the system says when a thing of it ends, with our words and what to do.
_ENDED = {
    errno.ENOSPC: ("Nothing more can be written: the disk is full.", "Make room, or use another --runs."),
    errno.EDQUOT: (
        "Nothing more can be written: the disk quota is used up.",
        "Make room, or use another --runs.",
    ),
    errno.EFBIG: ("A file would be larger than is allowed here.", "Raise the limit: ulimit -f unlimited."),
    errno.EROFS: ("Nothing can be written: the disk is read-only.", "Mount it anew, or use another --runs."),
    errno.EMFILE: ("Too many files are open.", "Raise the limit: ulimit -n 4096."),
    errno.ENFILE: ("Too many files are open on this machine.", "End other programs."),
}
NAMES = sys.getfilesystemencoding()
_ELSEWHERE = "write to another place"  # where no run was at work
# The same in the words of libraries that do not hand the number on: TensorFlow, HDF5, NumPy.
_WORDS = {
    "No space left on device": errno.ENOSPC,
    "errno = 28": errno.ENOSPC,
    " requested and ": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "errno = 27": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "Too many open files": errno.EMFILE,
}


def as_fault(error: BaseException, options: dict[str, Any]) -> TlkitError | None:
    """The fault behind a foreign exception, if it is one that a person can mend: memory, disk or files ended.

    Args:
        error: What was raised.
        options: The run's options; one that starts with "batch" is named in the remedy.
    """
    if (number := _ended(error)) is not None:
        if number in UNWRITABLE and isinstance(error, OSError) and in_cache(str(error.filename)):
            return cache_fault(error)
        problem, remedy = _ENDED[number]
        return RunFailed(
            problem, remedy if "runs" in options else remedy.replace("use another --runs", _ELSEWHERE)
        )
    if isinstance(error, PermissionError) and error.filename:
        return RunFailed(f"{error.filename} cannot be used: {error.strerror}.", "Look at its permissions.")
    if isinstance(error, UnicodeEncodeError) and error.encoding == NAMES != "utf-8":
        return RunFailed(
            f"{error.object!a} cannot be the name of a file here: names are {NAMES}.",
            "Set PYTHONUTF8=1 in the environment.",
        )
    if memory_ended(error):
        batch = next((name for name in options if name.startswith("batch")), None)
        remedy = (
            f"Try less than --{batch.replace('_', '-')} {options[batch]}." if batch else "Free some memory."
        )
        return RunFailed("The memory is used up.", remedy)
    return None


def memory_ended(error: BaseException) -> bool:
    """Whether an exception says that memory ended; TensorFlow uses the same one for a full disk."""
    # TensorFlow's own error, known by its name so that it need not be imported for the question.
    kind = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    return kind and _ended(error) is None


def _ended(error: BaseException) -> int | None:
    """The errno of a thing of the system that ended, or None."""
    if isinstance(error, OSError) and error.errno in _ENDED:
        return error.errno
    if isinstance(error, OSError) or type(error).__module__.startswith("tensorflow"):
        return next((number for words, number in _WORDS.items() if words in str(error)), None)
    return None
