"""The one decoder: from the bytes of a file to RGB pixels, as TensorFlow operations only.

Training maps it over files and the exported model carries it inside, so both see the same pixels by
construction. It does what `tf.io.decode_image` leaves out: it turns a JPEG upright, keeps the upper bits
of 16-bit PNG, looks up the palette of a BMP, and decodes a large JPEG at a fraction of its size.
Formats that TensorFlow does not know (TIFF, PGM, ...) are read from files through Pillow; bytes of such a
format are refused.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

NATIVE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"))
JPEG_START = (0xFF, 0xD8, 0xFF)
PNG_START = tuple(b"\x89PNG\r\n\x1a\n")
JPEG_RATIOS = (1, 2, 4, 8)  # what libjpeg can leave out in the frequency domain
EXIF_START = tuple(b"Exif\0\0")
ORIENTATION = 0x0112
MOST_SEGMENTS, MOST_ENTRIES = 64, 128  # real files have about 10 and 20


def native(suffix: str) -> bool:
    """Whether TensorFlow itself decodes files that end like this (".jpg", in either case)."""
    return suffix.lower() in NATIVE_SUFFIXES


def read_contents(path: Path) -> bytes:
    """The bytes of a picture in a format that `decode` knows.

    Args:
        path: A file; where `native` says no, Pillow reads it and hands it on as PNG, 16 bit kept.

    Raises:
        OSError: The file cannot be read.
        ValueError: Pillow cannot decode it, or its values are not 8 or 16 bit integers.
    """
    return path.read_bytes() if native(path.suffix) else _as_png(path)


def read_file(path: tf.Tensor) -> tf.Tensor:
    """`read_contents` inside a graph: string scalar (path) -> string scalar (bytes).

    Raises:
        tf.errors.NotFoundError: There is no such file.
        tf.errors.InvalidArgumentError: Pillow cannot decode a format that TensorFlow does not know.
    """
    known = "|".join(sorted(suffix[1:] for suffix in NATIVE_SUFFIXES))
    is_native = tf.strings.regex_full_match(tf.strings.lower(path), rf"\C*\.({known})")
    contents = tf.cond(
        is_native,
        lambda: tf.io.read_file(path),
        lambda: tf.numpy_function(lambda name: _as_png(Path(name.decode())), [path], tf.string),
    )
    return tf.ensure_shape(contents, [])


def decode_and_resize(contents: tf.Tensor, size: int) -> tf.Tensor:
    """String scalar (bytes of a file) -> uint8 [size, size, 3], RGB: `decode`, then `resize`."""
    return resize(decode(contents, size), size)


def resize(images: tf.Tensor, size: int) -> tf.Tensor:
    """Stretch to a square: uint8 [..., h, w, 3] -> uint8 [..., size, size, 3].

    Bilinear over all pixels that a new pixel covers (antialiased), rounded to the nearest level.
    """
    # A picture that only grows comes out the same without antialiasing, in half the time.
    grows = tf.reduce_all(tf.shape(images)[-3:-1] <= size)
    exact = tf.cond(
        grows,
        lambda: tf.image.resize(images, (size, size)),
        lambda: tf.image.resize(images, (size, size), antialias=True),
    )
    return tf.cast(exact + 0.5, tf.uint8)  # averages of 0..255: nothing to clip


def decode(contents: tf.Tensor, size: int | None = None) -> tf.Tensor:
    """Decode a picture: string scalar (bytes of a file) -> uint8 [h, w, 3], RGB, upright.

    JPEG, PNG, BMP, GIF (first frame) and WebP. Grey becomes R = G = B, transparency is dropped, 16-bit
    values v become (v + 128) // 257. A JPEG is turned as its EXIF orientation says; where that is
    malformed it stays as it is stored.

    Args:
        contents: The whole file.
        size: The side wanted next. A JPEG whose sides are both at least 4 * size is then decoded at 1/2,
            1/4 or 1/8 of them, never below 2 * size, which `resize` to `size` hardly sees.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no such picture, or break off.
    """
    head = _numbers(contents, 0, 34)
    is_jpeg = _equal(head[:3], JPEG_START)
    is_deep = _equal(head[:8], PNG_START) & (head[24] == 16)
    has_palette = _equal(head[:2], tuple(b"BM")) & (_little(head[28:30]) == 8)
    kind = tf.argmax(tf.stack([is_jpeg, is_deep, has_palette, True]), output_type=tf.int32)
    branches = [
        lambda: _decode_jpeg(contents, size),
        lambda: _decode_deep_png(contents),
        lambda: _decode_palette_bmp(contents, head),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    ]
    image = tf.switch_case(kind, branches)
    return tf.ensure_shape(image, [None, None, 3])


# --- formats -----------------------------------------------------------------------------------------


def _decode_deep_png(contents: tf.Tensor) -> tf.Tensor:
    deep = tf.cast(tf.io.decode_png(contents, channels=3, dtype=tf.uint16), tf.int32)
    return tf.cast((deep + 128) // 257, tf.uint8)


def _decode_palette_bmp(contents: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """8-bit BMP: TensorFlow hands out the indices as if they were grey levels; look them up.

    Args:
        contents: The whole file.
        head: int32 [34], its first bytes: offsets 14 (length of the second header), 30 (compression).
    """
    plain = tf.debugging.Assert(_little(head[30:34]) == 0, ["The BMP is compressed, which is not supported"])
    with tf.control_dependencies([plain]):
        indices = tf.io.decode_bmp(contents, channels=3)[..., 0]
    colours = tf.reshape(_numbers(contents, 14 + _little(head[14:18]), 1024), [256, 4])
    return tf.cast(tf.gather(colours[:, 2::-1], tf.cast(indices, tf.int32)), tf.uint8)


def _decode_jpeg(contents: tf.Tensor, size: int | None) -> tf.Tensor:
    image = _decode_at(contents, 1) if size is None else _decode_reduced(contents, size)
    value = tf.cond(_has_metadata(contents), lambda: _orientation(contents), lambda: 1)
    return tf.cond(value > 1, lambda: _turn(image, value), lambda: image)


def _decode_reduced(contents: tf.Tensor, size: int) -> tf.Tensor:
    shorter = tf.reduce_min(tf.io.extract_jpeg_shape(contents)[:2])
    index = tf.reduce_sum([tf.cast(shorter >= 2 * size * ratio, tf.int32) for ratio in JPEG_RATIOS[1:]])
    return tf.switch_case(index, [lambda ratio=ratio: _decode_at(contents, ratio) for ratio in JPEG_RATIOS])


def _decode_at(contents: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


# --- EXIF orientation (Exif 2.32, CIPA DC-008; TIFF 6.0 section 2) -------------------------------------


def _has_metadata(contents: tf.Tensor) -> tf.Tensor:
    """Whether to look closer: a first or, after the usual JFIF block, a second block that is not pixels."""
    first = _numbers(contents, 2, 4)
    second = _numbers(contents, 4 + _big(first[2:]), 2)
    return _is_metadata(tf.where(first[1] == 0xE0, second[1], first[1]))


def _is_metadata(marker: tf.Tensor) -> tf.Tensor:
    """APP0 to APP15 and comments, which all stand before the tables and the picture."""
    return ((marker >= 0xE0) & (marker <= 0xEF)) | (marker == 0xFE)


def _orientation(contents: tf.Tensor) -> tf.Tensor:
    """The JPEG's orientation, int32 1..8; 1 (upright) when it says none or is malformed."""
    tiff = _exif_block(contents)
    head = _numbers(tiff, 0, 8)
    little = _equal(head[:4], tuple(b"II*\0"))
    is_tiff = little | _equal(head[:4], tuple(b"MM\0*"))
    directory = tf.where(little, _little(head[4:8]), _big(head[4:8]))
    value = _directory_entry(tiff, directory, little)
    return tf.where(is_tiff & (directory >= 8) & (value >= 1) & (value <= 8), value, 1)


def _exif_block(contents: tf.Tensor) -> tf.Tensor:
    """Walk over the JPEG's metadata segments: the bytes of the first Exif block (a TIFF), or none."""

    def step(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, ...]:
        segment = _numbers(contents, position, 10)  # FF, marker, length in two bytes, contents
        size = _big(segment[2:4])
        is_exif = (segment[1] == 0xE1) & _equal(segment[4:], EXIF_START) & (size >= 8)
        goes_on = (segment[0] == 0xFF) & _is_metadata(segment[1]) & (size >= 2) & ~is_exif
        following = tf.where(goes_on, position + 2 + size, -1)
        return following, tf.where(is_exif, position + 10, start), tf.where(is_exif, size - 8, length)

    _, start, length = tf.while_loop(
        lambda position, _start, _length: position >= 0,
        step,
        (tf.constant(2), tf.constant(0), tf.constant(0)),
        maximum_iterations=MOST_SEGMENTS,
        parallel_iterations=1,
    )
    return tf.strings.substr(contents, start, length)


def _directory_entry(tiff: tf.Tensor, directory: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """The value of the orientation tag in a TIFF directory, int32; 0 when it is not there.

    An entry has 12 bytes: tag (2), type (2: 3 is a 16-bit, 4 a 32-bit number), count (4), value (4).
    """
    raw = _numbers(tiff, directory, 2 + 12 * MOST_ENTRIES)
    entries = tf.reshape(raw[2:], [MOST_ENTRIES, 12])
    tags, types, shorts, longs = (
        tf.where(little, _little(entries[:, a:b]), _big(entries[:, a:b]))
        for a, b in ((0, 2), (2, 4), (8, 10), (8, 12))
    )
    count = tf.where(little, _little(raw[:2]), _big(raw[:2]))
    wanted = (tags == ORIENTATION) & (tf.range(MOST_ENTRIES) < count)
    values = tf.where(types == 3, shorts, tf.where(types == 4, longs, 0))
    return tf.reduce_max(tf.where(wanted, values, 0))


def _turn(image: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Make a picture [h, w, 3] upright whose orientation is `value`: 5..8 swap the axes, then mirrors."""
    image = tf.cond(value >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(value == tf.constant([3, 4, 7, 8]))
    left_right = tf.reduce_any(value == tf.constant([2, 3, 6, 7]))
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, left_right, False]))


# --- bytes -------------------------------------------------------------------------------------------


def _numbers(contents: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Bytes start .. start + count as int32 [count]; 0 beyond the end and for a negative start."""
    length = tf.strings.length(contents)
    start = tf.where((start < 0) | (start > length), length, start)
    part = tf.strings.substr(contents, start, count)
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int32)


def _equal(numbers: tf.Tensor, expected: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_all(numbers == tf.constant(expected))


def _big(numbers: tf.Tensor) -> tf.Tensor:
    """[..., m] bytes, the most significant first -> int32 [...]; may wrap to negative at 4 bytes."""
    weights = [256**power for power in reversed(range(numbers.shape[-1]))]
    return tf.reduce_sum(numbers * tf.constant(weights), axis=-1)


def _little(numbers: tf.Tensor) -> tf.Tensor:
    return _big(numbers[..., ::-1])


# --- Pillow ------------------------------------------------------------------------------------------


def _as_png(path: Path) -> bytes:
    """Re-encode a picture through Pillow: 16-bit grey stays 16 bit, all else becomes 8-bit grey or RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                image = _eight_or_sixteen_bit(ImageOps.exif_transpose(file))
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
        raise ValueError(f"{path} cannot be read: {fault}") from fault
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _eight_or_sixteen_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise OSError(f"its values ({values.min()} to {values.max()}) are not 8 or 16 bit integers")
        return Image.fromarray(values.astype(np.uint16))
    return image if image.mode == "L" else image.convert("RGB")
