"""The guard: a step with NaN changes nothing, is named with its files, and is the same when it is replayed.

All of it holds under both settings of TF_ENABLE_ONEDNN_OPTS: with oneDNN a fused relu of NaN is 0.
"""

from __future__ import annotations

import itertools
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.classification import test_fit as test_training
from tests.tasks.classification.test_fit import X, Y, fit_toy, same, values
from tests.tasks.synthesis.test_gan import PLAY, images, make
from tlkit.cli.replay_step import repeat_step
from tlkit.data.images.batches import Order
from tlkit.engine.training import replay as replays
from tlkit.engine.training.fit import Watchers, not_finite_fault
from tlkit.engine.training.nan_guard import Findings, Guard, examples_not_finite, finite, floats, look
from tlkit.engine.training.settings import Fitting
from tlkit.errors import RunFailed, UsageFault
from tlkit.tasks.synthesis.fit import fit_gan, images_of_step


@keras.saving.register_keras_serializable("tests")
class LostSlope(keras.layers.Layer):
    """Changes no value, and makes every gradient NaN."""

    def call(self, x):
        return x + lost(x)


@tf.custom_gradient
def lost(x):
    """Zeros whose gradient is NaN."""
    return tf.zeros_like(x), lambda slope: slope * math.nan


@keras.saving.register_keras_serializable("tests")
class Swallow(keras.layers.Layer):
    """What is not finite becomes 0, as in oneDNN's fused relu, on every processor."""

    def call(self, x):
        return tf.where(tf.math.is_finite(x), x, 0.0)


def swallowing_model(scaled=False):
    """Neither its loss nor its gradients tell of what is not finite in the batch or in its first kernel."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((6,))
    x = Swallow()(keras.layers.Dense(5, name="early")(Swallow()(x)))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(
        keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer,
        "categorical_crossentropy",
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def guarded_model(lost=False, clip=None):
    """Everything that moves: a dense layer, dropout's seed, batch normalisation's statistics."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(5)(x))
    x = keras.layers.Dropout(0.3)(x)
    x = LostSlope()(keras.layers.ReLU()(x)) if lost else x
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(0.01, global_clipnorm=clip), "categorical_crossentropy", jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)
    return model


def everything(model):
    return values([*model.variables, *model.optimizer.variables])


BATCH = (tf.constant(X[:8]), tf.one_hot(Y[:8], 2))
POISONED = (tf.constant(np.where(np.arange(8)[:, None] == 5, np.inf, X[:8])), BATCH[1])


def test_a_step_with_infinity_changes_nothing_and_a_sound_one_is_the_same_as_ever():
    plain, watched = guarded_model(), guarded_model()
    start = everything(plain)
    losses = []
    with Guard(watched):
        step = tf.function(watched.train_step)
        losses.append(float(step(POISONED)["loss"]))
        assert same(start, everything(watched))  # weights, slots, statistics and seeds
    watched.reset_metrics()
    with Guard(watched):
        losses.append(float(tf.function(watched.train_step)(BATCH)["loss"]))
    expected = float(tf.function(plain.train_step)(BATCH)["loss"])
    assert math.isnan(losses[0])
    assert losses[1] == expected
    assert same(everything(plain), everything(watched))
    assert not same(start, everything(watched))
    assert "train_step" not in vars(watched)  # what the guard replaced is back


@pytest.mark.onednn
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("place", ["batch", "weights"])
def test_what_enters_is_asked_although_loss_and_gradients_are_finite(place, scaled):
    model, batch = swallowing_model(scaled), POISONED if place == "batch" else BATCH
    if place == "weights":
        kernel = model.get_layer("early").kernel
        kernel.assign(np.where(np.arange(5) == 2, np.nan, values([kernel])[0]))
    start = [np.nan_to_num(value) for value in everything(model)]
    with Guard(model):
        loss = float(tf.function(model.train_step)(batch)["loss"])
    assert math.isnan(loss)
    assert same(start, [np.nan_to_num(value) for value in everything(model)])
    found = look(model, batch)
    assert math.isfinite(found.loss["loss"])  # or this test shows nothing
    assert found.gradients == found.outputs == ()
    assert found.inputs == ((5,) if place == "batch" else ())
    assert found.weights == (("early/kernel",) if place == "weights" else ())
    assert not found.sound


def test_pixels_are_not_asked():
    batch = {
        "pixels": tf.zeros([2, 4], tf.uint8),
        "boxes": tf.zeros([2, 3, 4]),
        "classes": tf.zeros([2], tf.int32),
    }
    assert [tensor.shape for tensor in floats((batch, None))] == [(2, 3, 4)]
    assert bool(finite([tf.fill([70_000], tf.constant(1, tf.float16))]))  # though their sum is no float16


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_gradient_alone_is_enough(clip):
    model = guarded_model(lost=True, clip=clip)
    start = everything(model)
    with Guard(model):
        loss = float(tf.function(model.train_step)(BATCH)["loss"])
    assert math.isnan(loss)
    assert same(start, everything(model))


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_gradients_are_clipped_as_keras_clips_them(clip):
    plain, watched, free = guarded_model(clip=clip), guarded_model(clip=clip), guarded_model()
    for model in (plain, free):
        tf.function(model.train_step)(BATCH)
    with Guard(watched):
        tf.function(watched.train_step)(BATCH)
    first, second, third = (
        model.optimizer.variables[2:] for model in (plain, watched, free)
    )  # Adam's moments
    for ours, theirs in zip(second, first, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-5, atol=0)
    assert same(values(second), values(third)) == (clip > 1)  # and the small norm does clip
    assert watched.optimizer.global_clipnorm == clip  # what the guard took away is back


def test_the_choice_stays_one_kernel():
    model = guarded_model()
    with Guard(model):
        graph = tf.function(model.train_step).get_concrete_function(BATCH).graph
    choices = [o for o in graph.get_operations() if o.type in ("If", "StatelessIf")]
    assert [o.get_attr("_lower_using_switch_merge") for o in choices] == [False]


def test_finite_by_hand():
    good = tf.constant([1.0, -2.0])
    assert bool(finite([good, None, tf.constant(3.0)]))
    for bad in (np.nan, np.inf, -np.inf):
        assert not bool(finite([good, tf.constant([0.0, bad])]))
    assert not bool(finite([tf.constant([np.inf, -np.inf])]))
    slices = tf.IndexedSlices(tf.constant([[np.nan]]), tf.constant([1]))
    assert not bool(finite([slices]))
    assert examples_not_finite((np.array([[1.0], [np.nan]]), {"y": np.array([1, 2])})) == (1,)


def test_findings_are_told_in_words():
    found = Findings({"loss": math.nan}, tuple("abcdefghij"), 12, ("w",), (1,), (0, 1))
    assert found.sentences(["x.png"]) == [
        "loss: nan",
        "gradients: 10 of 12: a, b, c, d, e, f, g, h and 2 more",
        "weights before the step: w",
        "input of: example 2",
        "output of: x.png, example 2",
    ]
    assert not found.sound
    assert Findings({"loss": 1.0}, (), 3).sound
    assert not Findings({"loss": 1.0}, (), 3, weights=("w",)).sound
    assert not Findings({"loss": 1.0}, (), 3, inputs=(0,)).sound


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Findings({"loss": math.nan}, ("w",), 1, ("w",), (1,)), "The batch held NaN or infinity in step 1: b.png."),
        (Findings({"loss": math.nan}, ("w",), 1, ("w",)), "Weights were NaN, infinite or too large to be added up before step 1: w."),
        (Findings({"loss": math.inf}, ("w",), 1), "The loss became NaN or infinite in step 1, with these files: a.png, b.png."),
        (Findings({"loss": 1.0}, ("w",), 1), "A gradient became NaN or infinite in step 1, with these files: a.png, b.png."),
    ],
)  # fmt: skip
def test_a_fault_names_the_cause_and_not_what_followed(found, expected, tmp_path):
    fault = not_finite_fault("step 1", ("a.png", "b.png"), found, tmp_path, 0.1)
    assert fault.problem == expected
    assert f"tlkit replay {tmp_path / 'replay'} repeats the step and says more." in fault.remedy


@pytest.mark.onednn
def test_a_diverged_phase_keeps_its_step_and_the_replay_says_the_same(tmp_path):
    bad = X.copy()
    bad[17] = np.nan
    order = Order(Y[:40], 8, 7, "p")
    step = next(s for s in range(order.steps) if 17 in order.of_step(0, s))
    with pytest.raises(RunFailed, match=r"tlkit replay .*replay repeats the step") as caught:
        fit_toy(tmp_path, x=bad)
    assert f"The batch held NaN or infinity in phase p, epoch 1, step {step + 1}: 17.png." in str(
        caught.value
    )
    folder = replays.find_replays(tmp_path)[0]
    kept = replays.read(folder)
    assert (kept.phase, kept.epoch, kept.step, kept.seed) == ("p", 1, step + 1, 7)
    assert kept.files == tuple(f"{i}.png" for i in order.of_step(0, step))
    x, y = replays.read_batch(folder)
    assert np.array_equal(x, bad[order.of_step(0, step)], equal_nan=True)
    assert (y.argmax(1) == Y[order.of_step(0, step)]).all()
    with np.load(folder / "variables.npz") as stored:  # the weights before the step are sound
        assert all(np.isfinite(stored[name]).all() for name in stored.files if name != "state")
    found = repeat_step(folder)
    assert found.inputs == (kept.files.index("17.png"),)
    assert (found.asked, found.weights) == (4, ())
    assert not found.sound
    assert repr(kept.found) == repr(found)  # what followed from it, which the processor decides, too


@pytest.fixture
def spoil(monkeypatch):
    """The toy's first kernel gets a NaN after some step: spoil(number, as watchers count) -> watchers."""
    model = test_training.toy()
    monkeypatch.setattr(test_training, "toy", lambda: model)

    def watchers(number):
        steps = itertools.count(1)

        def step(_done, _steps):
            if next(steps) == number:
                kernel = model.layers[1].kernel
                kernel.assign(np.where(np.arange(8) == 3, np.nan, values([kernel])[0]))

        return Watchers(step=step)

    return watchers


@pytest.mark.onednn
def test_weights_that_are_lost_within_an_epoch_are_named_and_replayed(spoil, tmp_path):
    with pytest.raises(
        RunFailed, match=r"too large to be added up before phase p, epoch 2, step 3: dense\S*/kernel\."
    ):
        fit_toy(tmp_path, watchers=spoil(7))
    found = repeat_step(replays.find_replays(tmp_path)[0])
    assert [unnumbered([name]) for name in found.weights] == [["dense/kernel"]]
    assert found.inputs == ()


def test_weights_that_are_lost_in_an_epochs_last_step_are_not_kept(spoil, tmp_path):
    with pytest.raises(RunFailed, match=r"in phase p, by the end of epoch 1: dense\S*/kernel\.") as caught:
        fit_toy(tmp_path, watchers=spoil(5))
    assert "lower learning rate (now 0.05)" in caught.value.remedy
    assert not (tmp_path / "last.npz").exists()
    with np.load(tmp_path / "best.npz") as stored:  # as the phase began
        assert all(np.isfinite(stored[name]).all() for name in stored.files if name != "state")


def unnumbered(names):
    """Names of layers without the numbers that Keras counts on within a process."""
    return [re.sub(r"_\d+", "", name) for name in names]


@pytest.mark.slow  # two GANs are traced
def test_a_gan_that_fails_twice_keeps_its_step(tmp_path):
    gan = make()
    names = [f"{i}.png" for i in range(12)]
    bad = images()

    def poison(done, *_):
        if done == 3:
            gan.generator.variables[0].assign(gan.generator.variables[0] * np.nan)

    from tlkit.tasks.synthesis.fit import GanWatchers

    notes = []
    watchers = GanWatchers(step=poison, note=notes.append)
    with pytest.raises(RunFailed, match=r"at step 4, with these files: .*\.png, again after") as caught:
        fit_gan(gan, bad, steps=6, folder=tmp_path, every=2, names=names, watchers=watchers)
    shown = images_of_step(tf.constant(3, tf.int64), 12, PLAY.batch, gan.seed).numpy()
    assert ", ".join(f"{i}.png" for i in shown) in notes[0]
    assert "tlkit replay" in caught.value.remedy
    folder = replays.find_replays(tmp_path)[0]
    kept = replays.read(folder)
    assert (kept.phase, kept.step) == ("game", 4)
    found = repeat_step(folder)
    assert unnumbered(found.weights) == ["generator/dense/kernel"]
    assert not found.sound
    assert unnumbered(found.gradients) == unnumbered(kept.found.gradients)


def test_a_damaged_replay_is_named(tmp_path):
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "replay.json").write_text("{")
    with pytest.raises(UsageFault, match=r"replay.json cannot be read"):
        repeat_step(tmp_path / "replay")


def test_other_settings_are_refused_by_name(tmp_path):
    fit_toy(tmp_path, epochs=2)
    with pytest.raises(UsageFault, match=r"Phase p was begun with learning rate 0.05; now it is 0.07."):
        fit_toy(tmp_path, epochs=2, rate=0.07)
    with pytest.raises(UsageFault, match=r"Phase p was begun with balance none; now it is weights."):
        fit_toy(tmp_path, epochs=2, fitting=Fitting(batch=8, patience=99, balance="weights"))
