"""predictions.csv: what a classifier's run answered for every image, as a table for people that is read again here.

Of up to 100 classes the table has a column of probabilities for each, named after it. Of more it holds the
probability of the label and the five likeliest classes with theirs: `p_label,label_1,p_1,...,label_5,p_5`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.core.csv_writer import CsvWriter, run_rows
from tlkit.data.images.splits import Split

MANY = 100  # classes; of more, what has a cell for each class or pair of them is written sparsely
FACTS = ("path", "part", "label", "predicted")
LIKELIEST = 5
# Names of classes stand sorted, these do not: no table with a column a class begins so.
_SPARSE = ("p_label", *(f"{what}_{i}" for i in range(1, LIKELIEST + 1) for what in ("label", "p")))


class Prediction(NamedTuple):
    """One line of the table.

    Attributes:
        path: Of the image.
        part: "training", "validation" or "test".
        label: The class that the image is of.
        predicted: The class that it was taken for.
        p_label: The probability of its label.
        likeliest: Probability by class: of all classes, or, where `sparse`, of the five likeliest, falling.
        sparse: Whether the run has more than 100 classes.
    """

    path: str
    part: str
    label: str
    predicted: str
    p_label: float
    likeliest: dict[str, float]
    sparse: bool = False

    @property
    def confidence(self) -> float:
        """The probability of the class that it was taken for."""
        return max(self.likeliest.values())


def write_predictions(file: Path, split: Split, probabilities: np.ndarray, *, safe: bool = False) -> None:
    """Write path, part, label, predicted and probabilities for every image.

    Args:
        file: Where to.
        split: Of the n images.
        probabilities: Float `[n, k]`.
        safe: As in CsvWriter.
    """
    names = split.images.class_names
    sparse = len(names) > MANY
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = CsvWriter(stream, safe=safe)
        writer.writerow([*FACTS, *(_SPARSE if sparse else names)])
        for i, path in enumerate(split.images.paths):
            row, label = probabilities[i], int(split.images.labels[i])
            if sparse:  # of equal ones the first is the one that argmax names
                best = np.argsort(-row, kind="stable")[:LIKELIEST]
                cells = [f"{row[label]:.6f}", *(cell for k in best for cell in (names[k], f"{row[k]:.6f}"))]
            else:
                cells = [f"{p:.6f}" for p in row]
            writer.writerow([path, split.parts[i], names[label], names[int(row.argmax())], *cells])


def read_predictions(file: Path) -> Iterator[Prediction]:
    """Yield the lines of a run's predictions.csv, in either form; lines that were cut short are left out."""
    rows = run_rows(file)
    header = tuple(next(rows, ()))
    columns, sparse = header[len(FACTS) :], header[len(FACTS) :] == _SPARSE
    for row in rows:
        if len(row) != len(header) or len(row) <= len(FACTS):
            continue
        path, part, label, predicted, *cells = row
        if sparse:
            named = dict(zip(cells[1::2], map(float, cells[2::2]), strict=True))
            yield Prediction(path, part, label, predicted, float(cells[0]), named, sparse=True)
        else:
            named = dict(zip(columns, map(float, cells), strict=True))
            yield Prediction(path, part, label, predicted, named.get(label, 0.0), named)
