"""Mode collapse, where it is total: samples that are nearly one image, whatever the latents.

No features are needed to see it, so every GAN is asked at every checkpoint; the finer signs, and the discriminator's,
stand in metrics/collapse.py.
"""

from __future__ import annotations

import numpy as np

from tlkit.tasks.synthesis.gan import Gan
from tlkit.tasks.synthesis.latents import random_labels, random_latents, sample

LOOKED_AT = 64  # samples
LEAST_SPREAD = 0.05  # of the real images' standard deviation of a pixel; with less, samples are one image


class Collapse(str):
    """Why a watcher holds that the GAN is lost and is to be begun again, a sentence."""


def constant_reason(gan: Gan, images: np.ndarray) -> str | None:
    """Say that samples of the averaged generator are nearly one image, or None where they are not.

    Args:
        gan: Whose samples are looked at; the same latents at each look.
        images: Real ones, float [n, s, s, c], 0..1.
    """
    labels = random_labels(gan.average, LOOKED_AT, gan.seed)
    samples = sample(gan, random_latents(gan, LOOKED_AT, gan.seed), labels=labels)
    ratio = float(np.std(samples, axis=0).mean() / np.std(images, axis=0).mean())
    if ratio >= LEAST_SPREAD:
        return None
    return (
        f"Pixels of the samples differ {ratio:.3f} times as much as those of real images do (alarm below "
        f"{LEAST_SPREAD:g}): the generator makes one image."
    )
