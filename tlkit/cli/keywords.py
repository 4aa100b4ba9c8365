"""Keyword arguments for a command's options, so that Python says of them what the command line says.

`epochs=(30, 0, 0)` is `--epochs 30 0 0`, `augment=False` is `--no-augment`: the words go through click as if typed, so
that values, defaults and faults are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from tlkit.cli.options.earlier import renamed_options
from tlkit.errors import UsageFault

WITHOUT_MEANING = ("help", "json")  # the answer of a call is a value


def context_of(
    command: click.Command,
    name: str,
    values: Sequence[object],
    keywords: Mapping[str, Any],
    parent: click.Context | None = None,
) -> click.Context:
    """What click makes of a command line; enter it to use it.

    Args:
        command: Whose options are given.
        name: It goes by, such as "tlkit evaluate".
        values: Those without an option, in their order.
        keywords: By option, with underscores for dashes; one more at the end is left away (`class_`). None leaves the
            option out.
        parent: The context of the group, or None.

    Raises:
        click.UsageError: There is no such option, or its value cannot be; as on the command line.
        UsageFault: A switch is neither True nor False.
    """
    given = [word for key, value in keywords.items() for word in _words(command, key, value)]
    typed = [_text(value) for value in values]
    dashed = any(word.startswith("-") for word in typed)
    return command.make_context(name, [*given, "--", *typed] if dashed else [*typed, *given], parent)


def _words(command: click.Command, key: str, value: Any) -> list[str]:
    """The words of one option."""
    key = key.removesuffix("_")
    typed = f"--{key.replace('_', '-')}"
    if key in WITHOUT_MEANING:
        raise UsageFault(f"{typed} is for the command line.", "Leave it out: the answer here is a value.")
    present = renamed_options(command).get(typed, typed)
    options = [o for o in command.params if isinstance(o, click.Option)]
    option = next((o for o in options if present in (*o.opts, *o.secondary_opts)), None)
    if option is None:  # click says what was meant
        return [typed]
    if value is None:
        return []
    if option.is_flag and not isinstance(value, bool):
        raise UsageFault(f"{typed} is a switch; here stands {value!r}.", "Give True or False.")
    return option_words(option, typed, value)


def option_words(option: click.Option, flag: str, value: Any) -> list[str]:
    """An option with its value, as a person types it.

    Args:
        option: Of a command.
        flag: The name to use. Of a switch where both yes and no have a name, False is that of the other.
        value: Not None; several values as click makes them of words, or as a list.
    """
    if option.is_flag:
        return [flag] if value else list(option.secondary_opts if flag in option.opts else option.opts)[:1]
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | os.PathLike)
    values = [_text(one) for one in value] if several else [_text(value)]
    if option.multiple:
        return [word for one in values for word in (flag, one)]
    return [flag, *values] if option.nargs > 1 else [flag, ",".join(values) if values else "none"]


def changed_words(command: click.Command, options: Mapping[str, Any]) -> list[str]:
    """The words of a command line for values that are no defaults.

    Args:
        command: Whose parameters they are.
        options: Values by the parameters' names, as click makes them of words; parameters that are none of these are
            left out.
    """
    ctx, words = click.Context(command), list[str]()
    for parameter in command.params:
        value, usual = options.get(str(parameter.name)), parameter.default
        if value is None or (value is False and not parameter.secondary_opts):
            continue
        if isinstance(usual, str | bool | int | float | tuple):
            usual = parameter.type_cast_value(ctx, usual)
        if value == usual:
            continue
        if isinstance(parameter, click.Option):
            words += option_words(parameter, parameter.opts[0], value)
        else:
            words += [_text(one) for one in (value if isinstance(value, tuple) else (value,))]
    return words


def _text(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
