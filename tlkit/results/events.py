"""TensorBoard's event files, without TensorFlow: what a resumed run must forget before it writes on.

A file is a row of records (length uint64, its checksum, the bytes of one `Event`, their checksum), all little-endian,
written in the order of time. Events that came after the checkpoint which a run goes on from would stand there twice.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

EVENT_FILES = "events.out.tfevents.*"


def forget(folder: Path, last: int) -> None:
    """Cut every event file below `folder` at its first event of a step after `last`.

    Steps of tags with a slash ("head/loss") count within a phase and are not looked at: they are written behind the
    one that counts over all phases. A file without such events stays untouched, so one that is open is safe.
    """
    for file in sorted(folder.rglob(EVENT_FILES)):
        content = file.read_bytes()
        end = next((start for start, event in records(content) if _beyond(event, last)), None)
        if end is not None:
            aside = file.with_name(f".{file.name}.part")
            with aside.open("wb") as stream:
                stream.write(content[:end])
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(file)


def records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each whole record starts, and its event's bytes."""
    start = 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + 12 + length + 4
        if end > len(content):
            return  # cut short by a kill
        yield start, content[start + 12 : end - 4]
        start = end


def _beyond(event: bytes, last: int) -> bool:
    from tensorboard.compat.proto.event_pb2 import Event

    parsed = Event.FromString(event)
    return parsed.step > last and any("/" not in value.tag for value in parsed.summary.value)
