"""Pyramids: maps of strides 8, 16 and 32 found in networks that nobody listed layers for."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit.backbones.pyramids import (
    DETECTOR_BACKBONES,
    build_pyramid,
    level_layers,
    pyramid_names,
    unfreeze_pyramid,
)
from tlkit.backbones.table import BACKBONES, build_backbone
from tlkit.errors import UsageFault

SIZE = 64
WITHOUT = {  # their maps are no whole fraction of the side, or they take one size only
    "inception-v3",
    "inception-resnet-v2",
    "alexnet",
    "zfnet512",
    "rcnn-ilsvrc13",
    "googlenet",
    "squeezenet",
}
QUICK = ("efficientnet-lite0", "mobilenet-0.25", "mobilenet-v2-0.35")


def check(pyramid, size=SIZE):
    assert pyramid.pyramid_level_inputs == {"P3": "P3", "P4": "P4", "P5": "P5"}
    for level, stride in (("P3", 8), ("P4", 16), ("P5", 32)):
        assert pyramid.get_layer(level).output.shape[1:3] == (size // stride, size // stride)


@pytest.mark.parametrize("name", QUICK)
def test_maps_have_their_strides(name):
    pyramid, origin = build_pyramid(name, SIZE, "none")
    check(pyramid)
    assert origin.kind == "none"
    images = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
    maps = pyramid(images)
    assert [m.shape[1] for m in maps] == [8, 4, 2]
    assert all(float(keras.ops.std(m)) > 0 for m in maps)


def test_lite0s_layers_are_the_last_of_each_stride():
    network, _ = build_backbone("efficientnet-lite0", SIZE, "none")
    # blocks 4a and 6a filter with stride 2 after these; 5a keeps the stride
    names = "block4a_expand_activation", "block6a_expand_activation", "top_activation"
    assert level_layers(network, SIZE, "efficientnet-lite0") == names
    finer = level_layers(network, SIZE, "efficientnet-lite0", (4, 8, 16, 32))
    assert finer == ("block3a_expand_activation", *names)


def test_a_map_of_stride_4_comes_before_the_others_where_it_is_asked_for():
    pyramid, _ = build_pyramid("darknet-small", SIZE, "none", finer=True)
    assert list(pyramid.pyramid_level_inputs) == ["P2", "P3", "P4", "P5"]
    images = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3)).astype(np.uint8)
    assert [m.shape[1] for m in pyramid(images)] == [16, 8, 4, 2]
    usual, _ = build_pyramid("darknet-small", SIZE, "none")
    assert len(usual.weights) == len(pyramid.weights)


def test_the_maps_are_those_of_the_backbone_on_preprocessed_pixels():
    from tlkit.backbones.preprocessing import scaled

    pyramid, _ = build_pyramid("mobilenet-0.25", SIZE, "none")
    body = pyramid.get_layer("backbone")
    images = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 3)).astype(np.uint8)
    expected = body(scaled(images, "minus-one-to-one"))
    for one, other in zip(pyramid(images), expected, strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), abs=1e-5)


def test_lite0_has_its_imagenet_weights():
    pyramid, origin = build_pyramid("efficientnet-lite0", SIZE, "imagenet")
    assert origin.kind == "imagenet"
    network, _ = build_backbone("efficientnet-lite0", SIZE, "imagenet")
    for name in ("stem_conv", "block4a_expand_conv", "top_conv"):
        kernel = np.asarray(pyramid.get_layer("backbone").get_layer(name).kernel)
        assert (kernel == np.asarray(network.get_layer(name).kernel)).all()
        assert kernel.std() > 0


def test_wide_maps_are_projected():
    pyramid, _ = build_pyramid("efficientnet-lite0", SIZE, "none", limits=(300, 128, 64))
    assert [pyramid.get_layer(level).output.shape[-1] for level in ("P3", "P4", "P5")] == [240, 128, 64]
    check(pyramid)


def test_darknet_has_the_published_stages():
    pyramid, _ = build_pyramid("yolov8-xs", SIZE, "none")
    check(pyramid)
    body = pyramid.get_layer("backbone")
    assert [m.shape[-1] for m in body.outputs] == [64, 128, 256]
    # keras_cv's metadata of the preset say 1,277,680
    assert body.count_params() == 1_277_680


def test_freezing_goes_by_stages():
    pyramid, _ = build_pyramid("mobilenet-0.25", SIZE, "none")
    body, counts = pyramid.get_layer("backbone"), {}
    for stage in ("head", "top", "all"):
        unfreeze_pyramid(pyramid, stage, "mobilenet-0.25")
        counts[stage] = len(body.trainable_variables)
    assert counts["head"] == 0 < counts["top"] < counts["all"]
    unfreeze_pyramid(pyramid, "all", "mobilenet-0.25", batch_norm=True)
    assert len(body.trainable_variables) > counts["all"]


def test_a_network_without_a_pyramid_is_refused():
    x = inputs = keras.Input((64, 64, 3))
    for stride in (8, 2):
        x = keras.layers.Conv2D(4, 3, stride, "same")(x)
    with pytest.raises(UsageFault, match="small has no map of stride 32"):
        level_layers(keras.Model(inputs, x), 64, "small")


def test_a_name_that_is_none_is_refused():
    with pytest.raises(UsageFault, match="no backbone 'resnet18'"):
        build_pyramid("resnet18", SIZE, "none")
    assert set(DETECTOR_BACKBONES) < set(pyramid_names())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in BACKBONES if "large" not in n and not n.endswith(("b5", "b6", "b7", "-m", "-l"))]
)
def test_every_backbone_has_a_pyramid_or_says_that_it_has_none(name):
    if BACKBONES[name].fixed:
        with pytest.raises(UsageFault, match="does not suit"):
            build_pyramid(name, 256, "none")
    elif name in WITHOUT:
        with pytest.raises(UsageFault, match="no map of stride"):
            build_pyramid(name, 128, "none")
    else:
        pyramid, _ = build_pyramid(name, 128, "none")
        check(pyramid, 128)
