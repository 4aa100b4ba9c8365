"""Groups of options of the recipes that find things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tlkit.cli.options.earlier import stored_key
from tlkit.cli.options.groups import (
    COUNT,
    FACTOR,
    LESS,
    PART,
    REQUIRED,
    SOME,
    WEIGHT,
    Decorator,
    Minutes,
    Numbers,
    Words,
    grouped,
)
from tlkit.data.boxes.augment_settings import USUAL, USUAL_CROP, BoxAugmentation
from tlkit.data.images.sources import PARTS, TRAINING
from tlkit.errors import UsageFault
from tlkit.tasks.compositing.settings import SHARE, CompositeSettings
from tlkit.tasks.detection.settings import UNSET, Detecting, DetectorFitting
from tlkit.tasks.detection.table import DETECTORS, check_crop

Choice = click.Choice


def epochs(head: int, everything: int) -> Decorator:
    """--epochs, by its own name: of the phases head and all."""
    return click.option(
        "--epochs",
        nargs=2,
        type=click.IntRange(0),
        default=(head, everything),
        show_default=True,
        metavar="HEAD ALL",
        help="Most epochs of each phase; 0 leaves it out.",
    )


def learning_rates(head: float, everything: float) -> Decorator:
    """--learning-rates, by its own name: of the phases head and all."""
    return click.option(
        "--learning-rates",
        nargs=2,
        type=FACTOR,
        default=(head, everything),
        show_default=True,
        metavar="HEAD ALL",
        help="Largest rate of each phase.",
    )


def boxes() -> Decorator:
    """--faults, --unlabelled, each by its own name."""
    rows = [
        (
            "faults",
            Choice(["refuse", "clip"]),
            "refuse",
            None,
            "Boxes that cannot be: refuse, or clip them or leave their images out.",
        ),
        ("unlabelled", Choice(["error", "negative", "skip"]), "error", None, "Images without annotation."),
    ]
    return grouped(None, None, "Data", rows, {})


def network(backbone: str, weights: str, size: int) -> Decorator:
    """--backbone, --weights, --warm-start, --image-size, --precision, each by its own name."""
    rows = [
        (
            "backbone",
            str,
            backbone,
            "NAME",
            "Network with a pyramid of features; yolov8-xs to -l, darknet-19, -53 and -small too.",
        ),
        ("weights", str, weights, "imagenet|none|FILE", "What the backbone starts from."),
        ("warm-start", str, None, "RUN", "Start from all weights of a finished detector instead."),
        (
            "image-size",
            click.IntRange(64),
            size,
            "PIXELS",
            "Side of the square input; images are letterboxed.",
        ),
        ("precision", Choice(["float32", "bfloat16", "float16"]), "float32", None, "float16 needs a GPU."),
    ]
    return grouped(None, None, "Network", rows, {})


def anchors() -> Decorator:
    """--anchors, by its own name."""
    row = (
        "anchors",
        click.Path(exists=True, dir_okay=False, path_type=Path),
        None,
        "FILE",
        "w,h, w,h, ... in pixels of the square, as text.  [default: k-means of the training boxes]",
    )
    return grouped(None, None, "Network", [row], {})


def grid() -> Decorator:
    """--form, --cells, --boxes-per-cell as `grid`, the options of a YOLOv1's `design`."""
    paper = "Paper: its own 24 convolutions and 4,096 dense units, for a multiple of 64 pixels."
    cells = "Of a row and of a column.  [default: a cell for 32 pixels, 64 in the paper's form]"
    rows = [
        ("form", Choice(["small", "paper"]), "small", None, paper),
        ("cells", COUNT, None, "S", cells),
        ("boxes-per-cell", COUNT, 2, "B", "All of one class."),
    ]
    return grouped("grid", dict, "Grid", rows, {}, {"boxes-per-cell": "boxes"})


def _check_one_length() -> None:
    """Refuse a command line that says twice how long the training is.

    Raises:
        UsageFault: It does.
    """
    context = click.get_current_context(silent=True)
    typed = [
        f"--{name}"
        for name in ("minutes", "steps", "epochs")
        if context and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if len(typed) > 1:
        raise UsageFault(
            f"{typed[0]} does not go with {typed[1]}: each says how long the training is.",
            "Give one of them.",
        )


def fitting(*, timed: bool = True, **defaults: Any) -> Decorator:
    """--batch, --patience, --schedule and their like as `fitting`, a `DetectorFitting`.

    Args:
        timed: With --minutes and --steps, which stand for --epochs: for recipes with one training.
        defaults: That differ from the usual ones.
    """

    def make(**values: Any) -> Any:
        _check_one_length()
        return DetectorFitting(**values)

    lengths = [
        (
            "minutes",
            Minutes(),
            None,
            "NUMBER",
            "Train so long instead of --epochs: timed once, into --steps.",
        ),
        ("steps", COUNT, None, "N", "Train for so many steps in all instead of --epochs."),
    ]
    rows = [
        *(lengths if timed else ()),
        ("batch", COUNT, 8, "N", "Images a step."),
        ("patience", COUNT, 20, "N", "Evaluated epochs without progress before a phase stops."),
        ("schedule", Choice(["cosine", "constant"]), "cosine", None, "How the rate falls."),
        ("warmup", LESS, 0.05, "SHARE", "Part of a phase in which a rate rises."),
        ("weight-decay", WEIGHT, 0.0, "RATE", "Decoupled (AdamW); 0 is Adam."),
        ("clip-norm", WEIGHT, 10.0, "NORM", "Largest norm of the gradients; 0 does not clip."),
        ("balance", Choice(["none", "resample"]), "none", None, "Classes and empty images equally likely."),
        ("ema", LESS, 0.999, "SHARE", "Of the averaged weights kept in a step; 0 does not average."),
        ("evaluate-every", COUNT, 1, "N", "Epochs from one evaluation on validation to the next."),
    ]
    return grouped("fitting", make, "Training", rows, defaults)


def augmentation(kind: str | None = None, *, usual_crop: int = USUAL_CROP, **defaults: Any) -> Decorator:
    """--flip, --turn, --scale and their like as `augmentation`, a `BoxAugmentation`; crops if that `kind` takes any."""

    def make(least_scale: float, largest_scale: float, crop: int | None, **values: Any) -> Any:
        if kind is not None:
            check_crop(kind, crop or 0)
        crop = USUAL if crop is None else crop
        return BoxAugmentation(scale=(least_scale, largest_scale), crop=crop, usual=usual_crop, **values)

    usual = (
        f"  [default: {usual_crop}, or 0 for images of up to {usual_crop}]"
        if defaults.get("crop", 0) is None
        else ""
    )

    rows = [
        ("flip", Choice(["none", "horizontal", "vertical", "both"]), "horizontal", None, "Mirror."),
        ("turn", bool, False, None, "Turn by right angles, for images without an up."),
        ("min-scale", FACTOR, 0.7, "FACTOR", "Least change of size."),
        ("max-scale", FACTOR, 1.4, "FACTOR", "Largest change of size."),
        ("stretch", PART, 0.1, "SHARE", "Largest change of width against height."),
        ("shift", PART, 0.1, "SHARE", "Largest shift."),
        ("gamma", WEIGHT, 0.5, "SHARE", "Largest change of T ** k, as of thicker or thinner matter."),
        ("brightness", WEIGHT, 0.0, "SHARE", "Largest change of brightness."),
        ("contrast", WEIGHT, 0.0, "SHARE", "Largest change of contrast."),
        ("mosaic", PART, 0.0, "SHARE", "Images put together from four."),
        ("mixup", PART, 0.0, "SHARE", "Images blended with another."),
        (
            "crop",
            click.IntRange(0),
            0,
            "PIXELS",
            f"Learn squares cut out of images; 0 learns whole images.{usual}",
        ),
    ]
    return grouped("augmentation", make, "Augmentation", rows, defaults)


def projecting() -> Decorator:
    """--paste, --paste-only, --paste-share and the poses of threats as `projecting`, `CompositeSettings`."""

    def make(tip: str | None, tip_only: str | None, tip_share: float, **poses: Any) -> Any:
        settings = _composite_settings(source=tip, only=tip_only, share=tip_share, **poses)
        if tip is None and settings != CompositeSettings():
            raise UsageFault(
                "Options of threats pasted in do nothing without --paste.",
                "Name clean crops with --paste, or leave them out.",
            )
        return settings

    rows = [
        (
            "paste",
            str,
            None,
            "SOURCE|RUN",
            "Clean crops of threats, pasted into training images at every step.",
        ),
        ("paste-only", str, None, "TEXT", "Regular expression: only crops whose path has it."),
        ("paste-share", SOME, SHARE, "SHARE", "Of the training images."),
        *_poses("In each of those."),
    ]
    return grouped("projecting", make, "Threats pasted in (TIP)", rows, {})


def detecting(**defaults: Any) -> Decorator:
    """--threshold, --overlap, --max-detections as `detecting`, a `Detecting`; `defaults` that differ from the usual."""

    def make(most: int | None, **values: Any) -> Any:
        return Detecting(most=UNSET if most is None else most, **values)

    rows = [
        ("threshold", PART, 0.05, "SCORE", "Least score of a served detection."),
        ("overlap", PART, 0.5, "IOU", "Of two boxes of a class that overlap more, the weaker goes."),
        (
            "max-detections",
            COUNT,
            None,
            "N",
            "Detections an image.  [default: 100, or the most objects of a training image]",
        ),
    ]
    return grouped("detecting", make, "Serving", rows, defaults)


def windows() -> Decorator:
    """--classifier, --negative, each by its own name, and --min-side, --ratio, --step and their like as `windows`."""

    def make(
        least_side: float | None, largest_side: float | None, ratios: tuple[float, ...], **values: Any
    ) -> Any:
        from tlkit.tasks.detection.sliding_window.settings import RATIOS, Windows

        return Windows(sides=_sides(least_side, largest_side), ratios=tuple(ratios) or RATIOS, **values)

    rows = [
        ("size", click.IntRange(32), 416, "PIXELS", "Side of the square; images are letterboxed."),
        ("min-side", SOME, None, "SHARE", "Of windows, by the square's.  [default: of training boxes]"),
        ("max-side", SOME, None, "SHARE", "Of windows, by the square's.  [default: of training boxes]"),
        ("scales", COUNT, 4, "N", "From the least side to the largest."),
        ("ratio", FACTOR, (), "NUMBER", "Width over height; may be repeated.  [default: 0.5 1 2]"),
        ("step", SOME, 0.25, "SHARE", "From one window to the next, by the window."),
        (
            "way",
            Choice(["auto", "pooled", "convolutional", "crops"]),
            "auto",
            None,
            "auto: pooled without --classifier; else as crops, but quicker where equal.",
        ),
        ("overlap", PART, 0.3, "IOU", "Of two boxes of a class that overlap more, the weaker goes."),
        ("soft", WEIGHT, 0.0, "SIGMA", "Above 0: it stays with a lower score (soft-NMS)."),
        ("max-detections", COUNT, 50, "N", "Detections an image."),
        ("chunk", COUNT, 64, "N", "Windows that are classified at a time."),
    ]
    own = [
        (
            "classifier",
            str,
            None,
            "RUN",
            "Finished run of a classifier that is moved; else a head is trained.",
        ),
        ("negative", str, "other", "CLASS", "Its class of what is nothing."),
    ]
    inner = grouped("windows", make, "Windows", rows, {}, {"ratio": "ratios"})
    outer = grouped(None, None, "Windows", own, {})
    return lambda function: outer(inner(function))


def superimposing() -> Decorator:
    """--class, --part, --copies, --empty and their like as `how`, `CompositeSettings`."""
    file = click.Path(path_type=Path)
    rows = [
        ("class", str, (), "NAME", "Class of threats; may be repeated.  [default: all but the harmless]"),
        ("negative", str, "other", "CLASS", "Class of the harmless crops."),
        ("part", Choice([*PARTS, "all"]), TRAINING, None, "Threats and bags that are used."),
        ("bag-group", str, None, "TEXT", "As --group, for the bags."),
        ("bag-split", file, None, "FILE", "As --split, for the bags."),
        ("only-empty-bags", bool, False, None, "Leave bags out that have boxes; else their boxes stay."),
        ("copies", COUNT, 1, "N", "Composites of each bag."),
        ("count", COUNT, None, "N", "Composites in all, instead."),
        ("empty", PART, 0.3, "SHARE", "Composites into which nothing is pasted."),
        *_poses(),
    ]
    return grouped("how", _composite_settings, "Composites", rows, {}, {"class": "classes"})


def tip() -> Decorator:
    """--threats, --generated, --detector, --numbers, --arms and their like as `question`, a `TipQuestion`."""
    poses = _poses()
    keys = [stored_key(name) for name, *_ in poses]

    def make(**values: Any) -> Any:
        from tlkit.tasks.studies.composites_data import TipQuestion

        return TipQuestion(how=_composite_settings(**{key: values.pop(key) for key in keys}), **values)

    known = ("nothing", "tip", "fakes+tip", "live")
    of_pixels = [kind for kind, row in DETECTORS.items() if not row.proposals]  # the study searches for none
    rows = [
        ("threats", str, REQUIRED, "SOURCE", "Threat crops that are pasted into empty training images."),
        ("generated", str, (), "RUN", "Finished run that made images of threats; may be repeated."),
        ("numbers", Numbers(0), "20,50", "N,N", "Real images with a threat, with commas; 0: none."),
        ("detector", Choice(of_pixels), "yolov8", None, "What learns in every arm."),
        ("arms", Words(known), "tip", "WORDS", f"What is added: {', '.join(known[1:])}."),
        ("repeats", COUNT, 2, "N", "Each with other real images, composites and seed."),
        ("composites", COUNT, 200, "N", "Of the crops, and as many of the fakes."),
        ("live-share", SOME, 0.5, "SHARE", "Of the images in the arm live."),
        *poses,
    ]
    return grouped("question", make, "Question", rows, {})


def _composite_settings(
    least_threats: int,
    most_threats: int,
    least_side: float | None,
    largest_side: float | None,
    least_thickness: float,
    largest_thickness: float,
    **values: Any,
) -> CompositeSettings:
    return CompositeSettings(
        per_bag=_span("threats", least_threats, most_threats),
        sides=_sides(least_side, largest_side),
        thickness=_span("thickness", least_thickness, largest_thickness),
        **values,
    )


def _poses(where: str = "In the others.") -> list[tuple]:
    """Rows of what threats look like in a composite; `where` says in which images their number is that."""
    return [
        ("min-threats", click.IntRange(0), 1, "N", where),
        ("max-threats", COUNT, 2, "N", where),
        ("min-side", SOME, None, "SHARE", "Of a threat, by the bag's longer side.  [default: by class]"),
        ("max-side", SOME, None, "SHARE", "Of a threat, by the bag's longer side.  [default: by class]"),
        ("min-thickness", FACTOR, 0.8, "TIMES", "Of a threat, by what it is."),
        ("max-thickness", FACTOR, 1.25, "TIMES", "Of a threat, by what it is."),
        ("i0", SOME, None, "LEVEL", "Grey of the free beam in bags, 0 to 1.  [default: estimated in each]"),
        ("tint", Choice(["bags", "none"]), "bags", None, "In coloured bags: colours of their metal."),
    ]


def _span(what: str, least: Any, most: Any) -> tuple[Any, Any]:
    if least > most:
        raise UsageFault(f"--min-{what} {least:g} is more than --max-{what} {most:g}.", "Exchange them.")
    return least, most


def _sides(least: float | None, largest: float | None) -> tuple[float, float] | None:
    if (least is None) != (largest is None):
        raise UsageFault("--min-side and --max-side go together.", "Give both, or none.")
    if least is None or largest is None:
        return None
    if least > largest:
        raise UsageFault(f"--min-side {least:g} is more than --max-side {largest:g}.", "Exchange them.")
    return least, largest
