"""The workflow of `composite-threats`: threats of one part pasted into bags of it, and where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.core.text import count, some_of
from tlkit.data.images.sources import TRAINING
from tlkit.data.xray.drawing import drawn_or_sample
from tlkit.data.xray.source_options import drawn_facts
from tlkit.engine.training.estimates import untold
from tlkit.engine.training.manifest import keep_manifest
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.classification.workflow import load_data
from tlkit.tasks.compositing.settings import CompositeSettings
from tlkit.tasks.compositing.threats import Threats, fakes_of, maker_of

if TYPE_CHECKING:
    from tlkit.data.boxes.dataset import Boxes
    from tlkit.data.boxes.splits import BoxSplit

SHOWN = 12  # composites in the image
SPREAD = (5, 50, 95)  # percentiles of sizes and occlusions in the report


# --- Ingredients ---


def load_threats(run: Run, source: str, how: CompositeSettings) -> Threats:
    """Split the crops as a classifier would, and cut the threats of the wanted parts out of them.

    A run that made images (its name, folder or `synthetic/`) stands for its images, all of them for training.

    Raises:
        DataFault, UsageFault: See `load_data`; a class is unknown; a part has no threat of it.
    """
    maker = maker_of(source, Path(run.options["runs"]))
    threats = Threats(load_data(run, source, least=1)) if maker is None else _made(run, source, maker, how)
    names = threats.split.images.class_names
    wanted = how.classes or tuple(name for name in names if name != how.negative)
    for name in wanted:
        if name not in names:
            raise UsageFault(f"--class {name} is no class of {source}.", f"It has {some_of(names)}.")
    if not wanted:
        raise DataFault(
            f"{source} has no class but {how.negative}, which is harmless.", "Name one with --class."
        )
    if not run.dry_run:
        for part in how.parts:
            threats.crops[part] = threats.cut(run, part, wanted)
    run.record(threats=list(wanted))
    return threats


def _made(run: Run, source: str, maker: Path, how: CompositeSettings) -> Threats:
    """The images of a synthesising run, in one part."""
    if how.part != TRAINING:
        raise UsageFault(
            f"--part {how.part} cannot be made of {source}, whose images were learned from training images.",
            "Use --part training, or real crops.",
        )
    threats, skipped = fakes_of(source, maker, skip_bad=run.split.skip_bad)
    split = threats.split
    keep_manifest(run, source, split)
    run.record(data={"split_sha256": split.digest, "parts": split.summary(), "skipped": skipped})
    run.say(f"Threats: {count(len(split.images), 'image')} that {maker.parent.name}/{maker.name} made.")
    return threats


def load_bags(
    run: Run, source: str, how: CompositeSettings, faults: str = "refuse", unlabelled: str = "error"
) -> BoxSplit:
    """Split the bags as a detector would, keep the manifest as `bag_split.csv`, and say what is used.

    Raises:
        DataFault, UsageFault: See `read_backgrounds` and `split_boxes`; or a wanted part has no bag.
    """
    from tlkit.data.boxes.lazy_images import read_backgrounds, without_boxes
    from tlkit.data.boxes.splits import split_boxes
    from tlkit.data.boxes.synthetic import BAG_SPLIT

    boxes = read_backgrounds(drawn_or_sample(run, source), faults=faults, unlabelled=unlabelled)
    split = split_boxes(boxes, seed=run.seed, group=how.bag_group, manifest=how.bag_split)
    (run.folder.path / BAG_SPLIT).write_text(split.manifest, encoding="utf-8")
    for warning in split.warnings:
        run.say(f"Warning: {warning}")
    for part in how.parts:
        bags = split.take(part)
        if how.only_empty_bags:
            bags = without_boxes(bags)
        if not len(bags):
            kind = "empty bag" if how.only_empty_bags else "bag"
            raise DataFault(f"{source} has no {kind} in its {part} part.", "Give more, or another --part.")
        if run.sampled > 1:  # what there is to say would be of the sample
            continue
        found = bags.summary()
        run.say(
            f"Bags: {part} part, {count(len(bags), 'image')}, {found['negative']} of them empty, with "
            f"{found['boxes']} boxes that stay."
        )
    mended = [fault._asdict() for fault in boxes.mended]
    run.record(
        bags={
            "source": source,
            "split_sha256": split.digest,
            "parts": split.summary(),
            "warnings": list(split.warnings),
            "mended": mended,
            **drawn_facts(source),
        }
    )
    return split


def plan(run: Run, how: CompositeSettings) -> dict[str, Any]:
    """What `--dry-run` shows."""
    card = run.card()
    return {
        "part": how.part,
        "threats": card["threats"],
        "crops": {part: card["data"]["parts"][part]["n"] for part in how.parts},
        "bags": {part: round(card["bags"]["parts"][part]["n"] * run.sampled) for part in how.parts},
        "time": untold("a composite takes some milliseconds, the look at crops and bags before it more."),
    }


# --- Cooking ---


def compose(run: Run, threats: Threats, bags: BoxSplit, how: CompositeSettings) -> Boxes:
    """Write `composites/` (a source of boxes), `composites.csv` and `trained_on.csv`.

    Returns:
        What was written, read back.

    Raises:
        RunFailed: The disk has no room.
    """
    from tlkit.data.boxes.dataset import read_boxes
    from tlkit.data.boxes.synthetic import COMPOSITES
    from tlkit.tasks.compositing.bag_writer import Maker

    maker = Maker(run, threats, bags, how)
    for part in how.parts:
        maker.make(part)
    folder = maker.finish()
    made = read_boxes(folder)
    run.record(
        kind="pictures",
        classes=list(made.class_names),
        composites={**made.summary(), **maker.facts(), "folder": COMPOSITES},
    )
    return made


# --- Serving ---


def write_report(run: Run, made: Boxes) -> None:
    """Draw some composites with their boxes, write card and report, and say how they are used."""
    from tlkit.engine.reporting import html

    draw_some(run, made, "composites.png")
    facts = run.card()["composites"]
    lead = (
        f"{count(len(made), 'composite')} with {facts['boxes']} objects, {facts['laid']} of them pasted in; "
        f"{facts['negative']} are empty. Transmittances are multiplied (Beer-Lambert). Threats and bags are those of "
        f"one part each: {', '.join(f'{part} {number}' for part, number in facts['parts'].items())}."
    )
    caption = "Some composites with their boxes; the last ones are empty."
    html.close_run(run, "Threats in bags", lead, [_difficulty(made)], [("composites.png", caption)])
    run.say(
        f"{count(len(made), 'composite')}: {run.folder.final / facts['folder']}. A detector takes them with"
    )
    run.say(f"  --synthetic {run.folder.name}/{run.folder.number}")
    run.result({"composites": len(made), "objects": facts["boxes"], "empty": facts["negative"]})


def draw_some(run: Run, made: Boxes, name: str) -> None:
    """Draw some composites with their boxes into an image of the run; the last ones are empty, where some are."""
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.detection.reporting.plots import labelled_batch, upright_image

    step = max(1, len(made) // SHOWN)
    chosen = [i for i in range(len(made)) if len(made.xyxy[i])][::step][: SHOWN - 2]
    chosen += [i for i in range(len(made)) if not len(made.xyxy[i])][: SHOWN - len(chosen)]
    images = [upright_image(made.file(i)) for i in chosen]
    scaled = [
        made.xyxy[i] * (image.shape[1] / made.sizes[i][0]) for i, image in zip(chosen, images, strict=True)
    ]
    labels = [made.labels[i] for i in chosen]
    figure = labelled_batch(
        images,  # type: ignore[arg-type]  # of several shapes
        scaled,
        labels,
        made.class_names,
    )
    save(figure, run.folder.folder("pictures") / name)


def _difficulty(made: Boxes) -> Any:
    """A row a class: how many, how large, how much lies over them."""
    import numpy as np

    from tlkit.engine.reporting.html import Table

    rows = []
    for k, name in enumerate(made.class_names):
        sizes, hidden = [], []
        for i in range(len(made)):
            for j in np.flatnonzero(made.labels[i] == k):
                box = made.xyxy[i][j]
                sizes.append(float((box[2:] - box[:2]).max() / max(made.sizes[i])))
                hidden.append(made.box_columns["occlusion"][i][j])
        known = [float(text) for text in hidden if text]
        spread = [
            f"{np.percentile(some, p):.2f}" if some else None for some in (sizes, known) for p in SPREAD
        ]
        rows.append([name, len(sizes), *spread])
    names = [f"{what} {p} %" for what in ("size", "occlusion") for p in SPREAD]
    note = (
        "Size: longer side of a box as a share of the image's. Occlusion: share of the beam that everything else "
        "takes, mean over the threat. Both as percentiles."
    )
    return Table("Objects", ("class", "boxes", *names), rows, note=note)
