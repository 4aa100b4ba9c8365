"""Places of a SOURCE of boxes: the folder of its files and that of its masks; what is built in is written first."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tlkit.data.xray.source_options import BAGS, is_bags
from tlkit.errors import UsageFault


def folder_of_source(source: str) -> Path:
    """Where a source's files lie; built-in and prepared sets are written into the cache first.

    Raises:
        DataFault: A prepared set is not there.
        UsageFault: It has an unknown prefix.
    """
    if source.startswith("tfds:"):
        return import_module("tlkit.data.boxes.tfds").prepared_folder(source.removeprefix("tfds:"))
    if is_bags(source):
        return import_module("tlkit.data.xray.bags").bags_folder(source)  # SciPy takes its time
    if source.startswith("xray:"):
        raise UsageFault(f"Source {source} has no boxes.", f"The built-in set with boxes is {BAGS}.")
    return Path(source)


def folder_of_masks(source: str, place: Path) -> Path:
    """Where a source's rle.csv lies; of the built-in bags it is drawn into the cache first."""
    if is_bags(source):
        return import_module("tlkit.data.xray.bags").masks_folder(source)
    return place if place.is_dir() else place.parent
