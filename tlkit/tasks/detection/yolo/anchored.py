"""YOLO with anchors: what v2 and v3 share, from the choice of anchors to boxes and scores.

raw: grid -> [b, rows, columns, anchors x (x, y, w, h, object, classes)], as Darknet orders them
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.backbones.darknet import Convolution, named_convolutions
from tlkit.backbones.darknet_weights import is_darknet_file
from tlkit.backbones.table import WeightsOrigin
from tlkit.backbones.weights import load_detector_file
from tlkit.data.boxes.dataset import Boxes
from tlkit.errors import UsageFault
from tlkit.tasks.detection.base import Design, Detector
from tlkit.tasks.detection.yolo.grids import Grids, decode
from tlkit.tasks.detection.yolo.shapes import (
    Shapes,
    fitted_shapes,
    read_shapes,
    scaled_shapes,
    shape_coverage,
    smallest_first,
)

BOX, OBJECT, CLASSES = slice(0, 4), 4, slice(5, None)  # of the numbers of an anchor


class AnchoredDetector(Detector, keras.Model):
    """Grids of cells with anchors. Subclasses say which grids, what their numbers score, and what is learned."""

    strides: ClassVar[tuple[int, ...]]
    usual: ClassVar[Shapes]  # the paper's, at 416 pixels
    backbone: keras.Model

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        outputs = self.numbers(settings)
        images = keras.Input(pyramid.input_shape[1:], name="images")
        maps = dict(zip((8, 16, 32), pyramid(images), strict=True))
        super().__init__(inputs=images, outputs=self.heads(maps, settings, outputs), name=self.kind)
        self.backbone = pyramid
        self.shapes = np.array(settings["anchors"], np.float32).reshape(len(self.strides), -1, 2)
        self._begin(settings)

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[Self, WeightsOrigin]:
        """Build from settings; a file of Darknet's that holds more than a backbone fills the heads too."""
        whole = is_darknet_file(weights)
        pyramid, origin = cls.pyramid(settings, "none" if whole else weights)
        detector = cls(pyramid, settings)
        if whole:
            origin = load_detector_file(weights, pyramid, detector.convolutions(), detector.kind)
        return detector, origin

    @classmethod
    def pyramid(cls, settings: dict[str, Any], weights: str) -> tuple[keras.Model, WeightsOrigin]:
        """The backbone's maps of strides 8, 16 and 32; see `build_pyramid`."""
        raise NotImplementedError

    @classmethod
    def heads(cls, maps: dict[int, Any], settings: dict[str, Any], outputs: int) -> dict[str, Any]:
        """Maps by stride -> raw by grid, `outputs` channels each."""
        raise NotImplementedError

    @classmethod
    def numbers(cls, settings: dict[str, Any]) -> int:
        """Numbers of a cell."""
        return len(settings["anchors"]) // len(cls.strides) * (5 + len(settings["class_names"]))

    @classmethod
    def smallest(cls, size: int, anchors: Shapes | None) -> Shapes:
        """The anchors smallest first, or the paper's, in a square of side `size`, pixels."""
        return smallest_first(anchors or scaled_shapes(cls.usual, size))

    @classmethod
    def design(
        cls,
        training: Boxes,
        size: int,
        started: Mapping[str, Any] | None,
        anchors: Path | None = None,
        **own: Any,
    ) -> Design:
        """Anchors: those of the detector that this one starts from, of a file, or k-means of the training boxes.

        Args:
            training: Images that are learned.
            size: Side of the square input, pixels.
            started: See `Detector.design`.
            anchors: The file.
            own: Of the kind's `own_settings`, as they are.

        Raises:
            UsageFault: The file does not suit, or is given where the detector that this one starts from has anchors.
        """
        if anchors is not None and started is not None:
            raise UsageFault(
                "--anchors does not go with --warm-start, whose weights belong to the anchors they learned by.",
                "Leave one of the two out.",
            )
        usual = scaled_shapes(cls.usual, size)
        if anchors is not None:
            shapes = read_shapes(anchors, len(usual))
        elif started is not None and started.get("network") == cls.kind:
            shapes = smallest_first(started["anchors"])
        else:
            shapes = fitted_shapes(training, size, usual)
        covered = shape_coverage(training, size, shapes)
        facts = {"anchors": [list(one) for one in shapes], "coverage": covered.summary()}
        return Design({"anchors": shapes, **own}, facts, tuple(covered.sentences()))

    # --- raw -> places -> boxes ---

    def grids(self, raw: dict[str, tf.Tensor]) -> Grids:
        """The grids that raw numbers stand for; their sides may be known in the graph only."""
        maps = [raw[head_name(stride)] for stride in self.strides]
        sides = tuple(x.shape[1] if x.shape[1] is not None else tf.shape(x)[1] for x in maps)
        return Grids(sides, self.strides, self.shapes)

    def flat(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """float32 [b, p, 5 + k]: the numbers of all places."""
        grids, numbers = self.grids(raw), 5 + len(self.class_names)
        every = []
        for stride, side in zip(grids.strides, grids.sides, strict=True):
            found = tf.cast(raw[head_name(stride)], tf.float32)
            every.append(tf.reshape(found, [tf.shape(found)[0], side * side * grids.each, numbers]))
        return tf.concat(every, 1)

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, p, 4] and scores float32 [b, p, k], 0..1."""
        flat = self.flat(raw)
        objects = tf.sigmoid(flat[..., OBJECT, None])
        return decode(flat[..., BOX], self.grids(raw).places()), objects * self.likely(flat[..., CLASSES])

    def likely(self, logits: tf.Tensor) -> tf.Tensor:
        """Scores of the classes, given that there is an object: [..., k], 0..1."""
        raise NotImplementedError

    def convolutions(self) -> list[Convolution]:
        """Those of the heads, in the order of Darknet's cfg and of its `.weights` files."""
        return named_convolutions(self, self.names(self.settings))

    @classmethod
    def names(cls, settings: dict[str, Any]) -> list[str]:
        """Of the heads' convolutions, in that order."""
        raise NotImplementedError

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the last convolutions' kernels and biases: anchors times classes, behind each anchor's five numbers."""
        classes = len(self.class_names)
        first = np.arange(self.shapes.shape[1])[:, None] * (5 + classes) + 5
        columns = first + np.arange(classes)
        return [
            (variable, columns)
            for stride in self.strides
            for variable in self.get_layer(f"conv_{head_name(stride)}").weights
        ]


def is_darknet(backbone: str) -> bool:
    """Whether a backbone is one of Darknet's, whose files go on into the heads."""
    return backbone.startswith("darknet-")


def head_name(stride: int) -> str:
    """Of a grid's raw numbers; the layer that gives them is conv_ with this."""
    return f"stride_{stride}"


def prediction(x: Any, stride: int, outputs: int, each: int, prior: float) -> Any:
    """The raw numbers of a grid: boxes start as their anchors, and every place with a score of `prior`."""
    bias = np.zeros((each, outputs // each), np.float32)
    bias[:, OBJECT] = np.log(prior / (1 - prior))
    return layers.Conv2D(
        outputs,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(bias.reshape(shape), dtype),
        name=f"conv_{head_name(stride)}",
    )(x)
