"""Training, validation and test parts that share nothing: by content, by group, stratified, seeded.

A group is what must stay together: every view of one gun, every image of one patient. It is the match of
`--group` in the path, a CSV column, or else the image's content hash, so equal files are always one group.
Per class, groups are ordered by sha256(seed + group) and split; a new file moves no other group's order.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import numpy as np

from tlkit.core.csv_writer import CsvWriter
from tlkit.core.paths import is_text
from tlkit.core.text import count
from tlkit.data.images.dataset import PART_NAMES, PARTS, TEST, TRAINING, VALIDATION, AnySet, Dataset
from tlkit.data.images.declared_parts import split_note, unnamed_notes
from tlkit.data.images.families import family_of
from tlkit.data.images.inspection import Inspection
from tlkit.data.images.leaks import crossing_notes, label_conflict_notes, near_duplicate_notes
from tlkit.data.images.small_classes import (
    groups_by_class,
    settle_small_classes,
    small_classes,
    to_split,
    too_small,
)
from tlkit.errors import DataFault, UsageFault

SHARES = (0.6, 0.2, 0.2)
_CONTENT = re.compile("#[0-9a-f]{16}")  # the group of images that declare none
SYNTHETIC_GROUP = "synthetic:"  # begins the group of images that another run made


@dataclass(frozen=True)
class Split(Generic[AnySet]):
    """Which part every image belongs to, and why.

    Attributes:
        images: The images, [n], with their labels or their boxes.
        sha256: [n] content hashes in hex.
        groups: [n] names of the groups.
        parts: [n] "training", "validation" or "test".
        warnings: Sentences for the person and the report, such as near duplicates across parts.
        small_classes: What was folded or left out, as in `small_classes.Settled.card`.
    """

    images: AnySet
    sha256: tuple[str, ...]
    groups: tuple[str, ...]
    parts: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    small_classes: dict[str, Any] = field(default_factory=dict)

    def indices(self, part: str) -> np.ndarray:
        """int64 [m]: the images of `part`, in the order of their paths."""
        return np.flatnonzero(np.array(self.parts) == part)

    def take(self, part: str) -> AnySet:
        """The images of `part`."""
        return self.images.take(self.indices(part))

    def groups_in(self, part: str) -> tuple[str, ...]:
        """The group of every image of `part`: what intervals are drawn over."""
        return tuple(self.groups[i] for i in self.indices(part))

    def stratum(self, index: int) -> str:
        """What image `index` was split as: the class that its line of the manifest names."""
        return self.images.strata_names[self.images.strata[index]]

    def only(self, indices: np.ndarray | Sequence[int]) -> Split[AnySet]:
        """The images at `indices`, in that order, each in its part."""
        chosen = [int(i) for i in indices]
        return replace(
            self,
            images=self.images.take(chosen),
            sha256=tuple(self.sha256[i] for i in chosen),
            groups=tuple(self.groups[i] for i in chosen),
            parts=tuple(self.parts[i] for i in chosen),
        )

    @cached_property
    def manifest(self) -> str:
        """The text of `split.csv`."""
        names = self.images.strata_names
        labels = (names[k] for k in self.images.strata)
        rows = zip(self.images.paths, self.sha256, labels, self.groups, self.parts, strict=True)
        stream = io.StringIO()
        CsvWriter(stream).writerows([("path", "sha256", "label", "group", "part"), *rows])
        return stream.getvalue()

    @property
    def digest(self) -> str:
        """sha256 of the manifest, in hex: it stands in every line of metrics."""
        return hashlib.sha256(self.manifest.encode()).hexdigest()

    def summary(self) -> dict:
        """Counts for card.json: part -> n, groups, per_class; of images with boxes also negative and boxes."""
        return {
            part: {"n": len(some), "groups": len(set(self.groups_in(part))), **some.counted()}
            for part, some in ((part, self.take(part)) for part in PARTS)
        }


def split_images(
    images: AnySet,
    inspections: list[Inspection],
    *,
    seed: int = 0,
    group: str | None = None,
    manifest: Path | None = None,
    hold_out: str | None = None,
    allow_leak: bool = False,
    shares: tuple[float, float, float] = SHARES,
    small: str | None = None,
) -> Split[AnySet]:
    """Give every image a part.

    Args:
        images: The images; their own parts are honoured and checked, and groups of one stratum split together.
        inspections: What was seen in each file, [n].
        seed: Splits the groups differently.
        group: Regular expression on the path (its first capture, else the whole match), or a column's name.
        manifest: A `split.csv` to use again; images that it does not list are left out.
        hold_out: COLUMN=VALUE, or a regular expression on the path: the images that it fits are the test part.
        allow_leak: Let exact copies and groups cross declared parts; the report says so.
        shares: Wanted shares of training, validation and test.
        small: What --small-classes got, of labelled images; None: no such option, and small classes are refused.

    Raises:
        DataFault: Parts share an image or a group, a class has too few groups, the manifest does not fit, or a path
            is no UTF-8.
        UsageFault: `group` is no regular expression.
    """
    _check_paths(images)
    notes = list(images.told)
    declared = declared_groups(images, group)
    if manifest is not None:
        images, inspections, declared, left = _by_manifest(images, inspections, declared, manifest)
        notes += left
    if hold_out is not None:
        images = _held_out(images, hold_out)
    groups = joined_groups(tuple(inspection.sha256 for inspection in inspections), declared)
    card: dict[str, Any] = {}
    if small is not None:
        settled = settle_small_classes(images, groups, small, shares, listed_parts=manifest is not None)
        images, card, notes = settled.images, settled.card, [*notes, *settled.notes]
        inspections, groups = [inspections[i] for i in settled.kept], tuple(groups[i] for i in settled.kept)
    hashes = tuple(inspection.sha256 for inspection in inspections)
    if few := small_classes(images.strata, groups, images.parts, shares):
        raise too_small(images.strata_names, few, images.parts, shares, option=small is not None)
    if any(images.parts):
        parts, said = _own_parts(images, groups, seed, shares)
        notes += said if hold_out is None else []  # which is not what the source declares
        notes += crossing_notes(images, hashes, groups, parts, allow=allow_leak)
    else:
        parts = _dealt(images.strata, groups, seed, shares)
    notes += near_duplicate_notes(images, inspections, groups, parts) + label_conflict_notes(images, hashes)
    return Split(images, hashes, groups, tuple(parts), tuple(notes), card)


def _check_paths(images: Dataset) -> None:
    """Refuse names of files that no manifest, report or board can hold."""
    path = next((path for path in images.paths if not is_text(path)), None)
    if path is not None:
        remedy = "Rename it; tlkit check names all of them."
        if sys.getfilesystemencoding() != "utf-8":  # the same file is well named elsewhere
            remedy = "Set PYTHONUTF8=1 in the environment, or rename it."
        raise DataFault(f"{path!a} has a name that is no UTF-8.", remedy)


def _held_out(images: AnySet, hold_out: str) -> AnySet:
    """The same images, with those that fit as the test part and all others for training and validation."""
    column, _, value = hold_out.partition("=")
    if column in images.columns:
        fits = [found == value for found in images.columns[column]]
    else:
        pattern = _compiled("--hold-out", hold_out, images)
        fits = [bool(pattern.search(path)) for path in images.paths]
    if all(fits) or not any(fits):
        which = "every image" if all(fits) else "no image"
        known = ", ".join(sorted(set(images.columns.get(column, ()))))
        raise DataFault(
            f"--hold-out {hold_out} fits {which} of {images.source}.",
            f"Values of {column}: {known}."
            if known
            else "Example: --hold-out series=baggage, or 'B00(79|8)'.",
        )
    return replace(images, parts=tuple(TEST if fit else TRAINING for fit in fits))


# --- groups ---


def is_declared(group: str | None) -> bool:
    """Whether a group's name was declared, and is not that of a content."""
    return bool(group) and not _CONTENT.fullmatch(str(group))


def groups_of(
    images: Dataset, inspections: Sequence[Inspection], group: str | None = None
) -> tuple[str, ...]:
    """The group of every image, [n], as a split would make them.

    Args:
        images: The images.
        inspections: What was seen in each file, [n].
        group: As for `split_images`.

    Raises:
        DataFault, UsageFault: As for `split_images`.
    """
    return joined_groups(
        tuple(inspection.sha256 for inspection in inspections), declared_groups(images, group)
    )


def declared_groups(images: Dataset, group: str | None) -> tuple[str | None, ...]:
    """The groups that the source or `--group` declares, [n]; None for an image without.

    Raises:
        DataFault, UsageFault: As for `split_images`.
    """
    if group is None:
        return images.groups
    if group == "group" and any(images.groups):
        return images.groups
    if group in images.columns:
        return tuple(value or None for value in images.columns[group])
    pattern = _compiled("--group", group, images)
    return tuple(_match(pattern, path, group) for path in images.paths)


def _compiled(option: str, text: str, images: Dataset) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as fault:
        raise UsageFault(
            f"{option} {text} is no regular expression ({fault}) and no column of {images.source}.",
            rf"Example: {option} '(B\d+_\d+)' finds B0049_0001 in gun/B0049_0001.jpg.",
        ) from None


def _match(pattern: re.Pattern[str], path: str, group: str) -> str:
    found = pattern.search(path)
    if not found:
        raise DataFault(
            f"--group {group} does not match {path}.",
            "Widen the expression so that every path has a group, or leave the file out.",
        )
    captured = [value for value in found.groups() if value]
    return captured[0] if captured else found.group(0)


def joined_groups(hashes: tuple[str, ...], declared: tuple[str | None, ...]) -> tuple[str, ...]:
    """Groups that also hold equal files together: union of declared group and content hash.

    It is called as the first, in the alphabet, of the declared groups that are joined so.
    """
    contents = [f"#{digest[:16]}" for digest in hashes]
    pairs = [(name, content) for name, content in zip(declared, contents, strict=True) if name]
    family, names = family_of(pairs), dict[int, str]()
    for name in sorted(family, key=lambda k: (bool(_CONTENT.fullmatch(k)), k)):
        names.setdefault(family[name], name)
    return tuple(names[family[content]] if content in family else content for content in contents)


# --- splitting ---


def _dealt(labels: np.ndarray, groups: tuple[str, ...], seed: int, shares: tuple[float, ...]) -> list[str]:
    """Split whole groups, class by class, in the order of sha256(seed + group)."""
    part_of: dict[str, str] = {}
    for names in groups_by_class(labels, groups).values():
        ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}{name}".encode()).digest())
        part_of.update(_split_class(ordered, names, shares))
    return [part_of[group] for group in groups]


def _split_class(ordered: list[str], sizes: Counter[str], shares: tuple[float, ...]) -> dict[str, str]:
    """A group goes where its middle lies on the line of all images; every wanted part gets at least one."""
    edges = np.cumsum(shares) / sum(shares)
    total, before, parts = sizes.total(), 0, []
    for name in ordered:
        middle = (before + sizes[name] / 2) / total
        parts.append(int(np.searchsorted(edges, middle, side="right").clip(0, len(PARTS) - 1)))
        before += sizes[name]
    for part in (i for i, share in enumerate(shares) if share > 0 and i not in parts):
        crowded = Counter(parts).most_common(1)[0][0]
        edge = [i for i, p in enumerate(parts) if p == crowded]
        parts[edge[-1] if part > crowded else edge[0]] = part
    return {name: PARTS[part] for name, part in zip(ordered, parts, strict=True)}


def _own_parts(
    images: Dataset, groups: tuple[str, ...], seed: int, shares: tuple[float, ...]
) -> tuple[list[str], list[str]]:
    """The source's parts, and sentences about what it leaves open: a part that it lacks is taken from training."""
    if TRAINING not in images.parts:
        raise DataFault(f"{images.source} has no training part.", "Add a train/ folder or split=train rows.")
    lacking = [part for part in (VALIDATION, TEST) if part not in images.parts]
    parts = [part or TRAINING for part in images.parts]
    notes = unnamed_notes(images.source, images.paths, images.parts)
    if not lacking:
        return parts, notes
    inside, wanted = to_split(images.parts, shares)
    dealt = _dealt(images.strata[inside], tuple(groups[i] for i in inside), seed, wanted)
    for index, part in zip(inside, dealt, strict=True):
        parts[index] = part
    return parts, [*notes, split_note(images.source, lacking, Counter(dealt), len(inside), seed)]


# --- manifest ---


def read_manifest(file: Path) -> dict[str, dict[str, str]]:
    """Rows of a manifest by path.

    Raises:
        DataFault: The file is missing, no CSV, or has no columns path and part (or split).
    """
    if not file.is_file():
        raise DataFault(f"--split {file} does not exist.", "Give the split.csv of a run.")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataFault(f"--split {file} cannot be read: {fault}.", "Give the split.csv of a run.") from None
    if not rows or "path" not in rows[0] or not ({"part", "split"} & set(rows[0])):
        raise DataFault(f"{file} is no split manifest.", "It needs the columns path and part.")
    for row in rows:
        if not row["path"]:
            raise DataFault(f"{file} has a line without a path.", "Mend or remove it.")
        value = (row.get("part") or row.get("split") or "").lower()
        if value not in PART_NAMES:
            raise DataFault(
                f"{file}: part {value or '(empty)'} of {row['path']} is unknown.",
                "Use training, validation or test.",
            )
        row["part"] = PART_NAMES[value]
    # What another run made comes again with --synthetic, not with the manifest.
    return {row["path"]: row for row in rows if not (row.get("group") or "").startswith(SYNTHETIC_GROUP)}


def _by_manifest(
    images: AnySet, inspections: list[Inspection], declared: tuple[str | None, ...], file: Path
) -> tuple[AnySet, list[Inspection], tuple[str | None, ...], list[str]]:
    """Only the images that the manifest lists, with its parts and groups."""
    rows = read_manifest(file)
    absent = sorted(set(rows) - set(images.paths))
    if absent:
        raise DataFault(
            f"{file} lists {absent[0]}, which {images.source} does not have.",
            f"{len(absent)} of {len(rows)} paths are missing: give the SOURCE the manifest was made from.",
        )
    kept = [i for i, path in enumerate(images.paths) if path in rows]
    for i in kept:
        wanted = rows[images.paths[i]].get("sha256")
        if wanted and wanted != inspections[i].sha256:
            raise DataFault(
                f"{images.paths[i]} has changed since {file} was written.",
                "Restore the file or make a new split.",
            )
    taken = images.take(kept)
    parts = tuple(rows[path]["part"] for path in taken.paths)
    groups = tuple(rows[path].get("group") or declared[i] for i, path in zip(kept, taken.paths, strict=True))
    left = len(images) - len(kept)
    notes = [f"{count(left, 'image')} not listed in {file.name} left out."] if left else []
    plain = tuple(g if is_declared(g) else None for g in groups)
    return replace(taken, parts=parts, groups=groups), [inspections[i] for i in kept], plain, notes
