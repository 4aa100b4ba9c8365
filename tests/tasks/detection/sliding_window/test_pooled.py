"""Pooled windows: shapes for boxes, what windows teach, a head that learns from windows as they are asked about."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.safe_loading.keras_models import read_model
from tlkit.data.boxes.dataset import iou
from tlkit.errors import DataFault, ExportFault, UsageFault
from tlkit.tasks.detection.build import load_detector
from tlkit.tasks.detection.metrics.summary import coco_measures
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.settings import Detecting
from tlkit.tasks.detection.sliding_window import pooled
from tlkit.tasks.detection.sliding_window.pooled import (
    PooledDetector,
    PooledLayout,
    build_pooled,
    solved_projection,
)
from tlkit.tasks.detection.sliding_window.pooled_calibration import (
    calibrated,
    calibration_error,
    fit_platt,
)
from tlkit.tasks.detection.sliding_window.pooled_learning import (
    Taught,
    chosen_windows,
    false_alarms,
    fit_head,
    placed,
    seen,
)
from tlkit.tasks.detection.sliding_window.pooled_rounds import Rounds, read_arrays, squares, write_arrays
from tlkit.tasks.detection.sliding_window.pooled_shapes import (
    Shape,
    boxes_of_shapes,
    choose_shapes,
    level_sides,
    places_of,
)


def colour_maps(_backbone, size, weights="none"):
    """What `build_maps` gives: the colours of cells of 8 and of 16 pixels, at once built."""
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 64, -2, name="preprocess")(images)
    maps = [keras.layers.AveragePooling2D(stride, name=f"cells_{stride}")(x) for stride in (8, 16)]
    assert weights == "none"
    assert size % 32 == 0
    return keras.Model(images, maps, name="maps"), WeightsOrigin("none", "no weights", None)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(pooled, "build_maps", colour_maps)
    return monkeypatch


def tiny_detector(shapes=((96, 1, 1), (96, 1, 2), (96, 2, 1)), **more):
    layout = PooledLayout(tuple(shapes), channels=(3, 3), hidden=16, most=10, **more)
    return build_pooled(NAMES, SIZE, "tiny", "none", layout)[0]


# ---- shapes ----


def test_levels_are_multiples_of_32_and_windows_touch_the_last_place():
    assert level_sides(416) == (640, 416, 192)
    assert level_sides(64) == (96, 64)
    rows, columns = places_of(Shape(96, 2, 3), 0.25)  # 12 places; windows of 6 and 9
    assert rows.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert columns.tolist() == [0, 2, 3]
    boxes = boxes_of_shapes([Shape(96, 2, 3)], 48, 0.25)  # a place is 4 pixels of the square
    assert boxes.shape == (21, 4)
    assert boxes[1].tolist() == [8, 0, 44, 24]
    assert boxes[-1].tolist() == [12, 24, 48, 48]


def test_shapes_are_those_that_cover_the_boxes_and_stop_where_another_adds_nothing():
    sides = [Shape(416, 2, 4).sides(416), Shape(640, 3, 3).sides(416)]
    boxes = np.array([[5, 7, 5 + w, 7 + h] for w, h in (*sides, sides[0])], np.float32)
    shapes, cover = choose_shapes(boxes, 416, 9)
    assert shapes == [Shape(640, 3, 3), Shape(416, 2, 4)]
    assert cover == pytest.approx(1)
    (one,), less = choose_shapes(boxes, 416, 1)
    assert one == Shape(416, 2, 4)
    assert less < 1


def test_a_box_larger_than_all_windows_gets_the_largest_that_the_image_has():
    shapes, cover = choose_shapes(np.array([[0, 0, 64, 64]], np.float32), 64, 4)
    assert [shape.sides(64) for shape in shapes] == [(64, 64)]
    assert cover == pytest.approx(1)
    assert boxes_of_shapes(shapes, 64, 0.25).tolist() == [[0, 0, 64, 64]]


def test_without_boxes_there_are_no_shapes():
    with pytest.raises(UsageFault, match="No training box says"):
        choose_shapes(np.zeros((0, 4), np.float32), 416, 4)


# ---- what windows teach ----


@pytest.mark.parametrize("view", range(8))
def test_a_view_moves_boxes_with_what_they_show(view):
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[3:5, 10:17] = 200
    moved = seen(pixels, view)
    left, top, right, bottom = placed(np.array([[10, 3, 17, 5]]), 20, view)[0].astype(int)
    assert (moved[top:bottom, left:right] == 200).all()
    assert moved.sum() == pixels.sum()
    assert (bottom - top) * (right - left) == 14


def test_windows_are_taught_by_their_overlap_and_nothing_near_what_is_ignored():
    places = boxes_of_shapes([Shape(416, 2, 2), Shape(416, 3, 3)], 416, 0.25)
    xyxy = np.array([[100, 100, 150, 148], [300, 300, 340, 350]], np.float32)
    random = np.random.default_rng(0)
    indices, kinds, deltas = chosen_windows(places, xyxy, np.array([2, -2]), 4, random)
    overlaps = iou(places[indices], xyxy)
    on = kinds == 2
    assert 1 < on.sum() <= 12
    assert iou(places, xyxy)[:, 0].argmax() in indices[on]
    assert (overlaps[on, 0] >= 0.5).all()
    assert set(kinds[~on]) == {4}
    assert (overlaps[~on, 0] < 0.4).all()
    assert ((overlaps[~on, 0] >= 0.1).sum(), (overlaps[~on, 0] < 0.1).sum()) == (6, 12)
    assert (overlaps[~on, 1] < 0.1).all()
    assert not deltas[~on].any()
    assert deltas[on].any()


def test_an_object_that_no_window_fits_has_its_best_window_or_none():
    places = boxes_of_shapes([Shape(416, 2, 2)], 416, 0.25)  # 48 by 48
    random = np.random.default_rng(0)
    wide = np.array([[100, 100, 200, 140]], np.float32)
    _, kinds, _ = chosen_windows(places, wide, np.array([0]), 1, random)
    assert (kinds == 0).sum() == 1
    speck = np.array([[100, 100, 104, 104]], np.float32)
    _, kinds, _ = chosen_windows(places, speck, np.array([0]), 1, random)
    assert (kinds == 0).sum() == 0


def test_false_alarms_are_the_surest_and_apart():
    places = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [60, 0, 70, 10]], np.float32)
    alarm = np.array([0.6, 0.9, 0.3, 0.01], np.float32)
    assert false_alarms(places, np.arange(4), alarm).tolist() == [1, 2]
    assert false_alarms(places, np.array([0, 3]), alarm).tolist() == [0]
    assert false_alarms(places, np.arange(0), alarm).tolist() == []


def test_an_image_without_windows_to_learn_teaches_nothing(tiny):
    detector = tiny_detector(((64, 2, 2),))  # the only window with 48 of 64 pixels a side, at 9 places
    work = Rounds(detector, images_of_one_object(), None)
    whole = np.array([[0, 0, 64, 64]], np.float32)
    taught = work.taught(0, 0, np.zeros((64, 64, 3), np.uint8), whole, np.array([-2]))
    assert taught.features.shape == (0, detector.width)


def images_of_one_object():
    class One:
        paths = ("a.png",)

    return One()


def test_projections_are_components_of_unit_variance_and_constant_maps_stay_finite():
    random = np.random.default_rng(0)
    rows = random.normal(size=(4000, 3)) * [5, 1, 0.1] + 7
    kernel, bias = solved_projection(rows, 2)
    projected = rows @ kernel + bias
    np.testing.assert_allclose(np.cov(projected.T), np.eye(2), atol=1e-2)
    assert abs(kernel[0, 0] * 5) == pytest.approx(1, abs=0.05)
    flat, offset = solved_projection(np.full((50, 3), 9.0), 5)
    assert flat.shape == (3, 5)
    assert not flat.any()
    assert not offset.any()


# ---- the detector ----


def test_features_are_the_means_of_the_parts_of_a_window(tiny):
    detector = tiny_detector(((96, 1, 2),))
    for layer in detector.projections:
        layer.set_weights([np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    level = tf.cast(tf.image.resize(image, (96, 96)) + 0.5, tf.uint8).numpy()[0] / 64 - 2
    rows, columns = places_of(Shape(96, 1, 2), 0.25)
    found = detector.features(tf.constant(image)).numpy()[0]
    assert found.shape == (len(rows) * len(columns), detector.width)
    window = level[8 * rows[3] :, 8 * columns[2] :][:24, :48]
    parts = window.reshape(3, 8, 3, 16, 3).mean((1, 3)).reshape(9, 3)
    np.testing.assert_allclose(found[3 * len(columns) + 2, :-1].reshape(9, 6)[:, :3], parts, atol=1e-4)
    assert found[0, -1] == 1


def taught_detector(boxes, folder, rounds=1):
    detector = tiny_detector(((96, 1, 1), (64, 1, 1), (96, 2, 2), (96, 1, 2), (96, 2, 1)))
    work = Rounds(detector, boxes, folder, 0, 8, 400)
    work.begin()
    return detector, [work.run(number) for number in range(1 + rounds)], work


@pytest.mark.slow
def test_what_is_learned_is_found_and_survives_saving_and_beginning_again_to_the_bit(tiny, tmp_path):
    boxes = drawn_boxes(tmp_path / "images", 24)
    (tmp_path / "kept").mkdir()
    detector, rounds, work = taught_detector(boxes, tmp_path / "kept")
    assert [one.number for one in rounds] == [0, 1]
    assert rounds[1].windows == rounds[0].windows + rounds[1].added
    assert 0 < rounds[0].on_objects < rounds[1].on_objects < rounds[1].windows
    assert min(work.counts()) > 0
    found = Finder(detector, Detecting(0.01, 1.0, 30)).in_boxes(boxes, 4)
    assert coco_measures(boxes, found)["AP50"] > 0.4  # cells of 5 and 8 pixels, objects of 12 to 31
    assert max(len(one.scores) for one in found) <= 30
    # a run that was killed in the second round: its last block and head are gone
    for file in ("windows-1-0.npz", "head-1.npz"):
        (tmp_path / "kept" / file).unlink()
    again, others, _ = taught_detector(boxes, tmp_path / "kept")
    assert [replace(one, seconds=0) for one in others] == [replace(one, seconds=0) for one in rounds]
    for one, two in zip(detector.weights, again.weights, strict=True):
        assert one.numpy().tobytes() == two.numpy().tobytes()
    detector.calibration.assign([0.5, -1.0])
    detector.save(tmp_path / "model.keras")
    other = read_model(tmp_path / "model.keras")
    assert isinstance(other, PooledDetector)
    image = next(squares(boxes, SIZE))[0][None]
    np.testing.assert_array_equal(other(image), detector(image))
    np.testing.assert_array_equal(other.decode(other(image))[1], detector.decode(detector(image))[1])
    assert load_detector(tmp_path / "model.keras").kind == "pooled-window"


def test_a_class_without_windows_is_never_said_and_constant_images_are_answered(tiny):
    detector = tiny_detector()
    random = np.random.default_rng(0)
    labels = np.resize([0, 2, 3, 3], 200).astype(np.int32)  # none of green, the class 1
    features = random.normal(size=(200, detector.width)).astype(np.float16)
    loss = fit_head(detector, Taught(features, labels, np.zeros((200, 4), np.float32)), 0, 5)
    assert np.isfinite(loss)
    grey = np.stack([np.full((SIZE, SIZE, 3), value, np.uint8) for value in (0, 128)])
    raw = detector(grey)
    chances = detector.probabilities(raw).numpy()
    assert np.isfinite(chances).all()
    assert chances[..., 1].max() < 1e-6
    boxes, scores = detector.decode(raw)
    assert boxes.shape == (2, 3 * 10, 4)
    assert scores.shape == (2, 3 * 10, 3)
    assert np.isfinite(boxes.numpy()).all()


def test_scores_are_calibrated_log_odds(tiny):
    detector = tiny_detector()
    raw = np.array([[[2.0, 0.5, -1.0, 1.0, 0, 0, 0, 0]]], np.float32)
    plain = np.exp(raw[0, 0, :4]) / np.exp(raw[0, 0, :4]).sum()
    np.testing.assert_allclose(detector.probabilities(raw)[0, 0], plain[:3], rtol=1e-5)
    detector.calibration.assign([2.0, -1.0])
    np.testing.assert_allclose(detector.probabilities(raw)[0, 0], calibrated(plain[:3], 2.0, -1.0), rtol=1e-5)


@pytest.mark.parametrize(("labels", "words"), [([3, 3], "have no object"), ([0, 1], "no window beside")])
def test_windows_of_one_side_only_are_refused(labels, words, tiny):
    detector = tiny_detector()
    rows = Taught(np.zeros((2, detector.width), np.float16), np.array(labels, np.int32), np.zeros((2, 4)))
    with pytest.raises(DataFault, match=words):
        fit_head(detector, rows, 0, 5)


def test_other_runtimes_are_refused_in_one_sentence(tiny, tmp_path):
    from tlkit.tasks.detection.serving import export

    for name in ("detector_to_onnx", "detector_to_litert"):
        with pytest.raises(ExportFault, match="cannot be written as ONNX or LiteRT"):
            getattr(export, name)(tiny_detector(), tmp_path / "model")


# ---- calibration ----


def test_platt_scaling_finds_the_numbers_that_scores_were_spoilt_with():
    random = np.random.default_rng(0)
    true = random.uniform(0.02, 0.98, 20_000)
    right = random.uniform(size=len(true)) < true
    spoilt = calibrated(true, 3.0, 1.0)  # too sure, and too often
    slope, offset = fit_platt(spoilt, right)
    assert slope == pytest.approx(1 / 3, rel=0.05)
    assert offset == pytest.approx(-1 / 3, abs=0.05)
    assert calibration_error(spoilt, right) > 0.1
    assert calibration_error(calibrated(spoilt, slope, offset), right) < 0.02


@pytest.mark.parametrize("right", [np.zeros(99, bool), np.ones(99, bool), np.arange(20) > 9])
def test_too_few_or_one_sided_detections_calibrate_nothing(right):
    assert fit_platt(np.linspace(0.1, 0.9, len(right)), right) == (1.0, 0.0)


def test_platt_scaling_never_turns_the_order_round():
    scores = np.linspace(0.1, 0.9, 100)
    slope, _ = fit_platt(scores, scores < 0.5)
    assert slope > 0


def test_files_are_whole_or_absent(tmp_path):
    write_arrays(tmp_path / "rows.npz", [np.arange(3), np.float32(2)])
    first, second = read_arrays(tmp_path / "rows.npz")
    assert first.tolist() == [0, 1, 2]
    assert second == 2
    assert [file.name for file in tmp_path.iterdir()] == ["rows.npz"]
