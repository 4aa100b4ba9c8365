"""The workflow of pooled windows: shapes from the training boxes, rounds of hard negatives, calibrated scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.engine.training.drawn_images import order_of_training, settle_images
from tlkit.engine.training.estimates import NOW, told
from tlkit.engine.training.settings import CHECKPOINTS
from tlkit.errors import UsageFault
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.detection.sliding_window.pooled_settings import VIEWS, PooledLearning

if TYPE_CHECKING:
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.detection.settings import Detecting
    from tlkit.tasks.detection.sliding_window.pooled import PooledDetector
    from tlkit.tasks.detection.sliding_window.pooled_rounds import Round
    from tlkit.tasks.detection.sliding_window.settings import Windows

PHASE = "windows"  # of the rows of metrics.jsonl
KEPT = "windows.json"  # what was measured, until the run ends
SMALL_COVER = 0.5  # mean IoU of windows with training boxes below which a warning is due
MULTIPLE, LEAST = 32, 64  # pixels: what the square's side is a multiple of, and its least
TIMED_STEPS = (20, 80)  # of a head
LEARNING = 1.3  # times an answer: what an image costs in a round


# --- Preparation ---


def build_pooled(run: Run, split: BoxSplit, windows: Windows, learning: PooledLearning) -> PooledDetector:
    """Start TensorFlow, choose shapes for the training boxes, and build a detector that has learned nothing yet.

    Raises:
        UsageFault: The square is no multiple of 32, or the backbone has no maps at strides 8 and 16.
        DataFault: There is no box to learn from.
        ModelFault: The weights cannot be had or do not fit.
        RunFailed: The device is absent.
    """
    _check_size(windows.size)
    run.start_tensorflow()
    from tlkit.tasks.detection.sliding_window import pooled
    from tlkit.tasks.detection.sliding_window.pooled_shapes import choose_shapes

    detection.look_at_training(run, split, windows.size)
    shapes, cover = choose_shapes(_objects(split, windows.size), windows.size, learning.shapes)
    layout = pooled.PooledLayout(
        tuple((shape.side, shape.down, shape.across) for shape in shapes),
        step=windows.step,
        overlap=windows.overlap,
        soft=windows.soft,
        most=windows.most,
    )
    names = split.images.class_names
    detector, origin = pooled.build_pooled(names, windows.size, learning.backbone, learning.weights, layout)
    _say_windows(run, detector, cover)
    windows_facts = {
        "way": "pooled",
        "windows": len(detector.places),
        "levels": detector.levels,
        "shapes": [list(shape) for shape in shapes],
        "cover": cover,
        "step": windows.step,
        "seconds_an_image": seconds_of_answer(detector),
    }
    run.record(
        kind="detector",
        model={
            "network": "sliding window",
            "backbone": learning.backbone,
            "weights": asdict(origin),
            "image_size": detector.size,
            "precision": detector.dtype_policy.name,
            "parameters": detector.count_params(),
            "windows": windows_facts,
        },
    )
    run.say(f"Weights: {origin.sentence}.")
    return detector


def _check_size(size: int) -> None:
    """Refuse a square on which levels have no maps at all strides.

    Raises:
        UsageFault: It is no multiple of 32, or too small.
    """
    if size < LEAST or size % MULTIPLE:
        near = max(LEAST, round(size / MULTIPLE) * MULTIPLE)
        raise UsageFault(
            f"--size {size} does not suit pooled windows, whose maps have strides up to {MULTIPLE // 2}.",
            f"Take a multiple of {MULTIPLE} from {LEAST} on, such as {near}.",
        )


def _say_windows(run: Run, detector: PooledDetector, cover: float) -> None:
    shapes, levels = count(len(detector.shapes), "shape"), count(len(detector.levels), "level")
    run.say(
        f"Windows: {len(detector.places):,} an image, of {shapes} on {levels}; the best shape has a mean IoU of "
        f"{cover:.2f} with a training box."
    )
    if cover < SMALL_COVER:
        run.say(
            "Warning: windows do not suit such boxes; more --shapes or a larger --size would cover them better."
        )


def _objects(split: BoxSplit, size: int) -> np.ndarray:
    """Training boxes that count and have an area, float32 [m, 4], pixels of the square."""
    from tlkit.data.boxes.batches import network_boxes

    xyxy, labels = network_boxes(split.take(TRAINING), size)
    return xyxy[labels >= 0]


def plan(run: Run, detector: PooledDetector, learning: PooledLearning) -> dict[str, Any]:
    """What `--dry-run` shows; the time is said before anything is learned, whether the run is dry or not."""
    shown = detection.plan(run)
    images = detection.images_of(run, "data")
    sentence = estimated(detector, images, learning, run.card()["model"]["windows"]["seconds_an_image"])
    run.say(f"Time: {sentence}")
    return {**shown, "time": sentence}


def estimated(detector: PooledDetector, images: dict[str, int], learning: PooledLearning, each: float) -> str:
    """How long a run will take, and what makes it shorter."""
    learned = min(learning.training_images or images[TRAINING], images[TRAINING])
    answered = (
        2 * images[VALIDATION] + images[TEST]
    )  # validation: once for the scores, once for the threshold
    passes = 1 + learning.rounds
    if learning.minutes is None:
        seconds = learned * passes * each * LEARNING + passes * seconds_a_head(detector, learning.head_steps)
        what = f"{count(learned, 'training image')} gone through {passes} times"
    else:
        seconds, what = 60 * learning.minutes, f"learning as --minutes {learning.minutes:g} has it"
    how = (
        f"{what}, then {count(images[VALIDATION] + images[TEST], 'image')} evaluated; the {len(detector.places):,} "
        f"windows of an image took {each:.2g} s, {NOW}. Fewer --training-images or --minutes, --rounds or "
        "--shapes, or a larger --step make it shorter."
    )
    return told(seconds + answered * each, how)


def seconds_of_answer(detector: PooledDetector, clock: Callable[[], float] = perf_counter) -> float:
    """What all windows of an image take, once it is compiled."""
    import tensorflow as tf

    images = tf.zeros([1, detector.size, detector.size, 3], tf.uint8)
    answer = tf.function(lambda x: detector.decode(detector(x, training=False)), autograph=False)
    answer(images)
    began = clock()
    answer(images)
    return max(clock() - began, 1e-3)


def seconds_a_head(detector: PooledDetector, steps: int, clock: Callable[[], float] = perf_counter) -> float:
    """What it takes to train a head for so many steps, by a few on noise; the detector's own stays as it is."""
    from tlkit.tasks.detection.sliding_window.pooled_learning import Taught, fit_head

    random = np.random.default_rng(0)
    rows = random.normal(size=(1_000, detector.width)).astype(np.float16)
    labels = np.resize([0, len(detector.class_names)], len(rows)).astype(np.int32)
    noise = Taught(rows, labels, np.zeros((len(rows), 4), np.float32))
    before, took = detector.head.get_weights(), []
    for some in TIMED_STEPS:  # each compiles once, so their difference is that of the steps alone
        began = clock()
        fit_head(detector, noise, 0, some)
        took.append(clock() - began)
    detector.head.set_weights(before)
    few, many = TIMED_STEPS
    return took[0] + max(took[1] - took[0], 0.0) * (steps - few) / (many - few)


# --- Cooking ---


def fit(run: Run, detector: PooledDetector, split: BoxSplit, learning: PooledLearning) -> None:
    """Draw training images, go through them in rounds, and train the head after each.

    Raises:
        DataFault: The drawn images have no object, or nothing beside their objects.
    """
    from tlkit.tasks.detection.sliding_window.pooled_rounds import Rounds

    training = split.take(TRAINING)
    order = order_of_training(split, run.seed)
    number, facts = settle(run, detector, split, order, learning)
    images = training.take(order[:number])
    folder = run.folder.folder(CHECKPOINTS)
    rounds = Rounds(detector, images, folder, run.seed, VIEWS[learning.views], learning.head_steps)
    began = monotonic()
    rounds.begin()
    every = []
    for one in range(1 + learning.rounds):
        with run.progress(f"round {one} of {learning.rounds}", number) as step:
            every.append(rounds.run(one, step))
        _tell(run, split, every[-1])
    names = split.images.class_names
    classes = dict(zip(names, rounds.counts(), strict=True))
    facts |= {
        "of": len(training),
        "views": learning.views,
        "rounds": [asdict(one) for one in every],
        "classes": classes,
        "seconds": monotonic() - began,
    }
    run.record(learning=facts)
    for name, windows in classes.items():
        if not windows:
            run.say(f"Warning: the drawn images have no {name}: none of them can be found.")


def _tell(run: Run, split: BoxSplit, one: Round) -> None:
    """A round as a row of metrics.jsonl, once, and in words."""
    row = {"phase": PHASE, "epoch": one.number + 1, "windows": one.windows, "on_objects": one.on_objects}
    earlier = [r for r in run.folder.metrics() if (r["phase"], r["epoch"]) != (PHASE, one.number + 1)]
    run.folder.rewrite_metrics(earlier)
    more = {"loss": one.loss, "seconds": one.seconds, "split_sha256": split.digest}
    run.folder.append_metrics({**row, **more})
    run.say(
        f"Round {one.number}: {one.added:,} windows more, now {one.windows:,}, of which {one.on_objects:,} are on "
        f"objects; loss {one.loss:.3f}."
    )


def settle(
    run: Run, detector: PooledDetector, split: BoxSplit, order: np.ndarray, learning: PooledLearning
) -> tuple[int, dict[str, Any]]:
    """How many images are drawn; see `settle_images`."""
    training = split.take(TRAINING)
    asked = learning.minutes is not None and learning.training_images is None
    fixed = (1 + learning.rounds) * seconds_a_head(detector, learning.head_steps) if asked else 0.0
    return settle_images(
        run,
        len(training),
        learning.minutes,
        learning.training_images,
        KEPT,
        lambda timed: seconds_an_image(detector, training.take(order[:timed]), learning.rounds),
        "maps and windows",
        fixed,
    )


def seconds_an_image(detector: PooledDetector, images: Any, rounds: int) -> float:
    """What an image takes in all rounds."""
    from tlkit.tasks.detection.sliding_window import pooled_rounds

    return pooled_rounds.seconds_an_image(detector, images, rounds)


# --- Tasting ---


def calibrate(run: Run, detector: PooledDetector, split: BoxSplit, detecting: Detecting, batch: int) -> None:
    """Fit the two numbers of its scores on the detections of validation images; test is not looked at."""
    from tlkit.tasks.detection.evaluate import found_on
    from tlkit.tasks.detection.metrics.matching import ranked
    from tlkit.tasks.detection.sliding_window.pooled_calibration import (
        calibrated,
        calibration_error,
        fit_platt,
    )

    validation = split.take(VALIDATION)
    detector.calibration.assign([1.0, 0.0])
    with run.progress("calibrating", len(validation)) as step:
        found = ranked(validation, found_on(detector, validation, detecting, batch, step))
    slope, offset = fit_platt(found.scores, found.hits)
    detector.calibration.assign([slope, offset])
    before = after = math.nan
    if len(found.scores):
        before = calibration_error(found.scores, found.hits)
        after = calibration_error(calibrated(found.scores, slope, offset), found.hits)
    facts = {
        "slope": slope,
        "offset": offset,
        "detections": len(found.scores),
        "right": int(found.hits.sum()),
        "ece_before": before,
        "ece": after,
    }
    run.record(calibration=facts)
    if (slope, offset) == (1.0, 0.0):
        run.say("Scores stay as they are: too few detections on validation images to calibrate them.")
        return
    run.say(
        f"Scores: calibrated on {count(len(found.scores), 'validation detection')}; their expected calibration error "
        f"goes from {before:.3f} to {after:.3f}."
    )
