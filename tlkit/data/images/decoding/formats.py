"""Which formats the decoder takes, told from a file's bytes without TensorFlow, so that no run meets them later.

Pillow is kinder than TensorFlow: it shows a PNG whose end is missing or whose checksum is wrong, a BMP with two
colours, an animated WebP. Such files would stop a training at the first batch that has one.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from importlib.util import find_spec
from pathlib import PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image, features

# HEIC, as phones store photographs, is read where the extra is installed: pip install 'tlkit[heif]'.
HEIF = find_spec("pillow_heif") is not None
if HEIF:
    importlib.import_module("pillow_heif").register_heif_opener()

NATIVE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"))
NATIVE_FORMATS = frozenset(("JPEG", "MPO", "PNG", "BMP", "GIF", "WEBP"))  # MPO: a JPEG with further images
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "HEIF": (".heic", ".heif"),
    "PPM": (".pgm", ".ppm", ".pbm", ".pnm"),
}
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # values a pixel, by colour type
# Adam7: left, top, step to the right, step down of each pass.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
ORIENTATION = 0x0112
PNG_EXIF = (b"eXIfII*\0", b"eXIfMM\0*")  # a PNG's chunk and its TIFF's start, in either order of bytes
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags; the second is 0 where white is
# What Pillow reads besides, in sources only; some of it only where this Pillow was built with it.
PILLOW_SUFFIXES = frozenset((".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff")).union(
    (".avif",) if "avif" in features.get_supported() else (),
    (".jp2", ".j2k") if "jpg_2000" in features.get_supported() else (),
    (".heic", ".heif") if HEIF else (),
)
IMAGE_SUFFIXES = NATIVE_SUFFIXES | PILLOW_SUFFIXES
BMP_BITS = frozenset((8, 24, 32))
MOST_CHUNKS = 100_000  # of a PNG; real files have one for every 8 to 64 KiB
ANIMATED_WEBP = "is an animated WebP, which TensorFlow does not decode"
TRUNCATED = "is truncated"


def refusal(stream: BinaryIO, image: Image.Image, name: str) -> str | None:
    """Why the decoder refuses an image that Pillow opens, as the end of a sentence; None if it does not.

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
    if found == "WEBP":
        return ANIMATED_WEBP if getattr(image, "is_animated", False) else None
    faults = {"PNG": png_fault, "BMP": _bmp_fault, "JPEG": _jpeg_fault, "MPO": _jpeg_fault}
    return faults[found](stream) if found in faults else _gif_fault(stream, image)


def png_fault(stream: BinaryIO) -> str | None:
    """What is wrong with a PNG's chunks (length, name, contents, checksum), as the end of a sentence.

    Source: PNG specification, third edition, section 5.3.
    """
    stream.seek(8)
    pixels: list[_PngPixels] = []
    for _ in range(MOST_CHUNKS):
        name, fault = _png_chunk(stream, pixels)
        if fault:
            return fault
        if name == b"IEND":
            whole = bool(pixels) and pixels[0].complete
            return None if whole else "is cut short: its data end before its pixels do"
    return f"has more than {MOST_CHUNKS:,} chunks"


def _png_chunk(stream: BinaryIO, pixels: list[_PngPixels]) -> tuple[bytes, str | None]:
    """Read one chunk: its name, and what is wrong with it. The header starts `pixels`, the data go there."""
    head = stream.read(8)
    name, left = head[4:], int.from_bytes(head[:4], "big")
    if len(head) < 8:
        return name, TRUNCATED
    checksum, fault = zlib.crc32(name), None
    while left:
        piece = stream.read(min(left, 1 << 20))
        if not piece:
            return name, TRUNCATED
        checksum, left = zlib.crc32(piece, checksum), left - len(piece)
        if name == b"IHDR":
            pixels[:] = [_PngPixels(piece)]
        elif name == b"IDAT" and pixels:
            fault = fault or pixels[0].feed(piece)
    stored = stream.read(4)
    if len(stored) < 4:
        return name, TRUNCATED
    if int.from_bytes(stored, "big") != checksum:
        return name, f"is damaged (checksum of its {name.decode('ascii', 'replace')} chunk)"
    return name, fault


class _PngPixels:
    """Counts what a PNG's data unpack to: Pillow shows black where they end too early, TensorFlow refuses.

    Args:
        header: Contents of the IHDR chunk, 13 bytes.

    Source: PNG specification, third edition, sections 8 (interlacing) and 9 (filters).
    """

    def __init__(self, header: bytes) -> None:
        width, height = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
        bits = header[8] * PNG_SAMPLES.get(header[9], 1) if len(header) > 9 else 8
        passes = ADAM7 if header[12:13] == b"\1" else ((0, 0, 1, 1),)
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
        # each row of each pass: one byte that names its filter, then the samples
        self._rows = [(1 + -(-wide * bits // 8), high) for wide, high in sizes if wide > 0 and high > 0]
        self._left = sum(length * count for length, count in self._rows)
        self._done = 0  # bytes of the pass that stands first in _rows
        self._inflate = zlib.decompressobj()

    @property
    def complete(self) -> bool:
        """Whether all rows have come, and the end of the data with its sum."""
        return self._left <= 0 and self._inflate.eof

    def feed(self, piece: bytes) -> str | None:
        """Take some of the data; why they cannot be used, or None."""
        while piece and not self._inflate.eof:  # beyond the last row too: the sum at the end must be right
            try:
                out = self._inflate.decompress(piece, 1 << 20)
            except zlib.error:
                return "is damaged (its data do not unpack)"
            piece = self._inflate.unconsumed_tail
            if not out and not piece:
                return None
            if not self._filters_known(out):
                return "is damaged (a row has an unknown filter)"
            self._left -= len(out)
        return None

    def _filters_known(self, out: bytes) -> bool:
        while out and self._rows:
            length, count = self._rows[0]
            taken = out[: length * count - self._done]
            if any(mark > 4 for mark in taken[-self._done % length :: length]):
                return False
            out, self._done = out[len(taken) :], self._done + len(taken)
            if self._done == length * count:
                self._rows, self._done = self._rows[1:], 0
        return True


def orientation_of(stream: BinaryIO, image: Image.Image) -> int:
    """How the decoder turns an image: the EXIF orientation 1..8 by its rule (headers.py), 1 for none.

    Pillow's own answer differs: it heeds XMP too, and decodes a whole PNG to look behind its pixels.

    Args:
        stream: The file, seekable.
        image: What Pillow made of it.
    """
    if image.format == "PNG":
        stream.seek(0)
        contents = stream.read()
        starts = [place for mark in PNG_EXIF if (place := contents.find(mark)) >= 0]
        block = contents[min(starts) + 4 :] if starts else b""
    elif image.format in {"JPEG", "MPO", "WEBP"}:
        block = image.info.get("exif") or b""
    else:  # of a TIFF it is a tag of the image itself; other formats have none, or Pillow turns them
        value = image.getexif().get(ORIENTATION, 1) if image.format == "TIFF" else 1
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get(ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def black_level(image: Image.Image) -> int | None:
    """The level that is black in a TIFF of more than 8 bits that counts from white (0); None in all other images.

    Of 8 bits, Pillow inverts such images itself.
    """
    if image.format != "TIFF" or not image.mode.startswith("I"):
        return None
    tags = image.tag_v2  # type: ignore[attr-defined]
    return 2 ** max(tags.get(BITS_PER_SAMPLE, (16,))) - 1 if tags.get(PHOTOMETRIC) == 0 else None


def deep_levels(image: Image.Image, black: int | None = None) -> np.ndarray:
    """Levels of an image of more than 8 bits a value.

    Args:
        image: Of a mode that begins with I or F, loaded.
        black: See `black_level`; ask it before the image is turned.

    Returns:
        uint16 [h, w], 0 black.

    Raises:
        ValueError: Its values are not 16 bit integers; the text is the end of a sentence.
    """
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"has values ({values.min():g} to {values.max():g}) that are not 8 or 16 bit integers"
        )
    return (values if black is None else black - values.astype(np.int64)).astype(np.uint16)


def _jpeg_fault(stream: BinaryIO) -> str | None:
    """A JPEG whose end mark is missing, which Pillow forgives where all rows are there.

    Source: ITU-T T.81, annex B: segments up to the first scan (FF DA), in whose data FF D9 is always the end.
    """
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[:1] == b"\xff" and head[1:2] != b"\xda":
        stream.seek(max(int.from_bytes(head[2:], "big"), 2) - 2, 1)
    return None if b"\xff\xd9" in stream.read() else TRUNCATED


def _bmp_fault(stream: BinaryIO) -> str | None:
    """What TensorFlow refuses of a BMP: some depths, compression, and more or fewer bytes than its rows need.

    Source: Microsoft, BITMAPINFOHEADER: offset of the pixels at 10, width at 18, height at 22, bits a pixel at 28,
    compression at 30; rows are filled up to four bytes.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(34)
    start, width, height = (int.from_bytes(head[i : i + 4], "little", signed=True) for i in (10, 18, 22))
    bits, compression = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    if bits not in BMP_BITS:
        return f"is a BMP with {bits} bits a pixel, which TensorFlow does not decode"
    if compression in {1, 2}:
        return "is a compressed BMP, which TensorFlow does not decode"
    expected = start + (bits // 8 * width + 3) // 4 * 4 * abs(height)
    return None if size == expected else f"has {size:,} bytes where its header asks for {expected:,}"


def _gif_fault(stream: BinaryIO, image: Image.Image) -> str | None:
    """What is wrong with a GIF before and in its first image, where Pillow passes over what it does not know.

    Source: GIF89a specification, sections 18 (screen), 20 (image), 24 (extensions: their blocks end with an empty
    one).
    """
    stream.seek(10)
    colours = _gif_colours(stream.read(3)[:1], stream)
    while (mark := stream.read(1)) == b"!":
        stream.seek(1, 1)
        while length := stream.read(1)[0:1]:
            if length == b"\0":
                break
            stream.seek(length[0], 1)
    if mark != b",":
        return "is damaged (a block of an unknown kind stands before its image)"
    colours = _gif_colours(stream.read(9)[8:], stream) or colours
    image.load()
    largest = image.getextrema()[1] if image.mode in {"L", "P"} else 0
    return None if largest < colours else "is damaged (it has a colour beyond its table)"  # type: ignore[operator]


def _gif_colours(flags: bytes, stream: BinaryIO) -> int:
    """How many colours the table has that follows, which is passed over; 0 if none does."""
    if not flags or flags[0] < 128:
        return 0
    colours = 2 << flags[0] % 8
    stream.seek(3 * colours, 1)
    return colours
