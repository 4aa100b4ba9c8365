"""Groups of options of the recipes that synthesise images or ask what they are worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tlkit.cli.options.groups import (
    COUNT,
    FACTOR,
    PART,
    REQUIRED,
    WEIGHT,
    Decorator,
    ExtractorNames,
    Numbers,
    Words,
    grouped,
)
from tlkit.tasks.compositing.settings import ClutterSettings
from tlkit.tasks.synthesis import settings

Choice = click.Choice


def imitated(**defaults: Any) -> Decorator:
    """--class, --conditional, --size, --channels, --fit as `chosen`, a `Chosen`."""

    def make(classes: tuple[str, ...], size: str, **values: Any) -> Any:
        from tlkit.tasks.synthesis.workflow import Chosen

        return Chosen(tuple(classes), size=int(size), **values)

    rows = [
        ("class", str, (), "NAME", "Class to imitate; may be repeated with --conditional."),
        ("conditional", bool, False, None, "One generator for several classes, told by a label."),
        ("size", Choice(["32", "64", "128"]), "32", "PIXELS", "Side of the images: 32, 64 or 128."),
        ("channels", Choice(["auto", "1", "3"]), "auto", None, "Grey or RGB; auto looks at the files."),
        ("fit", Choice(["resize", "pad"]), "resize", None, "Images that are not square."),
    ]
    return grouped("chosen", make, "Data", rows, defaults, {"class": "classes"})


def play(preset: str) -> Decorator:
    """--batch, --learning-rate, --loss, --r1 and their like as `play`, a `Play` that starts from a preset."""
    base = settings.PLAYS[preset]

    def make(*, ada: bool, augmentation: tuple[str, ...], **values: Any) -> Any:
        return replace(base, ada=settings.ADA_TARGET if ada else None, augmentation=augmentation, **values)

    words = Words(settings.AUGMENTATIONS)
    rows = [
        ("batch", click.IntRange(2), base.batch, "N", "Images a step."),
        ("learning-rate", FACTOR, base.learning_rate, "RATE", "Of the generator."),
        ("discriminator-rate", FACTOR, base.critic_rate, "RATE", "Of the discriminator."),
        ("loss", Choice(["non-saturating", "hinge"]), base.loss, None, "Of both."),
        ("r1", WEIGHT, base.r1, "GAMMA", "Weight of the gradient penalty; 0 is none."),
        ("ema", WEIGHT, base.ema, "PICTURES", "Half-life of the averaged generator."),
        ("augmentation", words, ",".join(base.augmentation), "WORDS", _AUGMENTATION),
        ("p", PART, base.p, "SHARE", "Of images that each change meets; ADA starts here."),
        ("ada", bool, base.ada is not None, None, "Let p follow the discriminator (Karras 2020)."),
    ]
    return grouped("play", make, "Game", rows, {})


_AUGMENTATION = "Changes to reals and fakes inside the GAN: translation, cutout, flip, turn, colour; none."


def gan_networks() -> Decorator:
    """--width, --latent, --preview-augment, each by its own name."""
    image = click.Path(dir_okay=False, path_type=Path)
    rows = [
        (
            "width",
            click.IntRange(4),
            None,
            "N",
            "Channels of the widest layers.  [default: the network's own]",
        ),
        ("latent", click.IntRange(2), None, "N", "Size of the latent vector.  [default: the network's own]"),
        ("precision", Choice(["float32", "bfloat16", "float16"]), "float32", None, "float16 needs a GPU."),
        ("preview-augment", image, None, "FILE.png", "Draw the changes inside the GAN into a file, and end."),
    ]
    return grouped(None, None, "Game", rows, {})


def length(**defaults: Any) -> Decorator:
    """--steps, --minutes, --every as `length`, a `Length`."""

    def make(**values: Any) -> Any:
        from tlkit.tasks.synthesis.workflow import Length

        return Length(**values)

    rows = [
        ("steps", COUNT, 6000, "N", "Steps of the GAN."),
        ("minutes", FACTOR, None, "MINUTES", "End after so long, if steps remain."),
        ("every", COUNT, 500, "N", "Steps between checkpoints, each evaluated on validation."),
    ]
    return grouped("length", make, "Game", rows, defaults)


def judge(**defaults: Any) -> Decorator:
    """--metric-extractor, --samples, each by its own name."""
    text = "Extractor of the measures; a backbone's NAME@FILE takes weights of yours."
    rows = [
        ("metric-extractor", ExtractorNames(), "efficientnet-lite0", "NAME", text),
        ("samples", COUNT, 200, "N", "Synthetic images of each class."),
    ]
    return grouped(None, None, "Judging", rows, defaults)


def sampling() -> Decorator:
    """--class, --samples, --truncation, each by its own name."""
    rows = [
        ("class", str, (), "NAME", "Class to make; may be repeated.  [default: all]"),
        ("samples", COUNT, 200, "N", "Images of each class."),
        ("truncation", PART, 1.0, "SHARE", "1: all variety; 0: the average image."),
    ]
    return grouped(None, None, "Pictures", rows, {}, {"class": "classes"})


def question(**defaults: Any) -> Decorator:
    """--class, --numbers, --arms, --repeats and their like as `question`, a `FewShotQuestion`."""

    def make(sought: str, size: str, **values: Any) -> Any:
        from tlkit.tasks.studies.few_shot_data import FewShotQuestion

        return FewShotQuestion(name=sought, size=int(size), **values)

    gans = ("dcgan", "stylegan")
    arms = ("nothing", "flips", *gans, "composites", *(f"{gan}+composites" for gan in gans))
    rows = [
        ("class", str, REQUIRED, "NAME", "Class that is to be found."),
        ("numbers", Numbers(), "20,50,100,200", "N,N", "Real images of it, with commas."),
        ("arms", Words(arms), "flips,dcgan,stylegan", "WORDS", f"What is added: {', '.join(arms[1:])}."),
        ("repeats", COUNT, 3, "N", "Each with other real images and another seed."),
        ("samples", COUNT, 200, "N", "Images that a generator adds."),
        ("steps", COUNT, 1500, "N", "Of each GAN."),
        ("size", Choice(["32", "64", "128"]), "32", "PIXELS", "Side of the generated images."),
        ("negative", str, "other", "CLASS", "Class that composites take their surroundings from."),
    ]
    return grouped("question", make, "Question", rows, defaults, {"class": "sought"})


def clutter() -> Decorator:
    """--copies, --negatives, --size, --clutter, --negative as `how`, `ClutterSettings`."""
    rows = [
        ("copies", click.IntRange(0), 4, "N", "Composites of each clean threat."),
        ("negatives", WEIGHT, 2.0, "TIMES", "Threat-free ones, by the number of harmless crops."),
        ("size", click.IntRange(32, 2048), 256, "PIXELS", "Longer side of the composites."),
        ("clutter", Choice(["both", "others", "simulated"]), "both", None, "What threats are set into."),
        ("negative", str, "other", "CLASS", "Class of the harmless things."),
        ("validation", bool, False, None, "Composites of validation too, to choose by."),
    ]
    return grouped("how", ClutterSettings, "Composites", rows, {})
