"""Evaluation and export of a GAN: metrics of its fakes, what the generator can do, and its SavedModel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run, check_room
from tlkit.core.text import count
from tlkit.data.images.sources import TEST, TRAINING
from tlkit.tasks.synthesis.train_workflow import Evaluator
from tlkit.tasks.synthesis.workflow import SHOWN, Subject

if TYPE_CHECKING:
    import numpy as np

    from tlkit.tasks.synthesis.gan import Gan

MIXED = 5  # rows and columns of the style-mixing grid
WALKS, FRAMES = 4, 12  # of the interpolation, frames each
PROJECTED, SOUGHT = 3, 200  # real images sought in the latent space, steps of each search
TRUNCATIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


# --- Tasting ---


def evaluate(
    run: Run, gan: Gan, subject: Subject, evaluator: Evaluator, number: int, truncation: float = 1.0
) -> np.ndarray:
    """Write `number` fakes of each class, measure them against training and test, and draw both.

    Returns:
        The fakes float32 [number * k, s, s, c] in 0..1, class by class.

    Raises:
        RunFailed: The disk has no room for them.
    """
    import numpy as np

    from tlkit.tasks.synthesis.latents import random_latents, sample
    from tlkit.tasks.synthesis.metrics.summary import measure_synthesis

    fakes = []
    for label in range(len(subject.class_names)):
        latents = random_latents(gan, number, run.seed + 1 + label)
        labels = np.full(number, label, np.int32) if len(subject.class_names) > 1 else None
        fakes.append(sample(gan, latents, truncation=truncation, labels=labels))
    write_fakes(run, fakes, subject.class_names, subject.bits)
    everything = np.concatenate(fakes)
    found = evaluator(everything)
    measures = measure_synthesis(
        evaluator.real(TRAINING),
        evaluator.real(TEST),
        found,
        extractor=evaluator.featurizer.name,
        seed=run.seed,
    )
    run.record(measures=measures, synthetic=dict.fromkeys(subject.class_names, number))
    _draw_figures(run, subject, evaluator, everything, found)
    _say_measures(run, measures)
    return everything


def write_fakes(run: Run, fakes: Sequence[np.ndarray], class_names: Sequence[str], bits: int) -> None:
    """Write `synthetic/CLASS/00001.png` and so on; `fakes` has one array [n, s, s, c] for each class.

    Raises:
        RunFailed: The disk has no room for them.
    """
    from tlkit.data.images.decoding.depth import write_image
    from tlkit.data.images.synthetic import SYNTHETIC

    needed = sum(array.size for array in fakes) * (2 if bits == 16 else 1)
    check_room(run, sum(map(len, fakes)), needed)
    for name, images in zip(class_names, fakes, strict=True):
        folder = run.folder.folder(f"{SYNTHETIC}/{name}")
        for number, image in enumerate(images, 1):
            write_image(folder / f"{number:05}.png", image, bits)


def _draw_figures(
    run: Run, subject: Subject, evaluator: Evaluator, fakes: np.ndarray, features: np.ndarray
) -> None:
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.synthesis.metrics.precision_recall import memorisation
    from tlkit.tasks.synthesis.reporting import plots as draw
    from tlkit.tasks.synthesis.reporting.curves import gan_curves

    folder, reals = run.folder.folder("pictures"), subject.images[TRAINING]
    save(draw.reals_beside_fakes(_spread(reals, SHOWN), _spread(fakes, SHOWN)), folder / "grid.png")
    found = memorisation(evaluator.real(TRAINING), features, evaluator.real(TEST))
    neighbours = draw.nearest_neighbours(
        fakes, reals, found.nearest, found.distances, threshold=found.threshold
    )
    save(neighbours, folder / "neighbours.png")
    save(gan_curves(run.folder.metrics()), folder / "curves.png")


def _spread(images: np.ndarray, number: int) -> np.ndarray:
    """`number` images evenly out of all, so that every class and series is seen."""
    import numpy as np

    return images[np.linspace(0, len(images) - 1, min(number, len(images))).astype(int)]


def _say_measures(run: Run, measures: dict[str, Any]) -> None:
    run.say(f"Fakes by {measures['extractor']}: {said_measures(measures)}")
    run.result(
        {"kid": measures["kid"]["value"], "kid_interval": [measures["kid"]["low"], measures["kid"]["high"]]}
    )
    run.result({name: measures[name]["value"] for name in ("precision", "recall")})
    copied = measures["memorisation"]
    held_out = copied["held_out"]
    run.result({"memorised": copied["value"], "memorised_held_out": held_out["value"] if held_out else None})


def said_measures(measures: dict[str, Any]) -> str:
    """The measures that count, in a sentence."""
    kid, copied = measures["kid"], measures["memorisation"]
    held_out = copied["held_out"]
    against = f"{kid['reals']} {kid['against'].replace('_', '-')} images"
    return (
        f"KID against {against} {kid['value']:+.4f} ({kid['low']:+.4f} to {kid['high']:+.4f}), precision "
        f"{measures['precision']['value']:.2f}, recall {measures['recall']['value']:.2f}; {copied['value']:.1%} are "
        "nearer to a training image than training images are to one another"
        + (f" (of held-out reals {held_out['value']:.1%})." if held_out else ".")
    )


def show_latents(run: Run, gan: Gan, subject: Subject, kind: str) -> None:
    """Draw what the latent space holds: interpolation; for a style network also mixing, truncation and a projection."""
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.synthesis.latents import interpolate, random_latents
    from tlkit.tasks.synthesis.reporting import plots as draw

    folder = run.folder.folder("pictures")
    frames = interpolate(gan, random_latents(gan, WALKS, run.seed), FRAMES)
    walks = frames.reshape(WALKS, FRAMES, *frames.shape[1:])
    save(draw.interpolation_strip(walks), folder / "interpolation.png")
    draw.write_animation(folder / "interpolation.gif", frames)
    if kind == "stylegan":
        _show_styles(run, gan, subject, folder)


def _show_styles(run: Run, gan: Gan, subject: Subject, folder: Path) -> None:
    import numpy as np

    from tlkit.engine.reporting.style import save
    from tlkit.tasks.synthesis.latents import LEVELS, mix_styles, project, random_latents, truncation_sweep
    from tlkit.tasks.synthesis.reporting import plots as draw

    rows, columns = random_latents(gan, MIXED, run.seed), random_latents(gan, MIXED, run.seed + 1)
    mixed = {level: mix_styles(gan, rows, columns, level) for level in LEVELS}
    first = mixed["coarse"]
    grids = {level: found.grid for level, found in mixed.items()}
    save(draw.mixing_grid(first.rows, first.columns, grids), folder / "mixing.png")
    sweep = truncation_sweep(gan, random_latents(gan, 8, run.seed), TRUNCATIONS)
    save(draw.truncation_sweep(sweep, TRUNCATIONS), folder / "truncation.png")
    reals = subject.images[TEST][:PROJECTED]
    labels = [int(label) for label in subject.labels[TEST]]
    found = [
        project(gan, real, SOUGHT, seed=run.seed, label=label)
        for real, label in zip(reals, labels, strict=False)
    ]
    if found:
        images = np.stack([one.image for one in found])
        errors = np.stack([one.errors for one in found])
        save(draw.projection(reals, images, errors), folder / "projection.png")


# --- Serving ---

CAPTIONS = {
    "grid": "Real training images beside fakes, neither chosen.",
    "neighbours": "Fakes beside the training image nearest to them: the closest pairs first.",
    "curves": "The GAN: KID against validation with its interval, losses, and the discriminator's opinion.",
    "interpolation": "A walk between latent codes (interpolation.gif is its film).",
    "mixing": "Styles mixed: coarse ones decide pose and shape, fine ones texture and level.",
    "truncation": "From the average (0) to full variety (1).",
    "projection": "Real images of the test part, and the nearest that the generator can make.",
}


def export(run: Run, gan: Gan, subject: Subject) -> None:
    """Write model.keras, the SavedModel `generate` and the report, and check that both generators agree."""
    from tlkit.engine.reporting.tensorboard import show_images
    from tlkit.tasks.synthesis.serving.saved_model import check_generator_parity, export_generator

    folder = run.folder.path
    gan.average.save(folder / "model.keras")
    export_generator(gan.average, folder, class_names=subject.class_names, bits=subject.bits)
    parity = check_generator_parity(gan.average, folder)
    run.record(parity=parity)
    show_images(run, "game", run.card()["game"]["steps"])
    write_generator_report(run, subject)


def write_generator_report(run: Run, subject: Subject) -> None:
    """Write the card and the report of a synthesising run."""
    from tlkit.engine.reporting.html import Table, close_run

    card = run.card()
    gan, model = card["game"], card["model"]
    names = ", ".join(subject.class_names)
    lead = (
        f"A {model['network']} learned {names} from {len(subject.images[TRAINING])} training images at "
        f"{model['image_size']} x {model['image_size']} pixels in {gan['steps']} steps ({gan['seconds'] / 60:.1f} "
        f"minutes). {said_measures(card['measures'])}"
    )
    rows = [
        [key.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list | tuple) else value]
        for key, value in gan.items()
    ]
    tables = [
        Table(
            "What the fakes are worth",
            ("measure", "value", "95 % interval", "against"),
            measure_rows(card["measures"]),
            note=missing_measures(card["measures"]),
        ),
        Table("The GAN", ("", ""), rows),
    ]
    folder = run.folder.path / "pictures"
    there = [f"{name}.png" for name in CAPTIONS if (folder / f"{name}.png").is_file()]
    images = [(name, CAPTIONS[name.removesuffix(".png")]) for name in there]
    close_run(run, f"Synthetic {names}", lead, tables, images)


def missing_measures(measures: dict[str, Any]) -> str:
    """Why measures are missing, and what made the features."""
    absent = [one["reason"] for one in measures.values() if isinstance(one, dict) and one.get("reason")]
    reasons = [reason if reason.endswith(".") else f"{reason[0].upper()}{reason[1:]}." for reason in absent]
    return " ".join([*reasons, f"Features: {measures['extractor']}."])


def measure_rows(measures: dict[str, Any]) -> list[list[Any]]:
    """Rows name, value, interval, against what of a table, from what `measure_synthesis` found."""
    rows = []
    for name, figure in measures.items():
        if not isinstance(figure, dict) or figure.get("value") is None:
            continue
        interval = f"{figure['low']:+.4f} to {figure['high']:+.4f}" if figure.get("low") is not None else ""
        against = f"{figure['reals']} {figure['against'].replace('_', '-')}" if "against" in figure else ""
        rows.append([name.replace("_", " "), figure["value"], interval, against])
        if figure.get("held_out"):
            own = figure["held_out"]
            rows.append(
                [
                    "the same of held-out reals",
                    own["value"],
                    f"{own['low']:+.4f} to {own['high']:+.4f}",
                    against,
                ]
            )
    return rows


def done(run: Run, number: int) -> None:
    """Say where the images lie and how a classifier uses them."""
    run.say(
        f"{count(number, 'synthetic image')}: {run.folder.final / 'synthetic'}. A classifier takes them with"
    )
    run.say(
        f"  tlkit run fine-tune {run.options.get('source')} --synthetic {run.folder.name}/{run.folder.number}"
    )
