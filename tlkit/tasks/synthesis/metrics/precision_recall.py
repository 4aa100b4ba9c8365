"""What nearest neighbours tell of generated images: are they good, do they cover the reals, are they copies?

All take features, float [n, d], and Euclidean distances. An image's ball reaches to its k-th nearest neighbour
in its own set; "inside" includes the rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from tlkit.core.bootstrap import CONFIDENCE, exact_interval
from tlkit.errors import DataFault
from tlkit.tasks.synthesis.metrics.kid import checked

PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5  # k of the two papers
COPY_QUANTILE = 0.01
_SAME = 1e-6  # of the median nearest distance: rounding between two passes of one image


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def share_of(hits: np.ndarray) -> Estimate:
    """A share of independent trials, bool [n], with Clopper and Pearson's interval.

    The bounds hold the other set fixed: those of precision say how precision would vary with other samples of
    the same generator, not with other reals.
    """
    share = float(hits.mean())
    low, high = exact_interval(share, len(hits))
    return Estimate(share, low, high)


def precision_recall(
    real: np.ndarray, fake: np.ndarray, k: int = PRECISION_NEIGHBOURS
) -> tuple[Estimate, Estimate]:
    """Improved precision (fakes inside a real's ball) and recall (reals inside a fake's ball).

    Args:
        real: Features, float [n, d], n > k.
        fake: Features, float [m, d], m > k.
        k: The neighbour that sets a ball's radius.

    Raises:
        DataFault: Not more than k images in a set, or features that are no numbers.

    Source: Kynkaanniemi et al., NeurIPS 2019, arXiv:1904.06991, equations 1 to 3.
    """
    real, fake = _enough(real, fake, k)
    across = cdist(real, fake)
    precision = (across <= radii(real, k)[:, None]).any(axis=0)
    recall = (across <= radii(fake, k)[None]).any(axis=1)
    return share_of(precision), share_of(recall)


def density_coverage(
    real: np.ndarray, fake: np.ndarray, k: int = DENSITY_NEIGHBOURS, *, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Density (reals' balls around a fake, over k, on average; may exceed 1) and coverage (reals with a fake inside).

    Args:
        real: Features, float [n, d], n > k.
        fake: Features, float [m, d], m > k.
        k: The neighbour that sets a ball's radius.
        seed: Of the bootstrap of density over fakes.

    Raises:
        DataFault: Not more than k images in a set, or features that are no numbers.

    Source: Naeem et al., ICML 2020, arXiv:2002.09797, equations 4 and 5.
    """
    real, fake = _enough(real, fake, k)
    inside = cdist(real, fake) <= radii(real, k)[:, None]
    crowd = inside.sum(axis=0) / k
    draws = np.random.default_rng(seed).multinomial(len(fake), np.full(len(fake), 1 / len(fake)), 1000)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws @ crowd / len(fake), [tail, 1 - tail])
    density = Estimate(float(crowd.mean()), float(low), float(high))
    return density, share_of(inside.any(axis=1))


def _enough(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    if min(len(real), len(fake)) <= k:
        raise DataFault(f"{k} neighbours need more than {k} images; there are {len(real)} and {len(fake)}.")
    return checked(real, "real"), checked(fake, "generated")


def radii(features: np.ndarray, k: int) -> np.ndarray:
    """Float64 [n]: distance of each to its k-th nearest other."""
    return np.partition(cdist(features, features), k, axis=1)[:, k]  # place 0 is the image itself


# --- memorisation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memorisation:
    """How many generated images lie so near to a training image that they must be called copies.

    Attributes:
        share: Of the fakes.
        held_out: The same share of real images that were not trained on, the yardstick; None where there are
            none.
        excess: share - held_out; None where there is no yardstick.
        threshold: Distance up to which an image is a copy: the 1 % quantile of the training images' distances to
            their nearest other.
        duplicates: Training images that were left out as exact copies of others when it was computed.
        nearest: Index of the nearest training image of each fake, int [m].
        distances: To it, float64 [m].
    """

    share: Estimate
    held_out: Estimate | None
    excess: Estimate | None
    threshold: float
    duplicates: int
    nearest: np.ndarray
    distances: np.ndarray


def memorisation(training: np.ndarray, fake: np.ndarray, held_out: np.ndarray | None = None) -> Memorisation:
    """Compare fakes with the images that they were learned from.

    Read the share beside that of held-out reals: where a set holds many views of one object, new real views are
    close to old ones, too. A threshold from all pairs of distances would call most of them copies.

    Args:
        training: Features, float [n, d], at least three that differ.
        fake: Features, float [m, d].
        held_out: Features of real images not trained on, float [h, d]; None or empty: no yardstick.

    Raises:
        DataFault: There are too few training images, no fakes, or features that are no numbers.
    """
    training, fake = checked(training, "training"), checked(fake, "generated")
    if not len(fake):
        raise DataFault("There are no generated images to compare with the training images.")
    threshold, duplicates = copy_threshold(training)
    across = cdist(fake, training)
    nearest = across.argmin(axis=1)
    distances = across[np.arange(len(fake)), nearest]
    share = share_of(distances <= threshold)
    yardstick = None
    if held_out is not None and len(held_out):
        unseen = cdist(checked(held_out, "held-out"), training).min(axis=1)
        yardstick = share_of(unseen <= threshold)
    excess = None if yardstick is None else _difference(share, yardstick)
    return Memorisation(share, yardstick, excess, threshold, duplicates, nearest, distances)


def copy_threshold(features: np.ndarray) -> tuple[float, int]:
    """Find the distance up to which an image copies one of a set, and how many duplicates the set itself holds.

    Duplicates are left out first: with them the quantile would be 0, or rounding, and nothing else a copy.

    Args:
        features: float [n, d], at least three that differ.

    Returns:
        The 1 % quantile of leave-one-out nearest distances, and the images left out.

    Raises:
        DataFault: Fewer than three differ.
    """
    own = cdist(features, features)
    np.fill_diagonal(own, np.inf)
    finite = own[np.isfinite(own)]
    same = own <= _SAME * (np.median(finite) if len(finite) else 0.0)
    kept = np.flatnonzero(~np.tril(same).any(axis=1))  # the first of each group of equal images
    if len(kept) < 3:
        raise DataFault(f"Only {len(kept)} of {len(features)} images differ; at least 3 are needed.")
    nearest = own[np.ix_(kept, kept)].min(axis=1)
    return float(np.quantile(nearest, COPY_QUANTILE)), len(features) - len(kept)


def _difference(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two independent shares with the interval of their intervals.

    Source: Zou and Donner: Construction of confidence limits about effect measures, Statist. Med. 27 (2008)
        1693-1702 (MOVER; Newcombe's interval where the two are Wilson's).
    """
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, float(value - below), float(value + above))
