"""One file at a time: every way to break it, and that what is whole is left in peace."""

from __future__ import annotations

import os
import zlib

import numpy as np
import pytest
from PIL import Image

from tlkit.data.checks.files import look_at, look_at_files
from tlkit.data.images.decoding.formats import png_fault
from tlkit.data.images.inspection import inspect_file

NOISE = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
PHOTO = Image.fromarray(NOISE)
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIX = {"JPEG": "jpg", "TIFF": "tif", "PPM": "ppm"}


def path_of(folder, name):
    return folder / f"picture.{SUFFIX.get(name, name.lower())}"


def kinds(file):
    return [found.kind for found in look_at(file, file.name).findings]


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_has_no_faults(name, tmp_path):
    file = path_of(tmp_path, name)
    PHOTO.save(file)
    look = look_at(file, file.name)
    assert look.findings == ()
    assert look.sha256 == inspect_file(file).sha256
    np.testing.assert_array_equal(look.thumbnail, inspect_file(file).thumbnail)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_a_file_that_is_cut_is_no_image(name, share, tmp_path):
    file = path_of(tmp_path, name)
    PHOTO.save(file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    look = look_at(file, file.name)
    assert [found.severity for found in look.findings] == ["error"]
    assert look.findings[0].kind in {"truncated", "undecodable"}
    assert look.error
    assert inspect_file(file).error


@pytest.mark.parametrize("missing", [1, 4, 12, 13, 20])
def test_a_png_without_its_end_is_truncated_though_pillow_shows_it(missing, tmp_path):
    file = tmp_path / "picture.png"
    PHOTO.save(file)
    file.write_bytes(file.read_bytes()[:-missing])
    with Image.open(file) as image:
        image.load()
    assert kinds(file) == ["truncated"]
    assert inspect_file(file).error == "is truncated"


def test_a_png_with_a_wrong_checksum_is_damaged(tmp_path):
    file = tmp_path / "picture.png"
    PHOTO.save(file)
    contents = bytearray(file.read_bytes())
    start = contents.index(b"IDAT")
    length = int.from_bytes(contents[start - 4 : start], "big")
    contents[start + 4 + length] ^= 1  # the first byte of the checksum
    file.write_bytes(contents)
    (found,) = look_at(file, file.name).findings
    assert (found.kind, found.sentence) == (
        "undecodable",
        "picture.png is damaged (checksum of its IDAT chunk).",
    )


def test_bytes_after_the_end_are_no_fault(tmp_path):
    for name in ("PNG", "JPEG"):
        file = path_of(tmp_path, name)
        PHOTO.save(file)
        file.write_bytes(file.read_bytes() + b"left over")
        assert kinds(file) == []


def test_a_png_of_endless_chunks_is_left(tmp_path):
    file = tmp_path / "picture.png"
    chunk = b"\0\0\0\0tEXt" + zlib.crc32(b"tEXt").to_bytes(4, "big")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk * 100_001)
    with file.open("rb") as stream:
        assert png_fault(stream) == "has more than 100,000 chunks"


@pytest.mark.parametrize("bits", ["1", "4-bit palette"])
def test_a_bmp_that_tensorflow_does_not_decode_is_said(bits, tmp_path):
    file = tmp_path / "picture.bmp"
    PHOTO.convert("1").save(file)
    if bits != "1":
        contents = bytearray(file.read_bytes())
        contents[28] = 4
        file.write_bytes(contents + bytes(4000))
    (found,) = look_at(file, file.name).findings
    assert found.kind == "undecodable"
    assert found.sentence.endswith(f"is a BMP with {bits[0]} bits a pixel, which TensorFlow does not decode.")


def test_an_animated_webp_is_an_error_and_an_animated_gif_a_warning(tmp_path):
    others = [Image.fromarray(NOISE[::-1]), Image.fromarray(255 - NOISE)]
    for name, expected in (("WEBP", "undecodable"), ("GIF", "animated")):
        file = path_of(tmp_path, name)
        PHOTO.save(file, save_all=True, append_images=others)
        assert kinds(file) == [expected]


@pytest.mark.parametrize(
    ("inside", "suffix", "severity"),
    [
        ("JPEG", "png", "warning"),
        ("PNG", "tif", "warning"),
        ("TIFF", "png", "error"),
        ("PPM", "jpg", "error"),
    ],
)
def test_a_wrong_suffix_is_grave_where_tensorflow_has_to_decode(inside, suffix, severity, tmp_path):
    file = tmp_path / f"picture.{suffix}"
    PHOTO.save(file, format=inside)
    (found,) = look_at(file, file.name).findings
    assert (found.kind, found.severity) == ("wrong-extension", severity)
    assert f"{inside} inside" in found.sentence
    assert found.remedy == f"Rename it to picture.{SUFFIX.get(inside, inside.lower()).replace('ppm', 'pgm')}."


def test_transparency_that_hides_nothing_is_no_fault(tmp_path):
    PHOTO.convert("RGBA").save(tmp_path / "opaque.png")
    assert kinds(tmp_path / "opaque.png") == []
    few = PHOTO.convert("P")
    few.save(tmp_path / "few.png", transparency=few.getpixel((0, 0)))
    assert kinds(tmp_path / "few.png") == ["palette", "alpha"]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_in_every_format_that_has_them(suffix, tmp_path):
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray((np.arange(1600).reshape(40, 40) * 40).astype(np.uint16)).save(file)
    assert kinds(file) == ["sixteen-bit"]


def test_sixteen_bit_colours_are_seen_though_pillow_reads_eight(tmp_path):
    """A PNG of 2 x 1 pixels with 16 bits a colour, written by hand."""

    def chunk(name, contents):
        return (
            len(contents).to_bytes(4, "big")
            + name
            + contents
            + zlib.crc32(name + contents).to_bytes(4, "big")
        )

    row = b"\0" + bytes(range(12))
    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    file = tmp_path / "deep.png"
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )
    assert "sixteen-bit" in kinds(file)


def test_narrow_values_say_what_becomes_of_them(tmp_path):
    file = tmp_path / "deep.png"
    Image.fromarray(np.linspace(0, 4095, 1600).reshape(40, 40).astype(np.uint16)).save(file)
    narrow = look_at(file, file.name).findings[1]
    assert narrow.kind == "narrow-range"
    assert "4095 of 65535, which is read as 16 of 255" in narrow.sentence  # (4095 + 128) // 257


def test_an_even_jpeg_is_told_from_one_with_a_spot(tmp_path):
    pixels = np.full((1200, 1200, 3), 128, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "even.jpg")
    pixels[401, 401] = 200  # lost at an eighth of the size, where only means of 64 pixels are decoded
    Image.fromarray(pixels).save(tmp_path / "spot.jpg", quality=95)
    assert kinds(tmp_path / "even.jpg") == ["constant"]
    assert kinds(tmp_path / "spot.jpg") == []


@pytest.mark.parametrize("value", range(1, 9))
def test_every_exif_turn_but_upright_is_said(value, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = value
    PHOTO.save(tmp_path / "turned.jpg", exif=exif)
    assert kinds(tmp_path / "turned.jpg") == ([] if value == 1 else ["exif-turned"])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((80, 10), []), ((81, 10), ["extreme-aspect"]), ((10, 81), ["extreme-aspect"]), ((9, 9), ["extreme-size"])],
)  # fmt: skip
def test_extremes_of_shape_begin_where_said(size, expected, tmp_path):
    Image.fromarray(np.resize(NOISE, (size[1], size[0], 3))).save(tmp_path / "p.png")
    assert kinds(tmp_path / "p.png") == expected


def test_a_bomb_is_told_before_it_is_decoded(tmp_path, monkeypatch):
    file = tmp_path / "huge.png"
    Image.new("1", (10_001, 10_000)).save(file)  # 100 million pixels in some 12 kB
    monkeypatch.setattr(
        "tlkit.data.checks.files.load_reduced", lambda _: pytest.fail("it would have been decoded")
    )
    ((found,),) = [look.findings for look in look_at_files(tmp_path, ["huge.png"])[0]]
    assert found.kind == "decompression-bomb"
    assert found.sentence == (
        "huge.png has 10,001 x 10,000 pixels, more than the limit of 100,000,000, which --max-pixels raises."
    )


def test_what_the_system_refuses_is_said(tmp_path, monkeypatch):
    file = tmp_path / "p.png"
    PHOTO.save(file)

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(file), "open", refuse)
    (found,) = look_at(file, "p.png").findings
    assert (found.kind, found.sentence) == ("unreadable", "p.png may not be read: Permission denied.")
    assert [f.kind for f in look_at(tmp_path / "gone.png", "gone.png").findings] == ["unreadable"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert kinds(tmp_path / "pipe.png") == ["not-a-file"]


def test_files_come_back_in_order_and_are_counted(tmp_path):
    for number in range(12):
        Image.fromarray(np.roll(NOISE, number, 0)).save(tmp_path / f"{number}.png")
    done = []
    names = [f"{number}.png" for number in range(12)]
    looks, thumbnails = look_at_files(tmp_path, names, 3, done.append)
    assert [look.sha256 for look in looks] == [look_at(tmp_path / n, n).sha256 for n in names]
    assert done == list(range(1, 13))
    np.testing.assert_array_equal(thumbnails, [look_at(tmp_path / n, n).thumbnail for n in names])


@pytest.mark.slow
def test_what_is_passed_is_decoded_in_training_however_a_file_is_cut_or_changed(tmp_path):
    """400 damaged files of each format: where we find no error, TensorFlow decodes, but for a JPEG in a hundred.

    A changed byte of a JPEG's image may end it early; libjpeg then warns, which Pillow does not tell.
    """
    import tensorflow as tf

    from tlkit.data.images.decoding.decode import decode, read_contents

    generator = np.random.default_rng(0)
    passed, refused = dict.fromkeys(FORMATS, 0), dict.fromkeys(FORMATS, 0)
    for name in FORMATS:
        file = path_of(tmp_path, name)
        PHOTO.save(file)
        whole = file.read_bytes()
        for number in range(400):
            file.write_bytes(damaged(whole, number, generator))
            if any(found.severity == "error" for found in look_at(file, file.name).findings):
                continue
            passed[name] += 1
            try:
                decode(tf.constant(read_contents(file)))
            except (tf.errors.InvalidArgumentError, ValueError):
                refused[name] += 1
    assert refused.pop("JPEG") <= passed["JPEG"] / 100
    assert refused == dict.fromkeys(refused, 0), passed
    assert sum(passed.values()) > 500


def damaged(whole, number, generator):
    """A file cut anywhere, or with one to five bytes changed."""
    if number % 2:
        return whole[: generator.integers(1, len(whole))]
    contents = bytearray(whole)
    for place in generator.integers(0, len(whole), 1 + number % 5):
        contents[place] = generator.integers(256)
    return bytes(contents)
