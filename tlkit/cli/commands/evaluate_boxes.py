"""`tlkit evaluate` with a detector's run: the measures of its training on images that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.cli.commands.predict_boxes import chosen_threshold
from tlkit.cli.execute import show
from tlkit.cli.tables import show_table
from tlkit.core.console import Console, echo
from tlkit.core.device import import_tensorflow
from tlkit.core.text import place_of
from tlkit.data.images.sources import TEST, VALIDATION
from tlkit.data.xray.drawing import draw_first
from tlkit.errors import DataFault

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.boxes.dataset import Boxes

HEAD = ("AP", "AP50", "AP75", "AR")
COLUMNS = ("objects", "AP", "AP50", "AP75", "AR", "precision", "recall")


class Evaluated(NamedTuple):
    """What is to be measured.

    Attributes:
        run: Folder of a detector's run.
        card: Its card.
        source: SOURCE of images with boxes, as typed.
        group: As for a split, or None.
        faults: What to do about boxes that cannot be, or None: as the run did with the same source, else refuse.
        unlabelled: The same for images without annotation.
        drop: Leave boxes of classes out that the run does not know.
    """

    run: Path
    card: dict[str, Any]
    source: str
    group: str | None
    faults: str | None
    unlabelled: str | None
    drop: bool


def tell_evaluation(asked: Evaluated, *, batch: int, as_json: bool) -> None:
    """Measure a detector and print it.

    Raises:
        DataFault: The source cannot be used, has unknown classes, or nothing that the run has not seen.
    """
    boxes, groups, facts = unseen_boxes(asked)
    measures = evaluate_boxes(asked, boxes, groups, batch)
    outcome = {"run": asked.run, "source": asked.source, **facts, **measures}
    if as_json:
        show(outcome, as_json=True)
    else:
        _show_text(outcome)


def unseen_boxes(asked: Evaluated) -> tuple[Boxes, tuple[str, ...], dict[str, Any]]:
    """The images that the run has not seen, with its classes; their groups; and what was left out.

    Raises:
        DataFault: See `tell_evaluation`.
    """
    from tlkit.cli.unseen import left_to_evaluate
    from tlkit.data.boxes.splits import box_groups
    from tlkit.data.images.inspection import inspect_files

    boxes = read_as_run(asked.card, asked.source, asked.faults, asked.unlabelled)
    boxes, dropped = with_classes(boxes, asked.run, asked.card.get("classes") or (), drop=asked.drop)
    inspections = inspect_files(boxes.files())
    groups = box_groups(boxes, inspections, asked.group or own_options(asked.card, asked.source).get("group"))
    kept, excluded = left_to_evaluate(asked.run, asked.source, inspections, groups)
    facts = {**excluded, "dropped": dropped, "notes": list(boxes.notes), "told": list(boxes.told)}
    return boxes.take(kept), tuple(groups[i] for i in kept), facts


def own_options(card: dict[str, Any], source: str) -> dict[str, Any]:
    """How a run read this source, where it is the run's own; otherwise nothing."""
    return (card.get("options") or {}) if source == card.get("source") else {}


def read_as_run(
    card: dict[str, Any], source: str, faults: str | None = None, unlabelled: str | None = None
) -> Boxes:
    """Images with boxes, their faults treated as asked, else as the run did with the same source, else refused."""
    from tlkit.data.boxes.dataset import read_boxes

    own = own_options(card, source)
    draw_first(Console(), source)
    return read_boxes(
        source,
        faults=faults or own.get("faults") or "refuse",
        unlabelled=unlabelled or own.get("unlabelled") or "error",
    )


def with_classes(boxes: Boxes, run: Path, classes: Sequence[str], *, drop: bool = False) -> tuple[Boxes, int]:
    """The same images with the classes of a run, matched by name; case counts only between two of the run's.

    Args:
        boxes: The images.
        run: Its folder, for the message.
        classes: [k] the run's names; those that the images lack stay without objects.
        drop: Leave boxes of other classes out.

    Returns:
        The images, and how many boxes were left out.

    Raises:
        DataFault: There are boxes of other classes, and they are not to be dropped.
    """
    import numpy as np

    order = np.array([place_of(name, classes) for name in boxes.class_names], np.int32)
    known, counts = order >= 0, boxes.counts()
    for name, place in zip(boxes.class_names, order, strict=True):
        if counts[name] and place < 0 and not drop:
            raise DataFault(
                f"Class {name} of {boxes.source} is unknown to {run}.",
                f"{_near(name, classes)}It knows {', '.join(classes)}; --unknown drop leaves other boxes out.",
            )
    kept = [known[labels] for labels in boxes.labels]

    def chosen(values: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(value[mask] for value, mask in zip(values, kept, strict=True))

    renamed = [
        f"{name} is taken for the run's {classes[place]}."
        for name, place in zip(boxes.class_names, order, strict=True)
        if counts[name] and place >= 0 and name != classes[place]
    ]
    named = replace(
        boxes,
        notes=(*boxes.notes, *renamed),
        class_names=tuple(classes),
        xyxy=chosen(boxes.xyxy),
        labels=tuple(order[labels[mask]] for labels, mask in zip(boxes.labels, kept, strict=True)),
        difficult=chosen(boxes.difficult),
        crowd=chosen(boxes.crowd),
        box_columns={
            name: tuple(tuple(np.array(row, object)[mask]) for row, mask in zip(rows, kept, strict=True))
            for name, rows in boxes.box_columns.items()
        },
    )
    return named, sum(map(len, boxes.xyxy)) - sum(map(len, named.xyxy))


def _near(name: str, classes: Sequence[str]) -> str:
    near = get_close_matches(name, classes, 1)
    return f"Did you mean {near[0]}? " if near else ""


def evaluate_boxes(asked: Evaluated, boxes: Boxes, groups: tuple[str, ...], batch: int) -> dict[str, Any]:
    """The measures of the run's Keras model on images, by the evaluator of its training."""
    import_tensorflow()
    from tlkit.tasks.detection.build import load_detector
    from tlkit.tasks.detection.evaluate import found_on
    from tlkit.tasks.detection.metrics.summary import detection_measures
    from tlkit.tasks.detection.settings import Detecting

    detector = load_detector(asked.run / "model.keras")
    detecting = Detecting(**(asked.card.get("detecting") or {}))
    with Console().progress("evaluating", len(boxes)) as step:
        found = found_on(detector, boxes, detecting, batch, step)
    chosen = chosen_threshold(asked.card)
    seed = asked.card.get("seed") or 0
    measures = detection_measures(
        boxes, found, groups=groups, seed=seed, score_threshold=chosen, most=detecting.most
    )
    measures["f1"]["chosen_on"] = TEST if chosen is None else VALIDATION
    return measures


def _show_text(outcome: dict[str, Any]) -> None:
    from tlkit.cli.unseen import learned_groups

    echo(f"run: {outcome['run']}\nsource: {outcome['source']}")
    echo(
        f"n: {outcome['n']} in {outcome['groups']} groups ({outcome['excluded']} excluded{learned_groups(outcome)})"
    )
    echo(f"objects: {outcome['objects']} ({outcome['negative']} images without)")
    if outcome["dropped"]:
        echo(f"dropped: {outcome['dropped']} (boxes of classes that the run does not know)")
    for sentence in outcome["told"]:
        Console().say(sentence)
    for name in HEAD:
        _show_measure(name, outcome[name], outcome["intervals"].get(name))
    if outcome["at_100"]:
        _show_measure("AP of COCO's 100 detections", outcome["at_100"]["AP"], None)
        echo(f"AP, AP50, AP75 and AR count {outcome['counted']} detections of a class and image")
    for row in outcome["screening"]:
        name = f"recall@{row['rate']:g}"
        _show_measure(f"{name} false alarms an image", row["recall"], outcome["intervals"].get(name))
    echo(_threshold_said(outcome["f1"]))
    echo()
    rows = [[name, *(_figure(row[key]) for key in COLUMNS)] for name, row in outcome["per_class"].items()]
    show_table(["class", *COLUMNS], rows)


def _threshold_said(f1: dict[str, Any]) -> str:
    if f1["threshold"] is None:
        return "precision and recall: none, for nothing was found or there is nothing to find"
    where = "the run's validation part" if f1["chosen_on"] == VALIDATION else "these images, which flatters"
    return f"precision and recall from a score of {f1['threshold']:.4f}, where F1 of all classes was best on {where}"


def _show_measure(name: str, value: float | None, interval: list[float] | None) -> None:
    if value is not None:
        between = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
        echo(f"{name}: {value:.4f}{between}")


def _figure(value: float | None) -> str | float | None:
    return f"{value:.4f}" if isinstance(value, float) else value
