"""What a detector's run shows of itself: images of its test part, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING

if TYPE_CHECKING:
    import keras

    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.engine.reporting.html import Table
    from tlkit.tasks.detection.detections import Detections
    from tlkit.tasks.detection.reporting.drawing import Shape
    from tlkit.tasks.detection.settings import DetectorFitting

SHOWN = 6  # test images beside their truth
OF_XRAY = {"froc": "Recall against false alarms an image: what a screener's time buys."}
CAPTIONS = {
    "found": "Test images: the objects, and beside them what is found. Hits, misses and false alarms have colours.",
    "worst": "The test images with the most faults.",
    "precision_recall": "Precision against recall, and F1 against the threshold, class by class.",
    "froc": "Recall against false alarms an image.",
    "batch": "A training batch as the network sees it.",
}


def draw_first_batch(
    run: Run,
    detector: keras.Model,
    split: BoxSplit,
    fitting: DetectorFitting,
    changes: dict[str, Any],
) -> None:
    """Draw the first training batch as the network sees it."""
    import numpy as np

    from tlkit.data.boxes.batches import images_of, training_box_batches
    from tlkit.data.boxes.splits import strata
    from tlkit.data.images.batches import Order
    from tlkit.engine.reporting.lettering import writable
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.detection.reporting.plots import labelled_batch

    training = split.take(TRAINING)
    order = Order(strata(training), max(fitting.batch, 8), run.seed, "preview")
    batches = training_box_batches(training, order, detector.size, 1, memory=0, **changes)
    x, truth = next(iter(batches))
    labels = [np.asarray(one) for one in truth["classes"]]
    figure = labelled_batch(
        images_of(x).numpy(),
        [np.asarray(one) for one in truth["boxes"]],
        labels,
        writable(split.images.class_names),
        shapes=_shapes(truth) if "masks" in truth else None,
    )
    save(figure, run.folder.folder("pictures") / "batch.png")


def _shapes(truth: dict[str, Any]) -> list[list[Shape | None]]:
    """The masks of a batch, [b] of [m], as they are drawn over its images."""
    import tensorflow as tf

    from tlkit.data.boxes.masks.moving import cut_by_regions, moved_units
    from tlkit.tasks.detection.reporting.drawing import Shape

    grids, maps = truth["masks"], truth["mask_maps"]
    windows = moved_units(maps, tf.constant([0.0, 0.0, 1.0, 1.0]))
    objects = tf.tile(tf.range(grids.shape[1])[None], [grids.shape[0], 1])
    drawn = cut_by_regions(grids, maps, windows, objects, grids.shape[-1]).numpy() >= 0.5
    return [
        [Shape(window, pixels) if pixels.any() else None for window, pixels in zip(some, own, strict=True)]
        for some, own in zip(windows.numpy(), drawn, strict=True)
    ]


def draw_figures(run: Run, test: Boxes, found: Sequence[Detections], measures: dict[str, Any]) -> None:
    """Draw what is found beside the truth, the worst images and the curves, for people and for TensorBoard."""
    from tlkit.engine.reporting.lettering import writable
    from tlkit.engine.reporting.style import save
    from tlkit.engine.reporting.tensorboard import show_images
    from tlkit.tasks.detection.reporting import plots as draw

    folder, threshold = run.folder.folder("pictures"), measures["confusion"]["score_threshold"]
    shown = draw.over_classes(test, SHOWN, run.seed)
    test = replace(test, class_names=writable(test.class_names))
    save(
        draw.beside_truth(test, {run.card()["model"]["network"]: (found, threshold)}, shown),
        folder / "found.png",
    )
    save(draw.worst_images(test, found, threshold), folder / "worst.png")
    save(draw.pr_curves(test, found), folder / "precision_recall.png")
    save(draw.froc(test, found), folder / "froc.png")
    show_images(run, "detector", len(run.folder.metrics()))


def write_detector_report(run: Run) -> None:
    """Write the card and the report of a detector."""
    from tlkit.engine.reporting.html import Table, close_run

    card = run.card()
    test = card["measures"]["test"]
    columns = ("AP", "AP50", "AP75", "AR", "AP10", "precision", "recall", "objects")
    classes = [[name, *(row[key] for key in columns)] for name, row in test["per_class"].items()]
    kinds, xray = list(test["per_class"]), is_xray(card)
    screening = [
        [
            row["rate"],
            _with_interval(row, test["intervals"]),
            row["threshold"],
            *(row["per_class"][k] for k in kinds),
        ]
        for row in test["screening"]
    ]
    matrix = test["confusion"]
    tables = [
        Table(
            "Classes of the test part",
            ("class", *columns),
            classes,
            note=_measures_said(test),
        ),
        Table(
            "Screening" if xray else "Recall at few false alarms",
            ("false alarms an image", "recall (95 %)", "threshold", *kinds),
            screening,
            note=f"Recall of all {'threats' if xray else 'objects'} and of each class at so many false alarms.",
        ),
        Table(
            f"Confusion from {matrix['score_threshold']:.2f}, IoU {matrix['iou_threshold']:g}",
            ("truth", *matrix["classes"]),
            [[name, *row] for name, row in zip(matrix["classes"], matrix["matrix"], strict=True)],
        ),
    ]
    tables += [*_masks(test), *_proposals(test)]
    there = run.folder.path / "pictures"
    captions = {**CAPTIONS, **(OF_XRAY if xray else {})}
    images = [(f"{name}.png", text) for name, text in captions.items() if (there / f"{name}.png").is_file()]
    tables += _numbered(card["classes"])
    close_run(run, f"Finding {', '.join(card['classes'])}", _lead(card), tables, images)


def _lead(card: dict[str, Any]) -> str:
    """What the run came to, in sentences."""
    test, model = card["measures"]["test"], card["model"]
    low, high = test["intervals"]["AP50"] or (None, None)
    interval = f" ({low:.3f} to {high:.3f})" if low is not None else ""
    f1, names = test["f1"], ", ".join(card["classes"])
    lead = (
        f"A {model['network']} on {model['backbone']} at {model['image_size']} pixels finds {names}: "
        f"AP50 {test['AP50'] or 0:.3f}{interval}, AP {test['AP'] or 0:.3f} on {test['n']} test images with "
        f"{test['objects']} objects, {test['negative']} of them empty. From a score of {f1['threshold'] or 0:.2f} "
        f"on, precision is {f1['precision'] or 0:.2f} and recall {f1['recall'] or 0:.2f}."
    )
    if "masks" in test:
        low, high = test["masks"]["intervals"]["AP50"] or (None, None)
        interval = f" ({low:.3f} to {high:.3f})" if low is not None else ""
        lead += f" Its masks have a mask AP50 of {test['masks']['AP50'] or 0:.3f}{interval}."
    if "proposals" in test:
        whose = "The proposals of its first stage" if test["proposals"].get("own") else "Its proposals"
        lead += f" {whose} are on {test['proposals']['recall'] or 0:.3f} of the objects; it finds hardly any others."
    if (scores := card.get("calibration") or {}).get("ece") is not None:
        lead += (
            f" Its scores are calibrated on validation: their expected calibration error there is {scores['ece']:.3f} "
            f"({scores['ece_before']:.3f} before)."
        )
    if advice := (card.get("improving") or {}).get("advice"):
        lead += f" {advice}"
    return lead


def _masks(test: dict[str, Any]) -> list[Table]:
    """AP by masks of all and of each class, of a detector that finds them."""
    from tlkit.engine.reporting.html import Table

    if "masks" not in test:
        return []
    found = test["masks"]
    note = f"COCO's measures of the {found['objects']} objects that have a mask: overlap is that of pixels."
    rows = [["all", found["AP"], found["AP50"]]]
    rows += [[name, row["AP"], row["AP50"]] for name, row in found["per_class"].items()]
    return [Table("Masks of the test part", ("class", "mask AP", "mask AP50"), rows, note=note)]


def _proposals(test: dict[str, Any]) -> list[Table]:
    """What share of the objects the proposals are on, of a detector that takes or makes them."""
    from tlkit.engine.reporting.html import Table

    if "proposals" not in test:
        return []
    found = test["proposals"]
    numbers = found["proposals"]
    note = (
        f"An image has {numbers['mean']:.0f} proposals ({numbers['least']} to {numbers['most']}); an object that none "
        f"of them is on with an IoU of {found['overlap']:g} is hardly found."
    )
    rows = [["all", found["recall"]], *found["per_class"].items()]
    return [Table("Recall of the proposals", ("class", "recall"), rows, note=note)]


def is_xray(card: dict[str, Any]) -> bool:
    """Whether a run's images are X-rays: then its report speaks of threats and of screening."""
    return str(card.get("source") or "").startswith(("xray:", "gdxray:"))


def _numbered(classes: Sequence[str]) -> list[Table]:
    """A table of the classes that images show by number, for no font of this machine has their letters."""
    from tlkit.engine.reporting.html import Table
    from tlkit.engine.reporting.lettering import writable

    rows = [[short, name] for short, name in zip(writable(classes), classes, strict=True) if short != name]
    note = "No font of this machine has the letters of these names."
    return [Table("Numbers in the images", ("number", "class"), rows, note=note)] if rows else []


def _measures_said(test: dict[str, Any]) -> str:
    """By which rules the measures of the classes are taken."""
    said = [
        f"Precision and recall are from a score of {test['f1']['threshold'] or 0:.3f} on, chosen on validation.",
        "AP is COCO's; AP10 is VOC's.",
    ]
    if test.get("at_100"):
        said.append(
            f"Of a class and image {test['counted']} detections count; of COCO's own 100 AP is "
            f"{test['at_100']['AP'] or 0:.3f} and AP50 {test['at_100']['AP50'] or 0:.3f}."
        )
    return " ".join(said)


def _with_interval(row: dict[str, Any], intervals: dict[str, Any]) -> str:
    """Recall at a rate of false alarms, with its interval where there is one."""
    recall, interval = row["recall"], intervals.get(f"recall@{row['rate']:g}")
    if recall is None:
        return "-"
    return f"{recall:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
