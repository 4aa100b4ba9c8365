"""`tlkit run`: a group whose commands are files."""

from __future__ import annotations

from pathlib import Path

import click

from tlkit.cli.help import LazyGroup
from tlkit.cli.recipe_files import choose_recipe, list_lines, load_recipe, read_recipe
from tlkit.errors import UsageFault


class RecipeGroup(LazyGroup):
    """The recipes of the current folder and of tlkit, each loaded when it is called."""

    def sections(self) -> dict[str, dict[str, str]]:
        """The recipes; a person's own are marked, and stand by their path where tlkit has one of that name."""
        return {"Recipes": dict(list_lines())}

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Load a recipe by name, or from a file whose path ends in .py."""
        yours, shipped = (bool(ctx.params.get(flag)) for flag in ("yours", "shipped"))
        if name.endswith(".py"):
            if shipped:
                raise UsageFault(
                    f"--shipped takes a name, and {name} is a file.", "Leave one of the two out."
                )
            return load_recipe(read_recipe(Path(name)))
        file = choose_recipe(name, yours=yours, shipped=shipped)
        return load_recipe(file) if file else None


EXAMPLES = """
    tlkit run fine-tune --help     all its options
    tlkit run fine-tune photos/    on a folder with one sub-folder per class
    tlkit run ./mine.py photos/    a recipe of your own; tlkit copy gives you one
    tlkit run --yours fine-tune    ./recipes/fine_tune.py, and not tlkit's
"""


@click.command(cls=RecipeGroup, examples=EXAMPLES, subcommand_metavar="RECIPE [OPTIONS] ...")
@click.option("--yours", is_flag=True, help="Of a name that tlkit ships too: run the file in ./recipes.")
@click.option(
    "--shipped", is_flag=True, help="Of a name that ./recipes has too: run the one that tlkit ships."
)
def run(yours: bool, shipped: bool) -> None:  # RecipeGroup reads them
    """Run a recipe: from a source of images to a finished run.

    A recipe is one file: one that tlkit ships, or one in ./recipes. Of a name that both have with other content,
    --yours or --shipped (before the name) says which is meant; nothing runs without. What it makes is kept in
    saved_models/<name>/<number>/, and the number is given when the run is finished.
    """
