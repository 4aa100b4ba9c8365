"""What a version came to, as text: answers and files without times, dates and places."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image, ImageSequence

TIMES = {
    *("seconds", "milliseconds", "images_per_second", "created", "began", "ended", "last_used", "time"),
    "seconds_a_step",  # of a comparison of detectors
    "recipe_sha256",  # of a copy of the recipe, whose words are no result
    "shared_object_id",  # an address in memory, in what Keras writes
    "bytes",  # of an ONNX file, whose names of nodes have addresses in them
}
TIMED = TIMES | {"ms/image", "s/step", "ms", "s"}  # columns of tables
_NUMBER = r"(?:\d+(?:\.\d+)?|<1)"
PATTERNS = tuple(
    (re.compile(pattern, re.MULTILINE), new)
    for pattern, new in (
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z| UTC)?", "DATE"),
        (rf"\b{_NUMBER} ?(pictures?|images?|steps?)/s", "RATE"),
        (rf"\b{_NUMBER} ?(ms|s|seconds?|minutes?|min|hours?|h)\b", "DURATION"),
        (r"^(\w+ +\d+/\d+ .*?) +\d+\.\d+$", r"\1 TIME"),
        (r"events\.out\.tfevents[.\w-]*", "events"),
        (r"\.unfinished-\w+|tmp[a-z0-9_]{8}", "TEMPORARY"),
    )
)


# What a version says of an option that it is asked for by its earlier name
NOTICE = re.compile(r"^Note: --\S+ is called --\S+ now\.\n", re.MULTILINE)


class Plain:
    """Texts without times, dates and the places of a side.

    Args:
        places: Paths of this side, and what is written for them.
        spaces: Whether rows of blanks stay as they are; else they become one, for a duration has more digits or fewer.
    """

    def __init__(self, places: Mapping[str, str], *, spaces: bool) -> None:
        self.places, self.spaces = places, spaces

    def text(self, text: str) -> str:
        for path, word in self.places.items():
            text = text.replace(path, word)
        if self.spaces:
            return text
        for pattern, new in PATTERNS:
            text = pattern.sub(new, text)
        return re.sub(r"[ ─━-]{2,}", " ", text)

    def json(self, content: Any) -> Any:
        if isinstance(content, dict):
            return {self.text(k): self.entry(k, v) for k, v in content.items()}
        if isinstance(content, list):
            return [self.json(value) for value in content]
        return self.text(content) if isinstance(content, str) else content

    def entry(self, key: str, value: Any) -> Any:
        """What stands under a key; of a Keras object not its module, for it is found by its registered name."""
        if key == "module" and str(value).startswith("tlkit."):
            return "tlkit"
        return "TIME" if key in TIMES else self.json(value)

    def answer(self, text: str) -> str:
        """What a command said: lines that are JSON as JSON."""
        return "\n".join(self.line(line) for line in without_seconds(NOTICE.sub("", text)).splitlines())

    def line(self, line: str) -> str:
        if line.startswith(("{", "[")):
            try:
                return self.dump(json.loads(line))
            except ValueError:
                pass
        return self.text(line)

    def dump(self, content: Any) -> str:
        return json.dumps(self.json(content), indent=1, ensure_ascii=False)


def without_seconds(text: str) -> str:
    """A text without the last column of tables that end in seconds, and without columns of times in Markdown."""
    lines: list[str] = []
    within, timed = False, set[int]()
    for line in text.splitlines():
        cells = line.split("|")
        if line.startswith("| ") and not timed:
            timed = {place for place, cell in enumerate(cells) if cell.strip() in TIMED} or {-1}
        elif not line.startswith("|"):
            timed = set()
        else:
            line = "|".join(" TIME " if place in timed else cell for place, cell in enumerate(cells))  # noqa: PLW2901
        if re.search(r"\bseconds$", line):
            within = True
        elif not line.strip():
            within = False
        elif within:
            line = re.sub(r"[\d.]+$", "TIME", line)  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines)


def table_file(file: Path, plain: Plain) -> str:
    """A CSV without the columns that are times."""
    text = file.read_text("utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    timed = {place for place, name in enumerate(rows[0] if rows else []) if name in TIMED}
    if not timed:
        return plain.text(text)
    return plain.text(
        "\n".join(",".join("TIME" if i in timed else cell for i, cell in enumerate(row)) for row in rows)
    )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def pixels(content: bytes) -> str:
    with Image.open(io.BytesIO(content)) as image:
        frames = [np.asarray(frame.copy()) for frame in ImageSequence.Iterator(image)]
        facts = (image.format, image.mode, image.size, len(frames))
    return f"{facts} {digest(b''.join(frame.tobytes() for frame in frames))}"


def arrays(stored: Mapping[str, Any]) -> str:
    found = {name: np.asarray(stored[name]) for name in stored}
    return "\n".join(
        f"{n}: {a.dtype} {list(a.shape)} {digest(a.tobytes())}" for n, a in sorted(found.items())
    )


def keras_file(file: Path, plain: Plain) -> str:
    found: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as stored:
            stored.visititems(
                lambda path, entry: (
                    found.update({path: entry[()]}) if isinstance(entry, h5py.Dataset) else None
                )
            )
    return f"{arrays(found)}\n{plain.dump(config)}"


def onnx_file(file: Path, plain: Plain) -> str:
    """Operations, constants, inputs, outputs and metadata; names of nodes, and the order of constants, follow addresses."""
    import onnx

    model = onnx.load(str(file))
    graph = model.graph
    ends = [
        (end.type.tensor_type.elem_type, [one.dim_value or "?" for one in end.type.tensor_type.shape.dim])
        for end in (*graph.input, *graph.output)
    ]
    return "\n".join(
        [
            " ".join(node.op_type for node in graph.node),
            *sorted(f"{one.data_type} {list(one.dims)} {digest(one.raw_data)}" for one in graph.initializer),
            *map(str, ends),
            *(f"{one.key} {plain.text(one.value)}" for one in model.metadata_props),
        ]
    )


class _Visible(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._hidden = 0
        self._head: list[str] = []
        self._cell = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in {"style", "script"}
        given = dict(attrs)
        if tag == "table":
            self._head = []
        elif tag == "tr":
            self._cell = 0
        elif tag in {"th", "td"}:
            self._cell += 1
        if tag == "img":
            source = given.get("src") or ""
            if source.startswith("data:image/png;base64,"):
                source = pixels(base64.b64decode(source.partition(",")[2]))
            self.lines.append(f"[image {given.get('alt', '')}: {source[:200]}]")
        elif tag == "a":
            self.lines.append(f"[link {given.get('href', '')}]")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "script"}

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if self._hidden or not words:
            return
        if self.lasttag == "th" and self._cell == len(self._head) + 1:
            self._head.append(words)
        elif (
            self.lasttag == "td"
            and self._head[self._cell - 1 : self._cell]
            and self._head[self._cell - 1] in TIMED
        ):
            words = "TIME"
        self.lines.append(words)


def page(text: str) -> str:
    """The visible text of a page, a line a piece of it, and its images."""
    parser = _Visible()
    parser.feed(text)
    return "\n".join(parser.lines)


def events(file: Path) -> str:
    """Tags, steps and values of a file of TensorBoard's, without its times."""
    from tensorboard.compat.proto.event_pb2 import Event

    content, place, lines = file.read_bytes(), 0, []
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 8], "little")
        event = Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length
        if event.graph_def:
            lines.append("graph")
        lines += [f"{value.tag} {event.step} {_tensor(value)}" for value in event.summary.value]
    return "\n".join(lines)


def _tensor(value: Any) -> str:
    tensor = value.tensor
    if tensor.string_val:
        return " ".join(
            pixels(text) if text[:4] == b"\x89PNG" else text.decode(errors="replace")[:2000]
            for text in tensor.string_val
        )
    if len(tensor.float_val) == 1:
        return repr(tensor.float_val[0])
    return repr(value.simple_value) if value.HasField("simple_value") else digest(tensor.SerializeToString())


def written(folder: Path, plain: Plain) -> Iterator[tuple[str, str]]:
    """Every file below a folder by its name, as text."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or "/variables/" in name or file.name in {"saved_model.pb", "fingerprint.pb"}:
            continue  # of a SavedModel: what it answers
        yield plain.text(name), as_text(file, plain)


def as_text(file: Path, plain: Plain) -> str:
    readers: dict[str, Callable[[], str]] = {
        ".keras": lambda: keras_file(file, plain),
        ".onnx": lambda: onnx_file(file, plain),
        ".npy": lambda: arrays({"": np.load(file, allow_pickle=False)}),
        ".npz": lambda: arrays(np.load(file, allow_pickle=False)),
        ".html": lambda: plain.text(page(file.read_text("utf-8"))),
        ".json": lambda: plain.dump(json.loads(file.read_text("utf-8"))),
        ".jsonl": lambda: "\n".join(plain.dump(json.loads(line)) for line in file.read_text("utf-8").splitlines()),
        **dict.fromkeys((".png", ".jpg", ".gif"), lambda: pixels(file.read_bytes())),
        ".txt": lambda: plain.text(NOTICE.sub("", file.read_text("utf-8"))),
        ".csv": lambda: table_file(file, plain),
        ".md": lambda: plain.text(without_seconds(file.read_text("utf-8"))),
        **dict.fromkeys((".xml", ".yaml"), lambda: plain.text(file.read_text("utf-8"))),
    }  # fmt: skip
    if file.name == "recipe.py":
        return "a copy of the recipe"  # whose words are no result
    if file.name.startswith("events.out"):
        return events(file)
    return readers.get(file.suffix, lambda: digest(file.read_bytes()))()
