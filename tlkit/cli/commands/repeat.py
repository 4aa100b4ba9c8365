"""`tlkit repeat`: the same recipe with the same options again, and whether it comes to the same bits."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlkit.cli.commands.resume import check_recipe, read_settings, working_folder
from tlkit.cli.execute import Ending, carry_out_or_exit, show
from tlkit.cli.help import SectionedCommand
from tlkit.cli.options.shared import json_option, runs_option
from tlkit.cli.recipe_files import find_recipes, load_recipe, read_recipe
from tlkit.core.console import Console
from tlkit.core.device import prepare_tensorflow
from tlkit.core.environment import CHANGES, MACHINE, changed_facts
from tlkit.core.run_diff import compared, data_difference, distances, first_difference
from tlkit.core.run_folder import find_run, read_card
from tlkit.errors import RunFailed

if TYPE_CHECKING:
    from tlkit.cli.recipe import RecipeCommand
    from tlkit.core.run import Run

EXAMPLES = """
    tlkit repeat fine-tune-photos
    tlkit repeat fine-tune-photos/3 --discard --json
"""


@click.command(cls=SectionedCommand, examples=EXAMPLES)
@click.argument("run", help="NAME (its newest run), NAME/3, or a run's folder.")
@click.option("--discard", is_flag=True, help="Remove the new run if it is the same.")
@runs_option
@json_option
@click.option("--verbose", is_flag=True, help="Let TensorFlow talk too.")
def repeat(run: str, discard: bool, runs: Path, as_json: bool, verbose: bool) -> None:
    """Run a finished run again and compare the two, bit for bit.

    The run's own copy of the recipe and its options are used, and the new run gets the next number under the same
    name. Compared are the data's hashes, metrics, weights, predictions and every other file but times and drawings.
    Exit code 0 if all are the same, 1 if not. On a GPU results may differ in their last digits.

    Where the machine computes otherwise than that of the run (another processor, number of threads or setting of
    oneDNN), the same bits are not to be expected: if the data are the same, the answer is "computed otherwise" with how
    far apart the numbers are, and exit code 0.
    """
    path = find_run(run, runs).resolve()
    card, settings = read_card(path), read_settings(path)
    check_recipe(path, settings)
    command = load_recipe(read_recipe(path / "recipe.py"))
    command.name = settings["recipe"]
    changed = _changed_environment(card, settings, verbose=verbose)
    unknown = [
        f"the option {name} of the run ({value!r}) is none of this version, and is left out."
        for name, value in command.unknown(settings["options"]).items()
    ]
    notes = [*_changed_recipe(path, settings), *unknown, *changed.values()]
    for note in notes:
        Console().say(f"Note: {note}")
    with working_folder(settings["working_folder"], path):
        new = _run_again(command, settings["options"], path, as_json=as_json, verbose=verbose).resolve()
    difference = first_difference(path, new)
    otherwise = [changed[name] for name in (*MACHINE, CHANGES) if name in changed]
    if difference and otherwise and not data_difference(path, new):
        _tell_apart(path, new, notes, otherwise, as_json=as_json)
        return
    if difference:
        raise RunFailed(f"{path} and its repeat {new} are not the same: {difference}", _remedy(card, notes))
    files = compared(path, new)
    if discard:
        shutil.rmtree(new)
    show(
        {"status": "same", "run": path, "repeat": None if discard else new, "notes": notes, "files": files}
        if as_json
        else {"same": f"{len(files)} files, bit for bit", "run": path, "repeat": None if discard else new},
        as_json=as_json,
    )


def _tell_apart(path: Path, new: Path, notes: list[str], otherwise: list[str], *, as_json: bool) -> None:
    """Say how far apart a run and its repeat are that were computed by two machines or settings."""
    found = distances(path, new)
    if as_json:
        apart = [distance._asdict() for distance in found]
        answer: dict[str, Any] = {"status": "computed otherwise", "run": path, "repeat": new, "notes": notes}
        show(
            {**answer, "otherwise": otherwise, "differences": apart, "files": compared(path, new)},
            as_json=True,
        )
        return
    rows = [
        {
            "file": distance.file,
            "numbers that differ": f"{distance.differ} of {distance.numbers}" if distance.numbers else "-",
            "by up to": "-" if distance.largest is None else f"{distance.largest:.2g}",
            "first": distance.first,
        }
        for distance in found
    ]
    show(
        {
            "computed otherwise": f"{' '.join(otherwise)} The same bits are not to be expected, and this is no fault.",
            "run": path,
            "repeat": new,
            "differences": rows,
        },
        as_json=False,
    )


def _changed_recipe(path: Path, settings: dict[str, Any]) -> Iterator[str]:
    """A sentence where the recipe of that name is another by now."""
    now = find_recipes().get(settings["recipe"])
    files = [file.path.read_bytes() for file in (now, now and now.rival) if file]
    if files and (path / "recipe.py").read_bytes() not in files:
        yield f"the recipe {settings['recipe']} has changed since; the run's own copy is used."


def _changed_environment(card: dict[str, Any], settings: dict[str, Any], *, verbose: bool) -> dict[str, str]:
    """Name -> sentence for everything that the bits may depend on and that is not what it was."""
    before = card.get("environment") or {}
    if not before:  # a recipe without TensorFlow
        return {}
    now = prepare_tensorflow(card["seed"], settings["options"]["device"], verbose=verbose)
    changed = changed_facts(before, now)
    if before.get(CHANGES):
        changed[CHANGES] = f"the run was resumed, and by then {' '.join(before[CHANGES])}"
    return changed


def _run_again(
    command: RecipeCommand, stored: dict[str, Any], path: Path, *, as_json: bool, verbose: bool
) -> Path:
    """Run the recipe with stored options as `tlkit run` would; what it prints on stdout is kept back."""
    ctx = click.Context(command, info_name=str(command.name))
    ctx.params = {**command.read(stored), "as_json": as_json, "verbose": verbose, "dry_run": False}
    ctx.meta["tlkit.command"] = f"tlkit repeat {path}"

    def execute(run: Run, function: Callable[[], object]) -> Ending:
        def silently() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                function()

        return carry_out_or_exit(run, silently, as_json=as_json)

    ctx.obj = execute
    return Path(command.invoke(ctx).answer["run"])


def _remedy(card: dict[str, Any], notes: list[str]) -> str:
    if notes:
        return f"Since then {notes[0]}"
    device = str((card.get("environment") or {}).get("device", ""))
    return (
        "On a GPU the last digits may differ." if "GPU" in device else "Report it: on a CPU this is a fault."
    )
