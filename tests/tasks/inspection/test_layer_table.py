"""What a network is made of: counts by hand and from the papers, and maps against plain loops."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from tlkit.errors import UsageFault
from tlkit.tasks.inspection import layer_table as anatomy
from tlkit.tasks.inspection.trace import trace


def toy(*, fused: bool = False, pool: bool = True, top: bool = False) -> keras.Model:
    """8 x 10 pixels through one operation of each kind."""
    keras.utils.set_random_seed(1)
    x = pixels = keras.Input((8, 10, 3))
    start = {"bias_initializer": "random_normal"}
    x = layers.Conv2D(4, 3, padding="same", name="conv", activation="relu" if fused else None, **start)(x)
    x = x if fused else layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.MaxPooling2D(2, name="pool")(x) if pool else x
    x = layers.Conv2D(6, 1, name="last")(x)
    if top:
        x = layers.Dense(5, name="dense")(layers.GlobalAveragePooling2D(name="mean")(x))
    return keras.Model(pixels, x, name="toy")


def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 10, 3)).astype(np.float32)


def correlate(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """[h, w] by [3, 3] with zeros around, place by place."""
    padded = np.pad(values, 1)
    out = np.zeros_like(values)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            out[row, column] = (padded[row : row + 3, column : column + 3] * kernel).sum()
    return out


# --- the table ---------------------------------------------------------------------------------------------


def test_multiply_adds_by_hand():
    x = pixels = keras.Input((8, 10, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="strided")(x)  # 4 x 5 places, 3 x 3 x 3 x 4
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)  # 4 x 5 places, 3 x 3 x 4
    x = layers.Conv2D(6, 1, groups=2, name="grouped")(x)  # 4 x 5 places, 2 of 4 channels for each of 6
    x = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="separable")(
        x
    )  # 2 x 3 places, 3 x 3 x 12 and 12 x 5
    x = layers.Dense(7, name="everywhere")(x)  # 2 x 3 places, 5 x 7
    x = layers.Dense(2, name="dense")(layers.Flatten(name="flat")(x))  # 42 x 2
    network = keras.Model(pixels, x)
    rows = {row.name: row for row in anatomy.layer_table(network)}
    assert {name: row.multiply_adds for name, row in rows.items() if row.multiply_adds} == {
        "strided": 20 * 108,
        "depthwise": 20 * 36,
        "grouped": 20 * 12,
        "separable": 6 * (108 + 60),
        "everywhere": 6 * 35,
        "dense": 84,
    }
    assert rows["grouped"][1:4] == ("Conv2D", (4, 5, 6), 12 + 6)
    assert rows["norm"].parameters == 16
    assert sum(row.parameters for row in rows.values()) == network.count_params()


def test_a_network_inside_the_network_is_opened():
    inner = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 3, name="deep")], name="inner")
    pixels = keras.Input((4, 4, 2))
    network = keras.Model(pixels, layers.ReLU(name="relu")(inner(pixels)))
    rows = anatomy.layer_table(network)
    assert [row.name for row in rows[1:]] == ["inner/deep", "relu"]
    assert rows[1].output == (2, 2, 3)
    assert rows[1].multiply_adds == 4 * 3 * 3 * 2 * 3


PAPERS = {  # multiply-adds of convolutions and dense layers at 224 pixels
    "MobileNet": (568_740_352, 569e6),  # Howard 2017, table 4: 569 million
    "ResNet50": (3_857_973_248, 3.8e9),  # He 2015, table 1: 3.8 billion
    "VGG16": (15_470_264_320, 15.3e9),  # He 2015 gives VGG-19 19.6 billion; 15.3 is VGG-16's convolutions
}


@pytest.mark.parametrize(
    "name", ["MobileNet", *(pytest.param(n, marks=pytest.mark.slow) for n in ("ResNet50", "VGG16"))]
)
def test_the_papers_count_the_same(name):
    exact, published = PAPERS[name]
    network = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    total = sum(row.multiply_adds for row in anatomy.layer_table(network))
    assert total == exact
    assert total == pytest.approx(published, rel=0.02)


# --- maps --------------------------------------------------------------------------------------------------


def test_maps_are_those_of_a_plain_loop():
    network, scaled = toy(), image()
    found = anatomy.activations(network, scaled, ["relu", "conv"])
    assert list(found) == ["relu", "conv"]
    kernel, bias = (np.asarray(v) for v in network.get_layer("conv").weights)
    for channel in range(4):
        parts = [correlate(scaled[..., c], kernel[..., c, channel]) for c in range(3)]
        np.testing.assert_allclose(found["conv"][..., channel], sum(parts) + bias[channel], atol=1e-5)
    np.testing.assert_array_equal(found["relu"], np.maximum(found["conv"], 0))


def test_a_layer_that_does_not_exist_is_a_fault_with_a_suggestion():
    with pytest.raises(UsageFault) as fault:
        anatomy.activations(toy(), image(), ["conv", "depthwize"])
    assert fault.value.problem == "toy has no layer 'depthwize'."
    assert fault.value.remedy == "Did you mean depthwise?"
    with pytest.raises(UsageFault, match="Its layers: conv, relu, depthwise, pool, last"):
        anatomy.find_layers(toy(), ["zzz"])


def test_the_tour_names_convolution_activation_pool_middle_and_last_once():
    assert anatomy.default_layers(toy()) == ["conv", "relu", "pool", "last"]
    assert anatomy.default_layers(toy(fused=True)) == ["conv", "pool", "last"]
    assert anatomy.default_layers(toy(pool=False, top=True)) == ["conv", "relu", "last"]


def test_the_strongest_channels_vary_most():
    maps = np.zeros((2, 2, 4))
    maps[0, 0] = [1, -5, 0, 3]
    maps[..., 2] = 9  # the same everywhere: it says nothing about the image
    assert anatomy.strongest(maps, 3) == [1, 3, 0]
    assert anatomy.strongest(np.array([1.0, -5, 2]), 2) == [1, 2]


def test_first_filters_are_the_kernel():
    network = toy()
    name, kernels = anatomy.first_filters(network)
    assert name == "conv"
    np.testing.assert_array_equal(kernels, network.get_layer("conv").kernel.numpy())
    pixels = keras.Input((8, 10, 3))
    around = keras.Model(pixels, layers.ReLU()(network(pixels)))
    assert anatomy.first_filters(around)[0] == "toy/conv"
    flat = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten()], name="flat")
    with pytest.raises(UsageFault, match="flat has no convolution"):
        anatomy.first_filters(flat)


# --- the walk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
def test_each_step_of_the_walk_is_its_operation(fused):
    network, scaled = toy(fused=fused), image()
    steps = {step.kind: step for step in trace(network, scaled)}
    assert list(steps) == [
        "convolution",
        "depthwise convolution",
        "activation",
        "pooling",
        "global pooling",
        "fully connected",
    ]
    convolution, activation = steps["convolution"], steps["activation"]
    kernel, bias = (np.asarray(v) for v in network.get_layer("conv").weights)
    channel = next(c for c in range(4) if np.array_equal(kernel[..., c], convolution.kernel))
    expected = sum(correlate(scaled[..., c], kernel[..., c, channel]) for c in range(3)) + bias[channel]
    np.testing.assert_array_equal(convolution.before, scaled)
    np.testing.assert_allclose(convolution.after, expected, atol=1e-5)
    assert convolution.shapes == ((8, 10, 3), (8, 10, 4))
    assert activation.before.min() < 0
    np.testing.assert_allclose(activation.after, np.maximum(activation.before, 0), atol=1e-6)
    assert activation.layer == ("conv" if fused else "relu")

    depthwise = steps["depthwise convolution"]
    offset = depthwise.after - correlate(depthwise.before, depthwise.kernel)
    np.testing.assert_allclose(offset, 0, atol=1e-5)  # its bias starts at 0
    pooling = steps["pooling"]
    np.testing.assert_array_equal(pooling.after, pooling.before.reshape(4, 2, 5, 2).max(axis=(1, 3)))
    assert pooling.detail == "max of 2 x 2"


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.ReLU(), "relu"),
        (layers.ReLU(6.0), "relu6"),
        (layers.Activation("relu6"), "relu6"),
        (layers.Activation("swish"), "silu"),
        (layers.LeakyReLU(), "leakyrelu"),
    ],
)
def test_activations_are_called_by_their_names(layer, name):
    pixels = keras.Input((4, 4, 3))
    network = keras.Model(pixels, layer(layers.Conv2D(2, 3)(pixels)))
    (step,) = (s for s in trace(network, image()[:4, :4]) if s.kind == "activation")
    assert step.detail == name


def test_the_walk_ends_in_a_new_head_that_the_seed_decides():
    network, scaled = toy(), image()
    *_, mean, dense = trace(network, scaled, seed=3)
    last = anatomy.activations(network, scaled, ["last"])["last"]
    np.testing.assert_allclose(mean.after, last.mean(axis=(0, 1)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean.before.mean(), mean.after.max(), rtol=1e-5)
    np.testing.assert_allclose(dense.after, mean.after @ dense.kernel, rtol=1e-5, atol=1e-6)
    assert (dense.detail, dense.shapes) == ("random weights", ((6,), (10,)))
    np.testing.assert_array_equal(trace(network, scaled, seed=3)[-1].kernel, dense.kernel)
    assert not np.array_equal(trace(network, scaled, seed=4)[-1].kernel, dense.kernel)


def test_a_map_of_one_place_is_not_pooled():
    pixels = keras.Input((8, 10, 3))
    x = layers.Conv2D(7, (8, 10), name="whole")(layers.Conv2D(3, 1, name="first")(pixels))
    steps = trace(keras.Model(pixels, x), image())
    assert [step.kind for step in steps] == ["convolution", "fully connected"]
    assert steps[-1].before.shape == (7,)


def test_a_dense_layer_at_each_place_is_not_the_fully_connected_one():
    pixels = keras.Input((8, 10, 3))
    network = keras.Model(pixels, layers.Dense(4)(layers.Conv2D(3, 1)(pixels)))
    assert trace(network, image())[-1].layer == "a new head"


def test_the_walk_ends_in_the_networks_own_dense_layer():
    network, scaled = toy(pool=False, top=True), image()
    steps = trace(network, scaled)
    assert [step.kind for step in steps][-2:] == ["activation", "fully connected"]
    found = anatomy.activations(network, scaled, ["mean", "dense"])
    np.testing.assert_allclose(steps[-1].before, found["mean"], rtol=1e-6)
    np.testing.assert_allclose(steps[-1].after, found["dense"], rtol=1e-6)
    assert (steps[-1].layer, steps[-1].detail) == ("dense", "")
