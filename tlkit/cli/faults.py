"""Faults of a command as exceptions: what goes wrong in click or in the system leaves as a `TlkitError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from tlkit.core.system_faults import as_fault
from tlkit.errors import UsageFault


def usage_fault(error: click.ClickException) -> UsageFault:
    """What click found wrong with a command line, in its words."""
    ctx = getattr(error, "ctx", None)
    remedy = f"{ctx.command_path} --help shows what can be." if ctx else ""
    return UsageFault(error.format_message(), remedy)


@contextmanager
def raising_faults() -> Iterator[None]:
    """Let nothing that a person can mend leave but as a `TlkitError`; what is a bug passes as it is.

    Raises:
        TlkitError: Something was raised that a command would tell in one sentence.
    """
    try:
        yield
    except click.ClickException as error:
        raise usage_fault(error) from error
    except (OSError, MemoryError, UnicodeEncodeError) as error:
        if fault := as_fault(error, {}):
            raise fault from error
        raise
