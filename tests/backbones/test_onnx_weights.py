"""Weights from ONNX files: small graphs, run by onnxruntime, against Keras networks that were given the same file."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest

from tlkit.backbones.table import build_backbone
from tlkit.backbones.weight_files import layers_of
from tlkit.backbones.weights import find_weights, load_weights
from tlkit.errors import ModelFault

onnx = pytest.importorskip("onnx", reason="ONNX files need the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the oracle is onnxruntime")
helper = onnx.helper


class Graph:
    """An ONNX graph as it grows; float [1, 3, 8, 8] goes in."""

    def __init__(self, seed: int = 0, size: int = 8) -> None:
        self.random, self.size = np.random.default_rng(seed), size
        self.nodes, self.arrays, self.result = [], [], "data"

    def add(self, kind, *inputs, weights=(), **attributes) -> str:
        """A node on the last result, or on `inputs`, with arrays or shapes of arrays to be drawn; its result."""
        names = [self.hold(weight, f"{kind}{len(self.nodes)}_{i}") for i, weight in enumerate(weights)]
        self.result, before = f"r{len(self.nodes)}", inputs or (self.result,)
        self.nodes.append(helper.make_node(kind, [*before, *names], [self.result], self.result, **attributes))
        return self.result

    def hold(self, weight, name: str) -> str:
        """An array, or one of a shape to be drawn; its name."""
        array = weight if isinstance(weight, np.ndarray) else self.random.uniform(0.2, 1, weight)
        self.arrays.append(onnx.numpy_helper.from_array(array.astype("float32"), name))
        return name

    def conv(self, *inputs, shape, bias=True, **attributes) -> str:
        weights = [self.random.normal(size=shape), self.random.normal(size=shape[0])]
        return self.add("Conv", *inputs, weights=weights[: 1 + bias], **attributes)

    def norm(self, channels: int, **attributes) -> str:
        return self.add("BatchNormalization", weights=[(channels,)] * 4, **attributes)

    def write(self, path) -> onnx.ModelProto:
        entry = helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, [1, 3, self.size, self.size])
        graph = helper.make_graph(
            self.nodes, "graph", [entry], [onnx.ValueInfoProto(name=self.result)], self.arrays
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, path)
        return model


def load(network: keras.Model, path) -> None:
    load_weights(network, "vgg16", find_weights("vgg16", str(path)))


def check_same(network: keras.Model, graph: Graph, path) -> None:
    """After loading, the network computes what onnxruntime does."""
    model = graph.write(path)
    load(network, path)
    images = np.random.default_rng(3).normal(size=(1, graph.size, graph.size, 3)).astype("float32")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"data": images.transpose(0, 3, 1, 2)})
    actual = np.asarray(network(images, training=False))
    expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


def plain() -> keras.Model:
    """Two convolutions, one normalised."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="one")(images)
    x = keras.layers.BatchNormalization(name="normalised")(x)
    x = keras.layers.ReLU()(x)
    return keras.Model(images, keras.layers.Conv2D(5, 3, 2, name="two")(x))


def plain_graph(**changes) -> Graph:
    graph = Graph()
    graph.conv(shape=(4, 3, 3, 3), bias=False)
    graph.norm(4)
    graph.add("Relu")
    graph.conv(**{"shape": (5, 4, 3, 3), "strides": [2, 2], **changes})
    return graph


def test_chain(tmp_path):
    check_same(plain(), plain_graph(), tmp_path / "x.onnx")


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_another_epsilon_gives_the_file_s_result(tmp_path, epsilon):
    graph = Graph()
    graph.conv(shape=(4, 3, 3, 3), bias=False)
    graph.norm(4, epsilon=epsilon)
    graph.add("Relu")
    graph.conv(shape=(5, 4, 3, 3), strides=[2, 2])
    check_same(plain(), graph, tmp_path / "x.onnx")


def test_head_is_left_out(tmp_path):
    graph = plain_graph()
    graph.write(tmp_path / "body.onnx")
    graph.add("GlobalAveragePool")
    graph.add("Flatten")
    graph.add("Gemm", weights=[(10, 5), (10,)], transB=1)
    graph.write(tmp_path / "whole.onnx")
    body, whole = plain(), plain()
    load(body, tmp_path / "body.onnx")
    load(whole, tmp_path / "whole.onnx")
    for one, other in zip(body.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_branches_in_whatever_order_the_file_has_them(tmp_path, order):
    """Three branches, two of them of equal shapes, which only their places in the concatenation tell apart."""
    images = keras.Input((8, 8, 3))
    stem = keras.layers.Conv2D(4, 1, name="stem")(images)
    long = keras.layers.Conv2D(2, 1, name="long_1")(stem)
    long = keras.layers.Conv2D(3, 3, padding="same", name="long_2")(long)
    twins = [keras.layers.Conv2D(3, 1, name=name)(stem) for name in ("twin_b", "twin_a")]
    x = keras.layers.Concatenate()([twins[1], long, twins[0]])
    network = keras.Model(images, keras.layers.Conv2D(2, 1, name="last")(x))
    graph, results = Graph(), {}
    stem = graph.conv(shape=(4, 3, 1, 1))
    for branch in order:
        if branch == 1:
            graph.conv(stem, shape=(2, 4, 1, 1))
            results[branch] = graph.conv(shape=(3, 2, 3, 3), pads=[1, 1, 1, 1])
        else:
            results[branch] = graph.conv(stem, shape=(3, 4, 1, 1))
    graph.add("Concat", results[0], results[1], results[2], axis=1)
    graph.conv(shape=(2, 9, 1, 1))
    check_same(network, graph, tmp_path / "x.onnx")


def test_addends_in_the_other_order(tmp_path):
    images = keras.Input((8, 8, 3))
    stem = keras.layers.Conv2D(4, 1)(images)
    short = keras.layers.Conv2D(6, 1)(stem)
    long = keras.layers.Conv2D(6, 1)(keras.layers.Conv2D(4, 1)(stem))
    network = keras.Model(images, keras.layers.Add()([short, long]))
    graph = Graph()
    stem = graph.conv(shape=(4, 3, 1, 1))
    graph.conv(stem, shape=(4, 4, 1, 1))
    long = graph.conv(shape=(6, 4, 1, 1))
    graph.add("Add", long, graph.conv(stem, shape=(6, 4, 1, 1)))
    check_same(network, graph, tmp_path / "x.onnx")


def test_depthwise_and_grouped(tmp_path):
    from tlkit.backbones.layers import GroupedConvolution

    images = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(images)
    network = keras.Model(images, GroupedConvolution(4, 3, groups=2)(x))
    graph = Graph()
    graph.conv(shape=(6, 1, 3, 3), bias=False, group=3)
    graph.conv(shape=(4, 3, 3, 3), group=2)
    check_same(network, graph, tmp_path / "x.onnx")


@pytest.mark.parametrize("kind", ["Gemm", "Gemm transposed", "MatMul"])
def test_fully_connected_layer_over_a_flattened_map(tmp_path, kind):
    """The file flattens channels first; our layer is a convolution as large as the map."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 6)(images)  # 3 x 3
    network = keras.Model(images, keras.layers.Conv2D(4, 3)(x))
    graph = Graph()
    graph.conv(shape=(2, 3, 6, 6))
    graph.add("Flatten")
    if kind == "MatMul":
        graph.add("MatMul", weights=[(18, 4)])
        graph.add("Add", weights=[(4,)])
    elif kind == "Gemm":
        graph.add("Gemm", weights=[(18, 4), (4,)])
    else:
        graph.add("Gemm", weights=[(4, 18), (4,)], transB=1)
    check_same(network, graph, tmp_path / "x.onnx")


def test_scale_and_offset_by_channel_are_taken_over(tmp_path):
    """Caffe's Scale layer after its normalisation and, for good measure, after a convolution."""
    graph = Graph()
    graph.conv(shape=(4, 3, 3, 3), bias=False)
    graph.norm(4)
    graph.add("Mul", weights=[(4, 1, 1)])
    graph.add("Add", weights=[(1, 4, 1, 1)])
    graph.add("Relu")
    graph.conv(shape=(5, 4, 3, 3), strides=[2, 2])
    graph.add("Mul", weights=[(5, 1, 1)])
    graph.add("Add", weights=[(5, 1, 1)])
    check_same(plain(), graph, tmp_path / "x.onnx")


def test_bias_that_the_file_leaves_out_is_zero(tmp_path):
    check_same(plain(), plain_graph(bias=False), tmp_path / "x.onnx")


# --- misfits ---


def refusal(graph: Graph, path, network=None) -> ModelFault:
    """The fault; the network is as it was."""
    network = network or plain()
    before = layers_of(network)
    graph.write(path)
    with pytest.raises(ModelFault) as fault:
        load(network, path)
    for one, other in zip(before, layers_of(network), strict=True):
        for a, b in zip(one.arrays, other.arrays, strict=True):
            np.testing.assert_array_equal(a, b)
    return fault.value


def test_other_shapes_name_the_layer(tmp_path):
    fault = refusal(plain_graph(shape=(7, 4, 3, 3)), tmp_path / "x.onnx")
    assert fault.problem == (
        f"{tmp_path / 'x.onnx'} does not fit vgg16: layer two wants 3x3x4x5, 5, the file has 3x3x4x7, 7."
    )


def test_file_that_ends_too_early(tmp_path):
    graph = Graph()
    graph.conv(shape=(4, 3, 3, 3), bias=False)
    fault = refusal(graph, tmp_path / "x.onnx")
    assert "layer normalised wants 4, 4, 4, 4, the file has nothing." in fault.problem


def test_other_strides(tmp_path):
    fault = refusal(plain_graph(strides=[1, 1]), tmp_path / "x.onnx")
    assert fault.problem.endswith("layer two has strides (2, 2), the file (1, 1).")


def test_layers_side_by_side_instead_of_in_a_row(tmp_path):
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, name="first")(images)
    network = keras.Model(images, keras.layers.Conv2D(3, 1, name="second")(x))
    graph = Graph()
    one = graph.conv("data", shape=(3, 3, 1, 1))
    graph.add("Add", one, graph.conv("data", shape=(3, 3, 1, 1)))
    fault = refusal(graph, tmp_path / "x.onnx", network)
    assert "layer second follows other layers there" in fault.problem


@pytest.mark.parametrize("computed", [False, True])
def test_weights_that_no_layer_takes(tmp_path, computed):
    graph = Graph()
    graph.conv(shape=(4, 3, 3, 3), bias=False)
    graph.norm(4)
    graph.add("Relu")
    if computed:
        before, held = graph.result, graph.hold((4, 1, 1), "held")
        graph.add("Mul", before, graph.add("Exp", held))
    else:
        graph.add("Mul", weights=[(4, 1, 1)])
    graph.conv(shape=(5, 4, 3, 3), strides=[2, 2])
    fault = refusal(graph, tmp_path / "x.onnx")
    assert "no layer of it has the weights of the file's Mul" in fault.problem


def test_table_s_network_whose_strides_stand_elsewhere(tmp_path):
    """Caffe2's and PyTorch's ResNet50 halve in the 3x3 convolution, Keras's in the 1x1 before it."""
    from tests.backbones import zoo

    zoo.filled("resnet50", tmp_path / "x.onnx")
    with pytest.raises(
        ModelFault, match=r"layer conv3_block1_1_conv has strides \(2, 2\), the file \(1, 1\)"
    ):
        build_backbone("resnet50", 32, str(tmp_path / "x.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "result"), [("densenet121", "densenet121", "r907"), ("vgg19", "vgg19", "r36")]
)
def test_networks_of_keras_applications_take_the_zoo_s_files(tmp_path, name, file, result):
    from tests.backbones import zoo

    model = zoo.filled(file, tmp_path / "x.onnx", seed=2)
    images = np.random.default_rng(4).normal(0, 60, (1, 224, 224, 3)).astype("float32")
    (expected,) = zoo.run(model, images.transpose(0, 3, 1, 2), result)
    network, _ = build_backbone(name, 224, str(tmp_path / "x.onnx"))
    actual = np.asarray(network(images, training=False)).transpose(0, 3, 1, 2)
    assert np.std(expected) > 1e-2 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


# --- files that are none ---


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is not a network", b"\x08\x07\x12", bytes(range(256))]
)
def test_file_that_is_no_network(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ModelFault) as fault:
        load(plain(), tmp_path / "x.onnx")
    assert fault.value.problem.startswith(f"{tmp_path / 'x.onnx'} is not an ONNX file: ")


def test_truncated_file(tmp_path):
    plain_graph().write(tmp_path / "x.onnx")
    content = (tmp_path / "x.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFault, match="is not an ONNX file"):
        load(plain(), tmp_path / "x.onnx")


def test_extra_that_is_not_installed(tmp_path, monkeypatch):
    plain_graph().write(tmp_path / "x.onnx")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(ModelFault) as fault:
        find_weights("vgg16", str(tmp_path / "x.onnx"))
    assert fault.value.problem == "ONNX files need the package onnx, which is not installed."
    assert fault.value.remedy == "pip install 'tlkit[onnx]'"
