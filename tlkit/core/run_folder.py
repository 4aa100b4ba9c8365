"""One folder per run: numbered, written as `unfinished-N`, renamed to `N` as the very last act.

`saved_models/<name>/<N>/` is at once the record of a run and a version that TensorFlow Serving can load, so a
half-done run must never carry a plain number. Everything here is plain files; nothing imports TensorFlow.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkit.core.tensorboard_events.points import place_of
from tlkit.core.text import did_you_mean
from tlkit.errors import RunFailed, UsageFault

RUNS = Path("saved_models")
# How unfinished runs keep what is needed to go on: checkpoints, replays, cells, options.json. It counts up when an
# earlier one cannot be read any more; a run whose options.json names none has 1.
CHECKPOINT_FORMAT = 1
_UNFINISHED = re.compile(r"unfinished-([1-9][0-9]*)")
_NUMBERED = re.compile(r"(?:unfinished-)?([1-9][0-9]*)")

# What stands in the folder before anything was learned: with nothing else, there is nothing to resume.
_BARE = {"options.json", "recipe.py", "log.txt", "split.csv", "pictures", "tensorboard"}


@dataclass
class RunFolder:
    """The folder of one run.

    Attributes:
        path: Where the files are now: `<runs>/<name>/unfinished-<N>`, after `finish` `<runs>/<name>/<N>`.
        name: The run's name, the folder that holds its numbers.
        number: N, from 1.
    """

    path: Path
    name: str
    number: int
    _held: int | None = field(default=None, repr=False)

    @classmethod
    def start(cls, runs: Path, name: str) -> RunFolder:
        """Make the next `unfinished-<N>`, N = 1 + the largest number there, finished or not.

        Raises:
            RunFailed: The folder cannot be written.
        """
        home = Path(runs) / name
        try:
            home.mkdir(parents=True, exist_ok=True)
            while True:
                number = 1 + max(_numbers(home), default=0)
                path = home / f"unfinished-{number}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue  # another run took it between looking and making
                if not (home / str(number)).exists():
                    return cls(path, name, number)
                path.rmdir()  # another run finished under this number meanwhile
        except OSError as error:
            raise RunFailed(
                f"{home} cannot be written: {error.strerror or error}.", "Name another folder with --runs."
            ) from error

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Take an unfinished run up again where it lies.

        Raises:
            UsageFault: `path` is not the folder of an unfinished run.
        """
        match = _UNFINISHED.fullmatch(path.name)
        if not match or not (path / "options.json").is_file():
            raise UsageFault(
                f"{path} is not an unfinished run.",
                "Name a folder saved_models/<name>/unfinished-<N> that a run left.",
            )
        return cls(path, path.resolve().parent.name, int(match[1]))

    @property
    def final(self) -> Path:
        """Where the files will be once the run is finished."""
        return self.path.with_name(str(self.number))

    def folder(self, name: str) -> Path:
        """A sub-folder, made when it is not there."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, content: Any) -> Path:
        """Write one JSON file aside and rename it into place; NaN and infinities become null."""
        path = self.path / name
        _replace(path, json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return path

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl, on disk when this returns."""
        line = json.dumps(plain(row), ensure_ascii=False, allow_nan=False)
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(line + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl so far; a last line that a kill cut short is left out."""
        return read_metrics(self.path)

    def rewrite_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace metrics.jsonl as a whole, as a resumed run does to drop rows after its checkpoint.

        TensorBoard forgets them too.
        """
        rows = list(rows)
        lines = (json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        _replace(self.path / "metrics.jsonl", "".join(lines))
        from tlkit.core.tensorboard_events.event_files import mend  # it imports NumPy

        mend(self.path / "tensorboard", rows, place_of(rows[-1], len(rows)) if rows else 0)

    def mend_tensorboard(self) -> None:
        """Make TensorBoard's event files, none of which is open, agree with metrics.jsonl."""
        from tlkit.core.tensorboard_events.event_files import mend  # it imports NumPy

        mend(self.path / "tensorboard", self.metrics())

    def worth_resuming(self) -> bool:
        """Whether anything was learned or measured yet."""
        others = [entry for entry in self.path.iterdir() if entry.name not in _BARE]
        return any(entry.is_file() or any(entry.iterdir()) for entry in others)

    def lock(self) -> None:
        """Hold the folder for this process until it ends; the system lets go of it even after a kill.

        Raises:
            UsageFault: Another process is at work in it.
        """
        try:
            import fcntl
        except ImportError:  # Windows has no flock: two resumes at once stay the person's care there
            return
        self._held = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise UsageFault(f"{self.path} is still being written by another process.") from error

    def release(self) -> None:
        """Let go of what `lock` held."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def finish(self, card: dict[str, Any]) -> Path:
        """Mend TensorBoard's files, write card.json, see everything safely on disk, and rename the folder to its number.

        If that number is taken by now, the next free one is used; nothing is ever overwritten.

        Args:
            card: The run's facts; `name` and `number` are set here.

        Returns:
            The folder of the finished run.
        """
        self.mend_tensorboard()
        while True:
            self.write_json("card.json", {**card, "name": self.name, "number": self.number})
            _settle(self.path)
            if not self.final.exists():
                break
            self.number = 1 + max(_numbers(self.path.parent))
        self.path = self.path.rename(self.final)
        return self.path


def read_card(run: Path) -> dict[str, Any]:
    """The card.json of a finished run.

    Raises:
        UsageFault: It is not there or not JSON.
    """
    try:
        return json.loads((run / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageFault(f"{run}/card.json cannot be read: {error}.", "Name a finished run.") from error


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; a last line that a kill cut short is left out."""
    path = run / "metrics.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def find_run(text: str, runs: Path = RUNS) -> Path:
    """The finished run that a person means: the newest where a name has several.

    Args:
        text: As for `find_runs`.
        runs: Where names are looked up.

    Raises:
        UsageFault: There is none.
    """
    return find_runs(text, runs)[-1]


def find_runs(text: str, runs: Path = RUNS) -> list[Path]:
    """The finished runs that a person means, oldest first, at least one.

    Args:
        text: `name`, `name/3`, the path of a run's folder, or of a folder of numbered runs.
        runs: Where names are looked up.

    Raises:
        UsageFault: There is none.
    """
    homes = _homes(text, runs)
    for home in homes:
        if (home / "card.json").is_file() and not _UNFINISHED.fullmatch(home.name):
            return [home]
        if finished := sorted(_numbers(home, finished=True)):
            return [home / str(number) for number in finished]
    unfinished = next((path for home in homes for path in _unfinished(home)), None)
    if unfinished:
        raise UsageFault(f"{text} has no finished run.", f"tlkit resume {unfinished} goes on with it.")
    names = sorted(entry.name for entry in runs.iterdir() if entry.is_dir()) if runs.is_dir() else []
    others = f"There are: {', '.join(names)}." if names else "Make one: tlkit run fine-tune xray:crops"
    near = did_you_mean(text.partition("/")[0], names, 3, otherwise=others)
    raise UsageFault(f"There is no run {text!r} in {runs}.", near)


def every_run(runs: Path = RUNS) -> list[Path]:
    """The folders of all runs, finished or not, by name and number; what is no run is left out."""
    homes = sorted(entry for entry in runs.iterdir() if entry.is_dir()) if runs.is_dir() else []
    found = [path for home in homes for path in home.iterdir() if _NUMBERED.fullmatch(path.name)]
    kept = [path for path in found if any((path / file).is_file() for file in ("card.json", "options.json"))]
    return sorted(kept, key=lambda path: (path.parent.name, int(path.name.rpartition("-")[2])))


def is_unfinished(run: Path) -> bool:
    """Whether a run's folder has no number yet."""
    return _UNFINISHED.fullmatch(run.name) is not None


def find_unfinished(text: str, runs: Path = RUNS) -> Path:
    """The unfinished run that a person means, or the finished one where there is nothing left to do.

    Args:
        text: `name` (with exactly one unfinished run), `name/unfinished-3`, or the path of either.
        runs: Where names are looked up.

    Raises:
        UsageFault: There is none, or more than one.
    """
    for home in _homes(text, runs):
        found = _unfinished(home)
        if len(found) > 1:
            names = ", ".join(str(path) for path in found)
            raise UsageFault(f"{text} has {len(found)} unfinished runs: {names}.", "Name one of them.")
        if found:
            return found[0]
    return find_run(text, runs)


def plain(content: Any) -> Any:
    """Turn content into what JSON can say: arrays as lists, paths as text, NaN and infinities as null."""
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple | set | frozenset):
        return [plain(value) for value in content]
    if isinstance(content, Path):
        return content.as_posix()
    if hasattr(content, "tolist"):  # NumPy arrays and scalars
        return plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _homes(text: str, runs: Path) -> list[Path]:
    """The places that `text` may mean, the path as typed first."""
    return [path for path in (Path(text), runs / text) if path.is_dir()]


def _numbers(home: Path, *, finished: bool = False) -> list[int]:
    """The run numbers in a folder; `finished` leaves out what is unfinished or has no card."""
    numbers = {int(match[1]) for entry in home.iterdir() if (match := _NUMBERED.fullmatch(entry.name))}
    return [n for n in numbers if not finished or (home / str(n) / "card.json").is_file()]


def _unfinished(home: Path) -> list[Path]:
    """The unfinished runs in a folder, or the folder itself when it is one; in order of number."""
    found = [
        path
        for path in (home, *home.iterdir())
        if _UNFINISHED.fullmatch(path.name) and (path / "options.json").is_file()
    ]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader, or a kill, sees the old one or the new one and nothing between."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open(
        "w", encoding="utf-8", errors="backslashreplace"
    ) as stream:  # JSON's escape of a byte of a name
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)


def _settle(folder: Path) -> None:
    """Push every file below `folder` to the disk, so that the rename cannot outlive its contents."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
