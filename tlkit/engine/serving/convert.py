"""Conversion to ONNX and LiteRT: written aside, compared with the Keras model, and only then kept."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import ExportFault

TOLERANCE = 1e-4  # largest difference allowed to the Keras model, in probability
CHECKED_IMAGES = 8


Images = np.ndarray | Sequence[np.ndarray]  # of one size, or of as many as there are


def compare(kind: str, expected: np.ndarray, actual: np.ndarray, tolerance: float) -> dict[str, float]:
    """largest_difference, and spread: the largest standard deviation of a column of `expected`.

    Raises:
        ExportFault: They differ by more than `tolerance`.
    """
    difference = float(np.abs(expected - actual).max())
    if not difference <= tolerance:  # NaN is not
        raise ExportFault(
            f"The {kind} model differs from the Keras model by {difference:.2g}, more than {tolerance:g}.",
            "It was not kept. Serve the SavedModel in the run's folder, or train without mixed precision.",
        )
    return {"largest_difference": difference, "spread": float(expected.std(axis=0, dtype=np.float64).max())}


def one_answer(kind: str) -> tuple[str, str]:
    """Problem and remedy of a model that answers the same, whatever it is asked."""
    return (
        f"The model answers the same for all images, so {kind} cannot be checked.",
        "It was not kept. Train the model first.",
    )


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


def write_labels(file: Path, names: Sequence[str]) -> None:
    """Class names, one a line."""
    file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def convert(
    file: Path,
    kind: str,
    write: Callable[[Path], None],
    answer: Callable[[Path, Any], np.ndarray],
    images: Images,
    expected: np.ndarray,
    tolerance: float = TOLERANCE,
    apart: Callable[[], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write into a folder aside, compare, and only then put the file where it was wanted.

    Args:
        file: Where to write; must not exist.
        kind: "ONNX" or "LiteRT".
        write: Writes the model into a file.
        answer: What that file says of images.
        images: uint8 [n, s, s, 3], or n images of as many sizes.
        expected: What the Keras model says of them, float [n, ...].
        tolerance: Largest difference allowed.
        apart: Checks the model's parts; asked where it says nearly the same of all images.

    Returns:
        largest_difference, spread, images, bytes: see `to_onnx`.

    Raises:
        ExportFault: It cannot be written, or answers differently.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as place, quiet():
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
        checked = compare(kind, expected, actual, tolerance)
        if apart and checked["spread"] < 10 * tolerance:  # agreement on one answer proves little
            checked |= apart()
        elif checked["spread"] == 0:
            raise ExportFault(*one_answer(kind))
        target.replace(file)
    return {**checked, "images": len(images), "bytes": file.stat().st_size}


def test_images(size: int) -> np.ndarray:
    """uint8 [8, size, size, 3]: noise from coarse to fine, each in its own colours, always the same."""
    generator = np.random.default_rng(0)
    return np.stack([drawn(generator, number, (size, size)) for number in range(CHECKED_IMAGES)])


def drawn(generator: np.random.Generator, number: int, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [h, w, 3] of a shape [h, w]: noise, the finer the larger the number is, up to 5 sizes of it."""
    cells = generator.integers(0, 256, (2 ** (1 + number % 5), 2 ** (1 + number % 5), 3), np.uint8)
    return tf.cast(tf.image.resize(cells, shape), tf.uint8).numpy()


def rename(graph: Any, names: dict[str, str]) -> None:
    """Give values of an ONNX graph other names, wherever they are made and used."""
    for node in graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]


def litert_interpreter(file: Path) -> Any:
    """A LiteRT file, ready to run, without the delegates that announce themselves."""
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return tf.lite.Interpreter(model_path=str(file), experimental_op_resolver_type=plain)


def check_absent(file: Path) -> None:
    """Raise where a file is there already.

    Raises:
        ExportFault: It is.
    """
    if file.exists():
        raise ExportFault(f"{file} is there already.", "Name a new file with --output.")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The converters' own warnings and log lines say nothing that a user can act on."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
