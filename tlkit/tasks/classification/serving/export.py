"""The model of a run for other runtimes: ONNX and LiteRT, checked against the Keras model before it is kept.

Both take pixels, uint8 [n, s, s, 3] RGB, and give probability float32 [n, k]; decoding stays with the caller, and
resizing too unless it is wanted inside (the SavedModel of the run has both). What the caller has to do, and the class
names, travel with the file: in ONNX as metadata, for LiteRT in a JSON file beside it (`input_facts`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.safe_loading.keras_models import read_model
from tlkit.data.images.decoding.decode import resize
from tlkit.engine.serving.convert import (
    CHECKED_IMAGES,
    TOLERANCE,
    Images,
    check_absent,
    convert,
    drawn,
    litert_interpreter,
    onnx_packages,
    rename,
    test_images,
    write_labels,
)
from tlkit.errors import ModelFault
from tlkit.tasks.classification.classifier import class_names
from tlkit.tasks.classification.serving.layers import ResizeInside, in_single_precision, with_resize
from tlkit.tasks.classification.serving.parity import check_parts

RESIZED_TOLERANCE = (
    1e-3  # with the resize inside, where a pixel on the half of two levels may be one level apart
)
DRAWS = 10
RULE = (
    "Stretch the upright image to image_size x image_size, each side by itself: where it shrinks average over the "
    "area of each new pixel, where it grows interpolate linearly between pixel centres; round to the nearest level, "
    "halves up."
)
JPEG = (
    "A JPEG whose sides are both at least 3 image_size is decoded at 1/2, 1/4 or 1/8 of them, "
    "never below 1.5 image_size."
)


def to_onnx(run: Path, file: Path, *, resizes: bool = False) -> dict[str, Any]:
    """Write the model of a run as ONNX; any batch size.

    Its metadata hold `input_facts`, each as JSON but for plain text and numbers.

    Args:
        run: A finished run's folder, with model.keras.
        file: Where to write; must not exist.
        resizes: It takes images of any size, uint8 [n, h, w, 3], and resizes them inside.

    Returns:
        largest_difference: To the Keras model, in probability. spread: Standard deviation of a class's
        probability over the test images, the largest. images: How many were compared. bytes: Size. Where all of
        them got nearly one answer also `apart`, see `check_parts`; spread is then that of the head.

    Raises:
        ExportFault: The extra is not installed, the file is there already, or it answers differently.
        ModelFault: The run has no readable model.keras.
    """
    onnx, onnxruntime, _ = onnx_packages()
    check_absent(file)
    model = load_classifier(run)
    facts = input_facts(class_names(model), int(model.input_shape[1]), resizes=resizes)
    about = {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}

    def write(part: keras.Model, target: Path) -> None:
        part.export(str(target), format="onnx", verbose=False)
        graph = onnx.load(str(target))
        onnx.helper.set_model_props(graph, about)
        only = graph.graph.output[0]  # the converter calls it "Identity:0"
        rename(graph.graph, {only.name: "probability"})
        only.name = "probability"
        onnx.save(graph, str(target))

    def answer(target: Path, given: Images) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: one[None]})[0] for one in given])

    return _convert_classifier(model, file, "ONNX", write, answer, resizes=resizes)


def to_litert(run: Path, file: Path, *, resizes: bool = False) -> dict[str, Any]:
    """Write the model of a run as LiteRT, with NAME.labels.txt (class names, one a line) and NAME.json beside it.

    NAME.json holds `input_facts`. The file is made for a batch of 1; `resize_tensor_input` takes others. A head that
    computes in float64 is written in float32, which is all that LiteRT knows.

    Args, Returns, Raises: As `to_onnx`; `labels` and `facts` are the files beside it.
    """
    labels, beside = file.with_suffix(".labels.txt"), file.with_suffix(".json")
    for one in (labels, beside, file):
        check_absent(one)
    model = load_classifier(run)
    facts = input_facts(class_names(model), int(model.input_shape[1]), resizes=resizes)

    def write(part: keras.Model, target: Path) -> None:
        part.export(str(target), format="litert", verbose=False)

    checked = _convert_classifier(model, file, "LiteRT", write, _litert_answer, resizes=resizes)
    write_labels(labels, class_names(model))
    beside.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return {**checked, "labels": str(labels), "facts": str(beside)}


def input_facts(names: Sequence[str], size: int, *, resizes: bool) -> dict[str, Any]:
    """What whoever calls an exported classifier must know, as it travels with the file.

    Args:
        names: [k] classes, in the order of the answer's columns.
        size: Side of the network's square, pixels.
        resizes: Whether the file resizes by itself.
    """
    return {
        "classes": list(names),
        "image_size": size,
        "input": f"uint8 [n, {'h, w' if resizes else f'{size}, {size}'}, 3]",
        "colours": "RGB",
        "values": "0 to 255; scaling is inside",
        "resize": "inside: any h and w, 1 or more" if resizes else RULE,
        "resize_shrinking": "area",
        "jpeg": JPEG,
        "resize_growing": "linear",
        "output": f"probability float32 [n, {len(names)}]",
    }


def _convert_classifier(
    model: keras.Model,
    file: Path,
    kind: str,
    write: Callable[[keras.Model, Path], None],
    answer: Callable[[Path, Images], np.ndarray],
    *,
    resizes: bool,
) -> dict[str, Any]:
    size = int(model.input_shape[1])
    written = in_single_precision(model) if kind == "LiteRT" else model
    images: Images = test_images(size)
    pixels = test_images(size)
    if resizes:
        written, images = with_resize(written), images_of_many_sizes(size)
        pixels = np.stack([resize(tf.constant(image), size) for image in images])
    written(images[0][None])  # an export wants one call before
    return convert(
        file,
        kind,
        lambda target: write(written, target),
        answer,
        images,
        keras.ops.convert_to_numpy(model(pixels, training=False)),
        RESIZED_TOLERANCE if resizes else TOLERANCE,
        lambda: check_parts(model, pixels, kind, write, answer, TOLERANCE),
    )


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


def images_of_many_sizes(size: int) -> list[np.ndarray]:
    """8 images uint8 [h, w, 3]: sides that shrink, grow and stay, to a square of `size`, in all pairings but one.

    Of some draws of each the first that has no pixel on the half between two levels, where there is one.
    """
    less, more = max(size // 2 - 1, 1), 2 * size + size // 3
    shapes = [(height, width) for height in (less, size, more) for width in (less, size, more)]
    inside = ResizeInside(size)
    found = []
    for number, shape in enumerate(shapes[:CHECKED_IMAGES]):
        for seed in range(DRAWS):
            image = drawn(np.random.default_rng([number, seed]), number, shape)
            if np.array_equal(inside(image[None])[0], resize(tf.constant(image), size)):
                break
        found.append(image)
    return found


def _litert_answer(target: Path, given: Images) -> np.ndarray:
    interpreter = litert_interpreter(target)
    put, get = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for one in given:
        interpreter.resize_tensor_input(put, (1, *one.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(put, one[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(get)[0].copy())
    return np.stack(answers)
