"""The contract of the table of backbones: what a row says is what Keras builds."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

from tlkit.backbones import googlenet as compact
from tlkit.backbones.keras_weights import KERAS_WEIGHTS
from tlkit.backbones.preprocessing import Preprocess
from tlkit.backbones.table import BACKBONES, DEFAULT, backbone_names, build_backbone, find_backbone
from tlkit.backbones.weights import find_weights, load_weights
from tlkit.errors import ModelFault, UsageFault

ONE_PER_FAMILY = list({row.family: name for name, row in reversed(BACKBONES.items())}.values())[::-1]
OTHERS = [name for name in BACKBONES if name not in ONE_PER_FAMILY]
# Tens of millions of random numbers each; their layers are tested one by one, and the networks in test_classic.
LARGE = ("alexnet", "zfnet512", "rcnn-ilsvrc13")
QUICK = [name for name in ONE_PER_FAMILY if name not in LARGE]
ROWS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in (*OTHERS, *LARGE))]
OWN = [name for name, row in BACKBONES.items() if not row.constructor.startswith("keras.applications:")]

# Counted in the papers' figures and in Keras's own summaries.
BATCH_NORMALISATIONS = {
    "resnet50": 53,
    "mobilenet": 27,
    "efficientnet-lite0": 49,
    "vgg16": 0,
    "convnext-tiny": 0,
    "squeezenet": 0,
    "shufflenet": 49,
}
# Shares of the weights in the last stage that are meant; elsewhere 0.2 to 0.9. One layer of ZFNet has 88 %.
SHARES = {"zfnet512": (0.04, 0.06)}
# Keras's module with the preprocess_input of a family, where it is not the family's name.
MODULES = {"inception": "inception_v3", "inception-resnet": "inception_resnet_v2", "vgg": "vgg16"}


def test_table_has_every_network_of_keras_applications():
    functions = {name for name in dir(keras.applications) if name[0].isupper()}
    rows = [row.constructor.removeprefix("keras.applications:") for row in BACKBONES.values()]
    assert {row.partition("*")[0] for row in rows if ":" not in row} == functions
    assert backbone_names()[0] == DEFAULT == OWN[0]
    assert set(KERAS_WEIGHTS) == set(BACKBONES) - set(OWN)


def test_table_has_the_seed_s_fourteen():
    keras_s = [
        "resnet50",
        "vgg16",
        "vgg19",
        "densenet121",
        "inception-v3",
        "inception-resnet-v2",
        "mobilenet",
        "mobilenet-v2",
        "xception",
    ]
    ours = ["alexnet", "zfnet512", "googlenet", "squeezenet", "shufflenet", "rcnn-ilsvrc13"]
    assert {*keras_s, *ours} < set(BACKBONES)
    assert set(OWN) == {DEFAULT, *ours}
    expected = {"alexnet": 4096, "zfnet512": 1024, "googlenet": 1024, "squeezenet": 512, "shufflenet": 544}
    assert {name: BACKBONES[name].features for name in expected} == expected
    assert [name for name, row in BACKBONES.items() if row.fixed] == list(LARGE)


@pytest.mark.parametrize("name", [name for name in OWN if name != DEFAULT])
def test_imagenet_weights_that_nobody_publishes(name, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ModelFault) as fault:
        find_weights(name, "imagenet")
    assert fault.value.problem == f"Keras publishes no imagenet weights of {name}."
    assert "--weights FILE.onnx" in fault.value.remedy


def test_table_takes_no_tensorflow():
    program = (
        "import sys, tlkit.backbones.table as b; b.find_backbone('vgg16'); print('keras' in sys.modules)"
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
    _check_stages(network, row.top, SHARES.get(name, (0.2, 0.9)))
    scales = (keras.layers.Rescaling, keras.layers.Normalization)
    assert any(isinstance(layer, scales) for layer in network.layers) == (row.preprocessing == "inside")
    counted = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)
    assert counted == BATCH_NORMALISATIONS.get(name, counted)


def _check_stages(network, top, shares):
    """Both sides of `top` have weights that learn, and the last stage is neither a sliver nor nearly all."""
    low, high = shares
    place = [layer.name for layer in network.layers].index(top)
    halves = network.layers[:place], network.layers[place:]
    sizes = [
        sum(w.shape.num_elements() for layer in half for w in layer.trainable_weights) for half in halves
    ]
    assert min(sizes) > 0
    assert low < sizes[1] / sum(sizes) < high


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
@pytest.mark.parametrize("name", sorted(KERAS_WEIGHTS))
def test_published_file_is_the_one_that_keras_asks_for(name, monkeypatch):
    check_published(name, monkeypatch)


@pytest.mark.parametrize("name", ["vgg16", "mobilenet-0.25"])
def test_published_file_is_the_one_that_keras_asks_for_in_short(name, monkeypatch):
    check_published(name, monkeypatch)


def check_published(name, monkeypatch):
    """Keras's own request, caught before it leaves, has our url, file name and hash."""

    class AskedError(Exception):
        pass

    def catch(file, origin, file_hash=None, cache_subdir=""):
        raise AskedError(file, origin, file_hash, cache_subdir)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", catch)
    row, entry = BACKBONES[name], KERAS_WEIGHTS[name]
    function, _, alpha = row.constructor.partition(":")[2].partition("*")
    options = {"alpha": float(alpha)} if alpha else {}
    shape = (row.native_size, row.native_size, 3)
    with pytest.raises(AskedError) as asked:
        getattr(keras.applications, function)(
            include_top=False, weights="imagenet", input_shape=shape, **options
        )
    url = f"https://storage.googleapis.com/{entry.path}"
    assert asked.value.args == (entry.file, url, entry.digest, "models")


@pytest.mark.parametrize(("name", "row"), [(n, r) for n, r in BACKBONES.items() if n not in OWN])
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
    if name in LARGE:
        assert fault.value.problem == (
            f"--image-size {least - 1} does not suit {name}, whose fully connected layers take {least} only."
        )
        return
    assert fault.value.problem == (
        f"--image-size {least - 1} is too small for {name}, which needs at least {least}."
    )


@pytest.mark.parametrize("name", LARGE)
def test_image_above_the_only_size(name):
    row = BACKBONES[name]
    assert row.native_size == row.least_size
    with pytest.raises(UsageFault) as fault:
        find_backbone(name, 256)
    assert fault.value.remedy.startswith(f"Take --image-size {row.native_size}")


@pytest.mark.parametrize("name", ["googlenet", "squeezenet"])
def test_own_network_has_no_map_below_its_least_size(name):
    row = BACKBONES[name]
    construct = getattr(compact, name)
    assert construct(input_shape=(row.least_size, row.least_size, 3)).output_shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match="zero or negative"):
        construct(input_shape=(row.least_size - 1, row.least_size - 1, 3))


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
