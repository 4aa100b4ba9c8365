"""How a detector is evaluated: its threshold chosen on validation, its measures taken once on test; or later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.console import Console
from tlkit.core.device import import_tensorflow
from tlkit.core.run import Run
from tlkit.core.text import count, did_you_mean, place_of
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.data.xray.drawing import draw_first
from tlkit.data.xray.source_options import same_source
from tlkit.errors import DataFault
from tlkit.tasks.detection.predict_workflow import chosen_threshold
from tlkit.tasks.detection.proposals_workflow import recall_said, search
from tlkit.tasks.detection.reporting.report import draw_figures
from tlkit.tasks.detection.settings import LEAST_SCORE, UNSET, USUAL_MOST, Detecting

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.tasks.detection.detections import Detections


def enough(split: BoxSplit, detecting: Detecting) -> Detecting:
    """The same, with as many detections an image as a training image has objects where --max-detections is not given."""
    return detecting.for_objects(max(_objects(split), default=0))


def _objects(split: BoxSplit) -> list[int]:
    """How many objects count on each training image."""
    return [int((~ignored).sum()) for ignored in split.take(TRAINING).ignored]


def say_most(run: Run, split: BoxSplit, detecting: Detecting | None = None) -> int:
    """How many detections an image are evaluated, said where that is not the usual number or is too small."""
    wanted = detecting or Detecting(most=UNSET)
    objects = _objects(split)
    largest, most = max(objects, default=0), enough(split, wanted).most
    if largest > most:
        where = split.take(TRAINING).paths[objects.index(largest)]
        run.say(
            f"Warning: --max-detections {most} is less than the {largest} objects of {where}; not all can be found."
        )
    elif wanted.most == UNSET and most > USUAL_MOST:
        where = split.take(TRAINING).paths[objects.index(largest)]
        run.say(
            f"Detections an image: {most}, as many as {where} has objects; --max-detections takes another number."
        )
    return most


def choose_threshold(run: Run, detector: Any, split: BoxSplit, detecting: Detecting, batch: int = 8) -> float:
    """The score from which F1 of all classes is best on validation; test is not looked at."""
    from tlkit.tasks.detection.metrics.curves import best_f1, curve
    from tlkit.tasks.detection.metrics.matching import ranked

    validation = split.take(VALIDATION)
    found = _found(run, detector, validation, detecting, "choosing the threshold", batch)
    best = best_f1(curve(ranked(validation, found)))
    run.record(measures={"validation": {"n": len(validation), "f1": best}})
    threshold = LEAST_SCORE if best["threshold"] is None else float(best["threshold"])
    run.say(
        f"Threshold: {threshold:.3f}, where F1 is best ({best['f1'] or 0:.3f}) on "
        f"{count(len(validation), 'validation image')}."
    )
    return threshold


def evaluate_test(
    run: Run, detector: Any, split: BoxSplit, detecting: Detecting, threshold: float, batch: int = 8
) -> tuple[Boxes, list[Detections]]:
    """Take the measures of the test part, with intervals over groups, draw the figures and say the result.

    Args:
        run: Of the recipe.
        detector: See `predict.Finder`.
        split: Whose test part.
        detecting: How duplicates are dropped.
        threshold: From which precision, recall, F1 and the confusion matrix are taken.
        batch: Images a step.

    Returns:
        The test images, and all that was found on them.
    """
    from tlkit.tasks.detection.metrics.summary import detection_measures

    test = search(run, detector, split.take(TEST))
    found = _found(run, detector, test, detecting, "judging", batch)
    measures = detection_measures(
        test,
        found,
        groups=split.groups_in(TEST),
        seed=run.seed,
        score_threshold=threshold,
        most=detecting.most,
    )
    measures["f1"]["chosen_on"] = VALIDATION
    measures |= _recalled(detector, test, batch)
    run.record(measures={**(run.card().get("measures") or {}), "test": measures})
    draw_figures(run, test, found, measures)
    low, high = measures["intervals"]["AP50"] or (float("nan"),) * 2
    run.say(
        f"Test: AP50 {measures['AP50'] or 0:.3f} (95 % interval {low:.3f} to {high:.3f}), AP {measures['AP'] or 0:.3f}; "
        f"n = {count(measures['n'], 'image')}, {count(measures['objects'], 'object')}."
    )
    if "masks" in measures:
        masks = measures["masks"]
        low, high = masks["intervals"]["AP50"] or (float("nan"),) * 2
        run.say(
            f"Masks: AP50 {masks['AP50'] or 0:.3f} (95 % interval {low:.3f} to {high:.3f}), AP {masks['AP'] or 0:.3f}; "
            f"n = {count(masks['objects'], 'object')} with a mask."
        )
        run.result({"mask_AP50": masks["AP50"], "mask_AP": masks["AP"]})
    if "proposals" in measures:
        run.say(f"Proposals: {recall_said(measures['proposals'])} What none of them is on is hardly found.")
    if measures["at_100"]:
        run.say(
            f"As COCO has it, of 100 detections of a class and image, AP is {measures['at_100']['AP'] or 0:.3f}: "
            f"here {measures['counted']} count."
        )
    run.result({name: measures[name] for name in ("AP", "AP50", "AR", "n", "objects")})
    run.result({"threshold": threshold})
    return test, found


def _recalled(detector: Any, boxes: Boxes, batch: int) -> dict[str, Any]:
    """The recall of proposals as a measure: of the images', or of the detector's own; nothing where there are none."""
    from tlkit.tasks.detection.metrics.proposal_recall import proposal_recall
    from tlkit.tasks.detection.predict import Finder

    if boxes.proposals is not None:
        return {"proposals": proposal_recall(boxes)}
    if not getattr(detector, "proposes", False):
        return {}
    own = replace(boxes, proposals=tuple(Finder(detector).proposed(boxes, batch)))
    return {"proposals": {**proposal_recall(own), "own": True}}


def _found(
    run: Run | Console, detector: Any, boxes: Boxes, detecting: Detecting, text: str, batch: int
) -> list[Detections]:
    from tlkit.tasks.detection.evaluate import found_on

    boxes = search(run, detector, boxes)
    with run.progress(text, len(boxes)) as step:
        return found_on(detector, boxes, detecting, batch, step)


# --- a finished run on other images ---


def own_options(card: dict[str, Any], source: str) -> dict[str, Any]:
    """How a run read this source, where it is the run's own; otherwise nothing."""
    return (card.get("options") or {}) if same_source(source, card.get("source")) else {}


def read_as_run(
    card: dict[str, Any], source: str, faults: str | None = None, unlabelled: str | None = None
) -> Boxes:
    """Images with boxes, their faults treated as asked, else as the run did with the same source, else refused."""
    from tlkit.data.boxes.dataset import read_boxes

    own, masks = own_options(card, source), bool((card.get("model") or {}).get("masks"))
    draw_first(Console(), source, masks=masks)
    return read_boxes(
        source,
        faults=faults or own.get("faults") or "refuse",
        unlabelled=unlabelled or own.get("unlabelled") or "error",
        masks=masks,
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
            remedy = f"It knows {', '.join(classes)}; --unknown drop leaves other boxes out."
            raise DataFault(
                f"Class {name} of {boxes.source} is unknown to {run}.",
                f"{did_you_mean(name, classes)} {remedy}".lstrip(),
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
        masks=None
        if boxes.masks is None
        else tuple(
            tuple(mask for mask, own in zip(row, some, strict=True) if own)
            for row, some in zip(boxes.masks, kept, strict=True)
        ),
        box_columns={
            name: tuple(tuple(np.array(row, object)[mask]) for row, mask in zip(rows, kept, strict=True))
            for name, rows in boxes.box_columns.items()
        },
    )
    return named, sum(map(len, boxes.xyxy)) - sum(map(len, named.xyxy))


def measure_run(
    path: Path, card: dict[str, Any], boxes: Boxes, groups: tuple[str, ...], batch: int
) -> dict[str, Any]:
    """The measures of a run's Keras model on images, by the evaluator of its training.

    Args:
        path: Folder of a detector's run.
        card: Its card.
        boxes: The images, with the run's classes.
        groups: What each image belongs to.
        batch: Images a step.
    """
    import_tensorflow()
    from tlkit.tasks.detection.build import load_detector
    from tlkit.tasks.detection.metrics.summary import detection_measures

    detector = load_detector(path / "model.keras")
    detecting = Detecting(**(card.get("detecting") or {}))
    boxes = search(Console(), detector, boxes)
    found = _found(Console(), detector, boxes, detecting, "evaluating", batch)
    chosen = chosen_threshold(card)
    seed = card.get("seed") or 0
    measures = detection_measures(
        boxes, found, groups=groups, seed=seed, score_threshold=chosen, most=detecting.most
    )
    measures["f1"]["chosen_on"] = TEST if chosen is None else VALIDATION
    return measures | _recalled(detector, boxes, batch)
