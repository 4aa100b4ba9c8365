"""A model as a service: the SavedModel that takes bytes of files and answers with class names.

Decoding, resizing, preprocessing, network and names are one graph, so that whoever calls it cannot do any
of them differently from training. It needs TensorFlow to run and nothing of ours, and its weights are stored
once (`keras.export.ExportArchive` stores them twice).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.images.decoding.decode import decode_and_resize, read_contents, resize
from tlkit.engine.serving.saved_model import BYTES, Loaded, Service, in_all_forms
from tlkit.engine.serving.signatures import unless_empty
from tlkit.tasks.classification.classifier import class_names

TOLERANCE = 1e-5  # between the Keras model and the SavedModel, in probability


class ClassifierService(Service):
    """The signatures of a classifier over one set of weights.

    Args:
        model: uint8 [b, s, s, 3] -> probabilities float32 [b, k]; a layer named "features" gives [b, d].
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model, class_names(model))
        self._size = int(model.input_shape[1])
        pixels = tf.TensorSpec([None, self._size, self._size, 3], tf.uint8)
        both = keras.Model(model.input, [model.get_layer("features").output, model.output])
        # Traced once, called by all signatures. A function: a Keras model held here would be stored too.
        self._network = tf.function(lambda images: both(images, training=False), [pixels], autograph=False)
        self._outputs = self._network.get_concrete_function().structured_outputs
        self._pixels = tf.function(self._decode, [BYTES], autograph=False)

    def signatures(self) -> dict[str, Any]:
        """The features too."""
        features = tf.function(self.features_of_bytes, [BYTES], autograph=False)
        return {**super().signatures(), "features": features}

    def from_instances(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [n], each the contents of a file -> probability [n, k], label [n]."""
        return self._answer(self._asked(image_bytes, self._pixels)[1])

    def features_of_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [n] -> features float32 [n, d], what the network saw before it decided."""
        return {"features": tf.cast(self._asked(image_bytes, self._pixels)[0], tf.float32)}

    def from_pixels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """uint8 [n, h, w, 3], RGB, any size -> probability [n, k], label [n], classes [k]."""
        asked = self._asked(images, lambda some: resize(some, self._size))
        return self._with_classes(self._answer(asked[1]))

    def _asked(self, given: tf.Tensor, pixels: Callable[[tf.Tensor], tf.Tensor]) -> list[tf.Tensor]:
        """Features and probability of what `pixels` makes of the n given; where n is 0 the network is passed over."""
        return unless_empty(given, lambda: self._network(pixels(given)), self._outputs)

    def _decode(self, image_bytes: tf.Tensor) -> tf.Tensor:
        spec = tf.TensorSpec([self._size, self._size, 3], tf.uint8)
        return tf.map_fn(
            lambda one: decode_and_resize(one, self._size), image_bytes, fn_output_signature=spec
        )

    def _answer(self, probability: tf.Tensor) -> dict[str, tf.Tensor]:
        label = tf.gather(tf.constant(self._names), tf.argmax(probability, axis=-1))
        return {"probability": tf.cast(probability, tf.float32), "label": label}


def export_saved_model(model: keras.Model, folder: Path) -> None:
    """Write a classifier as a SavedModel: saved_model.pb and variables/ directly in `folder`.

    Signatures: `serving_default` (bytes of files; what a call without a name gets), `instances` (the same for
    row-wise REST), `features` (bytes -> embedding), `pixels` (uint8 of any size), `classes` (nothing -> names). Bytes
    that are no image fail the whole call with InvalidArgumentError; no files at all give arrays of no rows.

    Args:
        model: See `ClassifierService`.
        folder: Made where it is missing; other files in it stay.
    """
    ClassifierService(model).save(folder)


@dataclass(frozen=True)
class Prediction:
    """What a model says of one file.

    Attributes:
        path: The file, as given, with forward slashes.
        label: The most probable class.
        confidence: Its probability, 0..1.
        probabilities: float32 [k], in the order of the model's classes.
    """

    path: str
    label: str
    confidence: float
    probabilities: np.ndarray


class Served(Loaded[Prediction]):
    """A SavedModel of `export_saved_model`, loaded: names for files; its classes are the order of probabilities."""

    what = "SavedModel of a classifier"
    output = "probability"

    def _told(self, paths: Sequence[str], answer: dict[str, np.ndarray]) -> list[Prediction]:
        rows = answer["probability"]
        if rows.shape != (len(paths), len(self.classes)) or rows.dtype.kind != "f":
            raise ValueError(f"probability is {rows.dtype} {list(rows.shape)}")
        best = rows.argmax(axis=1)
        return [
            Prediction(path, self.classes[k], float(row[k]), row)
            for path, k, row in zip(paths, best, rows, strict=True)
        ]


# --- parity ------------------------------------------------------------------------------------------


def check_parity(model: keras.Model, folder: Path, paths: Sequence[Path]) -> dict[str, Any]:
    """Compare the Keras model with the SavedModel on disk, both starting from files.

    Args:
        model: The model that was exported.
        folder: Where its SavedModel lies.
        paths: Images; the first is also tried as grey, 16-bit, RGBA, stretched and EXIF-turned files.

    Returns:
        largest_difference: Of all probabilities. tolerance: What it should not exceed. spread: The largest
        standard deviation of a class's probability over the images; near 0 the comparison proves little.
        checked: Names of what was compared.
    """
    size = int(model.input_shape[1])
    with in_all_forms(paths) as (files, names):
        pixels = np.stack([decode_and_resize(tf.constant(read_contents(file)), size) for file in files])
        expected = keras.ops.convert_to_numpy(model(pixels, training=False))
        actual = np.stack([one.probabilities for one in Served.load(folder).predict_files(files)])
    return {
        "largest_difference": float(np.abs(actual - expected).max()),
        "tolerance": TOLERANCE,
        "spread": float(expected.std(axis=0, dtype=np.float64).max()),
        "checked": names,
    }
