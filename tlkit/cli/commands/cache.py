"""`tlkit cache`: what is kept on disk because it was costly to compute, and room made again."""

from __future__ import annotations

from pathlib import Path

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option
from tlkit.cli.tables import show_table
from tlkit.core.console import Console
from tlkit.errors import RunFailed

MEGABYTE = 1_000_000
EXAMPLES = """
    tlkit cache
    tlkit cache --trim 500      keep at most 500 MB, the last used
    tlkit cache --trim 0        remove all
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.option(
    "--trim",
    type=click.FloatRange(0),
    metavar="MB",
    help="Remove files, longest unused first, down to this size.",
)
@json_option
def cache(trim: float | None, as_json: bool) -> None:
    """Show the cached features, and trim them.

    One file a network, layer and image size. Removing one costs time only: it is computed again when needed.
    """
    from tlkit.tasks.features import cache as feature_cache

    try:
        removed = feature_cache.trim(int(trim * MEGABYTE)) if trim is not None else []
    except OSError as error:
        raise RunFailed(
            f"{error.filename} cannot be removed: {error.strerror}.", "Look at the permissions of its folder."
        ) from error
    files = feature_cache.cache_files()
    if as_json:
        rows = [_row(file) for file in files]
        show(
            {"folder": feature_cache.feature_folder(), "files": rows, "removed": [_row(f) for f in removed]},
            as_json=True,
        )
        return
    for file in removed:
        Console().say(f"Removed {_name(file.facts, file.path)}, {file.bytes / MEGABYTE:.1f} MB.")
    if not files:
        Console().say(f"{feature_cache.feature_folder()} keeps nothing.")
        return
    cells = [
        [
            _name(f.facts, f.path),
            f.facts.get("layer"),
            f.facts.get("image_size"),
            f.rows,
            f"{f.bytes / MEGABYTE:.1f}",
            f"{f.used:%Y-%m-%d %H:%M}",
        ]
        for f in files
    ]
    show_table(["network", "layer", "pixels", "images", "MB", "last used (UTC)"], cells, left=2)


def _name(facts: dict[str, str], path: Path) -> str:
    return facts.get("network") or path.stem[:12]


def _row(file: object) -> dict[str, object]:
    fields = file._asdict()  # type: ignore[attr-defined]
    return {**fields, "used": fields["used"].isoformat(timespec="seconds")}
