"""Mask R-CNN as a detector: masks are learned where regions are of objects, and served as images as large as theirs."""

from __future__ import annotations

from io import BytesIO

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.tasks.detection.detecting import NAMES, SIZE, use_tiny_pyramid
from tests.tasks.detection.rcnn.test_faster_rcnn import IMAGES, NOTHING, SMALL, SOMETHING
from tlkit.data.boxes.masks import moving, rle
from tlkit.data.boxes.masks.pasting import pasted, pasted_masks
from tlkit.errors import ExportFault
from tlkit.tasks.detection.build import build_detector, load_detector
from tlkit.tasks.detection.rcnn.mask_head import SIDE, MaskHead, mask_loss, of_classes
from tlkit.tasks.detection.rcnn.sampling import Sampled
from tlkit.tasks.detection.serving.export import detector_to_onnx
from tlkit.tasks.detection.serving.saved_model import (
    TOLERANCE,
    ServedDetector,
    check_detector_parity,
    export_detector,
)
from tlkit.tasks.detection.settings import Detecting

EASY = Detecting(threshold=0.2, most=5)


@pytest.fixture(autouse=True, scope="module")
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_pyramid(patch)
        yield


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    found = build_detector("mask-rcnn", NAMES, SIZE, "tiny", "none", mask_width=4, **SMALL)[0]
    for number, (variable, _) in enumerate(found.class_columns()):  # so that it says different things
        variable.assign(np.random.default_rng(number).normal(0, 0.5, variable.shape))
    return found


def truth(boxes, labels):
    """Objects that fill their boxes but for the right half."""
    grids = np.zeros((*labels.shape, 28, 28), np.uint8)
    grids[..., :14] = moving.FULL
    sides = boxes[..., 2:] - boxes[..., :2]
    maps = np.zeros((*labels.shape, 2, 3), np.float32)
    maps[..., 0, 0], maps[..., 1, 1], maps[..., 2] = sides[..., 0], sides[..., 1], boxes[..., :2]
    maps[labels < 0] = 0
    return {"boxes": boxes, "classes": labels, "masks": grids, "mask_maps": maps}


@pytest.mark.parametrize("given", [SOMETHING, NOTHING])
def test_masks_are_learned_where_there_are_objects_and_nowhere_else(detector, given):
    with tf.GradientTape() as tape:
        parts = detector.losses(detector(IMAGES, training=True), truth(*given))
        total = tf.add_n(list(parts.values()))
    heads = detector.mask_head.trainable_variables
    gradients = tape.gradient(total, [v.value for v in heads])
    assert list(parts) == ["class", "box", "objectness", "proposals", "mask"]
    assert all(np.isfinite(float(v)) for v in parts.values())
    assert float(parts["class"]) > 0
    there = given is SOMETHING
    assert (float(parts["mask"]) > 0) == there
    assert any(np.abs(g).max() > 0 for g in gradients) == there


def test_the_loss_is_that_of_the_true_class_over_the_region_s_own_part_of_the_mask():
    logits = np.zeros((1, 3, SIDE, SIDE, 2), np.float32)
    logits[0, 0, :, :14, 1], logits[0, 0, :, 14:, 1] = 9, -9  # right; class 0 says nothing
    logits[0, 1, ..., 1] = 9  # the region is the left half, so all of it is the object
    logits[0, 2, ..., 1] = 9  # background
    boxes = tf.constant([[[8.0, 8, 40, 40], [8, 8, 24, 40], [0, 0, 5, 5]]])
    objects = truth(np.array([[[8, 8, 40, 40]]], np.float32), np.array([[1]], np.int32))
    sampled = Sampled(boxes, tf.constant([[1, 1, -1]]), boxes, tf.zeros([1, 3], tf.int32))
    loss = mask_loss(tf.constant(logits), sampled, objects["masks"], objects["mask_maps"])
    assert float(loss) == pytest.approx(np.log1p(np.exp(-9)), rel=1e-3)
    wrong = mask_loss(tf.constant(-logits), sampled, objects["masks"], objects["mask_maps"])
    assert float(wrong) == pytest.approx(9, abs=0.01)
    without = mask_loss(tf.constant(logits), sampled, objects["masks"], 0 * objects["mask_maps"])
    assert float(without) == 0  # an object whose mask nobody knows
    assert of_classes(tf.constant(logits), tf.constant([[1, 0, -1]])).numpy()[0, 1].min() == 0.5


def test_the_head_of_the_paper_has_its_layers():
    head = MaskHead(80, 256)
    head.build((None, None, 14, 14, 256))
    convolution = 3 * 3 * 256 * 256 + 256
    assert head.count_params() == 4 * convolution + (2 * 2 * 256 * 256 + 256) + (256 * 80 + 80)
    assert head(tf.zeros([1, 2, 14, 14, 256])).shape == (1, 2, 28, 28, 80)


def test_a_pasted_mask_is_as_large_as_its_image_and_lies_in_its_box():
    whole = np.ones((3, 28, 28), np.float32)
    whole[1, :, 14:] = 0
    boxes = np.array([[2, 3, 12, 9], [0, 0, 20, 10], [4.4, 4.4, 4.45, 4.45]], np.float32)
    masks = pasted(tf.constant(whole), tf.constant(boxes), tf.constant(10), tf.constant(20)).numpy()
    assert masks.shape == (3, 10, 20)
    assert masks[0].sum() == 60
    assert masks[0, 3:9, 2:12].all()
    assert masks[1].sum() == 100
    assert not masks[2].any()  # no pixel's middle lies in it
    many = np.repeat(whole[:1], 40, 0)
    found = pasted_masks(many, np.repeat(boxes[:1], 40, 0), (20.0, 10.0))
    assert len(found) == 40
    assert rle.box(found[-1]) == (2, 3, 12, 9)
    assert pasted_masks(whole[:0], boxes[:0], (20, 10)) == ()


def test_pasting_undoes_cutting():
    y, x = np.mgrid[0:120, 0:160] + 0.5
    disc = ((x - 70) / 45) ** 2 + ((y - 60) / 30) ** 2 <= 1
    grids, masks = moving.grids_of(((rle.encode(disc),),), ((160, 120),), 160)
    box = masks[0, 0]
    region = tf.constant([[[20.0, 40, 130, 120]]])  # in the square, where the image begins 20 pixels down
    cut = moving.cut_by_regions(
        tf.constant(grids[None]), moving.maps_of(tf.constant(masks)), region, tf.zeros([1, 1], tf.int32), SIDE
    )
    assert box[0] == 0
    back = pasted(cut[0], region[0] - [0.0, 20, 0, 20], tf.constant(120), tf.constant(160)).numpy()[0]
    inside = np.zeros_like(disc)
    inside[20:100, 20:130] = True
    both, either = (back & disc & inside).sum(), (back | (disc & inside)).sum()
    assert both >= 0.97 * either


def test_saved_and_served_it_finds_the_same_masks(detector, tmp_path):
    detector.save(tmp_path / "model.keras")
    loaded = load_detector(tmp_path / "model.keras")
    assert loaded.settings == detector.settings
    export_detector(detector, tmp_path, EASY)
    files = []
    for number, size in enumerate([(64, 64), (50, 91)]):
        values = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(values).save(files[-1])
    parity = check_detector_parity(loaded, tmp_path, files, EASY)
    assert parity["largest_difference"] <= TOLERANCE
    assert parity["detections"] > 0
    found = ServedDetector.load(tmp_path).predict_files(files)
    assert [mask.size for one in found for mask in one.masks] == [
        size for one, size in zip(found, [(64, 64), (91, 50)], strict=True) for _ in one.labels
    ]
    served = tf.saved_model.load(str(tmp_path))
    contents = tf.constant([file.read_bytes() for file in files])
    answer = served.signatures["serving_default"](contents)
    count = int(answer["count"][1])
    assert count
    with Image.open(BytesIO(answer["masks"].numpy()[1, 0])) as png:
        assert (png.size, png.mode) == ((50, 91), "L")
        assert set(np.unique(np.asarray(png))) <= {0, 255}
    assert (answer["masks"].numpy()[1, count:] == b"").all()
    soft = served.signatures["mask_probabilities"](contents)["mask_probabilities"].numpy()
    assert soft.shape == (2, EASY.most, SIDE, SIDE)
    assert 0 < soft[1, :count].max() <= 1
    assert not soft[1, count:].any()
    none = served.signatures["serving_default"](tf.constant([], tf.string))
    assert none["masks"].shape == (0, EASY.most)
    assert served.signatures["mask_probabilities"](tf.constant([], tf.string))["boxes"].shape[0] == 0
    with pytest.raises(ExportFault, match="would lose its masks"):
        detector_to_onnx(detector, tmp_path / "a.onnx")
