"""Parameters of the papers' forms on Darknet's backbones, counted without drawing their numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tlkit.backbones.darknet", reason="Darknet's backbones are not there")

from tlkit.backbones.darknet import darknet_19, darknet_53
from tlkit.backbones.table import WeightsOrigin
from tlkit.tasks.detection.build import build_detector
from tlkit.tasks.detection.yolo import yolov2, yolov3

VOC = [str(number) for number in range(20)]
COCO = [str(number) for number in range(80)]


@pytest.fixture(autouse=True)
def _no_draws(monkeypatch):
    """Kernels of zeros: shapes are what counts, and drawing sixty million numbers takes seconds."""
    for name in ("HeNormal", "GlorotUniform", "RandomNormal"):
        monkeypatch.setattr(
            getattr(keras.initializers, name),
            "__call__",
            lambda _self, shape, dtype=None: tf.zeros(shape, dtype),
        )


def on_darknet(body):
    """What `build_pyramid` gives, on a body of Darknet's."""

    def build(_backbone, size, _weights="none", *, limits=None):
        assert not any(limits or ())
        network = body(size)
        network.name = "backbone"
        images = keras.Input((size, size, 3))
        return keras.Model(images, network(images), name="pyramid"), WeightsOrigin("none", "random", None)

    return build


def numbers(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_yolov3_has_the_papers_numbers_and_grids(monkeypatch):
    monkeypatch.setattr(yolov3, "build_pyramid", on_darknet(darknet_53))
    detector = build_detector("yolov3", COCO, 416, "darknet-53", "none")[0]
    assert detector.count_params() == 62_001_757
    assert numbers(detector.trainable_variables) == 61_949_149
    sides = {name: tuple(x.shape[1:]) for name, x in detector.output.items()}
    assert sides == {"stride_8": (52, 52, 255), "stride_16": (26, 26, 255), "stride_32": (13, 13, 255)}
    of_file = [
        weight for one in detector.convolutions() for layer in one if layer for weight in layer.weights
    ]
    assert numbers(of_file) == 62_001_757 - 40_620_640  # each once, in the order of the cfg
    widths = [one.convolution.filters for one in detector.convolutions()]
    assert widths == [
        *[512, 1024, 512, 1024, 512, 1024, 255],
        *[256, 256, 512, 256, 512, 256, 512, 255],
        *[128, 128, 256, 128, 256, 128, 256, 255],
    ]


@pytest.mark.parametrize(
    ("classes", "passed", "expected"),
    [(VOC, 64, 50_676_061), (VOC, 0, 67_158_109), (COCO, 64, 50_983_561)],
)
def test_yolov2_has_the_numbers_of_the_cfg_and_of_the_paper(classes, passed, expected, monkeypatch):
    monkeypatch.setattr(yolov2, "build_pyramid", on_darknet(darknet_19))
    detector = build_detector("yolov2", classes, 416, "darknet-19", "none", passed=passed)[0]
    assert detector.count_params() == expected
    assert detector.output["stride_32"].shape == (None, 13, 13, 5 * (5 + len(classes)))
    of_file = [
        weight for one in detector.convolutions() for layer in one if layer for weight in layer.weights
    ]
    assert numbers(of_file) == expected - 19_831_776
    widths = [one.convolution.filters for one in detector.convolutions()]
    assert widths == [1024, 1024, *([64] if passed else []), 1024, 5 * (5 + len(classes))]
