"""What is wrong with a set as a whole: its classes, its parts, and what stands in it twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tlkit.core.text import count
from tlkit.data.images.dataset import PARTS, TRAINING
from tlkit.data.images.findings import ERROR, WARNING, Finding, finding
from tlkit.data.images.near_duplicates import TURNS, NearCopy, families, linked_copies
from tlkit.errors import DataFault

FEW = 10  # different images of a class: fewer leave one or two to be evaluated on
IMBALANCE = 5.0  # times the smallest class
KEPT, ALIKE = 0.9, 0.6  # shares of families, and of groups, for an expression that is proposed
NUMBERS = (r"(\d+_\d+)", r"(\d+-\d+)", r"(\d+)\D*$", r"(\d+)")  # what names of one thing may share


# --- classes ---


def class_faults(
    names: Sequence[str],
    objects: Sequence[Sequence[str]],
    keys: Sequence[str],
    parts: Sequence[str | None],
    *,
    boxes: bool,
    small: Mapping[str, DataFault] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Classes that are empty, tiny, out of proportion, or absent from a part.

    Args:
        names: [k] classes.
        objects: [n] the classes on each image.
        keys: [n] what a split keeps together: a group, or a content.
        parts: [n] declared part or None.
        boxes: Whether objects are boxes; a detector may have one class and is split by images.
        small: Why training refuses a class that has too few groups, by its name.
    """
    least = 1 if boxes else 2
    if len(names) < least:
        yield finding("one-class", names, f"{len(names)} class, where {least} are needed; enough to imitate.")
    counts = Counter(name for some in objects for name in some)
    different: dict[str, set[str]] = {name: set() for name in names}
    for some, key in zip(objects, keys, strict=True):
        for name in some:
            different[name].add(key)
    for name in names:
        if not counts[name]:
            yield _empty_class(name, boxes=boxes)
        elif name in small:
            refused = small[name]
            yield finding("tiny-class", name, refused.problem, severity=ERROR, remedy=refused.remedy)
        elif len(different[name]) < FEW:
            yield finding("tiny-class", name, f"{len(different[name])} that are not copies or of one group")
    yield from _imbalance(counts, boxes=boxes)
    yield from _absent(counts, objects, parts, boxes=boxes)


def _empty_class(name: str, *, boxes: bool) -> Finding:
    """A classifier refuses a class without images; of 80 names in a list of boxes, some may have none."""
    if not boxes:
        return finding("empty-class", name)
    remedy = "Nothing, if meant; a detector never finds what it was not shown."
    return finding("empty-class", name, f"Class {name} has no boxes.", severity=WARNING, remedy=remedy)


def part_faults(parts: Sequence[str | None]) -> Iterator[Finding]:
    """What a declared split leaves open, which recipes take from training.

    Args:
        parts: [n] declared part or None.
    """
    if TRAINING not in parts:
        return
    for part in PARTS:
        if part not in parts:
            yield finding("undeclared-part", part)
    if None in parts:
        unnamed = sum(part is None for part in parts)
        detail = f"{count(unnamed, 'image')} in no declared part: recipes train on what has none."
        yield finding("undeclared-part", "training", detail, remedy="Nothing, if meant; else list them.")


def _imbalance(counts: Counter[str], *, boxes: bool) -> Iterator[Finding]:
    present = {name: count for name, count in counts.items() if count}
    if not present:
        return
    few, many = min(present, key=lambda n: (present[n], n)), max(present, key=lambda n: (present[n], n))
    if present[many] >= IMBALANCE * present[few]:
        ratio = present[many] / present[few]
        detail = f"{many} has {present[many]}, {few} has {present[few]}: {ratio:.1f} times as many."
        remedy = "Evaluate each class by an AP of its own." if boxes else None
        yield finding("imbalance", (many, few), detail, remedy=remedy)


def _absent(
    counts: Counter[str], objects: Sequence[Sequence[str]], parts: Sequence[str | None], *, boxes: bool
) -> Iterator[Finding]:
    declared = [part for part in PARTS if part in parts]
    if not declared:
        return
    if TRAINING not in declared:
        yield finding("missing-part", TRAINING)
    # A class with no image in any part is one that a run left out.
    parted = {name for some, p in zip(objects, parts, strict=True) if p for name in some}
    for part in declared:
        present = {name for some, p in zip(objects, parts, strict=True) if p == part for name in some}
        for name in sorted(parted - present):
            if counts[name]:
                severity = ERROR if part == TRAINING and not boxes else None  # evaluated and never learned
                yield finding("missing-in-part", name, f"none for {part}", severity=severity)


# --- groups ---


def group_faults(
    paths: Sequence[str], groups: Sequence[str | None], parts: Sequence[str | None]
) -> Iterator[Finding]:
    """Groups that stand in several parts.

    Args:
        paths: [n].
        groups: [n] declared group or None.
        parts: [n] declared part or None.
    """
    for group, members in _members(groups).items():
        sides = sorted({str(parts[i]) for i in members if parts[i]})
        if len(sides) > 1:
            first = [next(paths[i] for i in members if parts[i] == side) for side in sides]
            shown = ", ".join(f"{path} ({side})" for path, side in zip(first, sides, strict=True))
            detail = f"Group {group} of {len(members)} images is in {' and '.join(sides)}: {shown}."
            yield finding("group-across-parts", [paths[i] for i in members], detail)


# --- copies ---


def copy_faults(
    paths: Sequence[str],
    hashes: Sequence[str],
    labels: Sequence[Hashable],
    parts: Sequence[str | None],
) -> Iterator[Finding]:
    """Files of equal content, each family once for each thing that is wrong with it.

    Args:
        paths: [n].
        hashes: [n] sha256 in hex; empty for what cannot be read.
        labels: [n] class of each image.
        parts: [n] declared part or None.
    """
    for digest, members in _members(hashes).items():
        names = list(dict.fromkeys(paths[i] for i in members))  # a path that is listed twice is another fault
        if digest and len(names) > 1:
            kinds = _kinds("exact-copy", "copy", members, labels, parts)
            yield from (finding(kind, names, detail) for kind, detail in kinds)


def near_duplicate_faults(
    paths: Sequence[str],
    hashes: Sequence[str],
    thumbnails: np.ndarray,
    opened: Sequence[bool],
    labels: Sequence[Hashable],
    parts: Sequence[str | None],
    groups: Sequence[str | None],
) -> Iterator[Finding]:
    """Families of images that look the same and are not the same file.

    Those of one declared group and one part are known to the person and left out.

    Args:
        paths: [n].
        hashes: [n] as for `copy_faults`.
        thumbnails: uint8 [n, 32, 32].
        opened: [n] whether an image opens, so that its thumbnail shows it.
        labels: [n] class of each image.
        parts: [n] declared part or None.
        groups: [n] declared group or None.
    """
    same = _members(hashes)
    shown = {digest: [i for i in members if opened[i]] for digest, members in same.items() if digest}
    first = np.array(sorted(members[0] for members in shown.values() if members), int)
    links = families(linked_copies(thumbnails, first))
    chosen = [sorted({index for link in family for index in link[:2]}) for family in links]
    whole = [[i for index in some for i in same[hashes[index]]] for some in chosen]  # with exact copies
    remedy = None if any(groups) else _grouping(paths, labels, whole)
    for family, members in zip(links, whole, strict=True):
        if _known(members, groups, parts):
            continue
        names = [paths[i] for i in members]
        plain = "turned-copy" if any(link.turn for link in family) else "near-copy"
        for kind, detail in _kinds(plain, "near-copy", members, labels, parts):
            between = f" ({detail})" if detail else ""
            sentence = f"{_relation(paths, family, labels, parts, kind)}{between}."
            yield finding(kind, names, sentence, remedy=None if kind.endswith("classes") else remedy)


def _grouping(paths: Sequence[str], labels: Sequence[Hashable], whole: list[list[int]]) -> str:
    """A remedy that names the `--group` which keeps the families together; or that names do not tell one.

    A wrong group is worse than none, so an expression is proposed only if it keeps at least `KEPT` of the families
    together, most of the groups that it makes hold copies that were seen, and these groups are of like size. A plain
    counter (it starts again in every class) is none.
    """
    family_of = {i: number for number, members in enumerate(whole) for i in members}
    best, kept = None, 0
    for pattern in NUMBERS:
        found = [re.search(pattern, path) for path in paths]
        keys = [match[1] if match else path for match, path in zip(found, paths, strict=True)]
        groups = [members for members in _members(keys).values() if len(members) > 1]
        if any(len({labels[i] for i in members}) > 1 for members in groups):
            continue
        together = sum(len({keys[i] for i in members}) == 1 for members in whole)
        if together >= KEPT * len(whole) and together > kept and _plausible(groups, family_of):
            best, kept = pattern if all(found) else f".*?{pattern}|.+", together
    if best is None:
        return "Keep one of each; which images belong together cannot be told from these names (--group takes it)."
    return f"Keep them together: --group '{best}' does so for {kept} of {len(whole)} families."


def _plausible(groups: list[list[int]], family_of: dict[int, int]) -> bool:
    """Whether groups hold copies that were seen, most of them, and are of like size, most of them."""
    if not groups:
        return False
    seen = [Counter(family_of[i] for i in members if i in family_of) for members in groups]
    alike = sum(bool(found) and found.most_common(1)[0][1] > 1 for found in seen)
    sizes = sorted(map(len, groups))
    middle = sizes[len(sizes) // 2]
    like = sum(middle / 2 <= size <= 2 * middle for size in sizes)
    return alike >= ALIKE * len(groups) and like >= ALIKE * len(groups)


def _kinds(
    plain: str, crossing: str, members: list[int], labels: Sequence[Hashable], parts: Sequence[str | None]
) -> list[tuple[str, str]]:
    """Which kinds of copies a family is, and what to add to the sentence."""
    names = sorted({str(labels[i]) for i in members if labels[i]})
    sides = sorted({str(parts[i]) for i in members if parts[i]})
    found = []
    if len(sides) > 1:
        found.append((f"{crossing}-across-parts", " and ".join(sides)))
    if len(names) > 1:
        found.append((f"{crossing}-across-classes", " and ".join(names)))
    return found or [(plain, "")]


def _relation(
    paths: Sequence[str],
    links: list[NearCopy],
    labels: Sequence[Hashable],
    parts: Sequence[str | None],
    kind: str,
) -> str:
    """`b.png is a.png mirrored left-right`, of the closest pair that shows the kind."""
    sides: Sequence = parts if kind.endswith("parts") else labels
    shown = [link for link in links if sides[link.one] != sides[link.other]]
    if kind == "turned-copy":
        shown = [link for link in links if link.turn]
    best = max(shown or links, key=lambda link: link.correlation)
    one, other = paths[best.one], paths[best.other]
    count = len({index for link in links for index in link[:2]})
    more = f", one pair of {count} images" if count > 2 else ""
    return f"{one} {f'is {other} {TURNS[best.turn]}' if best.turn else f'looks like {other}'}{more}"


def _known(members: list[int], groups: Sequence[str | None], parts: Sequence[str | None]) -> bool:
    return (
        groups[members[0]] is not None
        and len({groups[i] for i in members}) == 1
        and len({parts[i] for i in members}) == 1
    )


def _members(keys: Sequence[str | None]) -> dict[str, list[int]]:
    """The indices of each key, in the order of its first; None is no key."""
    found: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None:
            found.setdefault(key, []).append(index)
    return found
