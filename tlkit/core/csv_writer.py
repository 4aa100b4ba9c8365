"""CSV writer: the one way in which tlkit writes a table of comma-separated values, for spreadsheets with --csv-safe.

A spreadsheet runs a cell that begins with =, +, -, @, a tab or a line end as a formula, and a name of a file or a class
can be one that somebody else chose. An apostrophe before it makes it text. Only tables for people get it: what tlkit
reads again as names of files (split.csv, trained_on.csv, a source's own tables) is written as it is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n")


class CsvWriter:
    """Writes rows to a text stream, lines ending with a lone newline.

    Args:
        stream: Opened with newline="", if it is a file.
        safe: Whether texts that a spreadsheet would run get an apostrophe; numbers stay.
    """

    def __init__(self, stream: TextIO, *, safe: bool = False) -> None:
        self._safe = safe
        self._stream = stream
        # Only with \r in its line end does csv.writer (before 3.13) quote a cell with a lone \r.
        self._writer = csv.writer(self, lineterminator="\r\n")

    def write(self, line: str) -> None:
        """Take a line from csv.writer."""
        self._stream.write(line[:-2] + "\n")

    def writerow(self, cells: Iterable[object]) -> None:
        """Write one row; None is empty."""
        self._writer.writerow([safe_cell(cell) for cell in cells] if self._safe else cells)

    def writerows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write rows."""
        for row in rows:
            self.writerow(row)


def write_csv(file: Path, rows: Iterable[Iterable[object]], *, safe: bool = False) -> None:
    """Write a file in UTF-8; a byte of a name that is no UTF-8 stands as a backslash escape."""
    with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        CsvWriter(stream, safe=safe).writerows(rows)


def safe_cell(cell: object) -> object:
    """The cell with an apostrophe before what a spreadsheet would run; one before apostrophes and that, too."""
    if not isinstance(cell, str) or not cell.lstrip("'").startswith(RUN_BY_SPREADSHEETS) or _is_number(cell):
        return cell
    return f"'{cell}"


def is_safe_cell(cell: str) -> bool:
    """Whether a cell looks like one that `safe_cell` wrote."""
    return cell.startswith("'") and cell.lstrip("'").startswith(RUN_BY_SPREADSHEETS)


def run_rows(file: Path) -> Iterator[list[str]]:
    """The rows of a table in a run's folder, with names as they were if the run was made with --csv-safe."""
    try:
        settings = json.loads((file.parent / "options.json").read_text(encoding="utf-8"))
        safe = bool(settings["options"].get("csv_safe"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        safe = False
    with file.open(newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            yield [cell[1:] if is_safe_cell(cell) else cell for cell in row] if safe else row


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
