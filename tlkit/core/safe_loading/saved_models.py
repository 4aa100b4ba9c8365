"""SavedModels are loaded here alone: checked first as files and as a program, then given to TensorFlow.

A file that was cut, flipped or emptied is noticed by what TensorFlow itself wrote beside it: fingerprint.pb has hashes
of saved_model.pb and of variables.index, which has one of each variable. These are against bad luck; whoever makes a
model can make its hashes. Against that there is `programs.check_program`.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

from tlkit.core.safe_loading.programs import check_program
from tlkit.errors import ModelFault

GRAPH, INDEX, FINGERPRINT = "saved_model.pb", "variables/variables.index", "fingerprint.pb"
READ = ("variables", "assets", "debug", FINGERPRINT)  # what TensorFlow reads beside the graph
LARGEST = 2**27  # bytes of a file that is read as a whole; those of tlkit have up to some millions
REMEDY = "Copy the folder again from where it was made, or make the run anew with its recipe."


def load_saved_model(folder: Path) -> Any:
    """Load a SavedModel, whoever made it, after it was checked.

    Args:
        folder: With saved_model.pb and variables/ in it.

    Returns:
        What `tf.saved_model.load` gives; its signatures live only as long as it does.

    Raises:
        ModelFault: It is damaged, or could do more than compute an answer.
        FileNotFoundError: There is none.
    """
    check_saved_model(folder)
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(folder))
    except Exception as fault:  # TensorFlow raises of every kind where a graph contradicts itself
        raise damaged(folder, f"TensorFlow cannot load it ({first_line(fault)})") from fault


def check_saved_model(folder: Path) -> None:
    """Refuse a SavedModel that is damaged or could do more than compute an answer; nothing of it is run.

    Raises:
        ModelFault: It is.
        FileNotFoundError: There is none.
    """
    _check_files(folder)
    graph = read_graph(folder)
    _check_fingerprint(folder, graph)
    check_program(graph, folder)
    _check_variables(folder)


def damaged(folder: Path, why: str) -> ModelFault:
    """The fault of a SavedModel that cannot be what was once written.

    Args:
        folder: Where it lies.
        why: The end of a sentence.
    """
    return ModelFault(f"The SavedModel in {folder} is damaged: {why}.", REMEDY)


def _check_files(folder: Path) -> None:
    if not (folder / GRAPH).is_file():
        raise FileNotFoundError(f"{folder / GRAPH} is not there")
    for name in READ:
        for path in (folder / name, *(folder / name).rglob("*")):
            _check_place(path, folder)
    for name in (GRAPH, INDEX):
        if not (folder / name).is_file():
            raise damaged(folder, f"{name} is missing")
        if not (folder / name).stat().st_size:
            raise damaged(folder, f"{name} is empty")
    for path in (folder / GRAPH, folder / INDEX, folder / FINGERPRINT, *(folder / "debug").glob("*")):
        if path.is_file() and path.stat().st_size > LARGEST:
            raise ModelFault(
                f"{path} has {path.stat().st_size:,} bytes; {LARGEST:,} are the most that is read.",
                "Make the SavedModel anew, with its weights in variables.",
            )


def _check_place(path: Path, folder: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise ModelFault(
            f"{path} is a link that leads out of {folder}.", "Copy the file itself to where the link is."
        )
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would never end
        raise ModelFault(f"{path} is neither a file nor a folder.", REMEDY)


def read_graph(folder: Path) -> Any:
    """The message of a folder's saved_model.pb, which is a description and runs nothing.

    Raises:
        ModelFault: It cannot be read as one.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return SavedModel.FromString((folder / GRAPH).read_bytes())
    except (DecodeError, OSError) as fault:
        raise damaged(folder, f"{GRAPH} cannot be read as one") from fault


def _check_fingerprint(folder: Path, graph: Any) -> None:
    """Compare what lies there with the fingerprint beside it, where there is one that this TensorFlow would make."""
    from google.protobuf.message import DecodeError
    from tensorflow import __version__
    from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef
    from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting

    versions = {meta.meta_info_def.tensorflow_version.rpartition(".")[0] for meta in graph.meta_graphs}
    if not (folder / FINGERPRINT).is_file() or versions != {__version__.rpartition(".")[0]}:
        return
    try:
        stored = FingerprintDef.FromString((folder / FINGERPRINT).read_bytes())
        found = FingerprintDef.FromString(fingerprinting.CreateFingerprintDef(str(folder)))
    except (DecodeError, OSError, fingerprinting.FingerprintException) as fault:
        raise damaged(folder, f"{FINGERPRINT} cannot be read, or does not go with {GRAPH}") from fault
    if stored.version.producer != found.version.producer:
        return
    for name, file in (("saved_model_checksum", GRAPH), ("checkpoint_hash", INDEX)):
        if getattr(stored, name) != getattr(found, name):
            raise damaged(folder, f"{file} is not the one of which {FINGERPRINT} speaks")


def _check_variables(folder: Path) -> None:
    """Compare the numbers that variables.index promises with the bytes that are there, before room for them is taken."""
    import tensorflow as tf

    prefix = folder / "variables" / "variables"
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        sizes = {name: kind.size for name, kind in reader.get_variable_to_dtype_map().items()}
    except Exception as fault:  # of every kind, as in load_saved_model
        raise damaged(folder, f"{INDEX} cannot be read ({first_line(fault)})") from fault
    promised = sum(math.prod(shape) * sizes[name] for name, shape in shapes.items())
    there = sum(file.stat().st_size for file in prefix.parent.glob("variables.data-*"))
    if promised > there:
        raise damaged(folder, f"its variables have {promised:,} bytes by {INDEX}, and {there:,} lie there")


def first_line(fault: BaseException) -> str:
    """The reason that TensorFlow gives, as the end of a sentence that a terminal may show."""
    text = str(getattr(fault, "message", fault)).strip().partition("\n")[0]
    text = re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]", "", text).rstrip(".")  # where in the graph
    return printable(text[:300]) or type(fault).__name__


def printable(text: str) -> str:
    """A text out of a model of others without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)
