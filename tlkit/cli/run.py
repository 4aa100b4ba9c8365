"""`tlkit run`: a group whose commands are files."""

from __future__ import annotations

from pathlib import Path

import click

from tlkit.cli.help import LazyGroup
from tlkit.cli.recipe_files import find_recipes, load_recipe, read_recipe


class RecipeGroup(LazyGroup):
    """The recipes of the current folder and of tlkit, each loaded when it is called."""

    def sections(self) -> dict[str, dict[str, str]]:
        """The recipes; a person's own are marked."""
        rows = {
            recipe.name: f"{recipe.summary}{' (yours)' if recipe.yours else ''}"
            for recipe in find_recipes().values()
        }
        return {"Recipes": rows}

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Load a recipe by name, or from a file whose path ends in .py."""
        if name.endswith(".py"):
            return load_recipe(read_recipe(Path(name)))
        file = find_recipes().get(name)
        return load_recipe(file) if file else None


EXAMPLES = """
    tlkit run fine-tune --help     all its options
    tlkit run fine-tune photos/    on a folder with one sub-folder per class
    tlkit run ./mine.py photos/    a recipe of your own; tlkit copy gives you one
"""


@click.command(cls=RecipeGroup, examples=EXAMPLES, subcommand_metavar="RECIPE [OPTIONS] ...")
def run() -> None:
    """Cook a recipe: from a source of images to a finished run.

    A recipe is one file. Those in ./recipes come first, then the ones that tlkit ships. What it makes is kept
    in saved_models/<name>/<number>/, and the number is given when the run is finished.
    """
