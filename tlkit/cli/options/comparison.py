"""Group of options of the recipe that compares detectors."""

from __future__ import annotations

import shlex
from typing import Any

import click

from tlkit.cli.options.groups import COUNT, Decorator, Minutes, grouped
from tlkit.cli.own_process import detector_recipes
from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault
from tlkit.tasks.studies.comparison import Comparison

ALL, NONE = "all", "none"


class DetectorNames(click.ParamType):
    """Detectors that a recipe makes, with commas; "all" and "none" too."""

    name = "detectors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the names if they are known."""
        if not isinstance(value, str):  # read before, from options.json
            return tuple(value)
        words = tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
        if words in {(NONE,), ()}:
            return ()
        known = list(detector_recipes())
        for word in words if words != (ALL,) else ():
            if word not in known:
                hint = did_you_mean(word, known, otherwise=f"Known: {', '.join(known)}, {ALL}, {NONE}.")
                self.fail(f"{word} is no detector of a recipe. {hint}", param, ctx)
        return tuple(known) if words == (ALL,) else words


def comparing() -> Decorator:
    """--detectors, --minutes, --add and their like as `comparison`; --backbone and its like, each by its own name."""

    def make(add: tuple[str, ...], own: tuple[str, ...], draw: int, **values: Any) -> Comparison:
        return Comparison(added=tuple(dict.fromkeys(add)), own=read_own(own), images=draw, **values)

    rows = [
        ("detectors", DetectorNames(), ALL, "NAME,NAME", "What is trained: detect-NAME's NAME; none; all."),
        ("minutes", Minutes(), 15.0, "NUMBER", "How long each learns; evaluating it comes on top."),
        ("add", str, (), "RUN", "Finished run whose row joins (of this recipe: its rows); may be repeated."),
        ("own", str, (), "NAME:OPTIONS", "Of one recipe ('yolov1: --cells 26'); may be repeated."),
        ("draw", COUNT, 3, "N", "Images of the test part that all are drawn on."),
    ]
    network = [
        ("backbone", str, "efficientnet-lite0", "NAME", "Network that all start from."),
        ("weights", str, "imagenet", "imagenet|none|FILE", "What it starts from."),
        ("image-size", click.IntRange(64), 576, "PIXELS", "Side of the square that all look at."),
    ]
    inner = grouped("comparison", make, "Comparison", rows, {})
    outer = grouped(None, None, "Network", network, {})
    return lambda function: outer(inner(function))


def read_own(given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Own options by detector, such as {"yolov1": ("--cells", "26")}.

    Raises:
        UsageFault: One names no detector, or no option.
    """
    known, found = detector_recipes(), dict[str, tuple[str, ...]]()
    for text in given:
        name, _, options = text.partition(":")
        if name.strip() not in known or not options.strip().startswith("-"):
            hint = did_you_mean(name.strip(), list(known), otherwise=f"Known: {', '.join(known)}.")
            raise UsageFault(
                f"--own {text!r} is no detector with options.", f"{hint} As in 'yolov1: --cells 26'."
            )
        found[name.strip()] = (*found.get(name.strip(), ()), *shlex.split(options))
    return found
