"""Declared train, validation and test parts: sentences about what a source's own split leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlkit.core.text import count
from tlkit.data.images.dataset import TEST, VALIDATION


def unnamed_notes(source: str, paths: Sequence[str], parts: Sequence[str | None]) -> list[str]:
    """A sentence about images that a split does not name, if there are any.

    Args:
        source: As typed.
        paths: [n].
        parts: [n] declared part or None.
    """
    unnamed = [path for path, part in zip(paths, parts, strict=True) if part is None]
    if not unnamed:
        return []
    are, they = ("is", "it counts") if len(unnamed) == 1 else ("are", "they count")
    said = f"{count(len(unnamed), 'image')} of {source} {are} in no declared part, such as {unnamed[0]}"
    return [f"{said}: {they} as training."]


def split_note(source: str, lacking: Sequence[str], dealt: Mapping[str, int], total: int, seed: int) -> str:
    """The sentence about parts that a source does not declare.

    Args:
        source: As typed.
        lacking: These parts.
        dealt: Images of each part after splitting.
        total: Images of the declared training part.
        seed: What split them.
    """
    taken = " and ".join(f"{dealt[part]} for {part}" for part in lacking)
    other = next((part for part in (VALIDATION, TEST) if part not in lacking), None)
    kept = f"; the {other} part is as declared" if other else ""
    return (
        f"{source} declares no {' and no '.join(lacking)} part: of its {total} training images {taken} are set aside, "
        f"by group, with seed {seed}{kept}."
    )
