"""Inference from the command line: files named, a SavedModel loaded and asked under a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tlkit.core.console import Console
from tlkit.core.device import import_tensorflow
from tlkit.errors import DataFault, UsageFault

Answer = TypeVar("Answer")


if TYPE_CHECKING:
    from tlkit.engine.serving.saved_model import Loaded


class Files(NamedTuple):
    """What a person asks about: files, and what in their folders was passed over, in sentences."""

    files: list[Path]
    remarks: list[str]


def find_images(places: tuple[Path, ...]) -> Files:
    """The files among `places` and the images in the folders among them, in that order, none twice.

    A file that is named is tried whatever its name; in a folder the rule is that of a source (`images_below`).

    Raises:
        DataFault: One is not there, or a folder has no images.
    """
    from tlkit.data.images.readers.folders import images_below
    from tlkit.data.images.readers.records import IMAGE_SUFFIXES

    found: dict[Path, None] = {}
    remarks: list[str] = []
    for place in places:
        if place.is_dir():
            inside = images_below(place)
            remarks += [f"{place}: {sentence}" for sentence in inside.remarks]
            if not inside.paths:
                said = " ".join(inside.remarks)
                raise DataFault(
                    f"{place} has no images.{said and ' '}{said}",
                    f"Known: {', '.join(sorted(IMAGE_SUFFIXES))}.",
                )
            found.update(dict.fromkeys(place / path for path in inside.paths))
        elif place.is_file():
            found[place] = None
        else:
            raise DataFault(f"{place} does not exist.", "Name images, or a folder of them.")
    return Files(list(found), remarks)


def load_served(path: Path, *, detector: bool = False) -> Any:
    """The SavedModel of a run of a classifier, or of a detector, ready to answer.

    Raises:
        UsageFault: The run made no model.
        ModelFault: It cannot be read, or is of another kind.
    """
    if detector:
        import_tensorflow()
        from tlkit.tasks.detection.serving.saved_model import ServedDetector

        return ServedDetector.load(path)
    if not (path / "saved_model.pb").is_file():
        raise UsageFault(
            f"{path} has no SavedModel.", "Name a run of a recipe that makes a classifier or a detector."
        )
    import_tensorflow()
    from tlkit.tasks.classification.serving.saved_model import Served

    return Served.load(path)


def ask(
    served: Loaded[Answer],
    files: list[Path],
    batch: int,
    text: str,
    skipped: list[tuple[str, str]] | None = None,
) -> list[Answer]:
    """The model's answers for files, under a progress bar.

    Args:
        served: The model.
        files: [n] images.
        batch: Images a step.
        text: What the bar says.
        skipped: Takes (path, reason) of files that cannot be used; without it the first one is a fault.

    Returns:
        [n] answers, less the skipped ones.

    Raises:
        DataFault: A file cannot be used.
    """
    found: list[Answer] = []
    with Console().progress(text, len(files)) as step:
        for start in range(0, len(files), 8 * batch):  # long enough for reading ahead, short enough for a bar
            found += served.predict_files(files[start : start + 8 * batch], batch, skipped=skipped)
            step(min(start + 8 * batch, len(files)))
    return found
