"""Darknet's `.weights` files, written to the byte here: what is read, by which lengths, and what is refused."""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import struct
import subprocess
import tracemalloc
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.backbones.test_weights import write_old_layout
from tlkit.backbones.darknet import (
    Convolution,
    body_convolutions,
    darknet_53,
    darknet_convolution,
    darknet_small,
)
from tlkit.backbones.darknet_weights import CLASSES, is_darknet_file, read_convolutions, read_header
from tlkit.backbones.pyramids import DETECTOR_BACKBONES, build_pyramid
from tlkit.backbones.weight_files import StoredLayer, layers_of
from tlkit.backbones.weights import find_weights, load_detector_file, load_weights
from tlkit.errors import ModelFault

OLD, NEW = (0, 1, 0), (0, 2, 5)
SEEN = 2**32 + 7


def header(version=NEW, seen=7) -> bytes:
    """16 bytes of the first version, 20 of later ones."""
    return struct.pack("<3i", *version) + struct.pack("<i" if version == OLD else "<Q", seen)


def drawn(convolutions, seed=0) -> list[dict[str, np.ndarray]]:
    """Random numbers for each, as Darknet has them: bias, scale, mean, variance [out], kernel [out, in, h, w]."""
    random = np.random.default_rng(seed)
    found = []
    for one in convolutions:
        height, width, channels, filters = one.convolution.weights[0].shape
        names = ("bias",) if one.normalisation is None else ("bias", "scale", "mean", "variance")
        part = {name: random.uniform(0.1, 2, filters).astype("<f4") for name in names}
        part["kernel"] = random.normal(size=(filters, channels, height, width)).astype("<f4")
        found.append(part)
    return found


def write(path: Path, parts, version=NEW, seen=7) -> Path:
    """A file of these parts, number by number in their order."""
    path.write_bytes(
        header(version, seen) + b"".join(array.tobytes() for part in parts for array in part.values())
    )
    return path


def check(convolutions, parts) -> None:
    """The layers have exactly these numbers, looked up one axis at a time."""
    for one, part in zip(convolutions, parts, strict=True):
        kernel = np.asarray(one.convolution.kernel)
        for out in range(kernel.shape[-1]):
            for channel in range(kernel.shape[2]):
                np.testing.assert_array_equal(kernel[:, :, channel, out], part["kernel"][out, channel])
        if one.normalisation is None:
            np.testing.assert_array_equal(one.convolution.bias, part["bias"])
            continue
        layer = one.normalisation
        values = (layer.beta, layer.gamma, layer.moving_mean, layer.moving_variance)
        for value, name in zip(values, ("bias", "scale", "mean", "variance"), strict=True):
            np.testing.assert_array_equal(value, part[name])


def tiny(filters=(2, 3)) -> keras.Model:
    """A backbone of a few hundred bytes: 3x3 and 1x1."""
    x = inputs = keras.Input((8, 8, 1))
    for number, (wide, side) in enumerate(zip(filters, (3, 1, 3), strict=False), 1):
        x = darknet_convolution(x, wide, side, str(number))
    return keras.Model(inputs, x, name="backbone")


def tiny_detector():
    """A pyramid on `tiny` and a detector's own three convolutions, the last without batch normalisation."""
    body = tiny()
    pyramid = keras.Model(body.input, body(body.input))
    x = darknet_convolution(body.output, 4, 3, "a")
    x = darknet_convolution(x, 2, 1, "b")
    outputs = keras.layers.Conv2D(5, 1, name="conv_c")(x)
    known = keras.Model(body.input, outputs)
    heads = [Convolution(known.get_layer(f"conv_{n}"), known.get_layer(f"norm_{n}")) for n in "ab"]
    return pyramid, [*heads, Convolution(known.get_layer("conv_c"), None)]


def load(network, path, backbone="darknet-19") -> None:
    load_weights(network, backbone, find_weights(backbone, str(path)))


def fault_of(call, *arguments) -> ModelFault:
    with pytest.raises(ModelFault) as fault:
        call(*arguments)
    assert fault.value.exit_code == 4
    assert fault.value.problem.endswith(".")
    assert fault.value.problem.count(". ") == 0  # one sentence
    assert fault.value.remedy
    return fault.value


# --- header ---


@pytest.mark.parametrize(
    ("version", "wide"),
    [
        ((0, 1, 0), False),
        ((0, 1, 9), False),
        ((0, 2, 0), True),
        ((0, 2, 5), True),
        ((1, 0, 0), True),
        ((0, 999, 0), True),
        ((0, 1000, 0), False),
        ((1000, 2, 0), False),
        ((-1, 5, 0), False),
    ],
)
def test_images_seen_are_an_int32_or_a_uint64(version, wide):
    start = struct.pack("<3i", *version) + struct.pack("<Q", SEEN)
    found = read_header(start)
    assert found == (version, SEEN if wide else 7, 20 if wide else 16)
    assert read_header(start[: found.size]) == found
    assert all(read_header(start[:size]) is None for size in range(found.size))


# --- files that fit ---


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("name", ["x.weights", "darknet19_448.conv.23", "x"])
def test_backbone_s_file_gives_every_number(tmp_path, version, name):
    network = tiny()
    convolutions = body_convolutions(network)
    parts = drawn(convolutions)
    path = write(tmp_path / name, parts, version)
    load(network, path)
    check(convolutions, parts)
    origin = find_weights("darknet-19", str(path)).origin
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (origin.kind, origin.source, origin.sha256) == ("file", str(path), digest)


def test_pyramid_of_the_small_one_takes_its_file(tmp_path, monkeypatch):
    thin = tuple(((2, 3),) for _ in range(6))
    monkeypatch.setattr("tlkit.backbones.darknet.DARKNET_SMALL", thin)
    parts = drawn(body_convolutions(darknet_small(64)))
    pyramid, origin = build_pyramid("darknet-small", 64, str(write(tmp_path / "tiny.conv.13", parts)))
    assert (origin.kind, origin.source) == ("file", str(tmp_path / "tiny.conv.13"))
    convolutions = body_convolutions(pyramid.get_layer("backbone"))
    for one, part in zip(convolutions, parts, strict=True):
        np.testing.assert_array_equal(one.convolution.kernel, part["kernel"].transpose(2, 3, 1, 0))
    check(convolutions[:2], parts[:2])


class Slow:
    """Darknet in NumPy, on maps [c, h, w], reading a file's numbers one after the other as it goes."""

    def __init__(self, content: bytes) -> None:
        self.rest = content

    def take(self, *shape):
        size = 4 * math.prod(shape)
        taken, self.rest = self.rest[:size], self.rest[size:]
        return np.frombuffer(taken, "<f4").reshape(shape).astype(float)

    def convolve(self, x, filters, side, stride=1):
        bias, scale, mean, variance = (self.take(filters) for _ in range(4))
        kernel, pad = self.take(filters, len(x), side, side), side // 2
        around = np.pad(x, [(0, 0), (pad, pad), (pad, pad)])
        windows = np.lib.stride_tricks.sliding_window_view(around, (side, side), (1, 2))
        x = np.einsum("chwyx,fcyx->fhw", windows[:, ::stride, ::stride], kernel)
        bias, scale, mean, variance = (one[:, None, None] for one in (bias, scale, mean, variance))
        x = scale * ((x - mean) / (np.sqrt(variance) + 1e-6)) + bias
        return np.where(x > 0, x, 0.1 * x)

    def halve(self, x, stride=2):
        around = np.pad(x, [(0, 0), (0, 1), (0, 1)], constant_values=-np.inf)
        return np.lib.stride_tricks.sliding_window_view(around, (2, 2), (1, 2)).max((-1, -2))[
            :, ::stride, ::stride
        ]


def test_small_darknet_computes_from_its_file_what_darknet_does(tmp_path, monkeypatch):
    monkeypatch.setattr("tlkit.backbones.darknet.DARKNET_SMALL", tuple(((3, 3),) for _ in range(6)))
    network = darknet_small(64)
    path = write(tmp_path / "x", drawn(body_convolutions(network)), OLD)
    load(network, path, "darknet-small")
    pixels = np.random.default_rng(1).uniform(size=(64, 64, 3)).astype("float32")
    darknet, maps = Slow(path.read_bytes()[16:]), []
    x = pixels.transpose(2, 0, 1)
    for stage in range(6):
        x = darknet.convolve(darknet.halve(x) if stage else x, 3, 3)
        maps.append(x)
    maps[-1] = darknet.convolve(darknet.halve(x, 1), 1024, 3)
    assert darknet.rest == b""
    compare(network(pixels[None]), maps[3:])


def test_darknet_53_computes_from_its_file_what_darknet_does(tmp_path, monkeypatch):
    thin = ((4, 1), (4, 2), (6, 1), (4, 1), (8, 2))
    monkeypatch.setattr("tlkit.backbones.darknet.DARKNET_53", thin)
    network = darknet_53(32)
    path = write(tmp_path / "x", drawn(body_convolutions(network)))
    load(network, path, "darknet-53")
    pixels = np.random.default_rng(1).uniform(size=(32, 32, 3)).astype("float32")
    darknet, maps = Slow(path.read_bytes()[20:]), []
    x = darknet.convolve(pixels.transpose(2, 0, 1), 32, 3)
    for filters, blocks in thin:
        x = darknet.convolve(x, filters, 3, 2)
        for _ in range(blocks):
            x = x + darknet.convolve(darknet.convolve(x, filters // 2, 1), filters, 3)
        maps.append(x)
    assert darknet.rest == b""
    compare(network(pixels[None]), maps[2:])


def compare(ours, theirs) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert np.ptp(other) > 0
        np.testing.assert_allclose(one[0], other.transpose(1, 2, 0), rtol=1e-3, atol=1e-5 * abs(other).max())


def test_classifier_s_last_layer_is_left_out(tmp_path):
    network = tiny()
    convolutions = body_convolutions(network)
    parts = drawn(convolutions)
    last = {"bias": np.ones(CLASSES, "<f4"), "kernel": np.ones((CLASSES, 3, 1, 1), "<f4")}
    load(network, write(tmp_path / "x.weights", [*parts, last]))
    check(convolutions, parts)
    other = {"bias": np.ones(10, "<f4"), "kernel": np.ones((10, 3, 1, 1), "<f4")}
    fault_of(load, network, write(tmp_path / "x.weights", [*parts, other]))


@pytest.mark.parametrize(
    ("ends", "said"), [(2, ", 2 of 5 convolutions"), (4, ", 4 of 5 convolutions"), (5, "")]
)
def test_detector_s_file_gives_what_it_holds(tmp_path, ends, said):
    pyramid, heads = tiny_detector()
    convolutions = [*body_convolutions(pyramid.get_layer("backbone")), *heads]
    parts = drawn(convolutions)
    rest = [layer.get_weights() for one in convolutions[ends:] for layer in one if layer]
    path = write(tmp_path / "yolo", parts[:ends])
    assert is_darknet_file(str(path))
    origin = load_detector_file(str(path), pyramid, heads, "yolov3")
    assert (origin.kind, origin.source) == ("file", f"{path}{said}")
    check(convolutions[:ends], parts[:ends])
    for layer, before in zip([x for one in convolutions[ends:] for x in one if x], rest, strict=True):
        for now, then in zip(layer.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)


def shapes(*layers) -> list[Convolution]:
    """(filters, side, channels) or (..., "bias") -> convolutions that have nothing but their shapes."""

    def layer(name, *each):
        return SimpleNamespace(name=name, weights=[SimpleNamespace(shape=shape) for shape in each])

    found = []
    for number, (filters, side, channels, *bias) in enumerate(layers):
        kernel, vector = (side, side, channels, filters), (filters,)
        if bias:
            found.append(Convolution(layer(f"conv_{number}", kernel, vector), None))
        else:
            found.append(Convolution(layer(f"conv_{number}", kernel), layer(f"norm_{number}", *[vector] * 4)))
    return found


def yolov2_heads(outputs):
    passthrough = 4 * 64
    return shapes(
        (1024, 3, 1024),
        (1024, 3, 1024),
        (64, 1, 512),
        (1024, 3, 1024 + passthrough),
        (outputs, 1, 1024, "bias"),
    )


def yolov3_heads(outputs):
    found = []
    for wide, entering in ((512, 1024), (256, 512 + 256), (128, 256 + 128)):
        if wide < 512:
            found.append((wide, 1, 2 * wide))  # before it is enlarged
        for channels in (entering, 2 * wide, 2 * wide):
            found += [(wide, 1, channels), (2 * wide, 3, wide)]
        found.append((outputs, 1, 2 * wide, "bias"))
    return shapes(*found)


TINY_HEADS = shapes(
    (256, 1, 1024), (512, 3, 256), (255, 1, 512, "bias"), (128, 1, 256), (256, 3, 384), (255, 1, 256, "bias")
)


@pytest.mark.parametrize(
    ("backbone", "heads", "version", "size"),
    [
        ("darknet-19", yolov2_heads(425), OLD, 203_934_260),  # yolov2.weights, COCO
        ("darknet-19", yolov2_heads(125), OLD, 16 + 4 * 50_676_061),  # VOC
        ("darknet-53", yolov3_heads(255), NEW, 248_007_048),  # yolov3.weights
        ("darknet-53", [], NEW, 162_482_580),  # darknet53.conv.74
        ("darknet-53", shapes((1000, 1, 1024, "bias")), NEW, 20 + 4 * 41_645_640),  # darknet53.weights
        ("darknet-19", shapes((1000, 1, 1024, "bias")), OLD, 16 + 4 * 20_856_776),
        ("darknet-small", TINY_HEADS, NEW, 35_434_956),  # yolov3-tiny.weights
    ],
)
def test_published_sizes(backbone, heads, version, size, tmp_path, monkeypatch):
    """A file of the published size, without a number in it, is mapped to its end; one byte more or less is refused."""
    path, body = tmp_path / "x.weights", stub(backbone)
    path.write_bytes(header(version))
    monkeypatch.setattr(
        "tlkit.backbones.darknet_weights._stored", lambda _path, one, part, _name: [(one, part)]
    )
    os.truncate(path, size)
    found = read_convolutions(path, body, backbone, heads)
    assert [one for one, _ in found] == [*body, *heads]
    assert sum(part.size for _, part in found) == (size - (16 if version == OLD else 20)) // 4
    assert all(part.size == numbers(one) for one, part in found)
    for wrong in (-4, -1, 1, 4):
        os.truncate(path, size + wrong)
        fault_of(read_convolutions, path, body, backbone, heads)


def numbers(one) -> int:
    return sum(math.prod(weight.shape) for layer in one if layer for weight in layer.weights)


def stub(backbone) -> list[Convolution]:
    """The backbone's convolutions as shapes, written down from the papers' tables a second time."""
    if backbone == "darknet-small":
        widths = (3, 16, 32, 64, 128, 256, 512, 1024)
        return shapes(*((out, 3, into) for into, out in pairwise(widths)))
    if backbone == "darknet-19":
        found, channels = [], 3
        for wide, many in ((32, 1), (64, 1), (128, 3), (256, 3), (512, 5), (1024, 5)):
            for place in range(many):
                found.append((wide // 2, 1, channels) if place % 2 else (wide, 3, channels))
                channels = found[-1][0]
        return shapes(*found)
    found = [(32, 3, 3)]
    for wide, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        found += [(wide, 3, wide // 2), *[(wide // 2, 1, wide), (wide, 3, wide // 2)] * blocks]
    return shapes(*found)


# --- files that do not fit ---


def test_every_prefix_and_every_longer_file_is_one_fault(tmp_path):
    network = tiny()
    convolutions = body_convolutions(network)
    whole = write(tmp_path / "x.weights", drawn(convolutions)).read_bytes()
    before = layers_of(network)
    path, first = tmp_path / "x.weights", 20 + 4 * numbers(convolutions[0])
    for size in reversed(range(len(whole))):
        os.truncate(path, size)
        problem = fault_of(load, network, path).problem
        if size < 20:
            expected = f"{path} cannot be read as weights: it ends inside its header, after {size} bytes."
        elif size == 20:
            expected = f"{path} does not fit darknet-19: it ends after its header, and the backbone goes on to layer conv_2."
        elif size < first:
            expected = f"{path} does not fit darknet-19: it ends inside layer conv_1, after {size - 20} of {first - 20} bytes."
        elif size == first:
            expected = f"{path} does not fit darknet-19: it ends after layer conv_1, and the backbone goes on to layer conv_2."
        else:
            inside = f"after {size - first} of {len(whole) - first} bytes"
            expected = f"{path} does not fit darknet-19: it ends inside layer conv_2, {inside}."
        assert problem == expected
    for more in (1, 4, 6, 400):
        path.write_bytes(whole + bytes(more))
        expected = (
            f"{path} does not fit darknet-19: it goes on for {more} bytes after layer conv_2, the last."
        )
        assert fault_of(load, network, path).problem == expected
    for now, then in zip(layers_of(network), before, strict=True):
        for one, other in zip(now.arrays, then.arrays, strict=True):
            np.testing.assert_array_equal(one, other)


def test_every_prefix_of_a_detector_s_file_loads_or_is_one_fault(tmp_path):
    body, heads = shapes((2, 3, 1), (3, 1, 2)), shapes((2, 3, 3), (2, 1, 2), (5, 1, 2, "bias"))
    whole = write(tmp_path / "x.weights", drawn([*body, *heads])).read_bytes()
    ends = np.cumsum([20, *(4 * numbers(one) for one in (*body, *heads))]).tolist()
    path, faults = tmp_path / "x.weights", {}
    path.write_bytes(whole + bytes(4))
    for size in reversed(range(len(whole) + 5)):
        os.truncate(path, size)
        try:
            read_convolutions(path, body, "yolov3", heads)
        except ModelFault as fault:
            faults[size] = str(fault)
    assert sorted(set(range(len(whole) + 5)) - faults.keys()) == ends[2:]
    assert all("yolov3" in faults[size] and str(path) in faults[size] for size in faults if size >= 20)
    assert all(("head -c" in faults[size]) == (size > ends[2]) for size in faults)


@pytest.mark.parametrize("name", ["x.weights", "x.conv.74"])
def test_flipped_bytes_of_the_header_load_or_are_one_fault(tmp_path, name):
    network, faults = tiny(), {}
    whole = write(tmp_path / name, drawn(body_convolutions(network)), seen=SEEN).read_bytes()
    for place in range(20):
        for bits in (1, 128, 255):
            flipped = bytearray(whole)
            flipped[place] ^= bits
            (tmp_path / name).write_bytes(flipped)
            try:
                load(network, tmp_path / name)
            except ModelFault as fault:
                faults[place, bits] = fault.problem
    assert {place for place, _ in faults} <= set(range(12))  # how many images were seen is nobody's concern
    assert (0, 1) not in faults  # version 1.2
    assert all(str(tmp_path / name) in problem for problem in faults.values())
    assert len(faults) > 10


@pytest.mark.parametrize("flaw", ["nan", "inf", "variance"])
def test_numbers_that_no_network_learned_name_the_layer(tmp_path, flaw):
    network = tiny()
    parts = drawn(body_convolutions(network))
    if flaw == "variance":
        parts[1]["variance"][0] = -1e-3
    else:
        parts[1]["kernel"][2, 1] = float(flaw)
    fault = fault_of(load, network, write(tmp_path / "x.weights", parts))
    what = "a variance below zero" if flaw == "variance" else "numbers that are not finite"
    assert fault.problem == f"{tmp_path}/x.weights does not fit darknet-19: layer conv_2 would have {what}."


def test_remedy_for_a_whole_detector_s_file_works(tmp_path):
    """What the fault says to type makes a file that loads."""
    pyramid, heads = tiny_detector()
    body = body_convolutions(pyramid.get_layer("backbone"))
    parts = drawn([*body, *heads])
    folder = tmp_path / "it's here"
    folder.mkdir()
    path = write(folder / "yolo v3.weights", parts)
    fault = fault_of(load, pyramid.get_layer("backbone"), path)
    command = fault.remedy.partition(": ")[2].partition("; ")[0]
    assert shlex.split(command)[0] == "head"
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    load(pyramid.get_layer("backbone"), tmp_path / "backbone.weights")
    check(body, parts[:2])


def test_remedy_for_another_backbone_s_file_names_that(tmp_path):
    path = tmp_path / "darknet53.conv.74"
    path.write_bytes(header())
    os.truncate(path, 162_482_580)
    for backbone in ("darknet-19", "darknet-small"):
        fault = fault_of(read_convolutions, path, stub(backbone), backbone)
        assert (
            fault.remedy
            == "It is as long as the file of darknet-53: take --backbone darknet-53, or --weights none."
        )


def test_no_beginning_is_offered_that_is_of_another_network(tmp_path):
    body = shapes((2, 3, 1), (3, 1, 2))
    parts = drawn([*body, *body])
    parts[1]["variance"][1] = -1
    fault = fault_of(read_convolutions, write(tmp_path / "x.weights", parts), body, "darknet-19")
    assert "head -c" not in fault.remedy
    assert "take the backbone that it is for" in fault.remedy


def test_networks_that_are_none_of_darknet_s(tmp_path):
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    path = write(tmp_path / "x.conv.74", drawn(body_convolutions(tiny())))
    fault = fault_of(load, network, path, "resnet50")
    assert fault.problem == f"{path} is a file of Darknet's weights, and resnet50 is no network of Darknet."
    _, heads = tiny_detector()
    pyramid = keras.Model(inputs, keras.Model(inputs, network(inputs), name="backbone")(inputs))
    fault = fault_of(load_detector_file, str(path), pyramid, heads, "yolov3")
    assert "the backbone of yolov3 is no network of Darknet" in fault.problem


# --- which files are Darknet's ---


def test_kinds_are_known_by_content(tmp_path, monkeypatch):
    network = tiny()
    darknet = write(tmp_path / "darknet53.conv.74", drawn(body_convolutions(network)))
    assert is_darknet_file(darknet)
    assert is_darknet_file(str(darknet))
    broken = tmp_path / "x.weights"
    broken.write_bytes(b"hello")
    assert is_darknet_file(broken)
    for name, content in {
        "x.h5": darknet.read_bytes(),
        "x.onnx": darknet.read_bytes(),
        "x": b"hello, this is no file of weights",
        "y": b"",
        "z.weights": b"PK\x03\x04 half a zip of some length",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert not is_darknet_file(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    Path("imagenet").write_bytes(darknet.read_bytes())
    assert not any(map(is_darknet_file, ("imagenet", "none", "absent.weights", str(tmp_path))))


def test_file_of_keras_under_darknet_s_suffix_is_read(tmp_path):
    network, other = tiny(), tiny()
    write_old_layout(tmp_path / "x.weights", layers_of(network))
    load(other, tmp_path / "x.weights")
    for now, then in zip(layers_of(other), layers_of(network), strict=True):
        for one, two in zip(now.arrays, then.arrays, strict=True):
            np.testing.assert_array_equal(one, two)


def test_nothing_is_allocated_but_what_the_network_takes(tmp_path):
    """8 MB of numbers, of which NumPy copies none."""
    convolutions = shapes((512, 3, 448))
    path = write(tmp_path / "x.weights", drawn(convolutions))
    tracemalloc.start()
    found = read_convolutions(path, convolutions, "darknet-19")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 8e6
    assert peak < 1e5
    assert isinstance(found[0], StoredLayer)
    assert all(isinstance(_root(array), np.memmap) for layer in found for array in layer.arrays)


def _root(array):
    while not isinstance(array, np.memmap):
        array = array.base
    return array


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["darknet-19", "darknet-53"])
def test_whole_backbones_take_files_of_their_published_size(tmp_path, backbone):
    network = DETECTOR_BACKBONES[backbone].build(32)
    convolutions = body_convolutions(network)
    parts = drawn(convolutions)
    path = write(tmp_path / "x.conv.74", parts)
    assert path.stat().st_size == 20 + 4 * network.count_params()
    pyramid, _ = build_pyramid(backbone, 64, str(path))
    for one, part in zip(body_convolutions(pyramid.get_layer("backbone")), parts, strict=True):
        np.testing.assert_array_equal(one.convolution.kernel, part["kernel"].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(one.normalisation.moving_variance, part["variance"])
