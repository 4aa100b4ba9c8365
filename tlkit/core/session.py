"""Session: a run in a process that was there before it and goes on after it, such as a notebook's.

What a command changes in its process nobody sees, for the process ends. Here it is put back; and so that a run comes to
the bits that it would have come to in a process of its own, Keras begins anew with its names, seeds and types.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tlkit.core.console import Console

VARIABLES = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")  # of the environment; see `import_tensorflow`
LOGGERS = ("tensorflow", "absl")


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put back, in the end, what starting TensorFlow and speaking change: environment, loggers, --quiet.

    What libraries set for themselves in the environment when they are imported stays, as they stay.
    """
    root = logging.getLogger()
    handlers, level_of_root = [*root.handlers], root.level
    variables = {name: os.environ.get(name) for name in VARIABLES}
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    quiet, escaped = Console.quiet, Console.escaped
    try:
        yield
    finally:
        Console.quiet, Console.escaped = quiet, escaped
        root.handlers[:] = handlers
        root.setLevel(level_of_root)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def fresh_session() -> Iterator[None]:
    """Begin with Keras as in a new process; put back, in the end, seeds, type and determinism as they were.

    Models that are there stay as they are. Keras counts the names of new layers from the start again; of TensorFlow's
    global seed the number is put back, not how many operations had drawn from it.
    """
    import numpy as np

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - what somebody may use
    was_there = "tensorflow" in sys.modules and "keras" in sys.modules
    before = _state() if was_there else (None, None, False)
    try:
        if was_there:
            _begin()
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if "keras" in sys.modules and "tensorflow" in sys.modules:
            _begin(*before)


def _state() -> tuple[object, int | None, bool]:
    """Keras's type, TensorFlow's seed, and whether it is deterministic."""
    import keras
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config

    return keras.config.dtype_policy(), context.global_seed(), config.is_op_determinism_enabled()


def _begin(policy: object = None, seed: int | None = None, deterministic: bool = False) -> None:
    """Forget what Keras has counted and set; take these."""
    import keras
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config

    keras.backend.clear_session()
    if policy is not None:
        keras.config.set_dtype_policy(policy)
    context.set_global_seed(seed)
    if deterministic:
        config.enable_op_determinism()
    else:
        config.disable_op_determinism()
