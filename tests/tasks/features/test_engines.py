"""Other engines give TensorFlow's features, and one that does not is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit.errors import ModelFault, UsageFault
from tlkit.tasks.features import engines
from tlkit.tasks.features.engines import TOLERANCES, EngineFeatures, with_engine
from tlkit.tasks.features.extract import NetworkFeatures
from tlkit.tasks.features.handcrafted import find_handcrafted

PIXELS = np.random.default_rng(5).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1)(images)
    x = keras.layers.Conv2D(8, 3, 2, "same", activation="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    return NetworkFeatures(keras.Model(images, keras.layers.GlobalAveragePooling2D()(x)), "small")


@pytest.mark.parametrize("engine", TOLERANCES)
def test_an_engine_gives_tensorflows_features(network, engine):
    pytest.importorskip("onnxruntime" if engine == "onnx" else "openvino")
    other = EngineFeatures(network, engine)
    expected = network(PIXELS)
    assert other(PIXELS).dtype == np.float32
    assert other(PIXELS[:1]).shape == (1, 8)  # any batch
    assert np.abs(other(PIXELS) - expected).max() <= TOLERANCES[engine] * np.abs(expected).max()
    assert other.difference <= TOLERANCES[engine]
    assert other.digest != network.digest  # kept apart in the cache


def test_an_engine_that_answers_differently_is_refused(network, monkeypatch):
    monkeypatch.setattr(engines, "_onnx", lambda _: lambda pixels: network(pixels) * 1.01)
    with pytest.raises(ModelFault, match="onnx answers differently from TensorFlow on small: by 0.01"):
        EngineFeatures(network, "onnx")


def test_an_engine_that_is_not_installed_names_the_extra(network, monkeypatch):
    def absent(*_, **__):
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr(engines, "_openvino", absent)
    with pytest.raises(ModelFault) as fault:
        EngineFeatures(network, "openvino")
    assert "needs openvino, which is not installed" in fault.value.problem
    assert fault.value.remedy == "pip install 'tlkit[openvino]'"


def test_only_networks_have_engines(network):
    assert with_engine(network, "tensorflow") is network
    with pytest.raises(UsageFault, match="--engine onnx is for backbones"):
        with_engine(find_handcrafted("lbp"), "onnx")
