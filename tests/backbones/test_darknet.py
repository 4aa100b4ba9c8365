"""Darknets: what Darknet computes, number by number, and how many numbers there are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.backbones.darknet import (
    DarknetNormalization,
    Reorg,
    body_convolutions,
    darknet_53,
    darknet_convolution,
    darknet_small,
)
from tlkit.backbones.darknet_weights import CLASSES, NUMBERS
from tlkit.backbones.pyramids import DETECTOR_BACKBONES, build_pyramid, level_layers, unfreeze_pyramid
from tlkit.errors import ModelFault, UsageFault

CONVOLUTIONS = {"darknet-19": 18, "darknet-53": 52, "darknet-small": 7}
MAPS = {
    "darknet-19": ["leaky_8", "leaky_13", "leaky_18"],
    "darknet-53": ["add_26", "add_43", "add_52"],
    "darknet-small": ["leaky_4", "leaky_5", "leaky_7"],
}


@pytest.fixture
def no_draws(monkeypatch):
    """Kernels of zeros: shapes are what counts, and drawing forty million numbers takes seconds."""
    monkeypatch.setattr(
        keras.initializers.HeNormal, "__call__", lambda _self, shape, dtype=None: tf.zeros(shape, dtype)
    )


# --- batch normalisation ---


def test_normalisation_adds_its_epsilon_to_the_root():
    layer = DarknetNormalization()
    layer.build((None, 1, 1, 4))
    gamma, beta, mean = [2.0, 3, 0.5, 1], [0.5, 0, -1, 0], [1.0, -2, 0, 3]
    variance = [4.0, 1e-12, 0, 1e-8]
    layer.set_weights([np.array(one, "float32") for one in (gamma, beta, mean, variance)])
    x = [2.0, -2 + 2**-20, 3e-6, 3 - 2**-19]
    # by hand: 2 (1 / 2.000001) + 0.5; 3 (2^-20 / 2e-6); 0.5 (3e-6 / 1e-6) - 1; -2^-19 / 1.01e-4
    expected = [1.4999995, 1.430511474609375, 0.5, -0.018884639932]
    actual = np.asarray(layer(np.array(x, "float32")[None, None, None]))[0, 0, 0]
    np.testing.assert_allclose(actual, expected, rtol=3e-7)
    keras_s = keras.layers.BatchNormalization(epsilon=1e-6)
    keras_s.build((None, 1, 1, 4))
    keras_s.set_weights(layer.get_weights())
    assert abs(np.asarray(keras_s(np.array(x, "float32")[None, None, None])) - expected).max() > 1


def test_normalisation_learns_from_the_batch_and_moves():
    layer = DarknetNormalization(momentum=0.9)
    x = np.random.default_rng(0).normal(3, 2, (4, 5, 6, 3)).astype("float32")
    actual = np.asarray(layer(x, training=True))
    wide = x.astype(float)
    mean, root = wide.mean((0, 1, 2)), wide.std((0, 1, 2))
    np.testing.assert_allclose(actual, (wide - mean) / (root + 1e-6), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * root**2, rtol=1e-5)
    layer.trainable = False  # as everywhere in Keras 3: frozen statistics stay and are what is used
    before = layer.get_weights()
    np.testing.assert_array_equal(np.asarray(layer(x, training=True)), np.asarray(layer(x)))
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_normalisation_of_a_channel_without_variance_has_finite_gradients():
    layer = DarknetNormalization()
    x = tf.constant(np.stack([np.full((2, 4, 4), 7.0), np.arange(32.0).reshape(2, 4, 4)], -1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * tf.cos(y + x))
    slope = np.asarray(tape.gradient(loss, x))
    assert np.isfinite(slope).all()
    assert (slope[..., 0] == 0).all()  # y is 0 there, and so is every slope through it
    assert np.asarray(y[..., 0] == 0).all()


def test_black_images_learn_nothing_that_is_not_a_number(monkeypatch):
    """Slopes of 1e6 in fifteen layers, one on the other, would be no numbers."""
    monkeypatch.setattr("tlkit.backbones.darknet.DARKNET_53", ((4, 1),) * 5)
    network = darknet_53(32)
    with tf.GradientTape() as tape:
        maps = network(tf.zeros((1, 32, 32, 3)), training=True)
        loss = tf.add_n([tf.reduce_sum(m[:, 0] * tf.range(1.0, 5.0)) for m in maps])
    slopes = tape.gradient(loss, network.trainable_variables)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_normalisation_computes_in_float32_under_a_mixed_policy():
    layer = DarknetNormalization(dtype="mixed_float16")
    layer.build((None, 2))
    layer.set_weights([np.array(one, "float32") for one in ([1, 1], [0, 0], [0, 0], [1e-12, 1e10])])
    y = layer(np.array([[1e-4, 6e4]], "float16"))
    assert y.dtype == tf.float16
    np.testing.assert_allclose(y, [[50.0, 0.6]], rtol=2e-3)


# --- convolution ---


def convolved_slowly(x, kernel, stride):
    """Darknet's convolution, place by place: one pixel of zeros on each side, sides of (h + 2 - 3) // stride + 1."""
    around = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = ((side + 2 - 3) // stride + 1 for side in x.shape[1:3])
    result = np.zeros((len(x), height, width, kernel.shape[-1]))
    for row in range(height):
        for column in range(width):
            window = around[:, row * stride : row * stride + 3, column * stride : column * stride + 3]
            result[:, row, column] = np.einsum("byxc,yxcf->bf", window, kernel)
    return result


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_pads_as_darknet(stride):
    inputs = keras.Input((6, 6, 2))
    network = keras.Model(inputs, darknet_convolution(inputs, 3, 3, "x", stride=stride))
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 2)).astype("float32")
    convolution = network.get_layer("conv_x")
    assert not convolution.use_bias
    expected = convolved_slowly(x, np.asarray(convolution.kernel), stride) / (1 + 1e-6)
    np.testing.assert_allclose(network(x), np.where(expected > 0, expected, 0.1 * expected), atol=1e-5)


# --- reorg ---


def reorganised_slowly(x):
    """Darknet's reorg of stride 2 by its index arithmetic, one number at a time, on [c, h, w]."""
    channels, height, width = x.shape
    memory, result = x.ravel(), np.empty(x.size, x.dtype)
    few = channels // 4
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                part, plane = divmod(k, few)
                row, column = 2 * j + part // 2, 2 * i + part % 2
                source = column + 2 * width * (row + 2 * height * plane)
                result[i + width * (j + height * k)] = memory[source]
    return result.reshape(4 * channels, height // 2, width // 2)


@pytest.mark.parametrize(("height", "width", "channels"), [(2, 2, 4), (4, 6, 8), (26, 26, 64)])
def test_reorg_has_darknet_s_values(height, width, channels):
    x = np.random.default_rng(2).normal(size=(2, height, width, channels)).astype("float32")
    expected = np.stack([reorganised_slowly(one) for one in x.transpose(0, 3, 1, 2)]).transpose(0, 2, 3, 1)
    layer = Reorg()
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    other = tf.nn.space_to_depth(x, 2)
    assert (channels, height) == (4, 2) or not np.array_equal(np.sort(other, -1), np.sort(expected, -1))


def test_reorg_of_any_size_and_its_refusals():
    network = keras.Sequential([keras.Input((None, None, 8)), Reorg()])
    assert network.output_shape == (None, None, None, 32)
    x = np.random.default_rng(3).normal(size=(1, 4, 6, 8)).astype("float32")
    np.testing.assert_array_equal(network(x), Reorg()(x))
    for shape in ((1, 4, 4, 6), (1, 3, 4, 8), (1, 4, 5, 8)):
        with pytest.raises(ValueError, match="even sides and channels by fours"):
            Reorg()(np.zeros(shape, "float32"))


# --- networks ---


@pytest.mark.parametrize("name", NUMBERS)
def test_networks_have_as_many_numbers_as_their_files(name, no_draws):
    network = DETECTOR_BACKBONES[name].build(64)
    assert network.count_params() == NUMBERS[name]
    convolutions = body_convolutions(network)
    assert len(convolutions) == CONVOLUTIONS[name]
    assert [m.shape[1] for m in network.outputs] == [8, 4, 2]
    # in the order of the network, which is that of a file
    order = [layer for layer in network.layers if layer.weights]
    assert order == [layer for pair in convolutions for layer in pair]
    found = level_layers(network, 64, name)
    assert [network.get_layer(one).output for one in found] == list(network.outputs)
    assert list(found) == MAPS[name]  # before the maximum, and after the sum
    adds = [layer.output.shape[1] for layer in network.layers if isinstance(layer, keras.layers.Add)]
    blocks = [adds.count(side) for side in (32, 16, 8, 4, 2)]
    assert blocks == ([1, 2, 8, 8, 4] if name == "darknet-53" else [0] * 5)  # Redmon 2018, table 1


def test_numbers_are_the_papers():
    assert NUMBERS == {"darknet-19": 19_831_776, "darknet-53": 40_620_640, "darknet-small": 6_298_480}
    last = (1024 + 1) * CLASSES
    assert [NUMBERS[name] + last for name in ("darknet-19", "darknet-53")] == [20_856_776, 41_645_640]


def test_last_maximum_of_the_small_one_looks_right_and_down(no_draws):
    network = darknet_small(64)
    last = network.get_layer("pool_6")
    x = np.arange(4.0, dtype="float32").reshape(1, 2, 2, 1) * [[[[-1.0]]]]
    np.testing.assert_array_equal(last(x)[0, ..., 0], [[0, -1], [-2, -3]])


def test_small_one_is_a_backbone_on_pixels_from_zero_to_one(monkeypatch):
    monkeypatch.setattr("tlkit.backbones.darknet.DARKNET_SMALL", tuple(((3, 3),) for _ in range(6)))
    pyramid, origin = build_pyramid("darknet-small", 64, "none")
    assert origin.kind == "none"
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    maps = pyramid(images)
    assert [m.shape[1:] for m in maps] == [(8, 8, 3), (4, 4, 3), (2, 2, 1024)]
    for one, other in zip(maps, pyramid.get_layer("backbone")(images / np.float32(255)), strict=True):
        assert float(keras.ops.std(one)) > 0
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("darknet-small", "conv_6"),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (("darknet-19", "conv_14"), ("darknet-53", "conv_44"))
        ),
    ],
)
def test_freezing_goes_by_stages(name, first, no_draws):
    pyramid, _ = build_pyramid(name, 64, "none")
    body = pyramid.get_layer("backbone")
    kernels = [one.convolution.name for one in body_convolutions(body)]
    expected = {"head": [], "top": kernels[kernels.index(first) :], "all": kernels}
    for stage, names in expected.items():
        unfreeze_pyramid(pyramid, stage, name)
        learning = [layer.name for layer in body.layers if layer.trainable_variables]
        assert learning == names
        unfreeze_pyramid(pyramid, stage, name, batch_norm=True)
        assert len(body.trainable_variables) == 3 * len(names)  # a kernel, a scale, a bias


def test_words_for_weights_and_names_that_cannot_be():
    with pytest.raises(ModelFault, match="--weights imagenet cannot be had for darknet-53") as fault:
        build_pyramid("darknet-53", 64, "imagenet")
    assert "--weights FILE" in fault.value.remedy
    with pytest.raises(UsageFault, match="no backbone 'darknet53'") as wrong:
        build_pyramid("darknet53", 64, "none")
    assert "darknet-53" in wrong.value.remedy


def test_saved_layers_are_read_back(tmp_path):
    inputs = keras.Input((4, 4, 3))
    network = keras.Model(inputs, Reorg()(darknet_convolution(inputs, 8, 3, "x")))
    network.get_layer("norm_x").set_weights([np.arange(1.0, 9)] * 4)
    network.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    x = np.random.default_rng(4).normal(size=(2, 4, 4, 3)).astype("float32")
    np.testing.assert_array_equal(again(x), network(x))
    assert again.get_layer("norm_x").epsilon == 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", NUMBERS)
def test_whole_networks_learn(name):
    """One step of each from random weights, batch normalisation included: finite, and every kernel moves."""
    network = DETECTOR_BACKBONES[name].build(64)
    x = tf.constant(np.random.default_rng(5).uniform(size=(2, 64, 64, 3)).astype("float32"))
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_mean(tf.square(m - 1)) for m in network(x, training=True)])
    slopes = tape.gradient(loss, network.trainable_variables)
    assert np.isfinite(loss)
    assert all(np.isfinite(slope).all() and np.any(slope) for slope in slopes)
