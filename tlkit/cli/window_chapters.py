"""Chapters of `slide-window`: a finished classifier moved over pictures, its threshold, and what it is worth."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.cli.detection_results import draw_evidence
from tlkit.cli.running import Run
from tlkit.data.leaks import count
from tlkit.data.sources import TEST, TRAINING, VALIDATION
from tlkit.errors import DataFault, ModelFault

if TYPE_CHECKING:
    import keras

    from tlkit.data.box_splits import BoxSplit
    from tlkit.data.boxes import Boxes
    from tlkit.models.detector_settings import Detecting
    from tlkit.models.window_settings import Windows
    from tlkit.models.windows import WindowDetector
    from tlkit.results.detection_matches import Detections

COLUMNS = ("image", "left", "top", "right", "bottom", "class", "score")
KEPT = 0.01  # least score that is ever a threshold


# --- Preparation ---


def prepare_windows(
    run: Run, split: BoxSplit, classifier: str, negative: str, windows: Windows
) -> WindowDetector:
    """Load a finished classifier and make a detector of it.

    Args:
        run: Of the recipe.
        split: For its classes, and for its training boxes, which say how large windows are where `windows` does not.
        classifier: A finished run, as a person names it.
        negative: The classifier's class of what is nothing.
        windows: How it is moved.

    Raises:
        UsageFault, DataFault, ModelFault: There is no such run, it is no classifier, its classes do not fit, or it
            learned from a picture that is judged here.
        RunFailed: The device is absent.
    """
    from tlkit.models.window_settings import sides_of
    from tlkit.results.run_folder import find_run

    place = find_run(classifier, Path(run.options["runs"]))
    _check_unseen(split, place, classifier)
    if windows.sides is None:
        windows = replace(
            windows, sides=sides_of(_in_the_square(split.take(TRAINING), windows.size), windows.size)
        )
    run.start_tensorflow()
    from tlkit.models.windows import build_window_detector

    model = load_classifier(place, classifier)
    detector, facts = build_window_detector(model, split.boxes.class_names, negative, windows)
    name = f"{place.parent.name}/{place.name}"
    _record(run, detector, name, place, windows, facts)
    how = "convolutionally" if facts["convolutional"] else "cut out in batches"
    run.say(f"Classifier: {name}, {facts['windows']:,} windows a picture on {facts['levels']} levels, {how}.")
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
    import keras

    from tlkit.models.classifier import Probabilities

    file = place / "model.keras"
    try:
        model: Any = keras.saving.load_model(file, compile=False)
    except (OSError, ValueError, TypeError) as fault:
        raise ModelFault(
            f"{typed} has no model.keras that can be read.", "Name a finished run of a classifier."
        ) from fault
    last = model.layers[-1] if getattr(model, "layers", None) else None
    if not isinstance(last, Probabilities):
        raise ModelFault(
            f"{typed} is no classifier.", "Name a finished run of fine-tune, small-cnn or fit-head."
        )
    return model


def _check_unseen(split: BoxSplit, place: Path, typed: str) -> None:
    """Refuse a classifier that learned from, or was chosen on, a whole picture that is judged here.

    Raises:
        DataFault: It did.
    """
    file = place / "split.csv"
    if not file.is_file():
        return
    with file.open(newline="", encoding="utf-8") as stream:
        learned = {row.get("sha256") for row in csv.DictReader(stream) if row.get("part") != TEST}
    for path, digest, part in zip(split.boxes.paths, split.split.sha256, split.split.parts, strict=True):
        if digest in learned and part != TRAINING:
            raise DataFault(
                f"--classifier {typed} learned from {path}, which is in the {part} part here.",
                "Take a classifier that has not seen it, or other parts (--split, --seed).",
            )


def _in_the_square(boxes: Boxes, size: int) -> Any:
    """All boxes in pixels of the square, float32 [m, 4]."""
    import numpy as np

    from tlkit.data.box_batches import to_network

    every = [to_network(some, sides, size) for some, sides in zip(boxes.xyxy, boxes.sizes, strict=True)]
    return np.concatenate([*every, np.zeros((0, 4), np.float32)])


def _record(
    run: Run, detector: WindowDetector, name: str, place: Path, windows: Windows, facts: dict[str, Any]
) -> None:
    from tlkit.results.run_folder import read_card

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


def plan(run: Run) -> dict[str, Any]:
    """What `--dry-run` shows."""
    card = run.card()
    parts = card["data"]["parts"].items()
    return {
        "classes": card["classes"],
        "pictures": {part: summary["n"] for part, summary in parts},
        "model": card["model"],
    }


# --- Tasting ---


def choose_threshold(run: Run, detector: WindowDetector, split: BoxSplit) -> Detecting:
    """Take the score from which F1 is best on validation pictures; test is not looked at.

    Returns:
        What is served. Duplicates are dropped by the detector itself, so an overlap of 1 drops nothing more.
    """
    from tlkit.models.detector_settings import Detecting
    from tlkit.results.detection_curves import best_f1, curve
    from tlkit.results.detection_matches import ranked

    served = Detecting(threshold=KEPT, overlap=1.0, most=detector.windows.most)
    validation = split.take(VALIDATION)
    found = _found(run, detector, validation, served, "choosing the threshold")
    best = best_f1(curve(ranked(validation, found)))
    run.record(measures={"validation": {"n": len(validation), "f1": best}})
    threshold = KEPT if best["threshold"] is None else best["threshold"]
    run.say(
        f"Threshold: {threshold:.3f}, where F1 is best ({best['f1'] or 0:.3f}) on {len(validation)} validation pictures."
    )
    return replace(served, threshold=threshold)


def _found(run: Run, detector: Any, boxes: Boxes, detecting: Detecting, text: str) -> Detections:
    from tlkit.results.detector_evaluation import found_on

    with run.progress(text, len(boxes)) as step:
        return found_on(detector, boxes, detecting, 4, step)


def taste(run: Run, detector: WindowDetector, split: BoxSplit, detecting: Detecting) -> None:
    """Judge the test part, once, as the detectors are judged, but at the threshold of validation."""
    from tlkit.results.detection import detection_measures
    from tlkit.results.detection_curves import curve
    from tlkit.results.detection_matches import ranked

    test = split.take(TEST)
    found = _found(run, detector, test, detecting, "judging")
    measures = detection_measures(
        test, found, groups=split.groups(TEST), seed=run.seed, score_threshold=detecting.threshold
    )
    at = _at_threshold(curve(ranked(test, found)), detecting.threshold)
    measures["f1"] = {**measures["f1"], **at, "chosen_on": VALIDATION}
    run.record(
        measures={**run.card()["measures"], "test": measures},
        detecting=asdict(replace(detecting, overlap=detector.windows.overlap))
        | {"soft": detector.windows.soft},
    )
    write_detections(run.folder.path / "detections.csv", test, found)
    draw_evidence(run, test, found, measures)
    low, high = measures["intervals"]["AP50"] or (float("nan"),) * 2
    run.say(
        f"Test: AP50 {measures['AP50'] or 0:.3f} (95 % interval {low:.3f} to {high:.3f}), AP {measures['AP'] or 0:.3f}; "
        f"n = {count(measures['n'], 'picture')}, {count(measures['objects'], 'object')}."
    )
    run.result({name: measures[name] for name in ("AP", "AP50", "AR", "n", "objects")})
    run.result({"threshold": detecting.threshold})


def _at_threshold(points: Any, threshold: float) -> dict[str, float | None]:
    """F1, precision and recall of all classes from a score on."""
    reached = [i for i, value in enumerate(points.thresholds) if value >= threshold]
    names = ("f1", "precision", "recall")
    if not reached:
        return {"threshold": threshold, "f1": 0.0, "precision": None, "recall": 0.0}
    return {"threshold": threshold, **{name: float(getattr(points, name)[reached[-1]]) for name in names}}


def write_detections(file: Path, boxes: Boxes, found: Detections) -> None:
    """Write a row for every detection: image, box in its pixels, class, score; the surest of an image first."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path, some, scores, labels in zip(boxes.paths, *found, strict=True):
            for box, score, label in zip(some.tolist(), scores.tolist(), labels.tolist(), strict=True):
                sides = (f"{value:.2f}" for value in box)
                writer.writerow([path, *sides, boxes.class_names[label], f"{score:.4f}"])
