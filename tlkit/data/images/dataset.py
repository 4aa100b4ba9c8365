"""Data set: images in the order of their paths, and what their source says of each; labels are one an image, or boxes.

`Dataset` is what both have. `Images` has one label an image; `Boxes` (of `tlkit.data.boxes`) has boxes with a label
each. Splits, manifests, leaks and checks ask nothing that only one of the two could answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from tlkit.data.images.findings import Finding

TRAINING, VALIDATION, TEST = "training", "validation", "test"
PARTS = (TRAINING, VALIDATION, TEST)
PART_NAMES = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images, in the order of their paths.

    Attributes:
        source: The SOURCE as the person typed it.
        root: Folder that the paths are relative to.
        class_names: [k] names.
        paths: [n] POSIX paths relative to `root`.
        labels: int32 [n], or [n] int32 [m] of m boxes: indices into `class_names`.
        groups: [n] declared group of each image or None; a group never crosses parts.
        parts: [n] the source's own split ("training", "validation", "test") or None.
        columns: Further facts of the images by name, each [n].
        remarks: Sentences on how the source was read and what of it was not.
    """

    EACH: ClassVar[tuple[str, ...]] = (
        "paths",
        "labels",
        "groups",
        "parts",
        "columns",
    )  # what has an entry for each image

    source: str
    root: Path
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray | tuple[np.ndarray, ...]
    groups: tuple[str | None, ...]
    parts: tuple[str | None, ...]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.paths[index]

    def files(self) -> list[str]:
        """Every image's full path, [n]."""
        return [str(self.root / path) for path in self.paths]

    def take(self, indices: np.ndarray | Sequence[int]) -> Self:
        """The images at `indices`, in that order, with the same classes."""
        chosen = [int(i) for i in indices]
        return replace(self, **{name: _picked(getattr(self, name), chosen) for name in self.EACH})

    def followed_by(self, more: Self) -> Self:
        """These images, then `more`, whose paths are relative to the same root; facts of these alone stay."""
        more = replace(more, columns=dict.fromkeys(self.columns, ("",) * len(more)))
        return replace(
            self, **{name: _chained(getattr(self, name), getattr(more, name)) for name in self.EACH}
        )

    def counts(self) -> dict[str, int]:
        """Images, or boxes, of each class."""
        every = self.labels
        if not isinstance(every, np.ndarray):
            every = np.concatenate([*every, np.zeros(0, np.int32)])
        totals = np.bincount(every, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, totals, strict=True))

    def objects(self) -> list[tuple[str, ...]]:
        """[n] the classes on each image: its own, or that of each of its boxes."""
        return [tuple(self.class_names[k] for k in np.atleast_1d(labels)) for labels in self.labels]

    def counted(self) -> dict[str, Any]:
        """What card.json says of a part beside its numbers of images and groups."""
        return {"per_class": self.counts()}

    @property
    def told(self) -> tuple[str, ...]:
        """What a person is told of how the source was read, in sentences."""
        return self.remarks

    @property
    def strata(self) -> np.ndarray:
        """int32 [n]: what each image is split as, indices into `strata_names`; its class, where it has one."""
        raise NotImplementedError

    @property
    def strata_names(self) -> tuple[str, ...]:
        """Names of the strata: those of the classes, and perhaps one more."""
        return self.class_names


@dataclass(frozen=True, kw_only=True)
class Images(Dataset):
    """Labelled image files, in the order of their paths; `labels` is int32 [n] and `class_names` are sorted."""

    labels: np.ndarray

    @property
    def strata(self) -> np.ndarray:
        """int32 [n]: the labels."""
        return self.labels


AnySet = TypeVar("AnySet", bound=Dataset)


def _picked(values: Any, chosen: list[int]) -> Any:
    """The entries of some images; `values` is an array, a tuple, a dict of tuples, or None."""
    if isinstance(values, dict):
        return {name: _picked(some, chosen) for name, some in values.items()}
    if isinstance(values, tuple):
        return tuple(values[i] for i in chosen)
    return None if values is None else values[chosen]


def _chained(one: Any, other: Any) -> Any:
    """The entries of some images, then those of others, as for `_picked`."""
    if isinstance(one, dict):
        return {name: _chained(some, other[name]) for name, some in one.items()}
    if isinstance(one, tuple):
        return (*one, *other)
    return None if one is None else np.concatenate([one, other])


@dataclass(frozen=True)
class Row:
    """One image of a source: its path, its label, and what else the source says of it."""

    path: str
    label: str
    part: str | None = None
    group: str | None = None
    others: tuple[str, ...] = ()


@dataclass
class Found:
    """What a reader of labelled images found, whatever is wrong with it.

    Attributes:
        rows: The images that can be used.
        names: Sorted names of the classes; of a folder also those that have no image.
        findings: What stands in the way, and what is left out.
        remarks: How the source was understood, where that is not plain, in sentences.
        columns: Names of the rows' `others`.
        loose: They lie in no class folders: one class, named after the folder.
    """

    rows: list[Row] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    loose: bool = False

    def images(self, source: str, root: Path) -> Images:
        """The images, in the order of their paths, which are relative to `root`; `source` as typed."""
        rows = sorted(self.rows, key=lambda row: row.path)
        index = {name: i for i, name in enumerate(self.names)}
        return Images(
            source=source,
            root=root,
            paths=tuple(row.path for row in rows),
            labels=np.array([index[row.label] for row in rows], np.int32),
            class_names=tuple(self.names),
            parts=tuple(row.part for row in rows),
            groups=tuple(row.group for row in rows),
            columns={name: tuple(row.others[i] for row in rows) for i, name in enumerate(self.columns)},
            remarks=tuple(self.remarks),
        )
