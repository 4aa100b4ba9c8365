"""Environment: what a run was computed with, and what of it has changed by another time.

Another processor, number of threads or setting of oneDNN adds up in another order, so the last digits of a sum differ,
and after many steps of training more than the last ones. That is no fault of a run.
"""

from __future__ import annotations

from typing import Any

DECODING = 2  # raise it when a file gives other pixels; it stands in cards and in the names of feature caches


# What of the machine the bits of a result depend on, and whose arithmetic it is. Other facts are told of only.
MACHINE = ("device", "processor", "instructions", "threads", "pools", "onednn")
LIBRARIES = ("numpy", "tensorflow", "keras", "decoding")
FIRST_DECODING = 1  # of runs that do not say which version of the decoder read their files
CHANGES = "changes"  # sentences, in the environment of a run that was gone on with in another one
_TITLES = {"decoding": "The version of tlkit's decoder (which pixels a file gives)"}
_WRITTEN = {
    "0": False,
    "1": True,
    "default": None,
}  # onednn in cards of before: the variable, not what was in force


def changed_facts(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """What is not as it was, as name -> sentence; what is unknown (None) in either counts as no difference.

    Args:
        before: The environment in a card, of any release.
        now: What `prepare_tensorflow` returned.
    """
    changed = {}
    if before and "decoding" in now:
        before = {"decoding": FIRST_DECODING, **before}
    for name, value in before.items():
        was, is_now = _known(name, value), _known(name, now.get(name))
        if name != CHANGES and None not in (was, is_now) and was != is_now:
            changed[name] = f"{_TITLES.get(name, name)} was {_shown(was)} and is {_shown(is_now)}."
    return changed


def joined(before: dict[str, Any], now: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The environment of a run that is gone on with, and what in it computes otherwise than before.

    Args:
        before: That of the run so far; empty if it has computed nothing yet.
        now: What `prepare_tensorflow` returned.

    Returns:
        `now`, with the sentences of all changes so far under "changes" where there are any; and the new ones.
    """
    changed = changed_facts(before, now)
    new = [changed[name] for name in (*MACHINE, *LIBRARIES) if name in changed]
    every = [*before.get(CHANGES, []), *new]
    return {**now, **({CHANGES: every} if every else {})}, new


def _known(name: str, value: Any) -> Any:
    return _WRITTEN.get(value) if name == "onednn" and isinstance(value, str) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
