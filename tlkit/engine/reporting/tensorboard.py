"""TensorBoard of a run: the curves, the confusion matrix of each epoch, the pictures of the report, the graph.

One event folder for each of training and validation, one step an epoch counted over all phases, so that
`tensorboard --logdir saved_models` shows every run under its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from tlkit.core.run import Run
from tlkit.core.tensorboard_events.points import points_of
from tlkit.engine.reporting.charts import confusion_matrix
from tlkit.engine.reporting.style import to_array


class TensorBoard:
    """Writes one run's events: a file for each folder that is written to, opened by the first event.

    Args:
        folder: `tensorboard/` of the run.
        name: The event folder of its pictures.
        class_names: [k] names for the confusion matrix.
    """

    def __init__(self, folder: Path, name: str = "validation", class_names: Sequence[str] = ()) -> None:
        self.folder, self.name, self.class_names = folder, name, class_names
        self._open: dict[str, tf.summary.SummaryWriter] = {}

    def add(self, row: dict[str, Any], number: int, confusion: np.ndarray | None = None) -> None:
        """Write one row of metrics.jsonl, its line counted from 1, and of the best so far its confusion, int [k, k]."""
        for point in points_of(row, number):
            with self._writer(point.folder).as_default(point.step):
                tf.summary.scalar(point.tag, point.value)
        # to draw it takes longer than an epoch of a head
        if confusion is not None and confusion.size and row["best"]:
            figure = confusion_matrix(confusion, self.class_names, title=f"epoch {number}")
            self._add("confusion", to_array(figure), number)
        self._flush()

    def add_image(self, name: str, file: Path, step: int = 0) -> None:
        """Show a PNG of the run."""
        with Image.open(file) as image:
            self._add(name.replace("_", " "), np.asarray(image.convert("RGB")), step)

    def add_grid(self, name: str, images: np.ndarray, step: int) -> None:
        """Show pictures [n, s, s, c], 0..1, side by side."""
        self._add(name, grid(images), step)
        self._flush()

    def add_graph(self, model: keras.Model) -> None:
        """Write the graph of the model's inference, and let go of the files."""
        spec = tf.TensorSpec([1, *model.input_shape[1:]], tf.uint8)
        graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec).graph
        with self._writer("training").as_default(0):
            tf.summary.graph(graph)
        self.close()

    def close(self) -> None:
        """Write what is still held back and let go of the files; what is written later goes into new ones."""
        for writer in self._open.values():
            writer.close()
        self._open.clear()

    def _writer(self, folder: str) -> tf.summary.SummaryWriter:
        if folder not in self._open:
            self._open[folder] = tf.summary.create_file_writer(str(self.folder / folder))
        return self._open[folder]

    def _flush(self) -> None:
        """Hand everything to the system, so that a kill of this process loses nothing."""
        for writer in self._open.values():
            writer.flush()

    def _add(self, name: str, pixels: np.ndarray, step: int) -> None:
        with self._writer(self.name).as_default(step):
            tf.summary.image(name, pixels[None])


def show_images(run: Run, name: str, step: int) -> None:
    """Show all pictures of the report."""
    tensorboard = TensorBoard(run.folder.folder("tensorboard"), name)
    for file in sorted(run.folder.folder("pictures").glob("*.png")):
        tensorboard.add_image(file.stem, file, step)
    tensorboard.close()


def grid(images: np.ndarray, columns: int = 16) -> np.ndarray:
    """uint8 [h, w, c]: pictures float32 [n, s, s, c] in 0..1, side by side in rows of `columns`."""
    count, size, _, channels = images.shape
    rows = -(-count // columns)
    cells = np.ones((rows * columns, size, size, channels), np.float32)
    cells[:count] = images
    laid = cells.reshape(rows, columns, size, size, channels).transpose(0, 2, 1, 3, 4)
    whole = laid.reshape(rows * size, columns * size, channels)
    return np.round(whole * 255).clip(0, 255).astype(np.uint8)
