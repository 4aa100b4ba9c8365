"""YOLOv1: its losses are those of a plain loop over cells, its boxes corners throughout, its counts the paper's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes, tiny_pyramid
from tlkit.data.boxes.batches import network_boxes
from tlkit.errors import UsageFault
from tlkit.tasks.detection.build import build_detector, resized_detector
from tlkit.tasks.detection.serving.saved_model import TOLERANCE, check_detector_parity, export_detector
from tlkit.tasks.detection.settings import Detecting
from tlkit.tasks.detection.warm_start import start_from
from tlkit.tasks.detection.yolo import yolov1
from tlkit.tasks.detection.yolo.yolov1 import Yolov1Detector, by_cell, crowded

pytestmark = pytest.mark.onednn
CELLS, WIDTH = 2, SIZE // 2
# In the left upper cell a box and one that comes too late; an ignored one that touches both right cells; padding.
# Then an empty image.
XYXY = np.array([[[6, 8, 40, 44], [4, 10, 30, 50], [40, 30, 60, 60], [-1] * 4], [[-1] * 4] * 4], np.float32)
LABELS = np.array([[0, 2, -2, -1], [-1] * 4], np.int32)


@pytest.fixture(autouse=True, scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yolov1, "build_pyramid", tiny_pyramid)
        yield


def build(names=NAMES, seed=0, **own):
    keras.utils.set_random_seed(seed)
    return build_detector("yolov1", names, SIZE, "tiny", "none", dense=8, **own)[0]


@pytest.fixture(scope="module")
def detector():
    return build()


def random_raw(seed=0, images=2):
    """Boxes near those of `XYXY`, so that they overlap, and any confidences and classes."""
    random = np.random.default_rng(seed)
    cells = random.normal(0, 0.4, (images, CELLS, CELLS, 13))
    cells[..., [0, 1, 2, 3, 5, 6, 7, 8]] = random.uniform(0.4, 0.9, (images, CELLS, CELLS, 8))
    return {"cells": tf.constant(cells, tf.float32)}


def losses(detector, raw, xyxy=XYXY, labels=LABELS):
    return {name: float(value) for name, value in detector.loss_parts(raw, xyxy, labels).items()}


# --- what is learned ---


def corners(row, column, x, y, w, h):
    """Left, top, right, bottom of what a cell says, in pixels."""
    middle, sides = ((column + x) * WIDTH, (row + y) * WIDTH), (max(w, 0) ** 2 * SIZE, max(h, 0) ** 2 * SIZE)
    return [m + sign * side / 2 for sign in (-1, 1) for m, side in zip(middle, sides, strict=True)]


def plain_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_losses(cells, xyxy, labels):
    """Equation 3 of Redmon 2016, cell by cell, for one image."""
    total = dict.fromkeys(("class", "box", "object", "no_object"), 0.0)
    objects = [(box, label) for box, label in zip(xyxy.tolist(), labels, strict=True) if label >= 0]
    for row, column in np.ndindex(CELLS, CELLS):
        numbers = cells[row, column]
        answers = [numbers[5 * j : 5 * j + 5] for j in (0, 1)]
        frame = (column * WIDTH, row * WIDTH, (column + 1) * WIDTH, (row + 1) * WIDTH)
        mine = [
            (box, label)
            for box, label in objects
            if frame[0] <= (box[0] + box[2]) / 2 < frame[2] and frame[1] <= (box[1] + box[3]) / 2 < frame[3]
        ]
        ignored = any(
            label == -2 and plain_iou(frame, box) > 0
            for box, label in zip(xyxy.tolist(), labels, strict=True)
        )
        if not mine:
            total["no_object"] += 0 if ignored else 0.5 * sum(answer[4] ** 2 for answer in answers)
            continue
        box, label = mine[0]
        ious = [plain_iou(corners(row, column, *answer[:4]), box) for answer in answers]
        best = int(np.argmax(ious))
        x, y = (box[0] + box[2]) / 2 / WIDTH - column, (box[1] + box[3]) / 2 / WIDTH - row
        wanted = (x, y, ((box[2] - box[0]) / SIZE) ** 0.5, ((box[3] - box[1]) / SIZE) ** 0.5)
        total["box"] += 5 * sum((a - b) ** 2 for a, b in zip(answers[best][:4], wanted, strict=True))
        total["object"] += (answers[best][4] - ious[best]) ** 2
        total["no_object"] += 0.5 * answers[1 - best][4] ** 2
        total["class"] += sum((numbers[10 + k] - (k == label)) ** 2 for k in range(3))
    return total


@pytest.mark.parametrize("seed", range(6))
def test_losses_are_those_of_a_plain_loop_over_cells(detector, seed):
    raw = random_raw(seed)
    each = [plain_losses(*one) for one in zip(raw["cells"].numpy().astype(float), XYXY, LABELS, strict=True)]
    expected = {name: (each[0][name] + each[1][name]) / 2 for name in each[0]}
    assert losses(detector, raw) == pytest.approx(expected, rel=1e-4)
    assert all(value > 0 for value in expected.values())


def test_a_cell_worked_by_hand(detector):
    """One object of 32 x 16 px in the middle of the first cell; one box is it, the other reaches half as wide."""
    cells = np.zeros((1, CELLS, CELLS, 13), np.float32)
    cells[0, 0, 0] = [0.5, 0.5, 0.5, 0.5, 0.6, 0.5, 0.5, 0.5**0.5, 0.5, 0.7, 0.9, 0.1, 0.0]
    found = losses(
        detector, {"cells": cells}, np.array([[[0, 8, 32, 24]]], np.float32), np.array([[0]], np.int32)
    )
    # the second box is the object: IoU 1, no error of the box; the first has confidence 0.6 and should have none
    expected = {"class": 0.02, "box": 0.0, "object": 0.09, "no_object": 0.18}
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_loss_of_an_image_does_not_depend_on_its_batch(detector):
    raw = random_raw()["cells"]
    alone = [losses(detector, {"cells": raw[i : i + 1]}, XYXY[i : i + 1], LABELS[i : i + 1]) for i in (0, 1)]
    together = losses(detector, {"cells": raw})
    assert together == pytest.approx({name: (alone[0][name] + alone[1][name]) / 2 for name in together})
    more = [np.concatenate([one] * 4) for one in (raw, XYXY, LABELS)]
    assert losses(detector, {"cells": more[0]}, *more[1:]) == pytest.approx(together)
    assert alone[1]["no_object"] > 0  # nothing in it
    assert sum(alone[1].values()) == alone[1]["no_object"]


def test_images_without_objects_lower_every_confidence(detector):
    nothing = np.full((2, 1, 4), -1, np.float32), np.full((2, 1), -1, np.int32)
    cells = random_raw()["cells"].numpy()
    variable = tf.Variable(cells)
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = tf.add_n(list(detector.loss_parts({"cells": variable}, *nothing).values()))
        variable.assign_sub(0.2 * tape.gradient(loss, variable))
    confidences = [4, 9]
    assert np.abs(cells[..., confidences]).max() > 0.5
    assert np.abs(variable.numpy()[..., confidences]).max() < 0.01
    others = np.setdiff1d(np.arange(13), confidences)
    assert (variable.numpy()[..., others] == cells[..., others]).all()


def gradient(detector, cells, name=None):
    cells = tf.constant(cells, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(cells)
        found = detector.loss_parts({"cells": cells}, XYXY, LABELS)
        loss = found[name] if name else tf.add_n(list(found.values()))
    return tape.gradient(loss, cells).numpy(), float(loss)


def test_the_confidence_target_is_the_iou_and_no_gradient_goes_through_it(detector):
    cells = random_raw()["cells"].numpy()
    found, _ = gradient(detector, cells, "object")
    ious = [plain_iou(corners(0, 0, *cells[0, 0, 0, 5 * j : 5 * j + 4]), XYXY[0, 0]) for j in (0, 1)]
    best = int(np.argmax(ious))
    assert 0 < ious[best] < 1
    expected = np.zeros_like(found)
    expected[0, 0, 0, 5 * best + 4] = 2 * (cells[0, 0, 0, 5 * best + 4] - ious[best]) / 2
    assert found == pytest.approx(expected, abs=1e-6)
    other = 5 * (1 - best) + 4  # of the box that does not answer: no object
    assert gradient(detector, cells)[0][0, 0, 0, other] == pytest.approx(
        0.5 * cells[0, 0, 0, other], rel=1e-5
    )


def test_roots_of_negative_and_absent_sides_are_finite_and_still_learn(detector):
    for low in (-3.0, 0.0):
        cells = np.full((2, CELLS, CELLS, 13), low, np.float32)
        found, loss = gradient(detector, cells)
        assert np.isfinite(loss)
        assert np.isfinite(found).all()
        assert (found[0, 0, 0, 2:4] < 0).all()  # a step makes the roots larger
        boxes = detector.decode({"cells": tf.constant(cells)})[0].numpy()
        assert (boxes[..., 2:] == boxes[..., :2]).all()


def test_where_no_box_overlaps_the_nearest_answers(detector):
    cells = np.zeros((2, CELLS, CELLS, 13), np.float32)
    cells[0, 0, 0, 5:7] = 0.7
    found, _ = gradient(detector, cells, "box")
    assert (found[0, 0, 0, :5] == 0).all()
    assert (found[0, 0, 0, 7:9] < 0).all()


# --- cells ---


def test_the_first_of_two_in_a_cell_keeps_it_and_how_many_lose_it_is_counted(detector, tmp_path):
    found = by_cell(XYXY, LABELS, CELLS, SIZE)
    assert found.labels.numpy().tolist() == [[0, -2, -1, -2], [-1] * 4]
    swapped = by_cell(XYXY[:, [1, 0, 2, 3]], LABELS[:, [1, 0, 2, 3]], CELLS, SIZE)
    assert swapped.labels.numpy()[0, 0] == 2
    boxes = drawn_boxes(tmp_path / "drawn", 24)
    xyxy, labels = network_boxes(boxes, SIZE)
    for cells in (1, 2, 8):
        kept = int(tf.reduce_sum(by_cell(xyxy, labels, cells, SIZE).score))
        assert crowded(boxes, SIZE, cells) == (sum(map(len, boxes.xyxy)), sum(map(len, boxes.xyxy)) - kept)
    objects, lost = crowded(boxes, SIZE, 1)
    assert lost > 0
    said = Yolov1Detector.design(boxes, SIZE, None, cells=1)
    assert said.facts["cell_taken"] == lost
    assert (
        f"{lost} of {objects} training objects have their middle in the cell of an earlier one"
        in said.says[0]
    )


def test_scores_are_shares_and_two_negative_numbers_are_none(detector):
    cells = np.zeros((1, CELLS, CELLS, 13), np.float32)
    cells[0, 0, 0, [4, 9, 10, 11, 12]] = [-0.5, 1.5, -0.5, 0.25, 3]
    scores = detector.decode({"cells": tf.constant(cells)})[1].numpy()
    assert scores[0, :2].tolist() == [[0, 0, 0], [0, 0.25, 1]]
    assert not scores[0, 2:].any()


# --- the model as a whole ---


def test_the_papers_form_has_as_many_parameters_as_the_paper_says():
    """Of shapes alone: nothing is allocated."""
    settings = {
        "class_names": list(map(str, range(20))),
        "size": 448,
        **Yolov1Detector.own_settings(448, "paper"),
    }
    with keras.StatelessScope(initialize_variables=False):
        made, origin = Yolov1Detector.of(settings)
    assert made.output["cells"].shape == (None, 7, 7, 30)
    assert made.count_params() == 271_703_550
    assert settings["backbone"] == "yolov1"
    assert origin.kind == "none"
    layers = [
        one for one in made._flatten_layers() if isinstance(one, keras.layers.Conv2D | keras.layers.Dense)
    ]
    assert len(layers) == 24 + 2
    assert not [one for one in made._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]


@pytest.mark.slow
def test_the_papers_form_takes_a_step():
    """3 GB with Adam's two memories."""
    keras.utils.set_random_seed(0)
    made, _ = build_detector("yolov1", list(map(str, range(20))), 448, form="paper")
    assert made.count_params() == 271_703_550
    made.compile(keras.optimizers.Adam(1e-5))
    images = np.random.default_rng(0).integers(0, 256, (1, 448, 448, 3)).astype(np.uint8)
    batch = tf.data.Dataset.from_tensors((images, {"boxes": XYXY[:1], "classes": LABELS[:1]}))
    before = np.array(made.get_layer("cells").bias)
    assert np.isfinite(made.fit(batch, verbose=0, shuffle=False).history["loss"]).all()
    assert (np.array(made.get_layer("cells").bias) != before).any()
    boxes, scores = made.decode(made(images))
    assert (boxes.shape, scores.shape) == ((1, 98, 4), (1, 98, 20))


def test_a_warm_start_with_more_and_with_fewer_classes(tmp_path):
    old = build(("a", "b", "c"))
    old.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3)).astype(np.uint8)
    its_boxes, its_scores = old.decode(old(images))
    for names in (("c", "x", "a", "y", "z"), ("B",)):
        new = build(names, seed=1)
        start_from(new, tmp_path / "model.keras")
        boxes, scores = new.decode(new(images))
        np.testing.assert_allclose(boxes, its_boxes, atol=1e-3)
        for mine, name in enumerate(names):
            if name.lower() in old.class_names:
                its = its_scores[..., old.class_names.index(name.lower())]
                np.testing.assert_allclose(scores[..., mine], its, atol=1e-5)


@pytest.mark.slow
def test_what_is_served_answers_as_the_model_does(tmp_path):
    made = build(cells=4)
    kernel = made.get_layer("cells").kernel
    kernel.assign(np.random.default_rng(0).normal(0, 5, kernel.shape))
    how = Detecting(threshold=0.01, most=6)
    export_detector(made, tmp_path, how)
    found = check_detector_parity(made, tmp_path, drawn_boxes(tmp_path / "drawn", 2, 90, 64).files(), how)
    assert found["largest_difference"] <= TOLERANCE
    assert found["detections"] >= 10


@pytest.mark.parametrize(
    ("size", "own", "said"),
    [
        (100, {}, "--image-size 100 does not suit a detector"),
        (416, {"form": "paper"}, "--image-size 416 does not suit --form paper"),
        (416, {"cells": 10}, "--cells 10 does not divide 416 pixels"),
        (416, {"cells": 0}, "--cells 0 does not divide"),
        (416, {"cells": 416}, "--cells 416 does not divide 416 pixels into cells of 8 or more"),
        (416, {"boxes": 0}, "--boxes-per-cell 0 leaves a cell without a box"),
        (416, {"dropout": -0.1}, "dropout -0.1 cannot be"),
        (416, {"dense": 0}, "hidden layer of 0"),
        (416, {"form": "large"}, "--form large is unknown"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_built(size, own, said):
    with pytest.raises(UsageFault, match=said):
        build_detector("yolov1", NAMES, size, **own)


def test_crops_are_refused(detector):
    with pytest.raises(UsageFault, match="--crop 32 does not suit a yolov1"):
        resized_detector(detector, 32)
