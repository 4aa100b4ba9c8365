"""Whether two runs came to the same, bit for bit: metrics, weights, predictions and all other files that they made.

Times, paths and images drawn from the numbers are no results. A SavedModel holds the weights of `model.keras`, which
are compared, in a form that differs from one writing to the next.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TIMES = {"seconds", "images_per_second"}
# What tells of the run and not of what it came to.
_ABOUT = {"log.txt", "options.json", "recipe.py", "report.html", "saved_model.pb", "fingerprint.pb"}
_DATA, _RESULTS = ("data", "classes"), ("phases", "game", "measures", "calibration")  # of a card
_DERIVED = {"tensorboard", "pictures", "variables", "assets", "checkpoints"}


def first_difference(one: Path, other: Path) -> str | None:
    """A sentence on the first thing that differs between two run folders; None if they are the same.

    The order is that of cause and effect: data, metrics, weights, then everything else.
    """
    for name in compared(one, other):
        if sentence := _difference(one / name, other / name, name):
            return sentence
    return None


def compared(one: Path, other: Path) -> list[str]:
    """The files that are compared, POSIX paths within a run."""
    inner = ((path, path.relative_to(run)) for run in (one, other) for path in run.rglob("*"))
    names = {
        name.as_posix() for path, name in inner if path.is_file() and name.parts[0] not in _DERIVED | _ABOUT
    }
    first = ["split.csv", "metrics.jsonl", "last.keras", "model.keras", "predictions.csv"]
    return sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name))


class Distance(NamedTuple):
    """How far apart one file is in two runs.

    Attributes:
        file: POSIX path within a run.
        first: A sentence on the first thing that differs.
        numbers: How many numbers both hold in the same order; 0 where they cannot be set against each other.
        differ: How many of these are not equal.
        largest: The largest absolute difference; None without numbers.
    """

    file: str
    first: str
    numbers: int = 0
    differ: int = 0
    largest: float | None = None


def distances(one: Path, other: Path) -> list[Distance]:
    """How far apart two run folders are, a row for each file that differs, in the order of `compared`."""
    found = []
    for name in compared(one, other):
        first = _difference(one / name, other / name, name)
        if not first:
            continue
        sides = [_numbers(path / name) for path in (one, other)]
        if not sides[0].size or sides[0].shape != sides[1].shape:
            found.append(Distance(name, first))
            continue
        apart = np.abs(sides[0] - sides[1])
        apart = apart[(sides[0] != sides[1]) & ~np.isnan(apart)]
        found.append(Distance(name, first, sides[0].size, apart.size, float(apart.max(initial=0.0))))
    return found


def data_difference(one: Path, other: Path) -> str | None:
    """A sentence where two run folders differ in what no processor computes: images, their parts, the classes."""
    split = "split.csv"
    dealt = any((run / split).is_file() for run in (one, other))
    sentence = _difference(one / split, other / split, split) if dealt else None
    return sentence or _cards(one / "card.json", other / "card.json", _DATA)


def timeless(content: Any) -> Any:
    """JSON content without the entries that are times."""
    if isinstance(content, dict):
        return {key: timeless(value) for key, value in content.items() if key not in TIMES}
    if isinstance(content, list):
        return [timeless(value) for value in content]
    return content


def _difference(one: Path, other: Path, name: str) -> str | None:
    for path, twin in ((one, other), (other, one)):
        if not path.is_file():
            return f"{name} is in {twin.parent} only."
    by_suffix: dict[str, Callable[[Path, Path, str], str | None]] = {
        ".keras": _weights,
        ".jsonl": _rows,
        ".csv": _lines,
        ".npy": lambda one, other, name: _unequal(
            np.load(one, allow_pickle=False), np.load(other, allow_pickle=False), name
        ),
    }
    if name == "card.json":
        return _cards(one, other)
    if one.suffix in by_suffix:
        return by_suffix[one.suffix](one, other, name)
    return None if one.read_bytes() == other.read_bytes() else f"{name} differs."


def _lines(one: Path, other: Path, name: str) -> str | None:
    if one.read_bytes() == other.read_bytes():
        return None
    pairs = zip_longest(*(path.read_text(encoding="utf-8").splitlines() for path in (one, other)))
    number, (a, b) = next(((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1]), (0, ("", "")))
    return f"{name}, line {number}: {a!r} against {b!r}." if number else f"{name} differs in its line ends."


def _rows(one: Path, other: Path, name: str) -> str | None:
    rows = [
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in (one, other)
    ]
    if len(rows[0]) != len(rows[1]):
        return f"{name} has {len(rows[0])} lines against {len(rows[1])}."
    for number, (a, b) in enumerate(zip(*map(timeless, rows), strict=True), 1):
        if a != b:
            return f"{name}, line {number}: {_entry(a, b)}."
    return None


def _cards(one: Path, other: Path, keys: Sequence[str] = (*_DATA, *_RESULTS)) -> str | None:
    """What a card says of results; the rest of it tells of the run."""
    cards = [timeless(json.loads(path.read_text(encoding="utf-8"))) for path in (one, other)]
    if not all("drawn" in (card.get("data") or {}) for card in cards):  # cards of earlier versions lack it
        for card in cards:
            (card.get("data") or {}).pop("drawn", None)
    for key in keys:
        a, b = (card.get(key) for card in cards)
        if a != b:
            return f"card.json: {_entry({key: a}, {key: b})}."
    return None


def _entry(one: Any, other: Any, path: str = "") -> str:
    """The first entry that differs, down to a plain value."""
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(k for k in [*one, *other] if k not in one or k not in other or one[k] != other[k])
        return _entry(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        return _entry(one[place], other[place], f"{path}[{place}]")
    return f"{path} is {one} against {other}"


def _numbers(file: Path) -> np.ndarray:
    """All numbers of a file that is compared, float64 [n], in their order; none where it holds or is none."""
    readers: dict[str, Callable[[Path], Iterable[Any]]] = {
        ".keras": lambda path: np.concatenate([np.zeros(0), *map(np.ravel, weights_of(path).values())]),
        ".npy": lambda path: np.load(path, allow_pickle=False).ravel(),
        ".jsonl": lambda path: _leaves([json.loads(line) for line in path.read_text("utf-8").splitlines()]),
        ".json": lambda path: _leaves(_results(json.loads(path.read_text("utf-8")))),
        ".csv": _cells,
    }
    if not file.is_file() or file.suffix not in readers:
        return np.zeros(0)
    found = readers[file.suffix](file)
    return np.asarray(found if isinstance(found, np.ndarray) else list(found), np.float64)


def _results(content: Any) -> Any:
    """Of a card what it says of results, of any other JSON all."""
    whole = not isinstance(content, dict) or "environment" not in content
    return content if whole else {key: content.get(key) for key in _RESULTS}


def _leaves(content: Any) -> Iterator[float]:
    """The numbers of JSON content that are no times."""
    content = timeless(content)
    if isinstance(content, dict | list):
        for entry in content.values() if isinstance(content, dict) else content:
            yield from _leaves(entry)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield float(content)


def _cells(table: Path) -> Iterator[float]:
    """The numbers among the cells of a table."""
    for cell in itertools.chain.from_iterable(csv.reader(table.read_text("utf-8").splitlines())):
        with suppress(ValueError):
            yield float(cell)


def _weights(one: Path, other: Path, name: str) -> str | None:
    stored = [weights_of(path) for path in (one, other)]
    if list(stored[0]) != list(stored[1]):
        odd = sorted(set(stored[0]) ^ set(stored[1]))
        return f"{name} has other weights: {', '.join(odd[:3]) or 'in another order'}."
    for path in stored[0]:
        if sentence := _unequal(stored[0][path], stored[1][path], f"{name}, {path}"):
            return sentence
    return None


def weights_of(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.keras` file by their paths; needs no TensorFlow."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def keep(path: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and not path.startswith("optimizer"):
            found[path] = entry[()]

    with zipfile.ZipFile(file) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as stored:
        stored.visititems(keep)
    return dict(sorted(found.items()))


def _unequal(one: np.ndarray, other: np.ndarray, name: str) -> str | None:
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{name} is {one.dtype} {list(one.shape)} against {other.dtype} {list(other.shape)}."
    if one.tobytes() == other.tobytes():
        return None
    apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return f"{name} differs in {np.count_nonzero(apart)} of {apart.size} values, by up to {np.nanmax(apart):.2g}."
