"""What the numbers mean, in sentences: what a careful colleague would say on reading them.

Each sentence is a rule of its own: it looks at the measures and speaks or stays silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tlkit.data.checks.predictions import MANY
from tlkit.engine.reporting.html import percent

WIDE, FAIR = 0.10, 0.04  # widths of a 95 % interval of accuracy
FEW_GROUPS = 10  # below, resampled intervals are too narrow themselves
FEW_IMAGES = 10  # of one class
WORST = 20  # classes in a table of more than 100
Measures = Mapping[str, Any]


class Remark(NamedTuple):
    """One sentence about a result.

    Attributes:
        sentence: For people.
        tone: "good", "plain" or "caution".
    """

    sentence: str
    tone: str = "plain"


def interpretation(measures: Mapping[str, Measures]) -> list[Remark]:
    """Say what the measures of a run mean.

    Args:
        measures: From the name of the part ("training", "validation", "test") to what
            `classification_measures` gave for it. The test part is evaluated, else validation, else training.

    Returns:
        Remarks, the most important first; none where nothing was measured.
    """
    part = next((name for name in ("test", "validation", "training") if measures.get(name)), None)
    if part is None or "accuracy" not in measures[part]:
        return []
    evaluated = measures[part]
    remarks = [_part(part), _accuracy(evaluated)]
    remarks += [rule(evaluated) for rule in _RULES]
    if part == "test" and measures.get("training"):
        remarks.append(_memory(measures["training"], evaluated))
    return [remark for remark in remarks if remark]


def _part(part: str) -> Remark | None:
    if part == "test":
        return None
    chosen = (
        "the model was chosen on these images" if part == "validation" else "the model has seen these images"
    )
    return Remark(f"There is no test part: {chosen}, so the numbers flatter it.", "caution")


def _accuracy(evaluated: Measures) -> Remark:
    groups = (
        ""
        if evaluated.get("groups", evaluated["n"]) == evaluated["n"]
        else f" from {evaluated['groups']:,} groups"
    )
    sentence = f"On {evaluated['n']:,} images{groups} the model is right {percent(evaluated['accuracy'])} of the time"
    interval = _interval(evaluated, "accuracy")
    if not interval:
        return Remark(sentence + ".")
    low, high = (percent(bound) for bound in interval)
    return Remark(f"{sentence} (95 % interval: {low} to {high}).")


def _width(evaluated: Measures) -> Remark | None:
    interval = _interval(evaluated, "accuracy")
    if not interval:
        return None
    width = interval[1] - interval[0]
    points = f"{100 * width:.0f} points"
    if evaluated.get("groups", evaluated["n"]) < FEW_GROUPS:
        return Remark(
            f"Only {evaluated['groups']} groups were tested: even this interval is too hopeful.", "caution"
        )
    if width > WIDE:
        return Remark(
            f"The interval is wide ({points}): two models closer than that cannot be told apart here. "
            "More groups, not more images of the same ones, make it narrower.",
            "caution",
        )
    if width <= FAIR:
        return Remark(f"The interval is narrow ({100 * width:.1f} points).", "good")
    return None


def _perfect(evaluated: Measures) -> Remark | None:
    interval = _interval(evaluated, "accuracy")
    if evaluated["accuracy"] < 1 or not interval:
        return None
    return Remark(
        f"No mistake was seen, which is not the same as none to come: up to {percent(1 - interval[0])} "
        "of new images could still be named wrongly.",
        "caution",
    )


def _baseline(evaluated: Measures) -> Remark | None:
    supports = {name: row["support"] for name, row in evaluated.get("per_class", {}).items()}
    interval = _interval(evaluated, "accuracy")
    if not supports or not interval:
        return None
    name = max(supports, key=lambda key: supports[key])
    share = supports[name] / evaluated["n"]
    if share == 1:
        return Remark(f"All images are of the class “{name}”: accuracy says little here.", "caution")
    if interval[0] <= share:
        return Remark(
            f"Always answering “{name}” would be right {percent(share)} of the time: "
            "the model is not shown to be better than that.",
            "caution",
        )
    return Remark(f"Always answering “{name}” would be right {percent(share)} of the time.")


def _weakest(evaluated: Measures) -> Remark | None:
    recalls = {
        name: (row["recall"], row["support"])
        for name, row in evaluated.get("per_class", {}).items()
        if row.get("recall") is not None
    }
    if len(recalls) < 2:
        return None
    name, (recall, support) = min(recalls.items(), key=lambda item: item[1])
    if recall == 1:
        return None
    tone = "caution" if recall < 0.8 else "plain"
    return Remark(f"It most often misses “{name}”: it finds {percent(recall)} of the {support:,}.", tone)


def _rare(evaluated: Measures) -> Remark | None:
    rare = [name for name, row in evaluated.get("per_class", {}).items() if 0 < row["support"] < FEW_IMAGES]
    absent = [name for name, row in evaluated.get("per_class", {}).items() if not row["support"]]
    said = []
    if rare:
        said.append(f"Fewer than {FEW_IMAGES} images of {_names(rare)}: their numbers say little.")
    if absent:
        said.append(f"No image of {_names(absent)}: nothing is known about them.")
    return Remark(" ".join(said), "caution") if said else None


def _calibration(evaluated: Measures) -> Remark | None:
    error = evaluated.get("ece")
    if error is None:
        return None
    if error > 0.05:
        return Remark(
            f"Its probabilities are off by {100 * error:.0f} points on average: rank by them, "
            "do not take them at their word.",
            "caution",
        )
    return Remark(f"Its probabilities are off by {100 * error:.1f} points on average.")


def _memory(training: Measures, evaluated: Measures) -> Remark | None:
    interval = _interval(evaluated, "accuracy")
    if not interval or training["accuracy"] - interval[1] < 0.02:
        return None
    return Remark(
        f"It names {percent(training['accuracy'])} of its training images rightly, clearly more than new "
        "ones: more images, augmentation or fewer trained layers may help.",
        "caution",
    )


_RULES: tuple[Callable[[Measures], Remark | None], ...] = (
    _width,
    _perfect,
    _baseline,
    _weakest,
    _rare,
    _calibration,
)


def _interval(evaluated: Measures, name: str) -> list[float] | None:
    return (evaluated.get("intervals") or {}).get(name)


def _names(names: list[str]) -> str:
    listed = ", ".join(f"“{name}”" for name in names[:5])
    return listed if len(names) <= 5 else f"{listed} and {len(names) - 5} more classes"


def worst_classes(per_class: Mapping[str, Measures]) -> tuple[dict[str, Measures], str]:
    """The rows of a table of classes: of more than 100 classes, the 20 that are found least.

    Args:
        per_class: From each class to its `recall`, `precision` and `support`.

    Returns:
        Rows, and a sentence on what is not shown; empty where all is.
    """
    if len(per_class) <= MANY:
        return dict(per_class), ""
    known = {name: row for name, row in per_class.items() if row.get("recall") is not None}
    worst = sorted(
        known.items(), key=lambda item: (item[1]["recall"], item[1]["precision"], -item[1]["support"])
    )
    return dict(
        worst[:WORST]
    ), f"The {min(WORST, len(worst))} of {len(per_class):,} classes that are found least."
