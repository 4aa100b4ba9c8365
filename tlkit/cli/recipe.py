"""`@recipe`: what turns one function into a command with a seed, a device, a run folder and a proper ending.

A recipe is a plain click command. The decorator adds the options that every recipe has, opens the run folder
and hands the function a `Run`; execute.py sees to how it ends.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from tlkit.cli.execute import execute
from tlkit.cli.help import SectionedCommand
from tlkit.cli.keywords import changed_words
from tlkit.cli.options.shared import reading_of, run_options, split_options
from tlkit.core.console import Console
from tlkit.core.device import check_device
from tlkit.core.run import Run, SplitOptions
from tlkit.core.run_folder import CHECKPOINT_FORMAT, RunFolder, plain
from tlkit.data.images.decoding.pixel_limit import EARLIER_MOST, pixel_limit
from tlkit.data.images.names import refused_by_windows
from tlkit.errors import UsageFault

__all__ = ["RecipeCommand", "Run", "SplitOptions", "default_name", "recipe"]

Execute = Callable[[Run, Callable[[], object]], Any]  # brings a run to its end, as in execute.py
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SPLIT = ("group", "manifest", "hold_out", "allow_leak", "skip_bad", "download", "more", "small_classes")
_PASSING = ("as_json", "verbose", "dry_run")  # how this attempt speaks, not what the run is


def recipe(*, split: bool = False) -> Callable[[Callable[..., Any]], RecipeCommand]:
    """Make a function `f(run, **own_options)` a command.

    The function's own click options and arguments reach it by name; the common ones, which are added here, as
    attributes of `run`. A recipe with a positional `source` has its runs named after it.

    Args:
        split: Whether it splits images into training, validation and test, and so takes `--group` and its
        kin.
    """

    def decorate(function: Callable[..., Any]) -> RecipeCommand:
        name = function.__name__.replace("_", "-")
        return click.command(name, cls=RecipeCommand, split=split)(function)

    return decorate


def default_name(recipe_name: str, source: Any) -> str:
    """Name a run after its recipe and its source, so that the folder alone tells the story.

    A folder gives its name, a file its stem (or its folder's name where the stem is only "images", "labels"
    or "boxes"), a built-in or prepared source what stands behind the colon.
    """
    if not source:
        return recipe_name
    text = str(source)
    if ":" in text and not Path(text).exists():
        stem = text.partition(":")[2]
    else:
        path = Path(text).resolve()
        if path.name in {"images.csv", "labels.csv", "boxes.csv"}:
            path = path.parent
        stem = path.stem if path.suffix in {".csv", ".json"} else path.name
    name = "-".join([recipe_name, *re.findall(r"[A-Za-z0-9._]+", stem)])
    return name.rstrip(".-")  # Windows drops last dots


class RecipeCommand(SectionedCommand):
    """The command of one recipe."""

    def __init__(
        self, *arguments: Any, split: bool = False, params: list[click.Parameter], **attributes: Any
    ) -> None:
        common = [*(split_options() if split else []), *run_options()]
        self._own = [str(parameter.name) for parameter in params]
        taken = sorted({str(option.name) for option in common} & set(self._own))
        if taken:
            raise UsageFault(f"The recipe defines {', '.join(taken)}, which every recipe has already.")
        super().__init__(*arguments, params=[*params, *common], **attributes)

    @property
    def file(self) -> Path:
        """The file that the recipe's function stands in."""
        return Path(inspect.unwrap(self.callback).__code__.co_filename)  # type: ignore[arg-type]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the command line for the log."""
        above = ctx.parent.params if ctx.parent else {}
        flags = [f"--{flag}" for flag in ("yours", "shipped") if above.get(flag)]
        before = ctx.parent.command_path.split() if ctx.parent else []
        ctx.meta["tlkit.command"] = shlex.join([*before, *flags, str(ctx.info_name), *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the recipe in a new run folder; see `_execute` for what comes of it."""
        options = dict(ctx.params)
        as_json, verbose, dry_run = (options.pop(name) for name in _PASSING)
        options["name"] = _checked(options["name"]) or default_name(str(self.name), options.get("source"))
        check_device(options["device"])
        with tempfile.TemporaryDirectory() if dry_run else nullcontext(options["runs"]) as runs:
            folder = RunFolder.start(Path(runs), options["name"])
            try:
                settings = self._write_settings(folder, options)
            except OSError:
                shutil.rmtree(folder.path, ignore_errors=True)
                raise
            run = self._run(folder, options, settings["created"], dry_run=dry_run, verbose=verbose)
            run.console.log(f"{settings['created']}  tlkit {settings['tlkit']}  {ctx.meta['tlkit.command']}")
            return self._execute(run, options, ctx.obj or partial(execute, as_json=as_json))

    def resume(self, folder: RunFolder, settings: dict[str, Any], *, as_json: bool, verbose: bool) -> None:
        """Run the recipe on in the folder of an unfinished run, with the options it was started with.

        Args:
            folder: The unfinished run.
            settings: Its options.json.
            as_json: Whether the result is printed as JSON.
            verbose: Whether third parties may talk.
        """
        stored = settings["options"]
        if unknown := self.unknown(stored):
            raise UsageFault(
                f"{folder.path} was started with {', '.join(unknown)}, which this version does not have.",
                f"Start it anew without: {self.line(folder.path, settings)}",
            )
        options = self.read(stored)
        check_device(options["device"])
        run = self._run(folder, options, settings["created"], resumed=True, verbose=verbose)
        run.console.log(f"{_now()}  resumed")
        self._execute(run, options, partial(execute, as_json=as_json))

    def line(self, path: Path, settings: dict[str, Any]) -> str:
        """The command line that starts a run's like anew: its recipe, its place, and its options that are no defaults.

        Args:
            path: Folder of the run, whose copy of the recipe is taken.
            settings: Its options.json; options that the recipe does not have are left out.
        """
        words = ["tlkit", "run", str((path / "recipe.py").resolve())]
        words += changed_words(self, self.read(settings["options"]))
        line = shlex.join(words)
        home = settings["working_folder"]
        return line if Path(home) == Path.cwd() else f"cd {shlex.quote(home)} && {line}"

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Options of an options.json as click makes them of words; those that the recipe does not have are left out."""
        ctx, known = click.Context(self), {str(parameter.name): parameter for parameter in self.params}
        return {
            name: known[name].type_cast_value(ctx, value) for name, value in stored.items() if name in known
        }

    def unknown(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Those of a run's stored options that the recipe does not have (any more)."""
        known = {str(parameter.name) for parameter in self.params}
        return {name: value for name, value in stored.items() if name not in known}

    def _execute(self, run: Run, options: dict[str, Any], execute: Execute) -> Any:
        """What `execute` makes of the run and its function; it prints, what the context has as `obj` may return."""
        function = self.callback
        own = {name: options[name] for name in self._own if name in options}
        with pixel_limit(options.get("most_pixels", EARLIER_MOST)):
            return execute(run, lambda: function(run, **own))  # type: ignore[misc]

    def _run(self, folder: RunFolder, options: dict[str, Any], created: str, **state: Any) -> Run:
        console = Console()
        console.keep_log(folder.path / "log.txt")
        return Run(
            recipe=str(self.name),
            folder=folder,
            options=plain(options),
            console=console,
            seed=options["seed"],
            device=options["device"],
            split=SplitOptions(
                **{key: options[key] for key in _SPLIT if key in options}, reading=reading_of(options)
            ),
            created=created,
            **state,
        )

    def _write_settings(self, folder: RunFolder, options: dict[str, Any]) -> dict[str, Any]:
        """Write recipe.py and options.json, which `tlkit resume` starts from."""
        from tlkit import __version__

        source = self.file.read_bytes()
        (folder.path / "recipe.py").write_bytes(source)
        settings = {
            "schema_version": 1,
            "tlkit": __version__,
            "checkpoint_format": CHECKPOINT_FORMAT,
            "recipe": self.name,
            "recipe_sha256": hashlib.sha256(source).hexdigest(),
            "created": _now(),
            "working_folder": Path.cwd(),
            "options": options,
        }
        folder.write_json("options.json", settings)
        return settings


def _checked(name: str | None) -> str | None:
    if name is not None and not _NAME.fullmatch(name):
        raise UsageFault(
            f"--name {name!r} cannot be the name of a folder.",
            "Use letters, digits, dots, dashes and underscores, a letter or digit first.",
        )
    if name is not None and (detail := refused_by_windows(name)):
        raise UsageFault(
            f"--name {name} cannot be the name of a folder on Windows: {detail}.", "Choose another."
        )
    return name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
