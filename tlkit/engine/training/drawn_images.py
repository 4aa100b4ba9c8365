"""How many training images there is time for: minutes become a number of images once, which the run keeps.

For what learns by going through images a fixed number of times, as machines and heads on features do.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.dataset import Dataset
from tlkit.data.images.sources import TRAINING
from tlkit.engine.training.estimates import NOW
from tlkit.engine.training.settings import CHECKPOINTS

TIMED = 10  # images that are gone through before it is known how many there is time for
SOLVING = 0.1  # share of the time that is left for what follows


def drawn(training: Dataset, hashes: Sequence[str], seed: int, number: int) -> np.ndarray:
    """Which training images are learned, int [number]: those whose hash with the seed is lowest, in its order."""
    keys = [hashlib.sha256(f"{seed} {one}".encode()).digest() for one in hashes]
    order = sorted(range(len(training)), key=lambda i: (keys[i], training.paths[i]))
    return np.array(order[:number], int)


def order_of_training(split: Any, seed: int) -> np.ndarray:
    """In which order the training images of a split are drawn by a seed, int [n]; see `drawn`."""
    training = split.take(TRAINING)
    hashes = [one for one, part in zip(split.sha256, split.parts, strict=True) if part == TRAINING]
    return drawn(training, hashes, seed, len(training))


def settle_images(
    run: Run,
    total: int,
    minutes: float | None,
    wanted: int | None,
    kept: str,
    measure: Callable[[int], float],
    what: str,
    fixed: float = 0.0,
) -> tuple[int, dict[str, Any]]:
    """How many images are drawn, as --minutes or --training-images has it, and how that was found.

    Minutes become a number of images here, once: the run's own options say the number from then on.

    Args:
        run: Of the recipe, with the options `minutes` and `training_images`.
        total: Training images that there are.
        minutes: How long learning takes.
        wanted: How many images; all where neither is given.
        kept: Name of the file that keeps what was measured until the run ends.
        measure: How many of the drawn images are timed -> seconds that one takes in all, past all caches.
        what: Is done to an image, for the sentence.
        fixed: Seconds that learning takes beside, however many images there are.
    """
    file = run.folder.folder(CHECKPOINTS) / kept
    if minutes is not None and wanted is None:
        timed = min(TIMED, total)
        run.say(f"Length: {what} of {count(timed, 'image')} are timed first.")
        began = time.monotonic()
        each = measure(timed)
        left = 60 * minutes - fixed - (time.monotonic() - began)
        number = int(np.clip((1 - SOLVING) * left / each, 1, total))
        facts = {"minutes": minutes, "seconds_an_image": each, "training_images": number}
        file.write_text(json.dumps(facts), encoding="utf-8")
        run.change_option("training_images", number)
        run.change_option("minutes", None)
    else:
        number = min(wanted or total, total)
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        facts = {**known, "training_images": number}
    if "seconds_an_image" in facts:
        run.say(
            f"Length: {count(number, 'training image')} of {total}, drawn by the seed; one took "
            f"{facts['seconds_an_image']:.2g} s, {NOW}."
        )
    return number, facts
