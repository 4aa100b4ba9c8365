"""Rare classes, with too few groups of images to be in every part: refused, left out, or folded into one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import numpy as np

from tlkit.core.text import count, listed
from tlkit.data.images.dataset import PARTS, TEST, TRAINING, VALIDATION, AnySet, Dataset
from tlkit.data.images.small_class_choice import FOLD, OPTION, OTHER, REFUSE, read_choice
from tlkit.errors import DataFault, UsageFault

SHOWN = 5  # classes in a sentence


@dataclass(frozen=True)
class Settled(Generic[AnySet]):
    """What became of small classes.

    Attributes:
        images: Without them, or with their images in one class.
        kept: int64 [n], where these stand among those before.
        card: `how`, `into` (a class or None) and `classes`: of each its `images` and `groups`; empty: none is small.
        notes: A sentence for the person and the report, if there was something to do.
    """

    images: AnySet
    kept: np.ndarray
    card: dict[str, Any]
    notes: tuple[str, ...] = ()


def to_split(parts: Sequence[str | None], shares: Sequence[float]) -> tuple[np.ndarray, tuple[float, ...]]:
    """What is split: int64 [m] images, and the share of each part, 0 for one that gets none of them.

    Args:
        parts: [n] the source's own, or None.
        shares: Wanted of training, validation and test.
    """
    if not any(parts):
        return np.arange(len(parts)), tuple(shares)
    inside = np.flatnonzero([part in (None, TRAINING) for part in parts])
    lacking = [part for part in (VALIDATION, TEST) if part not in parts]
    if TRAINING not in parts or not lacking:
        return inside[:0], (0.0,) * len(PARTS)
    wanted = (TRAINING, *lacking)
    return inside, tuple(share if part in wanted else 0.0 for part, share in zip(PARTS, shares, strict=True))


def groups_by_class(labels: np.ndarray, groups: Sequence[str]) -> dict[int, Counter[str]]:
    """Class -> its groups and their sizes; a group of several classes counts in its most frequent one."""
    members: dict[str, Counter[int]] = {}
    for label, group in zip(labels.tolist(), groups, strict=True):
        members.setdefault(group, Counter())[label] += 1
    by_class: dict[int, Counter[str]] = {}
    for group, counts in members.items():
        main = min(counts, key=lambda label: (-counts[label], label))
        by_class.setdefault(main, Counter())[group] = counts.total()
    return dict(sorted(by_class.items()))


def small_classes(
    labels: np.ndarray, groups: Sequence[str], parts: Sequence[str | None], shares: Sequence[float]
) -> dict[int, int]:
    """Class -> groups, of those that have fewer groups than there are parts.

    Args:
        labels: int [n].
        groups: [n] names.
        parts: [n] the source's own, or None; where all parts are declared nothing is split, and no class is small.
        shares: Wanted of training, validation and test.
    """
    inside, wanted = to_split(parts, shares)
    least = sum(share > 0 for share in wanted)
    found = groups_by_class(labels[inside], [groups[i] for i in inside])
    return {label: len(names) for label, names in found.items() if len(names) < least}


def too_small(
    names: Sequence[str],
    small: dict[int, int],
    parts: Sequence[str | None],
    shares: Sequence[float],
    *,
    option: bool,
) -> DataFault:
    """Why small classes are refused, and what to do.

    Args:
        names: [k] classes.
        small: Of them, with their groups.
        parts: [n] declared part or None.
        shares: As for `to_split`.
        option: Whether the person has --small-classes.
    """
    _, shares = to_split(parts, shares)
    wanted = [part for part, share in zip(PARTS, shares, strict=True) if share > 0]
    where = f"{', '.join(wanted[:-1])} and {wanted[-1]}"
    remedy = f"Add images (at least {len(wanted)} that are not copies of one another), or a looser --group."
    if option:
        remedy += f" Or leave such classes out, or make them one: {OPTION} leave-out or {OPTION} fold."
    if len(small) == 1:
        ((label, groups),) = small.items()
        return DataFault(
            f"Class {names[label]} has {count(groups, 'group')} of images, too few for {where}.", remedy
        )
    each = listed([f"{names[label]} ({groups})" for label, groups in small.items()], SHOWN)
    return DataFault(f"{len(small):,} classes have too few groups of images for {where}: {each}.", remedy)


def settle_small_classes(
    images: AnySet,
    groups: Sequence[str],
    choice: str,
    shares: Sequence[float],
    *,
    listed_parts: bool = False,
) -> Settled[AnySet]:
    """Do with small classes as --small-classes says.

    Args:
        images: [n].
        groups: [n] names.
        choice: What --small-classes got.
        shares: Wanted of training, validation and test.
        listed_parts: Whether the parts are those of a manifest. Then a class is small that would be so if its images
            were split, or of which the manifest lists no image: the classes are those of the run that made it.

    Raises:
        UsageFault: The choice is unknown, or the class that small ones would become is there already.
        DataFault: What was folded is too small itself.
    """
    how, into = read_choice(choice)
    everything = np.arange(len(images))
    if how == REFUSE:
        return Settled(images, everything, {})
    parts: Sequence[str | None] = (None,) * len(images) if listed_parts else images.parts
    small: dict[int, int] = {}
    if listed_parts:
        small = dict.fromkeys(set(range(len(images.class_names))) - set(images.strata.tolist()), 0)
    while more := _more_small(images.strata, groups, parts, shares, small, fold=how == FOLD):
        small |= more
    if not small:
        return Settled(images, everything, {})
    if how == FOLD:
        _check_folded(images, groups, parts, shares, small, into)
    return _settled(images, dict(sorted(small.items())), how, into)


def settle_as_learned(images: AnySet, card: dict[str, Any]) -> Settled[AnySet]:
    """Do with the small classes of a run, in whatever source they stand, as the run did.

    Args:
        images: [n].
        card: `Settled.card` of the run; empty: no class was small.
    """
    names = images.class_names
    known = card.get("classes") or {}
    small = {k: known[name]["groups"] for k, name in enumerate(names) if name in known}
    if not small:
        return Settled(images, np.arange(len(images)), {})
    return _settled(images, small, card["how"], card["into"] or OTHER)


def _more_small(
    labels: np.ndarray,
    groups: Sequence[str],
    parts: Sequence[str | None],
    shares: Sequence[float],
    gone: Collection[int],
    *,
    fold: bool,
) -> dict[int, int]:
    """The classes that are small once those of `gone` are out of the way; a mixed group may have become another's."""
    now = np.where(np.isin(labels, list(gone)), -1, labels)
    kept = [i for i, label in enumerate(now.tolist()) if fold or label >= 0]
    found = small_classes(now[kept], [groups[i] for i in kept], [parts[i] for i in kept], shares)
    return {label: number for label, number in found.items() if label >= 0}


def _check_folded(
    images: Dataset,
    groups: Sequence[str],
    parts: Sequence[str | None],
    shares: Sequence[float],
    gone: Collection[int],
    into: str,
) -> None:
    taken = next((name for name in images.class_names if name.casefold() == into.casefold()), None)
    if taken is not None:
        raise UsageFault(
            f"{images.source} has a class {taken} already; {OPTION} fold would mix small classes with it.",
            f"Name another: {OPTION} fold:small, for example, or {OPTION} leave-out.",
        )
    now = np.where(np.isin(images.strata, list(gone)), -1, images.strata)
    small = small_classes(now, groups, parts, shares)
    if -1 in small:
        fault = too_small([into], {0: small[-1]}, parts, shares, option=False)
        raise DataFault(
            f"Folded from {len(gone)} small class{'es' * (len(gone) > 1)}: {fault.problem}",
            f"Use {OPTION} leave-out, or add images.",
        )


def _settled(images: AnySet, small: dict[int, int], how: str, into: str) -> Settled[AnySet]:
    """The images without small classes, or with these as one."""
    names = images.class_names
    rest = [name for label, name in enumerate(names) if label not in small]
    renamed = tuple(sorted({*rest, into})) if how == FOLD else tuple(rest)
    place = {name: k for k, name in enumerate(renamed)}
    new = [place.get(into if label in small else name, -1) for label, name in enumerate(names)]
    labels = np.array(new, np.int32)[images.strata]
    kept = (
        np.flatnonzero(labels >= 0) if how == FOLD else np.flatnonzero(~np.isin(images.strata, list(small)))
    )
    sizes = np.bincount(images.strata, minlength=len(names))
    card = {
        "how": how,
        "into": into if how == FOLD else None,
        "classes": {names[k]: {"images": int(sizes[k]), "groups": n} for k, n in small.items()},
    }
    left = replace(images, labels=labels, class_names=renamed).take(kept)
    return Settled(left, kept, card, (_sentence(card),))


def _sentence(card: dict[str, Any]) -> str:
    classes = card["classes"]
    total = sum(one["images"] for one in classes.values())
    each = listed([f"{name} ({one['images']})" for name, one in classes.items()], SHOWN)
    what = f"{count(total, 'image')} of {'1 class' if len(classes) == 1 else f'{len(classes):,} classes'}"
    done = f"are now of class {card['into']}" if card["how"] == FOLD else "were left out"
    return f"{what} with too few groups of images {done} ({OPTION} {card['how']}): {each}."
