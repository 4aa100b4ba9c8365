"""Groups of options of the recipes that find things."""

from __future__ import annotations

from typing import Any

import click

from tlkit.cli.option_groups import Decorator, grouped

Choice = click.Choice


def boxes() -> Decorator:
    """--faults, --unlabelled, each by its own name."""
    rows = [
        (
            "faults",
            Choice(["refuse", "clip"]),
            "refuse",
            None,
            "Boxes outside, empty, double: refuse or mend.",
        ),
        ("unlabelled", Choice(["error", "negative", "skip"]), "error", None, "Pictures without annotation."),
    ]
    return grouped(None, None, "Data", rows, {})


def network(backbone: str, weights: str, size: int) -> Decorator:
    """--backbone, --weights, --image-size, each by its own name."""
    rows = [
        ("backbone", str, backbone, "NAME", "Network with a pyramid of features; yolov8-xs to yolov8-l too."),
        ("weights", str, weights, "imagenet|none|FILE", "What it starts from."),
        (
            "image-size",
            click.IntRange(64),
            size,
            "PIXELS",
            "Side of the square input; pictures are letterboxed.",
        ),
    ]
    return grouped(None, None, "Network", rows, {})


def fitting(**defaults: Any) -> Decorator:
    """--batch, --patience, --schedule and their like as `fitting`, a `DetectorFitting`."""

    def make(**values: Any) -> Any:
        from tlkit.models.detector_settings import DetectorFitting

        return DetectorFitting(**values)

    share = click.FloatRange(0, 1, max_open=True)
    rows = [
        ("batch", click.IntRange(1), 8, "N", "Pictures a step."),
        ("patience", click.IntRange(1), 20, "N", "Judged epochs without progress before a phase stops."),
        ("schedule", Choice(["cosine", "constant"]), "cosine", None, "How the rate falls."),
        ("warmup", share, 0.05, "SHARE", "Part of a phase in which a rate rises."),
        ("weight-decay", click.FloatRange(0), 0.0, "RATE", "Decoupled (AdamW); 0 is Adam."),
        ("clip-norm", click.FloatRange(0), 10.0, "NORM", "Largest norm of the gradients; 0 does not clip."),
        ("balance", Choice(["none", "resample"]), "none", None, "Classes and empty pictures equally likely."),
        ("ema", share, 0.999, "SHARE", "Of the averaged weights kept in a step; 0 does not average."),
        ("judge-every", click.IntRange(1), 1, "N", "Epochs from one judgement on validation to the next."),
    ]
    return grouped("fitting", make, "Training", rows, defaults)


def augmentation(**defaults: Any) -> Decorator:
    """--flip, --turn, --scale and their like as `augmentation`, a `BoxAugmentation`."""

    def make(least_scale: float, largest_scale: float, **values: Any) -> Any:
        from tlkit.data.box_augmentation import BoxAugmentation

        return BoxAugmentation(scale=(least_scale, largest_scale), **values)

    share, factor = click.FloatRange(0, 1), click.FloatRange(0, min_open=True)
    rows = [
        ("flip", Choice(["none", "horizontal", "vertical", "both"]), "horizontal", None, "Mirror."),
        ("turn", bool, False, None, "Turn by right angles, for pictures without an up."),
        ("least-scale", factor, 0.7, "FACTOR", "Least change of size."),
        ("largest-scale", factor, 1.4, "FACTOR", "Largest change of size."),
        ("stretch", share, 0.1, "SHARE", "Largest change of width against height."),
        ("shift", share, 0.1, "SHARE", "Largest shift."),
        ("mosaic", share, 0.0, "SHARE", "Pictures put together from four."),
        ("mixup", share, 0.0, "SHARE", "Pictures blended with another."),
    ]
    return grouped("augmentation", make, "Augmentation", rows, defaults)


def detecting() -> Decorator:
    """--threshold, --overlap, --most as `detecting`, a `Detecting`."""

    def make(**values: Any) -> Any:
        from tlkit.models.detector_settings import Detecting

        return Detecting(**values)

    share = click.FloatRange(0, 1)
    rows = [
        ("threshold", share, 0.05, "SCORE", "Least score of a served detection."),
        ("overlap", share, 0.5, "IOU", "Of two boxes of a class that overlap more, the weaker goes."),
        ("most", click.IntRange(1), 100, "N", "Detections a picture."),
    ]
    return grouped("detecting", make, "Serving", rows, {})
