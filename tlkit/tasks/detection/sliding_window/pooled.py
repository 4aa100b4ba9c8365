"""Sliding windows pooled from the maps of whole levels, and a head that learned from windows pooled in this way.

    pixels uint8 [b, s, s, 3] -> levels of a pyramid -> maps at strides 8 and 16, projected -> windows of 3 by 3 parts,
    each averaged -> hidden layer -> class or nothing, and how the window is moved -> decode -> boxes, scores

A map is computed once for all windows of a level (OverFeat), whatever its layers pad with; so this is another thing than
a classifier of windows that are cut out, and its head learns from what it is asked about.

Sources: Sermanet 2014 (OverFeat); Girshick 2015 (Fast R-CNN: features of windows pooled from one map, class and move
from one layer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.preprocessing import Preprocess
from tlkit.backbones.pyramids import level_layers
from tlkit.backbones.table import BACKBONES, WeightsOrigin, build_backbone
from tlkit.tasks.detection.base import Detector
from tlkit.tasks.detection.deltas import boxes_of
from tlkit.tasks.detection.sliding_window.detector import suppress
from tlkit.tasks.detection.sliding_window.pooled_shapes import (
    GRID,
    STRIDE,
    Shape,
    boxes_of_shapes,
    places_of,
)
from tlkit.tasks.detection.sliding_window.scores import any_size, level_image
from tlkit.tasks.detection.sliding_window.settings import Level

STRIDES = (STRIDE, 2 * STRIDE)  # of the maps that are pooled, pixels of a level
CHANNELS = (32, 128)  # to which each map is projected
HIDDEN = 256  # units of the head
CANDIDATES = 1_000  # windows with the highest scores, among which duplicates are dropped
NEVER = -30.0  # the logit of a class that nothing was learned of


@dataclass(frozen=True)
class PooledLayout:
    """What a detector is built from, beside classes, backbone and size.

    Attributes:
        shapes: Of the windows.
        step: From one window to the next, as a share of the window.
        overlap: Of two detections of a class that overlap more, the weaker goes.
        soft: As of `Windows`.
        most: Detections a class.
        channels: To which each map is projected.
        hidden: Units of the head.
    """

    shapes: tuple[tuple[int, int, int], ...]
    step: float = 0.25
    overlap: float = 0.3
    soft: float = 0.0
    most: int = 50
    channels: tuple[int, ...] = CHANNELS
    hidden: int = HIDDEN


def build_maps(backbone: str, size: int, weights: str) -> tuple[keras.Model, WeightsOrigin]:
    """Maps at strides 8 and 16 of images of any side: [b, h, w, 3], pixels 0..255 -> two maps.

    Args:
        backbone: A name of `BACKBONES`.
        size: Side for which it is built first, pixels, a multiple of 32.
        weights: "imagenet", "none" or a file.

    Raises:
        UsageFault: It has no such maps.
        ModelFault: The weights cannot be had or do not fit.
    """
    network, origin = build_backbone(backbone, size, weights)
    names = level_layers(network, size, backbone, STRIDES)
    body = keras.Model(network.input, [network.get_layer(name).output for name in names], name="backbone")
    images = keras.Input((size, size, 3), name="images")
    maps = body(Preprocess(BACKBONES[backbone].preprocessing, name="preprocess")(images))
    return any_size(keras.Model(images, maps, name="maps")), origin


def build_head(width: int, classes: int, hidden: int, seed: int = 0) -> keras.Model:
    """The head: features float32 [n, d] -> logits of the classes and of nothing, then four deltas: [n, k + 1 + 4]."""
    features = keras.Input((width,), name="features")
    start = keras.initializers.HeUniform(seed)
    x = keras.layers.Dense(hidden, "relu", kernel_initializer=start, name="hidden")(features)
    x = keras.layers.Dropout(0.2, seed=seed, name="dropout")(x)
    logits = keras.layers.Dense(classes + 1, kernel_initializer=keras.initializers.Zeros(), name="logits")(x)
    deltas = keras.layers.Dense(4, kernel_initializer=keras.initializers.Zeros(), name="deltas")(x)
    return keras.Model(features, keras.layers.Concatenate(name="answers")([logits, deltas]), name="head")


@keras.saving.register_keras_serializable("tlkit")
class PooledDetector(Detector, keras.Model):
    """Sliding windows pooled from maps of whole levels. Made by `build_pooled`.

    Attributes:
        shapes: Of the windows.
        levels: Sides of the levels that they are on, pixels.
        places: float32 [a, 4], all windows, pixels of the square.
        projections: One for each stride, without which features would be too wide; solved, not learned.
        head: Features of a window -> logits and deltas.
        calibration: float32 [2]: a served score is the logistic function of the first times its log odds plus the
            second.
    """

    kind = "pooled-window"
    any_size = False
    backbone: keras.Model

    def __init__(self, maps: keras.Model, settings: dict[str, Any]) -> None:
        super().__init__(name="pooled_window")
        layout = PooledLayout(**settings["layout"])
        self.backbone = maps
        self.projections = []
        for stride, width, kept in zip(STRIDES, maps.outputs, layout.channels, strict=True):
            layer = keras.layers.Dense(kept, dtype="float32", name=f"projection_{stride}")
            layer.build((None, None, None, width.shape[-1]))
            self.projections.append(layer)
        self.shapes = [Shape(*shape) for shape in layout.shapes]
        self.layout = layout
        self.levels = list(dict.fromkeys(shape.side for shape in self.shapes))
        self.width = GRID * GRID * sum(layout.channels) + len(self.shapes)
        self.head = build_head(self.width, len(settings["class_names"]), layout.hidden)
        self.calibration = self.add_weight(
            shape=(2,), initializer="zeros", trainable=False, name="calibration"
        )
        self.calibration.assign([1.0, 0.0])
        self._begin(settings)
        self.places = boxes_of_shapes(self.shapes, self.size, layout.step)
        self.built = True

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[PooledDetector, WeightsOrigin]:
        """Build from settings."""
        maps, origin = build_maps(settings["backbone"], settings["size"], weights)
        return cls(maps, settings), origin

    # --- features ---

    def maps(self, images: tf.Tensor, side: int) -> list[tf.Tensor]:
        """Maps of a level as they come from the backbone: uint8 [b, s, s, 3] -> two of [b, h, w, c]."""
        pixels = level_image(images, Level(side, side, 1, 1, 1, side))
        return [tf.cast(one, tf.float32) for one in self.backbone(pixels, training=False)]

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """What the head is asked about and learns from: uint8 [b, s, s, 3] -> float32 [b, a, d], a as of `places`."""
        levels = {side: self._projected(images, side) for side in self.levels}
        found = []
        for number, shape in enumerate(self.shapes):
            parts = self._parts(levels[shape.side], shape)
            kind = tf.broadcast_to(
                tf.one_hot(number, len(self.shapes)), [*tf.unstack(tf.shape(parts)[:2]), len(self.shapes)]
            )
            found.append(tf.concat([parts, kind], -1))
        return tf.concat(found, 1)

    def _projected(self, images: tf.Tensor, side: int) -> tf.Tensor:
        """The map of a level, float32 [b, side / 8, side / 8, c]."""
        fine, coarse = (
            layer(one) for layer, one in zip(self.projections, self.maps(images, side), strict=True)
        )
        coarse = tf.image.resize(coarse, [side // STRIDE] * 2)  # linear
        return tf.concat([fine, coarse], -1)

    def _parts(self, level: tf.Tensor, shape: Shape) -> tf.Tensor:
        """The means of the 3 by 3 parts of all windows of a shape, float32 [b, n, 9 c]."""
        averaged = tf.nn.avg_pool2d(level, [shape.down, shape.across], 1, "VALID")
        rows, columns = places_of(shape, self.layout.step)
        parts = [
            tf.gather(tf.gather(averaged, rows + i * shape.down, axis=1), columns + j * shape.across, axis=2)
            for i in range(GRID)
            for j in range(GRID)
        ]
        joined = tf.concat(parts, -1)
        return tf.reshape(joined, [-1, len(rows) * len(columns), joined.shape[-1]])

    # --- the contract of detectors ---

    def call(self, images: Any, training: bool | None = None) -> tf.Tensor:
        """uint8 [b, s, s, 3] -> raw float32 [b, a, k + 1 + 4]: logits of the classes and of nothing, and deltas."""
        features = self.features(images)
        answers = self.head(tf.reshape(features, [-1, self.width]), training=False)
        return tf.reshape(answers, [-1, len(self.places), answers.shape[-1]])

    def probabilities(self, raw: tf.Tensor) -> tf.Tensor:
        """float32 [..., k]: softmax of the logits, without that of nothing, and calibrated."""
        classes = len(self.class_names)
        logits = raw[..., : classes + 1]
        every = tf.reduce_logsumexp(logits, -1, keepdims=True)
        # log odds of a class: its log probability less that of all others
        own = tf.minimum(logits[..., :classes] - every, -1e-7)
        odds = own - tf.math.log1p(-tf.exp(own))
        return tf.sigmoid(self.calibration[0] * odds + self.calibration[1])

    def decode(self, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best windows of each class, moved onto their objects, duplicates suppressed.

        Returns:
            boxes: float32 [b, k * most, 4] in pixels of the square. scores: float32 [b, k * most, k]: 0 but in the
            class that the box stands for, and beyond what is kept.
        """
        classes, how = len(self.class_names), self.layout
        scores, deltas = self.probabilities(raw), raw[..., classes + 1 :]
        few = min(CANDIDATES, len(self.places))
        best = tf.math.top_k(tf.reduce_max(scores, -1), few).indices
        scores, deltas = (tf.gather(values, best, batch_dims=1) for values in (scores, deltas))
        boxes = boxes_of(deltas, tf.gather(tf.constant(self.places), best))
        boxes = tf.clip_by_value(boxes, 0.0, float(self.size))

        def kept(one: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            xyxy, own = one
            some = [suppress(xyxy, own[:, k], how.most, how.overlap, how.soft) for k in range(classes)]
            places = tf.concat([tf.gather(xyxy, indices) for indices, _ in some], 0)
            values = [value[:, None] * tf.one_hot(k, classes) for k, (_, value) in enumerate(some)]
            return places, tf.concat(values, 0)

        total = classes * how.most
        signature = (tf.TensorSpec([total, 4], tf.float32), tf.TensorSpec([total, classes], tf.float32))
        return tf.map_fn(kept, (boxes, scores), fn_output_signature=signature)


def build_pooled(
    class_names: Sequence[str], size: int, backbone: str, weights: str, layout: PooledLayout
) -> tuple[PooledDetector, WeightsOrigin]:
    """A detector that has learned nothing.

    Args:
        class_names: [k].
        size: Side of the square into which images are letterboxed, pixels, a multiple of 32.
        backbone: A name of `BACKBONES`.
        weights: "imagenet", "none" or a file.
        layout: Windows and widths.

    Raises:
        UsageFault, ModelFault: See `build_maps`.
    """
    settings = {
        "class_names": [str(name) for name in class_names],
        "size": int(size),
        "backbone": backbone,
        "layout": asdict(layout) | {"shapes": [list(shape) for shape in layout.shapes]},
    }
    return PooledDetector.of(settings, weights)


def forget_classes(head: keras.Model, labels: Sequence[int]) -> None:
    """Let a head never say some classes: their logits are far below all others."""
    layer = head.get_layer("logits")
    kernel, bias = layer.get_weights()
    for label in labels:
        kernel[:, label], bias[label] = 0.0, NEVER
    layer.set_weights([kernel, bias])


def solved_projection(rows: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the places of a map, each of unit variance: kernel float32 [c, kept] and bias [kept].

    Where a map has fewer channels that vary than are kept, as on constant images, what is left over is 0 always.

    Args:
        rows: float32 [n, c], places of maps.
        kept: How many components.
    """
    every = np.asarray(rows, np.float64)
    mean = every.mean(0)
    variances, axes = np.linalg.eigh((every - mean).T @ (every - mean) / len(every))
    variances, axes = variances[::-1][:kept], axes[:, ::-1][:, :kept]
    varies = variances > 1e-6 * max(variances[0], 1e-6)
    kernel = np.where(varies, axes / np.sqrt(np.where(varies, variances, 1.0)), 0.0)
    kernel = np.pad(kernel, [(0, 0), (0, kept - kernel.shape[1])])
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)
