"""A detector that starts from another: everything comes over, classes by name, and nothing that does not fit."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.tasks.detection.detecting import SIZE, use_tiny_pyramid
from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.warm_start import start_from

IMAGE = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3)).astype(np.uint8)
SMALL = {"yolov3": {"widths": (8, 8, 8)}, "yolov2": {"width": 8, "passed": 4}}
OLD, NEW = ("gun", "knife", "blade"), ("Knife", "razor", "gun")  # razor is new, blade is forgotten


@pytest.fixture(autouse=True, scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        yield


def build(kind, names, seed, **options):
    keras.utils.set_random_seed(seed)
    if kind != "retinanet":
        return build_detector(kind, names, SIZE, "tiny", **SMALL.get(kind, {}), **options)[0]
    options = {"width": 16, "depth": 1, "anchors": Anchors(16.0), **options}
    return build_detector("retinanet", names, SIZE, "tiny", "none", **options)[0]


def class_variables(detector):
    return [variable for variable, _ in detector.class_columns()]


@pytest.fixture(
    params=["retinanet", "yolov8", "yolov1", pytest.param("yolov3", marks=pytest.mark.slow)], scope="module"
)
def pair(request, tmp_path_factory):
    """An old detector, a new one that started from its file, its class weights before, what was said, the file."""
    file = tmp_path_factory.mktemp("old") / "model.keras"
    old = build(request.param, OLD, 0)
    for number, variable in enumerate(class_variables(old)):  # biases start equal: make the classes differ
        variable.assign(np.random.default_rng(number).normal(size=variable.shape))
    old.save(file)
    new = build(request.param, NEW, 1)
    fresh = [np.array(v) for v in class_variables(new)]
    return old, new, fresh, start_from(new, file), file


def test_boxes_are_the_old_ones_and_classes_are_matched_by_name(pair):
    old, new, _, came, _ = pair
    assert came.kept == ("Knife", "gun")
    assert came.fresh == ("razor",)
    (boxes, scores), (old_boxes, old_scores) = new.decode(new(IMAGE)), old.decode(old(IMAGE))
    np.testing.assert_array_equal(boxes, old_boxes)
    np.testing.assert_allclose(scores[..., 0], old_scores[..., 1], atol=1e-6)
    np.testing.assert_allclose(scores[..., 2], old_scores[..., 0], atol=1e-6)
    assert not np.allclose(scores[..., 1], old_scores[..., 2], atol=1e-3)


def test_a_new_class_keeps_its_own_start(pair):
    _, new, fresh, _, _ = pair
    for (variable, columns), before in zip(new.class_columns(), fresh, strict=True):
        own = columns[:, NEW.index("razor")]
        np.testing.assert_array_equal(np.array(variable)[..., own], before[..., own])


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("yolov3", ("a", "gun", "b", "knife", "c")),
        ("yolov2", ("a", "gun", "b", "knife", "c")),
        pytest.param("yolov3", ("knife", "blade"), marks=pytest.mark.slow),
    ],
)
def test_fewer_and_more_classes_find_their_columns(kind, names, tmp_path):
    """Boxes and objectness lie among the classes, anchor by anchor."""
    old = build(kind, OLD, 0)
    for number, variable in enumerate(class_variables(old)):
        variable.assign(np.random.default_rng(number).normal(size=variable.shape))
    old.save(tmp_path / "model.keras")
    new = build(kind, names, 1)
    came = start_from(new, tmp_path / "model.keras")
    assert came.kept == tuple(name for name in names if name in OLD)
    (boxes, scores), (old_boxes, old_scores) = new.decode(new(IMAGE)), old.decode(old(IMAGE))
    np.testing.assert_array_equal(boxes, old_boxes)
    if kind == "yolov3":  # elsewhere a class's score depends on the others'
        for name in came.kept:
            np.testing.assert_allclose(
                scores[..., names.index(name)], old_scores[..., OLD.index(name)], atol=1e-6
            )


@pytest.mark.parametrize(
    ("options", "said"),
    [({"width": 8}, "has width 16; this one has 8"), ({"anchors": Anchors(24.0)}, "has anchors")],
)
def test_another_make_is_refused_by_name(tmp_path, options, said):
    build("retinanet", OLD, 0).save(tmp_path / "model.keras")
    with pytest.raises(UsageFault, match=said):
        start_from(build("retinanet", OLD, 1, **options), tmp_path / "model.keras")


@pytest.mark.parametrize("pair", ["yolov8"], indirect=True)
def test_another_kind_is_refused(pair):
    with pytest.raises(UsageFault, match="is a yolov8; this is a retinanet"):
        start_from(build("retinanet", OLD, 0), pair[-1])


def test_no_detector_is_refused(tmp_path):
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    with pytest.raises(ModelFault, match="no detector"):
        start_from(build("retinanet", OLD, 0), tmp_path / "other.keras")
