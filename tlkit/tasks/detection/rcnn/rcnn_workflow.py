"""The workflow of `detect-rcnn`: network, proposals and features of drawn images, machines, and their worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.engine.training.drawn_images import order_of_training, settle_images
from tlkit.engine.training.estimates import BATCH, NOW, answering, measured, told
from tlkit.engine.training.settings import CHECKPOINTS
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.detection.evaluate_workflow import enough

if TYPE_CHECKING:
    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.detection.rcnn.rcnn import RcnnDetector
    from tlkit.tasks.detection.rcnn.rcnn_features import RegionFeatures
    from tlkit.tasks.detection.rcnn.rcnn_learning import Regions
    from tlkit.tasks.detection.rcnn.rcnn_settings import RcnnLearning
    from tlkit.tasks.detection.settings import Detecting

ASKED = 4  # test images of which an answer is timed
PHASE = "machines"  # of the row of metrics.jsonl
KEPT = "rcnn.json"  # what was measured, until the run ends
ALL = 1_000_000  # proposals an image: those that are learned are chosen among all


# --- Preparation ---


def build_rcnn(
    run: Run, split: BoxSplit, backbone: str, weights: str, image_size: int, crop_side: int
) -> RcnnDetector:
    """Start TensorFlow and build an R-CNN that has learned nothing yet.

    Raises:
        UsageFault: OpenCV is not installed, or the crops are too small for the backbone.
        DataFault: There is no box to learn from.
        ModelFault: The weights cannot be had or do not fit.
        RunFailed: The device is absent.
    """
    from tlkit.data.boxes.proposals import check_installed

    version = check_installed()
    run.start_tensorflow()
    from tlkit.tasks.detection.rcnn import rcnn

    detection.look_at_training(run, split, image_size)
    detector, origin = rcnn.build_rcnn(split.images.class_names, image_size, backbone, weights, crop_side)
    run.record(
        kind="detector",
        model={
            "network": detector.kind,
            "backbone": backbone,
            "weights": asdict(origin),
            "image_size": detector.size,
            "crop_side": detector.side,
            "precision": detector.dtype_policy.name,
            "parameters": detector.count_params(),
            "proposals": {"most": detector.proposals, "by": f"Selective Search, OpenCV {version}"},
        },
    )
    run.say(f"Weights: {origin.sentence}.")
    return detector


def plan(run: Run, detector: RcnnDetector, learning: RcnnLearning) -> dict[str, Any]:
    """What `--dry-run` shows: the time is that of the crops through the network, without the search for proposals."""
    shown = detection.plan(run)
    if not run.dry_run:
        return shown
    images, each = detection.images_of(run, "data"), answering(detector.backbone, detector.side) / BATCH
    learned = min(learning.training_images or images[TRAINING], images[TRAINING]) * learning.regions
    known = learning.minutes is None
    seconds = learned * each if known else 60 * float(learning.minutes or 0)
    seconds += (images[VALIDATION] + images[TEST]) * detector.proposals * each
    how = f"{measured(BATCH, each * BATCH)}; the search for proposals comes on top"
    return {**shown, "time": told(seconds, f"{how}{'' if known else ' where it is no learning'}.")}


# --- Cooking ---


def fit(run: Run, detector: RcnnDetector, split: BoxSplit, learning: RcnnLearning) -> None:
    """Draw training images, compute features of their regions, and solve machines and regressions.

    Raises:
        DataFault: The drawn images have no object, or nothing beside their objects.
    """
    from tlkit.tasks.detection.rcnn.rcnn_features import RegionFeatures
    from tlkit.tasks.detection.rcnn.rcnn_learning import learn, regions_of, share_on_objects

    began = time.monotonic()
    training = split.take(TRAINING)
    order = order_of_training(split, run.seed)
    number, facts = settle(run, detector, training, order, learning)
    images = searched(run, training.take(order[:number]))
    regions = [regions_of(images, index, detector.size, learning.regions) for index in range(number)]
    if learning.fine_tune:
        _fine_tune(run, detector, split, images, regions, learning.fine_tune_steps)
    features = RegionFeatures(detector, run.say)
    rows = _all_features(run, images, regions, features)
    classes = split.images.class_names
    with run.progress("machines", len(classes)) as step:
        learned = learn(regions, rows, len(classes), run.seed, step)
    learned.into(detector)
    facts |= {
        "of": len(training),
        "regions": sum(len(one.boxes) for one in regions),
        "share_on_objects": share_on_objects(regions),
        "feature_scale": learned.scale,
        "classes": learned.facts(classes),
        "seconds": time.monotonic() - began,
    }
    _tell(run, split, facts, features.computed)


def _tell(run: Run, split: BoxSplit, facts: dict[str, Any], computed: int) -> None:
    """What was learned, on the card, as a row of metrics.jsonl and in words."""
    run.record(learning=facts)
    earlier = [row for row in run.folder.metrics() if row["phase"] != PHASE]
    run.folder.rewrite_metrics(earlier)
    numbers = {name: facts[name] for name in ("training_images", "regions", "share_on_objects", "seconds")}
    run.folder.append_metrics({"phase": PHASE, "epoch": 1, **numbers, "split_sha256": split.digest})
    run.say(
        f"Learned: {facts['regions']:,} regions of {count(facts['training_images'], 'image')}, of whose proposals "
        f"{facts['share_on_objects']:.1%} are on objects ({computed:,} computed now), in {facts['seconds'] / 60:.1f} "
        "minutes."
    )
    for name, row in facts["classes"].items():
        if not row["fits"]:
            run.say(f"Warning: the drawn images have no {name}: none of them can be found.")


def settle(
    run: Run, detector: RcnnDetector, training: Boxes, order: np.ndarray, learning: RcnnLearning
) -> tuple[int, dict[str, Any]]:
    """How many images are drawn, as --minutes or --training-images has it, and how that was found.

    Minutes become a number of images here, once: the run's own options say the number from then on.
    """
    return settle_images(
        run,
        len(training),
        learning.minutes,
        learning.training_images,
        KEPT,
        lambda timed: seconds_an_image(detector, training.take(order[:timed]), learning.regions),
        "proposals and features",
    )


def seconds_an_image(
    detector: RcnnDetector,
    images: Boxes,
    most: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """What the search for proposals and the features of an image take, past all caches.

    Args:
        detector: Whose features are computed.
        images: That are timed; the first one once more before, for it compiles.
        most: Proposals of each that are learned from.
        clock: Seconds.
    """
    from tlkit.tasks.detection.rcnn.rcnn_features import RegionFeatures

    features = RegionFeatures(detector)
    _compute(images.take([0]), features, most)
    began = clock()
    _compute(images, features, most)
    return max((clock() - began) / len(images), 1e-3)


def _compute(images: Boxes, features: RegionFeatures, most: int) -> None:
    from tlkit.data.boxes.proposals import selective_search
    from tlkit.data.images.decoding.decode import decode, read_contents
    from tlkit.tasks.detection.rcnn.rcnn_learning import regions_of

    contents = [read_contents(images.file(i)) for i in range(len(images))]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda one: selective_search(decode(one).numpy()), contents))
    known = replace(images, proposals=tuple(found))
    for index, one in enumerate(contents):
        features.compute(one, regions_of(known, index, features.size, most).boxes)


def _fine_tune(
    run: Run,
    detector: RcnnDetector,
    split: BoxSplit,
    images: Boxes,
    regions: Sequence[Regions],
    steps: int,
) -> None:
    from tlkit.engine.training.progress import Reporter
    from tlkit.tasks.detection.rcnn.rcnn_fine_tune import fine_tune

    run.say(f"Fine-tuning: {count(steps, 'step')} of 32 regions on objects and 96 of background.")
    reporter = Reporter(run, split.digest, ["fine-tune"], "detector", measure="training_loss")
    files = [images.file(index) for index in range(len(images))]
    folder = run.folder.folder(CHECKPOINTS)
    fine_tune(detector, files, regions, steps, folder, seed=run.seed, watchers=reporter.watchers())


def _all_features(
    run: Run, images: Boxes, regions: Sequence[Regions], features: RegionFeatures
) -> list[np.ndarray]:
    rows = []
    with run.progress("features of regions", len(images)) as step:
        for index, one in enumerate(regions):
            rows.append(features(images.file(index), one.boxes))
            step(index + 1)
    return rows


# --- Tasting ---


def evaluate(run: Run, detector: RcnnDetector, split: BoxSplit, detecting: Detecting) -> None:
    """As every detector, and what an image takes: the search for its proposals, and all that follows."""
    detection.evaluate(run, detector, split, detecting)
    test = split.take(TEST)
    few = test.take(range(min(len(test), ASKED)))
    search, answer = milliseconds(detector, few, enough(split, detecting))
    run.record(milliseconds={"search": search, "answer": answer, "images": len(few)})
    run.say(f"An image takes {search:.0f} ms for the search and {answer:.0f} ms for the answer, {NOW}.")


def milliseconds(
    detector: RcnnDetector,
    images: Boxes,
    detecting: Detecting,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """What an image takes: the search for proposals past its cache, and the detector's answer to both."""
    from tlkit.data.boxes.proposals import selective_search
    from tlkit.data.images.decoding.decode import decode, read_contents
    from tlkit.tasks.detection.predict import Finder

    pixels = [decode(read_contents(images.file(i))).numpy() for i in range(len(images))]
    began = clock()
    known = replace(images, proposals=tuple(selective_search(one)[: detector.proposals] for one in pixels))
    searching = clock() - began
    finder = Finder(detector, detecting)
    finder.in_boxes(known, ASKED)  # the first one compiles
    began = clock()
    finder.in_boxes(known, ASKED)
    return 1000 * searching / len(images), 1000 * (clock() - began) / len(images)


# --- proposals ---


def searched(run: Run, images: Boxes, most: int = ALL) -> Boxes:
    """The same images with their proposals, under a progress bar."""
    from tlkit.data.boxes.proposals import with_proposals

    with run.progress("proposals", len(images)) as step:
        return with_proposals(images, most, step)
