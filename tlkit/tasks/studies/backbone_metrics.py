"""Extractors against each other: a one-against-rest detector for each class, and one classifier for all.

The table of the course's contest (S10): precision and recall of each detector, eta the mean over the classes
that matter of sqrt(precision x recall), with intervals by resampling groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.core import bootstrap as intervals
from tlkit.tasks.studies.gains import sums_by_group


def contest_measures(
    labels: np.ndarray,
    predicted: np.ndarray,
    detected: np.ndarray,
    class_names: Sequence[str],
    groups: Sequence[str],
    negative: str | None = "other",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure one row of the table.

    Args:
        labels: True class indices, int [n].
        predicted: Answers of the classifier, int [n].
        detected: Answers of the detectors, bool [n, k]: column c says "this is c".
        class_names: k names.
        groups: What each image belongs to, [n].
        negative: The class that eta leaves out where it is among them.
        resamples: Of the bootstrap over groups.
        seed: Of those draws.

    Returns:
        n, groups, accuracy, eta, intervals of both (95 %), per_class (precision, recall of the detector).
    """
    chosen = [i for i, name in enumerate(class_names) if name != negative] or list(range(len(class_names)))
    members = np.unique(groups, return_inverse=True)[1]
    truth = labels[:, None] == np.arange(len(class_names))
    count = int(members.max()) + 1
    sums = [sums_by_group(part, members) for part in (truth & detected, truth, detected)]
    scores = intervals.class_scores(*(part.sum(0)[None] for part in sums))
    right = sums_by_group(np.stack([predicted == labels, np.ones(len(labels), bool)], 1), members)

    def resample(draws: np.ndarray) -> dict[str, np.ndarray]:
        drawn = intervals.class_scores(*(draws @ part for part in sums))
        share = draws @ right
        with np.errstate(invalid="ignore"):
            return {"accuracy": share[:, 0] / share[:, 1], "eta": drawn["eta"][:, chosen].mean(1)}

    values = {
        "accuracy": float(np.mean(predicted == labels)),
        "eta": float(scores["eta"][0, chosen].mean()),
    }
    rarest = min(len(np.unique(members[labels == i])) for i in chosen)
    found = intervals.intervals(
        values, resample, {"accuracy": count, "eta": rarest}, intervals.draw_groups(count, resamples, seed)
    )
    per_class = {
        name: {key: float(scores[key][0, i]) for key in ("precision", "recall", "eta")}
        for i, name in enumerate(class_names)
    }
    return {"n": len(labels), "groups": count, **values, "intervals": found, "per_class": per_class}
