"""Where a classifier looked: Grad-CAM (Selvaraju 2017, section 3) on the last feature map of the backbone."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """How much each place speaks for a class.

    Args:
        model: A classifier of `build_classifier`.
        images: uint8 [n, s, s, 3].
        classes: int [n], the class of each image to explain.

    Returns:
        float32 [n, h, w] in 0..1, of the size of the last feature map; zero where nothing speaks for the class.
        None where the answer has no gradient: votes of nearest neighbours.
    """
    pooling = model.get_layer("features")
    if not len(images):
        return np.zeros((0, *pooling.input.shape[1:3]), np.float32)
    last_map = keras.Model(model.input, pooling.input)
    maps = tf.convert_to_tensor(last_map(tf.constant(images), training=False))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        score = _head_score(model, maps, classes)
    gradient = tape.gradient(score, maps)
    if gradient is None:
        return None
    weights = tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1))
    return (heat / tf.maximum(tf.reduce_max(heat, axis=(1, 2), keepdims=True), 1e-9)).numpy()


def _head_score(model: keras.Model, maps: tf.Tensor, classes: np.ndarray) -> tf.Tensor:
    """Sum over images of the logit of the class asked for, from the feature map on."""
    x = maps
    names = [layer.name for layer in model.layers]
    for layer in model.layers[names.index("features") : names.index("logits") + 1]:
        x = layer(x, training=False) if isinstance(layer, keras.layers.Dropout) else layer(x)
    return tf.reduce_sum(tf.gather(x, tf.constant(classes, tf.int32), batch_dims=1))
