"""`tlkit check`: what is wrong with a data set, in one table, before anything is learned from it."""

from __future__ import annotations

import io
import textwrap
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import (
    GROUP,
    csv_safe_option,
    json_option,
    most_pixels_option,
    reading_of,
    runs_option,
    with_reading_options,
)
from tlkit.cli.tables import show_table
from tlkit.core.console import Console, echo
from tlkit.core.csv_writer import CsvWriter
from tlkit.core.text import end_of
from tlkit.data.xray.drawing import draw_first
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.data.checks.check import Check
    from tlkit.data.images.findings import Finding

HEADER = ("severity", "kind", "found", "files", "what", "for example")
SPARE = ("for example", "what")  # the text below the table says them too
WIDTH = 100  # of the text below the table
SHOWN = 2  # paths of each kind in the table
LONGEST = 34  # characters of a path in the table
EXAMPLES = """
    tlkit check photos/
    tlkit check threats/ --group '(\\d+_\\d+)'
    tlkit check bags/ --fix-list look.csv     VOC, COCO, YOLO or boxes.csv
    tlkit check photos/ --run fine-tune-photos   likely label errors too
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("source", help="FOLDER of class folders or of boxes, FILE.csv, tfds:NAME, xray:crops.")
@click.option("--group", metavar="TEXT", help=f"{GROUP} Their near duplicates are expected.")
@click.option(
    "--unlabelled",
    type=click.Choice(["error", "negative", "skip"]),
    default="error",
    help="Boxes: what an image without annotation is.",
)
@click.option("--run", metavar="RUN", help="A finished run: its answers name likely label errors.")
@click.option(
    "--fix-list",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the files to look at as CSV.",
)
@csv_safe_option
@with_reading_options
@most_pixels_option
@runs_option
@json_option
def check(
    source: str,
    group: str | None,
    unlabelled: str,
    run: str | None,
    fix_list: Path | None,
    csv_safe: bool,
    runs: Path,
    as_json: bool,
    **reading: Any,
) -> None:
    """Find what is wrong with a data set.

    Files that do not open or surprise, names, copies within and across parts and classes, classes, boxes. Exit
    code 3 if there are errors: what training refuses, or what makes its results wrong. Warnings do not change it.
    """
    from tlkit.core.run_folder import find_run
    from tlkit.data.checks.check import check_source

    if csv_safe and not fix_list:
        raise UsageFault("--csv-safe is for --fix-list.", "Add --fix-list FILE, or leave it out.")
    draw_first(Console(), source)
    path = find_run(run, runs) if run else None
    parts = _parts_of(path) if path else None
    with ExitStack() as bar:
        found = check_source(
            source,
            group=group,
            unlabelled=unlabelled,
            parts=parts,
            reading=reading_of(reading),
            begin=lambda total: bar.enter_context(Console().progress("checking", total)),
        )
    evaluated = None
    if path:
        found, evaluated = _with_label_errors(found, path)
    if fix_list:
        _write_fix_list(fix_list, found, safe=csv_safe)
    if as_json:
        show(_outcome(found, path, evaluated), as_json=True)
    else:
        _show_text(found, evaluated)
    if found.errors:
        raise click.exceptions.Exit(DataFault.exit_code)


def _parts_of(run: Path) -> dict[str, str]:
    """Part by sha256 of a run's split; none where it made none."""
    from tlkit.data.images.splits import read_manifest

    if not (run / "split.csv").is_file():
        return {}
    return {row.get("sha256", ""): row["part"] for row in read_manifest(run / "split.csv").values()}


def _with_label_errors(found: Check, run: Path) -> tuple[Check, int]:
    """The check with likely label errors, and how many images the run could speak about."""
    from tlkit.data.checks.label_errors import label_error_findings
    from tlkit.data.images.findings import ordered

    more, evaluated = label_error_findings(found, run)
    return replace(found, findings=ordered([*found.findings, *more])), evaluated


# --- output ---


def _outcome(found: Check, run: Path | None, evaluated: int | None) -> dict[str, Any]:
    """What --json prints; with errors it also has the `error` that every failure has."""
    outcome: dict[str, Any] = {
        "source": found.source,
        "root": found.root,
        "form": found.form,
        "images": len(found.paths),
        "classes": {printable(name): count for name, count in found.counts.items()},
        "parts": found.parts,
        "remarks": [printable(sentence) for sentence in found.remarks],
        "errors": found.errors,
        "warnings": found.warnings,
        "run": run,
        "judged": evaluated,
        "kinds": [
            {"kind": kind, "severity": severity, "count": len(some)}
            for (kind, severity), some in _by_kind(found.findings).items()
        ],
        "findings": [
            {**asdict(one), "paths": [printable(p) for p in one.paths], "sentence": printable(one.sentence)}
            for one in found.findings
        ],
    }
    if found.errors:
        problem = f"{found.source} has {_count(found.errors, 'error')}."
        remedy = "Each finding has its remedy."
        outcome["error"] = {
            "code": DataFault.exit_code,
            "kind": "DataFault",
            "problem": problem,
            "remedy": remedy,
        }
    return outcome


def _show_text(found: Check, evaluated: int | None) -> None:
    what = "images" if found.form == "classes" else "images with boxes"
    classes = ", ".join(f"{count} {printable(name)}" for name, count in list(found.counts.items())[:8])
    more = f" and {len(found.counts) - 8} more classes" if len(found.counts) > 8 else ""
    parts = f"; {', '.join(f'{count} {part}' for part, count in found.parts.items())}" if found.parts else ""
    echo(f"{found.source}: {len(found.paths):,} {what} ({classes}{more}{parts})")
    for sentence in found.remarks:
        echo(printable(sentence))
    if evaluated is not None:
        echo(
            f"label-error: told from {evaluated:,} images that the run has not trained on; none for the others"
        )
    if not found.findings:
        echo("Nothing found.")
        return
    echo()
    groups = _by_kind(found.findings)
    show_table(HEADER, _cells(groups), left=len(HEADER), spare=SPARE)
    echo()
    for (kind, _), some in groups.items():
        advice = f"{kind}: {printable(some[0].sentence)} {some[0].remedy}"
        echo(
            textwrap.fill(
                advice, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
        )
    echo(f"\n{_count(found.errors, 'error')}, {_count(found.warnings, 'warning')}.")


def _cells(groups: dict[tuple[str, str], list[Finding]]) -> list[list[str]]:
    from tlkit.data.images.findings import KINDS

    cells = []
    for (kind, severity), some in groups.items():
        names = list(dict.fromkeys(path for one in some for path in one.paths))
        examples = [end_of(printable(name), LONGEST) for name in names[:SHOWN]]
        shown = ", ".join([*examples, "..."] if len(names) > SHOWN else examples)
        cells.append([severity, kind, f"{len(some):>5,}", f"{len(names):>5,}", KINDS[kind].title, shown])
    return cells


def _by_kind(findings: tuple[Finding, ...]) -> dict[tuple[str, str], list[Finding]]:
    """(kind, severity) -> its findings, in their order."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.kind, one.severity), []).append(one)
    return groups


def _write_fix_list(file: Path, found: Check, *, safe: bool) -> None:
    """One line for each file of each finding: path,kind,severity,remedy."""
    stream = io.StringIO()
    writer = CsvWriter(stream, safe=safe)
    writer.writerow(["path", "kind", "severity", "remedy"])
    writer.writerows(
        (printable(path), one.kind, one.severity, one.remedy) for one in found.findings for path in one.paths
    )
    try:
        file.write_text(stream.getvalue(), encoding="utf-8")
    except OSError as error:
        raise UsageFault(
            f"--fix-list {file} cannot be written: {error.strerror}.", "Name another file."
        ) from error


def printable(name: str) -> str:
    """A file's name as text that a terminal and UTF-8 can take: what is neither is written as an escape."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
