"""CSV files as people write them: commas, semicolons or tabs, blank lines, a mark at the start, blanks around cells."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.core.text import listed
from tlkit.data.images.findings import Finding, finding
from tlkit.errors import DataFault

DELIMITERS = ",;\t|"


@dataclass
class Table:
    """A CSV file's header and lines.

    Attributes:
        source: As typed.
        folder: Of the file.
        header: Names of the columns, blanks around them taken off.
        lines: Number, from 1, and cells by column of each line that is not blank.
        findings: Lines that have more cells than the header.
    """

    source: str
    folder: Path
    header: tuple[str, ...]
    lines: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_table(source: str, file: Path) -> Table:
    """Read a CSV file with a header; what separates its cells is told from the header.

    Raises:
        DataFault: It is missing, no text, or empty.
    """
    text = _text(source, file)
    start = next((line for line in text.splitlines() if line.strip()), "")
    if not start:
        raise DataFault(f"{source} is empty.", "Its first line must name the columns: path,label.")
    delimiter = max(DELIMITERS, key=lambda d: (start.count(d), -DELIMITERS.index(d)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    table: Table | None = None
    try:
        before = 0
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if table is None:
                table = Table(source, file.parent, tuple(cell.strip() for cell in cells))
                _check_header(table)
            else:
                _add(table, line, cells)
    except csv.Error as fault:
        raise DataFault(
            f"{source} line {reader.line_num}: {fault}.", "Save it again as CSV, UTF-8."
        ) from None
    if table is None or not table.lines:
        shown = listed(table.header) if table else "none"
        raise DataFault(
            f"{source} has a header ({shown}) and no line below it.", "Add a line for each image."
        )
    return table


def _text(source: str, file: Path) -> str:
    if not file.is_file():
        raise DataFault(f"{source} does not exist.", "Give a CSV file with the columns path,label.")
    try:
        contents = file.read_bytes()
    except OSError as fault:
        raise DataFault(f"{source} cannot be read ({fault.strerror}).", "Check its permissions.") from None
    wide = contents.startswith((b"\xff\xfe", b"\xfe\xff"))  # "Unicode text" of spreadsheets
    try:
        text = contents.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataFault(
            f"{source} is not a readable UTF-8 CSV file: {fault}.", "Save it as CSV, UTF-8."
        ) from None
    if "\0" in text:
        raise DataFault(f"{source} is not a readable UTF-8 CSV file: it holds NUL.", "Save it as CSV, UTF-8.")
    return text


def _check_header(table: Table) -> None:
    twice = [name for name, n in Counter(table.header).items() if n > 1 and name]
    if twice:
        raise DataFault(f"{table.source} has two columns {twice[0]}.", "Give each column a name of its own.")


def _add(table: Table, line: int, cells: list[str]) -> None:
    width = len(table.header)
    if any(cell.strip() for cell in cells[width:]):
        why = f"{table.source} line {line} has {len(cells)} fields, the header {width}."
        where = f"{Path(table.source).name} line {line}"
        remedy = "Put a cell that holds a comma into double quotes."
        table.findings.append(finding("csv-row", where, why, remedy=remedy))
        return
    padded = [*cells, *[""] * (width - len(cells))]
    table.lines.append((line, dict(zip(table.header, (cell.strip() for cell in padded)))))
