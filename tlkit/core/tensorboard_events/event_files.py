"""TensorBoard's event files, made to agree with metrics.jsonl: each point and each image of a run exactly once.

A kill leaves points of steps that are learned again, or files that are cut, damaged or half removed. The curves are
written again from metrics.jsonl; what does not stand there (images, the graph) is kept from the records that can be
read, the last of each tag and step.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.tensorboard_events.points import Point, place_of, points_of
from tlkit.core.tensorboard_events.records import as_record, read_records

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

EVENT_FILES = "events.out.tfevents.*"
_ASIDE = ".mending.part"  # not a name that TensorBoard reads
_OLD_ASIDE = ".events.out.tfevents.*.part"  # of earlier versions, which it does
_OF_CLASSIFIER = re.compile(r"(?:[^/]+/)?(?:loss|accuracy)|learning_rate")


class _Due(NamedTuple):
    """A point that metrics.jsonl knows, the place of its row and when that was written, seconds since 1970."""

    point: Point
    place: int
    wall_time: float


def mend(folder: Path, rows: Sequence[Mapping[str, Any]], last: int | None = None) -> None:
    """Leave one event file in every folder that has points or had files, with each point and image once.

    A file that is so already stays untouched. A new one is written aside and takes the place of the first before the
    others are removed: a kill in between leaves points twice at most, which the next mending ends. Whoever has one of
    the files open for writing must close it before.

    Args:
        folder: `tensorboard/` of the run; need not be there.
        rows: Of metrics.jsonl, from its first line on.
        last: Drop what belongs to later steps than this; 0 for everything but the graph; None for nothing.
    """
    found = {parent: _read(parent) for parent in sorted({file.parent for file in folder.rglob(EVENT_FILES)})}
    due: dict[Path, list[_Due]] = {}
    for one in _dated(folder, rows, found):
        due.setdefault(folder / one.point.folder, []).append(one)
    for parent in sorted({*found, *due}):
        _replace(parent, _merged(found.get(parent, []), due.get(parent, []), last))
    for aside in [*folder.rglob(_OLD_ASIDE), *folder.rglob(_ASIDE)]:
        aside.unlink()


def _read(folder: Path) -> list[Event]:
    """All events of a folder that can be read, in the order of its files' names."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob(EVENT_FILES)):
        for inside in read_records(file.read_bytes()):
            try:
                found.append(Event.FromString(inside))
            except DecodeError:
                continue
    return found


def _dated(
    folder: Path, rows: Sequence[Mapping[str, Any]], found: Mapping[Path, Iterable[Event]]
) -> list[_Due]:
    """The points of all rows, each with the time of its old event.

    Where that is lost, the time is that of another event of the same row, or follows from the row before and the
    seconds that this one took.
    """
    known = {
        (parent, event.summary.value[0].tag, event.step): event.wall_time
        for parent, events in found.items()
        for event in events
        if len(event.summary.value) == 1
    }
    points = [points_of(row, number) for number, row in enumerate(rows, 1)]
    times = [[known.get((folder / p.folder, p.tag, p.step)) for p in some] for some in points]
    seconds = [float(row.get("seconds") or 0.0) for row in rows]
    due, now = [], _beginning(folder, times, seconds)
    for number, (row, some, old) in enumerate(zip(rows, points, times, strict=True), 1):
        now = next((one for one in old if one is not None), now + seconds[number - 1])
        due += [
            _Due(p, place_of(row, number), now if t is None else t) for p, t in zip(some, old, strict=True)
        ]
    return due


def now() -> float:
    """The time that an event is stamped with, in seconds since 1970; nothing is measured by it."""
    return datetime.now(UTC).timestamp()


def _beginning(folder: Path, times: Sequence[Sequence[float | None]], seconds: Sequence[float]) -> float:
    """When the first row began: from the first row whose time is known, or the last change of metrics.jsonl."""
    took = 0.0
    for old, second in zip(times, seconds, strict=True):
        took += second
        if (first := next((one for one in old if one is not None), None)) is not None:
            return first - took
    metrics = folder.parent / "metrics.jsonl"
    return (metrics.stat().st_mtime if metrics.is_file() else now()) - took


def _merged(events: Sequence[Event], due: Sequence[_Due], last: int | None) -> list[Event]:
    """What a folder's one file should hold: its version, the graph, then row by row the points and images."""
    from tensorboard.compat.proto.event_pb2 import Event

    old = {_key(event): event for event in events}  # the last of each
    wanted = {(one.point.tag, one.point.step) for one in due}
    tags = {tag for tag, _ in wanted}
    placed: list[tuple[int, Event]] = [(one.place, _scalar(one, old)) for one in due]
    for key, event in old.items():
        tag = key[1] if key[0] == "value" else None
        if key[0] == "file_version" or (tag is not None and (tag, event.step) in wanted):
            continue
        if not _outdated(event, tag, tags, last):
            placed.append((event.step, event))
    placed.sort(key=lambda one: (one[0], 0 if one[1].HasField("summary") else -1))
    first = min((event.wall_time for _, event in placed), default=now())
    version = next((event for event in events if event.HasField("file_version")), None)
    return [version or Event(wall_time=first, file_version="brain.Event:2"), *(event for _, event in placed)]


def _key(event: Event) -> tuple[Any, ...]:
    """What may stand in a file once: one tag at one step, one graph, one version; anything else, as it is."""
    kind = event.WhichOneof("what")
    if kind == "summary" and len(event.summary.value) == 1:
        return "value", event.summary.value[0].tag, event.step
    if kind in {"file_version", "graph_def"}:
        return (kind,)
    return kind, event.step, event.SerializeToString()


def _outdated(event: Event, tag: str | None, tags: set[str], last: int | None) -> bool:
    """Whether an event that no row stands for is left of a row that is gone."""
    if tag is None:
        return False
    value = event.summary.value[0]
    scalar = value.metadata.plugin_data.plugin_name == "scalars" or value.HasField("simple_value")
    if scalar and tags and (tag in tags or _OF_CLASSIFIER.fullmatch(tag)):
        return True
    return last is not None and event.step > last and ("/" not in tag or last == 0)


def _scalar(one: _Due, old: Mapping[tuple[Any, ...], Event]) -> Event:
    """A point as an event: the old one where that says the same."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    tag, step = one.point.tag, one.point.step
    summary = scalar_pb(tag, one.point.value)
    event = old.get(("value", tag, step))
    if event is not None and event.summary.value[0].tensor == summary.value[0].tensor:
        return event
    return Event(wall_time=one.wall_time, step=step, summary=summary)


def _replace(folder: Path, events: Sequence[Event]) -> None:
    """Make one file of these events the only event file of a folder."""
    content = b"".join(as_record(event.SerializeToString()) for event in events)
    files = sorted(folder.glob(EVENT_FILES))
    if len(files) == 1 and files[0].read_bytes() == content:
        return
    if len(events) > 1:
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / _ASIDE
        with aside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        name = f"events.out.tfevents.{int(events[0].wall_time):010d}.tlkit.0.0.v2"
        aside.replace(files.pop(0) if files else folder / name)
    for file in files:
        file.unlink()
