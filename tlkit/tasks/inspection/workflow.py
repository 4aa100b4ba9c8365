"""The workflow of look-inside: an image, a network, what the network does to the image, and a report about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.csv_writer import write_csv
from tlkit.core.device import set_precision
from tlkit.core.run import Run
from tlkit.engine.training.estimates import untold
from tlkit.errors import DataFault

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.backbones.preprocessing import Scaling
    from tlkit.tasks.inspection.layer_table import LayerRow
    from tlkit.tasks.inspection.trace import Step

TOP = 10  # layers on the screen and at the head of the report
HEADER = ("layer", "kind", "output", "parameters", "multiply-adds")


class Subject(NamedTuple):
    """What is looked at.

    Attributes:
        network: The backbone.
        scaled: float32 [s, s, 3], the image as the backbone takes it.
        scaling: How its pixels became that.
        names: Of the layers whose maps are drawn.
    """

    network: keras.Model
    scaled: np.ndarray
    scaling: Scaling
    names: list[str]


def load_image(image: str) -> Path:
    """See that a file is an image, before TensorFlow is loaded.

    Raises:
        DataFault: It is missing or cannot be read.
    """
    from tlkit.data.images.inspection import inspect_file

    file = Path(image)
    if not file.exists():
        raise DataFault(f"{image} does not exist.", "Name an image.")
    if file.is_dir():
        raise DataFault(f"{image} is a folder.", "Name one image in it.")
    if error := inspect_file(file).error:
        raise DataFault(f"{image} {error}.", "Name another image.")
    return file


def build_subject(
    run: Run,
    image: Path,
    layers: Sequence[str],
    backbone: str,
    weights: str,
    image_size: int | None,
    precision: str,
) -> Subject:
    """Start TensorFlow, build the backbone, and read the image in its size.

    Raises:
        UsageFault, ModelFault: The backbone, its size, its weights or a layer do not fit.
        RunFailed: The device is absent, or float16 is wanted without a GPU.
    """
    from tlkit.backbones.table import build_backbone, find_backbone

    size = image_size or find_backbone(backbone).native_size
    mode = find_backbone(backbone, size).preprocessing
    run.start_tensorflow()
    from tlkit.backbones.preprocessing import SCALINGS, Preprocess
    from tlkit.data.images.decoding.decode import decode_and_resize, read_contents
    from tlkit.tasks.inspection import layer_table

    set_precision(run.environment, precision, run.say)
    network, origin = build_backbone(backbone, size, weights)
    network.name = backbone
    names = [layer.name for layer in layer_table.find_layers(network, layers)] or layer_table.default_layers(
        network
    )
    pixels = decode_and_resize(read_contents(image), size)
    facts = {"backbone": backbone, "weights": asdict(origin), "image_size": size}
    run.record(kind="pictures", model={**facts, "parameters": network.count_params()})
    run.say(f"Weights: {origin.sentence}.")
    scaled = layer_table.array(Preprocess(mode)(pixels[None])[0])
    return Subject(network, scaled, SCALINGS[mode], names)


def plan(run: Run, subject: Subject) -> dict[str, Any]:
    """What `--dry-run` shows: the network and the layers whose maps would be drawn."""
    return {
        "model": run.card()["model"],
        "layers": subject.names,
        "time": untold("one image goes through the network a few times; most of it is drawing."),
    }


def draw(run: Run, subject: Subject) -> list[tuple[str, str]]:
    """Draw filters, the walk and the maps into `pictures/` and for TensorBoard.

    Returns:
        (file name, caption) of each, in order.
    """
    from tlkit.engine.reporting.style import save
    from tlkit.engine.reporting.tensorboard import TensorBoard
    from tlkit.tasks.inspection import layer_table
    from tlkit.tasks.inspection import plots as draw
    from tlkit.tasks.inspection.trace import trace

    network = subject.network
    steps = _in_levels(trace(network, subject.scaled, run.seed), subject.scaling)
    first, kernels = layer_table.first_filters(network)
    figures = {
        "walk_through": (
            draw.walk(steps, bgr=subject.scaling.bgr),
            "One image on its way: what enters, the kernel where there is one, what leaves. White is zero.",
        ),
        "filters": (
            draw.filters(kernels, first, bgr=subject.scaling.bgr),
            f"The filters of the first convolution, {first}.",
        ),
    }
    kinds = {row.name: row.kind for row in layer_table.layer_table(network)}
    found = layer_table.activations(network, subject.scaled, subject.names)
    for number, (name, values) in enumerate(found.items(), 1):
        figure = draw.maps(values, name, kinds.get(name, "network"))
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
        figures[f"maps_{number}_{safe}"] = (figure, f"What {name} answers to the image.")
    folder, tensorboard = run.folder.folder("pictures"), TensorBoard(run.folder.folder("tensorboard"))
    for stem, (figure, _) in figures.items():
        tensorboard.add_image(stem, save(figure, folder / f"{stem}.png"))
    tensorboard.close()
    return [(f"{stem}.png", caption) for stem, (_, caption) in figures.items()]


def _in_levels(steps: list[Step], scaling: Scaling) -> list[Step]:
    """The image that enters the first step in grey levels again, so that grey is drawn grey."""
    first = steps[0]
    if first.before.ndim != 3:
        return steps
    return [first._replace(before=first.before * scaling.deviation + scaling.mean), *steps[1:]]


def count_layers(run: Run, subject: Subject) -> list[LayerRow]:
    """Write layers.csv, show the most expensive layers, and put the totals on the card."""
    from tlkit.tasks.inspection.layer_table import layer_table

    rows = layer_table(subject.network)
    header = [name.replace("-", "_") for name in HEADER]
    cells = [[row.name, row.kind, _size(row), row.parameters, row.multiply_adds] for row in rows]
    write_csv(run.folder.path / "layers.csv", [header, *cells], safe=run.csv_safe)
    total = sum(row.multiply_adds for row in rows)
    totals = {
        "layers": len(rows),
        "parameters": sum(row.parameters for row in rows),
        "multiply_adds": total,
    }
    run.record(measures=totals)
    run.result(totals)
    run.say(f"{'multiply-adds':>15}  {'share':>6}  layer")
    for row in _costly(rows):
        share = _share(row.multiply_adds, total)
        run.say(f"{row.multiply_adds:>15,}  {share:>6}  {row.name} ({row.kind}, {_size(row)})")
    return rows


def write_report(run: Run, rows: Sequence[LayerRow], images: Sequence[tuple[str, str]]) -> None:
    """Write card and report."""
    from tlkit.engine.reporting import html

    total = sum(row.multiply_adds for row in rows)
    facts = run.card()["model"]
    size = facts["image_size"]
    lead = (
        f"{facts['backbone']} looks at {Path(run.options['source']).name} in {size} × {size} pixels: {len(rows)} "
        f"layers, {facts['parameters']:,} parameters, {total:,} multiply-adds an image. Weights: "
        f"{facts['weights']['source']}."
    )
    header = ("layer", "kind", "output", "parameters", "multiply-adds", "share")
    cells = [(*row[:2], _size(row, " × "), *row[3:], _share(row.multiply_adds, total)) for row in rows]
    costly = [cells[rows.index(row)] for row in _costly(rows)]
    note = (
        "A multiply-add is one multiplication and its addition. Convolutions and dense layers are counted; biases, "
        "normalisation, activation and pooling are not, as in the papers. layers.csv has the whole table."
    )
    tables = [
        html.Table("The most expensive layers", header, costly),
        html.Table(
            "By kind", ("kind", "layers", "parameters", "multiply-adds", "share"), _by_kind(rows, total)
        ),
        html.Table("All layers", header, cells, note=note),
    ]
    title = f"Inside {facts['backbone']}"
    html.close_run(run, title, lead, tables, images)


def _costly(rows: Sequence[LayerRow]) -> list[LayerRow]:
    found = sorted((row for row in rows if row.multiply_adds), key=lambda row: -row.multiply_adds)
    return found[:TOP]


def _by_kind(rows: Sequence[LayerRow], total: int) -> list[tuple[str, int, int, int, str]]:
    """Kind, layers, parameters, multiply-adds and share; the most expensive kind first."""
    kinds = {row.kind: [other for other in rows if other.kind == row.kind] for row in rows}
    sums = [
        (kind, len(own), sum(r.parameters for r in own), sum(r.multiply_adds for r in own))
        for kind, own in kinds.items()
    ]
    sums.sort(key=lambda row: (-row[3], -row[2], -row[1]))
    return [(*row, _share(row[3], total)) for row in sums]


def _size(row: LayerRow, times: str = " x ") -> str:
    return times.join(map(str, row.output))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"
