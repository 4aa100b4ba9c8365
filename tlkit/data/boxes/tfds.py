"""`tfds:NAME` with boxes: a prepared tensorflow-datasets set, written once into the cache with its boxes.csv."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.core.csv_writer import write_csv
from tlkit.data.boxes.formats.stated_sizes import image_sizes
from tlkit.data.images.readers.tfds import SPLITS, examples, write_file, written_set
from tlkit.errors import DataFault

HEADER = ("image", "left", "top", "right", "bottom", "class", "difficult", "crowd", "split")
DIFFICULT, CROWD = ("is_difficult",), ("is_crowd", "is_group_of")


def prepared_folder(name: str) -> Path:
    """The folder, with boxes.csv, of a tensorflow-datasets set that is prepared on this machine.

    Args:
        name: `NAME[/CONFIG][:VERSION]`, such as voc/2007 or coco/2017.

    Raises:
        DataFault: It is not prepared, or has no images with boxes.
    """
    remedy = "Prepare it with tensorflow-datasets (tfds build), or copy its prepared folder there."
    # Once it was "tfds-boxes", where crowds stood as difficult objects.
    return written_set(name, "tfds-boxes-2", _write, remedy)


def _write(name: str, builder: Any, folder: Path) -> None:
    features = dict(builder.info.features or {})
    objects = dict(getattr(features.get("objects"), "feature", None) or {})
    if "image" not in features or not {"bbox", "label"} <= set(objects):
        raise DataFault(
            f"tfds:{name} has no images with boxes (features: {', '.join(features)}).",
            "Choose a detection set, such as tfds:voc/2007.",
        )
    rows: list[tuple] = []
    for split, number, example in examples(builder):
        path = write_file(folder, f"{split}/{number:06d}", example["image"])
        part = split if split in SPLITS else ""
        rows += _rows(folder, path, example["objects"], objects["label"].int2str, part)
    (folder / "classes.txt").write_text("".join(f"{n}\n" for n in objects["label"].names), encoding="utf-8")
    write_csv(folder / "boxes.csv", [HEADER, *rows])


def _rows(folder: Path, image: str, objects: dict, name_of: Any, part: str) -> Iterator[tuple]:
    """Rows of boxes.csv; tensorflow-datasets has top, left, bottom, right as shares of the sides."""
    size = image_sizes([folder / image])[0]
    if isinstance(size, str):
        raise DataFault(f"{Path(image).name} of the prepared set {size}.", "Prepare the set again.")
    if not len(objects["label"]):
        yield (image, *[""] * 7, part)
    shares = np.asarray(objects["bbox"], np.float64)[:, [1, 0, 3, 2]]
    boxes = np.clip(shares, 0, 1) * (*size, *size)
    flags = [
        np.broadcast_to(
            np.any([np.asarray(objects[flag]) for flag in names if flag in objects], axis=0), len(boxes)
        )
        for names in (DIFFICULT, CROWD)
    ]
    for box, label, difficult, crowd in zip(boxes.astype(np.float32), objects["label"], *flags, strict=True):
        yield (image, *map(str, box), name_of(int(label)), int(difficult), int(crowd), part)
