"""How a sliding window with a head of its own learns, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

VIEWS = {"upright": 1, "mirrored": 2, "turned": 8}  # how many an image has


@dataclass(frozen=True)
class PooledLearning:
    """From how many windows a head learns.

    Attributes:
        backbone: Whose maps are pooled; its weights do not learn.
        weights: "imagenet", "none" or a file.
        minutes: How long learning takes; it becomes `training_images`, once.
        training_images: How many training images are drawn; all where neither is given.
        rounds: Of hard negatives, each of which goes through all drawn images once more.
        views: "upright": images are seen as they are; "mirrored": also left to right; "turned": also by right angles,
            for images without an up. Each round sees an image in the next of its views.
        head_steps: For how many steps the head learns after each round.
        shapes: Of windows at all scales, chosen for the training boxes.
    """

    backbone: str = "efficientnet-lite0"
    weights: str = "imagenet"
    minutes: float | None = None
    training_images: int | None = None
    rounds: int = 2
    views: str = "mirrored"
    head_steps: int = 2_000
    shapes: int = 16
