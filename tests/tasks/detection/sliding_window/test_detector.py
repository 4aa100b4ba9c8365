"""A classifier moved over images: suppression by hand, windows by hand, batches and maps against a plain loop."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkit.errors import DataFault, ExportFault, ModelFault, UsageFault
from tlkit.tasks.classification.classifier import Probabilities
from tlkit.tasks.classification.small_cnn import build_small_cnn
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.settings import Detecting
from tlkit.tasks.detection.sliding_window.detector import EQUAL, build_window_detector, suppress
from tlkit.tasks.detection.sliding_window.scores import (
    Convolutional,
    convolutional_or_none,
    level_image,
    scores_of_crops,
)
from tlkit.tasks.detection.sliding_window.settings import Level, Windows, boxes_of, levels, sides_of

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30], [0, 5, 10, 10]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.005], np.float32)


def colour_classifier(side: int = 16) -> keras.Model:
    """Red, green or neither, by the mean colour; nothing pads."""
    images = keras.Input((side, side, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255, name="preprocess")(images)
    x = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    x = keras.layers.Dense(3, name="logits")(x)
    model = keras.Model(images, Probabilities(("green", "other", "red"), name="probability")(x))
    kernel = np.array([[-40, 0, 40], [40, 0, -40], [0, 0, 0]], np.float32)
    model.get_layer("logits").set_weights([kernel, np.array([-12, 0, -12], np.float32)])
    return model


def padded_classifier(side: int = 32) -> keras.Model:
    """Two strided convolutions that pad."""
    images = keras.Input((side, side, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    for width in (8, 8):
        x = keras.layers.Conv2D(width, 3, 2, "same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    x = keras.layers.Dense(2, name="logits")(x)
    return keras.Model(images, Probabilities(("other", "red"), name="probability")(x))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


# ---- suppression ----


@pytest.mark.parametrize(("overlap", "kept"), [(0.4, [0, 2]), (0.6, [0, 1, 2])])
def test_hard_suppression_by_hand(overlap, kept):
    # the second box is half of the first: IoU 50 / 100; the last one's score is below what is kept at all
    indices, scores = suppress(tf.constant(BOXES), tf.constant(SCORES), 4, overlap)
    assert indices.numpy()[: len(kept)].tolist() == kept
    np.testing.assert_allclose(scores.numpy(), [*SCORES[kept], *[0] * (4 - len(kept))])


def test_soft_suppression_by_hand():
    # Bodla's Gaussian: 0.8 * exp(-0.5^2 / 0.5) = 0.8 * 0.60653; the third box meets none, so it comes second
    indices, scores = suppress(tf.constant(BOXES), tf.constant(SCORES), 3, 0.4, soft=0.5)
    assert indices.numpy().tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores.numpy(), [0.9, 0.7, 0.8 * np.exp(-0.5)], rtol=1e-5)


def test_soft_suppression_is_as_the_paper_s_loop():
    generator = np.random.default_rng(1)
    corner = generator.uniform(0, 30, (40, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(5, 30, (40, 2))], 1).astype(np.float32)
    scores = generator.uniform(0.1, 1, 40).astype(np.float32)
    expected, left = [], dict(enumerate(scores.astype(float)))
    while left and len(expected) < 10:
        best = max(left, key=lambda i: left[i])
        expected.append((best, left.pop(best)))
        for other in left:
            low, high = (
                np.maximum(boxes[best, :2], boxes[other, :2]),
                np.minimum(boxes[best, 2:], boxes[other, 2:]),
            )
            common = float(np.prod(np.maximum(high - low, 0)))
            areas = [float(np.prod(boxes[i, 2:] - boxes[i, :2])) for i in (best, other)]
            left[other] *= np.exp(-((common / (sum(areas) - common)) ** 2) / 0.3)
    indices, weighed = suppress(tf.constant(boxes), tf.constant(scores), 10, 0.5, soft=0.3)
    assert indices.numpy().tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(weighed.numpy(), [score for _, score in expected], rtol=1e-4)


# ---- windows ----


def test_windows_by_hand():
    # a window of half the square, 16 pixels for the network: the level has 32, a step of a quarter is 4
    wanted = Windows(size=100, scales=1, ratios=(1.0,), step=0.25)
    (level,) = levels(wanted, (0.5, 0.5), 16)
    assert level == Level(32, 32, 5, 5, 4, 16)
    assert level.padded == (32, 32)
    boxes = boxes_of([level], 100)
    assert boxes.shape == (25, 4)
    assert boxes[0].tolist() == [0, 0, 50, 50]
    assert boxes[1].tolist() == [12.5, 0, 62.5, 50]
    assert boxes[-1].tolist() == [50, 50, 100, 100]


def test_windows_of_other_aspects_scales_and_strides():
    wanted = Windows(size=64, scales=3, ratios=(0.25, 1.0), step=0.25)
    every = levels(wanted, (0.25, 1.0), 16, stride=6)
    assert all(level.step == 6 for level in every)  # 4 pixels are nearer to 6 than to 12 or none
    wide = boxes_of(every[:1], 64)  # sqrt(area) is 16, width / height 1 / 4: 8 wide, 32 high
    assert (wide[0, 2:] - wide[0, :2]).tolist() == [8, 32]
    assert every[-1] == Level(16, 16, 1, 1, 6, 16)  # the whole square
    assert boxes_of(every, 64).max() == 64


def test_the_last_window_reaches_the_edge():
    for side in (16, 20):
        for level in levels(Windows(size=90, step=0.4), (0.2, 0.7), side):
            height, width = level.padded
            assert 0 <= height - level.height < level.step
            assert 0 <= width - level.width < level.step


def test_sides_come_from_boxes():
    boxes = np.array([[0, 0, 10, 40], [5, 5, 25, 25]], np.float32)  # both as large as 20 x 20
    assert sides_of(boxes, 100) == pytest.approx((0.2, 0.2))
    with pytest.raises(UsageFault, match="--min-side"):
        sides_of(np.zeros((0, 4)), 100)


# ---- scores ----


@pytest.mark.parametrize("chunk", [4, 7, 64])
def test_batched_windows_are_those_of_a_plain_loop(chunk):
    model = build_small_cnn(("gun", "other"), 32)
    level = Level(52, 44, 6, 4, 4, 32)
    images = noise(2, *level.padded, 3)
    found = scores_of_crops(model, tf.constant(images), level, chunk).numpy()
    assert found.shape == (2, 24, 2)
    for i in range(2):
        for n, (top, left) in enumerate(level.corners()):
            window = images[i, top : top + 32, left : left + 32]
            np.testing.assert_allclose(found[i, n], model(window[None])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "stride"), [(lambda: build_small_cnn(("gun", "other"), 32), 12), (colour_classifier, 1)]
)
def test_maps_of_a_network_that_does_not_pad_give_the_same_as_windows(make, stride):
    model = make()
    form, difference = convolutional_or_none(model)
    assert form.stride == stride
    assert difference <= EQUAL
    side = int(model.input_shape[1])
    level = Level(side + 60, side + 36, 4, 6, 12, side)  # each second place of the maps, or each twelfth
    level = level._replace(columns=6, rows=4)
    images = tf.constant(noise(2, *level.padded, 3))
    np.testing.assert_allclose(form(images, level), scores_of_crops(model, images, level, 16), atol=1e-5)


def test_padding_shows_and_is_not_taken_for_equal():
    model = padded_classifier()
    assert convolutional_or_none(model)[1] > EQUAL
    by_itself, facts = build_window_detector(model, ("red",), "other", Windows(64, (0.5, 0.5), 1))
    assert not facts["convolutional"]
    asked, facts = build_window_detector(
        model, ("red",), "other", Windows(64, (0.5, 0.5), 1, way="convolutional")
    )
    assert facts["convolutional"]
    assert facts["difference"] > EQUAL
    images = noise(1, 64, 64, 3)
    assert asked(images).shape == by_itself(images).shape


def test_a_classifier_without_maps_has_no_convolutional_form():
    images = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(4, name="features")(x)
    model = keras.Model(images, Probabilities(("other", "red"))(keras.layers.Dense(2)(x)))
    with pytest.raises(ModelFault, match="averaged or flattened"):
        Convolutional(model)
    assert convolutional_or_none(model)[0] is None
    with pytest.raises(ModelFault, match="--way convolutional"):
        build_window_detector(model, ("red",), "other", Windows(32, (0.5, 0.5), way="convolutional"))


def test_a_level_is_the_image_resized_and_grey_beyond():
    images = np.full((1, 40, 40, 3), 200, np.uint8)
    shown = level_image(tf.constant(images), Level(20, 50, 2, 4, 12, 16)).numpy()
    assert shown.shape == (1, 52, 28, 3)
    assert (shown[:, :50, :20] == 200).all()
    assert (shown[:, 50:] == 114).all()
    assert (shown[:, :, 20:] == 114).all()


# ---- the detector ----


def scene() -> np.ndarray:
    pixels = np.full((96, 96, 3), 120, np.uint8)
    pixels[12:36, 12:36] = (230, 30, 30)
    pixels[48:72, 60:84] = (30, 230, 30)
    return pixels


@pytest.fixture(scope="module")
def detector():
    windows = Windows(96, (0.25, 0.25), 1, (1.0,), 0.25, overlap=0.1)
    return build_window_detector(colour_classifier(), ("Red", "green", "knife"), "other", windows)


def test_it_finds_what_is_there(detector):
    found, facts = detector
    assert facts["unknown"] == ["knife"]
    assert facts["unused"] == []
    assert facts["convolutional"]
    boxes, scores = found.decode(found(scene()[None]))
    best = scores.numpy()[0].max(0)
    assert best[0] > 0.9
    assert best[1] > 0.9
    assert best[2] == 0
    for k, box in ((0, [12, 12, 36, 36]), (1, [60, 48, 84, 72])):
        np.testing.assert_array_equal(boxes.numpy()[0][scores.numpy()[0][:, k].argmax()], box)


def test_both_ways_find_the_same():
    answers = []
    for way in ("crops", "convolutional"):
        windows = Windows(96, (0.2, 0.5), 3, step=0.25, way=way)
        made, _ = build_window_detector(colour_classifier(), ("green", "red"), "other", windows)
        answers.append(made(scene()[None]).numpy())
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_it_is_saved_served_and_asked_as_other_detectors_are(detector, tmp_path):
    from tlkit.tasks.detection.serving.saved_model import (
        ServedDetector,
        check_detector_parity,
        export_detector,
    )

    made = detector[0]
    made.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again(scene()[None]), made(scene()[None]))
    assert len(again.weights) == len(colour_classifier().weights)
    detecting = Detecting(0.5, 1.0, made.windows.most)
    wide = np.full((96, 192, 3), 120, np.uint8)
    wide[24:72, 48:96] = (230, 30, 30)  # at half size: a window, 12 grey pixels above it
    files = [tmp_path / "square.png", tmp_path / "wide.png"]
    for file, pixels in zip(files, (scene(), wide), strict=True):
        Image.fromarray(pixels).save(file)
    export_detector(made, tmp_path / "served", detecting)
    loaded = ServedDetector.load(tmp_path / "served")
    served = loaded.predict_files(files)
    assert sorted(loaded.classes[label] for label in served[0].labels) == ["Red", "green"]
    assert [loaded.classes[label] for label in served[1].labels] == ["Red"]
    np.testing.assert_allclose(served[1].boxes[0], [48, 24, 96, 72])
    assert Finder(made, detecting).in_files(files)[1].boxes.tolist() == served[1].boxes.tolist()
    parity = check_detector_parity(made, tmp_path / "served", files, detecting)
    assert parity["largest_difference"] <= parity["tolerance"]
    assert parity["detections"] > 2


def test_other_runtimes_have_no_windows_and_that_is_said(detector, tmp_path):
    from tlkit.tasks.detection.serving import export as detector_conversion

    for name in ("detector_to_onnx", "detector_to_litert"):
        with pytest.raises(ExportFault, match="cannot be written as ONNX or LiteRT") as caught:
            getattr(detector_conversion, name)(detector[0], tmp_path / "model")
        assert "export the classifier's own run" in str(caught.value.remedy)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "negative", "words"),
    [(("red",), "nothing", "no class nothing"), (("wrench",), "other", "the boxes are of wrench")],
)
def test_classes_that_do_not_fit_are_refused(names, negative, words):
    with pytest.raises(DataFault, match=words):
        build_window_detector(colour_classifier(), names, negative, Windows(64, (0.5, 0.5)))


@pytest.mark.parametrize(
    ("wish", "words"),
    [({"way": "loop"}, "--way loop"), ({"sides": (0.5, 0.2)}, "0.5 to 0.2"), ({"ratios": (0.0,)}, "--ratio")],
)
def test_windows_that_cannot_be_are_refused(wish, words):
    with pytest.raises(UsageFault, match=words):
        Windows(**wish)
