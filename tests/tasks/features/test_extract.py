"""An image's features are its own: the same bits in whatever company it is computed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tlkit.tasks.classification.classifier import build_classifier
from tlkit.tasks.features.extract import BATCH, Extractor, NetworkFeatures

NETWORKS = ["mobilenet-v2-0.35", *(pytest.param(n, marks=pytest.mark.slow) for n in ("densenet121", "vgg16"))]


@pytest.fixture(scope="module", params=NETWORKS)
def features(request):
    keras.utils.set_random_seed(0)
    model, _ = build_classifier(request.param, ("a", "b"), 64, weights="none")
    return NetworkFeatures(keras.Model(model.input, model.get_layer("features").output))


def test_neither_place_nor_number_changes_a_bit(features):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (BATCH, 64, 64, 3)).astype(np.uint8)
    rows = features(pixels)
    assert len(np.unique(rows, axis=0)) == BATCH
    for low, high in [(0, 1), (BATCH - 1, BATCH), (3, 5), (0, BATCH - 1), (9, 26)]:
        assert (features(pixels[low:high]) == rows[low:high]).all(), (low, high)
    for _ in range(4):
        order = random.permutation(BATCH)
        assert (features(pixels[order]) == rows[order]).all()


def test_what_the_cache_knew_before_changes_no_bit(features, make_folder, tmp_path):
    files = sorted(make_folder(bar=20, disc=20).glob("*/*"))
    keys = [str(file) for file in files]
    fresh = Extractor(features, tmp_path / "fresh")(files, keys)
    begun = Extractor(features, tmp_path / "begun")
    begun(files[7:18], keys[7:18])
    assert (begun(files, keys) == fresh).all()


def test_more_rows_than_a_step_has_are_computed_too(features):
    pixels = np.random.default_rng(1).integers(0, 256, (BATCH + 3, 64, 64, 3)).astype(np.uint8)
    assert features(pixels).shape == (BATCH + 3, features.width)
    assert features(pixels[:0]).shape == (0, features.width)
