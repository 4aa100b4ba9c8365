"""Decompression bombs: small files that declare far more pixels than anybody decodes, drawn without those pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, features


def png(width: int, height: int, bits: int = 8, colour: int = 2, *, whole: bool = False) -> bytes:
    """A PNG of one even tone; its rows are packed one after the other, and not at all unless `whole`."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + -(-min(width, 2**20) * bits * samples // 8))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height if whole else 1)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(some)) + name + some + struct.pack(">I", zlib.crc32(name + some))
        for name, some in chunks
    )


def encoded(form: str, size: tuple[int, int] = (32, 24), mode: str = "RGB", **options) -> bytearray:
    """A real small file, whose header is then made to lie."""
    stream = io.BytesIO()
    Image.new(mode, size, 99).save(stream, form, **options)
    return bytearray(stream.getvalue())


def jpeg(width: int, height: int, **options) -> bytes:
    """A JPEG whose frame header says so; its thumbnail in the EXIF segment keeps a frame header of its own."""
    thumbnail = bytes(encoded("JPEG", (16, 16)))
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    found = encoded("JPEG", **options)
    found[2:2] = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    frame = max(found.rfind(b"\xff\xc0"), found.rfind(b"\xff\xc2")) + 5
    found[frame : frame + 4] = struct.pack(">HH", height, width)
    return bytes(found)


def gif(width: int, height: int, images: int) -> bytes:
    """A GIF of equal images with a delay each, every one of them cut off after its first pixels."""
    found = bytearray(b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6))
    one = b"\x21\xf9\x04\0\0\0\0\0\x2c" + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x02\x02\x44\x01\0"
    return bytes(found + one * images + b";")


def bmp(width: int, height: int) -> bytes:
    """A BMP whose second header says so."""
    found = encoded("BMP")
    found[18:26] = struct.pack("<ii", width, height)
    return bytes(found)


def webp(form: str, width: int, height: int) -> bytes:
    """A WebP with a canvas (VP8X), or a lossless (VP8L) or lossy (VP8) frame that says so."""
    if form == "VP8X":
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides + bytes(encoded("WEBP")[12:])
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    found = encoded("WEBP", lossless=form == "VP8L")
    if form == "VP8L":
        found[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    else:
        found[26:30] = struct.pack("<HH", width, height)
    return bytes(found)


def tiff(width: int, height: int, tile: tuple[int, int] | None = None) -> bytes:
    """A TIFF, group 4 packed; with `tile` its pixels lie in tiles of that size."""
    entries = [(256, width), (257, height), (258, 1), (259, 4), (262, 0), (277, 1)]
    entries += (
        [(322, tile[0]), (323, tile[1]), (324, 8), (325, 4)] if tile else [(273, 8), (278, height), (279, 4)]
    )
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries))
    return (
        b"II*\0"
        + struct.pack("<IHH", 8, len(entries), 0)[:4]
        + struct.pack("<H", len(entries))
        + table
        + bytes(8)
    )


def pgm(width: int, height: int) -> bytes:
    """A PGM of which only the header is there."""
    return f"P5 {width} {height} 255\n".encode() + bytes(100)


def jpeg2000(width: int, height: int) -> bytes:
    """A JPEG 2000 whose boxes say so, outer and inner."""
    return (
        bytes(encoded("JPEG2000"))
        .replace(struct.pack(">II", 24, 32), struct.pack(">II", height, width))
        .replace(struct.pack(">II", 32, 24), struct.pack(">II", width, height))
    )


def avif(width: int, height: int) -> bytes:
    """An AVIF whose box of sides says so; nothing where this Pillow does not know the format."""
    if "avif" not in features.get_supported():
        return b""
    return bytes(encoded("AVIF")).replace(struct.pack(">II", 32, 24), struct.pack(">II", width, height))


def corpus() -> Iterator[tuple[str, bytes]]:
    """Name and contents of each; all declare more than 100 million pixels."""
    yield "rgb.png", png(30_000, 30_000)
    yield "rgba16.png", png(20_000, 20_000, 16, 6)
    yield "bits.png", png(60_000, 60_000, 1, 0)
    yield "sides.png", png(2**31 - 1, 2**31 - 1)
    yield "beyond.png", png(2**32 - 1, 2**32 - 1)
    yield "wide.png", png(100_000_001, 1)
    yield "photo.jpg", jpeg(30_000, 30_000)
    yield "progressive.jpg", jpeg(65_500, 65_500, progressive=True)
    yield "film.gif", gif(1000, 1000, 300)
    yield "screen.gif", gif(65_535, 65_535, 1)
    yield "sides.bmp", bmp(2**31 - 1, -(2**31))
    yield "rows.bmp", bmp(40_000, 40_000)
    yield "canvas.webp", webp("VP8X", 16_384, 16_384)
    yield "lossless.webp", webp("VP8L", 16_384, 16_384)
    yield "lossy.webp", webp("VP8", 16_383, 16_383)
    yield "fax.tif", tiff(60_000, 60_000)
    yield "tile.tif", tiff(32, 24, (65_536, 65_536))
    yield "grey.pgm", pgm(30_000, 30_000)
    yield "boxes.jp2", jpeg2000(30_000, 30_000)
    if contents := avif(16_000, 16_000):
        yield "sides.avif", contents
