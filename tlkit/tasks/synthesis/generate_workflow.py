"""The workflow of `generate`: a finished generator makes as many images as are wanted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.engine.training.estimates import untold
from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.evaluate_workflow import write_fakes
from tlkit.tasks.synthesis.workflow import SHOWN

if TYPE_CHECKING:
    import numpy as np

    from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator


class Generator(NamedTuple):
    """A generator of a finished run.

    Attributes:
        folder: Of the run.
        card: Its card.
        served: Its SavedModel.
        class_names: Those that are to be made.
    """

    folder: Path
    card: dict[str, Any]
    served: ServedGenerator
    class_names: tuple[str, ...]


def load_generator(run: Run, source: str, classes: Sequence[str]) -> Generator:
    """Start TensorFlow and load the generator of a run.

    Raises:
        UsageFault: No such run, it has no generator, or it never learned such a class.
    """
    from tlkit.core.run_folder import find_run, read_card

    folder = find_run(source, Path(run.options["runs"]))
    card = read_card(folder)
    class_names = learned_classes(source, card, classes)
    run.start_tensorflow()
    from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator

    served = ServedGenerator.load(folder)
    return Generator(folder, card, served, class_names)


def learned_classes(source: str, card: Mapping[str, Any], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of a generator's classes that are wanted, in its order; all where none is named.

    Args:
        source: The run, as typed.
        card: Its card.
        wanted: Names of classes.

    Raises:
        UsageFault: It has no generator, or never learned such a class.
    """
    if card.get("kind") != "generator":
        raise UsageFault(
            f"{source} is a run of {card.get('recipe')} and has no generator.",
            "Name a run of synthesize-dcgan or synthesize-stylegan.",
        )
    known = tuple(card["classes"])
    for name in wanted:
        if name not in known:
            raise UsageFault(f"--class {name} was not learned by {source}.", f"It knows {', '.join(known)}.")
    return tuple(name for name in known if not wanted or name in wanted)


def plan(generator: Generator, samples: int) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "generator": f"{generator.folder.parent.name}/{generator.folder.name}",
        "classes": list(generator.class_names),
        "samples": samples,
        "time": untold("it is some milliseconds an image, and more for large ones."),
    }


def sample(run: Run, generator: Generator, samples: int, truncation: float) -> list[np.ndarray]:
    """Write `samples` images of each class, and which real images the generator had learned from.

    Returns:
        For each class float32 [samples, s, s, c] in 0..1.

    Raises:
        RunFailed: The disk has no room for them.
    """
    from tlkit.data.images.synthetic import TRAINED_ON, collapse_of

    collapsed = collapse_of(generator.folder)
    if collapsed:
        run.say(f"This generator had collapsed; --synthetic refuses its images. {collapsed}")
        run.record(collapsed=collapsed)
    made = []
    for name in generator.class_names:
        label = generator.card["classes"].index(name)
        answer = generator.served.answer(samples, seed=run.seed, truncation=truncation, label=label)
        made.append(answer["pictures"].numpy())
    write_fakes(run, made, generator.class_names, generator.card["model"]["bits"])
    for name in (TRAINED_ON, "split.csv"):
        shutil.copyfile(generator.folder / name, run.folder.path / name)
    return made


def export(run: Run, generator: Generator, made: list[np.ndarray], truncation: float) -> None:
    """Write card, a sheet of the images, and the page."""
    import numpy as np

    from tlkit.engine.reporting import html
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.synthesis.reporting import plots

    names = ", ".join(generator.class_names)
    shown = np.concatenate(made)[: 2 * SHOWN]
    columns = 16
    shown = shown[: max(columns, len(shown) // columns * columns)]
    rows = shown.reshape(-1, min(columns, len(shown)), *shown.shape[1:])
    grid = plots.interpolation_strip(
        rows, title=f"Synthetic {names}", note=f"the first {rows.shape[0] * rows.shape[1]}, none chosen"
    )
    save(grid, run.folder.folder("pictures") / "sheet.png")
    origin = f"{generator.folder.parent.name}/{generator.folder.name}"
    total = sum(map(len, made))
    run.record(
        kind="pictures",
        classes=list(generator.class_names),
        generator=origin,
        truncation=truncation,
        synthetic={name: len(some) for name, some in zip(generator.class_names, made, strict=True)},
    )
    lead = f"{count(total, 'image')} of {names} by the generator of {origin}, truncation {truncation:g}."
    html.close_run(run, f"Synthetic {names}", lead, [], [("sheet.png", "The first of them.")])
    run.result({"pictures": total, "folder": str(run.folder.final / "synthetic")})
