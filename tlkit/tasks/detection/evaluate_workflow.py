"""How a detector is evaluated: its threshold chosen on validation, its measures taken once on the test part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.sources import TEST, TRAINING, VALIDATION
from tlkit.tasks.detection.reporting.report import draw_figures
from tlkit.tasks.detection.settings import LEAST_SCORE, UNSET, USUAL_MOST, Detecting

if TYPE_CHECKING:
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
    """Take the measures of the test part, with intervals over groups, draw the evidence and say the result.

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

    test = split.take(TEST)
    found = _found(run, detector, test, detecting, "judging", batch)
    measures = detection_measures(
        test,
        found,
        groups=split.groups(TEST),
        seed=run.seed,
        score_threshold=threshold,
        most=detecting.most,
    )
    measures["f1"]["chosen_on"] = VALIDATION
    run.record(measures={**(run.card().get("measures") or {}), "test": measures})
    draw_figures(run, test, found, measures)
    low, high = measures["intervals"]["AP50"] or (float("nan"),) * 2
    run.say(
        f"Test: AP50 {measures['AP50'] or 0:.3f} (95 % interval {low:.3f} to {high:.3f}), AP {measures['AP'] or 0:.3f}; "
        f"n = {count(measures['n'], 'image')}, {count(measures['objects'], 'object')}."
    )
    if measures["at_100"]:
        run.say(
            f"As COCO has it, of 100 detections of a class and image, AP is {measures['at_100']['AP'] or 0:.3f}: "
            f"here {measures['counted']} count."
        )
    run.result({name: measures[name] for name in ("AP", "AP50", "AR", "n", "objects")})
    run.result({"threshold": threshold})
    return test, found


def _found(
    run: Run, detector: Any, boxes: Boxes, detecting: Detecting, text: str, batch: int
) -> list[Detections]:
    from tlkit.tasks.detection.evaluate import found_on

    with run.progress(text, len(boxes)) as step:
        return found_on(detector, boxes, detecting, batch, step)
