"""`tfds:NAME`: a prepared tensorflow-datasets set, written once into the cache as the files it was made from.

Behind this module it is a CSV source like any other, so it goes through the same decoder. Nothing is
downloaded unless asked for: an unprepared set is told from the folders alone, before any slow import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tlkit.core.csv_writer import write_csv
from tlkit.core.files import cache_folder, folder_written_once
from tlkit.errors import DataFault

JPEG = b"\xff\xd8"
SPLITS = ("train", "validation", "test")  # other splits of a set carry no promise about leaks


def prepared_csv(name: str, *, download: bool = False) -> Path:
    """The `images.csv` (path,label,split) of a tensorflow-datasets image classification set.

    Args:
        name: `NAME[/CONFIG][:VERSION]` as in tensorflow-datasets.
        download: Fetch and prepare the set where it is not there.

    Raises:
        DataFault: Not prepared and `download` is off; not downloadable; or no image with a class label.
    """
    remedy = (
        f"Fetch it once with tlkit run fine-tune tfds:{name} --download; every command reads it from then on."
    )
    return written_set(name, "tfds", _write, remedy, download=download) / "images.csv"


def written_set(
    name: str, place: str, write: Callable[[str, Any, Path], None], remedy: str, *, download: bool = False
) -> Path:
    """The folder of the cache into which a set was written, now or before.

    Args:
        name: As for `prepared_csv`.
        place: Folder of the cache.
        write: Gets the name, the builder and the folder to fill.
        remedy: What to do where the set is not prepared.
        download: As for `prepared_csv`.

    Raises:
        DataFault: As for `prepared_csv`.
    """
    folder = cache_folder() / place / re.sub(r"[^\w.-]", "-", name)
    if not folder.is_dir():
        prepared = _prepared_folder(name)
        if prepared is None and not download:
            raise DataFault(
                f"tfds:{name} is not prepared on this machine (looked in {_data_folder()}).", remedy
            )
        import tensorflow_datasets as tfds

        builder = _downloaded(name) if prepared is None else tfds.builder_from_directory(prepared)
        folder_written_once(folder, lambda aside: write(name, builder, aside))
    return folder


def examples(builder: Any) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Split, number in it and features of every example; images as the bytes of their files."""
    import tensorflow_datasets as tfds

    for split in builder.info.splits:
        decoders = {"image": tfds.decode.SkipDecoding()}
        data = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        for number, example in enumerate(data.as_numpy_iterator()):
            yield split, number, example


def write_file(folder: Path, stem: str, contents: bytes) -> str:
    """Write an image below a folder, with the suffix of its format; its path there."""
    path = f"{stem}{'.jpg' if contents[:2] == JPEG else '.png'}"
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(contents)
    return path


def _data_folder() -> Path:
    """Where tensorflow-datasets keeps what it has prepared."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def _prepared_folder(name: str) -> Path | None:
    """The newest prepared version: the folder with a `dataset_info.json`."""
    path, _, version = name.partition(":")
    above = _data_folder() / path
    found = [info.parent for info in above.glob(f"{version or '*'}/dataset_info.json")]
    found += [] if version else [info.parent for info in above.glob("*/*/dataset_info.json")]
    return max(found, key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.name)], default=None)


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
            f"{_data_folder()}.",
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
    several = len(builder.info.splits) > 1
    for split, number, example in examples(builder):
        label = re.sub(r"[/\\]", "-", features["label"].int2str(int(example["label"])))
        path = write_file(folder, f"{label}/{split}-{number:06d}", example["image"])
        rows.append((path, label, split if several and split in SPLITS else ""))
    write_csv(folder / "images.csv", rows)
