"""Mode collapse, where it is total: samples that are nearly one picture, whatever the latents.

No features are needed to see it, so every game is asked at every checkpoint; the finer signs, and the critic's, stand
in metrics/collapse.py.
"""

from __future__ import annotations

import numpy as np

from tlkit.tasks.synthesis.gan import Game
from tlkit.tasks.synthesis.latents import random_labels, random_latents, sample

LOOKED_AT = 64  # samples
LEAST_SPREAD = 0.05  # of the real pictures' standard deviation of a pixel; with less, samples are one picture


class Collapse(str):
    """Why a watcher holds that the game is lost and is to be begun again, a sentence."""


def constant_reason(game: Game, pictures: np.ndarray) -> str | None:
    """Say that samples of the averaged generator are nearly one picture, or None where they are not.

    Args:
        game: Whose samples are looked at; the same latents at each look.
        pictures: Real ones, float [n, s, s, c], 0..1.
    """
    labels = random_labels(game.average, LOOKED_AT, game.seed)
    samples = sample(game, random_latents(game, LOOKED_AT, game.seed), labels=labels)
    ratio = float(np.std(samples, axis=0).mean() / np.std(pictures, axis=0).mean())
    if ratio >= LEAST_SPREAD:
        return None
    return (
        f"Pixels of the samples differ {ratio:.3f} times as much as those of real pictures do (alarm below "
        f"{LEAST_SPREAD:g}): the generator makes one picture."
    )
