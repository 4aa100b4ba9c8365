"""The workflow of a training recipe: what each tells the person, writes into the run folder and puts on the card.

A recipe names them in order and shows its own knobs; everything that two recipes would both do is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.device import set_precision
from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.data.images.decoding.pixel_limit import most_pixels
from tlkit.data.images.sources import PARTS
from tlkit.data.images.synthetic import say_added
from tlkit.engine.training.estimates import training_time
from tlkit.engine.training.manifest import keep_manifest
from tlkit.engine.training.progress import Reporter
from tlkit.engine.training.settings import CHECKPOINTS
from tlkit.engine.training.underfitting import say_improving
from tlkit.errors import UsageFault
from tlkit.tasks.classification.batch_auto import halved_if_need_be
from tlkit.tasks.classification.refit_workflow import FirstFit, Plan, refit_both

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.data.images.augment import Augmentation
    from tlkit.data.images.splits import Split
    from tlkit.engine.training.settings import Fitting, Phase
    from tlkit.tasks.classification.classifier import Head
    from tlkit.tasks.classification.fit import PhaseResult

PARITY_IMAGES = 16


# --- Ingredients ---


def load_data(run: Run, source: str, least: int = 2) -> Split:
    """Read the source, refuse what would corrupt the result, split the images and keep the manifest.

    Args:
        run: Of the recipe.
        source: As for `read_images`.
        least: As for `read_images`.

    Raises:
        DataFault, UsageFault: See `load_split`; or a resumed run finds other data than it began with.
    """
    from tlkit.core.run_folder import find_run
    from tlkit.data.images.load import load_split

    how = vars(run.split) | {"more": [find_run(name, Path(run.options["runs"])) for name in run.split.more]}
    load = load_split(source, seed=run.seed, least=least, **how)
    split = load.split
    keep_manifest(run, source, split)
    parts = split.summary()
    run.record(
        classes=list(split.images.class_names),
        data={
            "split_sha256": split.digest,
            "parts": parts,
            "warnings": list(split.warnings),
            "skipped": list(load.skipped),
            "added": load.added,
            **({"small_classes": split.small_classes} if split.small_classes else {}),
        },
    )
    _say_data(run, split, parts, load.skipped)
    for sentence in say_added(load.added):
        run.say(sentence)
    return split


def _say_data(run: Run, split: Split, parts: dict[str, Any], skipped: Sequence[dict[str, str]]) -> None:
    sizes = ", ".join(f"{part} {parts[part]['n']}" for part in PARTS)
    run.say(
        f"Data: {count(len(split.images), 'image')} of {len(split.images.class_names)} classes in "
        f"{count(len(set(split.groups)), 'group')}; {sizes}."
    )
    for warning in split.warnings:
        run.say(f"Warning: {warning}")
    for file in skipped:
        run.say(f"Left out: {file['path']} {file['reason']}.")


# --- Preparation ---


def build_classifier(
    run: Run,
    split: Split,
    backbone: str,
    weights: str,
    image_size: int | None,
    head: Head,
    precision: str = "float32",
) -> keras.Model:
    """Start TensorFlow and build backbone and head for the split's classes.

    Raises:
        UsageFault, ModelFault: The backbone, its size or its weights do not fit.
        RunFailed: The device is absent, or float16 is wanted without a GPU.
    """
    from tlkit.backbones.table import find_backbone

    size = image_size or find_backbone(backbone).native_size
    find_backbone(backbone, size)
    run.start_tensorflow()
    from tlkit.tasks.classification import classifier

    set_precision(run.environment, precision, run.say)
    model, origin = classifier.build_classifier(
        backbone, split.images.class_names, size, weights=weights, head=head
    )
    _record_model(run, model, backbone, asdict(origin), size)
    run.say(f"Weights: {origin.sentence}.")
    return model


def build_small_cnn(run: Run, split: Split, image_size: int) -> keras.Model:
    """Start TensorFlow and build the course's first network for the split's classes.

    Raises:
        UsageFault: The image size is too small.
    """
    run.start_tensorflow()
    from tlkit.tasks.classification import small_cnn

    model = small_cnn.build_small_cnn(split.images.class_names, image_size)
    _record_model(
        run, model, None, {"kind": "none", "source": "random, from the seed", "sha256": None}, image_size
    )
    return model


def _record_model(
    run: Run, model: keras.Model, backbone: str | None, weights: dict[str, Any], size: int
) -> None:
    run.record(
        model={
            "backbone": backbone,
            "weights": weights,
            "image_size": size,
            "parameters": model.count_params(),
            "temperature": 1.0,
        }
    )


def plan(
    run: Run,
    split: Split,
    phases: Sequence[Phase],
    model: keras.Model | None = None,
    views: int = 1,
    *,
    refit: bool = False,
) -> dict[str, Any]:
    """What `--dry-run` shows: data, model, phases, and the time that they will take.

    Args:
        run: Of the recipe.
        split: What is learned from.
        phases: Of the training.
        model: What learns; without it there is no time.
        views: As for `fit`.
        refit: As for `fit`.
    """
    card = run.card()
    parts = {part: summary["n"] for part, summary in card["data"]["parts"].items()}
    time = None
    if run.dry_run and model is not None:
        time = training_time(model, card["model"]["image_size"], parts, phases, views=views, cached_head=True)
        time += " The refit comes on top, at most as much again and a third." if refit else ""
    return {
        "classes": list(split.images.class_names),
        "images": parts,
        "model": card["model"],
        "phases": [asdict(phase) for phase in phases],
        "time": time,
        "warnings": card["data"]["warnings"],
    }


# --- Cooking ---


def fit(
    run: Run,
    model: keras.Model,
    split: Split,
    phases: Sequence[Phase],
    fitting: Fitting,
    augmentation: Augmentation | None = None,
    *,
    views: int = 1,
    refit: bool = False,
) -> FirstFit | None:
    """Train phase by phase with the table on the screen, metrics.jsonl and TensorBoard beside it.

    The model ends with the best weights; those of the last epoch are kept as `last.keras`.

    With `refit` it then learns once more, on training and validation together, and what `evaluate` needs of the first
    fit is returned.

    Raises:
        UsageFault: No phase has an epoch.
        RunFailed: Training diverged.
    """
    from tlkit.data.images.augment import Augmentation
    from tlkit.tasks.classification.phases import Learning, fit_phases

    wanted = [phase for phase in phases if phase.epochs]
    if not wanted:
        raise UsageFault("--epochs leaves every phase out.", "Give at least one phase an epoch.")
    network = run.card()["model"]
    begun = model.get_weights() if refit else []
    names = [f"{prefix}{phase.name}" for prefix in ("", "refit-") for phase in wanted]
    reporter = Reporter(run, split.digest, names, "validation", split.images.class_names)
    reporter.tensorboard.add_graph(model)
    learning = Learning(
        split,
        fitting,
        backbone=network["backbone"],
        seed=run.seed,
        augmentation=augmentation or Augmentation(),
        views=views,
        batch_norm=network["weights"]["kind"] == "none",
        progress=run.progress,
    )
    used = [learning]

    def execute(how: Fitting) -> list[PhaseResult]:
        used.append(replace(learning, fitting=how))
        _draw_first_batch(run, split, wanted[-1], how, augmentation, model.input_shape[1])
        place = run.folder.folder(CHECKPOINTS)
        return fit_phases(model, used[-1], wanted, place, reporter.watchers())

    results = halved_if_need_be(run, model, fitting, CHECKPOINTS, execute)
    run.record(phases=[asdict(result) for result in results])
    say_improving(run, phases)
    _save_last(run, model, wanted[-1])
    if not refit:
        return None
    again = Plan(begun, wanted, results, used[-1])
    return refit_both(run, model, again, CHECKPOINTS, reporter.watchers())


def _save_last(run: Run, model: keras.Model, phase: Phase) -> None:
    """Keep the weights of the very last epoch as `last.keras`; the model goes on with the best."""
    from tlkit.tasks.classification.phases import restore_last

    best = model.get_weights()
    restore_last(model, run.folder.path / CHECKPOINTS, phase)
    model.save(run.folder.path / "last.keras")
    model.set_weights(best)


def _draw_first_batch(
    run: Run, split: Split, phase: Phase, fitting: Fitting, augmentation: Augmentation | None, size: int
) -> None:
    """Draw the first training batch of the last phase, as the network will see it."""
    from tlkit.data.images.batches import Order, training_batches
    from tlkit.tasks.classification.reporting.figures import draw_batch

    training = split.take("training")
    order = Order(training.labels, fitting.batch, run.seed, phase.name)
    images, labels = next(
        iter(training_batches(training, order, size, 1, augmentation=augmentation, memory=0))
    )
    draw_batch(run.folder.folder("pictures"), images, labels, split.images.class_names)


# --- Tasting ---


def evaluate(
    run: Run,
    model: keras.Model,
    split: Split,
    negative: str | None = "other",
    raw: np.ndarray | None = None,
    first: FirstFit | None = None,
) -> None:
    """Calibrate on validation, evaluate all parts, write predictions.csv and the images.

    Args:
        run: Of the recipe.
        model: With temperature 1.
        split: Its test part is evaluated here, once.
        negative: The class that eta leaves out.
        raw: The model's probabilities float32 [n, k] of all images, where they are known already.
        first: Of a model that was refitted: its temperature, and what was said of validation.
    """
    from tlkit.data.checks.predictions import write_predictions
    from tlkit.engine.reporting.tensorboard import show_images
    from tlkit.tasks.classification import evaluate as evaluation
    from tlkit.tasks.classification.reporting import figures

    if raw is None:
        raw = _probabilities(run, model, split)
    if first:
        temperature, probabilities = evaluation.calibrate_as(model, split, raw, *first)
    else:
        temperature, probabilities = evaluation.calibrate(model, split, raw)
    measures = evaluation.measure_parts(split, probabilities, negative=negative, seed=run.seed)
    if first:  # of probabilities of the refitted model nothing is claimed
        measures = {
            part: {**of, "ece": of["ece"] if part == "validation" else None} for part, of in measures.items()
        }
    write_predictions(run.folder.path / "predictions.csv", split, probabilities, safe=run.csv_safe)
    run.record(
        model={**run.card()["model"], "temperature": temperature},
        measures=measures,
        calibration=None if first else evaluation.calibration_errors(split, raw, probabilities, temperature),
    )
    figures.draw_figures(
        run.folder.folder("pictures"),
        model,
        split,
        None if first else raw,
        probabilities,
        temperature,
        run.folder.metrics(),
        measures,
    )
    show_images(run, "validation", len(run.folder.metrics()))
    test = measures["test"]
    low, high = test["intervals"]["accuracy"]
    run.say(
        f"Test: accuracy {test['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}), eta {test['eta']:.4f}, "
        f"n = {test['n']} in {count(test['groups'], 'group')}."
    )
    run.result(
        {"accuracy": test["accuracy"], "accuracy_interval": [low, high], "eta": test["eta"], "n": test["n"]}
    )


def _probabilities(run: Run, model: keras.Model, split: Split) -> np.ndarray:
    """Probabilities of all images; where the backbone stayed as it was, from its cached features."""
    from tlkit.backbones.feature_model import feature_model
    from tlkit.tasks.classification import evaluate as evaluation
    from tlkit.tasks.features.extract import Extractor

    files = split.images.files()
    with run.progress("judging", len(files)) as step:
        phases = run.card().get("phases", [])
        if run.card()["model"]["backbone"] and [phase["name"] for phase in phases] == ["head"]:
            extract = Extractor(feature_model(model), say=run.say)
            return evaluation.predict_features(model, extract(files, split.sha256, step))
        return evaluation.predict_files(model, files, progress=step)


# --- Serving ---


def export(run: Run, model: keras.Model, split: Split) -> None:
    """Write model.keras, the SavedModel and the report, and check that model and SavedModel agree on test files."""
    from tlkit.engine.reporting.html import write_card
    from tlkit.tasks.classification.reporting.report import write_report
    from tlkit.tasks.classification.serving.saved_model import check_parity, export_saved_model

    folder = run.folder.path
    model.save(folder / "model.keras")
    export_saved_model(model, folder)
    chosen = split.indices("test")[:PARITY_IMAGES]
    parity = check_parity(model, folder, [split.images.file(i) for i in chosen])
    if parity["largest_difference"] > parity["tolerance"]:
        run.say(
            f"Warning: SavedModel and Keras model differ by {parity['largest_difference']:.1g} in probability, more "
            f"than {parity['tolerance']:.0e}: on a GPU this is its rounding, on a CPU report it."
        )
    forms = parity["checked"][len(chosen) :]
    run.record(
        parity={**parity, "checked": [count(len(chosen), "test image"), *forms]}, most_pixels=most_pixels()
    )
    write_card(run)
    write_report(folder)
