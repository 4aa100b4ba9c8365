"""`.keras` files that others made: read without running anything that they bring along.

Such a file is a description and arrays. Keras's safe mode refuses what would run code (Lambda and TFSMLayer), and of
other packages only layers of Keras, keras-cv and ours are made; nothing is unpickled. A SavedModel is a program, and
is loaded by saved_models.py.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import keras

from tlkit.errors import shortened

LONGEST_REASON = 200  # characters of Keras's own message, cut between words
CODE = (
    "lambda",
    "tfsmlayer",
    "safe_mode",
    "unsafe",
)  # of which Keras speaks when it refuses to run something


def read_model(file: Path | str) -> Any:
    """Read a `.keras` file, whoever made it; it is not compiled.

    Raises:
        ValueError: It cannot be read, or holds what would have to be run; the reason is the end of a sentence.
    """
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as fault:
        raise ValueError(_reason(fault)) from fault


def _reason(fault: Exception) -> str:
    text = str(fault)
    if any(word in text.lower() for word in CODE):
        return "it holds code, such as a Lambda layer, which is never run"
    first = text.strip().partition("\n")[0].rstrip(".")
    return shortened(textwrap.shorten(first, LONGEST_REASON, placeholder=" ...")) or type(fault).__name__
