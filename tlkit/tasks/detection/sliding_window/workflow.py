"""The workflow of `slide-window`: windows with a head of their own or of a finished classifier, and their worth."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.engine.training.estimates import window_time
from tlkit.errors import DataFault, ModelFault, UsageFault
from tlkit.tasks.detection import evaluate_workflow as evaluation
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.detection.sliding_window import pooled_workflow as pooled
from tlkit.tasks.detection.sliding_window.pooled_settings import PooledLearning

if TYPE_CHECKING:
    import keras

    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.detection.detections import Detections
    from tlkit.tasks.detection.settings import Detecting
    from tlkit.tasks.detection.sliding_window.detector import WindowDetector
    from tlkit.tasks.detection.sliding_window.pooled import PooledDetector
    from tlkit.tasks.detection.sliding_window.settings import Windows

    AnyWindows = WindowDetector | PooledDetector

COLUMNS = ("image", "left", "top", "right", "bottom", "class", "score")
BATCH = 2  # images a step; each is many windows


# --- Preparation ---


def build_windows(
    run: Run,
    split: BoxSplit,
    classifier: str | None,
    negative: str,
    windows: Windows,
    learning: PooledLearning | None = None,
) -> AnyWindows:
    """Make a detector of a finished classifier or, without one, of pooled windows whose head is to learn.

    Args:
        run: Of the recipe.
        split: For its classes, and for its training boxes, which say how large windows are where `windows` does not.
        classifier: A finished run, as a person names it; None: pooled windows.
        negative: The classifier's class of what is nothing.
        windows: How it is moved.
        learning: How the head of pooled windows learns; a recipe of before has none.

    Raises:
        UsageFault, DataFault, ModelFault: There is no such run, it is no classifier, its classes do not fit, or it
            learned from an image that is evaluated here; or see `build_pooled`.
        RunFailed: The device is absent.
    """
    if classifier is None:
        if learning is None or windows.way not in ("auto", "pooled"):
            raise UsageFault(
                f"--way {windows.way} moves a finished classifier, and there is no --classifier.",
                "Name one with --classifier RUN, or take --way pooled, which trains its own head.",
            )
        return pooled.build_pooled(run, split, windows, learning)
    if windows.way == "pooled":
        raise UsageFault(
            f"--way pooled trains its own head and does not move --classifier {classifier}.",
            "Leave one of them out.",
        )
    from tlkit.core.run_folder import find_run
    from tlkit.tasks.detection.sliding_window.settings import sides_of

    place = find_run(classifier, Path(run.options["runs"]))
    _check_unseen(split, place, classifier)
    if windows.sides is None:
        windows = replace(
            windows, sides=sides_of(_in_the_square(split.take(TRAINING), windows.size), windows.size)
        )
    run.start_tensorflow()
    from tlkit.tasks.detection.sliding_window.detector import build_window_detector

    model = load_classifier(place, classifier)
    detector, facts = build_window_detector(model, split.images.class_names, negative, windows)
    name = f"{place.parent.name}/{place.name}"
    _record(run, detector, name, place, windows, facts)
    how = "convolutionally" if facts["convolutional"] else "cut out in batches"
    run.say(f"Classifier: {name}, {facts['windows']:,} windows an image on {facts['levels']} levels, {how}.")
    for unknown in facts["unknown"]:
        run.say(f"Warning: {name} does not know {unknown}: none of them can be found.")
    if facts["unused"]:
        run.say(f"Not sought, for the boxes have none: {', '.join(facts['unused'])}.")
    return detector


def load_classifier(place: Path, typed: str) -> keras.Model:
    """Load the model of a finished run of a classifier.

    Raises:
        ModelFault: It has none that can be read, or another kind.
    """
    from tlkit.core.safe_loading.keras_models import read_model
    from tlkit.tasks.classification.classifier import Probabilities

    file = place / "model.keras"
    try:
        model: Any = read_model(file)
    except ValueError as fault:
        raise ModelFault(
            f"{typed} has no model.keras that can be read: {fault}.", "Name a finished run of a classifier."
        ) from fault
    last = model.layers[-1] if getattr(model, "layers", None) else None
    if not isinstance(last, Probabilities):
        raise ModelFault(
            f"{typed} is no classifier.", "Name a finished run of fine-tune, small-cnn or fit-head."
        )
    return model


def _check_unseen(split: BoxSplit, place: Path, typed: str) -> None:
    """Refuse a classifier that learned from, or was chosen on, a whole image that is evaluated here.

    Raises:
        DataFault: It did.
    """
    file = place / "split.csv"
    if not file.is_file():
        return
    with file.open(newline="", encoding="utf-8") as stream:
        learned = {row.get("sha256") for row in csv.DictReader(stream) if row.get("part") != TEST}
    for path, digest, part in zip(split.images.paths, split.sha256, split.parts, strict=True):
        if digest in learned and part != TRAINING:
            raise DataFault(
                f"--classifier {typed} learned from {path}, which is in the {part} part here.",
                "Take a classifier that has not seen it, or other parts (--split, --seed).",
            )


def _in_the_square(boxes: Boxes, size: int) -> Any:
    """All boxes in pixels of the square, float32 [m, 4]."""
    import numpy as np

    from tlkit.data.boxes.batches import to_network

    every = [to_network(some, sides, size) for some, sides in zip(boxes.xyxy, boxes.sizes, strict=True)]
    return np.concatenate([*every, np.zeros((0, 4), np.float32)])


def _record(
    run: Run, detector: WindowDetector, name: str, place: Path, windows: Windows, facts: dict[str, Any]
) -> None:
    from tlkit.core.run_folder import read_card

    weights = read_card(place).get("model", {}).get("weights", {})
    run.record(
        kind="detector",
        model={
            "network": "sliding window",
            "backbone": name,
            "weights": {**weights, "kind": "run", "source": name},
            "image_size": detector.size,
            "parameters": detector.classifier.count_params(),
            "windows": {**asdict(windows), **facts},
        },
    )


def plan(run: Run, detector: AnyWindows, learning: PooledLearning | None = None) -> dict[str, Any]:
    """What `--dry-run` shows; the time is said in any run: of a classifier, of validation's and test's windows."""
    if is_pooled(detector):
        return pooled.plan(run, detector, learning or PooledLearning())
    shown = detection.plan(run)
    images = detection.images_of(run, "data")
    number = images[VALIDATION] + images[TEST]
    time = window_time(detector, run.card()["model"]["windows"], number)
    run.say(f"Time: {time} A larger --step, fewer --scales or one --ratio make it shorter.")
    return {**shown, "time": time}


def is_pooled(detector: Any) -> bool:
    """Whether its head is its own and learns."""
    return bool(detector.kind == "pooled-window")


# --- Cooking ---


def fit(run: Run, detector: AnyWindows, split: BoxSplit, learning: PooledLearning) -> None:
    """Train the head of pooled windows; a classifier is finished.

    Raises:
        DataFault: See `pooled_workflow.fit`.
    """
    if is_pooled(detector):
        pooled.fit(run, detector, split, learning)


# --- Tasting ---


def choose_threshold(run: Run, detector: AnyWindows, split: BoxSplit) -> Detecting:
    """Take the score from which F1 is best on validation images; test is not looked at.

    The scores of pooled windows are calibrated before, on the same images.

    Returns:
        What is served. Duplicates are dropped by the detector itself, so an overlap of 1 drops nothing more.
    """
    from tlkit.tasks.detection.settings import LEAST_SCORE, Detecting

    own = is_pooled(detector)
    most = detector.layout.most if own else detector.windows.most
    served = Detecting(threshold=LEAST_SCORE, overlap=1.0, most=most)
    if own:
        pooled.calibrate(run, detector, split, served, BATCH)
    return replace(served, threshold=evaluation.choose_threshold(run, detector, split, served, BATCH))


def evaluate(run: Run, detector: AnyWindows, split: BoxSplit, detecting: Detecting) -> None:
    """Evaluate the test part, once, at the threshold of validation, and write down what is found on it."""
    test, found = evaluation.evaluate_test(run, detector, split, detecting, detecting.threshold, BATCH)
    run.record(detecting=asdict(detecting))
    write_detections(run.folder.path / "detections.csv", test, found, safe=run.csv_safe)


def write_detections(file: Path, boxes: Boxes, found: Sequence[Detections], *, safe: bool = False) -> None:
    """Write a row for every detection: image, box in its pixels, class, score; the surest of an image first."""
    rows = (
        [path, *(f"{value:.2f}" for value in box), boxes.class_names[label], f"{score:.4f}"]
        for path, one in zip(boxes.paths, found, strict=True)
        for box, score, label in zip(*(values.tolist() for values in one[:3]), strict=True)
    )
    write_csv(file, [COLUMNS, *rows], safe=safe)
