"""Detections: what a detector finds in one image; of several images, one of these for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tlkit.data.boxes.masks.rle import Mask


class Detections(NamedTuple):
    """What a detector finds in one image; as it comes from a network, the highest score first.

    Attributes:
        boxes: Float [m, 4]: left, top, right, bottom in pixels of the image, right and bottom exclusive.
        scores: Float [m], larger for surer.
        labels: int32 [m], indices into the class names of whoever found or knows the objects.
        path: The file, as given, with forward slashes; "" where it does not matter.
        masks: [m] masks as large as the image, of a detector that finds them; None of one that does not.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    path: str = ""
    masks: tuple[Mask, ...] | None = None

    def take(self, chosen: np.ndarray) -> Detections:
        """Those at `chosen`, indices [j] or bool [m]."""
        masks = self.masks
        if masks is not None:
            masks = tuple(masks[i] for i in np.arange(len(masks))[chosen].tolist())
        return Detections(self.boxes[chosen], self.scores[chosen], self.labels[chosen], self.path, masks)

    def above(self, threshold: float) -> Detections:
        """Those whose score is at least `threshold`."""
        return self.take(self.scores >= threshold)
