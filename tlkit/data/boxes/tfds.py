"""`tfds:NAME` with boxes: a prepared tensorflow-datasets set, written once into the cache with its boxes.csv."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.core.csv_writer import CsvWriter
from tlkit.core.files import cache_folder, folder_written_once
from tlkit.data.boxes.formats.stated_sizes import image_sizes
from tlkit.data.images.readers import tfds as catalogue
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
    # Once it was "tfds-boxes", where crowds stood as difficult objects.
    folder = cache_folder() / "tfds-boxes-2" / re.sub(r"[^\w.-]", "-", name)
    if folder.is_dir():
        return folder
    prepared = catalogue.prepared_folder(name)
    if prepared is None:
        raise DataFault(
            f"tfds:{name} is not prepared on this machine (looked in {catalogue.data_folder()}).",
            "Prepare it with tensorflow-datasets (tfds build), or copy its prepared folder there.",
        )
    builder = catalogue.opened(prepared)
    return folder_written_once(folder, lambda aside: _write(name, builder, aside))


def _write(name: str, builder: Any, folder: Path) -> None:
    import tensorflow_datasets as tfds

    features = dict(builder.info.features or {})
    objects = dict(getattr(features.get("objects"), "feature", None) or {})
    if "image" not in features or not {"bbox", "label"} <= set(objects):
        raise DataFault(
            f"tfds:{name} has no images with boxes (features: {', '.join(features)}).",
            "Choose a detection set, such as tfds:voc/2007.",
        )
    rows: list[tuple] = []
    for split in builder.info.splits:
        data = builder.as_dataset(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}, shuffle_files=False
        )
        for number, example in enumerate(data.as_numpy_iterator()):
            contents = example["image"]
            suffix = ".jpg" if contents[:2] == b"\xff\xd8" else ".png"
            path = folder / split / f"{number:06d}{suffix}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(contents)
            part = split if split in catalogue.SPLITS else ""
            rows += _rows(path, folder, example["objects"], objects["label"].int2str, part)
    (folder / "classes.txt").write_text("".join(f"{n}\n" for n in objects["label"].names), encoding="utf-8")
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as stream:
        CsvWriter(stream).writerows([HEADER, *rows])


def _rows(path: Path, folder: Path, objects: dict, name_of: Any, part: str) -> Iterator[tuple]:
    """Rows of boxes.csv; tensorflow-datasets has top, left, bottom, right as shares of the sides."""
    image = path.relative_to(folder).as_posix()
    size = image_sizes([path])[0]
    if isinstance(size, str):
        raise DataFault(f"{path.name} of the prepared set {size}.", "Prepare the set again.")
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
