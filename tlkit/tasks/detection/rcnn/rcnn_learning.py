"""How an R-CNN learns: features of drawn images' regions, then all machines and regressions solved from them.

    training images, drawn by seed -> 100 proposals each and the true boxes -> features -> machines, regressions

Nothing in it is random but the draw, so what is interrupted and begun again gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkit.data.boxes.batches import to_network
from tlkit.data.boxes.dataset import Boxes, iou
from tlkit.errors import DataFault
from tlkit.tasks.detection.deltas import deltas_of
from tlkit.tasks.detection.rcnn.rcnn import RcnnDetector
from tlkit.tasks.detection.rcnn.rcnn_boxes import PLAIN, Regression, learn_regression, near_objects
from tlkit.tasks.detection.rcnn.rcnn_machines import NEGATIVE, Machine, learn_machine, overlaps_by_class
from tlkit.tasks.detection.rcnn.rcnn_warp import norm_scale

POSITIVE = 0.5  # IoU from which a proposal is on an object, when regions are chosen
LARGEST_SHARE = 0.5  # of the chosen proposals that are on objects


@dataclass(frozen=True)
class Regions:
    """What one image teaches; all boxes are in pixels of the square.

    Attributes:
        boxes: float32 [p, 4]: the chosen proposals, then the true boxes that count.
        overlaps: float64 [p, k]: the largest IoU with an object of each class, ignored ones among them.
        labels: int32 [p]: class of a true box; -1 of every proposal.
        xyxy: float32 [m, 4], objects that count.
        classes: int32 [m], theirs.
    """

    boxes: np.ndarray
    overlaps: np.ndarray
    labels: np.ndarray
    xyxy: np.ndarray
    classes: np.ndarray


def chosen_proposals(proposals: np.ndarray, xyxy: np.ndarray, most: int) -> np.ndarray:
    """Which proposals of an image are learned.

    Args:
        proposals: float32 [p, 4], in an order that says nothing of their places.
        xyxy: float32 [m, 4], objects.
        most: How many are chosen at most: the first ones on objects (IoU of 0.5 and more), up to half of them, then
            the first of the others.

    Returns:
        int [c], rising.
    """
    best = iou(proposals, xyxy).max(1, initial=0.0)
    on = np.flatnonzero(best >= POSITIVE)[: int(most * LARGEST_SHARE)]
    others = np.flatnonzero(best < POSITIVE)[: most - len(on)]
    return np.sort(np.concatenate([on, others]))


def regions_of(training: Boxes, index: int, size: int, most: int) -> Regions:
    """What an image teaches: see `Regions`. Proposals and boxes without an area are left out."""
    sides, hard = training.sizes[index], np.asarray(training.ignored[index], bool)
    xyxy = to_network(training.xyxy[index], sides, size).reshape(-1, 4)
    labels = np.asarray(training.labels[index], np.int32)
    every = training.proposals[index] if training.proposals else np.zeros((0, 4), np.float32)
    proposals = to_network(every, sides, size).reshape(-1, 4)
    proposals = proposals[(proposals[:, 2:] > proposals[:, :2]).all(1)]
    proposals = proposals[chosen_proposals(proposals, xyxy[~hard], most)]
    boxes = np.concatenate([proposals, xyxy[~hard]])
    overlaps = overlaps_by_class(boxes, xyxy, labels, len(training.class_names))
    taught = np.concatenate([np.full(len(proposals), -1, np.int32), labels[~hard]])
    return Regions(boxes, overlaps, taught, xyxy[~hard], labels[~hard])


@dataclass(frozen=True)
class Learned:
    """What was solved; features are as the network gives them, the scale is inside.

    Attributes:
        scale: What features were multiplied by, for a mean length of 20.
        machines: One a class.
        regressions: One a class.
    """

    scale: float
    machines: list[Machine]
    regressions: list[Regression]

    def into(self, detector: RcnnDetector) -> None:
        """Give it to a detector."""
        kernel = np.stack([one.kernel * np.float32(self.scale) for one in self.machines], 1)
        detector.machines.set_weights([kernel, np.array([one.bias for one in self.machines], np.float32)])
        kernels = [one.kernel * np.float32(self.scale) for one in self.regressions]
        biases = [one.bias for one in self.regressions]
        detector.regression.set_weights([np.concatenate(kernels, 1), np.concatenate(biases)])

    def facts(self, class_names: Sequence[str]) -> dict[str, Any]:
        """For the card: how many taught each class."""
        return {
            name: {
                "positives": machine.positives,
                "hard_negatives": machine.negatives,
                "fits": machine.fits,
                "regressed": regression.pairs,
            }
            for name, machine, regression in zip(class_names, self.machines, self.regressions, strict=True)
        }


def learn(
    regions: Sequence[Regions],
    features: Sequence[np.ndarray],
    classes: int,
    seed: int = 0,
    told: Callable[[int], None] = lambda _done: None,
) -> Learned:
    """Solve all machines and regressions.

    Args:
        regions: [n] of the images, in the order in which they were drawn.
        features: [n] float32 [p, d] of their boxes.
        classes: k.
        seed: Of the machines' solver.
        told: Is called with the number of classes done.

    Raises:
        DataFault: No image has an object, or none anything that is background.
    """
    _check_both_sides(regions)
    scale = norm_scale(np.concatenate(list(features)))
    scaled = [some * np.float32(scale) for some in features]
    machines, regressions = [], []
    near = [near_objects(one.boxes[one.labels < 0], one.xyxy) for one in regions]
    for label in range(classes):
        positives = np.concatenate([f[one.labels == label] for one, f in zip(regions, scaled, strict=True)])
        negatives = [f[one.overlaps[:, label] < NEGATIVE] for one, f in zip(regions, scaled, strict=True)]
        machines.append(learn_machine(positives, negatives, seed))
        regressions.append(_regression(regions, scaled, near, label))
        told(label + 1)
    return Learned(scale, machines, regressions)


def _regression(
    regions: Sequence[Regions],
    features: Sequence[np.ndarray],
    near: Sequence[tuple[np.ndarray, np.ndarray]],
    label: int,
) -> Regression:
    """That of one class, from the proposals that are nearest to objects of it."""
    inputs, targets = [features[0][:0]], [np.zeros((0, 4))]
    for one, some, (chosen, which) in zip(regions, features, near, strict=True):
        of_class = one.classes[which] == label if len(which) else np.zeros(0, bool)
        places = np.flatnonzero(one.labels < 0)[chosen[of_class]]
        inputs.append(some[places])
        targets.append(deltas_of(one.boxes[places], one.xyxy[which[of_class]], PLAIN).numpy())
    return learn_regression(np.concatenate(inputs), np.concatenate(targets))


def _check_both_sides(regions: Sequence[Regions]) -> None:
    """Refuse images of which nothing can be learned.

    Raises:
        DataFault: See `learn`.
    """
    if not any((one.labels >= 0).any() for one in regions):
        raise DataFault(
            f"The {len(regions)} training images that were drawn have no object.",
            "Give more --minutes or --training-images, or another --seed.",
        )
    if not any((one.overlaps < NEGATIVE).any() for one in regions):
        raise DataFault(
            f"The {len(regions)} training images that were drawn have no proposal beside their objects.",
            "Give images that show more than their objects, or more of them with --training-images.",
        )


def share_on_objects(regions: Sequence[Regions]) -> float:
    """Share of the learned proposals that are on an object, 0..1."""
    on = number = 0
    for one in regions:
        proposals = one.labels < 0
        on += int((one.overlaps[proposals].max(1, initial=0.0) >= POSITIVE).sum())
        number += int(proposals.sum())
    return on / number if number else 0.0
