"""Any boxes go into the cells of a YOLOv1 and come back from them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlkit.tasks.detection.yolo.yolov1 import boxes_of, by_cell, values_of

GRIDS = ((64, 2), (416, 13), (448, 7), (96, 1))  # side of the image, cells


@st.composite
def scenes(draw):
    """Side, cells, boxes [m, 4] with their middles in different cells, labels."""
    size, cells = draw(st.sampled_from(GRIDS))
    line = st.tuples(st.floats(0, size, width=32), st.floats(0, size, width=32)).map(sorted)
    boxes = draw(st.lists(st.tuples(line, line), min_size=1, max_size=6))
    xyxy = np.array([[x[0], y[0], x[1], y[1]] for x, y in boxes], np.float32)
    place = np.clip((xyxy[:, :2] + xyxy[:, 2:]) / 2 // (size // cells), 0, cells - 1).astype(int)
    _, first = np.unique(place, axis=0, return_index=True)
    labels = draw(st.lists(st.integers(0, 4), min_size=len(first), max_size=len(first)))
    return size, cells, xyxy[first], place[first], np.array(labels, np.int32)


@given(scenes())
def test_encoding_and_decoding_are_inverses(scene):
    size, cells, xyxy, place, labels = scene
    targets = by_cell(xyxy[None], labels[None], cells, size)
    values = values_of(targets.xyxy, cells, size).numpy()
    back = boxes_of(np.stack([values] * 2, 2), cells, size).numpy()
    index = place[:, 1] * cells + place[:, 0]
    assert targets.labels.numpy()[0, index].tolist() == labels.tolist()
    assert int(targets.score.numpy().sum()) == len(labels)
    assert (values[0, index] >= 0).all()
    assert (values[0, index] <= 1).all()
    for box in (0, 1):
        np.testing.assert_allclose(back[0, index, box], xyxy, atol=size * 1e-5)
