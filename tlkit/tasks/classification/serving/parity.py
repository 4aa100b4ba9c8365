"""Parity of an exported classifier by its parts, for one that says the same of all images drawn to check it.

A head of nearest neighbours, or one that is always certain, gives one answer to whatever is far from what it learned.
That two files agree on it proves little. So its features and its head are written apart, each by the same converter, and
compared where they differ from input to input.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.backbones.feature_model import feature_model
from tlkit.backbones.fitted_layers import Standardize
from tlkit.engine.serving.convert import Images, compare, one_answer
from tlkit.errors import ExportFault
from tlkit.tasks.classification.classifier import head_model
from tlkit.tasks.classification.serving.layers import in_single_precision

TELLING = 0.01  # least range of a head's probabilities that two files are compared by
ROWS = 32  # feature vectors that a head is asked
REACHES = 4.0 ** np.arange(9)  # how far from the images' features they are sought, in standard deviations


def check_parts(
    model: keras.Model,
    images: np.ndarray,
    kind: str,
    write: Callable[[keras.Model, Path], None],
    answer: Callable[[Path, Images], np.ndarray],
    tolerance: float,
) -> dict[str, Any]:
    """Write a classifier's features and its head apart and compare each with the Keras model.

    Args:
        model: A classifier.
        images: uint8 [n, s, s, 3].
        kind: "ONNX" or "LiteRT".
        write: Writes a model into a file.
        answer: What that file says of inputs.
        tolerance: Largest difference allowed, of probabilities and of features as a share of the largest.

    Returns:
        spread: Of the head's probabilities. apart: The largest differences of `features` and `head`.

    Raises:
        ExportFault: One differs, or neither features nor answers vary: the model says the same of everything.
    """
    body, head = feature_model(model), head_model(model)
    features = keras.ops.convert_to_numpy(body(images, training=False))
    asked = _telling(head, features)
    if asked is None or not np.ptp(features, axis=0).max() > 0:
        raise ExportFault(*one_answer(kind))
    written = in_single_precision(head) if kind == "LiteRT" else head
    written(asked[:1])  # an export wants one call before
    largest = np.abs(features).max()
    with tempfile.TemporaryDirectory() as place:
        suffix = ".onnx" if kind == "ONNX" else ".tflite"
        files = Path(place) / f"features{suffix}", Path(place) / f"head{suffix}"
        write(body, files[0])
        write(written, files[1])
        first = compare(kind, features / largest, answer(files[0], images) / largest, tolerance)
        expected = keras.ops.convert_to_numpy(head(asked, training=False))
        second = compare(kind, expected, answer(files[1], asked), tolerance)
    apart = {"features": first["largest_difference"], "head": second["largest_difference"]}
    return {"spread": second["spread"], "apart": apart}


def _telling(head: keras.Model, features: np.ndarray) -> np.ndarray | None:
    """Feature vectors, float32 [n, d], that the head does not all answer alike; None if none was found.

    Of a head that holds rows, some of these; of another, draws around the features, at growing distance.
    """
    scaler = next((layer for layer in head.layers if isinstance(layer, Standardize)), None)
    if scaler is not None:
        holder = head.layers[head.layers.index(scaler) + 1]
        rows = holder.get_weights()[0] * keras.ops.convert_to_numpy(scaler.scale) + scaler.get_weights()[0]
        return rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)].astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(ROWS, features.shape[1]))
    for reach in REACHES:
        asked = (features.mean(axis=0) + reach * features.std(axis=0) * noise).astype(np.float32)
        if np.ptp(keras.ops.convert_to_numpy(head(asked, training=False)), axis=0).max() > TELLING:
            return asked
    return None
