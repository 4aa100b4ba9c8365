"""Any boxes go from any form to any other and come back to the last bit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlkit.data.boxes.dataset import Boxes, clip_boxes, intersections, iou, paired_iou, read_boxes
from tlkit.data.boxes.formats.writers import difference, write_boxes

FORMS = ("coco", "voc", "yolo", "csv")
SIZES = ((1, 1), (7, 300), (641, 479))
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def images(place):
    root = place / "pictures"
    root.mkdir()
    for i, size in enumerate(SIZES):
        Image.new("L", size).save(root / f"{i}.png")
    return root


def corners(size):
    """A float32 box inside an image, however thin."""

    def side(length):
        edge = st.floats(0, length, width=32)
        return st.tuples(edge, edge).map(sorted).filter(lambda pair: pair[0] < pair[1])

    return st.tuples(side(size[0]), side(size[1])).map(lambda s: [s[0][0], s[1][0], s[0][1], s[1][1]])


@st.composite
def described(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=same_to_a_person))
    per_image = [
        draw(
            st.lists(
                st.tuples(corners(size), st.integers(0, len(names) - 1), st.booleans(), st.booleans()),
                max_size=3,
                unique_by=lambda box: tuple(box[0]),
            )
        )
        for size in SIZES
    ]
    groups = draw(st.lists(st.none() | NAMES, min_size=len(SIZES), max_size=len(SIZES)))
    return names, per_image, groups


def same_to_a_person(name):
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def boxes_of(root, names, per_image, groups):
    return Boxes(
        source="drawn",
        root=root,
        class_names=tuple(names),
        paths=tuple(f"{i}.png" for i in range(len(SIZES))),
        xyxy=tuple(np.array([b for b, *_ in some], np.float32).reshape(-1, 4) for some in per_image),
        labels=tuple(np.array([k for _, k, *_ in some], np.int32) for some in per_image),
        difficult=tuple(np.array([d for *_, d, _ in some], bool) for some in per_image),
        crowd=tuple(np.array([c for *_, c in some], bool) for some in per_image),
        sizes=SIZES,
        groups=tuple(groups),
        parts=(None,) * len(SIZES),
    )


@settings(max_examples=settings().max_examples // 5)
@given(described(), st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_there_and_back_between_any_two_forms(images, drawn, one, other):
    boxes = boxes_of(images, *drawn)
    # What rounds away within a float32 of the image's side is another matter: see NOTHING and NEAR in box_faults.
    assume(all((some == 0)[some < 1e-6].all() for some in boxes.xyxy))
    assume(all(not looks_normalised(some) for some in boxes.xyxy))
    folder = images.parent / "forms"
    shutil.rmtree(folder, ignore_errors=True)
    first = read_boxes(write_boxes(boxes, folder / "one", one, link=True))
    again = read_boxes(write_boxes(first, folder / "other", other, link=True))
    assert difference(boxes, first) is None
    assert difference(boxes, again) is None


def looks_normalised(some):
    return ((some <= 1).all(axis=1) & (some != np.floor(some)).any(axis=1)).any()


PLAIN = st.lists(corners((100, 80)), min_size=1, max_size=6).map(lambda some: np.array(some, np.float32))


@given(PLAIN, PLAIN)
def test_overlap_is_a_share_and_symmetric(one, other):
    table = iou(one, other)
    assert table.shape == (len(one), len(other))
    assert ((table >= 0) & (table <= 1 + 1e-12)).all()
    np.testing.assert_allclose(table, iou(other, one).T, rtol=1e-12)
    np.testing.assert_allclose(np.diag(iou(one, one)), 1, rtol=1e-12)
    pairs = min(len(one), len(other))
    np.testing.assert_array_equal(paired_iou(one[:pairs], other[:pairs]), np.diag(table)[:pairs])
    areas = np.prod(one[:, 2:].astype(np.float64) - one[:, :2], axis=1)
    assert (intersections(one, other) <= areas[:, None] * (1 + 1e-12)).all()


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4), max_size=5))
def test_clipped_boxes_stay_inside_and_clipping_again_changes_nothing(some):
    clipped = clip_boxes(np.array(some, np.float32), (50, 40))
    assert ((clipped >= 0) & (clipped <= [50, 40, 50, 40])).all()
    np.testing.assert_array_equal(clip_boxes(clipped, (50, 40)), clipped)
