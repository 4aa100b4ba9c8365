"""Rows on stdout, for people and for programs: an aligned table, CSV, Markdown."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence

from tlkit.core.console import Console, echo, held
from tlkit.core.csv_writer import CsvWriter

GAP = 2  # blanks between columns


def show_table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    left: int = 1,
    spare: Sequence[str] = (),
    digits: int | None = None,
) -> None:
    """Print an aligned table.

    In a terminal that is too narrow, the columns of `spare` are left out, the first of them first, and stderr
    says so; a cell is never folded. In a file or a pipe all columns stand.

    Args:
        header: Names of the columns.
        rows: Cells; None is shown as "-".
        left: How many columns, from the first, are text and aligned left.
        spare: Columns that a person can do without.
        digits: Behind the point of floats; None: as many as they have.
    """
    columns = [[name, *(_cell(row[i], digits) for row in rows)] for i, name in enumerate(header)]
    widths = [max(map(len, column)) for column in columns]
    shown = _fitting(header, widths, spare) if sys.stdout.isatty() else list(range(len(header)))
    for cells in zip(*(columns[i] for i in shown)):
        aligned = [c.ljust(widths[i]) if i < left else c.rjust(widths[i]) for i, c in zip(shown, cells)]
        echo((" " * GAP).join(aligned).rstrip())
    absent = [name for i, name in enumerate(header) if i not in shown]
    if absent:
        Console().say(f"This terminal is too narrow for {', '.join(absent)}.")


def show_csv(header: Sequence[str], rows: Sequence[Sequence[object]], *, safe: bool = False) -> None:
    """Print comma-separated values; None is empty, `safe` as in CsvWriter."""
    stream = io.StringIO()
    CsvWriter(stream, safe=safe).writerows([header, *rows])
    echo(stream.getvalue(), nl=False)


def show_markdown(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1, digits: int | None = None
) -> None:
    """Print a Markdown table; arguments as for `show_table`."""
    rule = ["---" if index < left else "--:" for index in range(len(header))]
    for row in (header, rule, *rows):
        echo("| " + " | ".join(_cell(cell, digits).replace("|", "\\|") for cell in row) + " |")


def with_interval(value: float, interval: Sequence[float] | None, *, gap: int = 1) -> str:
    """`0.9000 [0.8800, 0.9100]`, with so many blanks between; the value alone where there is no interval."""
    return f"{value:.4f}" + (f"{' ' * gap}[{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def _fitting(header: Sequence[str], widths: Sequence[int], spare: Sequence[str]) -> list[int]:
    """Indices of the columns that a terminal has room for, as far as spare ones can be left out."""
    room = shutil.get_terminal_size().columns
    shown = list(range(len(header)))
    for name in spare:
        if sum(widths[i] + GAP for i in shown) - GAP <= room:
            break
        shown.remove(header.index(name))
    return shown


def _cell(value: object, digits: int | None = None) -> str:
    if value is None:
        return "-"
    return held(f"{value:.{digits}f}" if digits is not None and isinstance(value, float) else str(value))
