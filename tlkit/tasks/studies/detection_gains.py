"""Does adding something to training help a detector? Average precision and recall of each arm, in the same draws.

AP50 is COCO's (see `coco`), evaluated once on one test part; groups of its images and repeats are drawn as
`benefit` draws them, so that the gain over the arm without anything is a paired one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tlkit.data.boxes.dataset import Boxes
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.metrics.coco import COCO_MOST, coco_matches
from tlkit.tasks.detection.metrics.matching import all_labels, all_scores, ranked
from tlkit.tasks.detection.metrics.summary import RATES, Matched, resampled_measures
from tlkit.tasks.studies.gains import Cell, compare_arms

MAIN = "AP50"
SCREENING = tuple(f"recall@{rate:g}" for rate in RATES)  # at so many false alarms an image


def measure_detection_benefit(
    truth: Boxes,
    groups: Sequence[str],
    answers: Mapping[tuple[int, str], Sequence[Sequence[Detections]]],
    *,
    seed: int = 0,
    most: int = COCO_MOST,
) -> list[Cell]:
    """AP50, recall at false alarms, AP50 of each class ("class NAME"), and the gains in AP50.

    Args:
        truth: The test images, [n], with at least one object; classes without any here are left out.
        groups: [n] what errs together.
        answers: (number, arm) -> for each repeat, what its detector says of all test images. A number without the
            arm "nothing" has no gains.
        seed: Of the draws.
        most: Detections an image that the detectors give.
    """
    per_class = [f"class {name}" for name in evaluated_classes(truth)]
    wanted = (MAIN, *SCREENING, *per_class)

    def scores(found: Sequence[Detections], members: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        matched = Matched(truth, coco_matches(truth, found, most), ranked(truth, found), members)
        known = resampled_measures(matched, draws)
        return {name: known[name] for name in wanted}

    return compare_arms(answers, groups, scores, (MAIN, *per_class), seed)


def evaluated_classes(truth: Boxes) -> list[str]:
    """The classes that have an object which counts."""
    counting = [labels[~spared] for labels, spared in zip(truth.labels, truth.ignored, strict=True)]
    there = set(np.concatenate(counting).tolist())
    return [name for k, name in enumerate(truth.class_names) if k in there]


def as_rows(found: Sequence[Detections]) -> np.ndarray:
    """One float64 array [d, 7] of image, left, top, right, bottom, score, label: to be kept in one file."""
    image = np.repeat(np.arange(len(found)), [len(one.scores) for one in found])
    boxes = np.concatenate([np.zeros((0, 4)), *(one.boxes for one in found)])
    return np.column_stack([image, boxes, all_scores(found), all_labels(found)]).astype(np.float64)


def from_rows(rows: np.ndarray, images: int) -> list[Detections]:
    """What `as_rows` was made of, for so many images."""
    own = [rows[rows[:, 0] == i] for i in range(images)]
    return [
        Detections(
            some[:, 1:5].astype(np.float32), some[:, 5].astype(np.float32), some[:, 6].astype(np.int32)
        )
        for some in own
    ]
