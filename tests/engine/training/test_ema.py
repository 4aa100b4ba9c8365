"""Moving average: that of a plain loop, and the model gets its own weights back."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.classification.test_fit import values
from tlkit.engine.training.ema import Average, follow


def test_the_average_is_the_one_of_a_plain_loop():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
    average = Average(model, 0.9)
    kept = values(model.weights)
    for step in range(1, 200):
        for weight in model.weights:
            weight.assign(np.full(weight.shape, step, np.float32))
        share = min(0.9, (1 + step) / (10 + step))
        kept = [share * k + (1 - share) * step for k in kept]
        average.follow(tf.constant(step))
    for variable, expected in zip(average.variables, kept, strict=True):
        assert variable.numpy() == pytest.approx(expected, rel=1e-4)
    with average.in_place():
        assert values(model.weights)[0] == pytest.approx(kept[0], rel=1e-4)
    assert (values(model.weights)[0] == 199).all()


def test_variables_move_by_their_share_in_their_own_type():
    kept = [tf.Variable([0.0, 4.0]), tf.Variable(tf.cast([8.0], tf.float16))]
    live = [tf.Variable([2.0, 4.0]), tf.Variable(tf.cast([0.0], tf.float16))]
    follow(kept, live, tf.constant(0.25))
    assert [one.numpy().tolist() for one in kept] == [[0.5, 4.0], [6.0]]
