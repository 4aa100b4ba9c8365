"""`tlkit recipes`: what can be cooked."""

from __future__ import annotations

import click

from tlkit.cli.help import SectionedCommand
from tlkit.cli.options import json_option
from tlkit.cli.outcome import show
from tlkit.cli.recipe_files import find_recipes


@click.command(cls=SectionedCommand)
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes.

    Files are read, not run. A recipe in ./recipes hides the shipped one of its name and is marked "(yours)".
    """
    found = list(find_recipes().values())
    if as_json:
        rows = [{"name": r.name, "summary": r.summary, "path": r.path, "yours": r.yours} for r in found]
        show({"recipes": rows}, as_json=True)
        return
    if not found:
        return
    formatter = click.HelpFormatter(max_width=100)
    formatter.write_dl([(r.name, f"{r.summary}{' (yours)' if r.yours else ''}") for r in found])
    click.echo(formatter.getvalue(), nl=False)
