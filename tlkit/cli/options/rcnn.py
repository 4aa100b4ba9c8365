"""Groups of options of the recipes that tell proposals apart."""

from __future__ import annotations

from typing import Any

import click

from tlkit.cli.options.groups import COUNT, BackboneName, Decorator, Minutes, check_one_length, grouped
from tlkit.tasks.detection.rcnn.rcnn_settings import ALIGN, MAX, STRIDE, STRIDES, RcnnLearning


def regions() -> Decorator:
    """--backbone, --weights, --image-size, --crop-side, each by its own name, and how an R-CNN learns as `learning`."""

    def make(minutes: float | None, training_images: int | None, **values: Any) -> RcnnLearning:
        check_one_length(minutes, training_images)
        return RcnnLearning(minutes=minutes, training_images=training_images, **values)

    size = "Side of the square into which images are letterboxed."
    network = [
        ("backbone", BackboneName(), "efficientnet-lite0", "NAME", "Network that regions' features are of."),
        ("weights", str, "imagenet", "imagenet|none|FILE", "What the backbone comes with."),
        ("image-size", click.IntRange(32), 416, "PIXELS", size),
        (
            "crop-side",
            click.IntRange(32),
            96,
            "PIXELS",
            "Of a region as the backbone sees it; the paper's is 227.",
        ),
    ]
    minutes = "Learn so long: ten images are timed once, into --training-images."
    rows = [
        ("minutes", Minutes(), None, "NUMBER", minutes),
        ("training-images", COUNT, None, "N", "Images that are learned, drawn by --seed.  [default: all]"),
        ("regions", COUNT, 100, "N", "Proposals of each that are learned from, at most."),
        ("fine-tune", bool, False, None, "Let the network learn to tell regions first, as the paper does."),
        ("fine-tune-steps", COUNT, 200, "N", "Of 32 regions on objects and 96 of background."),
    ]
    inner = grouped("learning", make, "Training", rows, {})
    outer = grouped(None, None, "Network", network, {})
    return lambda function: outer(inner(function))


def shared_map() -> Decorator:
    """--pooling, --stride as `shared`, the options of a Fast R-CNN's `design`."""
    pooling = "Of regions: the largest value of whole cells, as the paper, or ROIAlign."
    rows = [
        ("pooling", click.Choice([MAX, ALIGN]), MAX, None, pooling),
        (
            "stride",
            click.Choice(STRIDES),
            STRIDE,
            None,
            "Pixels a cell of the shared map; the paper's is 16.",
        ),
    ]
    return grouped("shared", dict, "Regions", rows, {})
