"""Detections as an answer about files: from a score on, rounded as they are shown, drawn, numbered as in a COCO file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.console import Console
from tlkit.core.text import count
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.data.boxes.formats.coco import CocoIds
    from tlkit.tasks.detection.detections import Detections
    from tlkit.tasks.detection.reporting.files import Numbers

COLUMNS = ("class", "score", "left", "top", "right", "bottom")


def threshold_of(run: Path, card: dict[str, Any], wanted: float | None = None) -> float:
    """From which score on a run's boxes are shown: the wanted one, else where F1 was best on its validation part.

    Raises:
        UsageFault: The wanted one is below what the run's SavedModel answers.
    """
    served = float((card.get("detecting") or {}).get("threshold") or 0.0)
    if wanted is None:
        return max(float(chosen_threshold(card) or 0.0), served)
    if wanted < served:
        raise UsageFault(
            f"--threshold {wanted:g} is below {served:g}, the least score that {run} answers with.",
            f"Give {served:g} or more; how far down a run answers is said when it is made.",
        )
    return wanted


def chosen_threshold(card: dict[str, Any]) -> float | None:
    """The score that was chosen on the run's validation part; None where its card has none."""
    return (((card.get("measures") or {}).get("test") or {}).get("f1") or {}).get("threshold")


def visible(found: Detections, threshold: float) -> Detections:
    """What was found in a file, from a score on, without boxes that have no area once they are rounded."""
    kept = found.above(threshold)
    left, top, right, bottom = kept.boxes.astype(float).round(2).T
    return kept.take((right > left) & (bottom > top))


def shown(found: Detections, threshold: float) -> Detections:
    """What is `visible` of what was found in a file, rounded to what is shown."""
    kept = visible(found, threshold)
    return kept._replace(boxes=kept.boxes.astype(float).round(2), scores=kept.scores.astype(float).round(6))


def rows_of(found: Detections, classes: Sequence[str]) -> list[list[Any]]:
    """A row for each box, by `COLUMNS`."""
    values = (some.tolist() for some in found[:3])
    return [[classes[label], score, *box] for box, score, label in zip(*values, strict=True)]


# --- drawing ---


def in_coco_files(places: Sequence[Path]) -> tuple[list[Path], list[CocoIds]]:
    """The places, each COCO file among them replaced by the images that it names; and what these files number.

    Raises:
        DataFault: A .json is no COCO file.
    """
    from tlkit.data.boxes.formats.coco import read_coco_ids

    files = [place for place in places if place.suffix.lower() == ".json" and place.is_file()]
    named = {file: read_coco_ids(file) for file in files}
    found: list[Path] = []
    for place in places:
        one = named.get(place)
        found += [one.root / path for path in one.images] if one else [place]
    return found, list(named.values())


def ids_for(places: Sequence[Path], named: Sequence[CocoIds], coco: Path | None) -> CocoIds | None:
    """Whose numbers images and classes get: those of --coco, else of the only COCO file that is asked about.

    Args:
        places: Images, folders and COCO files, as asked.
        named: Of `in_coco_files`.
        coco: --coco, or None.

    Raises:
        DataFault: --coco is no COCO file.
    """
    from tlkit.data.boxes.formats.coco import coco_files, read_coco_ids

    if coco:
        return read_coco_ids(coco)
    if len(places) > 1 or named:
        return named[0] if len(places) == 1 else None
    try:
        inside = coco_files(places[0]) if places[0].is_dir() else []
        return read_coco_ids(inside[0]) if len(inside) == 1 else None
    except DataFault:  # nobody asked for that file
        return None


def numbers_of(
    found: Sequence[Detections], classes: Sequence[str], ids: CocoIds | None, *, asked: bool
) -> Numbers | None:
    """The numbers of a COCO file for images and classes, said; None where there is no file, or it lacks some.

    Args:
        found: [n] of the images.
        classes: [k] names.
        ids: Of the file.
        asked: Whether a person named the file.

    Raises:
        DataFault: A file that a person named lacks an image, or names it twice.
    """
    from tlkit.tasks.detection.reporting.files import Numbers

    if ids is None:
        return None
    say = Console().say
    images = [ids.of_image(Path(one.path)) for one in found]
    lacking = [one.path for one, number in zip(found, images, strict=True) if number is None]
    if lacking and asked:
        raise DataFault(
            f"{ids.file} does not name {lacking[0]}, or names several alike ({count(len(lacking), 'image')} so).",
            "Ask about the images of that file, or leave --coco out: then they are numbered from 1.",
        )
    if lacking:
        say(
            f"{ids.file} lacks {count(len(lacking), 'image')}; detections.json numbers all from 1, see images.json."
        )
        return None
    numbers, new = ids.of_classes(classes)
    say(f"Images and classes have the numbers of {ids.file} in detections.json.")
    if new:
        say(
            f"It has no class {', '.join(new)}: numbered from {max(ids.categories.values(), default=0) + 1} on."
        )
    return Numbers(images, numbers)


def draw_found(
    found: Sequence[Detections],
    classes: Sequence[str],
    folder: Path,
    about: dict[str, Any],
    numbers: Numbers | None,
    *,
    safe: bool,
) -> None:
    """Draw what was found under a progress bar and say so; arguments as for `files.write_found`."""
    from tlkit.tasks.detection.reporting.files import write_found

    console = Console()
    with console.progress("drawing", len(found)) as step:
        write_found(found, classes, folder, about, step, numbers, safe=safe)
    boxes = sum(len(one.labels) for one in found)
    console.say(
        f"Drawn in {folder}: {count(len(found), 'image')}; boxes.csv and detections.json beside them; boxes: {boxes}."
    )
