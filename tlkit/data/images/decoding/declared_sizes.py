"""Decompression bombs in the served graph: the size that a file declares, read as TensorFlow operations.

The same numbers of the same bytes as `pixel_limit` reads without TensorFlow, so that a model refuses what training does.
A JPEG's frame is found by libjpeg itself (`tf.io.extract_jpeg_shape`, which decodes nothing); PNG, BMP and WebP have
their sides at fixed places; a GIF's images are counted by following its blocks.
"""

from __future__ import annotations

import tensorflow as tf

from tlkit.data.images.decoding.headers import equal, little, rare_branch
from tlkit.data.images.decoding.pixel_limit import GIF_CONTROL, GIF_RUN, GIF_STEPS, LONGEST_SIDE

PNG_START = tuple(b"\x89PNG\r\n\x1a\n")


def within_limit(contents: tf.Tensor, sides: tf.Tensor, pixels: tf.Tensor, most: int) -> tf.Tensor:
    """The file as it is, to be decoded; what declares too much ends here.

    Args:
        contents: String scalar, the whole file.
        sides: int64 [2]: width, height.
        pixels: int64 scalar, in all.
        most: The limit, a constant of the graph.

    Raises:
        tf.errors.InvalidArgumentError: There are more pixels than `most`.
    """

    @rare_branch
    def refuse(contents: tf.Tensor, sides: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
        wide, high, total = (tf.strings.as_string(number) for number in (sides[0], sides[1], pixels))
        text = [
            "The image declares ",
            wide,
            " x ",
            high,
            " pixels, ",
            total,
            f" in all, more than the limit of {most}",
        ]
        text = tf.strings.join(text)
        with tf.control_dependencies([tf.debugging.Assert(pixels <= most, [text])]):
            return tf.identity(contents)

    return tf.cond(pixels > most, lambda: refuse(contents, sides, pixels), lambda: contents)


def jpeg_within_limit(contents: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A JPEG as it is, and its height and width as stored, int32 [2]; see `within_limit`."""
    shape = tf.io.extract_jpeg_shape(contents)[:2]
    sides = tf.cast(shape[::-1], tf.int64)
    return within_limit(contents, sides, tf.reduce_prod(sides), most), shape


def other_within_limit(contents: tf.Tensor, head: tf.Tensor, most: int) -> tf.Tensor:
    """A PNG, GIF, BMP or WebP as it is, and bytes of which nothing is known; see `within_limit`.

    Args:
        contents: String scalar, the whole file.
        head: int32 [34], its first bytes.
        most: The limit.
    """
    declared = other_size(contents, head)
    return within_limit(contents, declared[:2], declared[3], most)


def other_size(contents: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """int64 [4]: width, height, images and pixels in all, as `pixel_limit.Declared`; zeros where nothing is known."""
    wide = tf.cast(head, tf.int64)
    is_gif = equal(head[:4], tuple(b"GIF8"))
    is_webp = equal(head[:4], tuple(b"RIFF")) & equal(head[8:12], tuple(b"WEBP"))
    kind = tf.argmax(
        tf.stack([equal(head[:8], PNG_START), is_gif, equal(head[:2], tuple(b"BM")), is_webp, True])
    )
    return tf.switch_case(
        tf.cast(kind, tf.int32),
        [
            lambda: _one(_number(wide[19:15:-1]), _number(wide[23:19:-1])),
            lambda: _of_gif(contents, head),
            lambda: _one(*(tf.abs(tf.cast(little(head[i : i + 4]), tf.int64)) for i in (18, 22))),
            lambda: _of_webp(head, wide),
            lambda: tf.zeros([4], tf.int64),
        ],
    )


def _number(values: tf.Tensor) -> tf.Tensor:
    """int64 [m] bytes, the least significant first -> int64, without a sign."""
    return tf.reduce_sum(values * tf.constant([256**power for power in range(values.shape[0])], tf.int64))


def _one(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    sides = tf.minimum(tf.stack([width, height]), LONGEST_SIDE)
    return tf.concat([sides, [1], [tf.reduce_prod(sides)]], 0)


def _of_webp(head: tf.Tensor, wide: tf.Tensor) -> tf.Tensor:
    """By the name of the first chunk: a canvas, a lossless frame, a lossy one, or what is none."""
    bits = _number(wide[21:25])
    sides = {
        b"VP8X": (_number(wide[24:27]) + 1, _number(wide[27:30]) + 1),
        b"VP8L": (bits % 2**14 + 1, bits // 2**14 % 2**14 + 1),
        b"VP8 ": (_number(wide[26:28]) % 2**14, _number(wide[28:30]) % 2**14),
    }
    found = [
        tf.where(equal(head[12:16], tuple(name)), tf.stack(size), tf.zeros([2], tf.int64))
        for name, size in sides.items()
    ]
    return _one(*tf.unstack(tf.add_n(found)))


@rare_branch
def _of_gif(contents: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Follow the blocks: an extension (21) or an image (2C), each with blocks of data behind it, the last one empty.

    A step passes over the start of an extension or image, or over up to `GIF_RUN` blocks of one length and the next.
    """
    content = tf.io.decode_raw(tf.strings.join([contents, b"\0"]), tf.uint8)
    end = tf.size(content) - 1

    def at(places: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(content, tf.minimum(places, end)), tf.int32)  # zeros beyond the end

    def past_mark(place: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, ...]:
        start = at(place + tf.range(18))
        controlled = equal(start[:3], tuple(GIF_CONTROL)) & (start[7] == 0)
        place, mark = place + tf.where(controlled, 8, 0), tf.where(controlled, start[8:], start[:10])
        is_image = mark[0] == 0x2C
        sides = tf.cast(tf.stack([little(mark[5:7]), little(mark[7:9])]), tf.int64)
        more = tf.concat([tf.maximum(seen[:2], sides), seen[2:] + tf.stack([one, tf.reduce_prod(sides)])], 0)
        following = place + tf.where(is_image, 11 + _colours(mark[9]), 2)
        goes_on = is_image | (mark[0] == 0x21)
        return tf.where(goes_on, following, -1), goes_on, tf.where(is_image, more, seen)

    def past_blocks(place: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, ...]:
        length = at(place)
        starts = tf.minimum(place, end) + (length + 1) * tf.range(1, GIF_RUN)
        other = tf.concat([at(starts) != length, [True]], 0)
        behind = place + (length + 1) * (1 + tf.argmax(other, output_type=tf.int32))
        behind = tf.where(length > 0, behind, place)
        further = at(behind)
        behind += tf.where(further > 0, further + 1, 0)
        is_last = at(behind) == 0
        return behind + tf.cast(is_last, tf.int32), ~is_last, seen

    def step(place: tf.Tensor, in_blocks: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tf.cond(in_blocks, lambda: past_blocks(place, seen), lambda: past_mark(place, seen))

    one = tf.constant(1, tf.int64)
    screen = tf.cast(tf.stack([little(head[6:8]), little(head[8:10])]), tf.int64)
    place, _, seen = tf.while_loop(
        lambda place, _in_blocks, _seen: place >= 0,
        step,
        (13 + _colours(head[10]), tf.constant(False), tf.concat([screen, [0, 0]], 0)),
        maximum_iterations=GIF_STEPS,
        parallel_iterations=1,
    )
    pixels = tf.where(
        place < 0, tf.maximum(seen[3], tf.reduce_prod(seen[:2])), tf.constant(LONGEST_SIDE**2, tf.int64)
    )
    return tf.concat([seen[:3], [pixels]], 0)


def _colours(flags: tf.Tensor) -> tf.Tensor:
    """Bytes of the table that follows flags of a GIF, int32."""
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)
