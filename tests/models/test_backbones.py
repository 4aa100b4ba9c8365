"""The contract of the table of backbones: what a row says is what Keras builds."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

from tlkit.errors import UsageFault
from tlkit.models.backbones import BACKBONES, DEFAULT, backbone_names, build_backbone, find_backbone
from tlkit.models.preprocessing import Preprocess
from tlkit.models.published import PUBLISHED
from tlkit.models.weights import find_weights, load_weights

ONE_PER_FAMILY = list({row.family: name for name, row in reversed(BACKBONES.items())}.values())[::-1]
OTHERS = [name for name in BACKBONES if name not in ONE_PER_FAMILY]
ROWS = [*ONE_PER_FAMILY, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]

# Counted in the papers' figures and in Keras's own summaries.
BATCH_NORMALISATIONS = {
    "resnet50": 53,
    "mobilenet": 27,
    "efficientnet-lite0": 49,
    "vgg16": 0,
    "convnext-tiny": 0,
}
# Keras's module with the preprocess_input of a family, where it is not the family's name.
MODULES = {"inception": "inception_v3", "inception-resnet": "inception_resnet_v2", "vgg": "vgg16"}


def test_table_has_every_network_of_keras_applications():
    functions = {name for name in dir(keras.applications) if name[0].isupper()}
    rows = {row.constructor.removeprefix("keras.applications:") for row in BACKBONES.values()}
    assert rows == functions | {"tlkit.models.lite0:efficientnet_lite0"}
    assert backbone_names()[0] == DEFAULT
    assert set(PUBLISHED) == set(BACKBONES) - {DEFAULT}


def test_table_takes_no_tensorflow():
    program = (
        "import sys, tlkit.models.backbones as b; b.find_backbone('vgg16'); print('keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ROWS)
def test_row_is_what_keras_builds(name):
    row = BACKBONES[name]
    network, origin = build_backbone(name, row.least_size, "none")
    assert (origin.kind, origin.sha256) == ("none", None)
    assert network.input_shape == (None, row.least_size, row.least_size, 3)
    assert len(network.output_shape) == 4
    assert network.output_shape[-1] == row.features
    assert network.count_params() == row.parameters
    _check_stages(network, row.top)
    scales = (keras.layers.Rescaling, keras.layers.Normalization)
    assert any(isinstance(layer, scales) for layer in network.layers) == (row.preprocessing == "inside")
    counted = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)
    assert counted == BATCH_NORMALISATIONS.get(name, counted)


def _check_stages(network, top):
    """Both sides of `top` have weights that learn, and the last stage is neither a sliver nor nearly all."""
    place = [layer.name for layer in network.layers].index(top)
    halves = network.layers[:place], network.layers[place:]
    sizes = [
        sum(w.shape.num_elements() for layer in half for w in layer.trainable_weights) for half in halves
    ]
    assert min(sizes) > 0
    assert 0.2 < sizes[1] / sum(sizes) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_saved_model_and_saved_weights_are_read_back(name, tmp_path):
    """Keras reads the model, and --weights FILE takes the model and the weights alike."""
    keras.backend.clear_session()
    row, path = BACKBONES[name], tmp_path / "model.keras"
    network, _ = build_backbone(name, row.least_size, "none")
    network.save(path)
    images = np.random.default_rng(2).uniform(-1, 1, (1, row.least_size, row.least_size, 3)).astype("float32")
    expected = np.asarray(network(images, training=False))
    assert np.ptp(expected) > 0
    again = keras.saving.load_model(path)
    np.testing.assert_array_equal(np.asarray(again(images, training=False)), expected)
    other, origin = build_backbone(row.name, row.least_size, str(path))
    assert origin.source == str(path)
    _check_equal(network, other)
    network.save_weights(tmp_path / "x.weights.h5")
    other.set_weights([np.zeros_like(weight) for weight in other.get_weights()])
    load_weights(other, name, find_weights(name, str(tmp_path / "x.weights.h5")))
    _check_equal(network, other)
    for file in tmp_path.iterdir():
        file.unlink()  # up to 1.4 GB each, and pytest keeps folders


def test_weights_h5_of_networks_inside_a_network(tmp_path):
    network, _ = build_backbone("convnext-tiny", 32, "none")
    network.save_weights(tmp_path / "x.weights.h5")
    other, _ = build_backbone("convnext-tiny", 32, str(tmp_path / "x.weights.h5"))
    _check_equal(network, other)


def _check_equal(network, other):
    for expected, actual in zip(network.weights, other.weights, strict=True):
        np.testing.assert_array_equal(actual.numpy(), expected.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_file_is_the_one_that_keras_asks_for(name, monkeypatch):
    check_published(name, monkeypatch)


@pytest.mark.parametrize("name", ["vgg16", "mobilenet"])
def test_published_file_is_the_one_that_keras_asks_for_in_short(name, monkeypatch):
    check_published(name, monkeypatch)


def check_published(name, monkeypatch):
    """Keras's own request, caught before it leaves, has our url, file name and hash."""

    class AskedError(Exception):
        pass

    def catch(file, origin, file_hash=None, cache_subdir=""):
        raise AskedError(file, origin, file_hash, cache_subdir)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", catch)
    row, entry = BACKBONES[name], PUBLISHED[name]
    construct = getattr(keras.applications, row.constructor.partition(":")[2])
    with pytest.raises(AskedError) as asked:
        construct(include_top=False, weights="imagenet", input_shape=(row.native_size, row.native_size, 3))
    url = f"https://storage.googleapis.com/{entry.path}"
    assert asked.value.args == (entry.file, url, entry.digest, "models")


@pytest.mark.parametrize(("name", "row"), [(n, r) for n, r in BACKBONES.items() if n != DEFAULT])
def test_preprocessing_is_keras_s_own(name, row):
    pixels = np.random.default_rng(3).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    module = getattr(keras.applications, MODULES.get(row.family, row.family.replace("-", "_")))
    expected = module.preprocess_input(pixels.astype("float32"))
    actual = np.asarray(Preprocess(row.preprocessing)(pixels))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=4e-5 if row.preprocessing == "caffe" else 2e-6)


def test_lite_preprocessing_by_hand():
    pixels = np.array([[[[0, 127, 255]]]], np.uint8)
    np.testing.assert_array_equal(Preprocess("lite")(pixels), [[[[-127 / 128, 0.0, 1.0]]]])


def test_preprocessing_keeps_its_precision_under_a_mixed_policy():
    pixels = np.random.default_rng(4).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    mixed = Preprocess("caffe", dtype="mixed_bfloat16")(pixels)
    assert keras.backend.standardize_dtype(mixed.dtype) == "bfloat16"
    exact = keras.ops.cast(Preprocess("caffe")(pixels), "bfloat16")
    np.testing.assert_array_equal(keras.ops.cast(mixed, "float32"), keras.ops.cast(exact, "float32"))


def test_preprocessing_is_saved_with_its_mode(tmp_path):
    images = keras.Input((4, 4, 3), dtype="uint8")
    keras.Model(images, Preprocess("torch", name="preprocess")(images)).save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    pixels = np.full((1, 4, 4, 3), 200, np.uint8)
    np.testing.assert_array_equal(again(pixels), Preprocess("torch")(pixels))


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="Received: 'tf'"):
        Preprocess("tf")


@pytest.mark.parametrize("name", BACKBONES)
def test_image_below_the_least_size(name):
    least = BACKBONES[name].least_size
    assert find_backbone(name, least) is BACKBONES[name]
    with pytest.raises(UsageFault) as fault:
        find_backbone(name, least - 1)
    assert fault.value.problem == (
        f"--image-size {least - 1} is too small for {name}, which needs at least {least}."
    )


@pytest.mark.parametrize(
    ("typed", "offered"), [("resnet-50", "resnet50"), ("MobileNet_V2", "mobilenet-v2"), ("vgg-16", "vgg16")]
)
def test_unknown_name_offers_the_nearest(typed, offered):
    with pytest.raises(UsageFault) as fault:
        find_backbone(typed)
    assert fault.value.problem == f"There is no backbone {typed!r}."
    assert fault.value.remedy.startswith(f"Did you mean {offered}")


def test_name_like_no_other_offers_all():
    with pytest.raises(UsageFault) as fault:
        find_backbone("qqq")
    assert all(name in fault.value.remedy for name in BACKBONES)


def test_table_is_of_this_keras():
    assert keras.__version__.startswith("3.15."), "measure the table again"
