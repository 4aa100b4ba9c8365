"""Anchors of YOLO: k-means over all boxes in pixels of the square, or a file of numbers that is read strictly."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tasks.detection.test_anchors import boxes_of
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.detection.yolo.anchored import AnchoredDetector
from tlkit.tasks.detection.yolo.shapes import (
    fitted_shapes,
    read_shapes,
    scaled_shapes,
    shape_coverage,
    smallest_first,
)
from tlkit.tasks.detection.yolo.yolov3 import Yolov3Detector

USUAL = scaled_shapes(Yolov3Detector.usual, 256)
PLANTED = ((10.0, 20.0), (24.0, 16.0), (60.0, 60.0), (30.0, 90.0), (120.0, 50.0))
LINE = "10,13,  16,30,  33,23,  30,61,  62,45,  59,119,  116,90,  156,198,  373,326"


def drawn(scale=1, count=40):
    random = np.random.default_rng(0)
    sides = np.repeat(np.array(PLANTED), count, 0) * random.uniform(0.95, 1.05, (count * 5, 2))
    corner = random.uniform(0, 256 - sides)
    every = np.concatenate([corner, corner + sides], 1) * scale
    return boxes_of(np.split(every, 20), size=256 * scale)


def test_anchors_are_the_shapes_that_were_planted_smallest_first():
    found = fitted_shapes(drawn(), 256, USUAL[:5])
    assert np.array(found) == pytest.approx(np.array(smallest_first(PLANTED)), rel=0.05)
    assert all(
        round(side, 2) == side for one in found for side in one
    )  # as a card and a file of anchors have them
    areas = [w * h for w, h in found]
    assert areas == sorted(areas)


def test_anchors_are_in_pixels_of_the_square_whatever_the_files_measure():
    assert np.array(fitted_shapes(drawn(4), 256, USUAL[:5])) == pytest.approx(
        np.array(fitted_shapes(drawn(), 256, USUAL[:5])), rel=0.01
    )


def test_few_shapes_are_filled_up_with_the_papers():
    found = fitted_shapes(boxes_of([[[0, 0, 40, 30], [9, 9, 49, 39]]]), 256, USUAL)
    assert len(set(found)) == 9
    assert (40.0, 30.0) in found
    assert set(found) - {(40.0, 30.0)} < set(USUAL)


def test_images_without_boxes_have_no_shapes():
    with pytest.raises(DataFault, match="no boxes to fit anchors to"):
        fitted_shapes(boxes_of([[], []]), 256, USUAL)


def test_coverage_is_of_shapes_about_one_middle():
    found = shape_coverage(boxes_of([[[100, 100, 120, 110]]]), 256, ((20.0, 10.0), (90.0, 90.0)))
    assert (found.boxes, found.share, found.mean_iou) == (1, 1.0, 1.0)
    assert shape_coverage(boxes_of([[[0, 0, 20, 10]]]), 256, ((20.0, 20.0),)).mean_iou == 0.5


@pytest.mark.parametrize("text", [LINE, f"anchors = {LINE}\n", LINE.replace(",", "\n")])
def test_a_file_of_anchors_is_a_line_of_darknets(tmp_path, text):
    (tmp_path / "anchors.txt").write_text(text)
    assert read_shapes(tmp_path / "anchors.txt", 9) == Yolov3Detector.usual


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10,13, 16,30", "holds 4 numbers; 9 anchors have 18"),
        (f"{LINE}, 7", "holds 19 numbers"),
        (LINE.replace("33", "0"), "holds '0', which is no number above zero"),
        (LINE.replace("33", "-33"), "holds '-33'"),
        (LINE.replace("33", "nan"), "holds 'nan'"),
        (LINE.replace("33", "inf"), "holds 'inf'"),
        ("ten by thirteen", "holds 'ten'"),
        ("", "holds 0 numbers"),
        (b"\xff\xfe\x00", "cannot be read as text"),
    ],
)
def test_another_file_is_refused_in_a_sentence(tmp_path, text, said):
    file = tmp_path / "anchors.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageFault, match=said) as caught:
        read_shapes(file, 9)
    assert "18 numbers above zero" in caught.value.remedy


# --- what a recipe's options come to ---


def test_a_design_has_anchors_and_their_coverage_in_the_card(tmp_path):
    fitted = Yolov3Detector.design(drawn(), 256, None)
    assert fitted.facts["anchors"] == [list(one) for one in fitted.own["anchors"]]
    assert fitted.facts["coverage"]["share"] == 1.0
    assert fitted.says == ()
    (tmp_path / "anchors.txt").write_text(LINE)
    given = Yolov3Detector.design(drawn(), 256, None, anchors=tmp_path / "anchors.txt")
    assert given.own["anchors"] == Yolov3Detector.usual
    assert given.facts["coverage"]["mean_iou"] < fitted.facts["coverage"]["mean_iou"]


def test_a_warm_start_keeps_the_anchors_that_weights_belong_to(tmp_path):
    started = {"network": "yolov3", "anchors": [[float(n), 2.0 * n] for n in range(1, 10)]}
    found = Yolov3Detector.design(drawn(), 256, started)
    assert found.facts["anchors"] == started["anchors"]
    with pytest.raises(UsageFault, match="--anchors does not go with --warm-start"):
        Yolov3Detector.design(drawn(), 256, started, anchors=tmp_path / "any.txt")
    other = {"network": "retinanet", "anchors": {"base": 8.0}}  # refused later, by name
    assert Yolov3Detector.design(drawn(), 256, other) == Yolov3Detector.design(drawn(), 256, None)


def test_another_kinds_anchors_do_not_break_a_retinanet():
    from tlkit.tasks.detection.retinanet import RetinaNetDetector

    assert RetinaNetDetector.design(drawn(), 256, {"anchors": [[1.0, 2.0]]}).own["anchors"].base == 32.0


def test_without_any_anchors_they_are_the_papers_in_the_squares_pixels():
    assert Yolov3Detector.smallest(416, None) == Yolov3Detector.usual
    assert Yolov3Detector.smallest(208, None)[0] == (5.0, 6.5)
    assert issubclass(Yolov3Detector, AnchoredDetector)
