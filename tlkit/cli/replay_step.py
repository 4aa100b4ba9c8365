"""Repeating a step from its replay: the network is made again from the folder alone, without the recipe or its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tlkit.core.safe_loading.keras_models import read_model
from tlkit.engine.training.checkpoints import load_variables
from tlkit.engine.training.nan_guard import Findings, look
from tlkit.engine.training.replay import read, read_batch
from tlkit.errors import RunFailed
from tlkit.tasks.classification import classifier as classifier  # noqa: PLC0414 (makes its layers known to load_model)
from tlkit.tasks.synthesis import stylegan as stylegan  # noqa: PLC0414 (likewise)
from tlkit.tasks.synthesis.dcgan import Networks
from tlkit.tasks.synthesis.gan import Gan, look_at_gan
from tlkit.tasks.synthesis.settings import Play


def repeat_step(folder: Path) -> Findings:
    """Compute the step of a replay again, and say what is not finite.

    Args:
        folder: As `replay.find_replays` gives it.

    Raises:
        UsageFault, RunFailed: The replay cannot be read or is damaged.
    """
    replay = read(folder)
    try:
        again = _gan if replay.kind == "game" else _network
        return again(folder, replay.network, replay.seed)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFailed(f"{folder} is damaged ({error}).", "Start the run again.") from error


def _network(folder: Path, facts: dict[str, Any], _seed: int) -> Findings:
    model: Any = read_model(folder / "model.keras")
    if facts["loss"]:
        model.compile(loss=keras.losses.deserialize(facts["loss"]), jit_compile=False)
    if drawn := facts.get("drawn"):  # a detector; replays of before say nothing of it
        model.compile("sgd")
        model.seed = tuple(drawn["seed"])
        model.optimizer.iterations.assign(drawn["step"])
    load_variables(folder / "variables.npz", model.variables, partial=True)
    return look(model, read_batch(folder), [model.variables[i] for i in facts["learned"]])


def _gan(folder: Path, facts: dict[str, Any], seed: int) -> Findings:
    networks = (keras.saving.deserialize_keras_object(facts[name]) for name in ("generator", "critic"))
    stored: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in facts["play"].items()
    }
    gan = Gan(Networks(*networks), Play(**stored), seed)
    load_variables(folder / "variables.npz", gan.state)
    return look_at_gan(gan, read_batch(folder))
