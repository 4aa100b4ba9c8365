"""How a classifier is made and fitted, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


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
        stage: "head", "top" or "all": see `classifier.thaw`.
        epochs: At most so many; 0 leaves the phase out.
        learning_rate: The largest rate.
    """

    name: str
    stage: str
    epochs: int
    learning_rate: float


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


ADA_TARGET = 0.6  # mean sign of the critic on real pictures (Karras 2020, section 3)
LEAST_PICTURES = 8  # with fewer there is nothing to generalise from
AUGMENTATIONS = ("translation", "cutout", "flip", "turn", "colour")


@dataclass(frozen=True)
class Play:
    """How a generator and a critic play against each other.

    Attributes:
        batch: Real pictures a step, and as many fakes.
        learning_rate: Adam's rate of the generator.
        critic_rate: Adam's rate of the critic.
        beta_1: Adam's memory of the gradient; 0.5 in Radford 2015, 0 in Karras 2019.
        beta_2: Adam's memory of the squared gradient.
        loss: "non-saturating" (Goodfellow 2014, section 3) or "hinge" (Lim 2017).
        r1: Weight gamma of the gradient penalty on real pictures (Mescheder 2018); 0 leaves it out.
        r1_every: Steps from one penalty to the next; its weight is multiplied by this (lazy, Karras 2020).
        ema: Images after which the averaged generator has forgotten half of a weight's past.
        ema_rampup: While fewer images were seen than ema / ema_rampup, the half-life is this share of them.
        augmentation: What changes real and fake pictures alike before the critic sees them: AUGMENTATIONS.
        p: With which probability each of these is applied to a picture, at first or for good.
        ada: Mean sign of the critic on real pictures that p is steered to (Karras 2020, ADA); None leaves p as it is.
        ada_images: Images in which p can go from 0 to 1.
        ada_every: Steps from one correction of p to the next.
        p_max: p never passes this: beyond, augmentation leaks into the samples (Karras 2020, section 2.2).
        mixing: Share of fakes made of two latents (style mixing; a StyleGAN only).
        saturation: Weight of the penalty on pixels that the generator's tanh has swallowed; 0 leaves it out.
    """

    batch: int = 16
    learning_rate: float = 1e-3
    critic_rate: float = 1e-3
    beta_1: float = 0.5
    beta_2: float = 0.99
    loss: str = "non-saturating"
    r1: float = 0.1
    r1_every: int = 16
    ema: float = 5_000
    ema_rampup: float = 0.05
    augmentation: tuple[str, ...] = ("translation", "cutout")
    p: float = 1.0
    ada: float | None = None
    ada_images: int = 20_000
    ada_every: int = 4
    p_max: float = 0.9
    mixing: float = 0.9
    saturation: float = 0.1


DCGAN_PLAY = Play(batch=16)
# Equalised weights are of size 1, so their rates are higher than those of a DCGAN.
STYLEGAN_PLAY = Play(learning_rate=4e-3, critic_rate=4e-3, r1=0.5)
PLAYS = {
    "dcgan": DCGAN_PLAY,
    "stylegan": STYLEGAN_PLAY,
}  # how each kind of network plays unless told otherwise
