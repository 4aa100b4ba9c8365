"""Linear support vector machines of R-CNN, one a class, with hard negatives.

True boxes alone are positive. A region that overlaps an object of the class by less than 0.3 is negative, any other
(a part of it, or it and much around it) is nothing. There are too many negatives to fit all: the images are gone
through once, and those enter that the machine of the time does not know for sure; see `learn_machine`.

Source: Girshick 2014, section 2.3; the numbers are those of the released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tlkit.data.boxes.dataset import iou

NEGATIVE = 0.3  # IoU with an object of the class below which a region is background
COST, POSITIVE_WEIGHT, BIAS_INPUT = 1e-3, 2.0, 10.0
ENTERS, LEAVES = -1.0001, -1.2  # scores above which a negative is hard, and below which one is easy
REFIT = 2_000  # new negatives after which a machine is fitted anew
UNKNOWN = -10.0  # the bias of a class that nothing was learned of: its scores are next to 0


class Machine(NamedTuple):
    """A linear machine: features times kernel plus bias is its score.

    Attributes:
        kernel: float32 [d].
        bias: Of the score.
        positives: How many were fitted.
        negatives: How many were kept at the end.
        fits: How often it was fitted.
    """

    kernel: np.ndarray
    bias: float
    positives: int
    negatives: int
    fits: int

    def scores(self, features: np.ndarray) -> np.ndarray:
        """float64 [n] of features float32 [n, d]."""
        return features.astype(np.float64) @ self.kernel.astype(np.float64) + self.bias


def overlaps_by_class(regions: np.ndarray, xyxy: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The largest IoU of each region with an object of each class.

    Args:
        regions: float32 [p, 4].
        xyxy: float32 [m, 4], objects.
        labels: int32 [m], 0 .. classes - 1.
        classes: k.

    Returns:
        float64 [p, k]; 0 where there is no object of the class.
    """
    found = np.zeros((len(regions), classes))
    every = iou(regions, xyxy)
    for label in set(np.asarray(labels).tolist()):
        found[:, label] = every[:, labels == label].max(1)
    return found


def learn_machine(positives: np.ndarray, negatives: Sequence[np.ndarray], seed: int = 0) -> Machine:
    """Fit one class in one pass over the images' negatives.

    Those of the first image all enter. From then on a negative enters if its score is above -1.0001, that is on the
    wrong side of its margin; after each 2,000 new ones, and at the end, the machine is fitted anew, and those whose
    score is then below -1.2 leave.

    Args:
        positives: float32 [m, d], true boxes of the class.
        negatives: [n] float32 [p, d], those of each image in the order in which they are seen.
        seed: Of the solver's order.

    Returns:
        A machine; where there is nothing on one of the two sides, one that never says yes.
    """
    width, seen = positives.shape[1], sum(map(len, negatives))
    if not len(positives) or not seen:
        return Machine(np.zeros(width, np.float32), UNKNOWN, len(positives), 0, 0)
    kept = np.zeros((0, width), np.float32)
    machine: Machine | None = None
    new, left = 0, seen
    for some in negatives:
        left -= len(some)
        entering = some if machine is None else some[machine.scores(some) > ENTERS]
        kept, new = np.concatenate([kept, entering]), new + len(entering)
        if new and (machine is None or new >= REFIT or not left):
            fits = machine.fits + 1 if machine else 1
            machine = _fitted(positives, kept, seed, fits)
            kept = kept[machine.scores(kept) >= LEAVES]
            machine, new = machine._replace(negatives=len(kept)), 0
    if machine is None:
        raise ValueError("negatives were counted, and none was seen")
    return machine


def _fitted(positives: np.ndarray, negatives: np.ndarray, seed: int, fits: int) -> Machine:
    """A machine of all these: hinge loss, solved in the dual, its bias a weight of an input that is always 10."""
    from sklearn.svm import LinearSVC

    solver = LinearSVC(
        C=COST,
        loss="hinge",
        dual=True,
        class_weight={1: POSITIVE_WEIGHT},
        intercept_scaling=BIAS_INPUT,
        random_state=seed,
        max_iter=100_000,
    )
    features = np.concatenate([positives, negatives]).astype(np.float64)
    solver.fit(features, np.repeat([1, 0], [len(positives), len(negatives)]))
    kernel = solver.coef_[0].astype(np.float32)
    return Machine(kernel, float(solver.intercept_[0]), len(positives), len(negatives), fits)
