"""How a run ends: finished, checked, failed, broken or stopped; what stays of it, and what is printed.

Only a finished run gets a number. Of an unfinished one the folder stays if anything was learned in it, and
the last line says how to go on.
"""

from __future__ import annotations

import json
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import click

from tlkit.cli.plans import show_plan
from tlkit.cli.signals import Stopped, stoppable
from tlkit.cli.tables import show_table
from tlkit.core.console import Console, echo, echo_json
from tlkit.core.run import DryRunDone, Run
from tlkit.core.run_folder import plain
from tlkit.core.system_faults import as_fault
from tlkit.errors import DataFault, TlkitError


class Ending(NamedTuple):
    """How a run went.

    Attributes:
        answer: What its command prints: "status", and what the recipe came to.
        planned: Whether it is the plan of a run, which a dry run made.
    """

    answer: dict[str, Any]
    planned: bool = False


def carry_out(
    run: Run, function: Callable[[], object], last_words: Callable[[int], None], *, alone: bool = True
) -> Ending:
    """Call a recipe's function and bring its run to an end; nothing is printed on stdout.

    Args:
        run: The run, in a folder of its own.
        function: Does its work.
        last_words: Called with the exit code where the person, or the system, stops it.
        alone: Whether the process is there for this run, and may be ended with it; see `stoppable`.

    Raises:
        TlkitError: The run failed for a reason that a person can mend.
        Stopped: It was stopped.
    """
    try:
        run.folder.lock()
        with _warnings_logged(run), _tidied(run), stoppable(last_words if alone else None):
            function()
            return Ending(_finish(run))
    except DryRunDone as done:
        _remove(run)
        return Ending({"status": "dry-run", **done.summary}, done.planned)
    except Stopped as stopped:
        last_words(stopped.exit_code)
        raise
    finally:
        run.folder.release()
        run.console.close()


def carry_out_or_exit(run: Run, function: Callable[[], object], *, as_json: bool = False) -> Ending:
    """`carry_out` in a process of its own.

    Raises:
        TlkitError: The run failed for a reason that a person can mend.
        click.exceptions.Exit: The person stopped it (code 130) or the system did (143), which has been told.
    """
    try:
        return carry_out(run, function, partial(show_stop_of, run, as_json=as_json))
    except Stopped as stopped:
        raise click.exceptions.Exit(stopped.exit_code) from stopped


def execute(run: Run, function: Callable[[], object], *, as_json: bool = False) -> None:
    """`carry_out_or_exit`, and print the result on stdout."""
    ending = carry_out_or_exit(run, function, as_json=as_json)
    if ending.planned and not as_json:
        show_plan({key: value for key, value in ending.answer.items() if key != "status"})
        run.say("Nothing was learned, and nothing is left. Without --dry-run it starts.")
        return
    show(ending.answer, as_json=as_json)


def show(outcome: dict[str, Any], *, as_json: bool) -> None:
    """Print a result on stdout: one JSON object, or a line for each entry that has something to say."""
    if as_json:
        echo_json(as_answer(outcome))
        return
    for key, value in outcome.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            show_table(list(value[0]), [list(row.values()) for row in value], left=len(value[0]))
        elif value is not None and key != "status":
            echo(f"{key}: {_text(value)}")


def as_answer(outcome: dict[str, Any]) -> dict[str, Any]:
    """What --json prints of a result: arrays as lists, paths as text, NaN and infinities as None."""
    answer: dict[str, Any] = plain({"schema_version": 1, **outcome})
    return answer


def show_fault(fault: TlkitError, *, as_json: bool) -> None:
    """Tell a fault: to people on stderr, or to programs as JSON on stdout."""
    if not as_json:
        echo(f"Error: {fault}", err=True)
        return
    _show_error(fault.exit_code, type(fault).__name__, fault.problem, fault.remedy)


def show_stopped(code: int = 130, *, remedy: str = "", as_json: bool) -> None:
    """Say in one line that the person, or the system, ended the command."""
    # A progress bar may have hidden the cursor.
    cursor = "\x1b[?25h" if Console().is_terminal else ""
    echo(f"{cursor}Stopped. {remedy}".strip(), err=True)
    if as_json:
        _show_error(code, "Stopped", "Stopped.", remedy)


def _show_error(code: int, kind: str, problem: str, remedy: str) -> None:
    error = {"code": code, "kind": kind, "problem": problem, "remedy": remedy}
    echo_json({"schema_version": 1, "error": error})


def _finish(run: Run) -> dict[str, Any]:
    """End a run that went well; the rename is the last act."""
    if run.dry_run:
        return {"status": "dry-run", **run.results}
    run.table.close()
    run.check_watched()
    final = run.finish()
    return {
        "status": "finished",
        "run": final,
        "saved_model": final if (final / "saved_model.pb").is_file() else None,
        "report": final / "report.html" if (final / "report.html").is_file() else None,
        **run.results,
    }


@contextmanager
def _tidied(run: Run) -> Iterator[None]:
    """Put the bar away and, when the run failed, log why and decide what stays."""
    try:
        yield
    except DryRunDone:
        raise
    except TlkitError as fault:
        run.console.log(f"Error: {fault}")
        fault.remedy = f"{fault.remedy} {_leave(run)}".strip()
        raise
    except Exception as error:
        run.console.log(traceback.format_exc())
        left = _leave(run)
        if known := as_fault(error, run.options) or _lost_image(run):
            known.remedy = f"{known.remedy} {left}".strip()
            raise known from error
        if left:
            run.say(left)
        raise
    finally:
        run.table.close()


def _lost_image(run: Run) -> DataFault | None:
    """What is to be said where an image is not what it was: whatever else was raised came of that."""
    try:
        run.check_watched()
    except DataFault as fault:
        return fault
    return None


def _leave(run: Run) -> str:
    """Keep what can be resumed and say how; remove what cannot."""
    run.table.close()
    if run.dry_run:
        return ""
    if any(run.folder.path.rglob("replay/replay.json")):  # going on would end at the same step
        return "The unfinished run stays."
    if run.resumed or run.folder.worth_resuming():
        return f"The unfinished run stays: tlkit resume {run.folder.path} goes on."
    _remove(run)
    return ""


def _remove(run: Run) -> None:
    run.console.close()
    shutil.rmtree(run.folder.path, ignore_errors=True)
    with suppress(OSError):  # other runs of this name live there
        run.folder.path.parent.rmdir()


def show_stop_of(run: Run, code: int, *, as_json: bool) -> None:
    """Say in one line that the run was stopped and how it goes on; may be called from another thread."""
    remedy = "" if run.dry_run else f"tlkit resume {run.folder.path} goes on."
    run.console.log(f"Stopped. {remedy}")
    show_stopped(code, remedy=remedy, as_json=as_json)


@contextmanager
def _warnings_logged(run: Run) -> Iterator[None]:
    """Send Python's warnings to log.txt instead of between the rows of the table, unless --verbose."""

    def log(message: Warning | str, category: type[Warning], filename: str, line: int, *_: Any) -> None:
        run.console.log(f"{category.__name__}: {message} ({filename}:{line})")

    with warnings.catch_warnings():
        if not run.verbose:
            warnings.showwarning = log  # type: ignore[assignment]
        yield


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) and " " in v for v in value):
        return "".join(f"\n  {sentence}" for sentence in value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(one) for one in value)}]"
    if isinstance(value, dict):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)
