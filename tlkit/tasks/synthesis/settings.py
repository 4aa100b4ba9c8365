"""Settings of a GAN's training, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

ADA_TARGET = 0.6  # mean sign of the discriminator on real images (Karras 2020, section 3)
LEAST_IMAGES = 8  # with fewer there is nothing to generalise from
AUGMENTATIONS = ("translation", "cutout", "flip", "turn", "colour")


@dataclass(frozen=True)
class Play:
    """How a generator and a discriminator play against each other.

    Attributes:
        batch: Real images a step, and as many fakes.
        learning_rate: Adam's rate of the generator.
        critic_rate: Adam's rate of the discriminator.
        beta_1: Adam's memory of the gradient; 0.5 in Radford 2015, 0 in Karras 2019.
        beta_2: Adam's memory of the squared gradient.
        loss: "non-saturating" (Goodfellow 2014, section 3) or "hinge" (Lim 2017).
        r1: Weight gamma of the gradient penalty on real images (Mescheder 2018); 0 leaves it out.
        r1_every: Steps from one penalty to the next; its weight is multiplied by this (lazy, Karras 2020).
        ema: Images after which the averaged generator has forgotten half of a weight's past.
        ema_rampup: While fewer images were seen than ema / ema_rampup, the half-life is this share of them.
        augmentation: What changes real and fake images alike before the discriminator sees them: AUGMENTATIONS.
        p: With which probability each of these is applied to an image, at first or for good.
        ada: Mean sign of the discriminator on real images that p is steered to (Karras 2020, ADA); None leaves p as
            it is.
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
