"""`tlkit resume`: a run goes on where it was stopped, with the options and the recipe it was started with."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tlkit.cli.execute import show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option, runs_option
from tlkit.cli.recipe import RecipeCommand
from tlkit.cli.recipe_files import load_recipe, read_recipe
from tlkit.core.console import Console
from tlkit.core.run_folder import CHECKPOINT_FORMAT, RunFolder, find_unfinished
from tlkit.errors import UsageFault

EXAMPLES = """
    tlkit resume fine-tune-photos
    tlkit resume saved_models/fine-tune-photos/unfinished-3
"""


class _ResumeCommand(SectionedCommand):
    """Refuses options of the recipe: a run has those that it was started with."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            missing = error.__cause__
            if not isinstance(missing, click.NoSuchOption):
                raise
            raise UsageFault(
                f"{missing.option_name}: a resumed run keeps the options that it was started with.",
                "Leave it out, or start a new run with tlkit run.",
            ) from error


@click.command(cls=_ResumeCommand, examples=EXAMPLES)
@click.argument("run", help="A name with one unfinished run, NAME/unfinished-N, or the run's folder.")
@runs_option
@json_option
@click.option("--verbose", is_flag=True, help="Let TensorFlow talk too.")
def resume(run: str, runs: Path, as_json: bool, verbose: bool) -> None:
    """Go on with a run that was stopped.

    It keeps its options and the copy of the recipe in its folder. Runs of earlier versions go on too.
    """
    path = find_unfinished(run, runs)
    if not path.name.startswith("unfinished-"):
        Console().say(f"{path} is finished; there is nothing to do.")
        show({"status": "finished", "run": path}, as_json=as_json)
        return
    settings = read_settings(path)
    check_recipe(path, settings)
    command = load_recipe(read_recipe(path / "recipe.py"))
    command.name = settings["recipe"]
    _check_format(command, path, settings)
    with working_folder(settings["working_folder"], path) as folder:
        reopened = RunFolder.reopen(folder)
        _mend(reopened)
        command.resume(reopened, settings, as_json=as_json, verbose=verbose)


def _mend(folder: RunFolder) -> None:
    """Drop a last line of metrics.jsonl that a kill cut short, lest the next one be joined to it; mend TensorBoard."""
    file = folder.path / "metrics.jsonl"
    folder.lock()
    if file.is_file() and not file.read_bytes().endswith(b"\n"):
        folder.rewrite_metrics(folder.metrics())
    else:
        folder.mend_tensorboard()
    folder.release()


def read_settings(path: Path) -> dict[str, Any]:
    """What a run was started with, from its options.json.

    Raises:
        UsageFault: It cannot be read.
    """
    try:
        settings = json.loads((path / "options.json").read_text(encoding="utf-8"))
        known = {
            key: settings[key]
            for key in ("tlkit", "recipe", "recipe_sha256", "created", "working_folder", "options")
        }
        return {**known, "checkpoint_format": settings.get("checkpoint_format", 1)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageFault(f"{path}/options.json cannot be read: {error}.", "Start the run again.") from error


def _check_format(command: RecipeCommand, path: Path, settings: dict[str, Any]) -> None:
    if settings["checkpoint_format"] != CHECKPOINT_FORMAT:
        raise UsageFault(
            f"{path} was started by tlkit {settings['tlkit']} with checkpoint format "
            f"{settings['checkpoint_format']}, which this version ({CHECKPOINT_FORMAT}) cannot go on from.",
            f"Start it anew: {command.line(path, settings)}",
        )


def check_recipe(path: Path, settings: dict[str, Any]) -> None:
    """Refuse a run whose copy of the recipe was changed.

    Raises:
        UsageFault: It was.
    """
    recipe = path / "recipe.py"
    if not recipe.is_file() or hashlib.sha256(recipe.read_bytes()).hexdigest() != settings["recipe_sha256"]:
        raise UsageFault(
            f"{recipe} is not the recipe that the run was started with.",
            f"Put that back, or start a new run with this one: tlkit run {recipe}",
        )


@contextlib.contextmanager
def working_folder(started_in: str, path: Path) -> Iterator[Path]:
    """Be where the run was started, so that a relative source is the same one; yields the run's path."""
    if Path(started_in) == Path.cwd() or not Path(started_in).is_dir():
        yield path
        return
    path = path.resolve()
    with contextlib.chdir(started_in):
        yield path
