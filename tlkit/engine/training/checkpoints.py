"""Checkpoints: what is needed to go on exactly: weights, optimiser slots and bookkeeping in one file, whole or absent.

One `.npz` (plain arrays, no pickle) is written aside and renamed, so that an interruption loses at most the
interval since the last one and never leaves half a file under the real name.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.errors import RunFailed, UsageFault

LAST, BEST = "last.npz", "best.npz"  # names of the two files of a training
_STATE = "state"


def save_variables(file: Path, variables: Sequence[Any], state: dict[str, Any]) -> None:
    """Write the values of variables, in order, and a JSON-able state."""
    arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    arrays[_STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        Path(aside).replace(file)
    except OSError as fault:
        raise RunFailed(
            f"{file} could not be written ({fault.strerror}).", "Make room, then resume the run."
        ) from fault
    finally:
        Path(aside).unlink(missing_ok=True)


def load_variables(file: Path, variables: Sequence[Any], *, partial: bool = False) -> dict[str, Any]:
    """Assign what `save_variables` wrote to variables of the same number and shapes; returns the state.

    Args:
        file: What to read.
        variables: What to assign to, in the order of writing.
        partial: Let the file hold more variables behind these, such as an optimiser's.

    Raises:
        RunFailed: The file is damaged or belongs to another model.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            count = len(variables) if partial else len(stored.files) - 1
            arrays = [stored[f"v{i}"] for i in range(count)]
            state = json.loads(stored[_STATE].tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as fault:
        raise RunFailed(f"Checkpoint {file} is damaged ({fault}).", "Start the run again.") from fault
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
        raise RunFailed(f"Checkpoint {file} belongs to another model.", "Start the run again.")
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return state


def check_settings(what: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with what was begun otherwise.

    Raises:
        UsageFault: A setting differs; the first one is named.
    """
    for name, value in before.items():
        if name in now and now[name] != value:
            raise UsageFault(
                f"{what} was begun with {name.replace('_', ' ')} {value}; now it is {now[name]}.",
                "Put it back to go on, or start a new run.",
            )


class Keeper(keras.callbacks.Callback):
    """Keeps what a training needs to go on exactly: its variables, its bookkeeping, and with which settings it began.

    Subclasses say what these are, in `variables` and `settings`, and what happens in the methods that Keras calls.

    Args:
        what: Who was begun with the settings, for people.
        folder: Where the file lies.
        state: The bookkeeping at the beginning, JSON-able.
    """

    def __init__(self, what: str, folder: Path, state: dict[str, Any]) -> None:
        super().__init__()
        self.what, self.folder, self.state = what, folder, state

    @property
    def variables(self) -> list[Any]:
        """All that the next step depends on, in the order of the file."""
        return [*self.model.variables, *self.model.optimizer.variables]

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when the training is gone on with."""
        raise NotImplementedError

    def save(self) -> None:
        """Write everything down that the next step depends on."""
        settings = json.loads(json.dumps(self.settings))
        save_variables(self.folder / LAST, self.variables, {**self.state, "settings": settings})

    def load(self) -> None:
        """Go on from what was written down last.

        Raises:
            RunFailed: See `load_variables`.
            UsageFault: See `check_settings`.
        """
        state = load_variables(self.folder / LAST, self.variables)
        self.check(state.pop("settings", {}))
        self.state = state

    def check(self, settings: dict[str, Any]) -> None:
        """Compare the settings that the training was begun with."""
        check_settings(self.what, settings, json.loads(json.dumps(self.settings)))
