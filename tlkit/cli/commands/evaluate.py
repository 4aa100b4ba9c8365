"""`tlkit evaluate`: a finished run against images that it has neither learned from nor been chosen by."""

from __future__ import annotations

from difflib import get_close_matches
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
from tlkit.cli.tables import show_table
from tlkit.cli.unseen import learned_groups, left_to_evaluate
from tlkit.core.console import Console, echo
from tlkit.core.reading import Reading
from tlkit.core.run_folder import find_run, read_card
from tlkit.core.text import some_of
from tlkit.errors import DataFault, UsageFault

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.sources import Images

AVERAGES = ("accuracy", "balanced_accuracy", "eta", "macro_f1", "auc", "ece", "log_loss")
COLUMNS = ("support", "precision", "recall", "f1", "eta", "auc")
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
def evaluate(
    run: str,
    source: str,
    batch: int | None,
    most_pixels: int | None,
    runs: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a finished run on images that it has not learned from.

    Images whose content or declared group is in the run's training or validation part are left out and counted; on
    the run's own source what remains is its test part, in the run's own groups. Labels are matched by name.
    """
    path = find_run(run, runs)
    card = read_card(path)
    hold_limit(path, card, most_pixels)
    if card.get("kind") == "detector":
        from tlkit.cli.commands.evaluate_boxes import Evaluated, tell_evaluation

        _refuse(
            options,
            ("skip_bad", "download", *READING),
            "does not apply to images with boxes",
            "Use --faults clip.",
        )
        how = Evaluated(
            path,
            card,
            source,
            options["group"],
            options["faults"],
            options["unlabelled"],
            drop=options["unknown"] == "drop",
        )
        tell_evaluation(how, batch=batch or 8, as_json=as_json)
        return
    _refuse(
        options, ("faults", "unlabelled", "unknown"), f"is for detectors, and {path} is none", "Leave it out."
    )
    outcome = _evaluate_classifier(path, card, source, options, batch or 32)
    if as_json:
        show(outcome, as_json=True)
    else:
        _show_text(outcome)


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
    return {"run": path, "source": source, **excluded, "skipped": skipped, **small, **measures}


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
            near = get_close_matches(name, classes, 1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise DataFault(
                f"Class {name} of {images.source} is unknown to {path}.",
                f"{hint}It knows {some_of(classes)}; leave other classes out.",
            )
    order = np.array([classes.index(name) if name in classes else -1 for name in images.class_names])
    return order[images.labels]


def _show_text(outcome: dict[str, Any]) -> None:
    from tlkit.tasks.classification.reporting.interpretation import worst_classes

    echo(f"run: {outcome['run']}\nsource: {outcome['source']}")
    excluded = f"{outcome['excluded']} excluded{learned_groups(outcome)}"
    echo(f"n: {outcome['n']} in {outcome['groups']} groups ({excluded})")
    for file in outcome["skipped"]:
        echo(f"left out: {file['path']} {file['reason']}")
    if "small_classes" in outcome:
        echo(outcome["small_classes"]["sentence"])
    for name in AVERAGES:
        if outcome[name] is not None:
            interval = outcome["intervals"].get(name)
            between = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            echo(f"{name}: {outcome[name]:.4f}{between}")
    echo()
    per_class, limited = worst_classes(outcome["per_class"])
    rows = [[name, *(_figure(row[column]) for column in COLUMNS)] for name, row in per_class.items()]
    show_table(["class", *COLUMNS], rows)
    if limited:
        Console().say(f"{limited} --json has all.")


def _figure(value: float | None) -> str | None:
    return f"{value:.4f}" if isinstance(value, float) else value
