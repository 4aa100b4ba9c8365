"""Decompression bombs: how many pixels a file declares, read from its header, and the most that are decoded.

A file of a few kilobytes can declare gigabytes of pixels. So every reader asks here before anything is decoded, and
the served graph asks the same of the same bytes (`declared_sizes`). The limit belongs to the process, as Pillow's own
does: a command sets it while it runs, the default holds for all else.

Source: PNG third edition section 11.2.1, JPEG (ITU-T T.81 annex B), GIF89a sections 18, 20 and 24, BITMAPINFOHEADER,
WebP container specification (RFC 9649).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

MOST_PIXELS = 100_000_000  # of one file, unless --max-pixels says otherwise
EARLIER_MOST = 250_000_000  # what versions without that option read; their runs go on with it
LONGEST_SIDE = 2**31  # no format declares more; products of two stay within 64 bits
HEAD = 34  # bytes that say the size, but in a JPEG and a GIF
GIF_STEPS = 10_000  # that a GIF's blocks are followed; an image takes two, and one more for each 65 kB
GIF_RUN = 256  # blocks of one length that are passed over in one step
GIF_CONTROL = b"\x21\xf9\x04"  # how what stands before an image begins: its delay, in eight bytes
MOST_SEGMENTS = 100_000  # of a JPEG before its frame; real files have about ten
_limits = [MOST_PIXELS]


class Declared(NamedTuple):
    """What a header says: the sides of an image (the largest of several), how many images, their pixels in all."""

    width: int
    height: int
    images: int
    pixels: int

    def __str__(self) -> str:
        size = f"{self.width:,} x {self.height:,} pixels"
        if self.images > 1:
            return f"{self.images:,} images of up to {size}, {self.pixels:,} in all"
        return size


class TooManyPixels(ValueError):
    """A file declares more pixels than are decoded; the text is the end of a sentence that begins with its name."""


def most_pixels() -> int:
    """The most pixels of a file that are decoded now."""
    return _limits[-1]


@contextmanager
def pixel_limit(most: int | None) -> Iterator[None]:
    """Decode files of so many pixels at most, in all threads, while this is entered; None leaves the limit as it is."""
    _limits.append(most_pixels() if most is None else most)
    try:
        yield
    finally:
        _limits.pop()


def refuse_more(declared: Declared) -> None:
    """Refuse what declares more than `most_pixels`.

    Raises:
        TooManyPixels: It does.
    """
    if declared.pixels > most_pixels():
        raise TooManyPixels(
            f"has {declared}, more than the limit of {most_pixels():,}, which --max-pixels raises"
        )


def refuse_bomb(stream: BinaryIO) -> None:
    """Refuse a file that declares more than `most_pixels`; the stream is then at its beginning again.

    Args:
        stream: Seekable. What is no JPEG, PNG, GIF, BMP or WebP passes: those who open it ask `refuse_more`.

    Raises:
        TooManyPixels: It does.
    """
    declared = declared_size(stream)
    stream.seek(0)
    if declared:
        refuse_more(declared)


def declared_size(stream: BinaryIO) -> Declared | None:
    """What the header of a JPEG, PNG, GIF, BMP or WebP declares; None of other bytes, or where it does not say.

    Of a GIF all images count, for TensorFlow unpacks them all; its screen, which Pillow makes, is an image's least size.
    """
    stream.seek(0)
    head = stream.read(HEAD).ljust(HEAD, b"\0")
    if head.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(stream)
    if head.startswith(b"GIF8"):
        return _of_gif(stream, head)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _one(_big(head[16:20]), _big(head[20:24]))
    if head.startswith(b"BM"):
        return _one(_signed(head[18:22]), _signed(head[22:26]))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _of_webp(head)
    return None


def _one(width: int, height: int) -> Declared:
    width, height = min(width, LONGEST_SIDE), min(height, LONGEST_SIDE)
    return Declared(width, height, 1, width * height)


def _big(some: bytes) -> int:
    return int.from_bytes(some, "big")


def _little(some: bytes) -> int:
    return int.from_bytes(some, "little")


def _signed(some: bytes) -> int:
    """A BMP's side, which is negative where the rows run upwards."""
    return abs(int.from_bytes(some, "little", signed=True))


def _of_webp(head: bytes) -> Declared | None:
    """The canvas (VP8X), else the one frame, lossy or lossless; each holds it at another place."""
    kind = head[12:16]
    if kind == b"VP8X":
        return _one(_little(head[24:27]) + 1, _little(head[27:30]) + 1)
    if kind == b"VP8L":
        bits = _little(head[21:25])
        return _one(bits % 2**14 + 1, (bits >> 14) % 2**14 + 1)
    return _one(_little(head[26:28]) % 2**14, _little(head[28:30]) % 2**14) if kind == b"VP8 " else None


def _of_jpeg(stream: BinaryIO) -> Declared | None:
    """The frame header, found by walking over the segments before it, for a thumbnail in one of them has its own."""
    stream.seek(2)
    for _ in range(MOST_SEGMENTS):
        marker = _next_marker(stream)
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these stand alone
            continue
        length = _big(stream.read(2))
        if marker in {0xD8, 0xD9, 0xDA}:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            frame = stream.read(5).ljust(5, b"\0")
            return _one(_big(frame[3:5]), _big(frame[1:3]))
        stream.seek(max(length - 2, 0), 1)  # libjpeg goes on where a length is too small
    return None


def _next_marker(stream: BinaryIO) -> int:
    """The marker behind the next FF, as libjpeg looks for it: what stands between segments is passed over."""
    byte = stream.read(1)
    while byte:
        while byte and byte != b"\xff":
            piece = stream.read(1 << 16)
            place = piece.find(b"\xff")
            stream.seek((place + 1 if place >= 0 else len(piece)) - len(piece), 1)
            byte = b"\xff" if place >= 0 else piece[:0]
        while byte == b"\xff":
            byte = stream.read(1)
        if byte and byte != b"\0":
            return byte[0]
        byte = stream.read(1)
    return 0xD9


def _of_gif(stream: BinaryIO, head: bytes) -> Declared:
    """All images of a GIF, by walking over its blocks; they end where something else than a block stands."""
    width, height, images, pixels = _little(head[6:8]), _little(head[8:10]), 0, 0
    place, in_blocks = 13 + _colours(head[10]), False
    for _ in range(GIF_STEPS):
        stream.seek(place)
        if in_blocks:
            place, in_blocks = _past_blocks(stream, place)
            continue
        mark = stream.read(18).ljust(18, b"\0")
        if mark.startswith(GIF_CONTROL) and mark[7] == 0:
            place, mark = place + 8, mark[8:]
        if mark[0] == 0x21:
            place += 2
        elif mark[0] == 0x2C:
            wide, high = _little(mark[5:7]), _little(mark[7:9])
            width, height, images, pixels = (
                max(width, wide),
                max(height, high),
                images + 1,
                pixels + wide * high,
            )
            place += 11 + _colours(mark[9])
        else:
            return Declared(width, height, images, max(pixels, width * height))
        in_blocks = True
    return Declared(width, height, images, LONGEST_SIDE**2)


def _colours(flags: int) -> int:
    """Bytes of the table that follows flags of a GIF."""
    return 3 * (2 << flags % 8) if flags >= 128 else 0


def _past_blocks(stream: BinaryIO, place: int) -> tuple[int, bool]:
    """Where a run of blocks of one length and the block behind it end, and whether more follow.

    An empty block is the last, and passed over.
    """

    def length_at(place: int) -> int:
        stream.seek(place)
        return (stream.read(1) or b"\0")[0]

    length = first = length_at(place)
    run = 0
    while run < GIF_RUN and length == first != 0:
        place, run = place + first + 1, run + 1
        length = length_at(place)
    if length:
        place += length + 1
    return (place, True) if length_at(place) else (place + 1, False)
