"""The workflow of `composite-crops`: clean threats of a part set into clutter, and clutter alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.csv_writer import CsvWriter
from tlkit.core.run import Run, check_room
from tlkit.core.text import count, some_of
from tlkit.data.images.sources import PARTS, TRAINING, VALIDATION
from tlkit.engine.training.estimates import untold
from tlkit.errors import DataFault

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.compositing.clutter import Recipe

SHOWN = 8  # of each class in the image
COLUMNS = ("file", "threat", "backgrounds", "simulated", "turn", "scale", "thickness", "flip", "occlusion")


@dataclass(frozen=True)
class Clutter:
    """How composites are made: see `clutter.composite_crops`."""

    copies: int
    negatives: float
    size: int
    clutter: str
    negative: str
    validation: bool


class Crops(NamedTuple):
    """Images of a part.

    Attributes:
        threats: For each class but the negative one, (index in the split, float32 [h, w]) of each image.
        others: The same of the negative class.
    """

    threats: dict[str, list[tuple[int, np.ndarray]]]
    others: list[tuple[int, np.ndarray]]


def plan(split: Split) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "classes": list(split.images.class_names),
        "images": {part: len(split.indices(part)) for part in PARTS},
        "time": untold("it goes with the composites, some hundred a minute, and the look at every crop."),
    }


def read_crops(run: Run, split: Split, how: Clutter) -> dict[str, Crops]:
    """Read the training part, and validation if asked for, in full size and note which images that is.

    Raises:
        DataFault: There is no class of harmless things.
    """
    from tlkit.data.images.synthetic import write_trained_on

    names = split.images.class_names
    if how.negative not in names:
        raise DataFault(
            f"{split.images.source} has no class {how.negative} of harmless things.",
            f"Name it with --negative; its classes are {some_of(names)}.",
        )
    chosen = {
        part: [int(i) for i in split.indices(part)]
        for part in (TRAINING, *([VALIDATION] if how.validation else []))
    }
    total = sum(map(len, chosen.values()))
    with run.progress("reading", total) as step:
        crops = {part: _read(split, indices, how.negative, step) for part, indices in chosen.items()}
    write_trained_on(run.folder.path, split, chosen[TRAINING], chosen.get(VALIDATION, ()))
    return crops


def _read(split: Split, chosen: list[int], negative: str, step: Callable[[int], None]) -> Crops:
    from tlkit.data.images.decoding.depth import read_image

    names = split.images.class_names
    by_class: dict[str, list[tuple[int, np.ndarray]]] = {name: [] for name in names}
    for done, i in enumerate(chosen, 1):
        by_class[names[split.images.labels[i]]].append((i, read_image(split.images.file(i), 1)[..., 0]))
        step(done)
    others = by_class.pop(negative)
    return Crops(by_class, others)


def compose(
    run: Run, split: Split, crops: dict[str, Crops], how: Clutter
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Write the composites of each part and `composites.csv`, which names what each was made of.

    Those of training lie in `synthetic/CLASS/*.png`, those of validation in `synthetic-validation/CLASS/*.png`.

    Returns:
        For each part the images float32 [h, w] of each class.

    Raises:
        RunFailed: The disk has no room for them.
    """
    from tlkit.data.images.synthetic import FOLDERS

    wanted = sum(
        how.copies * sum(map(len, some.threats.values())) + round(how.negatives * len(some.others))
        for some in crops.values()
    )
    check_room(run, wanted, wanted * how.size**2)
    found = {
        part: _compose_part(run, split, some, how, FOLDERS[part], run.seed + number)
        for number, (part, some) in enumerate(crops.items())
    }
    with (run.folder.path / "composites.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = CsvWriter(stream)
        writer.writerow(COLUMNS)
        for _, rows in found.values():
            writer.writerows(rows)
    made = {part: images for part, (images, _) in found.items()}
    run.record(
        kind="pictures",
        classes=sorted(made[TRAINING]),
        synthetic={name: len(some) for name, some in made[TRAINING].items()},
    )
    return made


def _compose_part(
    run: Run, split: Split, crops: Crops, how: Clutter, folder: str, seed: int
) -> tuple[dict[str, list[np.ndarray]], list[list[Any]]]:
    """Make and write the composites of a part; returns the images by class, and the rows of composites.csv."""
    from tlkit.tasks.compositing.clutter import NEGATIVE, composite_crops

    images, labels, recipes = composite_crops(
        {name: [image for _, image in some] for name, some in crops.threats.items()},
        [image for _, image in crops.others],
        copies=how.copies,
        negatives=how.negatives,
        size=how.size,
        seed=seed,
        clutter=how.clutter,
    )
    named = [how.negative if label == NEGATIVE else label for label in labels]
    files = _write(run, folder, images, named)
    made: dict[str, list[np.ndarray]] = {}
    for name, image in zip(named, images, strict=True):
        made.setdefault(name, []).append(image)
    rows = [_row(split, crops, *pair) for pair in zip(files, recipes, strict=True)]
    return made, rows


def _write(run: Run, folder: str, images: list[np.ndarray], labels: list[str]) -> list[str]:
    """Write images by class; returns where, from the run's folder."""
    from tlkit.data.images.decoding.depth import write_image

    numbers: Counter[str] = Counter()
    files = []
    for name, image in zip(labels, images, strict=True):
        numbers[name] += 1
        file = run.folder.folder(f"{folder}/{name}") / f"{numbers[name]:05}.png"
        write_image(file, image[..., None])
        files.append(f"{folder}/{name}/{file.name}")
    return files


def _row(split: Split, crops: Crops, file: str, recipe: Recipe) -> list[Any]:
    threat = ""
    if recipe.threat:
        name, number = recipe.threat
        threat = split.images.paths[crops.threats[name][number][0]]
    behind = " ".join(split.images.paths[crops.others[i][0]] for i in recipe.others)
    rest = [f"{value:.4g}" for value in (recipe.turn, recipe.scale, recipe.thickness)]
    return [file, threat, behind, recipe.simulated, *rest, recipe.flip, f"{recipe.occlusion:.4g}"]


def write_report(
    run: Run, parts: dict[str, Crops], composites: dict[str, dict[str, list[np.ndarray]]]
) -> None:
    """Draw clean crops of the training part beside composites, write card and page."""
    import numpy as np

    from tlkit.data.images.decoding.depth import fitted
    from tlkit.engine.reporting import html
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.synthesis.reporting.plots import reals_beside_fakes

    crops, made = parts[TRAINING], composites[TRAINING]
    reals: list[np.ndarray] = []
    fakes: list[np.ndarray] = []
    for name, some in made.items():
        clean = [p for _, p in (crops.threats.get(name) or crops.others)]
        for target, source in ((reals, clean), (fakes, some)):
            spread = np.linspace(0, len(source) - 1, SHOWN).astype(int)
            target += [fitted(source[i][..., None], 96, "pad") for i in spread]
    note = f"clean crops and composites of {', '.join(made)}, {SHOWN} each"
    figure = reals_beside_fakes(
        np.stack(reals),
        np.stack(fakes),
        note=note,
        columns=SHOWN // 2,
        title="Threats in clutter",
        names=("clean crops", "composites"),
    )
    save(figure, run.folder.folder("pictures") / "composites.png")
    run.folder.write_json("card.json", run.card())
    total = sum(map(len, made.values()))
    each = ", ".join(f"{name} {len(some)}" for name, some in made.items())
    lead = (
        f"{count(total, 'composite')}: {each}. Transmittances are multiplied (Beer-Lambert), so what lies behind a "
        "threat shines through it as far as it would."
    )
    caption = "Left: clean crops. Right: the same threats in clutter, and clutter alone."
    html.write_report(run.folder.path, "Threats in clutter", lead, [], [("composites.png", caption)])
    if VALIDATION in composites:
        run.say(f"To choose by: {count(sum(map(len, composites[VALIDATION].values())), 'composite')} more.")
    run.say(f"{count(total, 'composite')}: {run.folder.final / 'synthetic'}. A classifier takes them with")
    run.say(f"  --synthetic {run.folder.name}/{run.folder.number}")
    run.result({"composites": total})
