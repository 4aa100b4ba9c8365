"""`tlkit copy`: a shipped recipe is a starting point that you own."""

from __future__ import annotations

from pathlib import Path

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option
from tlkit.cli.recipe_files import find_recipes, typed_path
from tlkit.core.console import Console
from tlkit.errors import UsageFault


@click.command(cls=SectionedCommand, examples="tlkit copy fine-tune mine.py\ntlkit run ./mine.py photos/")
@click.argument("recipe", help="A name from tlkit recipes.")
@click.argument("file", type=click.Path(path_type=Path), help="The new file, or a folder for it.")
@json_option
def copy(recipe: str, file: Path, as_json: bool) -> None:
    """Hand a recipe over as your own file.

    Change it as you like, and run it by its path. In ./recipes it is found by name too. Under a shipped name it does not
    hide tlkit's: tlkit run --yours NAME runs your file, tlkit run --shipped NAME tlkit's.
    """
    found = find_recipes()
    if recipe not in found:
        ctx = click.get_current_context()
        raise click.exceptions.NoSuchCommand(recipe, f"No such recipe {recipe!r}.", list(found), ctx)
    if file.is_dir():
        file /= found[recipe].path.name
    if file.suffix != ".py":
        raise UsageFault(f"{file} does not end in .py.", f"tlkit copy {recipe} {file}.py")
    try:
        with file.open("xb") as stream:
            stream.write(found[recipe].path.read_bytes())
    except FileExistsError as error:
        raise UsageFault(f"{file} is there already.", "Name a new file; nothing is overwritten.") from error
    except OSError as error:
        raise UsageFault(f"{file} cannot be written: {error.strerror}.") from error
    Console().say(f"{file} is yours now: tlkit run {typed_path(file)} --help")
    if as_json:
        show({"file": file}, as_json=True)
