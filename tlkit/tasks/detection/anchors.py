"""Anchors: the boxes that RetinaNet starts from, how well they cover a data set, and a proposal that fits it.

A detector cannot find what no anchor comes near. That is known before training, so it is said before training.

Sources: Lin 2017 (RetinaNet, section 4); Redmon 2017 (YOLO9000, section 2, "dimension clusters": k-means with 1 - IoU).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from tlkit.data.boxes.batches import network_boxes
from tlkit.data.boxes.dataset import Boxes
from tlkit.errors import DataFault, UsageFault

COVERED = 0.5  # IoU from which on an anchor learns a box
SIZES = (
    ("small", 0.0, 32.0),
    ("medium", 32.0, 96.0),
    ("large", 96.0, float("inf")),
)  # COCO's, network pixels
BASES = 8 * 2.0 ** np.arange(0, 2.5, 0.25)  # 8 to 38 pixels: what a proposal chooses from


@dataclass(frozen=True)
class Anchors:
    """A grid of boxes at every stride.

    Attributes:
        base: Side of the square anchor of scale 1 at stride 8, network pixels; it doubles with the stride.
        scales: Factors of the side.
        ratios: Width / height.
        levels: Strides 8, 16, 32, ...: how many.
        finest: The first stride, where a subclass has another.
    """

    finest: ClassVar[int] = 8
    base: float = 32.0
    scales: tuple[float, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    levels: int = 5

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """What was written down as JSON, whose lists are tuples here."""
        given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in stored.items()}
        return cls(**given)

    @property
    def each(self) -> int:
        """Anchors at one place."""
        return len(self.scales) * len(self.ratios)

    def boxes(self, size: int) -> np.ndarray:
        """Every anchor of a square of side `size`: float32 [a, 4], left, top, right, bottom, not clipped.

        Order: stride, row, column, scale, ratio, as the network's maps are read.
        """
        return np.concatenate([self._level(size, level) for level in range(self.levels)])

    def halves(self, level: int) -> np.ndarray:
        """float64 [each, 2]: half the width and half the height of the anchors of a level, 0 for the finest."""
        # base * 2^(level), times 1, 2^(1/3), 2^(2/3) (Lin 2017, section 4)
        sides = np.repeat(np.array(self.scales), len(self.ratios)) * self.base * 2**level
        # w = s sqrt(r), h = s / sqrt(r): the area stays s^2
        roots = np.tile(np.sqrt(self.ratios), len(self.scales))
        return np.stack([sides * roots, sides / roots], -1) / 2

    def _level(self, size: int, level: int) -> np.ndarray:
        middles = _middles(size, self.finest * 2**level)
        y, x = np.meshgrid(middles, middles, indexing="ij")
        centre = np.stack([x, y], -1)[:, :, None, :]
        half = self.halves(level)
        return np.concatenate([centre - half, centre + half], -1).reshape(-1, 4).astype(np.float32)


Kind = TypeVar("Kind", bound=Anchors)


def _middles(size: int, stride: int) -> np.ndarray:
    """The places of anchors along one side, pixels."""
    # in the middle of each cell; a last cell that juts out counts
    return (np.arange(-(-size // stride)) + 0.5) * stride


@dataclass(frozen=True)
class CoverageRow:
    """How the boxes of one class and size are covered.

    Attributes:
        kind: The class.
        size: "small", "medium" or "large": root of the area in the network's pixels, below 32, below 96, above.
        boxes: How many.
        covered: How many have an anchor of IoU 0.5 or more.
        mean_iou: Mean over the boxes of the IoU with their best anchor.
    """

    kind: str
    size: str
    boxes: int
    covered: int
    mean_iou: float


@dataclass(frozen=True)
class Coverage:
    """How a data set's boxes are covered by anchors."""

    rows: tuple[CoverageRow, ...]

    @property
    def boxes(self) -> int:
        """Boxes in all."""
        return sum(row.boxes for row in self.rows)

    @property
    def share(self) -> float:
        """Share of boxes with an anchor of IoU 0.5 or more; 1 where there are none."""
        return sum(row.covered for row in self.rows) / self.boxes if self.boxes else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean IoU with the best anchor; 1 where there are no boxes."""
        return sum(row.boxes * row.mean_iou for row in self.rows) / self.boxes if self.boxes else 1.0

    def summary(self) -> dict:
        """For card.json; without a box there is no share of any."""
        share, mean_iou = (self.share, self.mean_iou) if self.boxes else (None, None)
        rows = [dict(vars(row)) for row in self.rows]
        return {"share": share, "mean_iou": mean_iou, "boxes": self.boxes, "rows": rows}

    def sentences(self) -> Iterator[str]:
        """One a row of which fewer than nine in ten are covered."""
        for row in self.rows:
            if row.covered < 0.9 * row.boxes:
                yield (
                    f"{row.covered} of {row.boxes} {row.size} boxes of {row.kind} have an anchor that fits"
                    f" (IoU {COVERED:g} or more)."
                )


def coverage(boxes: Boxes, anchors: Anchors, size: int) -> Coverage:
    """How the boxes of a data set, letterboxed into the network's square, are covered.

    Args:
        boxes: The images; difficult boxes and those below two pixels do not count.
        anchors: What is to cover them.
        size: Side of the square.
    """
    return coverage_by(boxes, size, lambda found: best_ious(found, anchors, size))


def coverage_by(boxes: Boxes, size: int, best_of: Callable[[np.ndarray], np.ndarray]) -> Coverage:
    """The same for anchors of any sort: `best_of` boxes float32 [n, 4] in network pixels gives their best IoUs [n]."""
    found, kinds = learned_boxes(boxes, size)
    best = best_of(found)
    sides = np.sqrt(np.prod(found[:, 2:] - found[:, :2], -1))
    rows = []
    for kind, name in enumerate(boxes.class_names):
        for label, low, high in SIZES:
            chosen = best[(kinds == kind) & (sides >= low) & (sides < high)]
            if len(chosen):
                covered = int((chosen >= COVERED).sum())
                rows.append(CoverageRow(name, label, len(chosen), covered, float(chosen.mean())))
    return Coverage(tuple(rows))


def learned_boxes(boxes: Boxes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that are learned, float32 [n, 4] in network pixels, and their labels int32 [n]."""
    xyxy, labels = network_boxes(boxes, size)
    return xyxy[labels >= 0], labels[labels >= 0]


def best_ious(boxes: np.ndarray, anchors: Anchors, size: int) -> np.ndarray:
    """float64 [n]: each box's IoU with its best anchor.

    Of anchors of one shape that with the nearest middle has the largest IoU, so only one a shape is looked at.

    Args:
        boxes: float [n, 4], network pixels.
        anchors: What is to cover them.
        size: Side of the square.
    """
    boxes = np.asarray(boxes, np.float64)
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    found = np.zeros(len(boxes))
    for level in range(anchors.levels):
        stride = anchors.finest * 2**level
        places = _middles(size, stride)
        index = np.clip(np.rint(middle / stride - 0.5).astype(int), 0, len(places) - 1)
        centre, half = places[index][:, None], anchors.halves(level)[None]  # [n, 1, 2], [1, each, 2]
        low = np.maximum(boxes[:, None, :2], centre - half)
        high = np.minimum(boxes[:, None, 2:], centre + half)
        shared = np.maximum(high - low, 0).prod(-1)
        union = sides.prod(-1)[:, None] + (2 * half).prod(-1) - shared
        found = np.maximum(found, (shared / union).max(-1))
    return found


def chosen_anchors(
    training: Boxes, size: int, started: Mapping[str, Any] | None, propose: bool | None, usual: Kind
) -> tuple[Kind, Coverage]:
    """Anchors: those of the detector that a new one starts from, the usual ones, or such as fit the boxes.

    Args:
        training: Images that are learned.
        size: Side of the square input, pixels.
        started: What the card says of the model that it starts from; None without one.
        propose: Take anchors that fit the training boxes; None: where none are taken over.
        usual: The usual ones.

    Raises:
        UsageFault: Other anchors are asked for than the detector has that it starts from.
    """
    if propose and started is not None:
        raise UsageFault(
            "--propose-anchors does not go with --warm-start, whose weights belong to the anchors they learned by.",
            "Leave one of the two out.",
        )
    fit = started is None if propose is None else propose
    anchors = propose_anchors(training, size, usual) if fit else usual
    if started and isinstance(started.get("anchors"), Mapping):  # of another kind: refused later, by name
        anchors = type(usual).of(started["anchors"])
    return anchors, coverage(training, anchors, size)


def propose_anchors(boxes: Boxes, size: int, usual: Kind = Anchors()) -> Kind:  # type: ignore[assignment]
    """Anchors that cover these boxes best: ratios by k-means, the base side by trial.

    Args:
        boxes: The training images.
        size: Side of the network's square.
        usual: What they are made of but for base and ratios.

    Returns:
        Of the usual anchors and the proposals, those with the largest mean IoU between a box and its best anchor; each
        class counts as much as another, as it does in the mean AP.

    Raises:
        DataFault: There is no box.
    """
    found, kinds = learned_boxes(boxes, size)
    if not len(found):
        raise DataFault(f"{boxes.source} has no boxes to fit anchors to.", "Give images with boxes.")
    sides = found[:, 2:] - found[:, :2]
    unit = sides / np.sqrt(sides.prod(1, keepdims=True))  # the same shapes with area 1
    clusters = shape_clusters(unit, 3)
    ratios = tuple(round(float(w / h), 3) for w, h in clusters)
    choices = [
        usual,
        *(replace(usual, base=float(base), ratios=r) for base in BASES for r in (ratios, usual.ratios)),
    ]
    groups = [kinds == kind for kind in np.unique(kinds)]

    def fit(anchors: Kind) -> float:
        best = best_ious(found, anchors, size)
        return float(np.mean([best[group].mean() for group in groups]))

    return max(choices, key=fit)


def shape_clusters(sides: np.ndarray, count: int, rounds: int = 50) -> np.ndarray:
    """k-means of widths and heights [n, 2] with the distance 1 - IoU of boxes about one middle.

    It starts from shapes spread evenly over all, so it needs no seed.

    Returns:
        float64 [count, 2], narrow shapes first; fewer where there are fewer different shapes.
    """
    different = np.unique(sides.astype(np.float64).round(4), axis=0)
    different = different[np.argsort(different[:, 0] / different[:, 1], kind="stable")]
    places = np.linspace(0, len(different) - 1, min(count, len(different))).round().astype(int)
    centres = different[places]
    for _ in range(rounds):
        # d = 1 - IoU (Redmon 2017, section 2): squares of pixels would favour large boxes
        nearest = shape_ious(sides, centres).argmax(1)
        means = [sides[nearest == k].mean(0) if (nearest == k).any() else c for k, c in enumerate(centres)]
        if np.allclose(means, centres):
            break
        centres = np.array(means)
    return centres[np.argsort(centres[:, 0] / centres[:, 1])]


def shape_ious(sides: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Float [n, k]: IoU of boxes [n, 2] and [k, 2] (width, height) about one middle."""
    shared = np.minimum(sides[:, None], centres[None]).prod(-1)
    return shared / (sides.prod(1)[:, None] + centres.prod(1)[None] - shared)


def with_levels(anchors: Kind, size: int) -> Kind:
    """The same without strides larger than the image, which have one place each and no use."""
    return replace(anchors, levels=min(anchors.levels, max(3, int(np.log2(size / anchors.finest)) + 1)))
