"""Which formats the decoder takes, told from a file's bytes without TensorFlow, so that no run meets them later.

Pillow is kinder than TensorFlow: it shows a PNG whose end is missing or whose checksum is wrong, a BMP with two
colours, an animated WebP. Such files would stop a training at the first batch that has one.
"""

from __future__ import annotations

import zlib
from pathlib import PurePath
from typing import BinaryIO

from PIL import Image

NATIVE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"))
NATIVE_FORMATS = frozenset(("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP"))  # MPO: a JPEG with further pictures
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".pgm", ".ppm", ".pbm", ".pnm"),
}
BMP_BITS = frozenset((8, 24, 32))
MOST_CHUNKS = 100_000  # of a PNG; real files have one for every 8 to 64 KiB
TRUNCATED = "is truncated"


def refusal(stream: BinaryIO, image: Image.Image, name: str) -> str | None:
    """Why the decoder refuses a picture that Pillow opens, as the end of a sentence; None if it does not.

    Args:
        stream: The file, seekable.
        image: What Pillow made of it.
        name: Its name; TensorFlow decodes what ends like one of its formats, Pillow all else.
    """
    found = image.format or "unknown"
    if PurePath(name).suffix.lower() not in NATIVE_SUFFIXES:
        return None
    if found not in NATIVE_FORMATS:
        return f"is {found} inside, which its suffix does not say"
    if found == "PNG":
        return png_fault(stream)
    if found == "BMP":
        return _bmp_fault(stream)
    if found == "WEBP" and getattr(image, "is_animated", False):
        return "is an animated WebP, which TensorFlow does not decode"
    return None


def png_fault(stream: BinaryIO) -> str | None:
    """What is wrong with a PNG's chunks (length, name, contents, checksum), as the end of a sentence.

    Source: PNG specification, third edition, section 5.3.
    """
    stream.seek(8)
    for _ in range(MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return TRUNCATED
        checksum, left = zlib.crc32(head[4:]), int.from_bytes(head[:4], "big")
        while left:
            piece = stream.read(min(left, 1 << 20))
            if not piece:
                return TRUNCATED
            checksum, left = zlib.crc32(piece, checksum), left - len(piece)
        stored = stream.read(4)
        if len(stored) < 4:
            return TRUNCATED
        if int.from_bytes(stored, "big") != checksum:
            return f"is damaged (checksum of its {head[4:].decode('ascii', 'replace')} chunk)"
        if head[4:] == b"IEND":
            return None
    return f"has more than {MOST_CHUNKS:,} chunks"


def _bmp_fault(stream: BinaryIO) -> str | None:
    """Source: Microsoft, BITMAPINFOHEADER: bits a pixel at offset 28, compression at 30."""
    stream.seek(0)
    head = stream.read(34)
    bits, compression = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    if bits not in BMP_BITS:
        return f"is a BMP with {bits} bits a pixel, which TensorFlow does not decode"
    if compression in {1, 2}:
        return "is a compressed BMP, which TensorFlow does not decode"
    return None
