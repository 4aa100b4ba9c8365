"""Rows on stdout, for people and for programs: an aligned table, CSV, Markdown."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence

import click


def show_table(header: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> None:
    """Print an aligned table, folded to a terminal's width and unfolded elsewhere.

    Args:
        header: Names of the columns.
        rows: Cells; None is shown as "-".
        left: How many columns, from the first, are text and aligned left.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    width = None if sys.stdout.isatty() else 1000
    console = Console(file=io.StringIO() if width else sys.stdout, width=width, highlight=False)
    console.print(table)
    if isinstance(console.file, io.StringIO):
        click.echo("\n".join(line.rstrip() for line in console.file.getvalue().splitlines()))


def show_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print comma-separated values; None is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([header, *rows])
    click.echo(stream.getvalue(), nl=False)


def show_markdown(header: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> None:
    """Print a Markdown table."""
    rule = ["---" if index < left else "--:" for index in range(len(header))]
    for row in (header, rule, *rows):
        click.echo("| " + " | ".join(_cell(cell).replace("|", "\\|") for cell in row) + " |")


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
