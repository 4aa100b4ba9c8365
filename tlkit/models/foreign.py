"""Models that others made: read without running anything that they bring along.

A `.keras` file is a description and arrays. Keras's safe mode refuses what would run code (Lambda and TFSMLayer), and
of other packages only layers of Keras, keras-cv and ours are made; nothing is unpickled. A SavedModel is a program:
TensorFlow runs its graph. One that names operations which run Python, or read or write files other than its own
variables, is refused before it is loaded; beyond that, a SavedModel is to be trusted as any program is.

Source: https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md ("models are programs").
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from tlkit.errors import ModelFault, shortened

# Operations of TensorFlow that no network needs: they run Python, or touch files, processes or other machines.
REACHING_OUT = re.compile(
    r"(Eager)?PyFunc(Stateless)?|ReadFile|WriteFile|MatchingFiles|.*(Reader|ReaderV2)|InitializeTableFromTextFile(V2)?"
    r"|.*(Record|TextLine|RecordV2|Sql|LMDB|DataService|Snapshot|Cache|Load|Save|MatchingFiles)Dataset(V\d+|Op)?"
    r"|Debug(Identity|NumericSummary|NanCount).*|.*SummaryFileWriter|.*SummaryWriter|.*SummaryDbWriter|PrintV2|RpcCall"
    r"|RpcServer.*|RpcClient|SaveSlices|Save|Restore|RestoreSlice|.*BigQuery.*|XlaHostCompute|_?Send|_?Recv"
)
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


def check_program(folder: Path) -> None:
    """Refuse a SavedModel whose graph reaches out of itself; nothing of it is loaded.

    Raises:
        ModelFault: It does; the operation is named.
        OSError: There is none, or it cannot be read.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as fault:
        raise OSError(f"{folder / 'saved_model.pb'} is damaged") from fault
    found = next((name for name in _operations(model) if REACHING_OUT.fullmatch(name)), None)
    if found:
        raise ModelFault(
            f"{folder} holds a SavedModel with the operation {found}, which no network needs.",
            "It could read or change files here; make the SavedModel anew from a .keras file.",
        )


def _operations(model: Any) -> Iterator[str]:
    for graph in (one.graph_def for one in model.meta_graphs):
        yield from (node.op for node in graph.node)
        yield from (node.op for function in graph.library.function for node in function.node_def)
