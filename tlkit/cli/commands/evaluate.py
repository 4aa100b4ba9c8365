"""`tlkit evaluate`: a finished run against images that it has neither learned from nor been chosen by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.inference import ask, load_served
from tlkit.cli.options.shared import (
    GROUP,
    READING,
    hold_limit,
    json_option,
    reading_of,
    runs_option,
    served_pixels_option,
    with_reading_options,
)
from tlkit.cli.tables import show_table, with_interval
from tlkit.cli.unseen import learned_groups, left_to_evaluate
from tlkit.core.console import Console, echo
from tlkit.core.metric_names import DETECTOR, MetricNames, names_of
from tlkit.core.reading import Reading
from tlkit.core.run_folder import find_run, read_card
from tlkit.core.text import did_you_mean, some_of
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.sources import Images

EXAMPLES = """
    tlkit evaluate fine-tune-photos more-photos/
    tlkit evaluate fine-tune-photos/3 test.csv --group '(patient[0-9]+)' --json
    tlkit evaluate detect-yolov8-bags more-bags/ --unknown drop
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="NAME (its newest run), NAME/3, or a run's folder.")
@click.argument(
    "source",
    help="FOLDER of class folders, FILE.csv, tfds:NAME or xray:crops; of a detector, one with boxes.",
)
@click.option("--group", metavar="TEXT", help=f"{GROUP} Intervals are drawn over groups.")
@click.option("--skip-bad", is_flag=True, help="Leave unreadable images out and list them.")
@click.option("--download", is_flag=True, help="Let a tfds: source be downloaded.")
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="Images a step.  [default: 32; of a detector 8]"
)
@click.option("--faults", type=click.Choice(["refuse", "clip"]), help="Of a detector: boxes that cannot be.")
@click.option(
    "--unlabelled",
    type=click.Choice(["error", "negative", "skip"]),
    help="Of a detector: images without annotation.",
)
@click.option(
    "--unknown",
    type=click.Choice(["refuse", "drop"]),
    help="Of a detector: boxes of classes that the run does not know.  [default: refuse]",
)
@with_reading_options
@served_pixels_option
@runs_option
@json_option
def evaluate(as_json: bool, **options: Any) -> None:
    """Measure a finished run on images that it has not learned from.

    Images whose content or declared group is in the run's training or validation part are left out and counted; on
    the run's own source what remains is its test part, in the run's own groups. Labels are matched by name.
    """
    outcome = measured(**options)
    if as_json:
        show(outcome, as_json=True)
    else:
        _show_text(outcome, names_of("detector" if "AP" in outcome else None))


def measured(
    run: str, source: str, batch: int | None, most_pixels: int | None, runs: Path, **options: Any
) -> dict[str, Any]:
    """What `tlkit evaluate` prints, of a classifier or a detector, with its options by name.

    Raises:
        UsageFault, DataFault, ModelFault: The run, the options or the source cannot be used.
    """
    path = find_run(run, runs)
    card = read_card(path)
    hold_limit(path, card, most_pixels)
    if card.get("kind") == "detector":
        why, remedy = "does not apply to images with boxes", "Use --faults clip."
        _refuse(options, ("skip_bad", "download", *READING), why, remedy)
        found = _evaluate_detector(path, card, source, options, batch or 8)
    else:
        why = f"is for detectors, and {path} is none"
        _refuse(options, ("faults", "unlabelled", "unknown"), why, "Leave it out.")
        found = _evaluate_classifier(path, card, source, options, batch or 32)
    return {"run": path, "source": source, **found}


def _refuse(options: dict[str, Any], names: tuple[str, ...], why: str, remedy: str) -> None:
    for name in names:
        if options[name]:
            raise UsageFault(f"--{name.replace('_', '-')} {why}.", remedy)


def _evaluate_classifier(
    path: Path,
    card: dict[str, Any],
    source: str,
    options: dict[str, Any],
    batch: int,
) -> dict[str, Any]:
    from tlkit.data.images.load import openable
    from tlkit.data.images.small_classes import settle_as_learned
    from tlkit.data.images.sources import read_images
    from tlkit.data.images.splits import groups_of

    group, own = options["group"], source == card.get("source")
    reading = reading_of(options)
    if own and reading == Reading():
        reading = reading_of(card["options"])
    images = read_images(source, download=options["download"], least=1, reading=reading)
    images, inspections, skipped = openable(images, skip_bad=options["skip_bad"])
    if group is None and own:
        group = card["options"].get("group")
    groups = groups_of(images, inspections, group)
    settled = settle_as_learned(images, (card.get("data") or {}).get("small_classes") or {})
    if not len(settled.kept):
        raise DataFault(f"{path} left out the classes of {source}.", "Give images of classes that it knows.")
    images, groups = settled.images, tuple(groups[i] for i in settled.kept)
    inspections = [inspections[i] for i in settled.kept]
    kept, excluded = left_to_evaluate(path, source, inspections, groups)
    images, groups = images.take(kept), tuple(groups[i] for i in kept)
    measures = evaluate_images(path, card, images, groups, batch)
    small = {"small_classes": {**settled.card, "sentence": settled.notes[0]}} if settled.card else {}
    return {**excluded, "skipped": skipped, **small, **measures}


def evaluate_images(
    path: Path, card: dict[str, Any], images: Images, groups: tuple[str, ...], batch: int
) -> dict[str, Any]:
    """Ask the run's SavedModel about every image and measure its answers.

    Raises:
        DataFault: The images have a class that the run does not know.
    """
    classes = tuple(card.get("classes") or ())
    labels = labels_of(path, classes, images)
    served = load_served(path)
    answers = ask(served, [images.file(i) for i in range(len(images))], batch, "evaluating")
    import numpy as np

    from tlkit.tasks.classification.metrics import classification_measures

    probabilities = np.stack([answer.probabilities for answer in answers])
    negative = (card.get("options") or {}).get("negative", "other")
    return classification_measures(labels, probabilities, classes, groups, negative=negative)


def labels_of(path: Path, classes: tuple[str, ...], images: Images) -> np.ndarray:
    """The images' labels in the run's order of classes, int64 [n].

    Raises:
        DataFault: The images have a class that the run does not know.
    """
    import numpy as np

    present = [images.class_names[label] for label in np.unique(images.labels)]
    for name in present:
        if name not in classes:
            raise DataFault(
                f"Class {name} of {images.source} is unknown to {path}.",
                f"{did_you_mean(name, classes)} It knows {some_of(classes)}; leave other classes out.".lstrip(),
            )
    order = np.array([classes.index(name) if name in classes else -1 for name in images.class_names])
    return order[images.labels]


def _evaluate_detector(
    path: Path, card: dict[str, Any], source: str, options: dict[str, Any], batch: int
) -> dict[str, Any]:
    from tlkit.data.images.inspection import inspect_files
    from tlkit.data.images.splits import groups_of
    from tlkit.tasks.detection.evaluate_workflow import measure_run, own_options, read_as_run, with_classes

    boxes = read_as_run(card, source, options["faults"], options["unlabelled"])
    boxes, dropped = with_classes(boxes, path, card.get("classes") or (), drop=options["unknown"] == "drop")
    inspections = inspect_files(boxes.files())
    groups = groups_of(boxes, inspections, options["group"] or own_options(card, source).get("group"))
    kept, excluded = left_to_evaluate(path, source, inspections, groups)
    facts = {**excluded, "dropped": dropped, "notes": list(boxes.notes), "told": list(boxes.told)}
    return {**facts, **measure_run(path, card, boxes.take(kept), tuple(groups[i] for i in kept), batch)}


# --- output ---


def _show_text(outcome: dict[str, Any], names: MetricNames) -> None:
    echo(f"run: {outcome['run']}\nsource: {outcome['source']}")
    excluded = f"{outcome['excluded']} excluded{learned_groups(outcome)}"
    echo(f"n: {outcome['n']} in {outcome['groups']} groups ({excluded})")
    for line in _facts_said(outcome):
        echo(line)
    for sentence in outcome.get("told", ()):
        Console().say(sentence)
    for name in names.overall:
        _show_measure(name, outcome[name], outcome["intervals"].get(name))
    per_class, limited = outcome["per_class"], ""
    if names == DETECTOR:
        _show_detector(outcome)
    else:
        from tlkit.tasks.classification.reporting.interpretation import worst_classes

        per_class, limited = worst_classes(per_class)
    echo()
    rows = [[name, *(row[column] for column in names.per_class)] for name, row in per_class.items()]
    show_table(["class", *names.per_class], rows, digits=4)
    if limited:
        Console().say(f"{limited} --json has all.")


def _facts_said(outcome: dict[str, Any]) -> Iterator[str]:
    """What was measured, and what of it was left out."""
    if "objects" in outcome:
        yield f"objects: {outcome['objects']} ({outcome['negative']} images without)"
    if outcome.get("dropped"):
        yield f"dropped: {outcome['dropped']} (boxes of classes that the run does not know)"
    for file in outcome.get("skipped", ()):
        yield f"left out: {file['path']} {file['reason']}"
    if "small_classes" in outcome:
        yield outcome["small_classes"]["sentence"]


def _show_measure(name: str, value: float | None, interval: list[float] | None) -> None:
    if value is not None:
        echo(f"{name}: {with_interval(value, interval, gap=2)}")


def _show_detector(outcome: dict[str, Any]) -> None:
    """What else is measured of a detector."""
    from tlkit.data.images.sources import VALIDATION

    if outcome["at_100"]:
        _show_measure("AP of COCO's 100 detections", outcome["at_100"]["AP"], None)
        echo(f"AP, AP50, AP75 and AR count {outcome['counted']} detections of a class and image")
    for row in outcome["screening"]:
        name = f"recall@{row['rate']:g}"
        _show_measure(f"{name} false alarms an image", row["recall"], outcome["intervals"].get(name))
    if "masks" in outcome:
        for name in ("AP", "AP50", "AP75"):
            _show_measure(f"mask {name}", outcome["masks"][name], outcome["masks"]["intervals"].get(name))
    if "proposals" in outcome:
        from tlkit.tasks.detection.proposals_workflow import recall_said

        echo(f"proposals: {recall_said(outcome['proposals'])}")
    f1 = outcome["f1"]
    if f1["threshold"] is None:
        echo("precision and recall: none, for nothing was found or there is nothing to find")
        return
    where = "the run's validation part" if f1["chosen_on"] == VALIDATION else "these images, which flatters"
    echo(
        f"precision and recall from a score of {f1['threshold']:.4f}, where F1 of all classes was best on {where}"
    )
