"""Run-length masks equal pycocotools' and plain loops, byte by byte and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.data.boxes.masks.rle import (
    Mask,
    area,
    box,
    decode,
    encode,
    from_rings,
    from_runs,
    from_values,
    share_pixels,
    union,
)


def some_masks(number=60):
    rng = np.random.default_rng(4)
    for _ in range(number):
        height, width = rng.integers(1, 40, 2)
        yield rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98])
    yield np.zeros((5, 3), bool)
    yield np.ones((5, 3), bool)


def test_a_mask_comes_back_with_its_area_and_its_box():
    for pixels in some_masks():
        mask = encode(pixels)
        assert mask.size == pixels.shape
        assert decode(mask).dtype == bool
        assert np.array_equal(decode(mask), pixels)
        assert area(mask) == pixels.sum()
        rows, columns = np.nonzero(pixels)
        own = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if rows.size else None
        assert box(mask) == own


def test_a_view_and_a_number_are_masks_as_their_copies_are():
    pixels = np.arange(24).reshape(4, 6) % 5
    for view in (pixels, pixels.T, pixels[::-1, ::2], pixels.astype(np.uint16) * 256):
        assert np.array_equal(decode(encode(view)), view != 0)


def test_the_text_is_known():
    """The example of COCO's own API: 2 of nothing, 3 of it, 4 of nothing; and a mask of nothing."""
    assert from_runs([2, 3, 4], (3, 3)).coco == {"size": [3, 3], "counts": "234"}
    assert encode(np.zeros((3, 4), bool)) == Mask((3, 4), b"<")


def test_runs_of_no_pixel_make_no_other_mask():
    assert from_runs([2, 1, 0, 2, 4, 0], (3, 3)) == from_runs([2, 3, 4], (3, 3))
    assert from_runs([0, 0, 2, 3, 4], (3, 3)) == from_runs([2, 3, 4], (3, 3))
    assert from_runs([0, 9], (3, 3)) == encode(np.ones((3, 3)))


@pytest.mark.parametrize("runs", [[2, 3, 3], [2, 3, 5], [], [12, -3]])
def test_runs_of_another_length_are_refused(runs):
    with pytest.raises(ValueError, match="3 x 3 are 9"):
        from_runs(runs, (3, 3))


def test_polygons_are_filled_as_pycocotools_fills_them():
    theirs = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(1)
    for _ in range(150):
        height, width = rng.integers(1, 70, 2).tolist()
        rings = [
            np.round(rng.uniform(-9, 80, 2 * rng.integers(3, 8)), rng.integers(0, 3)).tolist()
            for _ in range(rng.integers(1, 4))
        ]
        wanted = theirs.merge(theirs.frPyObjects(rings, height, width))
        mask = from_rings(rings, (height, width))
        assert (list(mask.size), mask.counts) == (wanted["size"], wanted["counts"])
        assert area(mask) == theirs.area(wanted)
        assert np.array_equal(decode(mask), theirs.decode(wanted))


def test_packed_runs_are_pycocotools_own():
    theirs = pytest.importorskip("pycocotools.mask")
    for pixels in some_masks(20):
        wanted = theirs.encode(np.asfortranarray(pixels, np.uint8))
        assert encode(pixels).counts == wanted["counts"]


def test_a_known_triangle_has_its_known_pixels():
    """What pycocotools 2.0.10 gives for it."""
    mask = from_rings([[1, 1, 6, 1, 1, 6]], (8, 8))
    rows = ["........", ".####...", ".###....", ".##.....", ".#......", "........", "........", "........"]
    assert ["".join(".#"[int(v)] for v in row) for row in decode(mask)] == rows
    assert mask == from_rings([[1, 1, 1, 6, 6, 1]], (8, 8)), "which way round makes no difference"


def test_an_index_image_gives_each_value_its_pixels():
    values = np.random.default_rng(2).integers(0, 7, (31, 17)).astype(np.uint16) * 9000
    masks = from_values(values)
    assert list(masks) == sorted(set(values.ravel().tolist()) - {0})
    for value, mask in masks.items():
        assert mask == encode(values == value)
    assert from_values(np.zeros((4, 4), np.uint8)) == {}
    assert from_values(np.full((2, 3), 5)) == {5: encode(np.ones((2, 3)))}


def test_masks_that_share_pixels_are_told_from_those_that_touch():
    one, other = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    one[:, :3], other[:, 3:] = True, True
    masks = [encode(one), encode(other)]
    assert not share_pixels(masks)
    assert not share_pixels(masks[:1])
    assert union(masks) == encode(np.ones((6, 6)))
    other[0, 2] = True
    assert share_pixels([masks[0], encode(other)])
