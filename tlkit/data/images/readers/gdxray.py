"""The course's contest on GDXray, as published: which crop of which series is learned, selects, and is evaluated.

Training crops are clean, validation and test crops lie inside baggage. The published listing also appends its
training crops to validation and test; here each crop has one part.

Source: Mery et al., GDXray: the database of X-ray images for nondestructive testing, J. Nondestruct. Eval. 34
(2015), group Baggages; the contest is that of the course (S10).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tlkit.data.images.readers.image_files import files_below
from tlkit.errors import DataFault


class Stretch(NamedTuple):
    """Images `first` to `last` of a series, both included."""

    series: str
    first: int
    last: int
    label: str
    part: str


CONTEST = (
    Stretch("B0049", 1, 200, "gun", "training"),
    Stretch("B0050", 1, 100, "shuriken", "training"),
    Stretch("B0051", 1, 100, "blade", "training"),
    Stretch("B0078", 1, 500, "other", "training"),
    Stretch("B0079", 1, 50, "gun", "validation"),
    Stretch("B0080", 1, 50, "shuriken", "validation"),
    Stretch("B0081", 1, 50, "blade", "validation"),
    Stretch("B0082", 1, 200, "other", "validation"),
    Stretch("B0079", 51, 150, "gun", "test"),
    Stretch("B0080", 51, 150, "shuriken", "test"),
    Stretch("B0081", 51, 150, "blade", "test"),
    Stretch("B0082", 201, 600, "other", "test"),
)
_IMAGE = re.compile(r"(B\d{4})_(\d{4})\.(?:png|jpe?g|tiff?|bmp)", re.IGNORECASE)


def contest_images(folder: Path) -> list[tuple[str, str, str, str]]:
    """(path relative to the folder, label, part, series) of every crop of the contest, 1,950 in all.

    Args:
        folder: GDXray, or its Baggages, or any folder that has B0049/B0049_0001.png and the others below it.

    Raises:
        DataFault: The folder or a crop is missing.
    """
    if not folder.is_dir():
        raise DataFault(f"gdxray:{folder} does not exist.", "Give the folder that GDXray was unpacked into.")
    found = {
        (match[1].upper(), int(match[2])): path
        for path in files_below(folder)[0]
        if (match := _IMAGE.fullmatch(path.rpartition("/")[2]))
    }
    rows = []
    for stretch in CONTEST:
        for number in range(stretch.first, stretch.last + 1):
            path = found.get((stretch.series, number))
            if path is None:
                raise DataFault(
                    f"gdxray:{folder} has no {stretch.series}_{number:04d}, "
                    f"which the contest's {stretch.part} part needs.",
                    "Unpack GDXray's group Baggages whole: series B0049 to B0051 and B0078 to B0082.",
                )
            rows.append((path, stretch.label, stretch.part, stretch.series))
    return rows
