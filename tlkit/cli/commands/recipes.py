"""`tlkit recipes`: what can be run."""

from __future__ import annotations

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option
from tlkit.cli.recipe_files import find_recipes, list_lines
from tlkit.core.console import echo


@click.command(cls=SectionedCommand)
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes.

    Files are read, not run. A recipe in ./recipes is marked "(yours)". One of other content under a shipped name is
    listed by its path beside the shipped one, and run only as that or by tlkit run --yours NAME.
    """
    if as_json:
        files = [file for r in find_recipes().values() for file in (r, r.rival) if file]
        rows = [{"name": r.name, "summary": r.summary, "path": r.path, "yours": r.yours} for r in files]
        show({"recipes": rows}, as_json=True)
        return
    lines = list(list_lines())
    if lines:
        formatter = click.HelpFormatter(max_width=100)
        formatter.write_dl(lines)
        echo(formatter.getvalue(), nl=False)
