"""Earlier names of options: still taken, in no help, each with one line that says the present name.

Values keep the earlier name where they are stored: in options.json, in the card, and as arguments of recipes, which
runs and recipes of earlier versions have too.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from tlkit.core.console import Console

EARLIER = {  # present name -> earlier one
    "synthetic": "more",
    "paste": "tip",
    "paste-only": "tip-only",
    "paste-share": "tip-share",
    "generated": "fakes",
    "images": "pictures",
    "warm-start": "start",
    "discriminator-rate": "critic-rate",
    "metric-extractor": "judge",
    "evaluate-every": "judge-every",
    "max-detections": "most",
    "max-pixels": "most-pixels",
    "min-threats": "least-threats",
    "max-threats": "most-threats",
    "min-thickness": "least-thickness",
    "max-thickness": "largest-thickness",
    "min-side": "least-side",
    "max-side": "largest-side",
    "min-scale": "least-scale",
    "max-scale": "largest-scale",
}


def stored_key(name: str) -> str:
    """The name under which an option's value is stored and reaches a recipe."""
    return EARLIER.get(name, name).replace("-", "_")


def renamed_options(command: click.Command) -> dict[str, str]:
    """From each earlier name to the present one, both with dashes, of options that a command has.

    A name that the command has itself is none of them.
    """
    known = {name for parameter in command.params for name in parameter.opts}
    pairs = ((f"--{old}", f"--{new}") for new, old in EARLIER.items())
    return {old: new for old, new in pairs if new in known and old not in known}


def present_names(command: click.Command, args: Sequence[str]) -> list[str]:
    """Words of a command line with present names of options for earlier ones, each said once.

    A name that the command has itself stays as it is; so does all behind `--`.
    """
    changes = renamed_options(command)
    end = args.index("--") if "--" in args else len(args)
    words, said = [], set()
    for place, word in enumerate(args):
        flag, equals, value = word.partition("=")
        if place < end and flag in changes:
            said.add(flag)
            word = f"{changes[flag]}{equals}{value}"  # noqa: PLW2901
        words.append(word)
    for flag in sorted(said):
        Console().say(f"Note: {flag} is called {changes[flag]} now.")
    return words
