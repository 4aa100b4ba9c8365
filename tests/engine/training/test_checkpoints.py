"""Checkpoints: only what they belong to is gone on with."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tlkit.engine.training.checkpoints import Keeper, load_variables, save_variables
from tlkit.errors import RunFailed, UsageFault


def test_checkpoints_refuse_other_shapes(tmp_path):
    save_variables(tmp_path / "c.npz", [tf.Variable([1.0, 2.0])], {"epoch": 3})
    kept = tf.Variable([0.0, 0.0])
    assert load_variables(tmp_path / "c.npz", [kept]) == {"epoch": 3}
    assert kept.numpy().tolist() == [1, 2]
    with pytest.raises(RunFailed, match="another model"):
        load_variables(tmp_path / "c.npz", [tf.Variable([0.0])])


class Toy(Keeper):
    batch = 8

    @property
    def settings(self):
        return {"batch": self.batch, "rates": (0.1, 0.2)}


def test_a_training_goes_on_with_its_own_settings_only(tmp_path):
    def keeper(state):
        made = Toy("The toy", tmp_path, state)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        made.set_model(model)
        return made

    first, second = keeper({"epoch": 3}), keeper({"epoch": 0})
    first.save()
    second.load()
    assert second.state == {"epoch": 3}
    for one, other in zip(first.variables, second.variables, strict=True):
        assert (keras.ops.convert_to_numpy(one) == keras.ops.convert_to_numpy(other)).all()
    second.batch = 4
    with pytest.raises(UsageFault, match="The toy was begun with batch 8; now it is 4"):
        second.load()
