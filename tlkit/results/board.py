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

from tlkit.results import pictures

EVENT_FILES = "events.out.tfevents.*"


class Board:
    """Writes one run's events.

    Args:
        folder: `tensorboard/` of the run.
        class_names: [k] names for the confusion matrix.
        epoch: Epochs that are there already, when a run goes on.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], epoch: int = 0) -> None:
        self.class_names = class_names
        self.epoch = epoch
        self.writers = {
            part: tf.summary.create_file_writer(str(folder / part)) for part in ("training", "validation")
        }

    def add_epoch(self, row: dict[str, Any], confusion: np.ndarray) -> None:
        """Write one row of metrics.jsonl, and of the best so far its confusion; scalars are also grouped by phase."""
        self.epoch += 1
        for part, writer in self.writers.items():
            with writer.as_default(self.epoch):
                for measure in ("loss", "accuracy"):
                    value = row.get(f"{part}_{measure}")
                    if value is None:  # a refit has no validation part
                        continue
                    tf.summary.scalar(measure, value)
                    tf.summary.scalar(f"{row['phase']}/{measure}", value, step=row["epoch"])
                if part == "training":
                    tf.summary.scalar("learning_rate", row["learning_rate"])
                elif confusion.size and row["best"]:  # to draw it takes longer than an epoch of a head
                    figure = pictures.confusion_matrix(
                        confusion, self.class_names, title=f"epoch {self.epoch}"
                    )
                    tf.summary.image("confusion", pictures.to_array(figure)[None])
            writer.flush()

    def add_picture(self, name: str, file: Path) -> None:
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
        for writer in self.writers.values():
            writer.close()


class ScalarBoard:
    """Writes the numbers and pictures of a run that is no classifier, in one event folder."""

    def __init__(self, folder: Path) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))

    def add(self, row: dict[str, Any], step: int) -> None:
        """Write the numbers of one row of metrics.jsonl."""
        with self.writer.as_default(step):
            for name, value in row.items():
                if isinstance(value, float):
                    tf.summary.scalar(name, value)
        self.writer.flush()

    def add_sheet(self, name: str, pictures: np.ndarray, step: int) -> None:
        """Show pictures [n, s, s, c], 0..1, side by side."""
        with self.writer.as_default(step):
            tf.summary.image(name, sheet(pictures)[None])

    def add_picture(self, name: str, file: Path, step: int) -> None:
        """Show a PNG of the run."""
        with Image.open(file) as image, self.writer.as_default(step):
            tf.summary.image(re.sub(r"_", " ", name), np.asarray(image.convert("RGB"))[None])

    def close(self) -> None:
        """Write what is still held back."""
        self.writer.close()


def sheet(pictures: np.ndarray, columns: int = 16) -> np.ndarray:
    """uint8 [h, w, c]: pictures float32 [n, s, s, c] in 0..1, side by side in rows of `columns`."""
    count, size, _, channels = pictures.shape
    rows = -(-count // columns)
    cells = np.ones((rows * columns, size, size, channels), np.float32)
    cells[:count] = pictures
    laid = cells.reshape(rows, columns, size, size, channels).transpose(0, 2, 1, 3, 4)
    whole = laid.reshape(rows * size, columns * size, channels)
    return np.round(whole * 255).clip(0, 255).astype(np.uint8)
