"""A classifier as a detector: moved over the image at several scales and aspects, in batches or convolutionally.

    pixels uint8 [b, s, s, 3] -> levels of a pyramid -> windows -> classifier -> raw [b, a, k] -> decode -> boxes, scores

It answers as the detectors of `detectors` do, so that they are asked, exported and measured alike.

Source: Bodla et al., Soft-NMS, improving object detection with one line of code (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.text import place_of, some_of
from tlkit.errors import DataFault, ModelFault
from tlkit.tasks.classification.classifier import class_names
from tlkit.tasks.detection.sliding_window.scores import (
    Convolutional,
    convolutional_or_none,
    level_image,
    scores_of_crops,
)
from tlkit.tasks.detection.sliding_window.settings import Windows, boxes_of, levels

EQUAL = 1e-5  # largest difference in probability that is rounding
LEAST = 0.01  # score below which nothing is kept


# --- suppression ------------------------------------------------------------------------------------


def suppress(
    xyxy: tf.Tensor, scores: tf.Tensor, most: int, overlap: float, soft: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Keep the best of many boxes of one class.

    Args:
        xyxy: float32 [a, 4].
        scores: float32 [a].
        most: Boxes that are kept.
        overlap: Of two boxes with a larger IoU the one with the lower score goes; not used where `soft` is above 0.
        soft: Every box's score is multiplied by exp(-IoU^2 / soft) for each box that was kept before it.

    Returns:
        int32 [most], indices, and float32 [most], scores as they are then, falling; 0 beyond what is kept.
    """
    kept, weighed, count = tf.raw_ops.NonMaxSuppressionV5(
        boxes=tf.gather(xyxy, [1, 0, 3, 2], axis=1),
        scores=scores,
        max_output_size=most,
        iou_threshold=1.0 if soft else overlap,
        score_threshold=LEAST,
        soft_nms_sigma=soft / 2,  # its kernel is exp(-IoU^2 / (2 sigma))
        pad_to_max_output_size=True,
    )
    real = tf.range(most) < count
    return tf.where(real, kept, 0), tf.where(real, weighed, 0.0)


# --- the detector -----------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("tlkit")
class WindowDetector(keras.Model):
    """uint8 [b, s, s, 3] -> raw: probabilities float32 [b, a, k] of the classes that are sought, in every window.

    Attributes:
        class_names: [k].
        size: Side of the square input, pixels.
        kind: "window".
        settings: What it was made of, without the classifier; JSON.

    Args:
        classifier: uint8 [n, c, c, 3] -> probabilities [n, m].
        settings: `class_names`; `columns`, for each the classifier's output or -1: none; `windows`, a `Windows`;
            `sides`; `convolutional`.
    """

    kind = "window"

    def __init__(self, classifier: keras.Model, settings: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.classifier, self.settings = classifier, settings
        self.class_names, self.size = tuple(settings["class_names"]), int(settings["windows"]["size"])
        plain = settings["windows"] | {"ratios": tuple(settings["windows"]["ratios"]), "sides": None}
        self.windows = Windows(**plain)
        form = Convolutional(classifier) if settings["convolutional"] else None
        self._form = lambda: form  # a function: its layers are the classifier's, and to be stored once
        stride = form.stride if form else 1
        side = int(classifier.input_shape[1])
        self.levels = levels(self.windows, tuple(settings["sides"]), side, stride)
        self.places = boxes_of(self.levels, self.size)
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Classify all windows; there is nothing to train."""
        form = self._form()
        found = []
        for level in self.levels:
            pixels = level_image(images, level)
            found.append(
                form(pixels, level)
                if form
                else scores_of_crops(self.classifier, pixels, level, self.windows.chunk)
            )
        every = tf.concat(found, 1)
        every = tf.pad(every, [[0, 0], [0, 0], [0, 1]])  # what no output stands for: 0
        return tf.gather(every, [column % every.shape[-1] for column in self.settings["columns"]], axis=2)

    def decode(self, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best windows of each class, duplicates suppressed.

        Returns:
            boxes: float32 [b, k * most, 4] in pixels of the square. scores: float32 [b, k * most, k]: 0 but in the
            class that the box stands for, and beyond what is kept.
        """
        places, classes, how = tf.constant(self.places), len(self.class_names), self.windows

        def best(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            kept = [suppress(places, scores[:, k], how.most, how.overlap, how.soft) for k in range(classes)]
            boxes = tf.concat([tf.gather(places, indices) for indices, _ in kept], 0)
            values = [own[:, None] * tf.one_hot(k, classes) for k, (_, own) in enumerate(kept)]
            return boxes, tf.concat(values, 0)

        total = classes * self.windows.most
        signature = (tf.TensorSpec([total, 4], tf.float32), tf.TensorSpec([total, classes], tf.float32))
        return tf.map_fn(best, raw, fn_output_signature=signature)

    def get_config(self) -> dict:
        """What it was built from."""
        network = keras.saving.serialize_keras_object(self.classifier)
        return {"classifier": network, "settings": self.settings, "name": self.name}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> WindowDetector:
        """The same detector, its classifier with random weights."""
        network = keras.saving.deserialize_keras_object(config["classifier"], custom_objects)
        return cls(network, config["settings"], name=config["name"])


def build_window_detector(
    classifier: keras.Model, names: Sequence[str], negative: str, windows: Windows
) -> tuple[WindowDetector, dict[str, Any]]:
    """Make a detector of a classifier.

    Args:
        classifier: With its class names.
        names: [k] classes that are sought; one that the classifier does not know is never found. Upper and lower case
            do not matter.
        negative: The classifier's class of what is nothing.
        windows: How it is moved; `sides` must be set.

    Returns:
        The detector, and facts: windows, levels, convolutional, difference (to cut-out windows, where known), unknown
        (names that the classifier does not know), unused (its classes that are not sought).

    Raises:
        DataFault: The classifier has no class `negative`, or knows none of `names`.
    """
    known = list(class_names(classifier))
    if negative not in known:
        raise DataFault(
            f"The classifier has no class {negative} for windows with nothing in them.",
            f"Name it with --negative; its classes are {some_of(known)}.",
        )
    places = [place_of(name, known) for name in names]
    columns = [-1 if place == known.index(negative) else place for place in places]
    if max(columns, default=-1) < 0:
        raise DataFault(
            f"The classifier knows {some_of(known)}; the boxes are of {some_of(names)}.",
            "Name the classes alike, or take another classifier.",
        )
    form, difference = convolutional_or_none(classifier) if windows.way != "crops" else (None, None)
    if windows.way == "convolutional" and form is None:
        raise ModelFault(
            "--way convolutional does not go with this classifier: its maps do not follow the image's size.",
            "Use --way crops.",
        )
    equal = difference is not None and difference <= EQUAL
    settings = {
        "class_names": list(names),
        "columns": columns,
        "windows": asdict(replace(windows, sides=None)) | {"ratios": list(windows.ratios)},
        "sides": list(windows.sides or ()),
        "convolutional": windows.way == "convolutional" or (windows.way == "auto" and equal),
    }
    detector = WindowDetector(classifier, settings, name="window_detector")
    return detector, {
        "windows": len(detector.places),
        "levels": len(detector.levels),
        "convolutional": settings["convolutional"],
        "difference": difference if difference is not None and np.isfinite(difference) else None,
        "unknown": [name for name, column in zip(names, columns, strict=True) if column < 0],
        "unused": [n for k, n in enumerate(known) if n != negative and k not in columns],
    }
