"""Inference from the command line: files named, a SavedModel loaded and asked under a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from tlkit.core.console import Console
from tlkit.core.device import import_tensorflow
from tlkit.errors import DataFault, UsageFault

Answer = TypeVar("Answer")
AT_ONCE = 8  # steps between two moves of the bar: long enough for reading ahead, short enough for a bar


if TYPE_CHECKING:
    import numpy as np

    from tlkit.engine.serving.saved_model import InMemory, Loaded


def find_images(places: tuple[Path, ...]) -> tuple[list[Path], list[str]]:
    """The files among `places` and the images in the folders among them, in that order, none twice.

    What was passed over in the folders is told in the sentences behind them.

    A file that is named is tried whatever its name; in a folder the rule is that of a source (`images_below`).

    Raises:
        DataFault: One is not there, or a folder has no images.
    """
    from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES
    from tlkit.data.images.readers.folders import images_below

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
    return list(found), remarks


def images_given(images: Any) -> list[Path | InMemory]:
    """The images that a person asks about from Python, each once for each time that it is given.

    Args:
        images: A path, of a file or of a folder (all images below, see `find_images`); the contents of a file as
            bytes; pixels uint8 [h, w, 3] or [n, h, w, 3], RGB; or several of these.

    Returns:
        [n] files and images in memory; the latter are told apart as images[0], images[1] and so on. What was passed
        over in folders is told on stderr.

    Raises:
        DataFault: Something is no image, a file is not there, or a folder has no images.
    """
    from tlkit.engine.serving.saved_model import InMemory

    found: list[Path | InMemory] = []
    for place, image in enumerate(_several(images)):
        if isinstance(image, str | Path):
            files, remarks = find_images((Path(image),))
            found += files
            for sentence in remarks:
                Console().say(sentence)
        elif isinstance(image, bytes | bytearray | memoryview):
            found.append(InMemory(f"images[{place}]", bytes(image)))
        else:
            found.append(InMemory(f"images[{place}]", _pixels(image, f"images[{place}]")))
    return found


def _several(images: Any) -> Iterable[Any]:
    """The images one by one; rows of a batch of pixels too."""
    if isinstance(images, str | Path | bytes | bytearray | memoryview):
        return [images]
    if hasattr(images, "__array__") or not isinstance(images, Iterable):
        return images if getattr(images, "ndim", 3) == 4 else [images]
    return images


def _pixels(image: Any, name: str) -> np.ndarray:
    import numpy as np

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise DataFault(
            f"{name} is {pixels.dtype} {list(pixels.shape)}, and no image.",
            "Give paths, the contents of files as bytes, or arrays uint8 [height, width, 3], RGB from 0 to 255.",
        )
    return pixels


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
    files: Sequence[Path | InMemory],
    batch: int,
    text: str,
    skipped: list[tuple[str, str]] | None = None,
    times: list[float] | None = None,
) -> list[Answer]:
    """The model's answers for files, under a progress bar.

    Args:
        served: The model.
        files: [n] images; or images in memory.
        batch: Images a step.
        text: What the bar says.
        skipped: Takes (path, reason) of files that cannot be used; without it the first one is a fault.
        times: Takes the seconds that an image took, a mean of every `AT_ONCE` steps.

    Returns:
        [n] answers, less the skipped ones.

    Raises:
        DataFault: A file cannot be used.
    """
    found: list[Answer] = []
    with Console().progress(text, len(files)) as step:
        for start in range(0, len(files), AT_ONCE * batch):
            some, began = files[start : start + AT_ONCE * batch], perf_counter()
            found += served.predict_files(some, batch, skipped=skipped)
            if times is not None:
                times.append((perf_counter() - began) / len(some))
            step(start + len(some))
    return found


def milliseconds(times: Sequence[float]) -> float | None:
    """What an image takes: the median of the `times` of `ask` but for the first, in which the model warms up.

    None where there is no other: of `AT_ONCE` steps or fewer.
    """
    return round(1000 * median(times[1:]), 3) if len(times) > 1 else None
