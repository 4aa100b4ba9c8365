"""Phases: what learns, what stays bit-equal, what is kept, and that an interruption leaves no trace."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.backbones.feature_model import feature_model, unfreeze
from tlkit.backbones.table import WeightsOrigin
from tlkit.data.images.augment import Augmentation
from tlkit.data.images.batches import Order
from tlkit.data.images.load import load_split
from tlkit.engine.training.checkpoints import load_variables
from tlkit.engine.training.fit import Watchers
from tlkit.engine.training.settings import Fitting, Phase
from tlkit.errors import RunFailed
from tlkit.tasks.classification.classifier import Head, build_classifier, head_model, set_temperature
from tlkit.tasks.classification.fit import Best, fit_phase
from tlkit.tasks.classification.phases import Learning, fit_phases, restore_last

BACKBONE, SIZE = "tiny", 32


@pytest.fixture
def split(make_folder):
    return load_split(str(make_folder(bar=10, disc=10))).split


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch):
    """A row of the table with four convolutions, so that a phase takes a second and not a minute."""
    from tlkit.backbones import feature_model
    from tlkit.backbones import table as backbones

    row = dataclasses.replace(backbones.BACKBONES["mobilenet"], name="tiny", top="conv_3", least_size=16)
    monkeypatch.setitem(backbones.BACKBONES, "tiny", row)
    monkeypatch.setattr(
        feature_model, "build_backbone", lambda *_: (tiny_body(), WeightsOrigin("none", "random", None))
    )


def tiny_body():
    x = images = keras.Input((SIZE, SIZE, 3))
    for number in range(1, 5):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"norm_{number}")(x))
    return keras.Model(images, x)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return build_classifier(BACKBONE, ("bar", "disc"), SIZE, weights="none", head=Head(dropout=0.3))[0]


def learning(split, clip_norm=1.0, **how):
    return Learning(split, Fitting(batch=6, clip_norm=clip_norm), BACKBONE, **how)


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def same(before, after):
    return all((a == b).all() for a, b in zip(before, after, strict=True))


def norms(model):
    body = model.get_layer("backbone")
    return [p for p in body._flatten_layers() if isinstance(p, keras.layers.BatchNormalization)]


def test_the_model_takes_pixels_and_gives_probabilities(model):
    images = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 3)).astype(np.uint8)
    answer = model.predict(images, verbose=0)
    assert answer.dtype == np.float32
    assert answer.sum(1) == pytest.approx(np.ones(3), abs=1e-6)
    assert model.layers[-1].class_names == ("bar", "disc")


def test_head_and_feature_models_make_the_whole(model):
    images = np.random.default_rng(0).integers(0, 255, (3, SIZE, SIZE, 3)).astype(np.uint8)
    features = feature_model(model).predict(images, verbose=0)
    assert np.ptp(features, axis=0).max() > 0
    assert head_model(model).predict(features, verbose=0) == pytest.approx(
        model.predict(images, verbose=0), abs=1e-6
    )


def test_temperature_divides_logits_and_survives_saving(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
    before = model.predict(images, verbose=0)
    set_temperature(model, 2.0)
    expected = np.sqrt(before) / np.sqrt(before).sum(1, keepdims=True)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert model.predict(images, verbose=0) == pytest.approx(expected, abs=1e-5)
    assert (loaded.predict(images, verbose=0) == model.predict(images, verbose=0)).all()
    assert loaded.layers[-1].class_names == ("bar", "disc")


@pytest.mark.parametrize(("stage", "moves"), [("head", set()), ("top", {"top"}), ("all", {"top", "bottom"})])
def test_each_stage_moves_only_its_layers(model, split, tmp_path, stage, moves):
    from tlkit.backbones.table import BACKBONES

    body = model.get_layer("backbone")
    names = [layer.name for layer in body.layers]
    edge = names.index(BACKBONES[BACKBONE].top)
    bottom = [v for layer in body.layers[:edge] for v in layer.trainable_variables]
    top = [v for layer in body.layers[edge:] for v in layer.trainable_variables]
    before = {"bottom": values(bottom), "top": values(top)}
    logits = values(model.get_layer("logits").variables)
    fit_phases(model, learning(split), [Phase(stage, stage, 1, 0.01)], tmp_path)
    restore_last(model, tmp_path, Phase(stage, stage, 1, 0.01))
    moved = {
        name for name, kept in (("bottom", bottom), ("top", top)) if not same(before[name], values(kept))
    }
    assert moved == moves
    assert not same(logits, values(model.get_layer("logits").variables))


@pytest.mark.parametrize("stage", ["top", "all"])
def test_batch_normalisation_stays_bit_equal_while_the_backbone_learns(model, split, tmp_path, stage):
    layers = norms(model)
    assert len(layers) == 4
    before = values([v for layer in layers for v in layer.variables])
    fit_phases(model, learning(split), [Phase(stage, stage, 2, 0.01)], tmp_path)
    restore_last(model, tmp_path, Phase(stage, stage, 2, 0.01))
    assert same(before, values([v for layer in layers for v in layer.variables]))


def test_batch_normalisation_learns_when_asked(model, split, tmp_path):
    moving = [layer.moving_mean for layer in norms(model)]
    before = values(moving)
    fit_phases(model, learning(split, batch_norm=True), [Phase("all", "all", 1, 0.01)], tmp_path)
    restore_last(model, tmp_path, Phase("all", "all", 1, 0.01))
    assert not same(before, values(moving))


def test_thaw_head_freezes_the_whole_backbone(model):
    unfreeze(model, "head", BACKBONE)
    assert model.get_layer("backbone").trainable_variables == []
    assert len(model.trainable_variables) == 2


# --- one phase on plain features: quick enough to look closely ---


def toy(seed=0, dropout=0.4):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((6,))
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(8, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(np.int32)


def fit_toy(folder, epochs=6, fitting=None, watchers=None, stop_after=None, x=X, rate=0.05):
    model = toy()
    fitting = fitting or Fitting(batch=8, patience=99)
    order = Order(Y[:40], fitting.batch, 7, "p", fitting.balance)
    features, targets = tf.constant(x[:40]), tf.one_hot(Y[:40], 2)

    def stream(first):
        return order.stream(first, epochs).map(
            lambda e, s, c: (tf.gather(features, c), tf.gather(targets, c))
        )

    def epoch(row, counts):
        rows.append(row)
        assert counts.sum() == 10
        if stop_after == row["epoch"]:
            raise KeyboardInterrupt

    rows = []
    validation = tf.data.Dataset.from_tensor_slices((x[40:], tf.one_hot(Y[40:], 2))).batch(10)
    watchers = watchers or Watchers(epoch=epoch)
    names = [f"{i}.png" for i in range(40)]
    result = fit_phase(
        model,
        Phase("p", "all", epochs, rate),
        fitting,
        order,
        stream,
        validation,
        folder,
        Best(),
        names=names,
        watchers=watchers,
    )
    return model, result, rows


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    whole, result, rows = fit_toy(tmp_path / "whole")
    for stop in (1, 3):
        folder = tmp_path / f"stopped_{stop}"
        with pytest.raises(KeyboardInterrupt):  # after epoch `stop` was told, before it was kept: it is lost
            fit_toy(folder, stop_after=stop)
        resumed, again, later = fit_toy(folder)
        assert [row["epoch"] for row in later] == list(range(stop, 7))
        assert same(values(whole.variables[:-1]), values(resumed.variables[:-1]))
        assert (again.best_epoch, again.best_loss) == (result.best_epoch, result.best_loss)
        timeless = [{**row, "seconds": 0} for row in rows]
        assert [{**row, "seconds": 0} for row in later] == timeless[stop - 1 :]


def test_resuming_a_finished_phase_changes_nothing(tmp_path):
    first, result, _ = fit_toy(tmp_path)
    second, again, rows = fit_toy(tmp_path)
    assert rows == []
    assert again == result
    assert same(values(first.trainable_variables), values(second.trainable_variables))


def test_the_best_epoch_is_what_is_left_and_the_last_is_kept(tmp_path):
    model, result, rows = fit_toy(tmp_path, epochs=12)
    losses = [row["validation_loss"] for row in rows]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert [row["best"] for row in rows] == [
        loss < min([np.inf, *losses[:i]]) for i, loss in enumerate(losses)
    ]
    again = model.evaluate(X[40:], tf.one_hot(Y[40:], 2), verbose=0)[0]
    assert again == pytest.approx(min(losses), rel=1e-5)
    load_variables(tmp_path / "last.npz", model.variables, partial=True)
    assert model.evaluate(X[40:], tf.one_hot(Y[40:], 2), verbose=0)[0] == pytest.approx(losses[-1], rel=1e-5)


def test_early_stopping_waits_for_patience(tmp_path):
    _, result, rows = fit_toy(tmp_path, epochs=60, fitting=Fitting(batch=8, patience=2), rate=0.5)
    assert result.stopped == "no lower validation loss for 2 epochs"
    assert [row["best"] for row in rows[-2:]] == [False, False]
    assert len(rows) < 60


def test_plateau_lowers_the_rate_after_two_epochs_without_progress(tmp_path):
    _, _, rows = fit_toy(
        tmp_path, epochs=12, fitting=Fitting(batch=8, patience=99, schedule="plateau"), rate=0.5
    )
    waited, expected = 0, 0.5
    for row in rows:
        waited = 0 if row["best"] else waited + 1
        expected *= 0.3 if waited and waited % 2 == 0 else 1
        assert row["learning_rate"] == pytest.approx(expected, rel=1e-5)
    assert expected < 0.5


def test_cosine_warms_up_and_falls_to_nothing(tmp_path):
    _, _, rows = fit_toy(tmp_path, epochs=10, fitting=Fitting(batch=8, patience=99, warmup=0.2), rate=0.1)
    rates = [row["learning_rate"] for row in rows]
    assert rates[0] == pytest.approx(0.05, rel=0.01)
    assert rates[1] == pytest.approx(0.1, rel=0.01)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit_toy(tmp_path, stop_after=3)
    (tmp_path / "last.npz").write_bytes((tmp_path / "last.npz").read_bytes()[:200])
    with pytest.raises(RunFailed, match=r"last.npz is damaged"):
        fit_toy(tmp_path)


# --- cached features ---


def test_the_head_phase_runs_the_backbone_once_and_then_never(model, split, tmp_path, monkeypatch):
    from tlkit.tasks.classification import phases

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    class Counting(phases.Extractor):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(phases, "Extractor", Counting)
    head = [Phase("head", "head", 3, 0.01)]
    fit_phases(model, learning(split), head, tmp_path / "1")
    fit_phases(model, learning(split), head, tmp_path / "2")
    assert [extractor.computed for extractor in made] == [16, 0]  # 12 training and 4 validation images
    views = {"augmentation": Augmentation(flip="horizontal", rotation=20), "views": 3}
    fit_phases(model, learning(split, **views), head, tmp_path / "3")
    assert made[-1].computed == 24  # two more views of the training images only


def test_phases_go_on_from_the_best_and_never_end_worse(model, split, tmp_path):
    phases = [Phase("head", "head", 4, 0.01), Phase("all", "all", 1, 5.0)]  # a rate that ruins everything
    results = fit_phases(model, learning(split, clip_norm=0), phases, tmp_path)
    assert results[1].best_epoch == 0
    assert results[1].best_loss == results[0].best_loss
