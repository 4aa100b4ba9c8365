"""The look at a file before training is the decoder's word: what passes it decodes, in training and when served."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import draw
from tlkit.data.checks.files import look_at
from tlkit.data.images.decoding.decode import decode_and_resize, read_contents
from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES
from tlkit.data.images.inspection import inspect_file

decoded = tf.function(lambda one: decode_and_resize(one, 16), [tf.TensorSpec([], tf.string)], autograph=False)


def encoded(form, mode="RGB", size=24, **options):
    stream = io.BytesIO()
    image = draw(1, 0, size)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 200)
    (image if mode in ("RGB", "I;16") else image.convert(mode)).save(stream, form, **options)
    return stream.getvalue()


def interlaced(contents, size=24):
    """The same PNG of 8-bit RGB by Adam7, which Pillow reads and does not write."""
    pixels = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
    rows = b""
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::dy, x::dx])
    header = struct.pack(">2I5B", size, size, 8, 2, 0, 0, 1)
    return contents[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(name, contents):
    return struct.pack(">I", len(contents)) + name + contents + struct.pack(">I", zlib.crc32(name + contents))


FILES = {
    "rgb.jpg": encoded("JPEG"),
    "grey.jpg": encoded("JPEG", "L"),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "cmyk.jpg": encoded("JPEG", "CMYK"),
    "rgb.png": encoded("PNG"),
    "grey.png": encoded("PNG", "L"),
    "palette.png": encoded("PNG", "P"),
    "bits.png": encoded("PNG", "1"),
    "clear.png": encoded("PNG", "RGBA"),
    "deep.png": encoded("PNG", "I;16"),
    "woven.png": interlaced(encoded("PNG")),
    "rgb.bmp": encoded("BMP"),
    "palette.bmp": encoded("BMP", "P"),
    "one.gif": encoded("GIF", "P"),
    "lossy.webp": encoded("WEBP"),
    "lossless.webp": encoded("WEBP", lossless=True),
    "clear.webp": encoded("WEBP", "RGBA"),
    "rgb.tif": encoded("TIFF"),
    "packed.tif": encoded("TIFF", compression="tiff_lzw"),
    "deep.tif": encoded("TIFF", "I;16"),
    "grey.pgm": encoded("PPM", "L"),
    **({"image.avif": encoded("AVIF")} if ".avif" in IMAGE_SUFFIXES else {}),
    **({"image.jp2": encoded("JPEG2000")} if ".jp2" in IMAGE_SUFFIXES else {}),
}

# A damaged CMYK JPEG passes about once in 2,000: Pillow forgives tables that TensorFlow does not. It is named when
# it is decoded, before the first epoch.
PROVEN = [name for name in FILES if name != "cmyk.jpg"]


def damaged(contents, name, generator):
    """One to three changes; those of a PNG's chunks keep their checksums right half of the time."""
    data = bytearray(contents)
    for _ in range(generator.integers(1, 4)):
        place, kind = int(generator.integers(len(data))), generator.integers(5)
        if kind == 0:
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            data[place] = int(generator.integers(256))
        elif kind == 2:
            del data[place : place + int(generator.integers(1, 9))]
        elif kind == 3:
            data[place:place] = bytes(generator.integers(0, 256, generator.integers(1, 9), np.uint8))
        elif len(data) > 20:
            del data[max(place, 20) :]
    return with_checksums(bytes(data)) if name.endswith(".png") and generator.random() < 0.5 else bytes(data)


def with_checksums(data):
    """A PNG whose chunks have right checksums, as far as its lengths lead."""
    out, place = data[:8], 8
    while place + 8 <= len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        if place + 12 + length > len(data):
            return out + data[place:]
        out += chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length])
        place += 12 + length
    return out


def decodes(file):
    try:
        return decoded(read_contents(file)).shape == (16, 16, 3)
    except (ValueError, OSError, tf.errors.InvalidArgumentError):
        return False


def passes_both_looks(file):
    look = look_at(file, file.name)
    return inspect_file(file).error is None and not any(f.severity == "error" for f in look.findings)


@pytest.mark.parametrize("name", FILES)
def test_sound_files_pass_and_decode(name, tmp_path):
    (tmp_path / name).write_bytes(FILES[name])
    assert passes_both_looks(tmp_path / name)
    assert decodes(tmp_path / name)


def both_looks_are_the_decoders_word(names, times, tmp_path):
    generator, passed, wrong = np.random.default_rng(0), 0, []
    for number in range(times):
        name = names[number % len(names)]
        file = tmp_path / name
        file.write_bytes(damaged(FILES[name], name, generator))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
            seen = (
                inspect_file(file).error is None,
                not any(f.severity == "error" for f in look_at(file, name).findings),
            )
            if any(seen) and not decodes(file):
                wrong.append((number, name, seen))
            passed += all(seen)
    assert wrong == []
    return passed


def test_what_passes_the_look_decodes(tmp_path):
    assert both_looks_are_the_decoders_word(PROVEN, 460, tmp_path) > 20


@pytest.mark.slow
def test_what_passes_the_look_decodes_in_20_000_damaged_files(tmp_path):
    assert both_looks_are_the_decoders_word(PROVEN, 20_000, tmp_path) > 1_000


def test_a_png_whose_data_end_before_its_pixels_is_named_before_training(tmp_path):
    header = struct.pack(">2I5B", 24, 24, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 73 * 20)
    short = FILES["rgb.png"][:8] + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "short.png").write_bytes(short)
    assert inspect_file(tmp_path / "short.png").error == "is cut short: its data end before its pixels do"
    assert not decodes(tmp_path / "short.png")


def test_a_tiff_of_floats_is_named_before_training(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    assert (
        inspect_file(tmp_path / "float.tif").error
        == "has values (0.5 to 0.5) that are not 8 or 16 bit integers"
    )
