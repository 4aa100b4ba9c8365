"""Features from ONNX files through onnxruntime; expectations computed with NumPy."""

from __future__ import annotations

import hashlib
import importlib.util

import numpy as np
import pytest

from tlkit.errors import ModelFault, UsageFault

onnx = pytest.importorskip("onnx", reason="ONNX files need the package onnx")
pytest.importorskip("onnxruntime", reason="ONNX files are run by onnxruntime")
from tlkit.backbones.preprocessing import SCALINGS, Preprocess, scaled  # noqa: E402
from tlkit.tasks.features.onnx_network import OnnxNetwork  # noqa: E402 (after the skip)

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
helper = onnx.helper
RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(0, 0.01, (6, 3, 1, 1)).astype("float32")
HEAD = RANDOM.normal(size=(6, 4)).astype("float32")


def write(path, shape=("n", 3, 8, 8), *, kind=FLOAT, nodes=None, inputs=1, opsets=(), arrays=()):
    """A network: a 1x1 convolution, ReLU, pooling, 4 classes; inputs of the shape."""
    node = helper.make_node
    nodes = nodes or [
        node("Conv", ["data", "kernel"], ["map"], "first_convolution"),
        node("Relu", ["map"], ["positive"], "relu"),
        node("GlobalAveragePool", ["positive"], ["pooled_map"], "pool"),
        node("Flatten", ["pooled_map"], ["embedding"], "flatten"),
        node("Gemm", ["embedding", "head"], ["scores"], "classifier"),
        node("Softmax", ["scores"], ["probabilities"], "softmax"),
    ]
    names = ["data", *(f"data_{i}" for i in range(1, inputs))]
    entries = [helper.make_tensor_value_info(name, kind, shape) for name in names]
    held = [
        onnx.numpy_helper.from_array(array, name)
        for name, array in (("kernel", KERNEL), ("head", HEAD), *arrays)
    ]
    results = [onnx.ValueInfoProto(name=nodes[-1].output[0])]
    graph = helper.make_graph(nodes, "graph", entries, results, held)
    versions = [helper.make_opsetid("", 13), *(helper.make_opsetid(name, 1) for name in opsets)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "x.onnx")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def positive(pixels, mode="caffe"):
    """What the ReLU gives, channels last."""
    return np.maximum(scaled(pixels, mode) @ KERNEL[:, :, 0, 0].T, 0)


def check(actual, expected):
    assert actual.dtype == np.float32
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", SCALINGS)
def test_scaling_in_numpy_is_the_layer_s(mode, pixels):
    np.testing.assert_allclose(scaled(pixels, mode), np.asarray(Preprocess(mode)(pixels)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", SCALINGS)
def test_features_are_what_enters_the_classifier(file, pixels, mode):
    network = OnnxNetwork(file, preprocessing=mode)
    assert (network.name, network.layer) == (str(file), "embedding")
    assert (network.image_size, network.width) == (8, 6)
    check(network(pixels), positive(pixels, mode).mean((1, 2)))


@pytest.mark.parametrize("layer", ["positive", "relu"])
def test_map_is_averaged_by_the_name_of_node_or_result(file, pixels, layer):
    network = OnnxNetwork(file, layer)
    check(network(pixels), positive(pixels).mean((1, 2)))
    check(OnnxNetwork(file, "map")(pixels), (scaled(pixels, "caffe") @ KERNEL[:, :, 0, 0].T).mean((1, 2)))


@pytest.mark.parametrize("layer", ["logits", "scores", "classifier"])
def test_logits_are_the_result_without_softmax(file, pixels, layer):
    check(OnnxNetwork(file, layer)(pixels), positive(pixels).mean((1, 2)) @ HEAD)


def test_last_result(file, pixels):
    np.testing.assert_allclose(OnnxNetwork(file, "probabilities")(pixels).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 5, 7])
def test_file_with_a_fixed_batch(tmp_path, pixels, batch):
    network = OnnxNetwork(write(tmp_path / "x.onnx", (batch, 3, 8, 8)))
    check(network(pixels), positive(pixels).mean((1, 2)))


def test_no_image_gives_no_row(file):
    assert OnnxNetwork(file)(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, 6)


def test_open_size_is_the_one_asked_for(tmp_path):
    path = write(tmp_path / "x.onnx", ("n", 3, "h", "w"))
    assert OnnxNetwork(path).image_size == 224
    network = OnnxNetwork(path, image_size=16)
    assert network.image_size == 16
    check(
        network(np.full((1, 16, 16, 3), 9, np.uint8)),
        positive(np.full((1, 16, 16, 3), 9, np.uint8)).mean((1, 2)),
    )


def test_layers_with_shapes(file):
    assert OnnxNetwork(file).layers() == [
        ("map", "6x8x8"),
        ("positive", "6x8x8"),
        ("pooled_map", "6x1x1"),
        ("embedding", "6"),
        ("scores", "4"),
        ("probabilities", "4"),
    ]


def test_constants_are_no_layers(tmp_path, pixels):
    node = helper.make_node
    nodes = [
        node("Relu", ["kernel"], ["kernel_too"]),
        node("Conv", ["data", "kernel_too"], ["map"]),
        node("GlobalAveragePool", ["map"], ["pooled"]),
    ]
    network = OnnxNetwork(write(tmp_path / "x.onnx", nodes=nodes), "pooled")
    assert [name for name, _ in network.layers()] == ["map", "pooled"]
    expected = scaled(pixels, "caffe") @ np.maximum(KERNEL, 0)[:, :, 0, 0].T
    check(network(pixels), expected.mean((1, 2)))


def test_digest_tells_file_layer_size_and_preprocessing_apart(file, tmp_path):
    digest = OnnxNetwork(file).digest
    assert len(digest) == len(hashlib.sha256().hexdigest())
    assert OnnxNetwork(file).digest == digest == OnnxNetwork(file, "embedding").digest
    open_size = write(tmp_path / "y.onnx", ("n", 3, "h", "w"))
    others = [
        OnnxNetwork(file, "scores"),
        OnnxNetwork(file, preprocessing="torch"),
        OnnxNetwork(open_size, image_size=8),
        OnnxNetwork(open_size, image_size=9),
    ]
    assert len({digest, *(other.digest for other in others)}) == 5


def test_graph_inside_a_node_keeps_what_it_uses(tmp_path, pixels):
    """An If takes its numbers from the graph around it, which no input of the node names."""
    node = helper.make_node
    branches = [
        helper.make_graph(
            [node(kind, ["map"], [f"{kind}_result"])], kind, [], [onnx.ValueInfoProto(name=f"{kind}_result")]
        )
        for kind in ("Relu", "Neg")
    ]
    nodes = [
        node("Conv", ["data", "kernel"], ["map"]),
        node("ReduceSum", ["data"], ["sum"], keepdims=0),
        node("Greater", ["sum", "limit"], ["bright"]),
        node("If", ["bright"], ["chosen"], then_branch=branches[0], else_branch=branches[1]),
        node("GlobalAveragePool", ["chosen"], ["pooled"]),
    ]
    limit = np.array(-1e9, np.float32)
    network = OnnxNetwork(write(tmp_path / "x.onnx", nodes=nodes, arrays=[("limit", limit)]), "pooled")
    check(network(pixels), positive(pixels).mean((1, 2)))


# --- faults ---


def test_unknown_layer_offers_the_nearest(file):
    with pytest.raises(UsageFault) as fault:
        OnnxNetwork(file, "first_convolutoin")
    assert fault.value.problem == f"{file} has no layer 'first_convolutoin'."
    assert fault.value.remedy.startswith("Did you mean first_convolution")
    with pytest.raises(UsageFault, match="--layers lists its 6 layers"):
        OnnxNetwork(file, "zzz")


def test_unknown_preprocessing(file):
    with pytest.raises(ValueError, match="Received: 'tf'"):
        OnnxNetwork(file, preprocessing="tf")


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(range(256))])
def test_file_that_is_no_network(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ModelFault) as fault:
        OnnxNetwork(tmp_path / "x.onnx")
    assert fault.value.problem.startswith(f"{tmp_path / 'x.onnx'} is not an ONNX file: ")
    assert fault.value.exit_code == 4


def test_absent_file(tmp_path):
    with pytest.raises(ModelFault, match="No such file"):
        OnnxNetwork(tmp_path / "x.onnx")


def test_custom_operators_are_named(tmp_path):
    node = helper.make_node
    nodes = [
        node("Conv", ["data", "kernel"], ["map"]),
        node("Sparkle", ["map"], ["bright"], domain="ai.example"),
        node("Twirl", ["bright"], ["turned"]),
    ]
    with pytest.raises(ModelFault) as fault:
        OnnxNetwork(write(tmp_path / "x.onnx", nodes=nodes, opsets=["ai.example"]))
    assert fault.value.problem.endswith("has operators that ONNX has not: Twirl, ai.example.Sparkle.")


@pytest.mark.parametrize(
    ("shape", "options", "shown"),
    [
        (("n", 8, 8, 3), {}, "?x8x8x3"),
        (("n", 1, 8, 8), {}, "?x1x8x8"),
        (("n", 3, 8, 6), {}, "?x3x8x6"),
        ((1, 192), {}, "1x192"),
        (("n", 3, 8, 8), {"kind": UINT8}, "?x3x8x8"),
        (("n", 3, 8, 8), {"inputs": 2}, "?x3x8x8; ?x3x8x8"),
    ],
)
def test_other_inputs_are_shown(tmp_path, shape, options, shown):
    with pytest.raises(ModelFault) as fault:
        OnnxNetwork(write(tmp_path / "x.onnx", shape, **options))
    assert f" takes {shown}, not one batch of square images" in fault.value.problem


def test_layer_that_gives_no_row_for_each_image(tmp_path, pixels):
    nodes = [helper.make_node("ReduceSum", ["data"], ["sum"], keepdims=0)]
    with pytest.raises(ModelFault, match="Layer sum of .* not a row for each"):
        OnnxNetwork(write(tmp_path / "x.onnx", nodes=nodes))


def test_graph_that_fails_as_it_runs(tmp_path, pixels):
    """A reshape for one image in a file that says any number."""
    nodes = [
        helper.make_node("Reshape", ["data", "shape"], ["row"]),
        helper.make_node("Relu", ["row"], ["positive"]),
    ]
    shape = np.array([1, 192], np.int64)
    network = OnnxNetwork(write(tmp_path / "x.onnx", nodes=nodes, arrays=[("shape", shape)]))
    assert network.width == 192
    with pytest.raises(ModelFault, match="onnxruntime cannot run"):
        network(pixels)


def test_graph_that_contradicts_itself(tmp_path):
    nodes = [helper.make_node("MatMul", ["data", "head"], ["product"])]  # 8 columns by 6 rows
    with pytest.raises(ModelFault, match="onnxruntime cannot run"):
        OnnxNetwork(write(tmp_path / "x.onnx", nodes=nodes))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_extra_that_is_not_installed(file, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ModelFault) as fault:
        OnnxNetwork(file)
    assert fault.value.problem == f"ONNX files need the package {package}, which is not installed."
