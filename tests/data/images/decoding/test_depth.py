"""Depth is kept both ways, formats are read as they are meant, and bad files are named."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tlkit.data.images.decoding.depth import channels_of, image_bits, read_images, write_image
from tlkit.errors import DataFault

ROWS, COLUMNS = np.mgrid[:16, :16]


def deep(seed=0, shape=(16, 16)):
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def colours(seed=0, shape=(16, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(folder, name, image, **options):
    image.save(folder / name, **options)
    return folder / name


def read_one(file, size=16, channels=1, **options):
    return read_images([file], size, channels, **options)[0]


# --- round trips -------------------------------------------------------------------------------------------


def test_every_level_of_a_16_bit_grey_survives_writing_and_reading(tmp_path):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    write_image(tmp_path / "a.png", levels.astype(np.float32) / np.float32(65535), bits=16)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), levels[..., 0])
    assert np.array_equal(np.rint(read_one(tmp_path / "a.png", 256) * 65535), levels)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_of_8_bits_survives(tmp_path, channels):
    levels = colours(shape=(16, 16, channels))
    write_image(tmp_path / "a.png", levels.astype(np.float32) / np.float32(255))
    again = read_one(tmp_path / "a.png", 16, channels)
    assert again.dtype == np.float32
    assert np.array_equal(np.rint(again * 255), levels)


def test_colour_is_written_with_8_bits_whatever_is_asked_and_values_outside_are_clipped(tmp_path):
    image = np.full((4, 4, 3), 0.5, np.float32)
    image[0], image[1] = -0.2, 1.7
    write_image(tmp_path / "a.png", image, bits=16)
    stored = np.asarray(Image.open(tmp_path / "a.png"))
    assert stored[:, 0].tolist() == [[0, 0, 0], [255] * 3, [128] * 3, [128] * 3]


def test_no_image_of_nan_is_written(tmp_path):
    image = np.zeros((4, 4, 1), np.float32)
    image[2, 1] = np.nan
    with pytest.raises(DataFault, match=r"a\.png has values that are no numbers"):
        write_image(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


# --- formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tif"])
def test_16_bit_greys_of_every_format(tmp_path, name):
    values = deep()
    file = save(tmp_path, name, Image.fromarray(values))
    assert image_bits([file]) == 16
    assert np.array_equal(read_one(file)[..., 0], values.astype(np.float32) / np.float32(65535))


def test_a_big_endian_tiff(tmp_path):
    values = deep()
    header = b"MM\x00*\x00\x00\x00\x08"
    body = 8 + 2 + 12 * 8 + 4
    fields = [
        (256, 3, 16),
        (257, 3, 16),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, body),
        (278, 3, 16),
    ]
    fields += [(279, 4, 512)]
    entries = b""
    for tag, kind, value in fields:
        packed = value.to_bytes(4, "big") if kind == 4 else value.to_bytes(2, "big") + b"\0\0"
        entries += tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + b"\0\0\0\1" + packed
    raw = header + len(fields).to_bytes(2, "big") + entries + b"\0\0\0\0" + values.astype(">u2").tobytes()
    (tmp_path / "a.tif").write_bytes(raw)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "I;16B"
    assert np.array_equal(np.rint(read_one(tmp_path / "a.tif")[..., 0] * 65535), values)


def test_luma_of_colour_is_taken_in_float(tmp_path):
    pixels = colours()
    file = save(tmp_path, "a.png", Image.fromarray(pixels))
    red, green, blue = np.moveaxis(pixels.astype(np.float64) / 255, 2, 0)
    assert np.allclose(read_one(file)[..., 0], 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-6)


def test_palette_alpha_cmyk_and_one_bit(tmp_path):
    pixels = colours()
    palette = Image.fromarray(pixels).quantize(8)
    expected = np.asarray(palette.convert("RGB")) / 255
    assert np.allclose(read_one(save(tmp_path, "p.png", palette), 16, 3), expected, atol=1e-6)
    transparent = Image.fromarray(np.dstack([pixels, np.zeros((16, 16), np.uint8)]))
    assert np.allclose(read_one(save(tmp_path, "t.png", transparent), 16, 3), pixels / 255, atol=1e-6)
    grey_alpha = Image.merge("LA", [Image.fromarray(pixels[..., channel]) for channel in (0, 1)])
    assert np.allclose(
        read_one(save(tmp_path, "la.png", grey_alpha))[..., 0], pixels[..., 0] / 255, atol=1e-6
    )
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow: red
    red = read_one(save(tmp_path, "c.tif", ink), 16, 3)
    assert red.reshape(-1, 3).min(axis=0).tolist() == [1, 0, 0] == red.reshape(-1, 3).max(axis=0).tolist()
    squares = Image.fromarray((ROWS + COLUMNS) % 2 == 0)
    assert np.array_equal(read_one(save(tmp_path, "1.png", squares))[..., 0], (ROWS + COLUMNS) % 2 == 0)


@pytest.mark.parametrize("turn", range(2, 9))
def test_a_turned_jpeg_equals_its_upright_copy(tmp_path, turn):
    image = Image.fromarray((ROWS * 9 + (COLUMNS > 8) * 90).astype(np.uint8)).resize((24, 16))
    exif = Image.Exif()
    exif[0x0112] = turn
    method = [None, None, 0, 3, 1, 5, 4, 6, 2][turn]  # Image.Transpose that undoes it
    stored = save(tmp_path, "a.jpg", image, exif=exif, quality=95)
    again = Image.open(stored)
    upright = save(tmp_path, "b.png", again.transpose(Image.Transpose(method)))
    assert np.array_equal(read_one(stored, 16, fit="pad"), read_one(upright, 16, fit="pad"))


def test_malformed_exif_leaves_the_image_as_it_is_stored(tmp_path):
    pixels = (ROWS * 16).astype(np.uint8)
    file = save(
        tmp_path, "a.jpg", Image.fromarray(pixels), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", quality=95
    )
    assert abs(read_one(file)[..., 0] - pixels / 255).max() < 0.03


# --- fitting -----------------------------------------------------------------------------------------------


def test_shrinking_does_not_alias(tmp_path):
    stripes = np.where(np.mgrid[:120, :120][1] % 2, 255, 0).astype(np.uint8)
    file = save(tmp_path, "a.png", Image.fromarray(stripes))
    inner = read_one(file, 32)[:, 2:-2, 0]
    assert abs(inner - 0.5).max() < 0.02  # every other column would give 0 and 1, or waves between


def test_shrinking_keeps_depth_and_range(tmp_path):
    values = np.where(np.mgrid[:64, :64][1] < 32, 30000, 30003).astype(np.uint16)
    small = read_one(save(tmp_path, "a.png", Image.fromarray(values)), 16)[..., 0] * 65535
    assert np.allclose(small[:, :5], 30000, atol=0.02)
    assert np.allclose(small[:, 11:], 30003, atol=0.02)
    edge = save(tmp_path, "b.png", Image.fromarray(np.where(ROWS < 8, 0, 255).astype(np.uint8)))
    large = read_one(edge, 50)
    assert (large.min(), large.max()) == (0, 1)


def test_a_huge_jpeg_read_at_a_fraction_looks_the_same(tmp_path):
    y, x = np.mgrid[:800, :640]
    pixels = (127 + 90 * np.sin(x / 40) * np.cos(y / 60)).astype(np.uint8)
    huge = read_one(save(tmp_path, "a.jpg", Image.fromarray(pixels), quality=95), 32)
    whole = read_one(save(tmp_path, "a.png", Image.fromarray(pixels)), 32)
    assert abs(huge - whole).max() < 0.02


@pytest.mark.parametrize(
    ("shape", "rows", "columns"), [((10, 40), (6, 10), (0, 16)), ((40, 10), (0, 16), (6, 10))]
)
def test_padding_keeps_the_aspect_and_takes_the_median_of_the_border(tmp_path, shape, rows, columns):
    pixels = np.full(shape, 204, np.uint8)
    pixels[shape[0] // 2 - 2 : shape[0] // 2 + 2, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 0
    square = read_one(save(tmp_path, "a.png", Image.fromarray(pixels)), 16, fit="pad")[..., 0]
    outside = np.ones((16, 16), bool)
    outside[slice(*rows), slice(*columns)] = False
    assert outside.sum() == 192
    assert np.allclose(square[outside], 0.8)
    assert square[8, 8] < 0.4
    assert square.mean() > 0.7  # the blot is small: not stretched over the square


def test_padding_of_colour_is_by_channel(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8) + np.uint8([255, 51, 0])
    square = read_one(save(tmp_path, "a.png", Image.fromarray(pixels)), 16, 3, fit="pad")
    assert np.allclose(square, [1, 0.2, 0], atol=1e-6)


def test_a_hair_of_a_image_still_has_a_pixel(tmp_path):
    file = save(tmp_path, "a.png", Image.fromarray(np.full((1, 300), 255, np.uint8)))
    assert np.allclose(read_one(file, 16, fit="pad"), 1)


# --- what a set holds --------------------------------------------------------------------------------------


def test_bits_and_channels_of_a_set(tmp_path):
    grey = save(tmp_path, "grey.png", Image.fromarray(colours()[..., 0]))
    as_rgb = save(tmp_path, "rgb.png", Image.fromarray(colours()[..., :1].repeat(3, axis=2)))
    tinted = save(tmp_path, "tinted.jpg", Image.open(as_rgb), quality=60)
    coloured = save(tmp_path, "colour.png", Image.fromarray(colours()))
    sixteen = save(tmp_path, "deep.png", Image.fromarray(deep()))
    assert channels_of([grey, as_rgb, tinted, sixteen]) == 1
    assert channels_of([grey, as_rgb, coloured]) == 3
    assert image_bits([grey, as_rgb, coloured]) == 8
    assert image_bits([grey, sixteen]) == 16
    assert channels_of([]) == 1
    assert read_images([], 16, 1).shape == (0, 16, 16, 1)


def test_a_grey_in_three_channels_and_several_sizes_in_one_array(tmp_path):
    files = [save(tmp_path, f"{n}.png", Image.fromarray(colours(n, (n, 2 * n)))) for n in (9, 16, 40)]
    images = read_images(files, 16, 3)
    assert images.shape == (3, 16, 16, 3)
    assert np.ptp(images, axis=3).max() == 0


# --- faults ------------------------------------------------------------------------------------------------


def test_bad_files_are_named(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("hello")
    whole = save(tmp_path, "whole.png", Image.fromarray(colours(shape=(64, 64, 3)))).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    save(tmp_path, "float.tif", Image.fromarray(np.full((4, 4), 3.5, np.float32)))
    save(tmp_path, "wide.tif", Image.fromarray(np.full((4, 4), 70000, np.int32)))
    said = {}
    for name in ("empty.png", "text.jpg", "cut.png", "float.tif", "wide.tif", "absent.png"):
        with pytest.raises(DataFault) as fault:
            read_images([tmp_path / name], 16, 1)
        said[name] = fault.value.problem
        assert str(tmp_path / name) in fault.value.problem
    assert "is not an image that can be read" in said["text.jpg"]
    assert "3.5 to 3.5" in said["float.tif"]
    assert "70000" in said["wide.tif"]
    assert "is not there" in said["absent.png"]


def test_a_bad_file_is_named_by_bits_and_channels_too(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataFault, match="text"):
        image_bits([tmp_path / "text.png"])
    whole = save(tmp_path, "whole.png", Image.fromarray(colours(shape=(64, 64, 3)))).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFault, match="cut"):
        channels_of([tmp_path / "cut.png"])


def test_tensorflow_is_not_needed():
    code = "import sys, tlkit.data.images.decoding.depth; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.real
def test_real_greys_are_greys_and_photographs_are_not(real_data):
    threats = sorted((real_data / "threats").glob("*/*.*"))[::7]
    pets = sorted((real_data / "cats-dogs").glob("*/*.*"))[:20]
    assert (channels_of(threats), image_bits(threats)) == (1, 8)
    assert channels_of(pets) == 3
    images = read_images(threats, 32, 1, fit="pad")
    assert np.isfinite(images).all()
    assert images.std(axis=(1, 2)).min() > 0.005
