"""What the first bytes of an image's file say, read as TensorFlow operations: numbers, EXIF orientation.

A JPEG is a row of segments: FF, a marker, the length in two bytes, contents. Metadata stand before the
tables and the image; one of them may be "Exif", which holds a small TIFF whose first directory may say how
the camera was held. A PNG keeps the same TIFF in its chunk eXIf, before or behind the pixels, a WebP in its chunk
EXIF. Everything here is bounded and reads zeros beyond the end, so that no file can hang it.

Source: Exif 2.32 (CIPA DC-008-2019), TIFF 6.0 section 2, JPEG (ITU-T T.81 annex B), PNG third edition section
11.3.4.5, WebP container specification (RFC 9649 section 2.7).
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tlkit.data.images.decoding.formats import ORIENTATION, PNG_EXIF

EXIF_START = tuple(b"Exif\0\0")
MOST_SEGMENTS, MOST_ENTRIES = 64, 128  # real files have about 10 and 20


def numbers(contents: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Bytes start .. start + count as int32 [count]; 0 beyond the end and for a negative start."""
    length = tf.strings.length(contents)
    start = tf.where((start < 0) | (start > length), length, start)
    return first_numbers(tf.strings.substr(contents, start, count), count)


def rare_branch(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Keep the operations of a seldom taken branch out of the graph around it.

    TensorFlow inlines both branches of a `tf.cond` and then passes over each operation of the branch not taken,
    for every image: with 100 small operations that costs half as much as decoding a small JPEG.
    """
    return tf.function(function, experimental_attributes={"_noinline": True})


def first_numbers(contents: tf.Tensor, count: int) -> tf.Tensor:
    """The first bytes as int32 [count]; 0 beyond the end."""
    return tf.cast(
        tf.io.decode_raw(tf.strings.substr(contents, 0, count), tf.uint8, fixed_length=count), tf.int32
    )


def equal(values: tf.Tensor, expected: tuple[int, ...]) -> tf.Tensor:
    """Whether int32 [m] are these m numbers: bool scalar."""
    return tf.reduce_all(values == tf.constant(expected))


def big(values: tf.Tensor) -> tf.Tensor:
    """[..., m] bytes, the most significant first -> int32 [...]; may wrap to negative at 4 bytes."""
    weights = [256**power for power in reversed(range(values.shape[-1]))]
    return tf.reduce_sum(values * tf.constant(weights), axis=-1)


def little(values: tf.Tensor) -> tf.Tensor:
    """[..., m] bytes, the least significant first -> int32 [...]."""
    return big(values[..., ::-1])


def orientation(contents: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """How a JPEG is to be turned: int32 1..8; 1 (upright) when it says nothing sensible.

    Args:
        contents: String scalar, the whole file.
        head: int32 [m], its first bytes, at least 22.
    """
    # Looked at closer is a first block, or one after the usual JFIF block, that is not pixels.
    usual = equal(head[3:6], (0xE0, 0, 16))
    has_metadata = _is_metadata(tf.where(usual, head[21], head[3]))
    return tf.cond(has_metadata, lambda: _orientation(contents), lambda: 1)


def _is_metadata(marker: tf.Tensor) -> tf.Tensor:
    """APP0 to APP15 and comments, which all stand before the tables and the image."""
    return ((marker >= 0xE0) & (marker <= 0xEF)) | (marker == 0xFE)


def png_orientation(contents: tf.Tensor) -> tf.Tensor:
    """How a PNG is to be turned, as `orientation`: string scalar, the whole file -> int32 1..8."""
    pattern = b"eXIf(II\\*\\x00|MM\\x00\\*)"  # a search for bytes, some 7 % of the time that decoding takes
    without = tf.strings.regex_replace(contents, pattern, "", replace_global=False)
    has_exif = tf.strings.length(without) != tf.strings.length(contents)
    return tf.cond(has_exif, lambda: _png_orientation(contents), lambda: 1)


@rare_branch
def _png_orientation(contents: tf.Tensor) -> tf.Tensor:
    """The chunk is its length (4 bytes), `eXIf`, a TIFF; found by its name and the TIFF's first bytes."""
    starts = [tf.strings.length(tf.strings.split(contents, sep=mark)[0]) for mark in PNG_EXIF]
    start = tf.reduce_min(tf.stack(starts))
    size = big(numbers(contents, start - 4, 4))
    return _tiff_orientation(tf.strings.substr(contents, start + 4, tf.maximum(size, 0)))


def webp_orientation(contents: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """How a WebP is to be turned, as `orientation`; only an extended one (VP8X) with its fourth flag has a say."""
    has_exif = equal(head[12:16], tuple(b"VP8X")) & (head[20] // 8 % 2 == 1)
    return tf.cond(has_exif, lambda: _webp_orientation(contents), lambda: 1)


@rare_branch
def _webp_orientation(contents: tf.Tensor) -> tf.Tensor:
    """Walk over the RIFF's chunks: name, length (little end first), contents, filled up to an even length."""

    def step(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, ...]:
        chunk = numbers(contents, position, 14)
        size, is_exif = little(chunk[4:8]), equal(chunk[:4], tuple(b"EXIF"))
        skipped = tf.where(
            equal(chunk[8:14], EXIF_START), 6, 0
        )  # some writers put a JPEG's mark before the TIFF
        beyond = (size < 0) | (position + 8 + size >= tf.strings.length(contents))
        following = tf.where(is_exif | beyond, -1, position + 8 + size + size % 2)
        return (
            following,
            tf.where(is_exif, position + 8 + skipped, start),
            tf.where(is_exif, tf.maximum(size - skipped, 0), length),
        )

    _, start, length = tf.while_loop(
        lambda position, _start, _length: position >= 0,
        step,
        (tf.constant(12), tf.constant(0), tf.constant(0)),
        maximum_iterations=MOST_SEGMENTS,
        parallel_iterations=1,
    )
    return _tiff_orientation(
        tf.strings.substr(contents, tf.minimum(start, tf.strings.length(contents)), length)
    )


def _tiff_orientation(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation that a TIFF's first directory gives, int32 1..8; 1 when it says nothing sensible."""
    head = numbers(tiff, 0, 8)
    is_little = equal(head[:4], tuple(b"II*\0"))
    is_tiff = is_little | equal(head[:4], tuple(b"MM\0*"))
    directory = _number(head[4:8], is_little)
    value = _directory_entry(tiff, directory, is_little)
    return tf.where(is_tiff & (directory >= 8) & (value >= 1) & (value <= 8), value, 1)


def _number(values: tf.Tensor, is_little: tf.Tensor) -> tf.Tensor:
    return tf.where(is_little, little(values), big(values))


@rare_branch
def _orientation(contents: tf.Tensor) -> tf.Tensor:
    """Walk over a JPEG's metadata segments to the first Exif block, which holds a TIFF."""

    def step(position: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, ...]:
        segment = numbers(contents, position, 10)  # FF, marker, length in two bytes, contents
        size = big(segment[2:4])
        is_exif = (segment[1] == 0xE1) & equal(segment[4:], EXIF_START) & (size >= 8)
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
    return _tiff_orientation(
        tf.strings.substr(contents, tf.minimum(start, tf.strings.length(contents)), length)
    )


def _directory_entry(tiff: tf.Tensor, directory: tf.Tensor, is_little: tf.Tensor) -> tf.Tensor:
    """The value of the orientation tag in a TIFF directory, int32; 0 when it is not there.

    An entry has 12 bytes: tag (2), type (2: 3 is a 16-bit, 4 a 32-bit number), count (4), value (4).
    """
    raw = numbers(tiff, directory, 2 + 12 * MOST_ENTRIES)
    entries = tf.reshape(raw[2:], [MOST_ENTRIES, 12])
    tags, types = _number(entries[:, 0:2], is_little), _number(entries[:, 2:4], is_little)
    short, long = _number(entries[:, 8:10], is_little), _number(entries[:, 8:12], is_little)
    wanted = (tags == ORIENTATION) & (tf.range(MOST_ENTRIES) < _number(raw[:2], is_little))
    values = tf.where(types == 3, short, tf.where(types == 4, long, 0))
    return tf.reduce_max(tf.where(wanted, values, 0))
