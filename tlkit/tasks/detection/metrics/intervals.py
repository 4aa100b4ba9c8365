"""How far can a detector's measures be trusted? Average precision and recall in resamples of groups.

Images are drawn with replacement, group by group (see `intervals`), all resamples at once: nothing is matched anew,
only counted with the weights of the draw. The best precision at a recall always lies at a hit, so false alarms are
summed up between hits, by one sparse product for each class and overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from tlkit.tasks.detection.metrics.coco import CocoMatches
from tlkit.tasks.detection.metrics.matching import Ranked

RECALLS = np.linspace(0, 1, 101)  # as COCO's
_AT_ONCE = 4_000_000  # numbers held at a time


class Counted(NamedTuple):
    """A ranking reduced to what resampling needs.

    Attributes:
        hits: int `[h]`, the group of each hit, the surest first.
        alarms: sparse `[h, G]`: false alarms of each group since the hit before.
        objects: float32 `[G]`, objects of each group.
        images: float32 `[G]`, images of each group.
    """

    hits: np.ndarray
    alarms: sparse.csr_array
    objects: np.ndarray
    images: np.ndarray


def counted(
    hits: np.ndarray,
    groups: np.ndarray,
    objects: np.ndarray,
    images: np.ndarray,
    upto: np.ndarray | None = None,
) -> Counted:
    """Reduce a ranking.

    Args:
        hits: bool `[d]`, whether each detection is a hit, the surest first; none that do not count.
        groups: int `[d]`, the group of each detection.
        objects: Objects of each group, `[G]`.
        images: Images of each group, `[G]`.
        upto: For each hit, how many detections stand before or level with it; None: those before.
    """
    places = np.flatnonzero(hits)
    edges = places if upto is None else upto
    alarms = np.flatnonzero(~hits)
    rows = np.searchsorted(edges, alarms, side="right")  # the first hit that this false alarm stands before
    kept = rows < len(places)
    shape = (len(places), len(objects))
    ones = np.ones(int(kept.sum()), np.float32)
    matrix = sparse.csr_array((ones, (rows[kept], groups[alarms[kept]])), shape=shape)
    return Counted(groups[places], matrix, objects.astype(np.float32), images.astype(np.float32))


def resampled_ap(rows: Counted, weights: np.ndarray) -> np.ndarray:
    """COCO's average precision of one class at one overlap, in every resample.

    Args:
        rows: The ranking.
        weights: How often each group was drawn, float32 `[G, resamples]`; it counts exactly to 16 million. Sums run
            over rows, so that the processor adds whole rows of resamples at once.

    Returns:
        float64 `[resamples]`, NaN where a resample has no object.
    """
    total = rows.objects @ weights
    result = np.zeros(weights.shape[1])
    for some, drawn in _blocks(rows, weights):
        hits = np.cumsum(drawn[rows.hits], axis=0)
        both = np.cumsum(rows.alarms @ drawn, axis=0)
        both += hits
        precision = np.divide(hits, both, out=np.zeros_like(hits), where=hits > 0)
        best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        recall = np.divide(hits.T, np.maximum(total[some], 1.0)[:, None], dtype=np.float64)
        result[some] = [_mean_precision(*pair) for pair in zip(recall, best.T, strict=True)]
    return np.where(total > 0, result, np.nan)


def _mean_precision(recall: np.ndarray, best: np.ndarray) -> float:
    """Mean over 101 recalls of the best precision there, 0 beyond the last: as pycocotools does it."""
    first = np.searchsorted(recall, RECALLS)
    return float(best[first[first < len(best)]].sum(dtype=np.float64)) / len(RECALLS)


def _blocks(rows: Counted, weights: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some resamples at a time, so that memory stays flat."""
    step = max(1, _AT_ONCE // max(len(rows.hits), 1))
    for start in range(0, weights.shape[1], step):
        some = slice(start, start + step)
        yield some, np.ascontiguousarray(weights[:, some])


def resampled_recall(rows: Counted, weights: np.ndarray, rate: float) -> np.ndarray:
    """Recall at `rate` false alarms an image, the threshold chosen anew in every resample.

    Args:
        rows: The ranking, false alarms level with a hit counted before it.
        weights: float32 `[G, resamples]`.
        rate: False alarms an image.

    Returns:
        float64 `[resamples]`, NaN where a resample has no object.
    """
    total, limit = rows.objects @ weights, rate * (rows.images @ weights) + 1e-9
    result = np.zeros(weights.shape[1])
    for some, drawn in _blocks(rows, weights):
        alarms = np.cumsum(rows.alarms @ drawn, axis=0)
        result[some] = np.sum(drawn[rows.hits] * (alarms <= limit[some]), axis=0, dtype=np.float64)
    return np.divide(result, total, out=np.full(len(total), np.nan), where=total > 0)


def counted_screening(rows: Ranked, members: np.ndarray, groups: int) -> Counted:
    """A ranking of all classes, for `resampled_recall`.

    Args:
        rows: The ranking.
        members: The group of each image, int `[n]`.
        groups: How many.
    """
    objects = np.bincount(members[rows.object_images], minlength=groups)
    images = np.bincount(members, minlength=groups)
    upto = np.searchsorted(-rows.scores, -rows.scores[rows.hits], side="right")
    return counted(rows.hits, members[rows.images], objects, images, upto)


def counted_classes(
    matched: CocoMatches, classes: int, members: np.ndarray, groups: int
) -> list[list[Counted]]:
    """Reduce COCO's matches, for `resampled_ap`: for each class, for each overlap.

    Args:
        matched: Of `coco_matches`.
        classes: How many.
        members: The group of each image, int `[n]`.
        groups: How many.
    """
    images = np.bincount(members, minlength=groups)
    found = []
    for k in range(classes):
        rows = np.flatnonzero(matched.labels == k)
        rows = rows[np.argsort(-matched.scores[rows], kind="stable")]
        objects = np.bincount(members[matched.object_images[matched.object_labels == k]], minlength=groups)
        found.append(
            [
                counted(hits[own], members[matched.images[own]], objects, images)
                for hits, ignored in zip(matched.hits, matched.ignored, strict=True)
                for own in [rows[~ignored[rows]]]
            ]
        )
    return found
