"""Fine-tuning of R-CNN: 32 regions on objects and 96 of background a step, which an interrupted phase draws again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.tasks.detection.detecting import NAMES, SIZE, drawn_boxes
from tests.tasks.detection.rcnn.test_rcnn import SIDE, with_jitter
from tlkit.backbones.table import WeightsOrigin
from tlkit.engine.training.fit import Watchers
from tlkit.errors import DataFault
from tlkit.tasks.detection.rcnn import rcnn, rcnn_fine_tune
from tlkit.tasks.detection.rcnn.rcnn import build_rcnn
from tlkit.tasks.detection.rcnn.rcnn_fine_tune import Pool, fine_tune
from tlkit.tasks.detection.rcnn.rcnn_learning import regions_of


def learning_features(backbone, side, weights="none"):
    """One convolution that learns."""
    inner = keras.Input((side, side, 3))
    maps = keras.layers.Conv2D(8, 3, 2, activation="relu", name="conv")(inner)
    images = keras.Input((side, side, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="preprocess")(images)
    x = keras.Model(inner, maps, name="backbone")(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    return images, pooled, WeightsOrigin("none", "random", None)


def regions(folder, number=8):
    boxes = with_jitter(drawn_boxes(folder, number))
    return boxes, [regions_of(boxes, index, SIZE, 40) for index in range(number)]


def test_a_step_has_32_regions_on_objects_and_96_of_background(tmp_path):
    _, some = regions(tmp_path / "images")
    pool = Pool(some)
    chosen = pool.draw(np.random.default_rng(0))
    labels = pool.labels[chosen]
    assert ((labels < 3).sum(), (labels == 3).sum()) == (32, 96)
    for place in chosen[:5]:
        one = some[pool.owners[place]]
        row = next(i for i, box in enumerate(one.boxes) if np.array_equal(box, pool.boxes[place]))
        assert one.overlaps[row].max() >= 0.5
        assert one.overlaps[row].argmax() == pool.labels[place]
    few = Pool(some[:1])
    assert len(few.draw(np.random.default_rng(0))) == 128
    with pytest.raises(DataFault, match="on objects"):
        Pool(some[3:4])  # each fourth image is empty


@pytest.mark.slow
@pytest.mark.onednn
def test_the_network_learns_and_an_interrupted_phase_comes_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(rcnn, "build_features", learning_features)
    monkeypatch.setattr(rcnn_fine_tune, "EPOCH", 3)
    boxes, some = regions(tmp_path / "images")
    files = [boxes.file(index) for index in range(len(boxes))]

    def run(folder, interrupted=False):
        keras.utils.set_random_seed(0)
        detector, _ = build_rcnn(NAMES, SIZE, "efficientnet-lite0", "none", SIDE)
        before = [np.array(w) for w in detector.backbone.weights]
        rows = []

        def epoch(row, _):
            rows.append(row)
            if interrupted and len(rows) == 2:
                raise KeyboardInterrupt

        fine_tune(detector, files, some, 12, folder, seed=3, watchers=Watchers(epoch=epoch))
        after = [np.array(w) for w in detector.backbone.weights]
        assert any((one != other).any() for one, other in zip(before, after, strict=True))
        return after, rows

    whole, rows = run(tmp_path / "whole")
    assert len(rows) == 4
    assert rows[-1]["training_loss"] < rows[0]["training_loss"]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", interrupted=True)
    resumed, rest = run(tmp_path / "parts")
    assert len(rest) < 4
    assert all(one.tobytes() == other.tobytes() for one, other in zip(whole, resumed, strict=True))
