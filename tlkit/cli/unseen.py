"""Unseen images: those in no part that a run learned from or was chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.errors import DataFault

if TYPE_CHECKING:
    from tlkit.data.images.inspection import Inspection


def left_to_evaluate(
    path: Path, source: str, inspections: list[Inspection], groups: Sequence[str]
) -> tuple[list[int], dict[str, int]]:
    """The images whose content and declared group are in no part that the run learned from or was chosen by.

    Args:
        path: Of the run.
        source: Of the images, as typed.
        inspections: What was seen in each file, [n].
        groups: [n]; the names of contents are no declared groups.

    Returns:
        Indices of these images; and, for the answer, how many others there are and of how many learned groups.

    Raises:
        DataFault: None is left.
    """
    from tlkit.data.images.splits import is_declared

    names = {str(row["group"]) for row in _learned(path) if is_declared(row.get("group"))}
    new = unseen(path, inspections)
    kept = [i for i in new if groups[i] not in names]
    if not kept:
        of_groups = "of groups " if new else ""
        raise DataFault(
            f"All {len(groups)} images of {source} are {of_groups}in the training or validation part of {path}.",
            f"Give images {of_groups}that the run has not seen.",
        )
    counts = {"excluded": len(groups) - len(kept), "excluded_groups": len({groups[i] for i in new} & names)}
    return kept, counts


def unseen(path: Path, inspections: list[Inspection]) -> list[int]:
    """Indices of the images whose content is in no part that the run learned from or was chosen by."""
    seen = {row["sha256"] for row in _learned(path)}
    return [index for index, inspection in enumerate(inspections) if inspection.sha256 not in seen]


def _learned(path: Path) -> list[dict[str, str]]:
    """Lines of a run's manifest but for its test part; none where it made none."""
    from tlkit.data.images.splits import read_manifest

    manifest = path / "split.csv"
    rows = read_manifest(manifest).values() if manifest.is_file() else []
    return [row for row in rows if row["part"] != "test"]


def learned_groups(outcome: dict[str, Any]) -> str:
    """How many groups were left out because the run learned from them; nothing where there are none."""
    number = outcome.get("excluded_groups")
    return f", some of {number} learned group{'s' * (number > 1)}" if number else ""
