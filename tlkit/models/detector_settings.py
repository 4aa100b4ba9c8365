"""How a detector is fitted and asked, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SCORE = 0.01  # of a detection that is measured: an AP needs the low ones too


@dataclass(frozen=True)
class Detecting:
    """Which of a network's boxes are detections.

    Attributes:
        threshold: Least score, 0..1.
        overlap: Of two boxes of one class with a larger IoU the one with the lower score is dropped.
        most: Detections an image.
        candidates: Boxes an image that are compared with one another, those with the highest scores.
    """

    threshold: float = 0.05
    overlap: float = 0.5
    most: int = 100
    candidates: int = 400


@dataclass(frozen=True)
class DetectorFitting:
    """How the phases of a detector are fitted.

    Attributes:
        batch: Images a step.
        patience: Judged epochs without progress before a phase stops.
        schedule: "cosine" (Loshchilov 2017) or "constant".
        warmup: Share of a phase's steps in which the rate rises linearly from zero.
        weight_decay: Decoupled (AdamW, Loshchilov 2019); 0 is Adam.
        clip_norm: Largest global norm of the gradients; 0 does not clip.
        balance: "none" or "resample": classes, and pictures without any object, equally likely.
        ema: Weights that are judged and kept are a moving average; this share of it is kept in each step, less in
            the first steps: (1 + t) / (10 + t). 0 keeps the weights as they are.
        judge_every: Epochs from one judgement on validation images to the next; the last epoch is always judged.
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
