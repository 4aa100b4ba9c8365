"""A run's manifests, `split.csv` first: what it learned from and was evaluated on, held against what lies there."""

from __future__ import annotations

from tlkit.core.run import Run
from tlkit.data.images.splits import Split
from tlkit.errors import DataFault


def keep_manifest(run: Run, source: str, split: Split, name: str = "split.csv") -> None:
    """Write a manifest, and see to it that the images stay what they are until the run has its number.

    Args:
        run: Of the recipe.
        source: As typed.
        split: Its manifest must be what it was where the run is a resumed one.
        name: Of the file.

    Raises:
        DataFault: The source has changed since the run began.
    """
    file, now = run.folder.path / name, split.manifest
    before = file.read_text(encoding="utf-8") if run.resumed and file.is_file() else now
    if before != now:
        raise DataFault(
            f"{source} is not what it was when this run began{_first_difference(before, now)}.",
            "Restore the images, or start a new run.",
        )
    file.write_text(now, encoding="utf-8")
    run.watch(split.images.files(), split.sha256)


def _first_difference(before: str, now: str) -> str:
    old, new = ({line.split(",")[0]: line for line in text.splitlines()} for text in (before, now))
    path = min((p for p in old.keys() | new.keys() if old.get(p) != new.get(p)), default=None)
    how = "was added" if path not in old else "is gone" if path not in new else "differs"
    return f": {path} {how}" if path else ""
