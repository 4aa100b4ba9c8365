"""How a detector is fitted and asked, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

LEAST_SCORE = 0.01  # of a detection that is measured: an AP needs the low ones too
USUAL_MOST, USUAL_CANDIDATES = 100, 400
EACH = 10  # candidates a detection beyond that: as many boxes learn one object in YOLOv8
UNSET = 0  # detections an image, until the objects of the training images are known


@dataclass(frozen=True)
class Detecting:
    """Which of a network's boxes are detections.

    Attributes:
        threshold: Least score, 0..1.
        overlap: Of two boxes of one class with a larger IoU the one with the lower score is dropped.
        most: Detections an image; `UNSET` until `for_objects`.
        candidates: Boxes an image that are compared with one another, those with the highest scores; 0: 400, and ten
            for each detection where there are more than 100 of them.
    """

    threshold: float = 0.05
    overlap: float = 0.5
    most: int = USUAL_MOST
    candidates: int = 0

    def __post_init__(self) -> None:
        if not self.candidates and self.most != UNSET:
            many = EACH * self.most if self.most > USUAL_MOST else USUAL_CANDIDATES
            object.__setattr__(self, "candidates", many)

    def for_objects(self, number: int) -> Detecting:
        """The same, with room for so many objects on an image where `most` is not set, and for 100 at least."""
        return self if self.most != UNSET else replace(self, most=max(USUAL_MOST, number))


@dataclass(frozen=True)
class DetectorFitting:
    """How the phases of a detector are fitted.

    Attributes:
        batch: Images a step.
        patience: Evaluated epochs without progress before a phase stops.
        schedule: "cosine" (Loshchilov 2017) or "constant".
        warmup: Share of a phase's steps in which the rate rises linearly from zero.
        weight_decay: Decoupled (AdamW, Loshchilov 2019); 0 is Adam.
        clip_norm: Largest global norm of the gradients; 0 does not clip.
        balance: "none" or "resample": classes, and images without any object, equally likely.
        ema: Weights that are evaluated and kept are a moving average; this share of it is kept in each step, less in
            the first steps: (1 + t) / (10 + t). 0 keeps the weights as they are.
        judge_every: Epochs from one evaluation on validation images to the next; the last epoch is always evaluated.
        minutes: How long the training takes in all, instead of the phases' epochs; it becomes `steps`, once.
        steps: How many steps it has in all, instead of the phases' epochs.
    """

    batch: int = 8
    patience: int = 20
    schedule: str = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    balance: str = "none"
    ema: float = 0.999
    judge_every: int = 1
    minutes: float | None = None
    steps: int | None = None


class OnlineComposites(Protocol):
    """What pastes threats into training images while a detector learns; compositing/online_workflow.py has one."""

    def change(self, size: int) -> Any:
        """The change of each batch, for images in squares of `size` pixels; see `training_box_batches`."""
