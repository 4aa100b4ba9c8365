"""Weights: found, fetched, fitted, refused."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tlkit.backbones import keras_weights as published
from tlkit.backbones.table import build_backbone
from tlkit.backbones.weight_files import StoredLayer, fit_layers, layers_of
from tlkit.backbones.weights import find_weights, load_weights
from tlkit.errors import ModelFault

SHARED = Path(__file__).parents[2] / ".." / "shared" / "weights"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real weights beside the repository")


def write_old_layout(path: Path, layers: Sequence[StoredLayer], **facts: str) -> None:
    """Write layers so that Keras can load them and damage is noticed: arrays have checksums.

    Args:
        path: A new file.
        layers: What to write.
        **facts: Attributes of the file.
    """
    with h5py.File(path, "w") as file:
        file.attrs.update({"layer_names": [layer.name for layer in layers], "backend": "tensorflow", **facts})
        for layer in layers:
            names = [f"{layer.name}/{index}" for index in range(len(layer.arrays))]
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = names
            for name, array in zip(names, layer.arrays, strict=True):
                group.create_dataset(name, data=array, fletcher32=array.ndim > 0)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A small network; faults call it vgg16."""
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, name="one")(images)
    x = keras.layers.BatchNormalization(name="normalised")(x)
    x = keras.layers.ReLU()(x)
    return keras.Model(images, keras.layers.Conv2D(5, 3, name="two")(x))


@pytest.fixture
def keras_home(tmp_path, monkeypatch) -> Path:
    """An empty Keras cache; the folder of its models."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def drawn_layers(network: keras.Model, seed: int = 0) -> list[StoredLayer]:
    """Other weights of the same shapes."""
    random = np.random.default_rng(seed)
    return [
        StoredLayer(name, [random.uniform(0.1, 1, array.shape).astype("float32") for array in arrays])
        for name, arrays in layers_of(network)
    ]


def check_equal(network: keras.Model, layers: list[StoredLayer]) -> None:
    for actual, expected in zip(layers_of(network), layers, strict=True):
        for one, other in zip(actual.arrays, expected.arrays, strict=True):
            np.testing.assert_array_equal(one, other)


def load(network: keras.Model, path: Path) -> None:
    load_weights(network, "vgg16", find_weights("vgg16", str(path)))


# --- files ---


def test_old_layout_as_published_by_keras(network, tmp_path):
    layers = drawn_layers(network)
    write_old_layout(tmp_path / "x.h5", layers)
    load(network, tmp_path / "x.h5")
    check_equal(network, layers)


def test_old_layout_is_what_keras_reads(network, tmp_path):
    layers = drawn_layers(network, 1)
    write_old_layout(tmp_path / "x.h5", layers)
    network.load_weights(tmp_path / "x.h5")
    check_equal(network, layers)


def test_head_in_the_file_is_left_out(network, tmp_path):
    layers = drawn_layers(network, 2)
    head = StoredLayer("predictions", [np.ones((5, 10), "float32"), np.ones(10, "float32")])
    write_old_layout(tmp_path / "x.h5", [*layers, head])
    load(network, tmp_path / "x.h5")
    check_equal(network, layers)


def test_weights_h5(network, tmp_path):
    layers = drawn_layers(network, 3)
    fit_layers(network, layers, "x", "vgg16")
    network.save_weights(tmp_path / "x.weights.h5")
    fit_layers(network, drawn_layers(network, 4), "x", "vgg16")
    load(network, tmp_path / "x.weights.h5")
    check_equal(network, layers)


def test_backbone_of_a_saved_classifier(network, tmp_path):
    layers = drawn_layers(network, 5)
    fit_layers(network, layers, "x", "vgg16")
    images = keras.Input((32, 32, 3))
    body = keras.Model(network.input, network.output, name="backbone")
    classes = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(body(images)))
    keras.Model(images, classes).save(tmp_path / "x.keras")
    fit_layers(network, drawn_layers(network, 6), "x", "vgg16")
    load(network, tmp_path / "x.keras")
    check_equal(network, layers)


def test_origin_of_a_file_has_its_hash(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"weights")
    origin = find_weights("vgg16", str(path)).origin
    assert (origin.kind, origin.source) == ("file", str(path))
    assert origin.sha256 == hashlib.sha256(b"weights").hexdigest()


# --- files that do not fit ---


def test_misfit_names_the_first_layer_and_changes_nothing(network, tmp_path):
    before = layers_of(network)
    layers = drawn_layers(network, 7)
    layers[1] = StoredLayer("other", [np.zeros(4, "float32")] * 3)
    layers[2] = StoredLayer("another", [np.zeros(1, "float32")])
    write_old_layout(tmp_path / "x.h5", layers)
    with pytest.raises(ModelFault) as fault:
        load(network, tmp_path / "x.h5")
    assert fault.value.problem == (
        f"{tmp_path / 'x.h5'} does not fit vgg16: layer normalised wants 4, 4, 4, 4, the file has 4, 4, 4."
    )
    assert fault.value.exit_code == 4
    check_equal(network, before)


def test_file_that_ends_too_early(network, tmp_path):
    write_old_layout(tmp_path / "x.h5", drawn_layers(network)[:-1])
    with pytest.raises(ModelFault, match=r"layer two wants 3x3x4x5, 5, the file has nothing\."):
        load(network, tmp_path / "x.h5")


def test_weights_h5_of_another_network(network, tmp_path):
    images = keras.Input((32, 32, 3))
    keras.Model(images, keras.layers.Conv2D(4, 5)(images)).save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(ModelFault, match=r"layer one wants 3x3x3x4, 4, the file has 5x5x3x4, 4\."):
        load(network, tmp_path / "x.weights.h5")


@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.keras"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 half a zip", b"\x89HDF\r\n\x1a\n half a file"]
)
def test_file_that_cannot_be_read(network, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFault) as fault:
        load(network, tmp_path / name)
    assert fault.value.problem.startswith(f"{tmp_path / name} cannot be read as weights: ")


def test_truncated_files(network, tmp_path):
    network.save(tmp_path / "x.keras")
    write_old_layout(tmp_path / "x.h5", drawn_layers(network))
    for path in (tmp_path / "x.keras", tmp_path / "x.h5"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ModelFault, match="cannot be read as weights"):
            load(network, path)


def test_absent_file_and_folder(tmp_path):
    for text in (str(tmp_path / "x.h5"), str(tmp_path)):
        with pytest.raises(ModelFault) as fault:
            find_weights("vgg16", text)
        assert fault.value.problem == (
            f"--weights {text} is neither imagenet nor none, and there is no such file."
        )


def test_misspelt_word():
    with pytest.raises(ModelFault, match=r"Did you mean imagenet\?"):
        find_weights("vgg16", "imagnet")


# --- what Keras publishes ---


def publish(monkeypatch, content: bytes, name: str = "vgg16") -> str:
    """Let the table say that the weights of `name` have this content; their file's name."""
    entry = published.KERAS_WEIGHTS[name]
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(published.KERAS_WEIGHTS, name, entry._replace(digest=digest))
    return entry.file


def test_cached_file_is_used(network, keras_home, monkeypatch):
    layers = drawn_layers(network, 8)
    keras_home.mkdir(parents=True)
    path = keras_home / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    write_old_layout(path, layers)
    assert publish(monkeypatch, path.read_bytes()) == path.name
    found = find_weights("vgg16", "imagenet")
    load_weights(network, "vgg16", found)
    check_equal(network, layers)
    origin = found.origin
    assert (origin.kind, origin.source) == ("imagenet", f"Keras cache {path}")
    assert origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_cached_file_with_another_hash_is_refused_and_kept(keras_home):
    keras_home.mkdir(parents=True)
    path = keras_home / published.KERAS_WEIGHTS["vgg16"].file
    path.write_bytes(b"mine")
    with pytest.raises(ModelFault) as fault:
        find_weights("vgg16", "imagenet")
    assert fault.value.problem == (
        f"{path} is not the published file: its md5 is {hashlib.md5(b'mine').hexdigest()}," # noqa: S324
        f" not {published.KERAS_WEIGHTS['vgg16'].digest}."
    )  # fmt: skip
    assert path.read_bytes() == b"mine"


def test_no_network(keras_home, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(published, "HOST", f"http://127.0.0.1:{unused.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ModelFault) as fault:
        build_backbone("resnet50", 224)
    assert fault.value.problem.startswith("No network for the imagenet weights of resnet50 (")
    assert fault.value.remedy == (
        f"Put resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5 into {keras_home}, or take --weights none"
        " or --weights FILE, or --backbone efficientnet-lite0, which needs no network."
    )
    assert fault.value.exit_code == 4
    assert list(keras_home.iterdir()) == []


def test_network_that_never_answers(keras_home, monkeypatch):
    monkeypatch.setattr(published, "PATIENCE", 0.2)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(published, "HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(ModelFault, match="No network for the imagenet weights of mobilenet"):
            find_weights("mobilenet", "imagenet")
    assert time.monotonic() - began < 5
    assert list(keras_home.iterdir()) == []


@pytest.fixture
def host(monkeypatch):
    """A host on this machine; set `host.content`, and `host.length` to promise another length."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            self.send_response(200 if server.content else 404)
            self.send_header("Content-Length", str(server.length or len(server.content)))
            self.end_headers()
            self.wfile.write(server.content)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    server.content, server.length, server.asked = b"", 0, []
    monkeypatch.setattr(published, "HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "*")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_download(keras_home, monkeypatch, host):
    host.content = b"weights" * 1000
    file = publish(monkeypatch, host.content)
    found = find_weights("vgg16", "imagenet")
    path = keras_home / file
    asked = f"/tensorflow/keras-applications/vgg16/{file}"
    assert host.asked == [asked]
    assert (found.path, path.read_bytes()) == (path, host.content)
    assert found.origin.source == f"downloaded from {published.HOST}{asked} to {path}"
    assert [child.name for child in keras_home.iterdir()] == [file]
    assert find_weights("vgg16", "imagenet").origin.source == f"Keras cache {path}"
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    ("content", "length", "said"),
    [
        (b"weights", 10_000, "the connection ended after 7 bytes"),
        (b"other weights", 0, "is not the published file"),
        (b"", 0, "Not Found"),
    ],
)
def test_download_that_goes_wrong_leaves_nothing(keras_home, monkeypatch, host, content, length, said):
    publish(monkeypatch, b"weights")
    host.content, host.length = content, length
    with pytest.raises(ModelFault, match=said):
        find_weights("vgg16", "imagenet")
    assert list(keras_home.iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelFault) as fault:
        find_weights("vgg16", "imagenet")
    assert fault.value.problem == f"{tmp_path / 'file' / 'models'} cannot be written: Not a directory."
    assert fault.value.remedy.startswith("Let KERAS_HOME name a folder that can be written, ")


def test_a_cache_that_is_full_is_not_called_no_network(keras_home, monkeypatch):
    def full(_url, _file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tlkit.backbones.keras_weights._download", full)
    with pytest.raises(ModelFault) as fault:
        find_weights("vgg16", "imagenet")
    assert fault.value.problem == f"{keras_home} cannot be written: No space left on device."
    assert list(keras_home.iterdir()) == []


@pytest.fixture(scope="module")
def efficientnet() -> keras.Model:
    return build_backbone("efficientnet-b0", 32, "none")[0]


def test_efficientnet_without_statistics_is_left_as_it_is(efficientnet, tmp_path):
    layers = layers_of(efficientnet)
    write_old_layout(tmp_path / "x.h5", layers)
    load_weights(efficientnet, "efficientnet-b0", find_weights("efficientnet-b0", str(tmp_path / "x.h5")))
    check_equal(efficientnet, layers)


def test_efficientnet_sees_what_keras_shows_it(efficientnet, keras_home, monkeypatch):
    """Keras puts another layer into EfficientNet where weights == "imagenet"; ours must compute the same."""
    layers = layers_of(efficientnet)
    statistics = [np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])]
    layers[0] = StoredLayer(layers[0].name, [*statistics, *layers[0].arrays[2:]])
    keras_home.mkdir(parents=True)
    path = keras_home / published.KERAS_WEIGHTS["efficientnet-b0"].file
    write_old_layout(path, layers)
    publish(monkeypatch, path.read_bytes(), "efficientnet-b0")
    load_weights(efficientnet, "efficientnet-b0", find_weights("efficientnet-b0", "imagenet"))
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
    theirs = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    shown = [keras.Model(net.input, net.get_layer("stem_conv").output) for net in (theirs, efficientnet)]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected, actual = (np.asarray(net(pixels)) for net in shown)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


# --- real files ---


@real
@pytest.mark.real
def test_mobilenet_from_the_keras_cache_knows_a_macaw(keras_home):
    keras_home.mkdir(parents=True)
    shutil.copy(SHARED / "mobilenet_1_0_224_tf_no_top.h5", keras_home)
    network, origin = build_backbone("mobilenet", 224)
    assert origin.source.startswith("Keras cache ")
    with_head, _ = build_backbone("mobilenet", 224, str(SHARED / "mobilenet_1_0_224_tf.h5"))
    check_equal(with_head, layers_of(network))
    with h5py.File(SHARED / "mobilenet_1_0_224_tf.h5") as file:
        kernel, bias = (np.asarray(file["conv_preds"]["conv_preds"][name]) for name in ("kernel", "bias"))
    pixels = np.stack([photo("coral_parrot.jpg")]).astype("float32") / 127.5 - 1
    features = np.asarray(network(pixels, training=False)).mean((1, 2))
    assert class_name(int((features @ kernel[0, 0] + bias).argmax())) == "macaw"


@real
@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "misfit"),
    [
        ("mobilenet_2_5_224_tf_no_top.h5", "layer conv1 wants 3x3x3x32, the file has 3x3x3x8"),
        ("efficientnet_lite0_kerascv.weights.h5", "layer conv_pw_1 wants 1x1x32x64, the file has 1x1x32x16"),
    ],
)
def test_real_file_of_another_network(file, misfit):
    with pytest.raises(ModelFault, match=f"does not fit mobilenet: {misfit}"):
        build_backbone("mobilenet", 224, str(SHARED / file))


def photo(name: str) -> np.ndarray:
    """The middle square of a photograph, uint8 [224, 224, 3]."""
    from PIL import Image, ImageOps

    with Image.open(SHARED / "photos" / name) as image:
        square = ImageOps.fit(image.convert("RGB"), (224, 224), Image.Resampling.BILINEAR)
        return np.asarray(square)


def class_name(index: int) -> str:
    import json

    return json.loads((SHARED / "imagenet_class_index.json").read_text())[str(index)][1]


def test_a_file_that_others_publish_is_taken_from_the_keras_cache(keras_home):
    keras_home.mkdir(parents=True)
    file = keras_home / "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
    file.write_bytes(b"as a person put it there")
    assert find_weights("squeezenet", "imagenet").path == file
