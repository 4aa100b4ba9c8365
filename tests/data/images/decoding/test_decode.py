"""One decoder: Pillow is the oracle for pixels, hand-made bytes for what a file may say of itself."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tlkit.data.images.decoding.decode import (
    decode,
    decode_and_resize,
    native,
    read_contents,
    read_file,
    resize,
)
from tlkit.data.images.decoding.depth import read_image
from tlkit.data.images.decoding.headers import first_numbers, orientation
from tlkit.data.images.inspection import inspect_file

SCALAR = [tf.TensorSpec([], tf.string)]
decode_graph = tf.function(decode, SCALAR, autograph=False)
resized_graph = tf.function(lambda contents: decode_and_resize(contents, 16), SCALAR, autograph=False)
reduced_graph = tf.function(lambda contents: decode(contents, 32), SCALAR, autograph=False)


def scene(width: int = 61, height: int = 45) -> Image.Image:
    """Smooth colours with one corner marked, neither square nor a multiple of 8."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([255 * x / width, 255 * y / height, 255 * (x + y) / (width + height)], -1)
    pixels[: height // 4, : width // 4] = 255, 0, 0
    return Image.fromarray(pixels.astype(np.uint8))


def encode(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def as_pillow_sees(contents: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).convert("RGB"))


def largest_difference(a, b) -> int:
    a, b = np.asarray(a, int), np.asarray(b, int)
    assert a.shape == b.shape
    return int(np.abs(a - b).max())


def turned(value: int, order: str = "<", **options) -> bytes:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112] = "maker", value
    return encode(scene(), "JPEG", exif=exif, **options)


def orientation_of(contents: tf.Tensor) -> tf.Tensor:
    return orientation(contents, first_numbers(contents, 34))


# --- pixels ---


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"subsampling": 0, "quality": 95}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("WEBP", "RGB", {}),
    ],
)
def test_lossy_formats_are_what_pillow_sees(form, mode, options):
    contents = encode(scene().convert(mode), form, **options)
    assert largest_difference(decode_graph(contents), as_pillow_sees(contents)) <= 1


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
    + [("BMP", mode) for mode in ("RGB", "RGBA", "L", "P")]
    + [("GIF", "P"), ("WEBP", "RGB")],
)
def test_lossless_formats_are_exact(form, mode):
    image = scene().quantize(50) if mode == "P" else scene().convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(scene().convert("L"))  # transparency is dropped, the colours below it are kept
    contents = encode(image, form, **({"lossless": True} if form == "WEBP" else {}))
    assert largest_difference(decode_graph(contents), as_pillow_sees(contents)) == 0


def test_palette_of_four_and_the_first_frame_of_a_film():
    small = encode(scene().quantize(4), "PNG", bits=2)
    assert largest_difference(decode_graph(small), as_pillow_sees(small)) == 0
    film = encode(scene().quantize(9), "GIF", save_all=True, append_images=[Image.new("P", (61, 45), 3)] * 2)
    assert largest_difference(decode_graph(film), as_pillow_sees(film)) == 0


def test_sixteen_bits_by_hand():
    values = np.array([[0, 128, 129, 257, 32767, 32896, 65406, 65407, 65535]], np.uint16)
    levels = [0, 0, 1, 1, 127, 128, 254, 255, 255]  # (v + 128) // 257
    assert [(int(v) + 128) // 257 for v in values[0]] == levels
    pixels = decode_graph(encode(Image.fromarray(values), "PNG")).numpy()
    assert pixels.dtype == np.uint8
    assert pixels[0].tolist() == [[level] * 3 for level in levels]


def test_a_16_bit_image_equals_its_8_bit_copy():
    grey = scene().convert("L")
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    same = largest_difference(decode_graph(encode(deep, "PNG")), decode_graph(encode(grey, "PNG")))
    assert same == 0


# --- orientation ---


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_a_turned_jpeg_is_what_pillow_turns(value, order):
    contents = turned(value, order)
    assert largest_difference(decode_graph(contents), as_pillow_sees(contents)) == 0
    assert decode_graph(contents).shape[:2] == ((61, 45) if value >= 5 else (45, 61))


@pytest.mark.parametrize("value", range(1, 9))
def test_a_turned_file_equals_its_upright_copy(value):
    """Flat blocks of 16 x 16 survive JPEG exactly, so both files hold the same image."""
    blocks = np.random.default_rng(value).integers(0, 256, (3, 5), np.uint8)
    upright = Image.fromarray(np.kron(blocks, np.ones((16, 16), np.uint8)))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's Transpose that undoes each orientation
    stored = upright if value == 1 else upright.transpose(Image.Transpose(back[value]))
    exif = Image.Exif()
    exif[0x0112] = value
    options = {"quality": 100, "subsampling": 0}
    one, other = encode(stored, "JPEG", exif=exif, **options), encode(upright, "JPEG", **options)
    assert largest_difference(decode_graph(one), decode_graph(other)) == 0
    assert largest_difference(resized_graph(one), resized_graph(other)) == 0


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_a_turned_png_or_webp_is_what_pillow_turns(form, value, order):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112] = "maker", value
    contents = encode(scene(), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    assert largest_difference(decode_graph(contents), as_pillow_sees(contents)) == 0
    assert decode_graph(contents).shape[:2] == ((61, 45) if value >= 5 else (45, 61))


def png_chunk(name: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", len(contents)) + name + contents + struct.pack(">I", zlib.crc32(name + contents))


def test_a_png_is_turned_by_an_entry_behind_its_pixels_and_16_bits_are_turned_too():
    exif = png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    deep = Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
    for image in (scene(), deep):
        plain = encode(image, "PNG")
        behind = plain[:-12] + exif + plain[-12:]
        expected = np.rot90(decode_graph(plain).numpy(), -1)
        assert largest_difference(decode_graph(behind), expected) == 0


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_damaged_entries_of_png_and_webp_give_a_image_or_a_refusal(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = bytearray(encode(scene(), form, exif=exif))
    start = whole.index(b"eXIf" if form == "PNG" else b"EXIF")
    generator, outcomes = np.random.default_rng(1), []
    for _ in range(100):
        damaged = whole.copy()
        for place in generator.integers(start - 4, start + 30, 3):
            damaged[place % len(damaged)] = generator.integers(256)
        try:
            outcomes.append(resized_graph(bytes(damaged)).shape == (16, 16, 3))
        except tf.errors.InvalidArgumentError:
            outcomes.append(False)
    assert sum(outcomes) > (
        0 if form == "PNG" else 80
    )  # a PNG's checksum is wrong then, which TensorFlow may refuse


def test_orientation_behind_other_metadata():
    plain = encode(scene(), "JPEG", comment=b"x" * 300)
    exif = turned(8)[2:]
    app1 = exif[exif.index(b"\xff\xe1") :]
    app1 = app1[: 2 + int.from_bytes(app1[2:4], "big")]
    xmp = b"\xff\xe1" + struct.pack(">H", 2 + 40) + b"http://ns.adobe.com/xap/1.0/\0".ljust(40)
    start = plain.index(b"\xff\xdb")
    contents = plain[:start] + xmp + app1 + plain[start:]
    assert decode_graph(contents).shape[:2] == (61, 45)
    assert largest_difference(decode_graph(contents), as_pillow_sees(contents)) == 0


def entry(tag: int, kind: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HHI", tag, kind, 1) + value.ljust(4, b"\0")


def jpeg_with(tiff: bytes) -> bytes:
    plain = encode(scene(), "JPEG")
    body = b"Exif\0\0" + tiff
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + plain[2:]


RIGHT = entry(0x0112, 3, b"\x06\0")


@pytest.mark.parametrize(
    ("name", "tiff", "expected"),
    [
        ("right", b"II*\0\x08\0\0\0\x01\0" + RIGHT, 6),
        ("as a 32-bit number", b"II*\0\x08\0\0\0\x01\0" + entry(0x0112, 4, b"\x08\0\0\0"), 8),
        ("most significant first", b"MM\0*\0\0\0\x08\0\x01" + entry(0x0112, 3, b"\0\x03", ">"), 3),
        ("directory further on", b"II*\0\x0c\0\0\0junk\x01\0" + RIGHT, 6),
        ("another tag", b"II*\0\x08\0\0\0\x01\0" + entry(0x0113, 3, b"\x06\0"), 1),
        ("too large a value", b"II*\0\x08\0\0\0\x01\0" + entry(0x0112, 3, b"\x09\0"), 1),
        ("text for a value", b"II*\0\x08\0\0\0\x01\0" + entry(0x0112, 2, b"\x06\0"), 1),
        ("no entries", b"II*\0\x08\0\0\0\0\0" + RIGHT, 1),
        ("mixed byte order", b"II\0*\x08\0\0\0\x01\0" + RIGHT, 1),
        ("directory nowhere", b"II*\0\xff\xff\xff\xff\x01\0" + RIGHT, 1),
        ("directory far away", b"II*\0\xff\xff\xff\x7f\x01\0" + RIGHT, 1),
        ("breaks off", b"II*\0\x08\0", 1),
        ("nothing", b"", 1),
    ],
)
def test_what_exif_says(name, tiff, expected):
    contents = tf.constant(jpeg_with(tiff))
    assert int(orientation_of(contents)) == expected
    assert int(orientation_of(tf.strings.substr(contents, 0, 10))) == 1  # breaks off behind "Exif"
    assert decode_graph(contents).shape[:2] == ((61, 45) if expected >= 5 else (45, 61))


def test_damaged_headers_give_a_image_or_a_refusal():
    """300 files with random changes before the image's data: nothing hangs, and only one kind of fault."""
    whole = bytearray(turned(6, comment=b"y" * 20))
    tables = whole.index(b"\xff\xdb")
    generator, outcomes = np.random.default_rng(0), []
    for number in range(300):
        damaged = whole.copy()
        for place in generator.integers(2, tables, generator.integers(1, 6)):
            damaged[place] = generator.choice([0, 1, 8, 0x12, 0xE1, 0xFF, generator.integers(256)])
        if number % 5 == 0:
            damaged = damaged[: generator.integers(len(damaged))]
        try:
            outcomes.append(resized_graph(bytes(damaged)).shape == (16, 16, 3))
        except tf.errors.InvalidArgumentError:
            outcomes.append(False)
    assert 100 < sum(outcomes) < 290


# --- refusals ---


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_file_that_breaks_off_is_refused(form, share):
    contents = encode(scene(), form)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_graph(contents[: int(share * len(contents))])


@pytest.mark.parametrize("size", [None, 8])
def test_a_jpeg_without_its_last_bytes_is_refused_at_any_ratio(size):
    contents = encode(scene(400, 300), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(contents[:-200]), size)


@pytest.mark.parametrize(
    "contents", [b"a text", b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0"]
)
def test_bytes_that_are_no_image_are_refused(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_graph(contents)


def test_a_compressed_bmp_is_refused_rather_than_shown_wrong():
    contents = bytearray(encode(scene().quantize(9), "BMP"))
    contents[30] = 1  # run-length encoding
    with pytest.raises(tf.errors.InvalidArgumentError, match="compressed"):
        decode_graph(bytes(contents))


# --- resizing ---


def resized_by_hand(pixels: np.ndarray, size: int) -> np.ndarray:
    """Shrinking: mean over the area of the new pixel. Growing: linear. By two matrix products."""

    def weights(n: int) -> np.ndarray:
        scale = n / size
        if n > size:
            edges = np.arange(size + 1)[:, None] * scale
            inside = np.clip(edges, np.arange(n), np.arange(n) + 1)
            raw = np.diff(inside, axis=0)
        else:
            centre = np.clip((np.arange(size) + 0.5) * scale, 0.5, n - 0.5)
            raw = np.maximum(0, 1 - np.abs(np.arange(n) + 0.5 - centre[:, None]))
        return raw / raw.sum(1, keepdims=True)

    height, width = pixels.shape[:2]
    return np.einsum("yh,xw,hwc->yxc", weights(height), weights(width), pixels.astype(float))


@pytest.mark.parametrize("size", [16, 50, 96])  # shrinks both, one and no side of 61 x 45
def test_resizing_by_hand(size):
    pixels = np.random.default_rng(0).integers(0, 256, (45, 61, 3), np.uint8)
    actual = resize(tf.constant(pixels), size).numpy()
    exact = resized_by_hand(pixels, size)
    assert actual.dtype == np.uint8
    assert np.abs(actual - exact).max() <= 0.501  # rounded, not cut off
    assert abs((actual - exact).mean()) < 0.02


def test_a_batch_is_resized_like_each_of_it():
    batch = tf.constant(np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8))
    assert (resize(batch, 12).numpy() == np.stack([resize(one, 12) for one in batch])).all()


@pytest.mark.parametrize(
    ("width", "height", "ratio"), [(150, 95, 1), (96, 150, 2), (250, 192, 4), (500, 384, 8)]
)
def test_large_jpegs_are_decoded_in_reduced_size(width, height, ratio):
    """Wanted: 32. Both sides stay at least 48; 95 must not be halved."""
    contents = encode(scene(width, height), "JPEG", quality=90)
    assert reduced_graph(contents).shape == (-(-height // ratio), -(-width // ratio), 3)


def test_reduced_decoding_hardly_changes_the_result():
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    photograph = Image.fromarray(noise).resize((800, 600), Image.Resampling.BICUBIC)
    contents = tf.constant(encode(photograph, "JPEG", quality=90))
    reduced, full = (resize(decode(contents, size), 64).numpy().astype(float) for size in (64, None))
    assert decode(contents, 64).shape == (150, 200, 3)
    assert full.std() > 20
    assert np.abs(reduced - full).mean() < 0.05 * full.std()


# --- files and graphs ---


def test_files_of_rare_formats_come_through_pillow(tmp_path):
    grey = scene().convert("L")
    grey.save(tmp_path / "a.pgm")
    scene().save(tmp_path / "b.TIF")
    Image.fromarray(np.asarray(grey, np.uint16) * 257).save(tmp_path / "c.tiff")
    for name, image in (("a.pgm", grey), ("b.TIF", scene()), ("c.tiff", grey)):
        assert not native(Path(name).suffix)
        contents = read_file(tf.constant(str(tmp_path / name)))
        assert largest_difference(decode_graph(contents), image.convert("RGB")) == 0


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_that_counts_from_white_is_not_shown_inverted(tmp_path, bits):
    """Written byte by byte (TIFF 6.0 section 4): 2 x 1 pixels, 0 (white) and the largest value (black)."""
    data = {8: b"\0\xff", 16: b"\0\0\xff\xff"}[bits]
    tags = [
        (256, 4, 2),
        (257, 4, 1),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, 0),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, 1),
    ]
    tags += [(279, 4, len(data))]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    data = data.ljust(8, b"\0")
    head = b"II*\0" + struct.pack("<I", 16) + data
    (tmp_path / "white.tif").write_bytes(head + struct.pack("<H", len(tags)) + directory + bytes(4))
    shown = decode_graph(read_contents(tmp_path / "white.tif")).numpy()[0, :, 0]
    assert shown.tolist() == [255, 0]
    deep = read_image(tmp_path / "white.tif", 1)[0, :, 0]
    assert deep.tolist() == [1.0, 0.0]
    assert (
        inspect_file(tmp_path / "white.tif").thumbnail[0, 0]
        > inspect_file(tmp_path / "white.tif").thumbnail[0, -1]
    )


def test_native_files_are_read_as_they_are(tmp_path):
    for name in ("ä photo.JPG", "b.jpeg", "c.png"):
        (tmp_path / name).write_bytes(b"anything")
        assert native((tmp_path / name).suffix)
        assert read_file(tf.constant(str(tmp_path / name))).numpy() == b"anything"
        assert read_contents(tmp_path / name) == b"anything"


def test_a_bad_file_of_a_rare_format_is_refused_like_any_other(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"bad\.tif"):
        tf.function(read_file, SCALAR, autograph=False)(str(tmp_path / "bad.tif"))
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="not 8 or 16 bit"):
        read_contents(tmp_path / "float.tif")


def test_the_same_in_a_pipeline_and_in_a_map_over_bytes(tmp_path):
    files = []
    for number, contents in enumerate((turned(6), encode(scene(), "PNG"), encode(scene(200, 300), "JPEG"))):
        files.append(str(tmp_path / f"{number}.{'png' if number == 1 else 'jpg'}"))
        Path(files[-1]).write_bytes(contents)
    data = tf.data.Dataset.from_tensor_slices(files)
    data = data.map(lambda file: decode_and_resize(read_file(file), 16), num_parallel_calls=2)
    one_by_one = np.stack([resized_graph(Path(file).read_bytes()) for file in files])
    spec = tf.TensorSpec([16, 16, 3], tf.uint8)
    contents = tf.constant([Path(file).read_bytes() for file in files])
    mapped = tf.map_fn(lambda one: decode_and_resize(one, 16), contents, fn_output_signature=spec)
    assert (np.stack(list(data.as_numpy_iterator())) == one_by_one).all()
    assert (mapped.numpy() == one_by_one).all()


@pytest.mark.real
def test_real_images_are_what_pillow_sees(real_data):
    files = sorted(real_data.glob("threats/*/*"))[::60] + sorted(real_data.glob("cats-dogs/*/*"))[::20]
    assert len(files) > 20
    for file in files:
        contents = file.read_bytes()
        assert largest_difference(decode_graph(contents), as_pillow_sees(contents)) <= 1, file.name


@pytest.mark.real
def test_on_real_images_reduced_decoding_moves_no_pixel_much(real_data):
    """Beside decoding in full: half a level of 255 on average, and nearest neighbours of the same class."""
    files = sorted(real_data.glob("threats/*/*"))[::8]
    contents = [tf.constant(file.read_bytes()) for file in files]
    full, reduced = (
        np.stack([resize(decode(one, size), 224).numpy() for one in contents]).astype(np.float32)
        for size in (None, 224)
    )
    assert 0 < np.abs(full - reduced).mean() < 0.5

    def neighbours(pixels: np.ndarray) -> np.ndarray:
        rows = pixels.reshape(len(pixels), -1)
        distance = (rows**2).sum(1) - 2 * rows @ rows.T
        np.fill_diagonal(distance, np.inf)
        return np.array([files[i].parent.name for i in distance.argmin(1)])

    assert (neighbours(full) == neighbours(reduced)).mean() >= 0.98
