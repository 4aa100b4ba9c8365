"""Chapters of `composite-crops`: clean threats of the training part set into clutter, and clutter alone."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tlkit.cli.running import Run
from tlkit.cli.synthesis_results import check_room
from tlkit.data.leaks import count
from tlkit.data.sources import TRAINING
from tlkit.errors import DataFault

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.clutter import Recipe
    from tlkit.data.splits import Split

SHOWN = 8  # of each class in the picture
COLUMNS = ("file", "threat", "backgrounds", "simulated", "turn", "scale", "thickness", "flip", "occlusion")


@dataclass(frozen=True)
class Clutter:
    """How composites are made: see `data.clutter.composite_crops`."""

    copies: int
    negatives: float
    size: int
    clutter: str
    negative: str


class Crops(NamedTuple):
    """Pictures of the training part.

    Attributes:
        threats: For each class but the negative one, (index in the split, float32 [h, w]) of each picture.
        others: The same of the negative class.
    """

    threats: dict[str, list[tuple[int, np.ndarray]]]
    others: list[tuple[int, np.ndarray]]


def read_crops(run: Run, split: Split, how: Clutter) -> Crops:
    """Read the training part in full size and note which pictures it is.

    Raises:
        DataFault: There is no class of harmless things.
    """
    from tlkit.data.depth import read_picture
    from tlkit.data.more import write_trained_on

    names = split.images.class_names
    if how.negative not in names:
        raise DataFault(
            f"{split.images.source} has no class {how.negative} of harmless things.",
            f"Name it with --negative; its classes are {', '.join(names)}.",
        )
    chosen = [int(i) for i in split.indices(TRAINING)]
    by_class: dict[str, list[tuple[int, np.ndarray]]] = {name: [] for name in names}
    with run.progress("reading", len(chosen)) as step:
        for done, i in enumerate(chosen, 1):
            picture = read_picture(split.images.file(i), 1)[..., 0]
            by_class[names[split.images.labels[i]]].append((i, picture))
            step(done)
    write_trained_on(run.folder.path, split, chosen)
    others = by_class.pop(how.negative)
    return Crops(by_class, others)


def compose(run: Run, split: Split, crops: Crops, how: Clutter) -> dict[str, list[np.ndarray]]:
    """Write `synthetic/CLASS/*.png` and `composites.csv`, which names what each was made of.

    Returns:
        The pictures float32 [h, w] of each class.

    Raises:
        RunFailed: The disk has no room for them.
    """
    from tlkit.data.clutter import NEGATIVE, composite_crops

    threats = {name: [picture for _, picture in some] for name, some in crops.threats.items()}
    others = [picture for _, picture in crops.others]
    wanted = how.copies * sum(map(len, threats.values())) + round(how.negatives * len(others))
    check_room(run, wanted, wanted * how.size**2)
    pictures, labels, recipes = composite_crops(
        threats,
        others,
        copies=how.copies,
        negatives=how.negatives,
        size=how.size,
        seed=run.seed,
        clutter=how.clutter,
    )
    named = [how.negative if label == NEGATIVE else label for label in labels]
    files = _write(run, pictures, named)
    _write_recipes(run, split, crops, files, recipes)
    made: dict[str, list[np.ndarray]] = {}
    for name, picture in zip(named, pictures, strict=True):
        made.setdefault(name, []).append(picture)
    run.record(
        kind="pictures", classes=sorted(made), synthetic={name: len(some) for name, some in made.items()}
    )
    return made


def _write(run: Run, pictures: list[np.ndarray], labels: list[str]) -> list[str]:
    from tlkit.data.depth import write_picture
    from tlkit.data.more import SYNTHETIC

    numbers: Counter[str] = Counter()
    files = []
    for name, picture in zip(labels, pictures, strict=True):
        numbers[name] += 1
        file = run.folder.folder(f"{SYNTHETIC}/{name}") / f"{numbers[name]:05}.png"
        write_picture(file, picture[..., None])
        files.append(f"{name}/{file.name}")
    return files


def _write_recipes(run: Run, split: Split, crops: Crops, files: list[str], recipes: list[Recipe]) -> None:
    with (run.folder.path / "composites.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for file, recipe in zip(files, recipes, strict=True):
            threat = (
                split.images.paths[crops.threats[recipe.threat[0]][recipe.threat[1]][0]]
                if recipe.threat
                else ""
            )
            behind = " ".join(split.images.paths[crops.others[i][0]] for i in recipe.others)
            rest = (f"{value:.4g}" for value in (recipe.turn, recipe.scale, recipe.thickness))
            writer.writerow(
                [file, threat, behind, recipe.simulated, *rest, recipe.flip, f"{recipe.occlusion:.4g}"]
            )


def write_page(run: Run, crops: Crops, made: dict[str, list[np.ndarray]]) -> None:
    """Draw clean crops beside composites, write card and page."""
    import numpy as np

    from tlkit.data.depth import fitted
    from tlkit.results import page
    from tlkit.results.canvas import save
    from tlkit.results.synthesis_pictures import reals_beside_fakes

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
    page.write_page(run.folder.path, "Threats in clutter", lead, [], [("composites.png", caption)])
    run.say(f"{count(total, 'composite')}: {run.folder.final / 'synthetic'}. A classifier takes them with")
    run.say(f"  --more {run.folder.name}/{run.folder.number}")
    run.result({"composites": total})
