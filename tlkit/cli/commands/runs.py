"""List of runs, `tlkit runs`: what was run, on what, when, what it reached, and whether it is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlkit.cli.commands.resume import read_settings
from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option
from tlkit.cli.tables import show_table, with_interval
from tlkit.core.console import Console
from tlkit.core.metric_names import CLASSIFIER, DETECTOR
from tlkit.core.run_folder import RUNS, RunFolder, every_run, is_unfinished, read_card
from tlkit.core.text import end_of
from tlkit.errors import UsageFault

HEADER = ("run", "state", "when (UTC)", "recipe", "source", "measure")
SPARE = ("recipe", "source", "when (UTC)")  # the run's name mostly says the first two
LONGEST = 24  # characters of a source in the table
EXAMPLES = """
    tlkit runs
    tlkit runs --runs elsewhere/     of another folder
    tlkit runs --json
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=RUNS,
    metavar="FOLDER",
    help="Where the runs are.",
)
@json_option
def runs(runs: Path, as_json: bool) -> None:
    """List the runs, the newest first.

    The measure is the main one of the run's test part, with its 95 % interval: accuracy of a classifier, AP50 of a
    detector, KID of a generator (less is better), eta of the best in a comparison. tlkit compare shows more of them;
    tlkit resume goes on with an unfinished one; a broken one has a file that cannot be read.
    """
    if runs != RUNS and not runs.is_dir():
        raise UsageFault(f"--runs {runs} is no folder.", "Name the folder that runs were kept in.")
    rows = sorted(map(row_of, every_run(runs)), key=lambda row: row["created"] or "", reverse=True)
    if as_json:
        show({"runs": rows}, as_json=True)
    elif not rows:
        Console().say(f"There are no runs in {runs}. Make one: tlkit run fine-tune xray:crops")
    else:
        show_table(HEADER, [_cells(row) for row in rows], left=len(HEADER), spare=SPARE)


def row_of(path: Path) -> dict[str, Any]:
    """What is known of the run in a folder; what is not is None.

    Returns:
        run, state ("finished", "unfinished", "running", "not finite" or "broken"), created (UTC, ISO 8601), recipe,
        source, measure ({name, value, low, high} or None) and path.
    """
    unfinished = is_unfinished(path)
    try:
        card = read_settings(path) if unfinished else read_card(path)
        if unfinished:  # what its card would begin with
            card["source"] = card["options"].get("source")
        measure, state = _main_measure(card), _state(path) if unfinished else "finished"
    except (UsageFault, AttributeError, TypeError, KeyError):  # a file that somebody wrote or cut
        card, measure, state = {}, None, "broken"
    return {
        "run": f"{path.parent.name}/{path.name}",
        "state": state,
        **{key: card.get(key) for key in ("created", "recipe", "source")},
        "measure": measure,
        "path": path,
    }


def _state(path: Path) -> str:
    """Of an unfinished run: whether a process is at work in it, or NaN ended it."""
    folder = RunFolder.reopen(path)
    try:
        folder.lock()
    except UsageFault:
        return "running"
    folder.release()
    return "not finite" if any(path.rglob("replay/replay.json")) else "unfinished"


def _main_measure(card: dict[str, Any]) -> dict[str, Any] | None:
    """The measure by which a run of its kind is told from another, with its interval; None where there is none."""
    measures = card.get("measures") or {}
    if "kid" in measures:
        found = measures["kid"]
        return {"name": "KID", **{key: found.get(key) for key in ("value", "low", "high")}}
    of = measures.get("test") or measures.get("best") or {}
    name = next((name for name in (DETECTOR.main, CLASSIFIER.main) if of.get(name) is not None), None)
    name = "eta" if "best" in measures else name
    if name is None or of.get(name) is None:
        return None
    low, high = (of.get("intervals") or {}).get(name) or (None, None)
    return {"name": name, "value": of[name], "low": low, "high": high}


def _cells(row: dict[str, Any]) -> list[Any]:
    measure = row["measure"]
    source = end_of(row["source"], LONGEST) if row["source"] else row["source"]
    shown = None
    if measure:
        interval = None if measure["low"] is None else (measure["low"], measure["high"])
        shown = f"{measure['name']} {with_interval(measure['value'], interval)}"
    when = row["created"][:16].replace("T", " ") if row["created"] else None
    return [row["run"], row["state"], when, row["recipe"], source, shown]
