"""No network is ever called with an empty batch, and what is served answers nothing with arrays of no rows.

With oneDNN a convolution inside a `tf.function` gives an empty batch the shape of its input, so such a call fails on
processors where TensorFlow turns oneDNN on. Here every layer refuses it, on any processor: what is traced as well.
"""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import draw
from tests.tasks.classification.serving.test_saved_model import CLASSES, SIZE, small_classifier
from tests.tasks.detection.detecting import NAMES, drawn_boxes, tiny_pyramid
from tests.tasks.detection.sliding_window.test_detector import padded_classifier
from tlkit.data.images.batches import pixel_batches
from tlkit.engine.serving import signatures
from tlkit.errors import UsageFault
from tlkit.tasks.classification import evaluate as evaluation
from tlkit.tasks.classification.serving import saved_model as serving
from tlkit.tasks.detection import build as detectors
from tlkit.tasks.detection import retinanet
from tlkit.tasks.detection.anchors import Anchors
from tlkit.tasks.detection.evaluate import found_on
from tlkit.tasks.detection.predict import Finder
from tlkit.tasks.detection.serving import saved_model as detector_serving
from tlkit.tasks.detection.settings import Detecting
from tlkit.tasks.detection.sliding_window.detector import build_window_detector
from tlkit.tasks.detection.sliding_window.pooled import PooledLayout, build_pooled
from tlkit.tasks.detection.sliding_window.settings import Windows
from tlkit.tasks.detection.yolo import yolov1
from tlkit.tasks.features import engines
from tlkit.tasks.features import extract as features
from tlkit.tasks.inspection import grad_cam as explain
from tlkit.tasks.synthesis import latents
from tlkit.tasks.synthesis.dcgan import build_dcgan
from tlkit.tasks.synthesis.gan import Gan, Play
from tlkit.tasks.synthesis.serving.graph import GeneratorService
from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator, export_generator
from tlkit.tasks.synthesis.stylegan import build_stylegan

pytestmark = pytest.mark.onednn
NOTHING = tf.constant([], tf.string)
MOST = 6


def refusing(call):
    """A layer's `__call__` that fails where its input has no rows, at once or when what it was traced into runs."""

    def watched(layer, *args, **options):
        for x in tf.nest.flatten(args[:1]):
            shape = getattr(x, "shape", ())
            if not isinstance(x, np.ndarray | tf.Tensor) or not len(shape):
                continue
            assert shape[0] != 0, f"{layer.name} is called with an empty batch"
            if shape[0] is None:
                tf.debugging.assert_greater(tf.shape(x)[0], 0, message=f"{layer.name} runs on an empty batch")
        return call(layer, *args, **options)

    return watched


@pytest.fixture(scope="module", autouse=True)
def _no_layer_takes_an_empty_batch():
    patch = pytest.MonkeyPatch()
    patch.setattr(keras.layers.Layer, "__call__", refusing(keras.layers.Layer.__call__))
    yield
    patch.undo()


def test_a_layer_here_refuses_an_empty_batch_eagerly_and_in_a_graph():
    layer = keras.layers.Dense(2)
    layer(np.ones((1, 3)))
    with pytest.raises(AssertionError, match="called with an empty batch"):
        layer(np.ones((0, 3)))
    traced = tf.function(layer, [tf.TensorSpec([None, 3])])
    assert traced(tf.ones([1, 3])).shape == (1, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="runs on an empty batch"):
        traced(tf.ones([0, 3]))


# --- what is served ---


@pytest.fixture(scope="module")
def classifier():
    return small_classifier()


@pytest.fixture(scope="module")
def detector():
    patch = pytest.MonkeyPatch()
    patch.setattr(retinanet, "build_pyramid", tiny_pyramid)
    keras.utils.set_random_seed(1)
    yield detectors.build_detector(
        "retinanet", NAMES, 64, "tiny", "none", width=16, depth=1, anchors=Anchors(14.0)
    )[0]
    patch.undo()


@pytest.fixture(scope="module")
def generator():
    return build_dcgan(32, 1, latent=4, width=4, classes=3, seed=0).generator


def told(folder, *names):
    """{signature: {output: (dtype, shape)}} of a SavedModel asked with nothing."""
    model = tf.saved_model.load(str(folder))
    none = {"pixels": tf.zeros([0, 40, 50, 3], tf.uint8)}
    answers = {name: model.signatures[name](none.get(name, NOTHING)) for name in names}
    return {
        name: {key: (value.dtype.name, value.shape.as_list()) for key, value in answer.items()}
        for name, answer in answers.items()
    }


def test_a_served_classifier_answers_nothing_with_nothing(classifier, tmp_path):
    serving.export_saved_model(classifier, tmp_path)
    rows = {"probability": ("float32", [0, 3]), "label": ("string", [0])}
    whole = {**rows, "classes": ("string", [3])}
    assert told(tmp_path, "serving_default", "pixels", "instances", "features") == {
        "serving_default": whole,
        "pixels": whole,
        "instances": rows,
        "features": {"features": ("float32", [0, 8])},
    }
    served = serving.Served.load(tmp_path)
    assert served.classes == CLASSES
    assert served.predict_files([]) == []
    draw(0, 0).save(tmp_path / "one.png")
    expected = evaluation.predict_files(classifier, [str(tmp_path / "one.png")])
    (found,) = served.predict_files([tmp_path / "one.png"])
    assert found.probabilities == pytest.approx(expected[0], abs=1e-5)


@pytest.fixture(scope="module")
def cells():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yolov1, "build_pyramid", tiny_pyramid)
        yield detectors.build_detector("yolov1", NAMES, 64, "tiny", "none")[0]


def window_detector(way):
    if way == "pooled":
        layout = PooledLayout(((64, 2, 2),), channels=(4, 4), hidden=8, most=MOST)
        return build_pooled(["red"], 64, "mobilenet-v2-0.35", "none", layout)[0]
    classifier = padded_classifier()
    windows = Windows(size=64, way=way, sides=(0.5, 0.5), most=MOST)
    return build_window_detector(classifier, ["red"], "other", windows)[0]


@pytest.mark.parametrize(
    "kind",
    [
        "retinanet",
        "convolutional",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("yolov1", "crops", "pooled")),
    ],
)
def test_a_served_detector_answers_nothing_with_nothing(kind, detector, cells, tmp_path):
    made = {"retinanet": detector, "yolov1": cells}
    detector = made[kind] if kind in made else window_detector(kind)
    detector_serving.export_detector(detector, tmp_path, Detecting(most=MOST))
    rows = {
        "boxes": ("float32", [0, MOST, 4]),
        "scores": ("float32", [0, MOST]),
        "labels": ("string", [0, MOST]),
        "count": ("int32", [0]),
    }
    whole = {**rows, "classes": ("string", [len(detector.class_names)])}
    assert told(tmp_path, "serving_default", "pixels", "instances") == {
        "serving_default": whole,
        "pixels": whole,
        "instances": rows,
    }
    served = detector_serving.ServedDetector.load(tmp_path)
    assert served.classes == detector.class_names
    assert served.predict_files([]) == []
    draw(0, 0).save(tmp_path / "one.png")
    assert len(served.predict_files([tmp_path / "one.png"])) == 1


def test_a_served_generator_paints_nothing_of_nothing(generator, tmp_path):
    export_generator(generator, tmp_path, class_names=CLASSES)
    served = ServedGenerator.load(tmp_path)
    assert served.classes == CLASSES
    for answer in (served.answer(0), served.from_latents(np.zeros((0, 4)))):
        shapes = {key: (value.dtype.name, value.shape.as_list()) for key, value in answer.items()}
        assert shapes == {
            "pictures": ("float32", [0, 32, 32, 1]),
            "png": ("string", [0]),
            "label": ("string", [0]),
            "classes": ("string", [3]),
        }
    assert served.answer(1)["pictures"].shape == (1, 32, 32, 1)


# --- class names ---


def save_as_before(service, folder):
    """A SavedModel as it was written before: no names by themselves, no branch for nothing."""
    offered = {name: one for name, one in service.signatures().items() if name != signatures.CLASSES}
    tf.saved_model.save(service, str(folder), signatures=offered)


@pytest.mark.parametrize("kind", ["classifier", "detector", "generator"])
def test_names_of_a_saved_model_of_before_are_in_its_card_else_in_an_answer(
    kind, classifier, detector, generator, tmp_path, monkeypatch
):
    for module in (serving, detector_serving):
        monkeypatch.setattr(module, "unless_empty", lambda _images, network, _outputs: network())
    service, load, names = {
        "classifier": lambda: (serving.ClassifierService(classifier), serving.Served.load, CLASSES),
        "detector": lambda: (
            detector_serving.DetectorService(detector),
            detector_serving.ServedDetector.load,
            NAMES,
        ),
        "generator": lambda: (GeneratorService(generator, CLASSES), ServedGenerator.load, CLASSES),
    }[kind]()
    save_as_before(service, tmp_path)
    assert load(tmp_path).classes == names
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"classes": ["x", "y", "z"]}))
    assert load(tmp_path).classes == ("x", "y", "z")
    for other in ('{"classes": ["x", "y"]}', '{"classes": [1, 2, 3]}', '{"kind": "x"}', "[1]", "{"):
        card.write_text(other)
        assert signatures._named_in_card(tmp_path, 3) == ()
    assert load(tmp_path).classes == names


# --- Python ---


def test_files_images_and_features_of_which_there_are_none(classifier, detector, tmp_path):
    assert list(pixel_batches([], SIZE)) == []
    for answer in (
        evaluation.predict_files(classifier, []),
        evaluation.predict_features(classifier, np.zeros((0, 8))),
    ):
        assert (answer.shape, answer.dtype) == ((0, 3), np.float32)
    heat = explain.grad_cam(classifier, np.zeros((0, SIZE, SIZE, 3), np.uint8), np.zeros(0, int))
    assert heat.shape == (0, 10, 10)
    network = features.NetworkFeatures(keras.Model(classifier.input, classifier.get_layer("features").output))
    engine = engines.EngineFeatures.__new__(engines.EngineFeatures)  # the packages are not needed for nothing
    engine.width = 8
    for featurizer in (network, engine):
        found = featurizer(np.zeros((0, SIZE, SIZE, 3), np.uint8))
        assert (found.shape, found.dtype) == ((0, 8), np.float32)
    assert features.features_of_images(network, np.zeros((0, 32, 32, 1))).shape == (0, 8)
    assert features.Extractor(network, tmp_path)([], []).shape == (0, 8)
    none = drawn_boxes(tmp_path / "none", 0)
    assert Finder(detector).in_files([]) == Finder(detector).in_boxes(none) == []
    assert found_on(detector, none) == []


@pytest.mark.parametrize("build", [build_dcgan, build_stylegan])
def test_images_of_no_latents(build):
    networks = build(32, 1, latent=4, width=4, seed=0)
    generator, nothing = networks.generator, np.zeros((0, 4), np.float32)
    assert latents.random_latents(generator, 0, 1).shape == (0, 4)
    assert latents.sample(generator, nothing).shape == (0, 32, 32, 1)
    assert latents.truncation_sweep(generator, nothing, (0.5, 1)).shape == (2, 0, 32, 32, 1)
    for loop in (True, False):
        assert latents.interpolate(generator, nothing, 4, loop=loop).shape == (0, 32, 32, 1)
    with pytest.raises(UsageFault, match="Of 0 starts none"):
        latents.project(generator, np.zeros((32, 32, 1)), starts=0)
    if build is build_stylegan:
        for rows, columns in (([], [1, 2]), ([1, 2], nothing), ([], [])):
            mixed = latents.mix_styles(generator, rows, columns)
            assert mixed.grid.shape == (len(rows), len(columns), 32, 32, 1)
            assert mixed.rows.shape == (len(rows), 32, 32, 1)
    assert Gan(networks, Play()).discriminator_scores(np.zeros((0, 32, 32, 1))).shape == (0,)
