"""YOLOv1: a grid of cells, each of which answers for the object whose middle lies in it.

    map of a backbone -> 1x1 convolution -> dense -> dense -> cells [b, S, S, 5B + k]

A cell's numbers are B times (x, y, root of the width, root of the height, confidence), then its k classes, all linear:
x and y are shares of the cell, the sides shares of the image. The network gives the roots themselves (section 2.2), so
none is taken of what may be negative; a negative one is a side of 0, whose root still learns.

Source: Redmon 2016 (You only look once: unified, real-time object detection).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.preprocessing import Preprocess
from tlkit.backbones.pyramids import build_pyramid
from tlkit.backbones.table import WeightsOrigin
from tlkit.core.text import count
from tlkit.data.boxes.batches import network_boxes
from tlkit.data.boxes.dataset import Boxes
from tlkit.errors import UsageFault
from tlkit.tasks.detection.assignment import BACKGROUND, IGNORED, Targets, middle_and_sides, pairwise_iou
from tlkit.tasks.detection.base import Design, Detector, counted

SMALL, PAPER = "small", "paper"
OWN = "yolov1"  # what the backbone is called that the paper's form brings
WIDTH = 256  # channels that reach the dense layers from a backbone of the table
LEAST_CELL = 8  # pixels
COORDINATES, NO_OBJECT = 5.0, 0.5  # lambda_coord and lambda_noobj (section 2.2)
LEAK = 0.1  # of the rectifier below 0 (equation 2)
SPREAD = 0.01  # of the last layer's weights: they begin near its biases, which say
START = 2  # cells: side of the boxes that an untrained network gives, so that some overlap with something


class Form(NamedTuple):
    """What a form of the network comes with.

    Attributes:
        stride: Of the map that the dense layers see, pixels: a cell where the number of cells is not given.
        dense: Width of the hidden dense layer.
    """

    stride: int
    dense: int


FORMS = {SMALL: Form(32, 512), PAPER: Form(64, 4096)}
# The paper's figure 3: (side of the kernel, channels, stride) of each convolution; None halves by the largest of 2 x 2.
PRETRAINED = (
    *((7, 64, 2), None, (3, 192, 1), None, (1, 128, 1), (3, 256, 1), (1, 256, 1), (3, 512, 1), None),
    *(((1, 256, 1), (3, 512, 1)) * 4),
    *((1, 512, 1), (3, 1024, 1), None),
    *(((1, 512, 1), (3, 1024, 1)) * 2),
)
ADDED = ((3, 1024, 1), (3, 1024, 2), (3, 1024, 1), (3, 1024, 1))


@keras.saving.register_keras_serializable("tlkit")
class Yolov1Detector(Detector, keras.Model):
    """YOLOv1 (Redmon 2016): a grid of cells behind dense layers, squared errors. Made by `build_detector`."""

    kind = "yolov1"
    backbone: keras.Model

    def __init__(self, pyramid: keras.Model, settings: dict[str, Any]) -> None:
        cells, boxes, classes = settings["cells"], settings["boxes"], len(settings["class_names"])
        images = keras.Input((settings["size"], settings["size"], 3), name="images")
        maps = pyramid(images)
        paper = settings["form"] == PAPER
        x = _convolved(maps, ADDED) if paper else _convolved(maps[-1], ((1, WIDTH, 1),))
        x = keras.layers.Dense(settings["dense"], kernel_initializer="he_normal", name="hidden")(
            keras.layers.Flatten(name="flat")(x)
        )
        x = keras.layers.LeakyReLU(LEAK, name="hidden_leaky")(x)
        x = keras.layers.Dropout(settings["dropout"], name="dropout")(x)
        numbers = 5 * boxes + classes
        start = keras.initializers.Constant(_start(cells, boxes, classes))
        small = keras.initializers.RandomNormal(stddev=SPREAD)
        x = keras.layers.Dense(
            cells**2 * numbers, kernel_initializer=small, bias_initializer=start, name="cells"
        )(x)
        x = keras.layers.Reshape((cells, cells, numbers), name="grid")(x)
        super().__init__(inputs=images, outputs={"cells": x}, name="yolov1")
        self.backbone = pyramid
        self._begin(settings)
        self.cells, self.boxes_each = cells, boxes

    @classmethod
    def of(cls, settings: dict[str, Any], weights: str = "none") -> tuple[Yolov1Detector, WeightsOrigin]:
        """Build from settings; the paper's form has random weights, whatever `weights` are."""
        if settings["form"] == PAPER:
            pyramid, origin = _own_network(settings["size"]), WeightsOrigin("none", "random", None)
        else:
            pyramid, origin = build_pyramid(settings["backbone"], settings["size"], weights)
        return cls(pyramid, settings), origin

    @classmethod
    def own_settings(
        cls,
        size: int,
        form: str = SMALL,
        cells: int | None = None,
        boxes: int = 2,
        dense: int | None = None,
        dropout: float = 0.5,
    ) -> dict[str, Any]:
        """The grid, and how large the dense layers are.

        Args:
            size: Side of the square input, pixels.
            form: "small": any backbone with a pyramid; "paper": its own 24 convolutions without batch normalisation,
                whose backbone takes the place of any other.
            cells: S, of a row and of a column; None: as many as the form's map.
            boxes: B, of a cell.
            dense: Width of the hidden dense layer; None: 512, 4,096 in the paper's form.
            dropout: Share of that layer which is left out in a step.

        Raises:
            UsageFault: The cells do not divide the image, or a number is out of its range.
        """
        if form not in FORMS:
            raise UsageFault(f"--form {form} is unknown.", f"Use one of {', '.join(FORMS)}.")
        if size % FORMS[form].stride:
            near = max(1, round(size / FORMS[form].stride)) * FORMS[form].stride
            raise UsageFault(
                f"--image-size {size} does not suit --form {form}, whose map has a stride of {FORMS[form].stride}.",
                f"Take a multiple of {FORMS[form].stride}, such as --image-size {near}.",
            )
        if boxes < 1:
            raise UsageFault(f"--boxes-per-cell {boxes} leaves a cell without a box.", "Give 1 or more.")
        if (dense is not None and dense < 1) or not 0 <= dropout < 1:
            raise UsageFault(
                f"A hidden layer of {dense} with dropout {dropout:g} cannot be.",
                "Give a width of 1 or more, and a dropout from 0 to below 1.",
            )
        return {
            **({"backbone": OWN} if form == PAPER else {}),
            "form": form,
            "cells": _checked_cells(size, size // FORMS[form].stride if cells is None else cells),
            "boxes": boxes,
            "dense": dense or FORMS[form].dense,
            "dropout": dropout,
        }

    @classmethod
    def design(
        cls,
        training: Boxes,
        size: int,
        _started: Mapping[str, Any] | None,
        form: str = SMALL,
        cells: int | None = None,
        boxes: int = 2,
    ) -> Design:
        """The grid, and how many training objects find their cell taken in it.

        Args:
            training: Images that are learned.
            size: Side of the square input, pixels.
            _started: See `Detector.design`.
            form: See `own_settings`; so are the others.
            cells: S.
            boxes: B.

        Raises:
            UsageFault: See `own_settings`.
        """
        own = {"form": form, "cells": cells, "boxes": boxes}
        side = cls.own_settings(size, form, cells, boxes)["cells"]
        objects, lost = crowded(training, size, side)
        taken = (
            f"{lost:,} of {count(objects, 'training object')} {'has its' if lost == 1 else 'have their'} middle in the "
            "cell of an earlier one of the image, and cannot be learned there; more cells (--cells) part them"
            if lost
            else f"no two of {count(objects, 'training object')} have their middles in one cell of an image"
        )
        says = [f"Grid: {side} x {side} cells, {boxes} box{'es' if boxes > 1 else ''} each; {taken}."]
        facts: dict[str, Any] = {
            "form": form, "cells": side, "boxes_per_cell": boxes, "objects": objects, "cell_taken": lost
        }  # fmt: skip
        if form == PAPER:
            facts["backbone"] = OWN
            says.append(
                "The paper's form has convolutions of its own: --backbone and --weights do not count."
            )
        return Design(own, facts, tuple(says))

    def decode(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Raw -> boxes float32 [b, S S B, 4] and scores float32 [b, S S B, k], 0..1, cell by cell."""
        values, classes = self._parted(raw)
        # Pr(class | object) x confidence (equation 1); each clipped first: two negative ones are no score
        scores = tf.clip_by_value(values[..., 4:], 0.0, 1.0) * tf.clip_by_value(classes, 0.0, 1.0)[:, :, None]
        places = self.cells**2 * self.boxes_each
        boxes = boxes_of(values[..., :4], self.cells, self.size)
        return tf.reshape(boxes, [-1, places, 4]), tf.reshape(scores, [-1, places, scores.shape[-1]])

    def _parted(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """float32 [b, S S, B, 5] of the boxes and [b, S S, k] of the classes."""
        every = tf.cast(raw["cells"], tf.float32)
        every = tf.reshape(every, [-1, self.cells**2, every.shape[-1]])
        of_boxes = 5 * self.boxes_each
        values = tf.reshape(every[..., :of_boxes], [-1, self.cells**2, self.boxes_each, 5])
        return values, every[..., of_boxes:]

    def loss_parts(self, raw: dict, xyxy: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scalars by name, the terms of equation 3: squared errors, summed over an image, their mean over images.

        Args:
            raw: What the network gives.
            xyxy: float32 [b, m, 4].
            labels: int32 [b, m]: class, -1 padding, -2 ignored.
        """
        xyxy, labels = tf.cast(xyxy, tf.float32), tf.cast(labels, tf.int32)
        targets = by_cell(xyxy, labels, self.cells, self.size)
        values, classes = self._parted(raw)
        wanted = values_of(targets.xyxy, self.cells, self.size)[:, :, None]
        squares = tf.reduce_sum(tf.square(values[..., :4] - wanted), -1)  # [b, S S, B]
        iou = self._overlaps(values, targets.xyxy)
        responsible = _best(iou, squares) * targets.score[..., None]  # 1^obj_ij
        rest = (1 - responsible) * counted(targets)  # 1^noobj_ij: the other boxes of a filled cell too
        truth = tf.one_hot(targets.labels, classes.shape[-1])
        errors = {
            "class": tf.reduce_sum(tf.square(classes - truth), -1) * targets.score,
            "box": COORDINATES * squares * responsible,
            # the confidence should be the IoU (section 2): a number, not a way to change the box
            "object": tf.square(values[..., 4] - iou) * responsible,
            "no_object": NO_OBJECT * tf.square(values[..., 4]) * rest,
        }
        images = tf.cast(tf.maximum(tf.shape(labels)[0], 1), tf.float32)
        return {name: tf.reduce_sum(error) / images for name, error in errors.items()}

    def _overlaps(self, values: tf.Tensor, xyxy: tf.Tensor) -> tf.Tensor:
        """float32 [b, S S, B]: IoU of a cell's boxes with its object [b, S S, 4]; no gradient goes through it."""
        found = tf.stop_gradient(boxes_of(values[..., :4], self.cells, self.size))
        iou = pairwise_iou(tf.reshape(found, [-1, self.boxes_each, 4]), tf.reshape(xyxy, [-1, 1, 4]))
        return tf.reshape(iou, [-1, self.cells**2, self.boxes_each])

    def class_columns(self) -> list[tuple[keras.Variable, np.ndarray]]:
        """Of the last dense layer's kernel and bias: the columns behind the boxes of each cell."""
        boxes, classes = 5 * self.boxes_each, len(self.class_names)
        first = np.arange(self.cells**2)[:, None] * (boxes + classes) + boxes
        return [(variable, first + np.arange(classes)) for variable in self.get_layer("cells").weights]


# --- cells ---


def by_cell(xyxy: tf.Tensor, labels: tf.Tensor, cells: int, size: int) -> Targets:
    """Which cell answers for which box: the one in which its middle lies; of several boxes the first keeps it.

    A cell without an object that an ignored box touches is ignored.

    Args:
        xyxy: float32 [b, m, 4], m >= 1, pixels of the square.
        labels: int32 [b, m].
        cells: S.
        size: Side of the square, pixels.

    Returns:
        For S S cells, row by row; `score` is 1 where there is an object.
    """
    width = size // cells
    middle, _ = middle_and_sides(xyxy)
    place = tf.clip_by_value(tf.cast(tf.floor(middle / width), tf.int32), 0, cells - 1)
    here = tf.one_hot(place[..., 1] * cells + place[..., 0], cells**2, dtype=tf.int32)  # [b, m, S S]
    order = tf.range(tf.shape(labels)[1], 0, -1)[:, None] * tf.cast(labels >= 0, tf.int32)[..., None]
    match = tf.argmax(here * order, 1, tf.int32)  # no two are equal but for 0, of boxes that lie elsewhere
    filled = tf.reduce_max(here * order, 1) > 0
    corners = tf.tile(tf.constant(_grid(cells) * width), [1, 2])
    frames = corners + tf.constant([0.0, 0.0, width, width])
    beside = tf.reduce_any((pairwise_iou(frames, xyxy) > 0) & (labels == IGNORED)[:, None], 2)
    kinds = tf.gather(labels, match, batch_dims=1)
    found = tf.where(filled, kinds, tf.where(beside, IGNORED, BACKGROUND))
    return Targets(found, tf.gather(xyxy, match, batch_dims=1), tf.cast(filled, tf.float32))


def values_of(xyxy: tf.Tensor, cells: int, size: int) -> tf.Tensor:
    """What a cell should answer for its box, float32 [b, S S, 4]: x, y in the cell, roots of width and height."""
    middle, sides = middle_and_sides(xyxy)
    inside = middle / (size // cells) - tf.constant(_grid(cells))
    return tf.concat([inside, tf.sqrt(tf.maximum(sides, 0.0) / size)], -1)


def boxes_of(values: tf.Tensor, cells: int, size: int) -> tf.Tensor:
    """The other way, for B boxes a cell: float32 [b, S S, B, 4] -> corners, pixels of the square."""
    middle = (values[..., :2] + tf.constant(_grid(cells))[:, None]) * (size // cells)
    half = tf.square(tf.maximum(values[..., 2:4], 0.0)) * (size / 2)
    return tf.concat([middle - half, middle + half], -1)


def crowded(boxes: Boxes, size: int, cells: int) -> tuple[int, int]:
    """How many objects there are in the square, and how many find their cell taken."""
    xyxy, labels = network_boxes(boxes, size)
    place = np.clip((xyxy[..., :2] + xyxy[..., 2:]) / 2 // (size // cells), 0, cells - 1)
    image = np.broadcast_to(np.arange(len(labels))[:, None, None], (*labels.shape, 1))
    objects = np.concatenate([image, place], -1)[labels >= 0]
    return len(objects), len(objects) - len(np.unique(objects, axis=0))


def _grid(cells: int) -> np.ndarray:
    """float32 [S S, 2]: column and row of each cell, row by row."""
    row, column = np.divmod(np.arange(cells**2), cells)
    return np.stack([column, row], -1).astype(np.float32)


def _checked_cells(size: int, cells: int) -> int:
    suitable = [number for number in range(1, size // LEAST_CELL + 1) if size % number == 0]
    if cells not in suitable:
        near = min(suitable, key=lambda number: abs(number - cells))
        raise UsageFault(
            f"--cells {cells} does not divide {size} pixels into cells of {LEAST_CELL} or more whole pixels.",
            f"Take --cells {near}, or another --image-size.",
        )
    return cells


def _best(iou: tf.Tensor, squares: tf.Tensor) -> tf.Tensor:
    """1 for the box of each cell with the largest IoU, or where none overlaps the nearest; the first of equal ones."""
    overlapping = tf.reduce_max(iou, -1, keepdims=True) > 0
    fit = tf.where(overlapping, iou, -tf.stop_gradient(squares))
    return tf.one_hot(tf.math.top_k(fit, 1).indices[..., 0], iou.shape[-1])


# --- networks ---


def _convolved(x: keras.KerasTensor, rows: tuple) -> keras.KerasTensor:
    """A map through convolutions without batch normalisation, each with a leaky rectifier."""
    for row in rows:
        if row is None:
            x = keras.layers.MaxPooling2D(2)(x)
        else:
            kernel, channels, stride = row
            x = keras.layers.Conv2D(channels, kernel, stride, "same", kernel_initializer="he_normal")(x)
            x = keras.layers.LeakyReLU(LEAK)(x)
    return x


def _own_network(size: int) -> keras.Model:
    """The paper's first 20 convolutions, which it trains on ImageNet: pixels -> a map of stride 32."""
    inputs = keras.Input((size, size, 3))
    body = keras.Model(inputs, _convolved(inputs, PRETRAINED), name="backbone")
    images = keras.Input((size, size, 3), name="images")
    scaled = Preprocess("minus-one-to-one", name="preprocess")(images)
    return keras.Model(images, body(scaled), name="pyramid")


def _start(cells: int, boxes: int, classes: int) -> np.ndarray:
    """Biases that begin with boxes of two cells in the middle of theirs, and sure of nothing."""
    side = np.sqrt(min(START / cells, 1.0))
    return np.tile([0.5, 0.5, side, side, 0.0] * boxes + [0.0] * classes, cells**2)
