"""How far can the numbers be trusted? 95 % intervals by resampling groups.

Images of one group (one patient, one radiograph, one object) err together, so the bootstrap draws whole
groups with replacement; drawing images would give intervals that are far too narrow. All resamples are
computed at once: each is a row of counts that say how often each group was drawn.
Source: Field and Welsh: Bootstrapping clustered data, J. R. Statist. Soc. B 69 (2007) 369-390.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import sparse, stats

CONFIDENCE = 0.95
_AT_ONCE = 200_000  # weights handled at a time (resamples x images): what fits into a processor's cache
_PAIRS = 4_000_000  # pairs of images compared at a time
_FEW_CLASSES = 100  # each by itself; more at once, which compares every image with every other


def class_scores(hits: np.ndarray, supports: np.ndarray, predictions: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and eta of every class in every resample.

    Args:
        hits: Right answers per class, `[resamples, k]`.
        supports: Images per true class, `[resamples, k]`.
        predictions: Images per predicted class, `[resamples, k]`.

    Returns:
        float64 `[resamples, k]` each. Recall and eta are NaN where a class has no image; precision is 0
        where it was never predicted; F1 is NaN only where it neither has an image nor was predicted.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(predictions > 0, hits / predictions, 0.0)
        recall = hits / np.where(supports > 0, supports, np.nan)
        both = supports + predictions
        f1 = 2 * hits / np.where(both > 0, both, np.nan)
    return {"precision": precision, "recall": recall, "f1": f1, "eta": np.sqrt(precision * recall)}


def resampled_auc(
    is_class: np.ndarray, scores: np.ndarray, groups: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Area under the ROC curve of one class against the rest, in every resample.

    It is the share of (positive, negative) pairs that the score orders rightly; ties count half.

    Args:
        is_class: Which images are positive, bool `[n]`.
        scores: Float `[n]`, larger for positives.
        groups: The group of each image, int `[n]`, 0..G-1.
        draws: How often each group was drawn, `[resamples, G]`.

    Returns:
        float64 `[resamples]`, NaN where a resample has no positive or no negative.
    """
    order = np.argsort(scores)
    negative, positive = order[~is_class[order]], order[is_class[order]]
    first = np.searchsorted(scores[negative], scores[positive], side="left")
    last = np.searchsorted(scores[negative], scores[positive], side="right")
    draws = draws.astype(np.float32)  # counts exactly to 16 million
    step = max(1, _AT_ONCE // len(scores))
    areas = np.full(len(draws), np.nan)
    for start in range(0, len(draws), step):
        some = draws[start : start + step]
        below = np.zeros((len(some), len(negative) + 1), np.float32)
        np.cumsum(some[:, groups[negative]], axis=1, out=below[:, 1:])
        drawn = some[:, groups[positive]]
        won = np.einsum("rp,rp->r", drawn, below[:, first] + below[:, last], dtype=np.float64) / 2
        pairs = drawn.sum(axis=1, dtype=np.float64) * below[:, -1]
        np.divide(won, pairs, out=areas[start : start + step], where=pairs > 0)
    return areas


def resampled_aucs(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """`resampled_auc` of every class that has an image, at once: for many classes of few images each.

    Args:
        labels: True class indices, int `[n]`.
        probabilities: Float `[n, k]`.
        groups: The group of each image, int `[n]`, 0..G-1.
        draws: How often each group was drawn, `[resamples, G]`.

    Returns:
        float64 `[resamples, m]`, the m classes in their order.
    """
    images, present = len(labels), np.unique(labels)
    counted = draws.astype(np.float32)  # counts exactly to 8 million, halves too
    members = sparse.csr_array(
        (np.ones(images, np.float32), (groups, np.arange(images))), shape=(draws.shape[1], images)
    )
    won = np.zeros((len(present), len(draws)))
    step = max(1, _PAIRS // images)
    order = np.argsort(labels, kind="stable")
    for start in range(0, images, step):
        some = order[start : start + step]
        scores, own = probabilities[:, labels[some]], probabilities[some, labels[some]]
        below = (scores < own).astype(np.float32) + (scores == own).astype(np.float32) / 2
        below[labels[:, None] == labels[some]] = 0
        beaten = (counted @ (members @ below)) * counted[:, groups[some]]
        np.add.at(won, np.searchsorted(present, labels[some]), beaten.T)
    drawn = draws[:, groups]
    ends = np.searchsorted(labels[order], present)
    positive = np.add.reduceat(drawn[:, order], ends, axis=1)
    pairs = positive * (drawn.sum(axis=1, keepdims=True) - positive)
    return np.divide(won.T, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def resampled_measures(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    eta_classes: np.ndarray,
    draws: np.ndarray,
) -> dict[str, np.ndarray]:
    """The head measures in every resample.

    Args:
        labels: True class indices, int `[n]`.
        probabilities: float64 `[n, k]`.
        groups: The group of each image, int `[n]`, 0..G-1.
        eta_classes: Class indices that eta is averaged over, int `[m]`.
        draws: How often each group was drawn, `[resamples, G]`.

    Returns:
        `[resamples]` each, NaN where a resample lacks what a measure needs.
    """
    images, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)

    def totals(classes_of: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        counts = sparse.csr_array(
            (chosen.astype(np.float64), (groups, classes_of)), shape=(draws.shape[1], classes)
        )
        return (counts.T @ draws.T).T

    everything = np.ones(images, bool)
    supports = totals(labels, everything)
    hits = totals(labels, labels == predicted)
    scores = class_scores(hits, supports, totals(predicted, everything))
    present = np.unique(labels)
    if len(present) > _FEW_CLASSES:
        areas = resampled_aucs(labels, probabilities, groups, draws)
    else:
        each = (resampled_auc(labels == k, probabilities[:, k], groups, draws) for k in present)
        areas = np.stack(list(each), axis=1)
    return {
        "accuracy": hits.sum(axis=1) / supports.sum(axis=1),
        "balanced_accuracy": _row_means(scores["recall"]),
        "eta": _row_means(scores["eta"][:, eta_classes]),
        "macro_f1": _row_means(scores["f1"]),
        "auc": _row_means(areas),
    }


def mean_where_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are there; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _row_means(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def exact_interval(share: float, trials: int) -> list[float]:
    """Clopper and Pearson's interval for a share seen in `trials` independent trials.

    Without a failure it is [0.025 ** (1 / trials), 1], the two-sided form of the rule of three.

    Args:
        share: 0..1.
        trials: How many independent trials; need not divide the share evenly.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413.
    """
    tail, hits = (1 - CONFIDENCE) / 2, share * trials
    low = stats.beta.ppf(tail, hits, trials - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, trials - hits) if hits < trials else 1.0
    return [float(low), float(high)]


def draw_groups(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Say how often each group is drawn: float64 `[resamples, groups]`, every row sums to `groups`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.float64)


def intervals(
    values: Mapping[str, float | None],
    resample: Callable[[np.ndarray], dict[str, np.ndarray]],
    trials: Mapping[str, int],
    draws: np.ndarray,
) -> dict[str, list[float] | None]:
    """95 % percentile intervals of each measure, with an exact bound where resampling is blind.

    Where no resample differs (a perfect score, a single group) the percentiles would claim certainty.
    There the Clopper-Pearson interval stands, with groups as trials: all groups for accuracy, those of the
    rarest class for averages over classes. For accuracy, balanced accuracy and AUC of a perfect score this
    is a valid bound (one group of each class makes a trial, and no trial failed); for F1 and eta it is rough.

    Args:
        values: The measures themselves; None where a measure does not exist.
        resample: From `draws` to each measure in every resample, `[resamples]`, NaN where undefined.
        trials: Independent groups behind each measure.
        draws: How often each group was drawn, `[resamples, groups]`.

    Returns:
        `[low, high]` for each measure, None where the measure does not exist.
    """
    resampled = resample(draws)
    found: dict[str, list[float] | None] = {}
    for name, value in values.items():
        known = resampled[name][~np.isnan(resampled[name])]
        if value is None:
            found[name] = None
        elif not len(known) or np.ptp(known) < 1e-12:
            found[name] = exact_interval(value, trials[name])
        else:
            tail = (1 - CONFIDENCE) / 2
            found[name] = [float(bound) for bound in np.quantile(known, [tail, 1 - tail])]
    return found
