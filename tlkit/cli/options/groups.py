"""What groups of options are made of: kinds of values with their did-you-mean, and the packing into one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from tlkit.cli.options.earlier import stored_key
from tlkit.cli.options.shared import SectionOption
from tlkit.core.text import did_you_mean
from tlkit.errors import UsageFault

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]
REQUIRED = object()  # the default of an option that must be given
# Kinds of numbers: how many, a part of all, one that is not nothing, one that is not all, a weight, a factor.
COUNT, PART = click.IntRange(1), click.FloatRange(0, 1)
SOME, LESS = click.FloatRange(0, 1, min_open=True), click.FloatRange(0, 1, max_open=True)
WEIGHT, FACTOR = click.FloatRange(0), click.FloatRange(0, min_open=True)


class BackboneName(click.ParamType):
    """A name of the backbone table; other names get the nearest as a suggestion."""

    name = "backbone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if it is known."""
        from tlkit.backbones.table import backbone_names

        names = backbone_names()
        if value in names:
            return str(value)
        hint = did_you_mean(str(value), names, 3, otherwise=f"Known: {', '.join(names)}.")
        return self.fail(f"{value} is not a known backbone. {hint}", param, ctx)


class ExtractorNames(click.ParamType):
    """A name of an extractor, or several with commas: backbones, hand-made families, ONNX files."""

    name = "extractor"

    def __init__(self, *, several: bool = False) -> None:
        self.several = several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the names if they are known."""
        from tlkit.tasks.features.names import read_name

        if not isinstance(value, str):  # read before, from options.json
            return tuple(value)
        names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        try:
            for name in names if self.several else (value,):
                read_name(name)
        except UsageFault as fault:
            self.fail(str(fault), param, ctx)
        return names if self.several else value


class HeadNames(click.ParamType):
    """Names of classical heads, with commas."""

    name = "heads"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names if they are known."""
        from tlkit.tasks.classification.heads import find_heads

        if not isinstance(value, str):
            return tuple(value)
        try:
            return find_heads(value)
        except UsageFault as fault:
            return self.fail(str(fault), param, ctx)


class Words(click.ParamType):
    """Words of a list, with commas; "none" is no word."""

    name = "words"

    def __init__(self, known: Sequence[str]) -> None:
        self.known = tuple(known)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words if they are known."""
        if not isinstance(value, str):
            return tuple(value)
        words = tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
        for word in words if words != ("none",) else ():
            if word not in self.known:
                hint = did_you_mean(word, self.known, otherwise=f"Known: {', '.join(self.known)}, none.")
                self.fail(f"{word} is unknown. {hint}", param, ctx)
        return () if words == ("none",) else words


class Numbers(click.ParamType):
    """Whole numbers from `least`, with commas."""

    name = "numbers"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers."""
        if not isinstance(value, str):
            return tuple(value)
        try:
            numbers = tuple(int(part) for part in value.split(",") if part.strip())
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < self.least:
            self.fail(f"{value} is no list of numbers from {self.least}, such as 20,50,100.", param, ctx)
        return numbers


class Minutes(click.FloatRange):
    """A time above 0, of 60 days at most."""

    name = "minutes"

    def __init__(self) -> None:
        super().__init__(0, 60 * 24 * 60, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; nan lies in no range, which click's comparison passes over."""
        number = super().convert(value, param, ctx)
        return self.fail(f"{value} is no number.", param, ctx) if number != number else number  # noqa: PLR0124


class BatchSize(click.ParamType):
    """A whole number from 1, or "auto"."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number or the word."""
        return "auto" if value == "auto" else int(click.IntRange(1).convert(value, param, ctx))


def option(
    section: str, name: str, key: str, kind: Any, default: Any, metavar: str | None, text: str
) -> Decorator:
    """One click option in a section; `key` is the name of its value."""
    if default is REQUIRED:
        default, shown = None, {"required": True}
    else:
        shown = {"show_default": default is not None and default != ()}
    if kind is bool:
        return click.option(
            f"--{name}/--no-{name}",
            key,
            cls=SectionOption,
            section=section,
            default=default,
            help=text,
            **shown,
        )
    return click.option(
        f"--{name}",
        key,
        cls=SectionOption,
        section=section,
        type=kind,
        default=default,
        metavar=metavar,
        help=text,
        multiple=default == (),
        **shown,
    )


def check_one_length(minutes: float | None, training_images: int | None) -> None:
    """Refuse two lengths of what learns from a number of images.

    Raises:
        UsageFault: Both are given.
    """
    if minutes is not None and training_images is not None:
        raise UsageFault(
            "--minutes does not go with --training-images: each says how much is learned.",
            "Give one of them.",
        )


def grouped(
    argument: str | None,
    make: Callable[..., Any] | None,
    section: str,
    rows: list[tuple],
    changed: dict,
    renamed: dict[str, str] | None = None,
) -> Decorator:
    """Add the options of `rows` (name, type, default, metavar, help); hand on `argument=make(**values)`.

    `renamed` maps an option whose name is a word of Python to the name of its value.
    """
    renamed = renamed or {}
    keys = [renamed.get(row[0], stored_key(row[0])) for row in rows]
    if unknown := set(changed) - set(keys):
        raise TypeError(f"no such option in this group: {', '.join(sorted(unknown))}")

    def decorate(function: Function) -> Function:
        @wraps(function)
        def packed(*arguments: Any, **values: Any) -> Any:
            if argument and make:
                known = {key: values.pop(key) for key in keys if key in values}  # runs of before lack some
                values[argument] = make(**known)
            return function(*arguments, **values)

        wrapped: Function = packed
        for key, (name, kind, default, metavar, text) in reversed(list(zip(keys, rows, strict=True))):
            wrapped = option(section, name, key, kind, changed.get(key, default), metavar, text)(wrapped)
        return wrapped

    return decorate
