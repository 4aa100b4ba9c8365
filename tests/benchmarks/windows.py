"""Claim: windows classified in batches are at least 5 times as fast as one `predict` a window.

    python -m tests.benchmarks.windows

One image of 416 px, a classifier of 64 px, the windows of `slide-window` with a step of a quarter. The rival cuts
every window out in NumPy and calls `model.predict` on it alone, as tutorials do; it is timed on some of the windows
and scaled. Both answer the same, which is checked. A second row is the course's network, which does not pad: its maps
are computed once a scale. Building and tracing are timed on neither side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.measuring import Comparison, in_turn, main, seconds

if TYPE_CHECKING:
    import keras

SIZE, NAMES = 416, ("gun", "knife", "other")
LEAST = 5.0


def measure(
    _source: str,
    pairs: int = 3,
    *,
    size: int = SIZE,
    side: int = 64,
    loop: int = 60,
    backbone: str = "mobilenet",
) -> list[Comparison]:
    """One row for windows that are cut out in batches, one for maps that are computed once."""
    from tlkit.tasks.classification.classifier import build_classifier
    from tlkit.tasks.classification.small_cnn import build_small_cnn

    padded, _ = build_classifier(backbone, NAMES, side, weights="none")
    plain = build_small_cnn(NAMES, 32)
    return [
        compare(f"{backbone} {side}, batches", padded, "crops", size, loop, pairs),
        compare("small-cnn 32, batches", plain, "crops", size, loop, pairs),
        compare("small-cnn 32, maps computed once", plain, "convolutional", size, loop, pairs),
    ]


def compare(claim: str, model: keras.Model, way: str, size: int, loop: int, pairs: int) -> Comparison:
    """Seconds an image of a plain loop, scaled from `loop` windows, and ours."""
    import tensorflow as tf

    from tlkit.tasks.detection.sliding_window.detector import build_window_detector
    from tlkit.tasks.detection.sliding_window.scores import level_image
    from tlkit.tasks.detection.sliding_window.settings import Windows

    windows = Windows(size, (0.12, 0.45), 3, step=0.25, way=way)
    detector, _ = build_window_detector(model, NAMES[:2], "other", windows)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.uint8)
    cut = [
        level_image(tf.constant(image), level).numpy()[0][top : top + level.side, left : left + level.side]
        for level in detector.levels
        for top, left in level.corners()
    ]
    chosen = np.linspace(0, len(cut) - 1, min(loop, len(cut))).astype(int)
    answer = tf.function(lambda images: detector(images, training=False), autograph=False)
    found = answer(tf.constant(image)).numpy()[0]
    alone: list[np.ndarray] = []

    def rival() -> float:
        alone.clear()
        took = seconds(lambda: alone.extend(model.predict(cut[i][None], verbose=0)[0] for i in chosen))
        return took * len(cut) / len(chosen)

    def ours() -> float:
        return seconds(lambda: answer(tf.constant(image)).numpy())

    model.predict(cut[0][None], verbose=0)
    took = in_turn({"rival": rival, "ours": ours}, pairs)
    difference = float(np.abs(np.stack(alone)[:, :2] - found[chosen]).max())
    if difference > 1e-4:
        raise RuntimeError(f"{claim}: the loop and ours differ by {difference:.1g}")
    note = f"{claim}: {len(cut):,} windows an image; the loop is timed on {len(chosen)} of them."
    return Comparison(
        claim, "s/picture", took["rival"], took["ours"], LEAST, least=True, inverse=True, note=note
    )


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=3)
