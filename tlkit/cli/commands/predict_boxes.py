"""What `tlkit predict` says with a detector's run: boxes as a table, as data, and drawn on images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.cli.execute import show
from tlkit.cli.inference import ask, find_images, left_out, say_all
from tlkit.cli.tables import show_csv, show_table
from tlkit.core.console import Console
from tlkit.core.device import import_tensorflow
from tlkit.core.text import count
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    from tlkit.cli.inference import Files
    from tlkit.data.boxes.formats.coco import CocoIds
    from tlkit.tasks.detection.detections import Detections
    from tlkit.tasks.detection.reporting.files import Numbers
    from tlkit.tasks.detection.serving.saved_model import ServedDetector

HEADER = ("path", "class", "score", "left", "top", "right", "bottom")


class Asked(NamedTuple):
    """What a person wants to know.

    Attributes:
        run: Folder of a detector's run.
        card: Its card.
        images: Images and folders.
        threshold: Least score, or None.
        draw: Where to draw, or None.
        coco: COCO file whose numbers images and classes get, or None.
        csv_safe: Whether CSV keeps spreadsheets from running names.
    """

    run: Path
    card: dict[str, Any]
    images: tuple[Path, ...]
    threshold: float | None
    draw: Path | None
    coco: Path | None = None
    csv_safe: bool = False


def tell_boxes(asked: Asked, form: str, *, batch: int, skip_bad: bool) -> None:
    """Find things on images, print them, and draw them where that is asked.

    Args:
        asked: The question.
        form: "text", "csv" or "json".
        batch: Images a step.
        skip_bad: Leave unreadable images out.

    Raises:
        UsageFault: Threshold or folder cannot be used.
        DataFault: An image cannot be used.
    """
    threshold = threshold_of(asked.run, asked.card, asked.threshold)
    (files, remarks), ids = _asked_files(asked)
    if asked.draw:
        _check_new(asked.draw, asked.images)
    served = load_detector(asked.run)
    skipped: list[tuple[str, str]] | None = [] if skip_bad else None
    found = [shown(one, threshold) for one in ask(served, files, batch, "finding", skipped)]
    if asked.draw:
        _draw(asked, found, served.classes, threshold, ids)
    if form == "json":
        _show_json(
            asked, found, served.classes, threshold, {"skipped": left_out(skipped), "remarks": remarks}
        )
        return
    say_all(remarks)
    left_out(skipped, say=True)
    if asked.threshold is None:
        Console().say(f"Boxes from a score of {threshold:.2f} on; --threshold takes others.")
    rows = [row for one in found for row in _rows(one, served.classes)]
    if form == "csv":
        show_csv(HEADER, rows, safe=asked.csv_safe)
    else:
        show_table(HEADER, [[*row[:2], *map(_figure, row[2:])] for row in rows], left=2)


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


def load_detector(run: Path) -> ServedDetector:
    """The SavedModel of a detector's run, ready to answer.

    Raises:
        ModelFault: It cannot be read.
    """
    import_tensorflow()
    from tlkit.tasks.detection.serving import saved_model as detector_serving

    return detector_serving.ServedDetector.load(run)


def shown(found: Detections, threshold: float) -> Detections:
    """What was found in a file, from a score on, rounded to what is shown; boxes without area are left out."""
    kept = found.above(threshold)
    rounded = kept._replace(
        boxes=kept.boxes.astype(float).round(2), scores=kept.scores.astype(float).round(6)
    )
    left, top, right, bottom = rounded.boxes.T
    return rounded.take((right > left) & (bottom > top))


def _asked_files(asked: Asked) -> tuple[Files, CocoIds | None]:
    """The images, and whose numbers they get: those of --coco, else of the COCO file that is asked about.

    Raises:
        UsageFault: --coco without --draw.
        DataFault: An image is not there, or --coco is no COCO file.
    """
    from tlkit.data.boxes.formats.coco import coco_files, read_coco_ids

    if asked.coco and not asked.draw:
        raise UsageFault(
            "--coco gives the numbers in detections.json, which --draw writes.", "Add --draw FOLDER."
        )
    named = [
        read_coco_ids(place) for place in asked.images if place.suffix.lower() == ".json" and place.is_file()
    ]
    places: list[Path] = []
    for place in asked.images:
        one = next((ids for ids in named if ids.file == place), None)
        places += [one.root / path for path in one.images] if one else [place]
    files = find_images(tuple(places))
    if asked.coco:
        return files, read_coco_ids(asked.coco)
    only = asked.images[0] if len(asked.images) == 1 else None
    if only is None or not asked.draw:
        return files, None
    if named:
        return files, named[0]
    try:
        inside = coco_files(only) if only.is_dir() else []
        return files, read_coco_ids(inside[0]) if len(inside) == 1 else None
    except DataFault:  # nobody asked for that file
        return files, None


def _numbers(
    asked: Asked, found: list[Detections], classes: tuple[str, ...], ids: CocoIds | None
) -> Numbers | None:
    """The numbers of the file for images and classes, said; None where there is no file, or a folder's lacks some.

    Raises:
        DataFault: --coco lacks an image, or names it twice.
    """
    from tlkit.tasks.detection.reporting.files import Numbers

    if ids is None:
        return None
    say = Console().say
    images = [ids.of_image(Path(one.path)) for one in found]
    lacking = [one.path for one, number in zip(found, images, strict=True) if number is None]
    if lacking and asked.coco:
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


def _check_new(folder: Path, images: tuple[Path, ...]) -> None:
    """Before the slow part: nothing is overwritten, and no later prediction meets the drawn images.

    Raises:
        UsageFault: The folder is in use or lies inside one of those that are asked about.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageFault(f"--draw {folder} is there already.", "Name a new folder.")
    for place in images:
        if place.is_dir() and folder.resolve().is_relative_to(place.resolve()):
            raise UsageFault(f"--draw {folder} lies inside {place}.", "Name a folder outside.")


def _draw(
    asked: Asked, found: list[Detections], classes: tuple[str, ...], threshold: float, ids: CocoIds | None
) -> None:
    from tlkit.tasks.detection.reporting.files import write_found

    folder = asked.draw or Path()
    about = {"description": f"found by {asked.run.as_posix()}", "threshold": threshold}
    console = Console()
    numbers = _numbers(asked, found, classes, ids)
    with console.progress("drawing", len(found)) as step:
        write_found(found, classes, folder, about, step, numbers, safe=asked.csv_safe)
    boxes = sum(len(one.labels) for one in found)
    console.say(
        f"Drawn in {folder}: {count(len(found), 'image')}; boxes.csv and detections.json beside them; boxes: {boxes}."
    )


def _show_json(
    asked: Asked,
    found: list[Detections],
    classes: tuple[str, ...],
    threshold: float,
    others: dict[str, list[Any]],
) -> None:
    predictions = [
        {
            "path": one.path,
            "boxes": [
                dict(zip(HEADER[1:], row[1:], strict=True)) for row in _rows(one, classes) if len(one.labels)
            ],
        }
        for one in found
    ]
    outcome = {"run": asked.run, "classes": classes, "threshold": threshold, "predictions": predictions}
    show({**outcome, **others, "drawn": asked.draw}, as_json=True)


def _rows(one: Detections, classes: Sequence[str]) -> list[list[Any]]:
    """A row for each box, by `HEADER`; one without a box for an image that has none."""
    rows = [
        [one.path, classes[label], score, *box]
        for box, score, label in zip(*(values.tolist() for values in one[:3]), strict=True)
    ]
    return rows or [[one.path, *[None] * (len(HEADER) - 1)]]


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"
