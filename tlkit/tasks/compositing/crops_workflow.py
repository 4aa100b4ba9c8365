"""The workflow of `composite-crops`: clean threats of a part set into clutter, and clutter alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run, check_room
from tlkit.core.text import count, some_of
from tlkit.data.images.sources import PARTS, TRAINING, VALIDATION
from tlkit.engine.training.estimates import untold
from tlkit.errors import DataFault
from tlkit.tasks.compositing.settings import ClutterSettings

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.compositing.clutter import InClutter

SHOWN = 8  # of each class in the image


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


def read_crops(run: Run, split: Split, how: ClutterSettings) -> dict[str, Crops]:
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
    run: Run, split: Split, crops: dict[str, Crops], how: ClutterSettings
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Write the composites of each part and `composites.csv`, which names what each was made of.

    Those of training lie in `synthetic/CLASS/*.png`, those of validation in `synthetic-validation/CLASS/*.png`.

    Returns:
        For each part the images float32 [h, w] of each class.

    Raises:
        RunFailed: The disk has no room for them.
    """
    from tlkit.data.images.decoding.depth import write_image
    from tlkit.data.images.synthetic import FOLDERS
    from tlkit.tasks.compositing.clutter import COLUMNS, NEGATIVE, composite_crops

    wanted = sum(
        how.copies * sum(map(len, some.threats.values())) + round(how.negatives * len(some.others))
        for some in crops.values()
    )
    check_room(run, wanted, wanted * how.size**2)
    rows: list[Sequence[Any]] = [COLUMNS]
    made: dict[str, dict[str, list[np.ndarray]]] = {}
    for number, (part, some) in enumerate(crops.items()):
        own = made[part] = {}
        for one in composite_crops(
            {name: [image for _, image in pairs] for name, pairs in some.threats.items()},
            [image for _, image in some.others],
            how,
            run.seed + number,
        ):
            name = how.negative if one.label == NEGATIVE else one.label
            own.setdefault(name, []).append(one.image)
            folder, file = f"{FOLDERS[part]}/{name}", f"{len(own[name]):05}.png"
            write_image(run.folder.folder(folder) / file, one.image[..., None])
            rows.append(_row(split, some, f"{folder}/{file}", one))
    write_csv(run.folder.path / "composites.csv", rows)
    run.record(
        kind="pictures",
        classes=sorted(made[TRAINING]),
        synthetic={name: len(some) for name, some in made[TRAINING].items()},
    )
    return made


def _row(split: Split, crops: Crops, file: str, one: InClutter) -> list[Any]:
    """What stands in composites.csv."""
    made_of, paths = one.threat, split.images.paths
    threat = paths[crops.threats[made_of.label][made_of.crop][0]] if made_of.label else ""
    behind = " ".join(paths[crops.others[i][0]] for i in one.others)
    return [file, threat, behind, one.simulated, *made_of.figures, made_of.flip, f"{made_of.occlusion:.4g}"]


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
    total = sum(map(len, made.values()))
    each = ", ".join(f"{name} {len(some)}" for name, some in made.items())
    lead = (
        f"{count(total, 'composite')}: {each}. Transmittances are multiplied (Beer-Lambert), so what lies behind a "
        "threat shines through it as far as it would."
    )
    caption = "Left: clean crops. Right: the same threats in clutter, and clutter alone."
    html.close_run(run, "Threats in clutter", lead, [], [("composites.png", caption)])
    if VALIDATION in composites:
        run.say(f"To choose by: {count(sum(map(len, composites[VALIDATION].values())), 'composite')} more.")
    run.say(f"{count(total, 'composite')}: {run.folder.final / 'synthetic'}. A classifier takes them with")
    run.say(f"  --synthetic {run.folder.name}/{run.folder.number}")
    run.result({"composites": total})
