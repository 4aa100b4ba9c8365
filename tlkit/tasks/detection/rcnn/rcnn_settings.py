"""How an R-CNN learns and a Fast R-CNN pools, as plain values: options become them without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

MAX, ALIGN = "max", "align"  # ROI max pooling (Girshick 2015), ROIAlign (He 2017)
# Pixels a cell of the map that all regions share. Girshick 2015 has 16 for objects of mostly 100 to 500 pixels, 6 to 31
# cells a side; of 20 to 150 pixels, as those of bags, 4 gives 5 to 37.
STRIDE, STRIDES = 4, (4, 8, 16)


@dataclass(frozen=True)
class RcnnLearning:
    """From how many regions an R-CNN learns.

    Attributes:
        minutes: How long learning takes, proposals and features among it; it becomes `training_images`, once.
        training_images: How many training images are drawn; all where neither is given.
        regions: Proposals of each that are learned from, at most.
        fine_tune: Whether the network learns to tell regions before (Girshick 2014, section 2.3).
        fine_tune_steps: For how many steps, of 32 positive regions and 96 of background.
    """

    minutes: float | None = None
    training_images: int | None = None
    regions: int = 100
    fine_tune: bool = False
    fine_tune_steps: int = 200
