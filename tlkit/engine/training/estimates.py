"""Time that a run will take, estimated for its dry run from its own network, measured on this machine.

A few random images go through the network once. A step of training counts as LEARNING times that: two networks measured
gave 3.8 (EfficientNet-Lite0, 224 pixels) and 3.4 (YOLOv8-xs, 320 pixels), processor time of compiled steps of 8 images.
It is a rough figure, and says how it was found. What cannot be told in this way is said to be so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.engine.training.settings import Phase

BATCH = 8  # images that are measured
LEARNING = 4  # times an answer: what an image costs in training
NOW = "on this machine, as busy as it is now"


def told(seconds: float, how: str) -> str:
    """An estimate as a sentence, such as "about 6 minutes: ..."."""
    if seconds < 90:
        amount = f"{max(1, round(seconds))} seconds"
    elif seconds < 90 * 60:
        amount = f"{round(seconds / 60)} minutes"
    else:
        amount = f"{seconds / 3600:.1f} hours"
    return f"about {amount.replace('1 seconds', '1 second') if seconds < 1.5 else amount}: {how}"


def untold(why: str) -> str:
    """The sentence where there is no estimate."""
    return f"cannot be told: {why}"


def training_time(
    model: Any,
    size: int,
    parts: dict[str, int],
    phases: Sequence[Phase],
    *,
    views: int = 1,
    cached_head: bool = False,
    learning: float = LEARNING,
) -> str:
    """How long phases will take, and evaluating all images after them.

    Args:
        model: What learns; its weights stay as they are.
        size: Side of its input, pixels.
        parts: Images in training, validation and test.
        phases: Of the training.
        views: Of each training image, where the head learns from features.
        cached_head: Whether the phase "head" computes the features of each view once instead of each epoch.
        learning: How many answers an image costs in training, less where it learns crops.
    """
    took = answering(model, size)
    answers = passes(parts, phases, views=views, cached_head=cached_head, learning=learning)
    return told(
        answers * took / BATCH,
        f"{measured(BATCH, took)}; in training an image counts {learning:.2g} times. Early stopping makes it shorter, "
        "reading and changing images longer.",
    )


def passes(
    parts: dict[str, int],
    phases: Sequence[Phase],
    *,
    views: int = 1,
    cached_head: bool = False,
    learning: float = LEARNING,
) -> float:
    """Images that go through the network, those learned from `learning` times; arguments as for `training_time`."""
    training, validation = parts["training"], parts["validation"]
    total: float = sum(parts.values())
    for phase in phases:
        if phase.epochs and phase.stage == "head" and cached_head:
            total += training * views + validation
        else:
            total += phase.epochs * (learning * training + validation)
    return total


def feature_time(featurizer: Any, images: int) -> str:
    """How long the features of so many images take by a `Featurizer`, where the cache has none."""
    import numpy as np

    count = 4 * BATCH
    shape = (count, featurizer.image_size, featurizer.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    took = _seconds(lambda: featurizer(pixels))
    return told(images * took / count, f"{measured(count, took)}. What the cache has takes none.")


def window_time(detector: Any, facts: dict[str, Any], images: int) -> str:
    """How long all windows of so many images take; `facts` is what `build_window_detector` says of them."""
    import numpy as np

    if facts["convolutional"]:
        image = np.zeros((1, detector.size, detector.size, 3), np.uint8)
        took = _seconds(lambda: detector(image))
        return told(images * took, f"the windows of one image took {took:.2g} s, {NOW}.")
    took, windows = answering(detector.classifier, detector.classifier.input_shape[1]), facts["windows"]
    each = f"{measured(BATCH, took)}, and an image has {windows:,} windows."
    return told(images * windows * took / BATCH, each)


def measured(count: int, took: float) -> str:
    """How an estimate was found."""
    return f"{count} images took {took:.2g} s through the network, {NOW}"


def answering(network: Any, size: int) -> float:
    """Seconds that BATCH random images of a side take through a network."""
    import numpy as np
    import tensorflow as tf

    pixels = tf.constant(np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3)), tf.uint8)
    answer = tf.function(lambda: network(pixels, training=False))
    return _seconds(answer)


def _seconds(call: Callable[[], Any]) -> float:
    """Of a second call: the first one compiles."""
    call()
    start = perf_counter()
    call()
    return perf_counter() - start
