"""When a GAN goes wrong: samples that are all alike, and a discriminator that has won.

A generator that found one image to fool the discriminator paints it again and again. Two signs, both against the real
images themselves so that no scale has to be chosen: samples differ much less from each other than reals do, or
many samples have a twin. A third comes from the discriminator's answers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from tlkit.core.bootstrap import CONFIDENCE
from tlkit.tasks.synthesis.metrics.kid import checked
from tlkit.tasks.synthesis.metrics.precision_recall import Estimate, radii

LEAST_DIVERSITY = 0.5
MOST_TWINS = 0.25  # of the samples
TWIN = 1 / 3  # of the median distance of a real image to its nearest other
WON = 0.995  # of the discriminator's answers right on both kinds
_RESAMPLES = 500


class DiscriminatorAnswers(NamedTuple):
    """Which images a discriminator took for real (logit above 0), as shares 0..1.

    Attributes:
        real: Of training images, rightly.
        fake: Of generated ones, wrongly.
        held_out: Of real images not trained on; None where there are none.
    """

    real: float
    fake: float
    held_out: float | None = None


def diversity(real: np.ndarray, fake: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean distance of two fakes over the mean distance of two reals.

    1: as different from each other as reals are; near 0: one image over and over. The interval is a percentile
    bootstrap over images of both sets; an image is never paired with itself.

    Args:
        real: Features, float [n, d], n > 1, not all equal.
        fake: Features, float [m, d], m > 1.
        seed: Of the bootstrap.
    """
    reals, fakes = checked(real, "real"), checked(fake, "generated")
    generator = np.random.default_rng(seed)
    (real_mean, real_means), (fake_mean, fake_means) = (_spread(one, generator) for one in (reals, fakes))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(fake_means / real_means, [tail, 1 - tail])
    return Estimate(fake_mean / real_mean, float(low), float(high))


def _spread(features: np.ndarray, generator: np.random.Generator) -> tuple[float, np.ndarray]:
    """Mean distance of two different images: the value, and float64 [resamples]."""
    count = len(features)
    distances = cdist(features, features)
    draws = generator.multinomial(count, np.full(count, 1 / count), _RESAMPLES).astype(np.float64)
    pairs = count**2 - (draws**2).sum(axis=1)  # of images that differ
    totals = np.einsum("rn,rn->r", draws @ distances, draws)
    return float(distances.sum() / (count * (count - 1))), totals / np.maximum(pairs, 1)


def twins(real: np.ndarray, fake: np.ndarray) -> float:
    """Share of fakes with another fake within a third of the distance at which reals have their nearest, 0..1.

    That distance is the reals' median: it stands still where the 1 % quantile of few images jumps. More images
    lie closer together, so of the larger set only as many are used as the smaller has.

    Args:
        real: Features, float [n, d], n > 1.
        fake: Features, float [m, d], m > 1.
    """
    count = min(len(real), len(fake))
    usual = np.median(radii(checked(real[:count], "real"), 1))
    return float((radii(checked(fake[:count], "generated"), 1) <= TWIN * usual).mean())


def collapse_reason(
    real: np.ndarray,
    fake: np.ndarray,
    answers: DiscriminatorAnswers | None = None,
    *,
    least_diversity: float = LEAST_DIVERSITY,
    most_twins: float = MOST_TWINS,
) -> str | None:
    """Say why a GAN should be stopped or rolled back, or None where nothing is wrong.

    At the start of a GAN samples are alike because nothing is learned yet: ask only after that.

    Args:
        real: Features of training images, float [n, d], n >= 8.
        fake: Features of samples, float [m, d], m >= 8.
        answers: Of the discriminator; None: not looked at.
        least_diversity: Alarm below this `diversity`.
        most_twins: Alarm above this share of `twins`.

    Returns:
        A sentence with the number and its limit, or None.
    """
    if not np.isfinite(fake).all():
        return "The samples have features that are no numbers."
    ratio = diversity(real, fake).value
    if ratio < least_diversity:
        return (
            f"The samples differ from each other {ratio:.2f} times as much as real images do "
            f"(alarm below {least_diversity:g}): the generator paints nearly the same image every time."
        )
    share = twins(real, fake)
    if share > most_twins:
        return (
            f"{100 * share:.0f} % of the samples have a twin among the samples (alarm above {100 * most_twins:g} %): "
            "the generator repeats a few images."
        )
    if answers is not None and answers.real >= WON and answers.fake <= 1 - WON:
        return (
            f"The discriminator is right on {100 * answers.real:.1f} % of real images and "
            f"{100 * (1 - answers.fake):.1f} % of samples: it has won and teaches the generator nothing more."
        )
    return None
