"""`tfds:NAME`: a prepared tensorflow-datasets set, written once into the cache as the files it was made from.

Behind this module it is a CSV source like any other, so it goes through the same decoder. Nothing is
downloaded unless asked for: an unprepared set is told from the folders alone, before any slow import.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tlkit.core.csv_writer import CsvWriter
from tlkit.core.files import cache_folder, folder_written_once
from tlkit.errors import DataFault

SPLITS = ("train", "validation", "test")  # other splits of a set carry no promise about leaks


def prepared_csv(name: str, *, download: bool = False) -> Path:
    """The `images.csv` (path,label,split) of a tensorflow-datasets image classification set.

    Args:
        name: `NAME[/CONFIG][:VERSION]` as in tensorflow-datasets.
        download: Fetch and prepare the set where it is not there.

    Raises:
        DataFault: Not prepared and `download` is off; not downloadable; or no image with a class label.
    """
    folder = cache_folder() / "tfds" / re.sub(r"[^\w.-]", "-", name)
    if not folder.is_dir():
        prepared = prepared_folder(name)
        if prepared is None and not download:
            raise DataFault(
                f"tfds:{name} is not prepared on this machine (looked in {data_folder()}).",
                f"Fetch it once with tlkit run fine-tune tfds:{name} --download; every command reads it from then on.",
            )
        builder = _downloaded(name) if prepared is None else opened(prepared)
        folder_written_once(folder, lambda aside: _write(name, builder, aside))
    return folder / "images.csv"


def data_folder() -> Path:
    """Where tensorflow-datasets keeps what it has prepared."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def prepared_folder(name: str) -> Path | None:
    """The newest prepared version: the folder with a `dataset_info.json`."""
    path, _, version = name.partition(":")
    above = data_folder() / path
    found = [info.parent for info in above.glob(f"{version or '*'}/dataset_info.json")]
    found += [] if version else [info.parent for info in above.glob("*/*/dataset_info.json")]
    return max(found, key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.name)], default=None)


def opened(folder: Path) -> Any:
    """The builder of a prepared folder."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def _downloaded(name: str) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as fault:  # noqa: BLE001 - every data set fails in its own way
        first = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise DataFault(
            f"tfds:{name} could not be downloaded: {first[:200]}",
            "Check the name and the network, or prepare the set elsewhere and copy its folder into "
            f"{data_folder()}.",
        ) from None
    return builder


def _write(name: str, builder: Any, folder: Path) -> None:
    import tensorflow_datasets as tfds

    features = dict(builder.info.features or {})
    if "image" not in features or not isinstance(features.get("label"), tfds.features.ClassLabel):
        raise DataFault(
            f"tfds:{name} has no image with a class label (features: {', '.join(features)}).",
            "Choose an image classification set, such as tfds:tf_flowers.",
        )
    rows = [("path", "label", "split")]
    decoders = {"image": tfds.decode.SkipDecoding()}
    several = len(builder.info.splits) > 1
    for split in builder.info.splits:
        data = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        for number, example in enumerate(data.as_numpy_iterator()):
            contents = example["image"]
            label = re.sub(r"[/\\]", "-", features["label"].int2str(int(example["label"])))
            path = folder / label / f"{split}-{number:06d}{_suffix(contents)}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(contents)
            part = split if several and split in SPLITS else ""
            rows.append((path.relative_to(folder).as_posix(), label, part))
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as stream:
        CsvWriter(stream).writerows(rows)


def _suffix(contents: bytes) -> str:
    return ".jpg" if contents[:2] == b"\xff\xd8" else ".png"
