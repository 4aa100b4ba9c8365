"""A step that was not finite, in a folder of its own: the network before it, its batch, and what to call it.

`replay/` holds `replay.json` (where it was: phase, epoch, step, files, seed), `variables.npz` (weights, statistics,
seeds and optimiser before the step), `batch.npz`, and the network: `model.keras`, or in `replay.json` the settings of a
GAN's two. Plain arrays and Keras's own safe format; nothing is pickled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.engine.training.checkpoints import save_variables
from tlkit.engine.training.nan_guard import Findings, look
from tlkit.errors import RunFailed, UsageFault

FOLDER = "replay"


@dataclass(frozen=True)
class Replay:
    """One step to be repeated.

    Attributes:
        kind: "network" or "GAN".
        phase: The phase's name, or "GAN".
        epoch: From 1; 0 where there are none.
        step: From 1, within the epoch.
        files: The files of the batch, in its order.
        seed: The run's.
        learning_rate: At this step.
        found: What was not finite when it happened.
        network: What is needed to make the network again, beside its weights.
    """

    kind: str
    phase: str
    epoch: int
    step: int
    files: tuple[str, ...]
    seed: int
    learning_rate: float
    found: Findings
    network: dict[str, Any]

    @property
    def place(self) -> str:
        """Where it was, for people."""
        return ", ".join(
            part
            for part in (
                f"phase {self.phase}",
                f"epoch {self.epoch}" if self.epoch else "",
                f"step {self.step}",
            )
            if part
        )


def find_replays(folder: Path) -> list[Path]:
    """The replays below a folder, the newest last."""
    files = sorted(folder.rglob(f"{FOLDER}/replay.json"), key=lambda file: file.stat().st_mtime_ns)
    return [file.parent for file in files]


def write(folder: Path, replay: Replay, state: Sequence[Any], batch: Any, model: keras.Model | None) -> Path:
    """Write a replay aside and rename it to `folder/replay`; an older one there is replaced.

    Args:
        folder: Of the phase's checkpoints.
        replay: Where it was.
        state: All variables, as they were before the step.
        batch: Nested tuples and dicts of arrays.
        model: Kept as `model.keras`; None where `replay.network` says enough.
    """
    aside, final = folder / f".{FOLDER}.part", folder / FOLDER
    for old in (aside, final):
        shutil.rmtree(old, ignore_errors=True)
    aside.mkdir(parents=True)
    save_variables(aside / "variables.npz", state, {})
    arrays: dict[str, Any] = dict(_leaves(batch))
    np.savez(aside / "batch.npz", **arrays)
    if model is not None:
        model.save(aside / "model.keras")
    text = json.dumps({"schema_version": 1, **asdict(replay)}, indent=1, ensure_ascii=False)
    (aside / "replay.json").write_text(text + "\n", encoding="utf-8")
    return aside.rename(final)


def read(folder: Path) -> Replay:
    """What a replay says of itself.

    Raises:
        UsageFault: It cannot be read.
    """
    try:
        stored = json.loads((folder / "replay.json").read_text(encoding="utf-8"))
        stored.pop("schema_version")
        found: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in stored.pop("found").items()
        }
        return Replay(**{**stored, "files": tuple(stored["files"]), "found": Findings(**found)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageFault(f"{folder}/replay.json cannot be read: {error}.", "Start the run again.") from error


def read_batch(folder: Path) -> Any:
    """The batch of a replay, in the structure that it was written in.

    Raises:
        RunFailed: It is damaged.
    """
    try:
        with np.load(folder / "batch.npz", allow_pickle=False) as stored:
            return _nested({name: stored[name] for name in stored.files})
    except (OSError, ValueError, KeyError) as error:
        raise RunFailed(f"{folder}/batch.npz is damaged ({error}).", "Start the run again.") from error


def write_step(folder: Path, model: keras.Model, batch: Any, **place: Any) -> Findings:
    """Keep a step of `fit` that was not finite; the model is as it was before it.

    Args:
        folder: Of the phase's checkpoints.
        model: Compiled.
        batch: As `fit` got it; kept is what the network learns of it.
        place: phase, epoch, step, files, seed, learning_rate: see `Replay`.

    Returns:
        What was not finite, found by computing the step once more.
    """
    network: Any = model
    drawn = None
    if hasattr(
        network, "learned"
    ):  # a detector learns its batch in another size, say; it is what is repeated
        batch = tf.nest.map_structure(np.asarray, network.learned(*batch))
        drawn = {"seed": list(network.seed), "step": int(network.optimizer.iterations)}  # of what it samples
    learned = {id(variable) for variable in network.trainable_variables}
    loss = getattr(network, "loss", None)  # that `compile` was given; None where the network has its own
    facts = {
        "learned": [i for i, variable in enumerate(network.variables) if id(variable) in learned],
        "loss": keras.losses.serialize(loss) if isinstance(loss, keras.losses.Loss) else None,
        "drawn": drawn,
    }
    state = [*network.variables, *network.optimizer.variables]
    unknown = Replay("network", **place, found=Findings({}, (), 0), network=facts)
    there = write(folder, unknown, state, batch, model)
    found = look(model, batch)
    text = json.dumps({"schema_version": 1, **asdict(unknown), "found": asdict(found)}, indent=1)
    (there / "replay.json").write_text(text + "\n", encoding="utf-8")
    return found


def _leaves(tree: Any, path: str = "batch") -> list[tuple[str, np.ndarray]]:
    """Path and array of every leaf; "#" stands before a place, "." before a name."""
    if isinstance(tree, dict):
        return [leaf for name, value in tree.items() for leaf in _leaves(value, f"{path}.{name}")]
    if isinstance(tree, list | tuple):
        return [leaf for place, value in enumerate(tree) for leaf in _leaves(value, f"{path}#{place}")]
    return [] if tree is None else [(path, np.asarray(tree))]


def _nested(leaves: dict[str, np.ndarray], path: str = "batch") -> Any:
    """The inverse of `_leaves`, with tuples for lists."""
    if path in leaves:
        return leaves[path]
    inside = [name[len(path) :] for name in leaves if name.startswith((f"{path}#", f"{path}."))]
    below = list(dict.fromkeys(re.findall(r"[#.][^#.]*", rest)[0] for rest in inside))
    if all(part.startswith("#") for part in below):
        return tuple(_nested(leaves, path + part) for part in below)
    return {part[1:]: _nested(leaves, path + part) for part in below}
