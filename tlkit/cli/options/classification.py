"""Groups of options that training recipes share; each group reaches the recipe as one object.

They are plain values: nothing here imports TensorFlow, so a wrong source is told before it loads.
A recipe may give a group other defaults: `@choices.fitting(patience=10)`.
"""

from __future__ import annotations

from typing import Any

import click

from tlkit.cli.options.groups import (
    COUNT,
    LESS,
    PART,
    WEIGHT,
    BackboneName,
    BatchSize,
    Decorator,
    ExtractorNames,
    HeadNames,
    grouped,
)
from tlkit.data.images.augment_settings import Augmentation
from tlkit.engine.training.settings import Fitting, Head

Choice = click.Choice
PATIENCE, HEAD_PATIENCE = 5, 20  # an epoch of the head phase, on cached features, costs little


def network(**defaults: Any) -> Decorator:
    """--backbone, --weights, --image-size, --precision, each by its own name."""
    rows = [
        ("backbone", BackboneName(), "efficientnet-lite0", "NAME", "Pretrained network."),
        ("weights", str, "imagenet", "imagenet|none|FILE", "What it starts from."),
        ("image-size", COUNT, None, "PIXELS", "Side of the input.  [default: the backbone's own]"),
        ("precision", Choice(["float32", "bfloat16", "float16"]), "float32", None, "float16 needs a GPU."),
    ]
    return grouped(None, None, "Network", rows, defaults)


def head(**defaults: Any) -> Decorator:
    """--head-units, --dropout as `head`, a `Head`."""

    def make(head_units: tuple[int, ...], dropout: float) -> Any:
        return Head(tuple(head_units), dropout)

    rows = [
        ("head-units", COUNT, (), "N", "Hidden dense layer of the head; may be repeated.  [default: none]"),
        ("dropout", LESS, 0.2, "SHARE", "Features dropped while training."),
    ]
    return grouped("head", make, "Network", rows, defaults)


def fitting(**defaults: Any) -> Decorator:
    """--batch, --patience, --schedule and their like as `fitting`, a `Fitting`."""

    def make(batch: int | str, patience: int | None, **values: Any) -> Any:
        free = batch == "auto"
        size = int(defaults.get("batch", 32) if free else batch)
        waits = (PATIENCE, HEAD_PATIENCE) if patience is None else (patience, patience)
        return Fitting(batch=size, patience=waits[0], head_patience=waits[1], halve=free, **values)

    rows = [
        ("batch", BatchSize(), 32, "N|auto", "Images a step; auto: 32, or half of it if memory ends."),
        (
            "patience",
            COUNT,
            None,
            "N",
            "Epochs without progress before a phase stops."
            + (
                ""
                if "patience" in defaults
                else f"  [default: {PATIENCE}; on cached features {HEAD_PATIENCE}]"
            ),
        ),
        ("schedule", Choice(["cosine", "plateau", "constant"]), "cosine", None, "How the rate falls."),
        ("warmup", LESS, 0.1, "SHARE", "Part of a phase in which a cosine rate rises."),
        ("label-smoothing", LESS, 0.0, "SHARE", "Probability spread over all classes."),
        ("weight-decay", WEIGHT, 0.0, "RATE", "Decoupled (AdamW); 0 is Adam."),
        ("clip-norm", WEIGHT, 1.0, "NORM", "Largest norm of the gradients; 0 does not clip."),
        ("balance", Choice(["none", "weights", "resample"]), "none", None, "For classes of unequal size."),
    ]
    return grouped("fitting", make, "Training", rows, defaults)


def augmentation(**defaults: Any) -> Decorator:
    """--augment, --flip, --rotation and their like as `augmentation`, an `Augmentation`."""

    def make(*, augment: bool, **values: Any) -> Any:
        return Augmentation(**values) if augment else Augmentation()

    rows = [
        ("augment", bool, True, None, "Change training images at random."),
        ("flip", Choice(["none", "horizontal", "vertical", "both"]), "horizontal", None, "Mirror."),
        ("rotation", click.FloatRange(0, 180), 10.0, "DEGREES", "Largest turn."),
        ("zoom", click.FloatRange(0, 0.9), 0.1, "SHARE", "Largest change of scale."),
        ("contrast", PART, 0.1, "SHARE", "Largest change of contrast."),
        ("rand-augment", click.IntRange(0, 5), 0, "N", "RandAugment operations; 0 is off."),
        ("mix", Choice(["none", "mixup", "cutmix"]), "none", None, "Mix pairs of images and their labels."),
    ]
    return grouped("augmentation", make, "Augmentation", rows, defaults)


def views(**defaults: Any) -> Decorator:
    """--views, by its own name."""
    text = "Views of each image in the head phase: the plain one and K-1 changed."
    return grouped(None, None, "Augmentation", [("views", COUNT, 2, "K", text)], defaults)


def refit(**defaults: Any) -> Decorator:
    """--refit, by its own name."""
    text = "Then fit once more on training and validation, as long as was best."
    return grouped(None, None, "Training", [("refit", bool, False, None, text)], defaults)


def negative(**defaults: Any) -> Decorator:
    """--negative, by its own name."""
    rows = [("negative", str, "other", "CLASS", "Class left out of eta, where it exists.")]
    return grouped(None, None, "Data", rows, defaults)


def extractor(**defaults: Any) -> Decorator:
    """--backbone (any extractor), --weights, --image-size, each by its own name."""
    rows = [
        (
            "backbone",
            ExtractorNames(),
            "efficientnet-lite0",
            "NAME",
            "Network, hand-made family or FILE.onnx; NAME@none and NAME@FILE say its weights.",
        ),
        ("weights", str, "imagenet", "imagenet|none|FILE", "What a network comes with."),
        ("image-size", COUNT, None, "PIXELS", "Side of the input.  [default: its own]"),
    ]
    return grouped(None, None, "Network", rows, defaults)


def extractors(**defaults: Any) -> Decorator:
    """--backbones, by its own name: a tuple of extractors."""
    rows = [
        (
            "backbones",
            ExtractorNames(several=True),
            "efficientnet-lite0,lbp,haralick,hog,intensity,pixels",
            "NAMES",
            "With commas: networks, hand-made families, FILE.onnx; NAME@none and NAME@FILE say the weights.",
        )
    ]
    return grouped(None, None, "Network", rows, defaults)


def heads(**defaults: Any) -> Decorator:
    """--heads, --folds, --select, each by its own name."""
    rows = [
        (
            "heads",
            HeadNames(),
            "knn,svm-linear,svm-rbf,logistic,lda",
            "NAMES",
            "Heads to choose from, with commas: knn1, knn3, knn, svm-linear, svm-rbf, logistic, lda, mlp.",
        ),
        ("folds", click.IntRange(2), 5, "N", "Of the cross-validation over groups."),
        ("select", Choice(["folds", "validation"]), "folds", None, "Where a head is chosen; never on test."),
    ]
    return grouped(None, None, "Head", rows, defaults)
