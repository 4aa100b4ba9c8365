"""Fonts that have a name's letters, and places for names: by geometry, and by the pixels that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.font_manager import FontEntry
from matplotlib.text import Text
from PIL import Image

from tlkit.data.boxes.dataset import intersections
from tlkit.engine.reporting import lettering
from tlkit.engine.reporting.lettering import OWN, font_of, places, writable
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.reporting.drawing import OnImage, draw_boxes
from tlkit.tasks.detection.reporting.files import framed
from tlkit.tasks.detection.reporting.plots import labelled_batch


@pytest.fixture
def only_own(monkeypatch):
    """A machine with matplotlib's fonts alone, and one that has a box for every letter."""
    entries = [FontEntry(fname=str(OWN), name="DejaVu Sans"), FontEntry(fname=str(OWN), name="Last Resort")]
    monkeypatch.setattr(lettering.fontManager, "ttflist", entries)
    for cached in (lettering._font, lettering._installed):
        cached.cache_clear()
    yield
    for cached in (lettering._font, lettering._installed):
        cached.cache_clear()


def drawn(pixels, boxes, classes):
    """The pixels with boxes of the first class."""
    image, number = Image.fromarray(pixels), len(boxes)
    found = Detections(np.array(boxes, float), np.full(number, 0.5), np.zeros(number, np.int32))
    draw_boxes(OnImage(image), framed(found, classes))
    return np.asarray(image)


def test_a_name_that_no_font_can_write_is_its_number(only_own):
    assert font_of("Ångström Ωж").file == OWN
    assert font_of("红细胞") is None
    assert writable(("gun", "红细胞", "нож")) == ("gun", "#2", "нож")


def test_chinese_names_are_letters_and_not_empty_squares():
    found = font_of("红细胞 0.97")
    if found is None:
        pytest.skip("no font with Chinese letters is installed")
    names = ("红细胞", "血小板")
    assert writable(names) == names
    figure = labelled_batch(np.zeros((1, 64, 64, 3), np.uint8), [np.array([[10, 30, 40, 60]])], [[0]], names)
    (name,) = [text for text in figure.findobj(Text) if text.get_text() == "红细胞"]
    assert name.get_fontfamily() == ["DejaVu Sans", found.family]
    pixels = np.full((200, 200, 3), 128, np.uint8)
    box = [[20.0, 80.0, 180.0, 180.0]]
    first, second = (drawn(pixels, box, names[:1]) for _ in range(2))
    assert (first == second).all()
    other = drawn(pixels, box, ("血小板", "红细胞"))
    assert (first != other).any()  # empty squares would be alike


def overlaps(found, plates, boxes):
    """Square pixels that each name shares with boxes and with the other names."""
    at = np.array([[p.left, p.top, p.left + w, p.top + h] for p, (w, h) in zip(found, plates, strict=True)])
    names = intersections(at, at)
    return intersections(at, np.array(boxes)).sum(), names.sum() - np.trace(names)


def test_a_name_stands_above_its_box():
    (place,) = places(np.array([[40, 50, 80, 90]]), [(30, 10)], (200, 200), gap=2)
    assert place == (38, 38, None)
    (inside,) = places(np.array([[0, 0, 200, 200]]), [(30, 10)], (200, 200))
    assert inside == (0, 0, None)  # there is no room outside
    assert places(np.zeros((0, 4)), [], (10, 10)) == []


def test_crowded_names_hide_no_box_and_no_other_name():
    """Two rows of boxes that touch, with room above, between and below: some names need a line to their box."""
    boxes = [[x, y, x + 20, y + 20] for y in (60, 80) for x in range(40, 160, 20)]
    plates = [(18, 8)] * len(boxes)
    found = places(np.array(boxes), plates, (200, 160))
    assert overlaps(found, plates, boxes) == (0, 0)
    lines = [place.leader for place in found]
    assert lines[0] is None
    for (x, y), (to_x, to_y) in filter(None, lines):
        assert any(b[0] <= to_x <= b[2] and b[1] <= to_y <= b[3] for b in boxes)
        assert np.hypot(x - to_x, y - to_y) > 1
    far = places(
        np.array([[40, 40, 60, 60], *boxes_around(40, 40, 20)]), [(18, 8)] + [(0, 0)] * 8, (200, 160)
    )
    assert far[0].leader is not None
    assert far[1:] == [None] * 8


def boxes_around(left, top, side):
    """The eight neighbours of a square."""
    return [
        [left + dx * side, top + dy * side, left + (dx + 1) * side, top + (dy + 1) * side]
        for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy
    ]  # fmt: skip


def test_a_name_without_a_place_is_left_out():
    boxes = np.array([[x, y, x + 10, y + 10] for x in range(0, 200, 10) for y in range(0, 200, 10)])
    assert places(boxes, [(30, 10)] * len(boxes), (200, 200)) == [None] * len(boxes)
    pixels = drawn(np.zeros((200, 200, 3), np.uint8), boxes, ("cell",))
    assert Image.fromarray(pixels).size == (200, 200)
    assert (pixels[4:6, 4:6] == 0).all()  # the cells are still to be seen
