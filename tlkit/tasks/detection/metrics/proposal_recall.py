"""Recall of proposals: what share of the objects any proposal is on, which no detector that starts from them exceeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlkit.data.boxes.dataset import Boxes, iou


def proposal_recall(boxes: Boxes, overlap: float = 0.5) -> dict[str, Any]:
    """How many objects have a proposal on them.

    Args:
        boxes: The images, with `proposals`. Difficult objects and crowds do not count.
        overlap: Least intersection over union of a proposal that is on an object.

    Returns:
        recall: Share of all objects, 0..1, None without any. per_class: The same by class. objects: How many there are.
        overlap: As given. proposals: {"mean", "least", "most"} an image.
    """
    found, objects = (np.zeros(len(boxes.class_names), np.int64) for _ in range(2))
    proposals = boxes.proposals or ()
    for xyxy, labels, ignored, some in zip(boxes.xyxy, boxes.labels, boxes.ignored, proposals, strict=True):
        counted = labels[~ignored]
        hit = iou(xyxy[~ignored], some).max(1, initial=0.0) >= overlap
        objects += np.bincount(counted, minlength=len(objects))
        found += np.bincount(counted[hit], minlength=len(objects))
    numbers = np.array([len(some) for some in proposals] or [0])
    return {
        "recall": _share(found.sum(), objects.sum()),
        "per_class": {
            name: _share(*pair) for name, pair in zip(boxes.class_names, zip(found, objects), strict=True)
        },
        "objects": int(objects.sum()),
        "overlap": overlap,
        "proposals": {
            "mean": float(numbers.mean()),
            "least": int(numbers.min()),
            "most": int(numbers.max()),
        },
    }


def _share(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole else None
