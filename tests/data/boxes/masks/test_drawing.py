"""Outlines become masks, in the pixels in which their image is shown; what is none is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlkit.data.boxes.formats.annotations import Annotated, Record
from tlkit.data.boxes.formats.stated_sizes import TURNS, Form, into_shown
from tlkit.data.boxes.masks.drawing import UndrawnMask, draw, from_coco, has_outline
from tlkit.data.boxes.masks.rle import box, decode, encode, from_rings, from_runs

SIZE = (12, 9)  # width and height
PIXELS = np.zeros((9, 12), bool)
PIXELS[2:7, 3:5] = True
PIXELS[6, 3:10] = True
RUNS = encode(PIXELS)
PLAIN = {"size": [9, 12], "counts": [29, 5, 4, 5, *[8, 1] * 4, 8, 1, 20]}


def test_packed_and_plain_runs_and_polygons_are_drawn():
    for runs in (RUNS.coco, RUNS, PLAIN):
        assert draw(runs, SIZE) == (RUNS, (3, 2, 10, 7), 0)
    ring = [1, 1, 8, 1, 8, 6, 1, 6]
    assert draw([ring], SIZE) == (from_rings([ring], (9, 12)), (1, 1, 8, 6), 0)
    assert draw(ring, SIZE) == draw([ring], SIZE), "one ring without its list"
    assert draw([[str(v) for v in ring]], SIZE) == draw([ring], SIZE), "numbers as text"
    assert draw([[-3, 1, 8, 1, 8, 6, -3, 6]], SIZE)[1:] == ((0, 1, 8, 6), 3)


def test_a_tip_too_thin_to_be_drawn_is_the_outline_s_all_the_same():
    mask, corners, _ = draw([[1, 1, 11, 1.2, 1, 1.4, 1, 8, 4, 8, 4, 2]], SIZE)
    assert corners == (1, 1, 11, 8)
    assert box(mask)[2] < 9


@pytest.mark.parametrize(
    ("outline", "kind", "what"),
    [
        ([[1, 1, 5, 5]], "mask-outline", "two points, and three"),
        ([[1, 1, 8, 1, 8, 6], [2, 2]], "mask-outline", "one point, and three"),
        ([[1, 1, 8, 1, 8, 6], []], "mask-outline", "no point, and three"),
        ([[1, 1, 8, 1, 8]], "mask-outline", "5 numbers"),
        ([[1, 1, 8, "nan", 8, 6]], "mask-outline", "'nan' where a number"),
        ([[1, 1, 8, 10**400, 8, 6]], "mask-outline", "where a number"),
        ([[1, 1, 8, None, 8, 6]], "mask-outline", "no list of numbers"),
        ([{"x": 1}], "mask-outline", "no list of numbers"),
        ([[20, 1, 28, 1, 28, 6]], "mask-outside", "lies outside its image of 12x9"),
        ([[1, 1, 1e9, 1, 8, 6]], "mask-outside", "reaches 999999988 pixels out"),
        ([[0, 0, 48, 36] * 25_000], "mask-outline", "pixels long"),
        ({"size": [9, 12], "counts": "zzzz"}, "mask-outline", "no runs"),
        ({"size": [9, 12], "counts": [-1, 109]}, "mask-outline", "no runs"),
        ({"size": [9, 12], "counts": []}, "mask-outline", "no runs"),
        ({"size": [9, 12]}, "mask-outline", "no runs"),
        ({"size": [9, "a"], "counts": [108]}, "mask-outline", "no size"),
        ({"size": [0, 12], "counts": [0]}, "mask-outline", "no size"),
        ({"counts": [108]}, "mask-outline", "no size"),
        (
            {"size": [9, 12], "counts": [50, 50]},
            "mask-length",
            "has 100 pixels, and its size of 9x12 has 108",
        ),
        ({"size": [9, 12], "counts": [2**40 - 1]}, "mask-length", "9x12 has 108"),
        ({"size": [12, 9], "counts": [8, 100]}, "mask-size", "has 9x12 pixels, and its image 12x9"),
        (7, "mask-outline", "no size"),
    ],
)
def test_what_is_no_mask_is_named(outline, kind, what):
    with pytest.raises(UndrawnMask, match=what) as raised:
        draw(outline, SIZE)
    assert raised.value.kind == kind


def test_what_says_nothing_is_no_outline():
    for nothing in (None, [], [[]], {}):
        assert not has_outline(nothing)
    assert has_outline([[1, 2, 3, 4]])
    assert has_outline({"counts": ""})


def shown(outline, said, form):
    image = Annotated("1.jpg", "a.json image 1", size=said)
    image.add(Record("annotation 1", "gun", (3, 2, 10, 7), outline=outline))
    assert not any(fault.kind == "image-size" for fault in into_shown(image, form))
    return image.records[0].outline


@pytest.mark.parametrize("orientation", TURNS)
def test_masks_are_turned_as_the_image_is(orientation):
    """Pillow turns the pixels; a run-length mask and a polygon along pixels' edges come out as they do."""
    whole = Image.fromarray(PIXELS.astype(np.uint8))
    whole.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(whole)).astype(bool)
    form = Form(wanted.shape[::-1], orientation)
    if form.stored == form.size:
        return  # said and shown are one: nothing tells, and nothing is turned
    assert np.array_equal(decode(from_coco(shown(RUNS.coco, SIZE, form).coco)), wanted)
    ring = [3, 2, 5, 2, 5, 7, 3, 7]
    block = np.zeros((9, 12), bool)
    block[2:7, 3:5] = True
    whole = Image.fromarray(block.astype(np.uint8))
    whole.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(whole)).astype(bool)
    found = decode(draw(shown([ring], SIZE, form), form.size)[0])
    assert found.sum() == wanted.sum()
    assert abs(np.argwhere(found).mean(0) - np.argwhere(wanted).mean(0)).max() <= 1


def test_masks_are_scaled_as_their_image_was():
    form = Form((24, 18))
    assert np.array_equal(decode(shown(RUNS.coco, SIZE, form)), PIXELS.repeat(2, 0).repeat(2, 1))
    assert shown([[1, 1, 8, 1, 8, 6]], SIZE, form) == [[2, 2, 16, 2, 16, 12]]
    broken = {"size": [9, 12], "counts": [5]}
    assert shown(broken, SIZE, form) == broken, "what is wrong with it is named when it is drawn"
    other = from_runs([8, 100], (12, 9)).coco
    assert shown(other, SIZE, form) == other, "of another size than what was annotated"
