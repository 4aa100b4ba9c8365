"""The one decoder on damaged images: pixels, or InvalidArgumentError; and its reading of headers against plain Python."""

from __future__ import annotations

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import draw_images
from tests.properties.test_readers import damaged
from tlkit.data.images.decoding.decode import decode_and_resize
from tlkit.data.images.decoding.headers import big, first_numbers, little, numbers, orientation
from tlkit.data.images.inspection import inspect_file

SOUND = draw_images()
STRING = tf.TensorSpec([], tf.string)
WHOLE = tf.TensorSpec([], tf.int32)
DAMAGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "cut", "repeat", "byte", "drop"]),
        st.floats(0, 1),
        st.integers(1, 40),
        st.sampled_from(["\0", "\x7f", "ÿØÿ", "Exif", "\0\0\0\0", "II*", "IHDR", "GIF89a"]),
    ),
    min_size=1,
    max_size=4,
)


@tf.function(input_signature=[STRING])
def pixels_of(contents):
    return decode_and_resize(contents, 16)


@tf.function(input_signature=[STRING])
def turned(contents):
    return orientation(contents, first_numbers(contents, 34))


@tf.function(input_signature=[STRING, WHOLE])
def read(contents, start):
    return numbers(contents, start, 6)


@given(st.sampled_from(range(len(SOUND))), DAMAGES)
def test_pixels_or_a_refusal(place, which, damages):
    contents = damaged(SOUND[which], damages)
    assert 1 <= turned(contents) <= 8
    (place / "picture").write_bytes(contents)
    seen = inspect_file(place / "picture")  # never raises
    assert seen.thumbnail.shape == (32, 32)
    try:
        pixels = pixels_of(contents)
    except tf.errors.InvalidArgumentError:
        return
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == tf.uint8


@given(st.binary(max_size=30), st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 33))
def test_bytes_beyond_the_end_are_zeros(contents, start):
    expected = [contents[i] if 0 <= start <= i < len(contents) else 0 for i in range(start, start + 6)]
    found = read(contents, start)
    assert found.numpy().tolist() == expected
    four = bytes(expected[:4])
    assert int(big(found[:4])) == int.from_bytes(four, "big", signed=True)
    assert int(little(found[:4])) == int.from_bytes(four, "little", signed=True)


@given(st.integers(0, 9), st.sampled_from("><"), st.binary(max_size=40))
def test_an_orientation_is_found_behind_any_other_block(value, order, other):
    import struct

    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(
        f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0
    )
    blocks = b"".join(
        b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
        for marker, body in ((0xEB, other), (0xE1, b"Exif\0\0" + tiff))
    )
    assert int(turned(b"\xff\xd8" + blocks + b"\xff\xda" + bytes(30))) == (value if 1 <= value <= 8 else 1)
