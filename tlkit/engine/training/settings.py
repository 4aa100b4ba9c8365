"""How a classifier is made and fitted, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

CHECKPOINTS = "checkpoints"  # folder of a run, until it ends


@dataclass(frozen=True)
class Head:
    """The new layers on top of the pooled features.

    Attributes:
        units: Sizes of hidden dense ReLU layers; none by default.
        dropout: Share of features dropped in training, before each dense layer.
    """

    units: tuple[int, ...] = ()
    dropout: float = 0.2


@dataclass(frozen=True)
class Phase:
    """What learns, how long and how fast.

    Attributes:
        name: For people, folders and seeds.
        stage: "head", "top" or "all": see `classifier.unfreeze`.
        epochs: At most so many; 0 leaves the phase out.
        learning_rate: The largest rate.
    """

    name: str
    stage: str
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class StepPhase(Phase):
    """A phase whose epochs have a number of steps of their own.

    Attributes:
        steps: Of each epoch, whatever the number of images.
    """

    steps: int = 0


@dataclass(frozen=True)
class Fitting:
    """How the phases are fitted.

    Attributes:
        batch: Images a step.
        patience: Epochs without a lower validation loss before a phase stops.
        head_patience: The same of a phase that learns the head on cached features; None: as `patience`.
        schedule: "cosine" (Loshchilov 2017), "plateau" (times 0.3 after 2 epochs without progress)
            or "constant".
        warmup: Share of a phase's steps in which the rate rises linearly from zero.
        label_smoothing: Szegedy 2016, section 7.
        weight_decay: Decoupled (AdamW, Loshchilov 2019); 0 is Adam.
        clip_norm: Largest global norm of the gradients; 0 does not clip.
        balance: "none", "weights" or "resample".
        halve: Whether the batch may be halved once, where memory ends.
    """

    batch: int = 32
    patience: int = 5
    head_patience: int | None = None
    schedule: str = "cosine"
    warmup: float = 0.1
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    balance: str = "none"
    halve: bool = False

    def waits(self, stage: str) -> int:
        """Epochs without progress that a phase of a stage waits for."""
        return self.patience if stage != "head" or self.head_patience is None else self.head_patience
