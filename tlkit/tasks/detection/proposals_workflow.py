"""Proposals in a run: searched for where a detector takes them, timed as learning, their recall said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tlkit.core.console import Console
from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import TRAINING, VALIDATION

if TYPE_CHECKING:
    import keras

    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit


def check_search(kind: str) -> None:
    """Refuse a detector that takes proposals, before anything is built, where they cannot be searched for.

    Args:
        kind: A key of `DETECTORS`.

    Raises:
        UsageFault: Selective Search is not installed.
    """
    from tlkit.data.boxes.proposals import check_installed
    from tlkit.tasks.detection.table import DETECTORS

    if DETECTORS[kind].proposals:
        check_installed()


def search(run: Run | Console, detector: Any, boxes: Boxes) -> Boxes:
    """The same images, with proposals where the detector takes them, under a progress bar.

    Raises:
        UsageFault: Selective Search is not installed.
    """
    from tlkit.data.boxes.proposals import with_proposals
    from tlkit.tasks.detection.predict import proposals_taken

    most = proposals_taken(detector)
    if not most or boxes.proposals is not None:
        return boxes
    with run.progress("searching for proposals", len(boxes)) as step:
        return with_proposals(boxes, most, step)


def search_learned(run: Run, detector: Any, split: BoxSplit) -> tuple[BoxSplit, float]:
    """The images that are learned and select, with proposals where the detector takes them, and the seconds it took.

    What is there of them is said and recorded (`proposals` of card.json). Without proposals the split is as it was.

    Raises:
        UsageFault: Selective Search is not installed.
    """
    from dataclasses import replace

    from tlkit.data.boxes.proposals import BASE_K, LONGEST, check_installed
    from tlkit.tasks.detection.metrics.proposal_recall import proposal_recall
    from tlkit.tasks.detection.predict import proposals_taken

    if not proposals_taken(detector):
        return split, 0.0
    began = time.monotonic()
    learned = split.only([*split.indices(TRAINING), *split.indices(VALIDATION)])
    learned = replace(learned, images=search(run, detector, learned.images))
    took = time.monotonic() - began
    training = proposal_recall(learned.take(TRAINING))
    how = {
        "opencv": check_installed(),
        "base_k": BASE_K,
        "longest": LONGEST,
        "most": proposals_taken(detector),
    }
    run.record(proposals={**how, "images": len(learned.images), "seconds": took, "training": training})
    run.say(
        f"Proposals: {count(len(learned.images), 'image')} in {took:.0f} s, which count as learning; "
        f"{recall_said(training)}"
    )
    return learned, took


def recall_said(recall: dict[str, Any]) -> str:
    """A sentence on what `proposal_recall` found."""
    least = f"{recall['recall'] or 0:.3f} of {count(recall['objects'], 'object')}"
    whose = " of its first stage" if recall.get("own") else ""
    return f"{recall['proposals']['mean']:.0f} an image{whose}, on {least} (IoU {recall['overlap']:g})."


def asked_of_pixels(detector: keras.Model) -> Callable[..., Any]:
    """The detector as something that is asked about pixels alone, for what times it; proposals are drawn at random."""
    import numpy as np
    import tensorflow as tf

    from tlkit.tasks.detection.predict import proposals_taken

    most = proposals_taken(detector)
    if not most:
        return detector
    corners = np.random.default_rng(0).uniform(0, detector.size, (most, 2, 2))
    boxes = tf.constant(np.sort(corners, 1).reshape(1, most, 4), tf.float32)

    def ask(pixels: tf.Tensor, training: bool = False) -> Any:
        x = {"images": pixels, "proposals": tf.tile(boxes, [tf.shape(pixels)[0], 1, 1])}
        return detector(x, training=training)

    return ask
