"""Plan of a run, as a dry run prints it: one heading a line, with what belongs to it beside."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tlkit.core.console import echo
from tlkit.core.text import some_of

CLASSES = 20  # that are named; --json has all
WIDEST = 100  # columns of text in a wide terminal
HIDDEN = {"sha256", "digest", "split_sha256", "temperature", "play"}  # for programs; --json has them
UNITS = {"image_size": "{} pixels", "parameters": "{} parameters", "width": "{} features"}


def show_plan(plan: Mapping[str, Any]) -> None:
    """Print a plan; what is empty is left out. In a file or a pipe no line is folded."""
    rows = [(str(key).replace("_", " "), list(_lines(key, value))) for key, value in plan.items()]
    rows = [(key, lines) for key, lines in rows if lines]
    margin = max((len(key) for key, _ in rows), default=0) + 2
    room = min(shutil.get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else None
    for key, lines in rows:
        for number, line in enumerate(lines):
            for part in (
                textwrap.wrap(line, max(room - margin, 20), break_on_hyphens=False) if room else [line]
            ):
                echo(f"{'' if number else key:{margin}}{part}")
                key, number = "", 1  # noqa: PLW2901 - the heading stands once


def _lines(key: str, value: Any) -> Iterable[str]:
    """What stands beside a heading; a list of things or sentences has a line each."""
    if key == "phases":
        return [
            f"{phase['name']}: at most {phase['epochs']} epochs"
            + (f" of {phase['steps']:,} steps" if phase.get("steps") else "")
            + f", rate {phase['learning_rate']:g}"
            if phase["epochs"]
            else f"{phase['name']}: left out"
            for phase in value
        ]
    if key == "classes" and value:
        return [some_of([str(name) for name in value], CLASSES)]
    if isinstance(value, Mapping):
        text = ", ".join(_parts(value))
        return [text] if text else []
    if isinstance(value, Sequence) and not isinstance(value, str):
        sentences = any(isinstance(one, Mapping) or " " in str(one) for one in value)
        texts = [", ".join(_parts(one)) if isinstance(one, Mapping) else _text(one) for one in value]
        return texts if sentences else [", ".join(texts)] if texts else []
    return [] if value is None else [_text(value)]


def _parts(facts: Mapping[str, Any]) -> Iterable[str]:
    """Each fact of a thing in a few words."""
    for name, value in facts.items():
        if value is None or name in HIDDEN or value in ([], {}, ()):
            continue
        if name in UNITS and isinstance(value, int):
            yield UNITS[name].format(_text(value))
        elif name == "weights" and isinstance(value, Mapping):
            yield f"weights {value.get('source') or value.get('kind')}"
        elif isinstance(value, Mapping):
            yield f"{_word(name)} ({', '.join(_parts(value))})"
        elif name in {"backbone", "network"}:
            yield str(value)
        else:
            yield f"{_word(name)} {_text(value)}"


def _word(name: Any) -> str:
    return str(name).replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return str(value)
