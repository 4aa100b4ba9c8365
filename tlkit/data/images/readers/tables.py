"""CSV tables of labelled images: one line an image, as Kaggle, spreadsheets and pandas write them.

What has one meaning is read: semicolons or tabs for commas, capitals and blanks in the header, names without their
suffix, paths of another computer whose end lies here, one 0/1 column a class. What has none becomes a finding, one
for each line; `read_images` refuses the first of them, `tlkit check` lists all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlkit.core.csv_writer import is_safe_cell
from tlkit.core.reading import PLAIN, Reading
from tlkit.core.text import count, did_you_mean, listed
from tlkit.data.images.dataset import PART_NAMES, TEST, TRAINING, VALIDATION, Found, Row
from tlkit.data.images.findings import ERROR, WARNING, Finding, finding
from tlkit.data.images.readers.csv_tables import Table, read_table
from tlkit.data.images.readers.named_files import NamedFiles, Unusable
from tlkit.errors import DataFault

# Names of columns in the order in which they are believed; all in lower case, words joined by "_".
PATHS = (
    *(
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image_path",
        "img_path",
        "image_file",
    ),
    *(
        "image_name",
        "img_name",
        "image",
        "img",
        "image_filename",
        "images",
        "picture",
        "image_id",
        "img_id",
        "id",
    ),
)
LABELS = (
    *(
        "label",
        "labels",
        "class",
        "class_name",
        "classname",
        "category",
        "category_name",
        "target",
        "diagnosis",
    ),
    *("dx", "breed", "species", "label_name", "annotation", "y"),
)
SPLITS = ("split", "part", "set", "subset")
FLAGS = {"is_valid": VALIDATION, "is_validation": VALIDATION, "is_val": VALIDATION, "is_test": TEST}
TRUE, FALSE = frozenset(("true", "1", "1.0", "yes")), frozenset(("false", "0", "0.0", "no", ""))
NO_LABEL = frozenset(("nan", "<na>", "null", "#n/a"))  # how tables write a cell without a value


@dataclass(frozen=True)
class Columns:
    """Which column says what.

    Attributes:
        path: Name of the file.
        label: Class; None where each class has a column of its own.
        classes: The columns of the classes, 0 or 1 in each line.
        split: Part.
        flag: A column that is true for one part, and that part.
        group: What stays together.
        others: The remaining columns.
    """

    path: str
    label: str | None
    classes: tuple[str, ...] = ()
    split: str | None = None
    flag: tuple[str, str] | None = None
    group: str | None = None
    others: tuple[str, ...] = ()


def read_image_table(source: str, file: Path, reading: Reading = PLAIN) -> Found:
    """Read a table of labelled images.

    Args:
        source: As typed.
        file: The table; paths in it are relative to its folder.
        reading: Names of the columns, and the suffix of the files, where the person gave them.

    Raises:
        DataFault: It is missing, no text, has no line, or nothing says which column is which.
    """
    table = read_table(source, file)
    columns = _columns(table, reading)
    found = _Lines(table, columns, reading).found()
    wanted = [row for row in found.rows if reading.wants(row.path)]
    unwanted, found.rows = len(found.rows) - len(wanted), wanted
    found.names = sorted({row.label for row in wanted})
    found.remarks = _understood(columns)
    safe = [name for name in found.names if is_safe_cell(name)]
    if safe:
        found.remarks.append(
            f"Class {safe[0]} begins with an apostrophe, as --csv-safe writes names: it is kept as part of the name."
        )
    if unwanted:
        found.remarks.append(f"Left out by --include or --exclude: {count(unwanted, 'image')}.")
    return found


# --- which column is which ---


def _columns(table: Table, reading: Reading) -> Columns:
    names = {_plain(name): name for name in reversed(table.header) if name}
    path = _path_column(table, names, reading)
    left = {plain: name for plain, name in names.items() if name != path}
    split = next((left[plain] for plain in SPLITS if plain in left), None)
    flag = next((plain for plain in FLAGS if plain in left), None)
    group = left.get("group")
    known = {path, split, left.get(flag or ""), group}
    rest = [name for name in table.header if name and name not in known]
    label, classes = _label_column(table, left, rest, reading)
    others = tuple(name for name in rest if name != label and name not in classes)
    return Columns(path, label, classes, split, (left[flag], FLAGS[flag]) if flag else None, group, others)


def _plain(name: str) -> str:
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def _given(table: Table, option: str, name: str) -> str:
    if name in table.header:
        return name
    raise DataFault(
        f"{option} {name}: {table.source} has no such column (columns: {listed(table.header)}).",
        did_you_mean(name, table.header) or "Name one of these.",
    )


def _path_column(table: Table, names: dict[str, str], reading: Reading) -> str:
    if reading.path_column:
        return _given(table, "--path-column", reading.path_column)
    known = [names[plain] for plain in PATHS if plain in names]
    if len(known) == 1 or (known and _plain(known[0]) == "path"):
        return known[0]
    files = NamedFiles(table.folder, reading.suffix)
    some = [cells for _, cells in table.lines[:20]]
    candidates = known or [name for name in table.header if name]
    leads = [name for name in candidates if some and all(files.finds(cells[name]) for cells in some)]
    if len(leads) == 1 or (known and leads):
        return leads[0]
    if known:
        return known[0]
    raise DataFault(
        f"{table.source} has no column path (columns: {listed(table.header)}).",
        "Name the column that holds the files' names: --path-column NAME; or call it path.",
    )


def _label_column(
    table: Table, left: dict[str, str], rest: Sequence[str], reading: Reading
) -> tuple[str | None, tuple[str, ...]]:
    """The column of the class; or None, and the columns of the classes."""
    if reading.label_column:
        return _given(table, "--label-column", reading.label_column), ()
    known = [left[plain] for plain in LABELS if plain in left and left[plain] in rest]
    if known:
        return known[0], ()
    binary = [name for name in rest if all(c[name] in {"0", "1", "0.0", "1.0"} for _, c in table.lines)]
    if len(binary) > 1:
        return None, tuple(binary)
    if len(rest) == 1:
        return rest[0], ()
    raise DataFault(
        f"{table.source} has no column label (columns: {listed(table.header)}).",
        "Name the column that holds the classes: --label-column NAME; or call it label.",
    )


# --- lines ---


class _Lines:
    """The lines of a table whose columns are known."""

    def __init__(self, table: Table, columns: Columns, reading: Reading) -> None:
        self._table, self._columns, self._files = table, columns, NamedFiles(table.folder, reading.suffix)

    def found(self) -> Found:
        """Rows of images; findings on lines that are none, in the order of the file, then on files that stand twice."""
        found = Found(findings=list(self._table.findings), columns=self._columns.others)
        for line, cells in self._table.lines:
            try:
                found.rows.append(self._row(cells))
            except Unusable as fault:
                where = cells[self._columns.path] or f"{Path(self._table.source).name} line {line}"
                why = f"{self._table.source} line {line}{fault.why}"
                found.findings.append(finding(fault.kind, where, why, remedy=fault.remedy))
        found.findings += self._listed_twice()
        return found

    def _listed_twice(self) -> Iterator[Finding]:
        """Paths that several lines name: a warning, an error where their labels differ."""
        labels: dict[str, list[str]] = {}
        for _, cells in self._table.lines:
            label = cells[self._columns.label] if self._columns.label else ""
            labels.setdefault(cells[self._columns.path], []).append(label)
        for path, names in labels.items():
            if path and len(names) > 1:
                differ = sorted(set(names))
                detail = f"{len(names)} times" + (f", as {' and '.join(differ)}" if len(differ) > 1 else "")
                yield finding("listed-twice", path, detail, severity=ERROR if len(differ) > 1 else WARNING)

    def _row(self, cells: dict[str, str]) -> Row:
        known = self._columns
        path = cells[known.path]
        if not path:
            raise Unusable(" lacks a path.", "Fill it in or delete the line.")
        label = self._label(cells)
        group = (cells[known.group] or None) if known.group else None
        others = tuple(cells[name] for name in known.others)
        return Row(self._files.find(path), label, self._part(cells), group, others)

    def _label(self, cells: dict[str, str]) -> str:
        known = self._columns
        if known.label is None:
            ones = [name for name in known.classes if cells[name] in {"1", "1.0"}]
            if len(ones) != 1:
                said = f"several classes ({listed(ones)})" if ones else "none of its classes"
                raise Unusable(
                    f" has {said}; a classifier needs one for each image.",
                    "Give one column a 1 and the others 0, or name the column of the class: --label-column NAME.",
                )
            return ones[0]
        label = unicodedata.normalize("NFC", cells[known.label])
        if not label or label.casefold() in NO_LABEL:
            said = f" ({known.label} is {label})" if label else ""
            raise Unusable(f" lacks a label{said}.", "Fill it in or delete the line.")
        return label

    def _part(self, cells: dict[str, str]) -> str | None:
        known = self._columns
        if known.split and cells[known.split]:
            split = cells[known.split]
            if split.lower() not in PART_NAMES:
                raise Unusable(f": {known.split} {split} is unknown.", "Use training, validation or test.")
            return PART_NAMES[split.lower()]
        if known.flag is None:
            return None
        column, part = known.flag
        value = cells[column].casefold()
        if value not in TRUE | FALSE:
            raise Unusable(f": {column} {value} is neither true nor false.", "Use True or False.")
        return part if value in TRUE else TRAINING


def _understood(columns: Columns) -> list[str]:
    """What was made of columns that are not called path, label, split."""
    said = []
    label = columns.label or f"the one of {listed(columns.classes, most=3)} that is 1"
    if columns.path != "path" or columns.label != "label":
        said.append(f"Files are named by the column {columns.path}, classes by {label}.")
    if columns.flag:
        said.append(f"The {columns.flag[1]} part is where {columns.flag[0]} is true.")
    elif columns.split and columns.split != "split":
        said.append(f"Parts are named by the column {columns.split}.")
    return said
