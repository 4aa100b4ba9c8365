"""From a SOURCE to a checked split: read, look at every file, split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.core.reading import PLAIN, Reading
from tlkit.core.text import count
from tlkit.data.images.dataset import Images
from tlkit.data.images.inspection import Inspection, inspect_files
from tlkit.data.images.small_class_choice import REFUSE
from tlkit.data.images.sources import read_images
from tlkit.data.images.splits import Split, split_images
from tlkit.data.images.synthetic import add_synthetic
from tlkit.errors import DataFault


@dataclass(frozen=True)
class Loaded:
    """A split, and what was left out of it.

    Attributes:
        split: Images with their parts.
        skipped: {"path", "reason"} of each file that does not open and was left out as asked.
        added: For each run whose synthetic images were added to training, their number a class.
    """

    split: Split
    skipped: tuple[dict[str, str], ...] = ()
    added: dict[str, dict[str, int]] = field(default_factory=dict)


def load_split(
    source: str,
    *,
    seed: int = 0,
    group: str | None = None,
    manifest: Path | None = None,
    hold_out: str | None = None,
    allow_leak: bool = False,
    skip_bad: bool = False,
    download: bool = False,
    more: Sequence[Path] = (),
    least: int = 2,
    reading: Reading = PLAIN,
    small_classes: str = REFUSE,
) -> Loaded:
    """Read a SOURCE, refuse what does not open, and split the images.

    Args:
        source: As for `read_images`.
        seed: Splits groups.
        group: As for `split_images`.
        manifest: A split.csv to use again.
        hold_out: As for `split_images`.
        allow_leak: Let images or groups cross declared parts.
        skip_bad: Leave files out that do not open; they are listed, and nothing takes their place.
        download: Let `tfds:` fetch.
        more: Folders of runs whose synthetic images join the training part.
        least: As for `read_images`.
        reading: As for `read_images`.
        small_classes: Refuse classes with too few groups, leave them out or fold them: "refuse", "leave-out", "fold" or
            "fold:NAME".

    Raises:
        DataFault: See `read_images`, `split_images` and `add_synthetic`; or files do not open and `skip_bad` is off.
    """
    images = read_images(source, download=download, least=least, reading=reading)
    images, inspections, skipped = openable(images, skip_bad=skip_bad)
    split = split_images(
        images,
        inspections,
        seed=seed,
        group=group,
        manifest=manifest,
        hold_out=hold_out,
        allow_leak=allow_leak,
        small=small_classes,
    )
    if len(split.images.class_names) < least:
        raise DataFault(
            f"--small-classes {small_classes} leaves {count(len(split.images.class_names), 'class')} of {source}, "
            f"where {least} are needed.",
            "Add images, or take --small-classes out to see which classes are small.",
        )
    split, added = add_synthetic(split, more)
    return Loaded(split, tuple(skipped), added)


def openable(images: Images, *, skip_bad: bool) -> tuple[Images, list[Inspection], list[dict[str, str]]]:
    """The images that open, what was seen in them, and the others as {"path", "reason"}.

    Raises:
        DataFault: Some do not open and `skip_bad` is off, or a class has none left.
    """
    inspections = inspect_files(images.files())
    bad = [i for i, inspection in enumerate(inspections) if inspection.error]
    if not bad:
        return images, inspections, []
    skipped = [{"path": images.paths[i], "reason": str(inspections[i].error)} for i in bad]
    if not skip_bad:
        more = f" (and {count(len(bad) - 1, 'more file')})" if len(bad) > 1 else ""
        raise DataFault(
            f"{images.root / images.paths[bad[0]]} {inspections[bad[0]].error}{more}.",
            "Replace or remove the file, or leave such files out with --skip-bad; the report lists them.",
        )
    kept = [i for i in range(len(images)) if not inspections[i].error]
    left = images.take(kept)
    for label, name in enumerate(images.class_names):
        if label not in left.labels:
            raise DataFault(f"No image of class {name} can be opened.", "Replace its images.")
    return left, [inspections[i] for i in kept], skipped
