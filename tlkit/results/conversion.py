"""The model of a run for other runtimes: ONNX and LiteRT, checked against the Keras model before it is kept.

Both take pixels, uint8 [n, s, s, 3] RGB, and give probability float32 [n, k]; decoding and resizing stay with
the caller (the SavedModel of the run has them inside). The class names travel with the file: in ONNX as
metadata, for LiteRT in a text file beside it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import ExportFault, ModelFault
from tlkit.models.classifier import class_names
from tlkit.models.foreign import read_model

TOLERANCE = 1e-4  # largest difference allowed to the Keras model, in probability
CHECKED_IMAGES = 8


def to_onnx(run: Path, file: Path) -> dict[str, Any]:
    """Write the model of a run as ONNX; any batch size.

    Its metadata hold `classes` (a JSON list) and `image_size`.

    Args:
        run: A finished run's folder, with model.keras.
        file: Where to write; must not exist.

    Returns:
        largest_difference: To the Keras model, in probability. spread: Standard deviation of a class's
        probability over the test pictures, the largest. images: How many were compared. bytes: Size.

    Raises:
        ExportFault: The extra is not installed, the file is there already, or it answers differently.
        ModelFault: The run has no readable model.keras.
    """
    onnx, onnxruntime, _ = onnx_packages()
    check_absent(file)
    model = load_classifier(run)

    def write(target: Path) -> None:
        model.export(str(target), format="onnx", verbose=False)
        graph = onnx.load(str(target))
        about = {"classes": json.dumps(class_names(model)), "image_size": str(model.input_shape[1])}
        onnx.helper.set_model_props(graph, about)
        _rename_output(graph.graph, "probability")
        onnx.save(graph, str(target))

    def answer(target: Path, images: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: images})[0]

    return convert(file, "ONNX", write, answer, *_answered(model))


def onnx_packages() -> tuple[Any, Any, Any]:
    """The modules onnx, onnxruntime and tf2onnx, all of them, for Keras would miss tf2onnx less clearly.

    Raises:
        ExportFault: One is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ImportError as fault:
        raise ExportFault(
            f"--format onnx needs {fault.name}, which is not installed.", "pip install 'tlkit[onnx]'"
        ) from fault
    return onnx, onnxruntime, tf2onnx


def to_litert(run: Path, file: Path) -> dict[str, Any]:
    """Write the model of a run as LiteRT, and its class names beside it, one a line, in NAME.labels.txt.

    The file is made for a batch of 1; `resize_tensor_input` takes others.

    Args, Returns, Raises: As `to_onnx`; `labels` is the second file.
    """
    labels = file.with_suffix(".labels.txt")
    check_absent(labels)
    check_absent(file)
    model = load_classifier(run)

    def write(target: Path) -> None:
        model.export(str(target), format="litert", verbose=False)

    checked = convert(file, "LiteRT", write, _litert_answer, *_answered(model))
    write_labels(labels, class_names(model))
    return {**checked, "labels": str(labels)}


def write_labels(file: Path, names: Sequence[str]) -> None:
    """Class names, one a line."""
    file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def convert(
    file: Path,
    kind: str,
    write: Callable[[Path], None],
    answer: Callable[[Path, np.ndarray], np.ndarray],
    images: np.ndarray,
    expected: np.ndarray,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Write into a folder aside, compare, and only then put the file where it was wanted.

    Args:
        file: Where to write; must not exist.
        kind: "ONNX" or "LiteRT".
        write: Writes the model into a file.
        answer: What that file says of images.
        images: uint8 [n, s, s, 3].
        expected: What the Keras model says of them, float [n, ...].
        tolerance: Largest difference allowed.

    Returns:
        largest_difference, spread, images, bytes: see `to_onnx`.

    Raises:
        ExportFault: It cannot be written, or answers differently.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as place, _quiet():
        target = Path(place) / f"model{'.onnx' if kind == 'ONNX' else '.tflite'}"
        try:
            write(target)
            actual = answer(target, images)
        except Exception as fault:  # the converters raise what they like at a layer they do not know
            reason = str(fault).strip().split("\n")[0] or type(fault).__name__
            raise ExportFault(
                f"The model cannot be written as {kind}: {reason}",
                "Serve the SavedModel in the run's folder, or train another backbone.",
            ) from fault
        checked = _compare(kind, expected, actual, tolerance)
        target.replace(file)
    return {**checked, "images": len(images), "bytes": file.stat().st_size}


def _answered(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Test pictures and what the Keras model says of them; an export wants one call before."""
    images = test_pictures(model.input_shape[1])
    return images, keras.ops.convert_to_numpy(model(images, training=False))


def load_classifier(run: Path) -> keras.Model:
    """The Keras model of a run.

    Raises:
        ModelFault: The folder has no model.keras, or it cannot be read.
    """
    file = run / "model.keras"
    try:
        return read_model(file)
    except ValueError as fault:
        raise ModelFault(
            f"{file} cannot be read as a model: {fault}.",
            "Name a finished run of a recipe that makes a classifier.",
        ) from fault


def test_pictures(size: int) -> np.ndarray:
    """uint8 [8, size, size, 3]: noise from coarse to fine, each in its own colours, always the same."""
    generator = np.random.default_rng(0)
    pictures = []
    for number in range(CHECKED_IMAGES):
        cells = generator.integers(0, 256, (2 ** (1 + number % 5), 2 ** (1 + number % 5), 3), np.uint8)
        picture = tf.image.resize(cells, (size, size))
        pictures.append(tf.cast(picture, tf.uint8).numpy())
    return np.stack(pictures)


def _compare(kind: str, expected: np.ndarray, actual: np.ndarray, tolerance: float) -> dict[str, float]:
    difference = float(np.abs(expected - actual).max())
    spread = float(expected.std(axis=0, dtype=np.float64).max())
    if not difference <= tolerance:  # NaN is not
        raise ExportFault(
            f"The {kind} model differs from the Keras model by {difference:.2g}, more than {tolerance:g}.",
            "It was not kept. Serve the SavedModel in the run's folder, or train without mixed precision.",
        )
    if spread == 0:
        raise ExportFault(
            f"The model answers the same for {CHECKED_IMAGES} pictures, so {kind} cannot be checked.",
            "It was not kept. Train the model first.",
        )
    return {"largest_difference": difference, "spread": spread}


def _rename_output(graph: Any, name: str) -> None:
    """Call the only output of an ONNX graph `name`; the converter calls it "Identity:0"."""
    old = graph.output[0].name
    for node in graph.node:
        node.output[:] = [name if output == old else output for output in node.output]
        node.input[:] = [name if value == old else value for value in node.input]
    graph.output[0].name = name


def litert_interpreter(file: Path) -> Any:
    """A LiteRT file, ready to run, without the delegates that announce themselves."""
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return tf.lite.Interpreter(model_path=str(file), experimental_op_resolver_type=plain)


def _litert_answer(target: Path, images: np.ndarray) -> np.ndarray:
    interpreter = litert_interpreter(target)
    put, get = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.allocate_tensors()
    answers = []
    for image in images:
        interpreter.set_tensor(put, image[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(get)[0].copy())
    return np.stack(answers)


def check_absent(file: Path) -> None:
    """Raise where a file is there already.

    Raises:
        ExportFault: It is.
    """
    if file.exists():
        raise ExportFault(f"{file} is there already.", "Name a new file with --output.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converters' own warnings and log lines say nothing that a user can act on."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
