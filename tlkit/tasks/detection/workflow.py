"""The workflow of the recipes that find things: images with boxes, a detector, its training, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.device import set_precision
from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.boxes.augment_settings import USUAL, BoxAugmentation
from tlkit.data.images.decoding.pixel_limit import most_pixels
from tlkit.data.images.sources import PARTS, TEST, TRAINING
from tlkit.data.xray.drawing import draw_first, drawn_or_sample
from tlkit.data.xray.source_options import drawn_facts
from tlkit.engine.training.estimates import LEARNING
from tlkit.engine.training.length import estimated, planned_time, settle
from tlkit.engine.training.manifest import keep_manifest
from tlkit.engine.training.progress import Reporter
from tlkit.engine.training.settings import CHECKPOINTS
from tlkit.engine.training.underfitting import say_improving
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.detection.evaluate_workflow import choose_threshold, enough, evaluate_test, say_most
from tlkit.tasks.detection.proposals_workflow import asked_of_pixels, check_search, search_learned
from tlkit.tasks.detection.reporting.report import draw_first_batch, write_detector_report

if TYPE_CHECKING:
    import keras

    from tlkit.backbones.weights import WeightsOrigin
    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.engine.training.settings import Phase
    from tlkit.tasks.detection.settings import Detecting, DetectorFitting, OnlineComposites

PARITY_IMAGES = 8


# --- Ingredients ---


def load_data(
    run: Run,
    source: str,
    faults: str = "refuse",
    unlabelled: str = "error",
    *,
    whole: bool = False,
    masks: bool = False,
) -> BoxSplit:
    """Read images with boxes, refuse what would corrupt the result, split them and keep the manifest.

    In a dry run some bags stand for built-in ones that are not drawn yet, unless the `whole` set is asked for. With
    `masks` these are read too, and there must be some.

    Raises:
        DataFault, UsageFault: See `read_boxes`, `split_boxes` and `add_composites`; or an option does not apply to
            boxes.
    """
    from tlkit.core.run_folder import find_run
    from tlkit.data.boxes.dataset import read_boxes, require_masks
    from tlkit.data.boxes.splits import split_boxes, wanted
    from tlkit.data.boxes.synthetic import add_composites, say_composites

    options = dict(vars(run.split))
    more = [find_run(name, Path(run.options["runs"])) for name in options.pop("more")]
    if options.pop("skip_bad"):
        raise UsageFault("--skip-bad does not apply to images with boxes.", "Use --faults clip.")
    if options.pop("small_classes") != "refuse":
        raise UsageFault("--small-classes does not apply to images with boxes.", "Leave it out.")
    if options.pop("download"):
        remedy = "Leave it out; sets with boxes are prepared with tensorflow-datasets (tfds build)."
        raise UsageFault("--download does not apply to images with boxes.", remedy)
    if whole:
        draw_first(run.console, source, masks=masks)
    place = source if whole else drawn_or_sample(run, source, masks=masks)
    read = read_boxes(place, faults=faults, unlabelled=unlabelled, masks=masks)
    boxes = wanted(require_masks(read) if masks else read, options.pop("reading"))
    split, added = add_composites(split_boxes(boxes, seed=run.seed, **options), more)
    keep_manifest(run, source, split)
    parts = split.summary()
    warnings = [*split.warnings, *_doubtful_classes(split)]
    run.record(
        classes=list(boxes.class_names),
        data={
            "split_sha256": split.digest,
            "parts": parts,
            "warnings": warnings,
            "mended": [fault._asdict() for fault in boxes.mended],
            "skipped": [],
            "added": added,
            **drawn_facts(source),
        },
    )
    if run.sampled == 1:  # else what there is to say would be of the sample
        sentences = [*(f"Warning: {warning}" for warning in warnings), *say_composites(added)]
        for sentence in (_data_said(split, parts), *sentences):
            run.say(sentence)
    return split


def _data_said(split: BoxSplit, parts: dict[str, Any]) -> str:
    """How many images and boxes there are, and how they were split."""
    sizes = ", ".join(f"{part} {parts[part]['n']}" for part in PARTS)
    empty, boxes = sum(parts[part]["negative"] for part in PARTS), sum(map(len, split.images.xyxy))
    images, classes = count(len(split.images), "image"), ", ".join(split.images.class_names)
    return f"Data: {images}, {empty} of them empty, with {boxes} boxes of {classes}; {sizes}."


def _doubtful_classes(split: BoxSplit) -> list[str]:
    """What `tlkit check` says too of classes without boxes, or without any to learn from."""
    learned, every = split.take(TRAINING).counts(), split.images.counts()
    unlearned = [name for name, number in learned.items() if every[name] and not number]
    return [
        *(f"{name} has no boxes." for name, number in every.items() if not number),
        *(f"{name} has no boxes in the training part, and cannot be learned." for name in unlearned),
    ]


def look_at_training(run: Run, split: BoxSplit, size: int) -> None:
    """Say which training boxes are too small to be learned at a size, before anything is learned.

    Raises:
        DataFault: There is no box to learn from.
    """
    from tlkit.data.boxes.sizes import tiny_boxes

    training, source = split.take(TRAINING), split.images.source
    if not any(map(len, training.xyxy)):
        raise DataFault(
            f"{source} has no box in its training part.", "Give images with boxes, or another --seed."
        )
    said = tiny_boxes(training, size)
    if said and run.card().get("tiny_boxes") != said:  # a study builds many detectors
        run.record(tiny_boxes=said)
        run.say(f"Warning: {said}")


# --- Preparation ---


def build_detector(
    run: Run,
    split: BoxSplit,
    backbone: str,
    weights: str,
    size: int,
    start: str | None = None,
    precision: str = "float32",
    *,
    kind: str,
    **options: Any,
) -> keras.Model:
    """Start TensorFlow and build a detector, with what it takes from the training boxes (anchors, say).

    Args:
        run: Of the recipe.
        split: For classes and boxes.
        backbone: See `pyramids`.
        weights: What the backbone comes with.
        size: Side of the network's square input, pixels.
        start: A finished run of this recipe to take all weights and the anchors from; `weights` does not count then.
        precision: "float32", "bfloat16" or "float16"; weights, losses and boxes are float32 in all.
        kind: A key of `DETECTORS`.
        options: Of its `design`.

    Raises:
        UsageFault, ModelFault: Backbone, size or weights do not fit; other anchors are asked for than `start` has; or
            the kind takes proposals, and Selective Search is not installed.
        RunFailed: The device is absent, or float16 is wanted without a GPU.
    """
    check_search(kind)
    run.start_tensorflow()
    from tlkit.tasks.detection import build
    from tlkit.tasks.detection.table import detector_class

    set_precision(run.environment, precision, run.say)
    look_at_training(run, split, size)
    design = detector_class(kind).design(split.take(TRAINING), size, _model_of(run, start), **options)
    for sentence in design.says:
        run.say(sentence)
    names = split.images.class_names
    detector, origin = build.build_detector(
        kind, names, size, backbone, "none" if start else weights, **design.own
    )
    origin = _started(run, split, detector, start) or origin
    run.record(
        kind="detector",
        model={
            "network": detector.kind,
            "backbone": backbone,
            "weights": asdict(origin),
            "image_size": detector.size,
            "precision": detector.dtype_policy.name,
            "parameters": detector.count_params(),
            **design.facts,
        },
    )
    run.say(f"Weights: {origin.sentence}.")
    return detector


build_retinanet = partial(build_detector, kind="retinanet")  # the names that recipes of earlier runs use
build_yolov8 = partial(build_detector, kind="yolov8")


def _model_of(run: Run, start: str | None) -> dict[str, Any] | None:
    """What the card of a finished run says of its model; None without one.

    Raises:
        UsageFault: There is no such run.
    """
    from tlkit.core.run_folder import find_run, read_card

    return read_card(find_run(start, Path(run.options["runs"]))).get("model", {}) if start else None


def _started(run: Run, split: BoxSplit, detector: keras.Model, start: str | None) -> WeightsOrigin | None:
    """Take the weights of a finished run, and say which; what it learned from must not be evaluated here.

    Its batch normalisation is treated as that run treated it, so the kind of weights is that of its card.

    Raises:
        UsageFault: There is no such run, or its network differs.
        DataFault: It learned from what is evaluated here.
    """
    if start is None:
        return None
    from tlkit.backbones.weight_files import sha256_of
    from tlkit.backbones.weights import WeightsOrigin
    from tlkit.core.run_folder import find_run, read_card
    from tlkit.data.images.synthetic import check_start
    from tlkit.tasks.detection.warm_start import start_from

    folder = find_run(start, Path(run.options["runs"]))
    name = f"{folder.parent.name}/{folder.name}"
    if not (folder / "model.keras").is_file():
        raise UsageFault(f"--warm-start {name} has no model.keras.", "Name a finished run of a detector.")
    check_start(split, folder, name)
    came = start_from(detector, folder / "model.keras")
    its = read_card(folder)
    if came.fresh:
        run.say(f"New to {name}: {', '.join(came.fresh)}; all else starts from its weights.")
    source = f"of the run {name}, with its {', '.join(came.kept) or 'features, no class in common'}"
    return WeightsOrigin(its["model"]["weights"]["kind"], source, sha256_of(folder / "model.keras"))


def plan(
    run: Run,
    phases: Sequence[Phase] = (),
    detector: keras.Model | None = None,
    augmentation: BoxAugmentation | None = None,
) -> dict[str, Any]:
    """What `--dry-run` shows, with the time where the detector is given; what trains nothing has no phases."""
    card = run.card()
    parts = images_of(run, "data")
    shown = {
        "classes": card["classes"],
        "pictures": parts,
        "warnings": [*card["data"]["warnings"], *filter(None, [card.get("tiny_boxes")])],
        "model": card["model"],
        **({"tip": card["tip"]} if "tip" in card else {}),
    }
    if not phases:
        return shown
    time, size = None, card["model"]["image_size"]
    crop = run.options.get("crop", 0)
    learns = (augmentation or BoxAugmentation(crop=USUAL if crop is None else crop)).settled(size)
    learning = LEARNING * _learned_share(learns.crop, size)
    if run.dry_run and detector is not None:
        asked = asked_of_pixels(detector)
        phases, time = planned_time(asked, size, parts, phases, run.options, learning)
        if asked is not detector:
            time = f"{time} Searching for proposals, which counts as learning, is not in it."
    return {**shown, "phases": [asdict(phase) for phase in phases], "time": time}


def _learned_share(crop: int, size: int) -> float:
    """Pixels of what is learned by those of an image."""
    return (crop / size) ** 2 if crop else 1.0


def images_of(run: Run, entry: str) -> dict[str, int]:
    """Images in each part by an entry of the card; of a set that is not drawn, all that will be."""
    return {part: round(found["n"] * run.sampled) for part, found in run.card()[entry]["parts"].items()}


# --- Cooking ---


def fit(
    run: Run,
    detector: keras.Model,
    split: BoxSplit,
    phases: Sequence[Phase],
    fitting: DetectorFitting,
    augmentation: BoxAugmentation,
    tip: OnlineComposites | None = None,
    detecting: Detecting | None = None,
) -> None:
    """Train phase by phase; the best epoch by AP50 on validation is kept.

    Args:
        run: Of the recipe.
        detector: It ends with the best weights.
        split: What is learned, and what selects.
        phases: Of the training.
        fitting: How it is fitted.
        augmentation: Random changes of training images.
        tip: Threats pasted into them.
        detecting: How many detections an image are evaluated.

    Raises:
        UsageFault: No phase has an epoch.
        RunFailed: Training diverged.
    """
    from tlkit.tasks.detection.fit import MEASURE, fit_detector, measure_pace

    check_phases(phases)
    most = say_most(run, split, detecting)
    augmentation = augmentation.settled(detector.size)
    changes: dict[str, Any] = {
        "augmentation": augmentation if augmentation.active else None,
        "change": tip.change(detector.size) if tip else None,
    }
    learned, searching = search_learned(run, detector, split)
    draw_first_batch(run, detector, learned, fitting, changes)
    how: dict[str, Any] = {
        **changes,
        "seed": run.seed,
        "batch_norm": run.card()["model"]["weights"]["kind"] == "none",
        "most": most,
    }
    parts = {part: len(split.take(part)) for part in PARTS}
    measure = partial(measure_pace, detector, learned, phases, fitting, **how)
    phases, fitting = settle(run, phases, fitting, parts[TRAINING], measure, searching)
    reporter = Reporter(run, split.digest, [phase.name for phase in phases], "detector", measure=MEASURE)
    share = _learned_share(augmentation.crop, detector.size)
    results = fit_detector(
        detector,
        learned,
        list(phases),
        fitting,
        run.folder.folder(CHECKPOINTS),
        **how,
        evaluator=partial(by_precision, most=most),
        watchers=estimated(reporter.watchers(), run, phases, fitting, parts, share),
    )
    run.record(phases=[asdict(result) for result in results])
    say_improving(run, phases)


def check_phases(phases: Sequence[Phase]) -> None:
    """Refuse phases without an epoch.

    Raises:
        UsageFault: No phase has one.
    """
    if not any(phase.epochs for phase in phases):
        raise UsageFault("--epochs leaves every phase out.", "Give at least one phase an epoch.")


def by_precision(found: list, truth: Boxes, most: int = 100) -> dict[str, float]:
    """AP50 and AP of what a detector found: what the best epoch is chosen by."""
    from tlkit.tasks.detection.metrics.summary import coco_measures

    measured = coco_measures(truth, found, most)
    return {name: measured[name] or 0.0 for name in ("AP50", "AP")}


# --- Tasting ---


def evaluate(run: Run, detector: keras.Model, split: BoxSplit, detecting: Detecting) -> None:
    """Choose a threshold on validation, then evaluate the test part, once: measures, intervals and images."""
    detecting = enough(split, detecting)
    threshold = choose_threshold(run, detector, split, detecting)
    evaluate_test(run, detector, split, detecting, threshold)
    run.record(detecting=asdict(detecting))


# --- Serving ---


def export(run: Run, detector: keras.Model, split: BoxSplit, detecting: Detecting) -> None:
    """Write model.keras, the SavedModel and the report, and check that model and SavedModel agree on test files."""
    from tlkit.tasks.detection.serving.saved_model import check_detector_parity, export_detector

    folder, detecting = run.folder.path, enough(split, detecting)
    detector.save(folder / "model.keras")
    export_detector(detector, folder, detecting)
    test = split.take(TEST)
    parity = check_detector_parity(
        detector, folder, [test.file(i) for i in range(min(len(test), PARITY_IMAGES))], detecting
    )
    run.record(parity=parity, most_pixels=most_pixels())
    write_detector_report(run)
