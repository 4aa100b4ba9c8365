"""One name for whatever makes features, read without TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tlkit.errors import UsageFault
from tlkit.tasks.features.extractors import build_extractor, list_layers
from tlkit.tasks.features.names import ExtractorName, read_name

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mobilenet", ("mobilenet", "mobilenet", "backbone", "imagenet")),
        ("mobilenet@none", ("mobilenet@none", "mobilenet", "backbone", "none")),
        ("mobilenet@a/b.h5", ("mobilenet@a/b.h5", "mobilenet", "backbone", "a/b.h5")),
        ("lbp", ("lbp", "lbp", "handmade", "")),
        ("nets/x.onnx", ("nets/x.onnx", "nets/x.onnx", "onnx", "caffe")),
        ("x.onnx@torch", ("x.onnx@torch", "x.onnx", "onnx", "torch")),
    ],
)
def test_a_name_is_taken_apart(text, expected):
    assert read_name(text) == ExtractorName(*expected)


def test_reading_names_takes_no_tensorflow():
    code = (
        "import sys; from tlkit.tasks.features.names import read_name; read_name('lbp');"
        "print({'tensorflow', 'keras', 'skimage'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_name_offers_the_nearest_of_both_kinds():
    with pytest.raises(UsageFault, match="Did you mean haralick"):
        read_name("haralik")
    with pytest.raises(UsageFault, match="Did you mean .*squeezenet"):
        read_name("SqueezNet")


def test_pooled_is_the_mean_of_the_last_map_and_logits_come_from_the_head():
    pooled, source = build_extractor("efficientnet-lite0", image_size=64)
    maps, _ = build_extractor("efficientnet-lite0", image_size=64, layer="top_activation")
    logits, _ = build_extractor("efficientnet-lite0", image_size=64, layer="logits")
    assert "PyPI package" in source
    assert (pooled.width, maps.width, logits.width) == (1280, 1280, 1000)
    assert pooled(PIXELS) == pytest.approx(maps(PIXELS), abs=1e-5)
    assert logits(PIXELS).min() < 0 < logits(PIXELS).max()  # no softmax
    assert len({pooled.digest, maps.digest, logits.digest}) == 3


def test_random_weights_are_other_features_of_the_same_width():
    drawn, _ = build_extractor("efficientnet-lite0@none", image_size=64)
    known, _ = build_extractor("efficientnet-lite0", image_size=64)
    assert drawn.width == known.width
    assert drawn.digest != known.digest


def test_layers_are_listed_with_kind_and_shape():
    rows = list_layers("efficientnet-lite0", 64)
    assert ("stem_conv", "Conv2D", "32x32x32") in rows
    assert rows[-1] == ("pooled", "GlobalAveragePooling2D", "1280")
    assert list_layers("lbp") == [("pooled", "hand-made", "54")]


def test_a_hand_made_family_has_no_layers():
    with pytest.raises(UsageFault, match="--layer conv1 does not apply to lbp"):
        build_extractor("lbp", layer="conv1")


def test_an_onnx_file_names_a_preprocessing_that_there_is():
    with pytest.raises(UsageFault, match="there is no preprocessing 'torhc'"):
        build_extractor("x.onnx@torhc")
