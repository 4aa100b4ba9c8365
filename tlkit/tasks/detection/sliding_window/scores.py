"""What a classifier says of every window of a level: windows cut out, or maps computed once for the whole level.

Convolutionally (Sermanet 2014, OverFeat, section 3.3) the layers before the pooling see a level once. That gives what
cut-out windows give only where no convolution pads: padding puts zeros around a window that is cut out, and its
neighbours around one that is not. So equality is tried out on noise and not believed.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.data.boxes.affine import GREY
from tlkit.errors import ModelFault
from tlkit.tasks.classification.classifier import head_model
from tlkit.tasks.detection.sliding_window.settings import Level

REACH = 10_080  # pixels that strides from 1 to 10, 12, 14, 16, 18, 20, 24, 28, 30 and 32 divide

# --- crops ------------------------------------------------------------------------------------------


def scores_of_crops(model: keras.Model, images: tf.Tensor, level: Level, chunk: int) -> tf.Tensor:
    """Classify every window of a level, cut out, `chunk` at a time.

    Args:
        model: uint8 [n, s, s, 3] -> float32 [n, k].
        images: uint8 [b, h, w, 3], as `Level.padded`.
        level: Where the windows are.
        chunk: Windows in a batch.

    Returns:
        float32 [b, n, k].
    """
    height, width = level.padded
    corners = level.corners().astype(np.float32)
    last = np.array([max(height - 1, 1), max(width - 1, 1)], np.float32)
    places = np.concatenate([corners / last, (corners + level.side - 1) / last], 1)
    count, number = tf.shape(images)[0], len(places)
    every = tf.tile(tf.constant(places), [count, 1])
    owners = tf.repeat(tf.range(count), number)
    classes = int(model.output_shape[-1])

    def classify(start: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        chosen = slice(start, start + chunk)
        crops = tf.image.crop_and_resize(images, every[chosen], owners[chosen], [level.side] * 2)
        answers = model(tf.cast(crops + 0.5, tf.uint8), training=False)
        return start + chunk, found.write(start // chunk, tf.cast(answers, tf.float32))

    pieces = tf.TensorArray(
        tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, classes]
    )
    _, pieces = tf.while_loop(
        lambda start, _: start < count * number, classify, (tf.constant(0), pieces), parallel_iterations=1
    )
    return tf.reshape(pieces.concat(), [-1, number, classes])


def level_image(images: tf.Tensor, level: Level) -> tf.Tensor:
    """uint8 [b, s, s, 3] -> uint8 [b, h, w, 3] as `Level.padded`: resized as `decode.resize` does, grey beyond."""
    side = int(images.shape[1])
    shrunk = (min(level.height, side), min(level.width, side))
    values = tf.cast(images, tf.float32)
    if shrunk != (side, side):
        values = tf.image.resize(values, shrunk, "area")
    if shrunk != (level.height, level.width):
        values = tf.image.resize(values, (level.height, level.width))
    height, width = level.padded
    more = [[0, 0], [0, height - level.height], [0, width - level.width], [0, 0]]
    return tf.pad(tf.cast(values + 0.5, tf.uint8), more, constant_values=GREY)


# --- convolutional ----------------------------------------------------------------------------------


class Convolutional:
    """A classifier that sees a whole level at once: its layers before the pooling for any size, and its head.

    Attributes:
        stride: Pixels of the level from one place of the maps to the next.

    Args:
        model: uint8 [b, s, s, 3] -> [b, k], with a layer "features" that averages or flattens the maps.

    Raises:
        ModelFault: It has no such layer, or its maps do not grow with the image.
    """

    def __init__(self, model: keras.Model) -> None:
        pool = next((layer for layer in model.layers if layer.name == "features"), None)
        kinds = keras.layers.GlobalAveragePooling2D | keras.layers.Flatten
        if not isinstance(pool, kinds) or len(pool.input.shape) != 4:
            raise ModelFault(f"{model.name} does not end in maps that are averaged or flattened.")
        self.flat = isinstance(pool, keras.layers.Flatten)
        self.maps = any_size(keras.Model(model.input, pool.input))
        self.head = head_model(model)
        self.side = int(model.input_shape[1])
        self.window, self.stride = self._measures()

    def _measures(self) -> tuple[int, int]:
        """Side of a window in the maps, and pixels between their places."""
        window, far = self._places(self.side), self._places(self.side + REACH)
        stride = REACH // max(far - window, 1)
        if far <= window or stride * (far - window) != REACH:
            raise ModelFault("Its maps do not grow evenly with the image.")
        return window, stride

    def _places(self, side: int) -> int:
        return int(self.maps.compute_output_shape((1, side, side, 3))[1])

    def __call__(self, images: tf.Tensor, level: Level) -> tf.Tensor:
        """uint8 [b, h, w, 3], a level as `Level.padded` -> probabilities float32 [b, n, k] of its windows."""
        maps = tf.cast(self.maps(images, training=False), tf.float32)
        hop, window = level.step // self.stride, [1, self.window, self.window, 1]
        if self.flat:
            features = tf.image.extract_patches(maps, window, [1, hop, hop, 1], [1] * 4, "VALID")
        else:
            features = tf.nn.avg_pool2d(maps, window, [1, hop, hop, 1], "VALID")
        features = features[:, : level.rows, : level.columns]
        answers = self.head(tf.reshape(features, [-1, features.shape[-1]]), training=False)
        return tf.reshape(answers, [-1, level.rows * level.columns, answers.shape[-1]])


def any_size(model: keras.Model) -> keras.Model:
    """The same layers behind an input of any height and width."""
    kind = model.inputs[0]
    images = keras.Input((None, None, kind.shape[-1]), dtype=kind.dtype)

    def shared(layer: Any) -> Any:
        return any_size(layer) if isinstance(layer, keras.Model) else layer

    return keras.models.clone_model(model, input_tensors=images, clone_function=shared)


def convolutional_or_none(model: keras.Model) -> tuple[Convolutional | None, float]:
    """The convolutional form of a classifier, and the largest difference in probability to cut-out windows.

    Tried out on noise: three by three windows, one stride apart.
    """
    try:
        form = Convolutional(model)
    except (ModelFault, ValueError):  # a layer that cannot be of another size
        return None, float("inf")
    side = form.side
    level = Level(side + 2 * form.stride, side + 2 * form.stride, 3, 3, form.stride, side)
    noise = np.random.default_rng(0).integers(0, 256, (1, *level.padded, 3)).astype(np.uint8)
    cut = scores_of_crops(model, tf.constant(noise), level, 9)
    return form, float(tf.reduce_max(tf.abs(form(tf.constant(noise), level) - cut)))
