"""The one decoder: from the bytes of a file to RGB pixels, as TensorFlow operations only.

Training maps it over files and the exported model carries it inside, so both see the same pixels by
construction. It does what `tf.io.decode_image` leaves out: it turns an image upright, keeps the upper bits
of 16-bit PNG, looks up the palette of a BMP, and decodes a large JPEG at a fraction of its size.
Formats that TensorFlow does not know (TIFF, PGM, ...) are read from files through Pillow; bytes of such a
format are refused.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from tlkit.data.images.decoding.declared_sizes import PNG_START, jpeg_within_limit, other_within_limit
from tlkit.data.images.decoding.formats import NATIVE_SUFFIXES, black_level, deep_levels
from tlkit.data.images.decoding.headers import (
    equal,
    first_numbers,
    little,
    numbers,
    orientation,
    png_orientation,
    rare_branch,
    webp_orientation,
)
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.decoding.pixel_limit import TooManyPixels, most_pixels, refuse_bomb

JPEG_START = (0xFF, 0xD8, 0xFF)
NATIVE_STARTS = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"RIFF",
)  # of the formats that TensorFlow decodes
JPEG_RATIOS = (1, 2, 4, 8)  # what libjpeg can leave out in the frequency domain


def native(suffix: str) -> bool:
    """Whether TensorFlow itself decodes files that end like this (".jpg", in either case)."""
    return suffix.lower() in NATIVE_SUFFIXES


def read_contents(path: Path) -> bytes:
    """The bytes of an image in a format that `decode` knows.

    Args:
        path: A file; where `native` says no, Pillow reads it and hands it on as PNG, 16 bit kept.

    Raises:
        OSError: The file cannot be read.
        ValueError: It declares more pixels than are decoded (`pixel_limit`), Pillow cannot decode it, or its values
            are not 8 or 16 bit integers.
    """
    if not native(path.suffix):
        return _as_png(path)
    with path.open("rb") as stream:
        refuse_bomb(stream)
        return stream.read()


def as_contents(given: bytes | np.ndarray) -> bytes:
    """`read_contents` for an image in memory.

    Args:
        given: The contents of a file, told by how they begin; or pixels uint8 [h, w, 3], which become a PNG.

    Raises:
        OSError, ValueError: As there.
    """
    stream = io.BytesIO()
    if isinstance(given, np.ndarray):
        Image.fromarray(given).save(stream, "PNG", compress_level=0)
        return stream.getvalue()
    stream.write(given)
    refuse_bomb(stream)
    return given if given.startswith(NATIVE_STARTS) else _as_png(stream)


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
        lambda: tf.numpy_function(_as_png_by_name, [path], tf.string),
    )
    return tf.ensure_shape(contents, [])


def decode_and_resize(contents: tf.Tensor, size: int) -> tf.Tensor:
    """String scalar (bytes of a file) -> uint8 [size, size, 3], RGB: `decode`, then `resize`."""
    return resize(decode(contents, size), size)


def resize(images: tf.Tensor, size: int) -> tf.Tensor:
    """Stretch to a square: uint8 [..., h, w, 3] -> uint8 [..., size, size, 3].

    A side that shrinks is averaged over the area of each new pixel (no aliasing), a side that grows is
    interpolated linearly; rounded to the nearest level.
    """
    sides = tf.shape(images)[-3:-1]
    shrunk = tf.minimum(sides, size)
    averaged = tf.cond(
        tf.reduce_any(shrunk < sides),
        lambda: tf.image.resize(images, shrunk, "area"),
        lambda: tf.cast(images, tf.float32),
    )
    exact = tf.image.resize(averaged, (size, size))  # costs nothing where nothing grows
    return tf.cast(exact + 0.5, tf.uint8)  # averages of 0..255: nothing to clip


def decode(contents: tf.Tensor, size: int | None = None) -> tf.Tensor:
    """Decode an image: string scalar (bytes of a file) -> uint8 [h, w, 3], RGB, upright.

    JPEG, PNG, BMP, GIF (first frame) and WebP. Grey becomes R = G = B, transparency is dropped, 16-bit
    values v become (v + 128) // 257. A JPEG, PNG or WebP is turned as its EXIF orientation says; where that is
    malformed it stays as it is stored. The limit in pixels is that of the moment when this is traced (`most_pixels`).

    Args:
        contents: The whole file.
        size: The side wanted next. A JPEG whose sides are both at least 3 * size is then decoded at 1/2,
            1/4 or 1/8 of them, never below 1.5 * size, which `resize` to `size` hardly sees.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no such image, break off, or declare more pixels than the limit.
    """
    # JPEG is asked first and by itself: most images are, and each small operation is paid for every image.
    head, most = first_numbers(contents, 34), most_pixels()
    image = tf.cond(
        equal(head[:3], JPEG_START),
        lambda: _decode_jpeg(contents, head, size, most),
        lambda: _decode_other(contents, head, most),
    )
    return tf.ensure_shape(image, [None, None, 3])


# --- formats -----------------------------------------------------------------------------------------


@rare_branch
def _decode_other(contents: tf.Tensor, head: tf.Tensor, most: int) -> tf.Tensor:
    is_deep = equal(head[:8], PNG_START) & (head[24] == 16)
    contents = other_within_limit(contents, head, most)
    has_palette = equal(head[:2], tuple(b"BM")) & (little(head[28:30]) == 8)
    kind = tf.argmax(tf.stack([is_deep, has_palette, True]), output_type=tf.int32)
    branches = [
        lambda: _decode_deep_png(contents),
        lambda: _decode_palette_bmp(contents, head),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    ]
    image = tf.switch_case(kind, branches)
    value = tf.case(
        [
            (equal(head[:8], PNG_START), lambda: png_orientation(contents)),
            (equal(head[8:12], tuple(b"WEBP")), lambda: webp_orientation(contents, head)),
        ],
        default=lambda: 1,
    )
    return tf.cond(value > 1, lambda: _turn(image, value), lambda: image)


def _decode_deep_png(contents: tf.Tensor) -> tf.Tensor:
    deep = tf.cast(tf.io.decode_png(contents, channels=3, dtype=tf.uint16), tf.int32)
    return tf.cast((deep + 128) // 257, tf.uint8)


def _decode_palette_bmp(contents: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """8-bit BMP: TensorFlow hands out the indices as if they were grey levels; look them up.

    Args:
        contents: The whole file.
        head: int32 [34], its first bytes: offsets 14 (length of the second header), 30 (compression).
    """
    plain = tf.debugging.Assert(little(head[30:34]) == 0, ["The BMP is compressed, which is not supported"])
    with tf.control_dependencies([plain]):
        indices = tf.io.decode_bmp(contents, channels=3)[..., 0]
    colours = tf.reshape(numbers(contents, 14 + little(head[14:18]), 1024), [256, 4])
    return tf.cast(tf.gather(colours[:, 2::-1], tf.cast(indices, tf.int32)), tf.uint8)


def _decode_jpeg(contents: tf.Tensor, head: tf.Tensor, size: int | None, most: int) -> tf.Tensor:
    contents, shape = jpeg_within_limit(contents, most)
    if size is None:
        image = _decode_at(contents, 1)
    else:
        shorter = tf.reduce_min(shape)
        fits = [tf.cast(2 * shorter >= 3 * size * ratio, tf.int32) for ratio in JPEG_RATIOS[1:]]
        ways = [lambda ratio=ratio: _decode_at(contents, ratio) for ratio in JPEG_RATIOS]
        image = tf.switch_case(tf.reduce_sum(fits), ways)
    value = orientation(contents, head)
    return tf.cond(value > 1, lambda: _turn(image, value), lambda: image)


def _decode_at(contents: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def _turn(image: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Make an image [h, w, 3] upright whose orientation is `value`: 5..8 swap the axes, then mirrors."""
    image = tf.cond(value >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(value == tf.constant([3, 4, 7, 8]))
    left_right = tf.reduce_any(value == tf.constant([2, 3, 6, 7]))
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, left_right, False]))


# --- Pillow ------------------------------------------------------------------------------------------


def _as_png_by_name(name: bytes | np.ndarray) -> bytes:
    """`_as_png` as TensorFlow calls it: with bytes in a graph, with a scalar array outside."""
    return _as_png(Path(os.fsdecode(np.asarray(name).item())))


def _as_png(path: Path | io.BytesIO) -> bytes:
    """Re-encode an image through Pillow: 16-bit grey stays 16 bit, all else becomes 8-bit grey or RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; only pixels matter here
            with open_image(path) as file:
                black = black_level(file)
                image: Image.Image = ImageOps.exif_transpose(file)
                if image.mode.startswith(("I", "F")):
                    image = Image.fromarray(deep_levels(image, black))
                elif image.mode != "L":
                    image = image.convert("RGB")
    except TooManyPixels as fault:
        raise ValueError(f"{path} {fault}") from fault
    except (OSError, SyntaxError, ValueError) as fault:
        raise ValueError(f"{path} cannot be read: {fault}") from fault
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
