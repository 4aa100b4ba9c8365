"""--small-classes: what is to become of rare classes, as it is typed; imports nothing slow, for the help."""

from __future__ import annotations

from tlkit.errors import UsageFault

REFUSE, LEAVE_OUT, FOLD = "refuse", "leave-out", "fold"
OTHER = "other"  # what small classes become, unless fold:NAME names it
OPTION = "--small-classes"


def read_choice(text: str) -> tuple[str, str]:
    """(`refuse`, `leave-out` or `fold`, the class that folded ones become) of what --small-classes got.

    Raises:
        UsageFault: It is none of them.
    """
    how, colon, name = text.partition(":")
    if how not in (REFUSE, LEAVE_OUT, FOLD) or (colon and (how != FOLD or not name.strip() or "/" in name)):
        raise UsageFault(
            f"{OPTION} {text} is unknown.", "It is refuse, leave-out, fold (into other) or fold:NAME."
        )
    return how, name.strip() or OTHER
