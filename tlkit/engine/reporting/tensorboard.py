"""TensorBoard of a run: the curves, the confusion matrix of each epoch, the pictures of the report, the graph.

One event folder for each of training and validation, one step an epoch counted over all phases, so that
`tensorboard --logdir saved_models` shows every run under its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from tlkit.core.tensorboard_events.points import points_of
from tlkit.engine.reporting.charts import confusion_matrix
from tlkit.engine.reporting.style import to_array


class Writers:
    """The open event files below a folder: one for each folder in it that is written to, opened by the first event."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, tf.summary.SummaryWriter] = {}

    def __getitem__(self, name: str) -> tf.summary.SummaryWriter:
        if name not in self._open:
            self._open[name] = tf.summary.create_file_writer(str(self.folder / name))
        return self._open[name]

    def add_points(self, row: dict[str, Any], number: int) -> None:
        """Write the points of one row of metrics.jsonl, its line counted from 1."""
        for point in points_of(row, number):
            with self[point.folder].as_default(point.step):
                tf.summary.scalar(point.tag, point.value)

    def flush(self) -> None:
        """Hand everything to the system, so that a kill of this process loses nothing."""
        for writer in self._open.values():
            writer.flush()

    def close(self) -> None:
        """Write what is still held back and let go of the files; what is written later goes into new ones."""
        for writer in self._open.values():
            writer.close()
        self._open.clear()


class TensorBoard:
    """Writes one run's events.

    Args:
        folder: `tensorboard/` of the run.
        class_names: [k] names for the confusion matrix.
        epoch: Epochs that are there already, when a run goes on.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], epoch: int = 0) -> None:
        self.class_names = class_names
        self.epoch = epoch
        self.writers = Writers(folder)

    def add_epoch(self, row: dict[str, Any], confusion: np.ndarray) -> None:
        """Write one row of metrics.jsonl, and of the best so far its confusion; scalars are also grouped by phase."""
        self.epoch += 1
        self.writers.add_points(row, self.epoch)
        if confusion.size and row["best"]:  # to draw it takes longer than an epoch of a head
            figure = confusion_matrix(confusion, self.class_names, title=f"epoch {self.epoch}")
            with self.writers["validation"].as_default(self.epoch):
                tf.summary.image("confusion", to_array(figure)[None])
        self.writers.flush()

    def add_image(self, name: str, file: Path) -> None:
        """Show a PNG of the run."""
        with Image.open(file) as image, self.writers["validation"].as_default(self.epoch):
            tf.summary.image(re.sub(r"_", " ", name), np.asarray(image.convert("RGB"))[None])

    def add_graph(self, model: keras.Model) -> None:
        """Write the graph of the model's inference."""
        spec = tf.TensorSpec([1, *model.input_shape[1:]], tf.uint8)
        graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec).graph
        with self.writers["training"].as_default(0):
            tf.summary.graph(graph)

    def close(self) -> None:
        """Write what is still held back."""
        self.writers.close()


class ScalarTensorBoard:
    """Writes the numbers of a run that is no classifier, and its pictures, which stand in one event folder."""

    def __init__(self, folder: Path) -> None:
        self.writers, self.name = Writers(folder.parent), folder.name

    def add(self, row: dict[str, Any], number: int) -> None:
        """Write the numbers of one row of metrics.jsonl, its line counted from 1."""
        self.writers.add_points(row, number)
        self.writers.flush()

    def add_grid(self, name: str, images: np.ndarray, step: int) -> None:
        """Show pictures [n, s, s, c], 0..1, side by side."""
        with self.writers[self.name].as_default(step):
            tf.summary.image(name, grid(images)[None])

    def add_image(self, name: str, file: Path, step: int) -> None:
        """Show a PNG of the run."""
        with Image.open(file) as image, self.writers[self.name].as_default(step):
            tf.summary.image(re.sub(r"_", " ", name), np.asarray(image.convert("RGB"))[None])

    def close(self) -> None:
        """Write what is still held back."""
        self.writers.close()


def grid(images: np.ndarray, columns: int = 16) -> np.ndarray:
    """uint8 [h, w, c]: pictures float32 [n, s, s, c] in 0..1, side by side in rows of `columns`."""
    count, size, _, channels = images.shape
    rows = -(-count // columns)
    cells = np.ones((rows * columns, size, size, channels), np.float32)
    cells[:count] = images
    laid = cells.reshape(rows, columns, size, size, channels).transpose(0, 2, 1, 3, 4)
    whole = laid.reshape(rows * size, columns * size, channels)
    return np.round(whole * 255).clip(0, 255).astype(np.uint8)
